"""Engines' processes, without an environment: how they are ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from conftest import PATIENCE, children, is_alive, program, wait_until
from ferry import engine as engine_module
from ferry.engine import Engine, end_all

# They hear the goodbye; SIGTERM alone; SIGKILL alone. "ready" is printed as soon as that is so.
ATTENTIVE = program(
    "import os, socket; print('ready', flush=True); socket.socket(fileno=int(os.environ['FERRY_ADDRESS'][3:])).recv(1)"
)
BUSY = ["sh", "-c", "echo ready; exec sleep 60"]
DEAF = ["sh", "-c", "trap '' TERM; echo ready; exec sleep 60"]

Begin = Callable[..., list[Engine]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts engines, and waits until each is what it is to be."""
    begun: list[Engine] = []

    def begin(*commands: list[str]) -> list[Engine]:
        engines = []
        for command in commands:
            engines.append(Engine(command))
            begun.append(engines[-1])
        wait_until(lambda: all("ready" in engine.last_words() for engine in engines))
        return engines

    yield begin
    for engine in begun:
        engine.process.kill()
        engine.process.wait(PATIENCE)
        engine.ours.close()


def seconds_to_end(engines: list[Engine]) -> float:
    start = time.monotonic()
    end_all(engines)
    return time.monotonic() - start


def test_many_end_in_the_time_of_one(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another they would take eleven times the grace."""
    monkeypatch.setattr(engine_module, "GRACE", 1.0)
    alone = seconds_to_end(begin(DEAF))
    engines = begin(DEAF, DEAF, ATTENTIVE, ATTENTIVE, BUSY, BUSY, BUSY, BUSY)
    stopped = engines[-1]
    stopped.process.send_signal(signal.SIGSTOP)
    together = seconds_to_end(engines)
    asked, made = -signal.SIGTERM, -signal.SIGKILL
    assert [engine.process.returncode for engine in engines] == [made, made, 0, 0, asked, asked, asked, made]
    assert children() == set()
    assert together < 3 * alone, f"{together:.1f} s for eight, {alone:.1f} s for one"


def test_an_end_may_come_again(begin: Begin) -> None:
    engines = begin(ATTENTIVE, ATTENTIVE)
    engines[0].end()
    end_all(engines)
    end_all(engines)
    end_all([])
    assert [engine.process.returncode for engine in engines] == [0, 0]


def test_what_was_printed_last_is_there_after_the_end(begin: Begin) -> None:
    last = program("import sys; print('ready', flush=True); sys.stdin.read(); print('goodbye')")
    engines = begin(last, last)
    end_all(engines)
    assert all(engine.last_words().endswith("ready\n  goodbye") for engine in engines)


def test_what_an_engine_started_itself_is_killed_with_it(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "GRACE", 0.2)
    (engine,) = begin(["sh", "-c", "trap '' TERM; sleep 60 & echo child $!; echo ready; wait; sleep 60"])
    child = int(engine.last_words().split("child ")[1].split()[0])
    end_all([engine])
    assert engine.process.returncode == -signal.SIGKILL
    wait_until(lambda: not is_alive(child))


def test_an_interrupt_kills_those_that_are_left(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "GRACE", PATIENCE)
    engines = begin(ATTENTIVE, DEAF, BUSY)

    def interrupt() -> None:  # once the goodbye has been heard, so that the waiting has begun
        engines[0].process.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        end_all(engines)
    thread.join(PATIENCE)
    assert [engine.process.returncode for engine in engines] == [0, -signal.SIGKILL, -signal.SIGKILL]
