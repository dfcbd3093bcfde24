"""Meeting an environment, losing it, and meeting it again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import ferry
from conftest import PATIENCE, Serve, Start, line_of, wait_until

ADAPTERS = [(ferry.ClientEnv, "ServerBackend"), (ferry.ServerEnv, "ClientBackend")]
both_ways = pytest.mark.parametrize(("adapter", "paradigm"), ADAPTERS, ids=["client", "server"])


# ---- Time-outs ----


@pytest.mark.parametrize("adapter", [ferry.ClientEnv, ferry.ServerEnv])
def test_nobody_comes(adapter: type[ferry.ClientEnv]) -> None:
    begin = time.monotonic()
    with pytest.raises(ferry.FerryTimeoutError, match="'test'"):
        adapter("test", timeout=0.3)
    assert 0.3 <= time.monotonic() - begin < 5


def test_a_client_that_finds_nobody_says_where_it_looked(serve: Serve, runtime_dir: Path) -> None:
    serve("sample_envs:Scripted", "pole")
    ferry.ClientEnv("pole", timeout=PATIENCE).close()
    with pytest.raises(ferry.FerryTimeoutError) as caught:
        ferry.ClientEnv("pola", timeout=0.3)
    text = str(caught.value)
    assert str(runtime_dir) in text
    assert "pole" in text


def test_what_is_waited_for_is_told_after_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ferry.FerryTimeoutError):
        ferry.ClientEnv("test", timeout=2.3)
    (record,) = caplog.records
    assert record.name == "ferry"
    assert record.levelname == "WARNING"
    assert "test" in record.message


@pytest.mark.parametrize("timeout", [0, -1, "1", float("nan")])
def test_a_time_out_that_makes_no_sense_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout is"):
        ferry.ClientEnv("test", timeout=timeout)


def test_the_process_environment_has_the_last_word_on_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_TIMEOUT", "0.2")
    with pytest.raises(ferry.FerryTimeoutError):
        ferry.ClientEnv("test", timeout=None)
    for text in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("FERRY_TIMEOUT", text)
        with pytest.raises(ValueError, match="FERRY_TIMEOUT is"):
            ferry.ClientEnv("test")


def test_a_time_out_of_zero_in_the_process_environment_is_for_ever(
    monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setenv("FERRY_TIMEOUT", "0")
    made: list[ferry.ClientEnv] = []
    thread = threading.Thread(target=lambda: made.append(ferry.ClientEnv("test", timeout=0.01)))
    thread.start()
    serve("sample_envs:Scripted")
    thread.join(PATIENCE)
    made[0].close()


# ---- Addresses ----


def test_the_address_may_come_from_the_process_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve("sample_envs:Scripted", "test")
    monkeypatch.setenv("FERRY_ADDRESS", "connect:test")
    with ferry.ClientEnv(timeout=PATIENCE) as env:
        env.reset()
    monkeypatch.delenv("FERRY_ADDRESS")
    with pytest.raises(ValueError, match="FERRY_ADDRESS is not set"):
        ferry.ClientEnv(timeout=1)


def test_an_address_in_the_process_environment_is_served_by_a_server_env(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start(
        "-c",
        "import ferry; env = ferry.ServerEnv(timeout=30); env.reset()",
        env={**os.environ, "FERRY_ADDRESS": "test"},
    )
    ferry.ClientBackend("CartPole-v1", "test").run()
    assert agent.wait(PATIENCE) == 0


def test_an_address_may_be_a_path(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "pole")
    serve("sample_envs:Scripted", path)
    with ferry.ClientEnv(path, timeout=PATIENCE) as env:
        env.reset()


def test_an_address_in_use_is_refused_with_the_holders_pid(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    with pytest.raises(ferry.AddressError, match=str(backend.process.pid)):
        ferry.ServerBackend("CartPole-v1", "test")
    with pytest.raises(ferry.AddressError, match=str(backend.process.pid)):
        ferry.ServerEnv("test", timeout=1)


def test_an_address_is_free_again_after_its_server_was_killed(serve: Serve) -> None:
    for _ in range(2):
        backend = serve("sample_envs:Scripted")
        with ferry.ClientEnv("test", timeout=PATIENCE) as env:
            env.reset()
        backend.kill()


def test_a_second_agent_is_told_who_holds_the_environment(serve: Serve) -> None:
    serve("sample_envs:Scripted")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        caught: list[Exception] = []

        def intrude() -> None:
            try:
                ferry.ClientEnv("test", timeout=PATIENCE)
            except ferry.FerryError as error:
                caught.append(error)

        thread = threading.Thread(target=intrude)
        thread.start()
        while thread.is_alive():
            env.step(0)
        assert isinstance(caught[0], ferry.BusyError)
        assert str(os.getpid()) in str(caught[0])


def test_two_agents_are_told_that_no_environment_is_there() -> None:
    def listen() -> None:
        with pytest.raises(ferry.FerryTimeoutError):
            ferry.ServerEnv("test", timeout=3)

    thread = threading.Thread(target=listen)
    thread.start()
    with pytest.raises(ferry.ProtocolError, match=r"both sides of .* are agents"):
        ferry.ClientEnv("test", timeout=PATIENCE)
    thread.join(PATIENCE)


def test_two_environments_are_told_that_no_agent_is_there(serve: Serve) -> None:
    backend = serve("CartPole-v1")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    with pytest.raises(ferry.ProtocolError, match=r"both sides of .* are environments"):
        ferry.ClientBackend("CartPole-v1", "test").run()
    assert backend.process.poll() is None


def test_an_environment_that_needs_too_much_memory_is_refused(serve: Serve) -> None:
    with pytest.raises(ferry.FerryError, match=r"needs a region of .* raise max_bytes"):
        ferry.ServerBackend("sample_envs:large_pixels", "test", max_bytes=1 << 20)
    serve("sample_envs:large_pixels")
    with pytest.raises(ferry.FerryError, match="max_bytes"):
        ferry.ClientEnv("test", timeout=PATIENCE, max_bytes=1 << 20)
    ferry.ClientEnv("test", timeout=PATIENCE, max_bytes=1 << 30).close()


def test_a_server_that_speaks_garbage_is_told_from_ferry(runtime_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "test"))
        listener.listen()

        def babble() -> None:
            visitor, _ = listener.accept()
            with visitor:
                visitor.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                visitor.recv(4096)

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(ferry.ProtocolError, match="does not speak Ferry"):
            ferry.ClientEnv("test", timeout=PATIENCE)
        thread.join(PATIENCE)


def test_a_visitor_that_speaks_garbage_does_no_harm(serve: Serve, runtime_dir: Path) -> None:
    backend = serve("sample_envs:Scripted")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
    for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n" * 100, bytes(64), os.urandom(5000)):
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(runtime_dir / "test"))
            visitor.sendall(garbage)
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        env.step(0)
    assert backend.process.poll() is None


# ---- Meeting again ----


@both_ways
@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_reset_connects_again(serve: Serve, adapter: type[ferry.ClientEnv], paradigm: str, end: str) -> None:
    backend = serve("sample_envs:Scripted", paradigm=paradigm)
    with adapter("test", timeout=PATIENCE) as env:
        space = env.observation_space
        env.reset()
        env.step(0)
        getattr(backend, end)()
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"reset\(\) meets the next one"):
            env.step(0)
        backend = serve("sample_envs:Scripted", paradigm=paradigm)
        observation, info = env.reset()
        assert tuple(observation) == (0, 1)
        assert info["pid"] == backend.process.pid
        env.step(0)
        assert env.observation_space is space


@both_ways
def test_a_lost_environment_is_noticed_by_reset_too(
    serve: Serve, adapter: type[ferry.ClientEnv], paradigm: str
) -> None:
    backend = serve("sample_envs:Scripted", paradigm=paradigm)
    with adapter("test", timeout=PATIENCE) as env:
        env.reset()
        backend.kill()
        with pytest.raises(ferry.PeerGoneError):
            env.reset()
        serve("sample_envs:Scripted", paradigm=paradigm)
        env.reset()
        env.step(0)


@both_ways
def test_an_environment_of_another_shape_is_refused(
    serve: Serve, adapter: type[ferry.ClientEnv], paradigm: str
) -> None:
    backend = serve("sample_envs:Scripted", paradigm=paradigm)
    with adapter("test", timeout=PATIENCE) as env:
        env.reset()
        backend.kill()
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
        other = serve("sample_envs:OtherScripted", paradigm=paradigm)
        with pytest.raises(ferry.LayoutMismatchError, match=r"shape \(2,\).* is now .*shape \(5,\)"):
            env.reset()
        other.kill()
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(0)
        serve("sample_envs:Scripted", paradigm=paradigm)
        env.reset()
        env.step(0)


def test_reset_waits_no_longer_than_the_time_out_for_the_next_environment(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    with ferry.ClientEnv("test", timeout=2) as env:
        env.reset()
        backend.kill()
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
        for _ in range(2):
            with pytest.raises(ferry.FerryTimeoutError):
                env.reset()
        serve("sample_envs:Scripted")
        wait_until(lambda: succeeds(env.reset, ferry.FerryTimeoutError))
        env.step(0)


def succeeds(call: Callable[[], object], error: type[Exception]) -> bool:
    try:
        call()
    except error:
        return False
    return True


@both_ways
def test_a_peer_killed_at_full_speed_is_noticed(serve: Serve, adapter: type[ferry.ClientEnv], paradigm: str) -> None:
    backend = serve("CartPole-v1", paradigm=paradigm)
    with adapter("test", timeout=PATIENCE) as env:
        env.reset()
        killer = threading.Timer(0.2, backend.process.kill)
        killer.start()
        with pytest.raises(ferry.PeerGoneError):
            play_for_ever(env)
        killer.join()


def play_for_ever(env: gymnasium.Env[Any, Any]) -> None:
    while True:
        _, _, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()


# ---- The other side's view ----


def test_a_server_takes_the_next_agent_after_one_was_killed(serve: Serve, start: Start) -> None:
    backend = serve("sample_envs:Scripted")
    agent = start(
        "-c",
        "import ferry; env = ferry.ClientEnv('test', timeout=30); env.reset(); print('ready', flush=True)\n"
        "while True: env.step(0)",
    )
    assert line_of(agent) == "ready\n"
    agent.kill()
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        assert tuple(env.reset()[0]) == (0, 2)
    assert backend.process.poll() is None


def test_a_client_backend_raises_when_its_agent_dies(serve: Serve, start: Start) -> None:
    backend = serve("sample_envs:Scripted", paradigm="ClientBackend")
    agent = start(
        "-c",
        "import ferry; env = ferry.ServerEnv('test', timeout=30); env.reset(); print('ready', flush=True); input()",
        stdin=subprocess.PIPE,
    )
    assert line_of(agent) == "ready\n"
    agent.kill()
    assert backend.process.wait(PATIENCE) == 1
    assert "PeerGoneError" in backend.errors()


@both_ways
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_backend_normally(
    start: Start, number: signal.Signals, adapter: type[ferry.ClientEnv], paradigm: str
) -> None:
    process = start("-c", f"import ferry; ferry.{paradigm}('CartPole-v1', 'test').run(); print('over', flush=True)")
    with adapter("test", timeout=PATIENCE) as env:
        env.reset()
        begin = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - begin < 2
        assert (process.returncode, output, errors) == (0, "over\n", "")
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
