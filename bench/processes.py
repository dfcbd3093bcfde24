"""The processes at the other end of a benchmark: environments, and agents written in C."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

BENCH = Path(__file__).resolve().parent
BUILD = BENCH.parent / "build"
END_TIMEOUT_S = 5.0


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without anything that would steer Ferry, plus ``variables``."""
    return {k: v for k, v in os.environ.items() if not k.startswith("FERRY_")} | variables


def dependent(command: Sequence[str], cpu: int | None = None) -> list[str]:
    """The command that runs ``command`` on a CPU and not beyond the life of this process."""
    where = "any" if cpu is None else str(cpu)
    return [sys.executable, str(BENCH / "child.py"), where, str(os.getpid()), *command]


class Child:
    """A process that is pinned to a CPU, dies with this one, and is reaped on leaving the context.

    Args:
        command: What to run.
        cpu: Where; -1: wherever.
        variables: Added to its environment.
        pipes: Whether its standard input and output are pipes.
    """

    def __init__(
        self, command: Sequence[str], cpu: int, variables: Mapping[str, str] | None = None, *, pipes: bool = False
    ) -> None:
        stream = subprocess.PIPE if pipes else None
        self.command = list(command)
        self.process = subprocess.Popen(
            dependent(command, cpu if cpu >= 0 else None),
            env=environment(**(variables or {})),
            stdin=stream or subprocess.DEVNULL,
            stdout=stream or subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def read(self) -> str:
        """The next line that it prints."""
        line = self._pipe(self.process.stdout).readline()
        if not line:
            raise RuntimeError(f"{self.command} ended with code {self.process.wait(END_TIMEOUT_S)}")
        return line.strip()

    def write(self, line: str) -> None:
        """Gives it a line to read."""
        stdin = self._pipe(self.process.stdin)
        stdin.write(f"{line}\n")
        stdin.flush()

    @staticmethod
    def _pipe(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream


class CAgent(Child):
    """An agent written in C (``bench/c/agent.c``) that replays episodes on request.

    Args:
        address: Where it connects, or serves if the address says so.
        cpu: Where it runs.
    """

    def __init__(self, address: str, cpu: int) -> None:
        super().__init__([str(BUILD / "bench" / "agent"), address], cpu, pipes=True)

    def wait_ready(self) -> None:
        """Returns once it is connected."""
        if self.read() != "ready":
            raise RuntimeError(f"{self.command} did not get ready")

    def replay(self, seed: int, actions: Sequence[int]) -> tuple[float, float]:
        """Plays one episode.

        Returns:
            Nanoseconds that its steps took together, and the sum of their rewards.
        """
        self.write(f"{seed} {''.join(map(str, actions))}")
        elapsed_ns, total = self.read().split()
        return float(elapsed_ns), float(total)


class Worker(Child):
    """A process that works on request and serves nobody (``bench/c/busy.c``).

    Args:
        command: Runs it.
        rounds: Of work in a step.
        cpu: Where.
    """

    def __init__(self, command: Sequence[str], rounds: int, cpu: int) -> None:
        super().__init__(command, cpu, pipes=True)
        self.rounds = rounds

    def ask(self, steps: int) -> None:
        """Has it do the work of so many steps."""
        self.write(str(steps))

    def answer(self) -> tuple[float, int]:
        """Nanoseconds that the work took, and what came out of it."""
        elapsed_ns, x = self.read().split()
        return float(elapsed_ns), int(x)
