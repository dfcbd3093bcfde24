"""Environments that the tests run in real time, as ``realtime_envs:name``."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Counting(gymnasium.Env[Any, Any]):
    """Observes (steps, the last action); every step earns 0.1 and tells its number in the info. Ends after `length`."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Discrete(5, start=10)

    def __init__(self, length: int = 50, step_s: float = 0.0, fails_at: int = 0, info_bytes: int = 0) -> None:
        self._length, self._step_s, self._fails_at, self._info_bytes = length, step_s, fails_at, info_bytes
        self.resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        self.resets += 1
        return np.array([0.0, -1.0]), {"seed": seed}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self._step_s)
        self._steps += 1
        if self._steps == self._fails_at:
            raise RuntimeError("the motor is gone")
        info = {"step": self._steps, "more": b"x" * self._info_bytes}
        return np.array([self._steps, action], float), 0.1, self._steps == self._length, False, info


def endless() -> Counting:
    return Counting(length=10**9)


def brief() -> Counting:
    return Counting(length=1)


def failing() -> Counting:
    return Counting(fails_at=3)


def slow() -> Counting:
    return Counting(length=10**9, step_s=0.05)


def talkative() -> Counting:
    return Counting(info_bytes=100_000)


class SlowToReset(Counting):
    """Takes longer for a reset than for some steps."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        time.sleep(0.6)
        return super().reset(seed=seed, options=options)

    def nap(self, seconds: float) -> str:
        time.sleep(seconds)
        return "rested"


def slow_to_reset() -> Counting:
    return SlowToReset(length=10**9)


class Wordy(Counting):
    """Fails with a text that no frame has room for, of characters that take three bytes each."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        raise RuntimeError("so it is, " * 200 + "\u65e5" * 6000)


def wordy() -> Counting:
    return Wordy()
