"""Question: how soon does a survivor notice that its peer was killed?

One side is killed by SIGKILL at a random instant, the other side notices it: while it waits for a peer that is stopped,
and while both step at full speed. Time runs from just before the kill to the PeerGoneError (an agent) or to the news
that the agent left (an environment). After each death the survivor goes on with the next peer; at the end nothing but
dead names may be left.

    python bench/death.py --times 200
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import ferry

PROMISE_MS = 50.0
LIMIT_S = 30.0
PR_SET_PDEATHSIG = 1


def fork(work: Callable[[], None]) -> int:
    """Runs work in a child that dies with this process; its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            signal.alarm(int(LIMIT_S))
            work()
    finally:
        os._exit(0)


def reap(pid: int) -> None:
    os.waitpid(pid, 0)


class Killer:
    """Kills a process at a random instant, from a process of its own, and keeps the time of it."""

    def __init__(self, victim: int, wait_s: float) -> None:
        self._page = mmap.mmap(-1, 8)

        def work() -> None:
            time.sleep(wait_s)
            self._page[:8] = struct.pack("q", time.monotonic_ns())
            os.kill(victim, signal.SIGKILL)

        self._pid = fork(work)

    def end(self, noticed_ns: int) -> float:
        """Milliseconds from the kill to noticed_ns."""
        reap(self._pid)
        (killed_ns,) = struct.unpack("q", self._page[:8])
        return float(noticed_ns - killed_ns) / 1e6


def serve() -> None:
    ferry.ServerBackend("CartPole-v1", "death").run()


def play() -> None:
    env = ferry.ClientEnv("death")
    while True:
        env.reset()
        for _ in range(5):
            env.step(0)


def killed_environments(times: int, stopped: bool, rng: random.Random) -> Iterator[float]:
    """An agent survives one environment after another."""
    env: ferry.ClientEnv | None = None
    for _ in range(times):
        victim = fork(serve)
        env = env or ferry.ClientEnv("death", timeout=LIMIT_S)
        env.reset()
        if stopped:
            os.kill(victim, signal.SIGSTOP)
        killer = Killer(victim, rng.uniform(0.001, 0.06))
        try:
            while True:
                _, _, terminated, _, _ = env.step(0)
                if terminated:
                    env.reset()
        except ferry.PeerGoneError:
            yield killer.end(time.monotonic_ns())
        reap(victim)
    if env:
        env.close()


def killed_agents(times: int, stopped: bool, rng: random.Random) -> Iterator[float]:
    """An environment survives one agent after another."""
    noticed: list[float] = []

    class Survivor(ferry.ServerBackend):
        killer: Killer
        victim: int

        def _reset(self) -> None:
            super()._reset()
            if stopped:
                os.kill(self.victim, signal.SIGSTOP)

        def _left(self, reason: Exception | None) -> None:
            now = time.monotonic_ns()
            if not isinstance(reason, ferry.PeerGoneError):
                raise RuntimeError(f"the agent left otherwise: {reason}")
            noticed.append(self.killer.end(now))
            reap(self.victim)
            if len(noticed) < times:
                self.next_victim()
            else:
                self.close()

        def next_victim(self) -> None:
            self.victim = fork(play)
            self.killer = Killer(self.victim, rng.uniform(0.05, 0.11))

    survivor = Survivor("CartPole-v1", "death")
    survivor.next_victim()
    survivor.run()
    yield from noticed


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def measure(times: int, seed: int) -> list[dict[str, Any]]:
    """Measures all four cases."""
    rows = []
    for name, deaths in (("environment", killed_environments), ("agent", killed_agents)):
        for stopped in (True, False):
            rng = random.Random(seed)
            before, memory = descriptors(), set(os.listdir("/dev/shm"))
            latency = np.fromiter(deaths(times, stopped, rng), float)
            left = [*Path(os.environ["FERRY_RUNTIME_DIR"]).iterdir()]
            links = {f".{p.name}.map" for p in left if p.is_socket()}  # a dead name is a socket and its link
            rows.append(
                {
                    "killed": name,
                    "survivor": "waits" if stopped else "steps at full speed",
                    "times": len(latency),
                    "p50_ms": float(np.percentile(latency, 50)),
                    "p99_ms": float(np.percentile(latency, 99)),
                    "max_ms": float(latency.max()),
                    "descriptors_left": descriptors() - before,
                    "files_left": [p.name for p in left if not p.is_socket() and p.name not in links]
                    + sorted({*os.listdir("/dev/shm")} - memory),
                }
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="deaths in each of the four cases (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ferry-death-") as directory:
        os.environ["FERRY_RUNTIME_DIR"] = directory
        rows = measure(options.times, options.seed)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print("| killed | survivor | times | p50 | p99 | max | left |\n|---|---|---|---|---|---|---|")
        for row in rows:
            times = " | ".join(f"{row[key]:.1f} ms" for key in ("p50_ms", "p99_ms", "max_ms"))
            left = f"{row['descriptors_left']} descriptors, {len(row['files_left'])} files"
            print(f"| {row['killed']} | {row['survivor']} | {row['times']} | {times} | {left} |")
    return 0 if all(row["p99_ms"] <= PROMISE_MS for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
