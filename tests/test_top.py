"""`ferry top`: what channels do, told by their maps alone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

import ferry
from conftest import PATIENCE, Serve, Start, wait_until
from ferry import survey
from ferry.__main__ import main

# An environment that answers a reset, and then hangs in its first step.
HANGS = """
import time, ferry, gymnasium
class Hangs(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (4,))
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}
    def step(self, action):
        time.sleep(60)
ferry.ServerBackend(Hangs(), "test").run()
"""


def once(capsys: pytest.CaptureFixture[str], interval: float = 0.2) -> dict[str, Any]:
    """The only channel that `ferry top` shows."""
    capsys.readouterr()
    assert main(["top", "--once", "--json", "--interval", str(interval)]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert isinstance(told, dict)
    return told


def test_a_hung_environment_is_shown_with_the_time_it_has_held_the_turn(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start("-c", HANGS)
    ferry.ClientEnv("test", timeout=PATIENCE).close()  # it serves
    with ferry.ClientEnv("test", timeout=0.5) as env:
        env.reset()
        sent = time.monotonic()
        with pytest.raises(ferry.FerryTimeoutError):
            env.step(0)
        before = time.monotonic() - sent
        told = once(capsys)
        assert (told["turn_is_with"], told["turns"]) == ("environment", 2)
        assert before - 0.1 < told["held_s"] < time.monotonic() - sent
        assert told["env"]["pid"] == process.pid
        assert told["agent"]["pid"] == os.getpid()
        assert told["steps_per_second"] == 0
        assert told["spec"] == "f32[4] -> Discrete(2)"
        process.kill()


def test_a_hung_agent_is_shown_and_its_environment_sleeps(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        since = time.monotonic()
        time.sleep(0.3)
        told = once(capsys)
        assert told["turn_is_with"] == "agent"
        assert 0.3 < told["held_s"] < time.monotonic() - since + 0.1
        wait_until(lambda: once(capsys, 0.05)["peer"] == "sleeps")


def test_a_stopped_process_is_called_so(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    backend = serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        backend.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: once(capsys, 0.05)["env"]["process"] == "stopped")
        finally:
            backend.process.send_signal(signal.SIGCONT)


PLAYS = """
import sys, time, ferry
env = getattr(ferry, sys.argv[1])("test", timeout=30)
env.reset(seed=1)
while True:
    time.sleep(0.02)
    if any(env.step(env.action_space.sample())[2:4]):
        env.reset()
"""


@pytest.mark.parametrize(("agent", "backend"), [("ClientEnv", "ServerBackend"), ("ServerEnv", "ClientBackend")])
def test_a_channel_that_plays_is_measured_in_both_paradigms(
    agent: str, backend: str, serve: Serve, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = {"agent": start("-c", PLAYS, agent).pid, "env": serve("CartPole-v1", paradigm=backend).process.pid}

    def plays() -> bool:
        told = json.loads(told_by_top(capsys))
        return bool(told) and told[0].get("turns", 0) > 20 and told[0]["share"] is not None

    wait_until(plays)
    told = once(capsys, 0.5)
    assert told["paradigm"].startswith(backend if backend.startswith("Server") else agent)
    assert {side: told[side]["pid"] for side in processes} == processes
    assert 1 < told["steps_per_second"] <= 54, "at most 25 in the half second, and one at each end of it"
    share = told["share"]
    assert sum(share.values()) == pytest.approx(1, abs=0.001)
    assert share["agent"] > share["env"], "it sleeps before each step"
    times = told["times_us"]
    assert times["agent"]["p50"] >= 20_000
    assert all(0 < times[part]["p50"] <= times[part]["p99"] for part in times)


def told_by_top(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["top", "--once", "--json", "--interval", "0.1"]) == 0
    return capsys.readouterr().out


def test_a_server_env_shows_its_channel_while_it_lasts(
    serve: Serve, runtime_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = serve("CartPole-v1", paradigm="ClientBackend")
    with ferry.ServerEnv("test", timeout=PATIENCE) as env:
        env.reset()
        assert survey.shown_by(runtime_dir / "test") == os.getpid()
        capsys.readouterr()
        assert main(["ls", "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["listens"], row["held_by"], row["rows"]) == ("agent", backend.process.pid, 1)
    assert list(runtime_dir.iterdir()) == []


def test_ls_tells_the_number_of_rows(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("CartPole-v1", num_envs=3)
    with ferry.ClientVectorEnv("test", timeout=PATIENCE):
        capsys.readouterr()
        assert main(["ls"]) == 0
        header, row = capsys.readouterr().out.splitlines()
        assert row[header.index("rows") :].startswith("3 ")


def test_nobody_there_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--interval", "0.01"]) == 0
    assert "nobody listens in" in capsys.readouterr().out


def test_a_name_without_a_peer_is_listed(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("CartPole-v1")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    wait_until(lambda: once(capsys, 0.05)["state"] == "unseen")
    assert main(["top", "--once", "--interval", "0.05"]) == 0
    assert "no peer is connected" in capsys.readouterr().out


@pytest.mark.parametrize("interval", ["0", "-1", "nan"])
def test_an_interval_is_above_zero(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--interval", interval]) == 1
    assert "a number of seconds above 0" in capsys.readouterr().err


@pytest.mark.parametrize("end", [b"q", b"\x03"])
def test_the_live_table_ends_by_a_key(end: bytes, serve: Serve) -> None:
    serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "ferry", "top", "--interval", "0.1"],
            stdin=theirs,
            stdout=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "30"},
        )
        os.close(theirs)
        try:
            screen = b""
            deadline = time.monotonic() + PATIENCE
            while b"CartPole-v1" not in screen:
                assert select.select([ours], [], [], deadline - time.monotonic())[0], screen
                screen += os.read(ours, 65536)
            os.write(ours, end)
            while process.poll() is None:
                assert time.monotonic() < deadline
                if select.select([ours], [], [], 0.05)[0]:
                    with contextlib.suppress(OSError):  # its terminal ends with it
                        os.read(ours, 65536)
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait(PATIENCE)
            os.close(ours)
