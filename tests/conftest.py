"""Processes for the tests: whatever a test starts is gone when it ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import pytest

import ferry
from ferry import paths

TESTS = Path(__file__).parent
# A shell starts its background jobs deaf to Ctrl-C, and they hand that on; what tests start must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, str(TESTS))

# Seconds that anything may take before a test calls it lost.
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of each test's own for addresses; short, because the paths of sockets are limited."""
    folder = Path(tempfile.mkdtemp(prefix="ferry-"))
    monkeypatch.setenv("FERRY_RUNTIME_DIR", str(folder))
    for name in ("FERRY_ADDRESS", "FERRY_TIMEOUT", "FERRY_WAIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    monkeypatch.setenv("SB3_LOGDIR", str(folder / "logs"))  # Stable-Baselines3 makes a folder for each training
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Start(Protocol):
    def __call__(self, *arguments: str, **options: Any) -> subprocess.Popen[str]: ...


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python with arguments; its standard error is a pipe.

    All are killed and reaped after the test, with whatever they have started: simulators have processes of their own.
    """
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        # The system ends a child of the launcher with the *thread* that started it.
        assert threading.current_thread() is threading.main_thread()
        process = subprocess.Popen(
            [str(paths.launcher()), str(os.getpid()), sys.executable, *arguments],  # so that they die with this one
            start_new_session=True,
            **{"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


class Backend:
    """A backend in another process.

    Attributes:
        process: The process.
        address: Where it is met.
    """

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def errors(self) -> str:
        """Its standard error to the end; ends it."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.communicate(timeout=PATIENCE)[1]


class Serve(Protocol):
    def __call__(
        self, env_id: str, address: str = "test", paradigm: str = "ServerBackend", num_envs: int = 1
    ) -> Backend: ...


@pytest.fixture
def serve(start: Start) -> Serve:
    """Starts a ServerBackend or ClientBackend for an environment's id."""

    def serve(env_id: str, address: str = "test", paradigm: str = "ServerBackend", num_envs: int = 1) -> Backend:
        code = f"import sys, ferry; ferry.{paradigm}(sys.argv[1], sys.argv[2], num_envs=int(sys.argv[3])).run()"
        return Backend(start("-c", code, env_id, address, str(num_envs)), address)

    return serve


class Connect(Protocol):
    def __call__(self, env_id: str, **options: Any) -> ferry.ClientEnv | ferry.ServerEnv: ...


@pytest.fixture(params=["ClientEnv", "ServerEnv"])
def connect(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Connect]:
    """Makes an adapter of either paradigm, with the backend that belongs to it in another process."""
    made: list[ferry.ClientEnv | ferry.ServerEnv] = []

    def connect(env_id: str, **options: Any) -> ferry.ClientEnv | ferry.ServerEnv:
        address = f"test{len(made)}"
        paradigm = {"ClientEnv": "ServerBackend", "ServerEnv": "ClientBackend"}[request.param]
        serve(env_id, address, paradigm)
        adapter: type[ferry.ClientEnv | ferry.ServerEnv] = getattr(ferry, request.param)
        env = adapter(address, timeout=options.pop("timeout", PATIENCE), **options)
        made.append(env)
        return env

    yield connect
    for env in made:
        env.close()


@pytest.fixture
def client(serve: Serve) -> Iterator[Callable[..., ferry.ClientEnv]]:
    """Makes a ClientEnv with a ServerBackend in another process."""
    made: list[ferry.ClientEnv] = []

    def client(env_id: str = "sample_envs:Scripted", **options: Any) -> ferry.ClientEnv:
        address = f"test{len(made)}"
        serve(env_id, address)
        env = ferry.ClientEnv(address, timeout=options.pop("timeout", PATIENCE), **options)
        made.append(env)
        return env

    yield client
    for env in made:
        env.close()


def newest(name: str) -> str:
    """The id of the newest version of an environment of Gymnasium's."""
    specs = [spec for spec in gymnasium.registry.values() if spec.name == name and spec.namespace is None]
    return max(specs, key=lambda spec: spec.version or 0).id


def line_of(process: subprocess.Popen[str], timeout: float = PATIENCE) -> str:
    """The next line that a process prints; "" at its end."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout)
    assert ready, "the process prints nothing"
    return process.stdout.readline()


def wait_until(condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
    """Polls for what nothing announces, such as the state of another process."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def program(code: str, *arguments: str) -> list[str]:
    """The command that runs Python code."""
    return [sys.executable, "-c", code, *arguments]


def children() -> set[int]:
    """The processes that this one has started and not reaped."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
