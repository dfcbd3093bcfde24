"""What takes a step of many rows: the C loop in this process, the peers, and the ways of stepping and checking them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from blocks import Block
from contenders import Info, Observation
from processes import BUILD

Flags = NDArray[np.bool_]
Result = tuple[NDArray[Any], NDArray[np.float64], Flags, Flags, Info]


class Batch(Protocol):
    """What all contenders have of a gymnasium.vector.VectorEnv."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, Info]:
        """Begins an episode in every row."""

    def step(self, actions: Any, /) -> Any:
        """Takes an action in every row."""

    def close(self) -> object:
        """Ends it."""


@functools.cache
def _library() -> ctypes.CDLL:
    """``bench/c/inprocess.c``."""
    library = ctypes.CDLL(str(BUILD / "bench" / "inprocess.so"))
    pointer = ctypes.c_void_p
    library.batch_open.argtypes, library.batch_open.restype = [ctypes.c_uint32, *[pointer] * 5], pointer
    library.batch_reset.argtypes = [pointer, ctypes.c_int64]
    library.batch_step.argtypes = library.batch_close.argtypes = [pointer]
    library.work.argtypes, library.work.restype = [ctypes.c_uint64, ctypes.c_uint32], ctypes.c_uint64
    return library


def work(x: int, rounds: int) -> int:
    """``busy_work`` of ``bench/c/work.h``."""
    return int(_library().work(x, rounds))


class InProcess:
    """The loop of the C pole over its rows, called from Python, with fresh copies of what it writes.

    Args:
        num_rows: How many poles.
    """

    def __init__(self, num_rows: int) -> None:
        self._actions = np.zeros(num_rows, np.int64)
        self._outputs = (
            np.zeros((num_rows, 4), np.float32),
            np.zeros(num_rows),
            np.zeros(num_rows, np.bool_),
            np.zeros(num_rows, np.bool_),
        )
        places = [array.ctypes.data for array in (self._actions, *self._outputs)]
        self._batch = _library().batch_open(num_rows, *places)
        if not self._batch:
            raise MemoryError("no room for so many poles")
        self._step = _library().batch_step

    def reset(self, *, seed: int | None = None) -> tuple[Observation, Info]:
        """Row r begins an episode from ``seed + r``."""
        _library().batch_reset(self._batch, seed or 0)
        return self._outputs[0].copy(), {}

    def step(self, actions: Any, /) -> Result:
        """Steps all rows; those that have ended are reset."""
        np.copyto(self._actions, actions)
        self._step(self._batch)
        observations, rewards, terminated, truncated = self._outputs
        return observations.copy(), rewards.copy(), terminated.copy(), truncated.copy(), {}

    def close(self) -> None:
        """Frees the poles."""
        if self._batch:
            _library().batch_close(self._batch)
        self._batch = None


class Pool:
    """EnvPool's CartPole-v1: C++, a pool of threads in this process.

    Args:
        num_rows: How many.
        num_threads: Of the pool; they run where this process may when it is made.
    """

    def __init__(self, num_rows: int, num_threads: int) -> None:
        gym.logger.min_level = gym.logger.ERROR  # it warns of EnvPool's spaces
        envpool = importlib.import_module("envpool")
        self._pool = envpool.make(
            "CartPole-v1", env_type="gymnasium", num_envs=num_rows, num_threads=num_threads, seed=1
        )
        self.step = self._pool.step

    def reset(self, *, seed: int | None = None) -> tuple[Observation, Info]:
        """Begins an episode in every row; the seeds are those it was made with."""
        return self._pool.reset()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Ends the pool."""
        self._pool.close()


class LitPixel(gym.Env[Observation, Any]):
    """The env of examples/c/pixel in Python: step k of an episode lights pixel k * 7919 and rewards k.

    Args:
        shape: Of the image.
    """

    action_space = Discrete(2)

    def __init__(self, shape: tuple[int, int, int] = (84, 84, 4)) -> None:
        self.observation_space = Box(0, 255, shape, np.uint8)
        self._image = np.zeros((shape[0] * shape[1], shape[2]), np.uint8)
        self._shape, self._steps = shape, 0

    def _show(self, step: int) -> Observation:
        self._image[self._steps * 7919 % len(self._image)] = 0
        self._steps = step
        self._image[step * 7919 % len(self._image)] = 255
        return self._image.reshape(self._shape)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Begins an episode."""
        super().reset(seed=seed)
        return self._show(0), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Lights the next pixel."""
        return self._show(self._steps + 1), float(self._steps), False, False, {}


class Busy(gym.Env[Observation, Any]):
    """A step takes CPU time and nothing else: rounds of a generator whose last number is observed.

    Args:
        rounds: So many. :func:`rounds_of` says how many fill a time.
    """

    observation_space = Box(0, float(1 << 31), (1,), np.float64)
    action_space = Discrete(2)

    def __init__(self, rounds: int) -> None:
        self._rounds, self._x = rounds, 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Begins with the seed."""
        super().reset(seed=seed)
        self._x = seed or 0
        return np.array([float(self._x)]), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Works."""
        x = self._x + int(action)
        for _ in range(self._rounds):
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        self._x = x
        return np.array([float(x)]), 1.0, False, False, {}


def rounds_of(microseconds: float) -> int:
    """How many rounds make a step of :class:`Busy` take so long here; of several tries the fastest counts."""
    trial, best = 2000, float("inf")
    env = Busy(trial)
    for _ in range(50):
        start = perf_counter_ns()
        env.step(0)
        best = min(best, (perf_counter_ns() - start) / 1e3)
    return max(1, round(trial * microseconds / best))


@dataclass(frozen=True)
class Rollout:
    """Actions of many rows to replay from a seed, and what must come out of them.

    Attributes:
        seed: Of row 0; row r has ``seed + r``.
        actions: [step, row].
        trace: [step] observations, rewards, terminations and truncations.
    """

    seed: int
    actions: NDArray[np.int64]
    trace: list[tuple[NDArray[Any], ...]]

    def check(self, step: int, result: Any) -> None:
        """Raises if a step did not return what it must."""
        names = ("observations", "rewards", "terminations", "truncations")
        for name, expected, got in zip(names, self.trace[step], result[:4], strict=True):
            if not np.array_equal(expected, got):
                raise AssertionError(f"step {step}: the {name} are {got}, and must be {expected}")


def random_actions(steps: int, num_rows: int) -> NDArray[np.int64]:
    """Of a Discrete(2), [step, row]; always the same."""
    return np.random.default_rng(7).integers(0, 2, (steps, num_rows))


def record(batch: Batch, steps: int, num_rows: int, seed: int = 1) -> Rollout:
    """What a batch answers to random actions; the reference for others."""
    actions = random_actions(steps, num_rows)
    batch.reset(seed=seed)
    trace = [tuple(np.array(part) for part in batch.step(row)[:4]) for row in actions]
    return Rollout(seed, actions, trace)


def pole_rollout(steps: int, num_rows: int) -> Rollout:
    """What so many C poles must answer."""
    with contextlib.closing(InProcess(num_rows)) as batch:
        return record(batch, steps, num_rows)


def verify(batch: Batch, rollout: Rollout) -> None:
    """Replays a rollout and checks every step of it."""
    batch.reset(seed=rollout.seed)
    for i, actions in enumerate(rollout.actions):
        rollout.check(i, batch.step(actions))


def rolling(batch: Batch, rollout: Rollout) -> Block:
    """Replays a rollout; the last step is checked in every block, all of them now."""
    verify(batch, rollout)
    rows = list(rollout.actions)

    def block() -> float:
        batch.reset(seed=rollout.seed)
        step = batch.step
        start = perf_counter_ns()
        for actions in rows:
            result = step(actions)
        elapsed_ns = perf_counter_ns() - start
        rollout.check(len(rows) - 1, result)
        return elapsed_ns / len(rows)

    return block


def single_batches(batch: Batch, rollout: Rollout, repeats: int) -> NDArray[np.float64]:
    """Times every step of a rollout by itself, in nanoseconds; a reading of the clock is part of each."""
    samples: list[int] = []
    for _ in range(repeats):
        batch.reset(seed=rollout.seed)
        for actions in rollout.actions:
            start = perf_counter_ns()
            result = batch.step(actions)
            samples.append(perf_counter_ns() - start)
        rollout.check(len(rollout.actions) - 1, result)
    return np.array(samples, np.float64)


def advance(states: NDArray[Any], actions: NDArray[np.int64]) -> NDArray[np.float64]:
    """CartPole's dynamics, for all rows; what Gymnasium's CartPoleEnv.step does to its state."""
    x, x_dot, theta, theta_dot = states.astype(np.float64).T
    cosine, sine = np.cos(theta), np.sin(theta)
    push = (np.where(actions == 1, 10.0, -10.0) + 0.05 * theta_dot**2 * sine) / 1.1
    spin = (9.8 * sine - cosine * push) / (0.5 * (4.0 / 3.0 - 0.1 * cosine**2 / 1.1))
    shift = push - 0.05 * spin * cosine / 1.1
    return np.stack([x + 0.02 * x_dot, x_dot + 0.02 * shift, theta + 0.02 * theta_dot, theta_dot + 0.02 * spin], 1)


def running(batch: Batch, num_rows: int, steps: int) -> Block:
    """Steps CartPoles that draw states of their own; after each block a further step is checked by their dynamics."""
    rows = list(random_actions(steps, num_rows))
    batch.reset(seed=1)

    def block() -> float:
        step = batch.step
        start = perf_counter_ns()
        for actions in rows:
            result = step(actions)
        elapsed_ns = perf_counter_ns() - start
        before, _, terminated, truncated, _ = result
        alive = ~(terminated | truncated)
        after = step(rows[0])[0]
        if not np.allclose(after[alive], advance(before[alive], rows[0][alive]), rtol=1e-4, atol=1e-5):
            raise AssertionError(f"{type(batch).__name__} does not move as a CartPole does")
        return elapsed_ns / len(rows)

    return block
