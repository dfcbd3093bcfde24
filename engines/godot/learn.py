"""An agent learns to keep the ball of the example on its beam.

engines/godot/build.sh engines/godot/example
python engines/godot/learn.py                           # the engine in GODOT, or godot4 or godot in PATH
python engines/godot/learn.py --watch                   # the same, and then an episode in a window
python engines/godot/learn.py --picture docs/godot-learning.svg
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

import ferry
from ferry.demo import CrossEntropy

HERE = Path(__file__).resolve().parent
HEADLESS = ["--headless", "--fixed-fps", "60", "--disable-render-loop"]

LEARNED = 450.0
"""Mean return of a generation that counts as learned; the most that an episode of 500 steps can bring is 500."""
TIME_LIMIT_S = 60.0
GAIN = 5.0
"""Of the policy: weights of size 1 then turn the beam in earnest."""


def engine() -> str:
    """Where Godot is."""
    fetched = HERE.parent.parent / "build" / "godot" / "godot"
    found = os.environ.get("GODOT") or shutil.which("godot4") or shutil.which("godot") or str(fetched)
    if not os.access(found, os.X_OK):
        raise FileNotFoundError("there is no Godot: set GODOT to its path, or get one by tools/fetch_godot.sh")
    return found


def play(env: gymnasium.Env[Any, Any], weights: npt.NDArray[np.float32], seed: int | None = None) -> tuple[float, int]:
    """Plays one episode with a linear policy; returns its return and its length."""
    observation, _ = env.reset(seed=seed)
    total, steps, ended = 0.0, 0, False
    gains = GAIN * weights
    while not ended:
        turn = min(1.0, max(-1.0, float(gains @ observation)))
        observation, reward, terminated, truncated, _ = env.step(np.array([turn], np.float32))
        total += float(reward)
        steps += 1
        ended = terminated or truncated
    return total, steps


def learn(
    env: gymnasium.Env[Any, Any], seed: int, enough: float = LEARNED
) -> tuple[list[list[float]], npt.NDArray[np.float32], int]:
    """Learns until a generation is good on average or the time is up.

    Returns:
        The returns of each generation, the best weights of the last, and how many steps all took.
    """
    method = CrossEntropy(3, np.random.default_rng(seed))
    generations: list[list[float]] = []
    steps = 0
    deadline = time.perf_counter() + TIME_LIMIT_S
    env.reset(seed=seed)
    while True:
        candidates = method.ask()
        played = [play(env, weights) for weights in candidates]
        returns = [each[0] for each in played]
        steps += sum(each[1] for each in played)
        generations.append(returns)
        print(f"generation {len(generations):2}   mean return {statistics.fmean(returns):5.1f}", flush=True)
        if statistics.fmean(returns) >= enough or time.perf_counter() > deadline:
            return generations, candidates[int(np.argmax(returns))], steps
        method.tell(candidates, returns)


def draw(generations: list[list[float]], path: Path) -> None:
    """Draws what each generation of policies brought: the median, the quarters around it, the best."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "ferry"  # so that the same run gives the same file
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot(
        title="A ball on a beam in Godot, learned through Ferry", xlabel="generation of 40 policies", ylabel="return"
    )
    at = np.arange(1, len(generations) + 1)
    low, middle, high = np.quantile(generations, [0.25, 0.5, 0.75], axis=1)
    axes.fill_between(at, low, high, alpha=0.25, label="quarter to three quarters")
    axes.plot(at, middle, marker="o", markersize=3, label="median")
    axes.plot(at, np.max(generations, axis=1), linewidth=1, label="best")
    axes.axhline(500, linestyle="--", color="grey", linewidth=1, label="the most there is")
    axes.set_xticks(at)
    axes.set_ylim(0, 520)
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> int:
    """Learns, and says how it went; the exit code is 0 if it was learned."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of game and method (default: %(default)s)")
    parser.add_argument("--enough", type=float, default=LEARNED, help="mean return to learn (default: %(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the learning curve there")
    parser.add_argument("--watch", action="store_true", help="play an episode in a window afterwards")
    options = parser.parse_args()
    command = [engine(), "--path", str(HERE / "example")]
    with ferry.launch([*command, *HEADLESS]) as env:
        begin = time.perf_counter()
        generations, best, steps = learn(env, options.seed, options.enough)
        seconds = time.perf_counter() - begin
    mean = statistics.fmean(generations[-1])
    print(f"mean return {mean:.1f} after {steps:,} steps in {seconds:.1f} s: {steps / seconds:,.0f} steps a second")
    if options.picture is not None:
        draw(generations, options.picture)
    if options.watch:
        with ferry.launch(command) as env:
            print(f"in the window: {play(env, best, options.seed)[0]:.1f}")
    return 0 if mean >= options.enough else 1


if __name__ == "__main__":
    sys.exit(main())
