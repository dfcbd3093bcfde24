"""Starting an environment's process, and ending it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, Literal, NoReturn

import gymnasium
import numpy as np

from ferry import paths
from ferry.adapter import Adapter
from ferry.errors import FerryTimeoutError, PeerGoneError

__all__ = ["LaunchedEnv", "launch"]

_ENV_ID = re.compile(r"([\w.]+:)?([\w-]+/)?[\w.-]+-v\d+|[\w.]+:[A-Za-z_]\w*")

# Seconds that a process may take to go after the goodbye, and again after SIGTERM.
_GRACE = 2.0

# Seconds between two looks at a process that has not connected yet.
_LOOK = 0.05


def launch(
    command: str | Sequence[str | os.PathLike[str]],
    *,
    timeout: float | None = 60.0,
    copy: bool = True,
    check_actions: Literal["range", "bounds"] = "range",
    max_bytes: int | None = None,
    render_mode: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    **make_kwargs: Any,
) -> LaunchedEnv:
    """Starts an environment in a process of its own and connects to it.

    The process finds its end of the channel in FERRY_ADDRESS, whatever address it names itself. It dies with this
    process, also when this one is killed, and is not reached by this terminal's Ctrl-C.

    Args:
        command: A program with its arguments, as a list or as one line for `shlex.split`; or an id of Gymnasium's
            registry, or "module:callable", served by a Python process.
        timeout: As in `ClientEnv`.
        copy: As in `ClientEnv`.
        check_actions: As in `ClientEnv`.
        max_bytes: As in `ClientEnv`.
        render_mode: As in `ClientEnv`.
        cwd: The folder to start it in.
        env: Variables to set for it, beside those of this process.
        **make_kwargs: For an id: arguments of the environment, which JSON must be able to carry.

    Returns:
        The environment; its `close` ends the process.

    Raises:
        FileNotFoundError: There is no such program.
        PeerGoneError: The process ended before it connected; its exit code is in the text.
    """
    if isinstance(command, str) and (_ENV_ID.fullmatch(command) or command in gymnasium.registry):
        arguments = [sys.executable, "-m", "ferry", "serve", command]
        if make_kwargs:
            arguments += ["--kwargs", json.dumps(make_kwargs)]
    else:
        if make_kwargs:
            names = ", ".join(make_kwargs)
            raise TypeError(f"{names}: only an environment's id takes arguments by name, not the program {command!r}")
        arguments = shlex.split(command) if isinstance(command, str) else [os.fspath(part) for part in command]
    if not arguments:
        raise ValueError("there is no program to launch: the command is empty")
    return LaunchedEnv(
        arguments,
        timeout=timeout,
        copy=copy,
        check_actions=check_actions,
        max_bytes=max_bytes,
        render_mode=render_mode,
        cwd=cwd,
        env=env,
    )


class LaunchedEnv(Adapter):
    """A gymnasium.Env whose environment runs in a process that this object started, and ends with it. Made by `launch`.

    It does not connect again: when the process is gone, launch another. What `launch` does not take for itself is the
    adapter's.

    Attributes:
        process: The process.
    """

    _maker = "launch"
    _after_loss = ""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo:
            undo.enter_context(self._ours)
            with theirs:
                self._child = _Child(arguments, theirs, cwd, env)
            self.process = self._child.process
            undo.callback(self._child.end)
            try:
                super().__init__(f"fd:{self._ours.fileno()}", _afterwards=self._child.end, **options)
            except PeerGoneError:
                text = f"{self._child.fate()} before it spoke Ferry; what it printed says more"
                raise PeerGoneError(text) from None
            undo.pop_all()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As `Adapter.step`; PeerGoneError says how the process ended."""
        try:
            return self._agent.step(action)
        except PeerGoneError as error:
            self._raise_gone(error)

    def reset(
        self, *, seed: int | np.integer[Any] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As `Adapter.reset`; PeerGoneError says how the process ended."""
        try:
            return super().reset(seed=seed, options=options)
        except PeerGoneError as error:
            self._raise_gone(error)

    def wait(self) -> tuple[Any, ...]:
        """As `Adapter.wait`; PeerGoneError says how the process ended."""
        try:
            return super().wait()
        except PeerGoneError as error:
            self._raise_gone(error)

    def _request(self, **request: Any) -> Any:
        try:
            return super()._request(**request)
        except PeerGoneError as error:
            self._raise_gone(error)

    def _raise_gone(self, error: PeerGoneError) -> NoReturn:
        raise PeerGoneError(f"{error} ({self._child.fate()}); launch it again") from None

    def _met(self) -> bool:
        self._ours.detach()  # connecting takes it over; a second time it finds it used up
        begin = time.monotonic()
        while self._timeout is None or time.monotonic() < begin + self._timeout:
            if self._agent.connect(_LOOK):
                return True
            if self.process.poll() is not None:
                raise PeerGoneError("no connection was made")
        raise FerryTimeoutError(
            f"{self._child.command!r} (pid {self.process.pid}) has not spoken Ferry for {self._timeout:g} s; does it "
            "call ferry_env_open and ferry_env_wait, or run a backend? A longer timeout gives it more time"
        )


class _Child:
    """A process that ends with this one."""

    def __init__(
        self,
        arguments: Sequence[str],
        channel: socket.socket,
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
    ) -> None:
        self.command = shlex.join(arguments)
        self._parent = os.getpid()
        environ = {**os.environ, **(env or {}), "FERRY_ADDRESS": f"fd:{channel.fileno()}"}
        _make_sure_it_exists(arguments[0], cwd, environ)
        # In a session of its own, so that Ctrl-C interrupts the agent and not the environment under it.
        self.process: subprocess.Popen[bytes] = _in_nursery(
            lambda: subprocess.Popen(
                [paths.launcher(), str(self._parent), *arguments],
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                env=environ,
                pass_fds=[channel.fileno()],
                start_new_session=True,
            )
        )

    def fate(self) -> str:
        """How the process ended, in words. What has just closed its channel is given a moment to be gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(_GRACE)
            if code >= 0:
                return f"{self.command!r} exited with code {code}"
            killer = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"{self.command!r} was killed by {killer}"
        return f"{self.command!r} (pid {self.process.pid}) is still running, but does not answer"

    def end(self) -> None:
        """Waits for the process to go, then asks it to, then makes it. Does nothing in a forked copy of the parent."""
        if os.getpid() != self._parent:
            return
        for urge in (None, self.process.terminate, self.process.kill):
            if urge is not None:
                urge()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_GRACE)
                return


def _make_sure_it_exists(program: str, cwd: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> None:
    if os.sep in program:
        if not os.path.exists(os.path.join(cwd or os.curdir, program)):
            raise FileNotFoundError(f"there is no program {program!r}" + (f" in {os.fspath(cwd)!r}" if cwd else ""))
    elif shutil.which(program, path=environ.get("PATH")) is None:
        raise FileNotFoundError(
            f"there is no program {program!r} in PATH; give its path, or the id of an environment as 'Name-v0'"
        )


def _in_nursery(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Calls start in the thread that starts all children, and returns its result."""
    child: Future[subprocess.Popen[bytes]] = Future()

    def work() -> None:
        try:
            child.set_result(start())
        except BaseException as error:
            child.set_exception(error)

    _nursery(os.getpid()).put(work)
    return child.result()


@lru_cache(maxsize=1)
def _nursery(pid: int) -> queue.SimpleQueue[Callable[[], None]]:
    """The queue of a thread that lives as long as the process with this pid.

    The system kills a child when the *thread* that started it ends, so that no other thread will do.
    """
    jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            jobs.get()()

    threading.Thread(target=work, name="ferry-launch", daemon=True).start()
    return jobs
