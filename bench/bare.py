"""Envs that work and are stepped in their own process: what a worker does, without an agent.

Usage: python bare.py ROUNDS NUM_ROWS. For each line "N" it steps rows of ``vectors.Busy`` N times from their seeds and
prints "NS X": how long that took, and what the last of them came to.
"""

from __future__ import annotations

import functools
import sys
from time import perf_counter_ns

import numpy as np
from gymnasium.vector import SyncVectorEnv

from vectors import Busy


def main() -> None:
    """Works on request, until nobody asks."""
    rounds, num_rows = map(int, sys.argv[1:])
    rows = SyncVectorEnv([functools.partial(Busy, rounds)] * num_rows)
    actions = np.zeros(num_rows, np.int64)
    for line in sys.stdin:
        observations, _ = rows.reset(seed=0)
        start = perf_counter_ns()
        for _ in range(int(line)):
            observations = rows.step(actions)[0]
        print(perf_counter_ns() - start, int(observations[-1, 0]), flush=True)


if __name__ == "__main__":
    main()
