"""Where a comparison takes place: how to measure, programs that run to their end, and processes that end with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import gymnasium as gym

from blocks import Block, Times, alternate
from contenders import PEER_TIMEOUT_S
from ferry import ClientVectorEnv
from processes import BENCH, BUILD, CAgent, Child, Worker, dependent, environment

COMMAND_TIMEOUT_S = 200.0
POLE, PIXEL, GAME = (str(BUILD / "examples" / name) for name in ("pole", "pixel", "gameloop"))
BACKEND = [sys.executable, str(BENCH / "backend.py")]


class Closable(Protocol):
    """What has to be closed."""

    def close(self) -> object:
        """Ends it."""


Closes = TypeVar("Closes", bound=Closable)


@dataclass
class Bench:
    """How to measure.

    Attributes:
        cpus: Of the agent and of the env.
        allowed: All that this process may use.
        quick: Whether to be done within a minute, at the price of less certain figures.
        directory: Where addresses lie.
        on_progress: Called now and then, never inside a block.
    """

    cpus: tuple[int, int]
    allowed: set[int]
    quick: bool
    directory: Path
    on_progress: Callable[[], None] = lambda: None
    _names: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def rounds(self, full: int, quick: int) -> int:
        """The number of rounds for this run."""
        return quick if self.quick else full

    def address(self) -> str:
        """A new one."""
        return str(self.directory / f"address-{next(self._names)}")

    @contextmanager
    def unpinned(self) -> Iterator[None]:
        """Lets the kernel place what is started inside."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.allowed)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def alternate(self, contenders: dict[str, Block], rounds: int) -> Times:
        """Alternating blocks, with the progress shown between rounds."""
        return alternate(contenders, rounds, self.on_progress)


def run(command: list[str], **variables: str) -> str:
    """Runs a command to its end and returns what it printed."""
    done = subprocess.run(
        dependent(command), env=environment(**variables), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def run_c(bench: Bench, program: str, *arguments: object, wait: str = "adaptive") -> dict[str, Any]:
    """Runs one of the C benchmarks and returns what it says."""
    command = [str(BUILD / "bench" / program), *map(str, arguments)]
    return json.loads(run(command, FERRY_WAIT=wait, TMPDIR=str(bench.directory)))  # type: ignore[no-any-return]


@contextmanager
def waiting(mode: str) -> Iterator[None]:
    """Sets FERRY_WAIT for what is opened inside."""
    before = os.environ.get("FERRY_WAIT")
    os.environ["FERRY_WAIT"] = mode
    try:
        yield
    finally:
        if before is None:
            del os.environ["FERRY_WAIT"]
        else:
            os.environ["FERRY_WAIT"] = before


class Scene:
    """Environments and agents of one comparison; all end with the context.

    Args:
        bench: How to measure.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._stack = ExitStack()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def env(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """Keeps an env until the end."""
        return self.keep(env)

    def ferry(
        self, command: list[str], *, serve: bool = True, wait: str = "adaptive", cpu: int | None = None, **options: Any
    ) -> gym.Env[Any, Any]:
        """An adapter to a new environment process.

        Args:
            command: Runs the environment.
            serve: Whether it serves (and the adapter is a ClientEnv) or connects (to a ServerEnv).
            wait: How both sides wait.
            cpu: Where it runs; the env's CPU by default.
            options: For ``gym.make``.
        """
        address = self._bench.address()
        role, env_id = ("serve", "ferry/Client-v0") if serve else ("connect", "ferry/Server-v0")
        self._child(command, role, address, wait, cpu)
        with waiting(wait):
            return self.env(gym.make(env_id, address=address, timeout=PEER_TIMEOUT_S, **options))

    def batch(self, command: list[str], **options: Any) -> ClientVectorEnv:
        """A vector environment over one new environment process on the env's CPU.

        Args:
            command: Runs the environment.
            options: For ``ferry.ClientVectorEnv``.
        """
        address, _ = self.served(command)
        return self.keep(ClientVectorEnv(address, timeout=PEER_TIMEOUT_S, **options))

    def keep(self, thing: Closes) -> Closes:
        """Closes it in the end."""
        self._stack.callback(thing.close)
        return thing

    def c_agent(self, command: list[str], *, serve: bool = True, wait: str = "adaptive") -> CAgent:
        """An agent written in C, connected to a new environment process."""
        address = self._bench.address()
        self._child(command, "serve" if serve else "connect", address, wait, None)
        agent = CAgent(f"{'connect' if serve else 'serve'}:{address}", self._bench.cpus[0])
        self._stack.enter_context(agent)
        agent.wait_ready()
        return agent

    def worker(self, command: list[str], rounds: int, cpu: int) -> Worker:
        """A process that works on request."""
        worker = Worker(command, rounds, cpu)
        self._stack.enter_context(worker)
        return worker

    def served(self, command: list[str]) -> tuple[str, Child]:
        """Where a new environment process serves, on the env's CPU, and the process."""
        address = self._bench.address()
        return address, self._child(command, "serve", address, "adaptive", None)

    def _child(self, command: list[str], role: str, address: str, wait: str, cpu: int | None) -> Child:
        variables = {"FERRY_ADDRESS": f"{role}:{address}", "FERRY_WAIT": wait}
        child = Child(command, self._bench.cpus[1] if cpu is None else cpu, variables)
        self._stack.enter_context(child)
        return child
