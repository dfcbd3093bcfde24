"""The trainer's side of godot-rl, in an interpreter that has it: trainer.py PORT STEPS

Prints what is observed after STEPS steps, and then what blocks of steps took, in nanoseconds.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from godot_rl.core.godot_env import GodotEnv  # type: ignore[import-not-found]


def main() -> None:
    """Plays a block of as many steps as each line says that it reads."""
    out = sys.stdout
    sys.stdout = sys.stderr  # where the package may print
    env = GodotEnv(env_path=None, port=int(sys.argv[1]))
    still = [np.zeros((1, 1), np.float32)]  # [head][agent]
    env.reset()
    for _ in range(int(sys.argv[2])):
        observations = env.step(still)[0]
    print(json.dumps(observations[0]["obs"]), file=out, flush=True)
    for line in sys.stdin:
        steps = int(line)
        begin = time.perf_counter_ns()
        for _ in range(steps):
            done = env.step(still)[2]
            if done[0]:
                env.reset()
        print(time.perf_counter_ns() - begin, file=out, flush=True)


if __name__ == "__main__":
    main()
