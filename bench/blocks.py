"""Alternating blocks: how two contenders are compared on a machine whose speed changes from one moment to the next.

A block is a short run of one contender and yields its mean time of a step in that run. The contenders take turns, block
by block; what is compared are neighbours, and what is reported is the median over the rounds. A change of the machine's
speed meets both sides of a comparison, a preemption only the block it happens in.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

Block = Callable[[], float]
"""Runs once and returns nanoseconds a step."""

Times = dict[str, NDArray[np.float64]]
"""Of each contender: nanoseconds a step in each round."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Keeps the cyclic garbage collector out of the blocks, as ``timeit`` does."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def alternate(contenders: Mapping[str, Block], rounds: int, on_round: Callable[[], None] = lambda: None) -> Times:
    """Runs every contender once to warm up, then once in each round, rotating who comes first.

    Args:
        contenders: Blocks by name.
        rounds: How often each one runs.
        on_round: Called after each round, outside the blocks.

    Returns:
        For each contender an array of ``rounds`` times in nanoseconds a step.
    """
    names = list(contenders)
    times: Times = {name: np.empty(rounds) for name in names}
    with no_collection():
        for block in contenders.values():
            block()
        for i in range(rounds):
            shift = i % len(names)
            for name in names[shift:] + names[:shift]:
                times[name][i] = contenders[name]()
            on_round()
    return times


def quantiles(samples_ns: NDArray[np.float64]) -> dict[str, float]:
    """p50, p99 and p99.9 of times of single steps."""
    p50, p99, p999 = np.quantile(samples_ns, [0.5, 0.99, 0.999], method="nearest")
    return {"p50": float(p50), "p99": float(p99), "p99.9": float(p999)}
