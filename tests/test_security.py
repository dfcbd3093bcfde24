"""Peers of the same user that mean harm, written over the bare control socket."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import ferry
from conftest import Backend, Serve, wait_until

_HEAD = struct.pack("=IHHII", 0x59525246, 1, 0, 64, 0)
"""Of a greeting of 64 bytes."""


@pytest.fixture
def dial(runtime_dir: Path) -> Iterator[Callable[[], socket.socket | None]]:
    """Connects to "test"; None while no more are let wait."""
    streams: list[socket.socket] = []

    def dial() -> socket.socket | None:
        stream = socket.socket(socket.AF_UNIX)
        streams.append(stream)
        stream.setblocking(False)
        try:
            stream.connect(str(runtime_dir / "test"))
        except BlockingIOError:
            return None
        return stream

    yield dial
    for stream in streams:
        stream.close()


def num_descriptors(backend: Backend) -> int:
    return len(os.listdir(f"/proc/{backend.process.pid}/fd"))


def send_with_descriptors(stream: socket.socket, data: bytes, count: int = 200) -> None:
    given = array.array("i", [0] * count)
    with contextlib.suppress(OSError):  # it was turned away before
        stream.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])


def test_hundreds_of_descriptors_cost_none(serve: Serve, dial: Callable[[], socket.socket | None]) -> None:
    backend = serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=30) as env:
        env.reset(seed=0)
        playing = num_descriptors(backend)
    for data in (_HEAD, b"no frame", _HEAD + b"FERRYhi\n" + bytes(56)):  # cut short, nonsense, and a greeting of nobody
        for _ in range(20):
            if (stream := dial()) is not None:
                send_with_descriptors(stream, data)
                stream.close()
    with ferry.ClientEnv("test", timeout=30) as env:
        for _ in range(20):
            if (stream := dial()) is not None:
                send_with_descriptors(stream, _HEAD)
                stream.close()
        wait_until(lambda: bool(env.reset() and num_descriptors(backend) == playing))


def test_a_crowd_that_says_nothing_is_not_noticed(serve: Serve, dial: Callable[[], socket.socket | None]) -> None:
    backend = serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=30) as env, ferry.launch("CartPole-v1") as alone:
        before = num_descriptors(backend)
        crowd = [stream for _ in range(200) if (stream := dial()) is not None]
        assert len(crowd) >= 64  # so many may wait at the door, and sixteen inside
        for seed in range(20):
            np.testing.assert_array_equal(env.reset(seed=seed)[0], alone.reset(seed=seed)[0], strict=True)
            ended = False
            while not ended:
                got, wanted = env.step(0), alone.step(0)
                np.testing.assert_array_equal(got[0], wanted[0], strict=True)
                assert got[1:4] == wanted[1:4]
                assert num_descriptors(backend) <= before + 16
                ended = got[2]
    for stream in crowd:
        stream.close()
    with ferry.ClientEnv("test", timeout=30) as env:
        env.reset(seed=0)


def test_what_a_peer_says_does_not_reach_the_terminal(runtime_dir: Path) -> None:
    said = b"\x1b[2J\x07gone"
    refusal = struct.pack("=IHHIIiI", 0x59525246, 4, 0, 8 + len(said), 0, -7, len(said)) + said
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "test"))
        listener.listen()

        def answer() -> None:
            stream, _ = listener.accept()
            with stream:
                stream.sendall(refusal)
                stream.settimeout(30)
                while stream.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ferry.BusyError, match=r"\?\[2J\?gone") as told:
            ferry.ClientEnv("test", timeout=30)
        thread.join(30)
    assert str(told.value).isprintable()
