"""What does it cost an agent in real time to think, and what does it cost to wait for it?

``python bench/delay.py [--episodes N] [--hz N] [--picture FILE]``: poles that run in real time (``realtime_pole.c``)
are balanced by agents that take so long to think. One takes the newest frame; one predicts from it, and from its own
last action, what will be when it has thought; the pole of a third *decides*: each tick waits for the action.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import gymnasium
import numpy as np

import ferry
from processes import BUILD, Child

POLE = str(BUILD / "examples" / "realtime_pole")
DELAYS_MS = (0, 20, 40, 60, 80, 90, 100, 120, 160, 200, 250)
GAINS = (1.0, 2.2, 31.0, 8.0)  # newtons for each m, m/s, rad and rad/s
MAX_FORCE = 10.0
DECIDE_MS = 1000  # longer than any agent here thinks
MODEL_STEP_S = 0.005
FEW, MANY = 6, 40  # episodes at once: where a pole decides, nothing depends on who runs when
PATIENCE_S = 60.0

State = list[float]


class Played(NamedTuple):
    """An episode: its return, which is the seconds for which the pole stood, and how fast the world's clock went."""

    total: float
    frames_per_s: float


def predicted(state: State, force: float, seconds: float) -> State:
    """The state so much later; the equations are those of the pole."""
    x, v, theta, spin = state
    steps = max(1, math.ceil(seconds / MODEL_STEP_S))
    tau = seconds / steps
    for _ in range(steps):
        cosine, sine = math.cos(theta), math.sin(theta)
        push = (force + 0.05 * spin * spin * sine) / 1.1
        fall = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine * cosine / 1.1))
        shift = push - 0.05 * fall * cosine / 1.1
        x, v, theta, spin = x + tau * v, v + tau * shift, theta + tau * spin, spin + tau * fall
    return [x, v, theta, spin]


def play(address: str, delay_s: float, seed: int, predict: bool) -> Played:
    """Plays one episode, and sleeps so long before each action."""
    made = ferry.RealtimeEnv(address, pace="frame", timeout=PATIENCE_S)
    period_s = 1.0 / float(made.metadata["render_fps"])
    env: gymnasium.Env[Any, Any] = ferry.RecentActions(made, 1) if predict else made
    with contextlib.closing(env):
        observation, info = env.reset(seed=seed)
        total, ended, begin = 0.0, False, time.perf_counter()
        while not ended:
            if predict:
                age_s = info.get("ferry", {}).get("obs_age_s") or 0.0
                # The action will wait for the next tick, half a period on average.
                last = float(observation["actions"][0][0])
                state = predicted(observation["observation"].tolist(), last, age_s + delay_s + period_s / 2)
            else:
                state = observation.tolist()
            time.sleep(delay_s)
            force = sum(gain * value for gain, value in zip(GAINS, state, strict=True))
            action = np.array([min(MAX_FORCE, max(-MAX_FORCE, force))], np.float32)
            observation, reward, terminated, truncated, info = env.step(action)
            total += float(reward)
            ended = terminated or truncated
        return Played(total, info["ferry"]["frame"] / (time.perf_counter() - begin))


class Contender(NamedTuple):
    """How an agent and its pole deal with the delay."""

    label: str
    decides: bool
    predicts: bool


CONTENDERS = (
    Contender("takes the newest frame", False, False),
    Contender("predicts over its delay", False, True),
    Contender("the pole decides: it waits", True, False),
)


def episode(folder: str, hz: int, contender: Contender, delay_ms: int, number: int) -> Played:
    """Starts a pole and plays one episode with it."""
    address = f"{folder}/{CONTENDERS.index(contender)}-{delay_ms}-{number}"
    with Child([POLE, address, str(hz), *([str(DECIDE_MS)] if contender.decides else [])], -1):
        return play(address, delay_ms / 1e3, number, contender.predicts)


def measure(contender: Contender, episodes: int, hz: int, at_once: int) -> list[list[Played]]:
    """What a contender played, by delay."""
    jobs = [(delay, number) for delay in DELAYS_MS for number in range(episodes)]
    with TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        played = iter(list(pool.map(lambda job: episode(folder, hz, contender, *job), jobs)))
    return [[next(played) for _ in range(episodes)] for _ in DELAYS_MS]


def quartiles(results: list[list[Played]], figure: Callable[[Played], float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A quarter, the median and three quarters, for each delay."""
    return np.quantile([[figure(played) for played in at] for at in results], [0.25, 0.5, 0.75], axis=1)


def returned(played: Played) -> float:
    return played.total


def rate(played: Played) -> float:
    return played.frames_per_s


def draw(results: dict[str, list[list[Played]]], hz: int, path: Path) -> None:
    """Draws returns and rates over the delay."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "ferry", "svg.fonttype": "none", "font.size": 9}):
        sketch = Figure((8.4, 3.6), layout="constrained")
        sketch.suptitle(f"A pole at {hz} Hz, and an agent that thinks")
        left, right = sketch.subplots(1, 2)
        left.set(xlabel="the agent thinks for, ms", ylabel="return: seconds of the world, 10 at most", ylim=(0, 10.5))
        right.set(xlabel="the agent thinks for, ms", ylabel="frames a second", ylim=(0, hz * 1.05))
        for label, at in results.items():
            for axes, figure in ((left, returned), (right, rate)):
                low, middle, high = quartiles(at, figure)
                axes.fill_between(DELAYS_MS, low, high, alpha=0.25)
                axes.plot(DELAYS_MS, middle, marker="o", markersize=3, label=label)
        for axes in (left, right):
            axes.grid(alpha=0.3)
        right.legend(loc="center right", frameon=False)
        sketch.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=7, help="a point (default: %(default)s)")
    parser.add_argument("--hz", type=int, default=50, help="of the pole (default: %(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw what came out there")
    options = parser.parse_args()
    results = {
        each.label: measure(each, options.episodes, options.hz, MANY if each.decides else FEW) for each in CONTENDERS
    }
    print("median return, and frames a second")
    for label, at in results.items():
        print(label)
        for delay, total, frames in zip(DELAYS_MS, quartiles(at, returned)[1], quartiles(at, rate)[1], strict=True):
            print(f"  {delay:4d} ms  {total:5.2f}  {frames:5.1f}")
    if options.picture is not None:
        draw(results, options.hz, options.picture)


if __name__ == "__main__":
    main()
