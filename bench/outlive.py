"""How soon does a run go on after its environment was killed, and does anything outlive a trainer that was?

``python bench/outlive.py [--kills N] [--trainers N]``: kills the process of a launched C pole at random instants while
one and the same env object steps it, with ``on_crash="restart"``; then kills trainers that have engines of their own.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

import ferry
from ferry import paths

TRAINER = """
import sys, ferry
envs = [ferry.launch([sys.argv[1]], on_crash="restart") for _ in range(3)]
for env in envs: env.reset()
print(*[env.process.pid for env in envs], flush=True)
while True:
    for env in envs:
        if any(env.step(0)[2:4]): env.reset()
"""
PATIENCE_S = 20.0


def children() -> int:
    """How many processes this one has started and not reaped."""
    return sum(len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children"))


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def outlive_engines(kills: int, seed: int) -> dict[str, float]:
    """Kills the engine of one env so often, at random instants of its stepping."""
    chance = random.Random(seed)
    waits_ms, truncated_episodes, double = [], 0, 0
    descriptors = len(os.listdir("/proc/self/fd"))
    with ferry.launch([paths.pole()], on_crash="restart", max_restarts=10 * kills) as env:
        env.reset(seed=seed)
        for _ in range(kills):
            victim, killed_ns = env.process, 0

            def kill(victim: subprocess.Popen[bytes] = victim) -> None:
                nonlocal killed_ns
                killed_ns = time.perf_counter_ns()
                victim.kill()

            timer = threading.Timer(chance.uniform(0.001, 0.05), kill)
            timer.start()
            ends = 0
            while env.process is victim:
                _, _, terminated, truncated, info = env.step(0)
                ends += "ferry" in info
                if terminated or truncated:
                    env.reset()
            env.step(0)
            waits_ms.append((time.perf_counter_ns() - killed_ns) / 1e6)
            timer.join()
            truncated_episodes += ends
            double += ends > 1
    return {
        "kills": kills,
        "truncated": truncated_episodes,
        "truncated twice": double,
        "kill to first step, p50 ms": float(np.percentile(waits_ms, 50)),
        "p95 ms": float(np.percentile(waits_ms, 95)),
        "max ms": max(waits_ms),
        "processes left": children(),
        "descriptors left": len(os.listdir("/proc/self/fd")) - descriptors,
    }


def outlive_trainers(count: int) -> dict[str, float]:
    """Kills so many trainers with three engines each."""
    waits_ms, left = [], 0
    for _ in range(count):
        trainer = subprocess.Popen(
            [sys.executable, "-c", TRAINER, str(paths.pole())], stdout=subprocess.PIPE, text=True
        )
        assert trainer.stdout is not None
        engines = [int(word) for word in trainer.stdout.readline().split()]
        trainer.send_signal(signal.SIGKILL)
        begin = time.perf_counter()
        while any(map(is_alive, engines)) and time.perf_counter() < begin + PATIENCE_S:
            time.sleep(0.001)
        waits_ms.append((time.perf_counter() - begin) * 1e3)
        left += sum(map(is_alive, engines))
        trainer.wait(PATIENCE_S)
        trainer.stdout.close()
    return {"trainers": count, "engines gone after, max ms": max(waits_ms), "engines left": left}


def main() -> None:
    """Runs both and prints what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="of the environment (default: %(default)s)")
    parser.add_argument("--trainers", type=int, default=50, help="that are killed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for found in (outlive_engines(options.kills, options.seed), outlive_trainers(options.trainers)):
        for key, value in found.items():
            print(f"{key:28} {value:,.1f}" if isinstance(value, float) else f"{key:28} {value}")


if __name__ == "__main__":
    main()
