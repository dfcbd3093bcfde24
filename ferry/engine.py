"""An engine's process: started, listened to, and ended."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path

from ferry import paths

__all__ = ["INHERITS", "Engine", "end_all", "processors"]

# Whether a process can be handed one end of a channel. Windows has no sockets that carry handles.
INHERITS = os.name == "posix"

# Seconds that a process may take to go after the goodbye, and again after SIGTERM.
GRACE = 2.0

_LAST_LINES = 20
_LAST_BYTES = 16384


class Engine:
    """A process that was given one end of a channel, and ends with this process.

    Args:
        command: The program and its arguments; "{address}" and "{index}" in them are filled in.
        index: Its number among its fellows.
        cwd: The folder to start it in.
        env: Variables to set for it, beside those of this process.
        log_dir: Where "engine-INDEX.log" receives what it prints; None: this process's standard error does.
        given: Bytes for it alone. "{given}" in the command is the number of a descriptor that it reads them from.

    Raises:
        FileNotFoundError: There is no such program.
        PermissionError: Something that is not this user's file has the name of the log.

    Attributes:
        process: The process.
        ours: This process's end of the channel.
        command: The command, as one would type it.
        log: The path of its log, or None.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        index: int = 0,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        given: bytes | None = None,
    ) -> None:
        self._parent = os.getpid()
        self._output: _Output | None = None
        self.log: Path | None = None
        self.ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as lent:
            undo.enter_context(self.ours)
            lent.enter_context(theirs)
            inherited = [theirs.fileno()]
            address = f"fd:{theirs.fileno()}"
            filled_in = {"{address}": address, "{index}": str(index)}
            if given is not None:
                inherited.append(_memory_of(given))
                lent.callback(os.close, inherited[-1])
                filled_in["{given}"] = str(inherited[-1])
            arguments = [_replaced(part, filled_in) for part in command]
            self.command = shlex.join(arguments)
            environ = {**os.environ, **(env or {}), "FERRY_ADDRESS": address}
            _make_sure_it_exists(arguments[0], cwd, environ)
            if log_dir is None:
                self._output = _Output()
                out = self._output.writing
            else:
                self.log = Path(log_dir) / f"engine-{index}.log"
                self.log.parent.mkdir(parents=True, exist_ok=True)
                out = _opened(self.log)
            lent.callback(os.close, out)
            # The launcher puts it into a group of its own: Ctrl-C interrupts the agent, not the environment under it.
            self.process: subprocess.Popen[bytes] = _in_nursery(
                lambda: subprocess.Popen(
                    [paths.launcher(), str(self._parent), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    cwd=cwd,
                    env=environ,
                    pass_fds=inherited,
                )
            )
            undo.pop_all()
        if self._output is not None:
            self._output.start()

    def fate(self) -> str:
        """How the process ended, in words. What has just closed its channel is given a moment to be gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(GRACE)
            if code >= 0:
                return f"{self.command!r} exited with code {code}"
            killer = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"{self.command!r} was killed by {killer}"
        return f"{self.command!r} (pid {self.process.pid}) is still running, but does not answer"

    def last_words(self) -> str:
        """What it printed last, introduced, or "" if it printed nothing."""
        text = self._printed().decode(errors="replace")
        lines = text.rstrip().splitlines()[-_LAST_LINES:]
        if not lines:
            return ""
        where = f"; all of it is in {self.log}" if self.log is not None else ""
        return "\n  ".join([f"\nThe last that it printed{where}:", *lines])

    def _printed(self) -> bytes:
        if self._output is not None:
            if self.process.poll() is not None:
                self._output.finish()
            return self._output.tail
        assert self.log is not None
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            return file.read()
        return b""

    def end(self) -> None:
        """Waits for the process to go, then asks it to, then makes it. Does nothing in a forked copy of the parent."""
        end_all([self])

    def _kill_all(self) -> None:
        """Kills it with what it started; it leads a group of its own."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not come as far as to lead one
                self.process.kill()


def end_all(engines: Iterable[Engine]) -> None:
    """Ends engines as `Engine.end` does, all together: many take no longer than the slowest of them alone.

    Each may have been told goodbye already; its end of the channel, where nobody took it over, is closed here. Those
    that a forked copy of their parent holds are left alone. An interrupt (Ctrl-C) kills those that are left.
    """
    ours = [engine for engine in engines if os.getpid() == engine._parent]
    for engine in ours:
        engine.ours.close()
    left = ours
    try:
        left = _outlasting(left)
        for engine in left:
            engine.process.terminate()
        left = _outlasting(left)
    finally:
        for engine in left:
            engine._kill_all()
        _outlasting(left)
    outputs = [engine._output for engine in ours if engine._output is not None]
    for output in outputs:
        output.over()
    deadline = time.monotonic() + GRACE
    for output in outputs:
        output.finish(max(0.0, deadline - time.monotonic()))


def _outlasting(engines: Iterable[Engine]) -> list[Engine]:
    """Reaps those engines that end within the grace that all have together; returns the others."""
    deadline = time.monotonic() + GRACE
    left = []
    for engine in engines:
        try:
            engine.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            left.append(engine)
    return left


class _Output:
    """Passes on what a process prints, and remembers the end of it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        self.tail = b""
        self._over = False
        self._thread = threading.Thread(target=self._pass_on, name="ferry-output", daemon=True)

    def start(self) -> None:
        """Begins, once the process has its end."""
        self._thread.start()

    def over(self) -> None:
        """Tells it that the process has ended. Its own children, who may still print, are not waited for."""
        self._over = True

    def finish(self, timeout: float = GRACE) -> None:
        """Reads what is left of a process that has ended."""
        self.over()
        self._thread.join(timeout)

    def _pass_on(self) -> None:
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        try:
            while True:
                # The last writer's end is told by POLLHUP; the time is for whoever has inherited the pipe and stays.
                ready = poll.poll(0 if self._over else 200)
                data = os.read(self._reading, 65536) if ready else b""
                if not data and (ready or self._over):
                    return
                self.tail = (self.tail + data)[-_LAST_BYTES:]
                with contextlib.suppress(OSError):
                    os.write(2, data)
        finally:
            os.close(self._reading)


def _replaced(part: str, filled_in: Mapping[str, str]) -> str:
    for name, value in filled_in.items():
        part = part.replace(name, value)
    return part


def _opened(log: Path) -> int:
    """A log to append to. Where others may write too, one of them may have put a link or a pipe there."""
    with contextlib.suppress(FileNotFoundError):
        found = log.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(
                f"the log {str(log)!r} is there already, and is no file of yours; choose another log_dir"
            )
    ways = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(log, ways, 0o666)


def _memory_of(content: bytes) -> int:
    """A descriptor that content is read from, whatever its size: a pipe would take no more than its buffer holds."""
    descriptor = os.memfd_create("ferry-given")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
