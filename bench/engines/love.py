"""Question: what does a step of a LÖVE game cost through Ferry, and how much of it is Ferry's?

The game (bench/engines/love_game) steps its Box2D world for an agent in Python, and in blocks between by itself, in the
same process: what the first take longer is Ferry's share, both sides of it and the agent's Python. Both must end in the
same place, to the bit. ``cd bench && python -m
engines.love [ROUNDS [STEPS]]`` prints the figures as JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import ferry
from scene import waiting

ROOT = Path(__file__).resolve().parents[2]
GAME = ROOT / "bench" / "engines" / "love_game"
BAR_US = 3.0
SEED = 5


def stepped(env: ferry.LaunchedEnv, steps: int) -> tuple[float, list[float]]:
    """Microseconds a step through Ferry, and the last observation."""
    actions = [i % 3 - 1 for i in range(steps)]
    observation, _ = env.reset(seed=SEED)
    step = env.step
    start = time.perf_counter()
    for action in actions:
        observation, *_ = step(action)
    return (time.perf_counter() - start) * 1e6 / steps, observation.tolist()


def alone(env: ferry.LaunchedEnv, steps: int) -> tuple[float, list[float]]:
    """The same without Ferry."""
    found = env.call("alone", SEED, steps)
    return found["us"], np.array(found["observation"], np.float32).tolist()


def compare(wait: str, rounds: int, steps: int) -> dict[str, float]:
    """Alternates blocks of the two in one pair of processes."""
    command = [shutil.which("love") or "love", str(GAME)]
    variables = {
        "FERRY_LIBRARY": str(ROOT / "build" / "libferry.so"),
        "SDL_VIDEODRIVER": "dummy",
        "ALSOFT_DRIVERS": "null",
    }
    with waiting(wait), ferry.launch(command, env=variables) as env:
        times = []
        for i in range(rounds + 1):
            order = (stepped, alone) if i % 2 else (alone, stepped)
            found = {block: block(env, steps) for block in order}
            assert found[stepped][1] == found[alone][1], "the two did not do the same"
            times.append((found[stepped][0], found[alone][0]))
    through, bare = zip(*times[1:], strict=True)  # the first warms up
    share = median(one - other for one, other in zip(through, bare, strict=True))
    return {
        "steps_per_s": 1e6 / median(through),
        "engine_alone_steps_per_s": 1e6 / median(bare),
        "ferry_us_per_step": share,
        "ferry_us_per_step_at_best": min(through) - min(bare),
    }


def measure(rounds: int = 41, steps: int = 1000) -> dict[str, Any]:
    """What bench/engines asks of every engine, for both ways of waiting.

    Returns:
        ``engine``, ``bar_us`` (of ``spin``), and for ``spin`` and ``adaptive`` ``steps_per_s``,
        ``engine_alone_steps_per_s``, ``ferry_us_per_step`` and, of the fastest blocks alone, which a crowded machine
        leaves as they are, ``ferry_us_per_step_at_best``; or ``engine`` and ``skipped``, a reason.
    """
    if shutil.which("love") is None:
        return {"engine": "LÖVE", "skipped": "love is not here"}
    return {"engine": "LÖVE", "bar_us": BAR_US} | {wait: compare(wait, rounds, steps) for wait in ("spin", "adaptive")}


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=4, ensure_ascii=False))
