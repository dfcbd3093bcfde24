"""The demonstration: a policy learns to balance a pole that lives in another process (``python -m ferry demo``)."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import ferry
from ferry import paths

Weights = npt.NDArray[np.float32]

SOLVED = 475.0
"""Mean return over the last ``LAST`` episodes at which CartPole-v1 counts as solved."""
LAST = 20
TRAINING_LIMIT_S = 20.0
KILLS = (40, 100, 160)
"""Episodes after which the environment's process is killed, to show that the run goes on."""
NUM_BLOCKS = 100
"""Blocks of steps timed on each side, in turns; the medians are compared."""
BLOCK_STEPS = 1000
DRAWS_WITH = 'not drawn; pip install "ferry-fast[demo]" brings what draws it'


class CrossEntropy:
    """The noisy cross-entropy method: sample weights, keep the best, sample around those.

    Source: Szita and Lőrincz, "Learning Tetris Using the Noisy Cross-Entropy Method", Neural Computation 18 (2006).

    Args:
        num_weights: Length of a candidate.
        rng: Where the samples come from.
    """

    POPULATION = 40
    ELITE = 8
    NOISE = 0.1
    """Added to the spread, so that it does not shrink too early; fades by ``NOISE_DECAY`` each generation."""
    NOISE_DECAY = 0.9

    def __init__(self, num_weights: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._mean = np.zeros(num_weights)
        self._spread = np.ones(num_weights)
        self._noise = self.NOISE

    def ask(self) -> Weights:
        """Returns the candidates to try, shape (POPULATION, num_weights)."""
        samples = self._rng.standard_normal((self.POPULATION, self._mean.size))
        return (self._mean + self._spread * samples).astype(np.float32)

    def tell(self, candidates: Weights, scores: Sequence[float]) -> None:
        """Moves towards the candidates with the highest scores."""
        elite = candidates[np.argsort(scores)[-self.ELITE :]]
        self._mean = elite.mean(axis=0)
        self._spread = elite.std(axis=0) + self._noise
        self._noise *= self.NOISE_DECAY


def play(env: gym.Env[Any, Any], weights: Weights) -> float:
    """Plays one episode with the linear policy ``weights`` and returns its return."""
    step = env.step
    observation, _ = env.reset()
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, _ = step(int(weights @ observation > 0))
        total += reward  # type: ignore[operator]
        ended = terminated or truncated
    return total


def last_mean(returns: Sequence[float]) -> float:
    """Returns the mean over the last ``LAST`` episodes, 0 before there are as many."""
    return statistics.fmean(returns[-LAST:]) if len(returns) >= LAST else 0.0


def learn(env: gym.Env[Any, Any], seed: int, report: Callable[[list[float]], None]) -> list[float]:
    """Learns until the pole is balanced or the time is up; returns the return of every episode.

    Args:
        env: CartPole, or what steps like it.
        seed: Of environment and method; the same seed gives the same run.
        report: Called with the returns so far after each candidate.
    """
    method = CrossEntropy(4, np.random.default_rng(seed))
    returns: list[float] = []
    deadline = time.perf_counter() + TRAINING_LIMIT_S
    env.reset(seed=seed)
    while True:
        candidates = method.ask()
        scores = []
        for weights in candidates:
            pair = [play(env, weights), play(env, weights)]
            returns += pair
            scores.append(sum(pair))
            report(returns)
        if last_mean(returns) >= SOLVED or time.perf_counter() > deadline:
            return returns
        method.tell(candidates, scores)


def block_rate(env: gym.Env[Any, Any], actions: Sequence[int]) -> float:
    """Returns the steps a second of an env that has been reset; episodes that end are begun anew."""
    step, reset = env.step, env.reset
    begin = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = step(action)
        if terminated or truncated:
            reset()
    return len(actions) / (time.perf_counter() - begin)


def compare_rates(env: gym.Env[Any, Any], other: gym.Env[Any, Any], seed: int) -> tuple[float, float]:
    """Returns the median steps a second of two environments, timed in alternating blocks of the same random actions."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    other.reset(seed=seed)
    rates = []
    for _ in range(NUM_BLOCKS):
        actions = rng.integers(2, size=BLOCK_STEPS).tolist()
        rates.append((block_rate(env, actions), block_rate(other, actions)))
    mine, others = zip(*rates, strict=True)
    return statistics.median(mine), statistics.median(others)


def save_curve(returns: Sequence[float], path: Path) -> None:
    """Draws the return of every episode and the running mean over ``LAST`` of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(
        title="CartPole in another process, learned through Ferry", xlabel="episode", ylabel="return", ylim=(0, 520)
    )
    axes.plot(returns, ".", markersize=3, alpha=0.5, label="episode")
    running = np.convolve(returns, np.full(LAST, 1 / LAST), mode="valid")
    axes.plot(np.arange(LAST - 1, len(returns)), running, label=f"mean of {LAST}")
    axes.axhline(SOLVED, linestyle="--", color="grey", label="solved")
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")  # without pyplot it needs no display


def _train(env: ferry.LaunchedEnv, seed: int, console: Console) -> tuple[list[float], float]:
    """Learns with live progress, while the environment is killed; returns the returns and the seconds it took."""
    per_generation = 2 * CrossEntropy.POPULATION
    columns = (TextColumn("learning"), BarColumn(), TextColumn("mean return {task.completed:.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("learning", total=500)

        def report(returns: list[float]) -> None:
            bars.update(task, completed=last_mean(returns))
            generation, rest = divmod(len(returns), per_generation)
            if rest == 0:
                mean = statistics.fmean(returns[-per_generation:])
                console.out(f"generation {generation:2}   mean return {mean:5.1f}", highlight=False)
            if len(returns) in KILLS:
                console.out(
                    f"process {env.process.pid} is killed; the next takes its place, and env stays", highlight=False
                )
                threading.Timer(0.001, env.process.kill).start()  # by then an episode is under way

        begin = time.perf_counter()
        returns = learn(env, seed, report)
        seconds = time.perf_counter() - begin
    return returns, seconds


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def run(argv: Sequence[str]) -> int:
    """Runs the demonstration.

    Args:
        argv: The command line's arguments, without the program's name.

    Returns:
        The exit code: 0 if the pole was balanced in time.
    """
    parser = argparse.ArgumentParser(
        prog="ferry demo",
        description="Starts examples/c/pole.c in its own process, learns to balance the pole through Ferry by the "
        "cross-entropy method while that process is killed three times, and compares the steps a second with those "
        "of Gymnasium's CartPole-v1 in process.",
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="SVG picture of what is printed")
    parser.add_argument("--seed", type=int, default=0, help="of environment and method (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/demo-learning-curve.png"),
        metavar="FILE",
        help="PNG picture of the learning curve (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    console = Console(record=options.record is not None)
    try:
        with ferry.launch([paths.pole()], on_crash="restart") as env:
            returns, seconds = _train(env, options.seed, console)
            with console.status("measuring"), gym.make("CartPole-v1") as cartpole:
                mine, others = compare_rates(env, cartpole, options.seed)
        if draws := _is_installed("matplotlib"):
            save_curve(returns, options.output)
    except (ferry.FerryError, OSError) as error:
        print(f"ferry demo: {error}", file=sys.stderr)
        return 1

    mean = last_mean(returns)
    for line in (
        f"mean return     {mean:.1f} over the last {LAST} episodes",
        f"survived        {sum(at < len(returns) for at in KILLS)} deaths of the environment's process",
        f"training        {seconds:.1f} s: {len(returns):,} episodes, {sum(returns):,.0f} steps",
        f"through Ferry   {mine:,.0f} steps a second, environment in another process",
        f"in process      {others:,.0f} steps a second, Gymnasium's CartPole-v1",
        f"ratio           {mine / others:.1f}",
        f"learning curve  {options.output if draws else DRAWS_WITH}",
    ):
        console.out(line, highlight=False)
    if options.record is not None:
        console.save_svg(str(options.record), title="ferry demo")
    failures = []
    if mean < SOLVED:
        failures.append(f"the mean return is below {SOLVED:g}")
    if seconds > TRAINING_LIMIT_S:
        failures.append(f"training took more than {TRAINING_LIMIT_S:g} s")
    if failures:
        print(f"ferry demo: {' and '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0
