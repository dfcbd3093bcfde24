"""Environments with one fault each, for what must find it: ``python faulty.py FAULT`` serves one."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import ferry

Step = tuple[Any, Any, Any, Any, dict[str, Any]]
KEPT: list[Any] = []


class Line(gymnasium.Env[Any, Any]):
    """A walk on a line with some noise; nothing is wrong with it."""

    observation_space: Any = spaces.Box(-100, 100, (3,), np.float32)
    action_space: Any = spaces.Discrete(2)

    def __init__(self) -> None:
        self._episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._at, self._time = 0.0, 0
        self._episodes += 1
        return self._observation(), {}

    def step(self, action: Any) -> Step:
        self._at += (1 if action else -1) + self.np_random.normal() / 10
        self._time += 1
        return self._observation(), 1.0, abs(self._at) > 9, self._time >= 200, {}

    def _observation(self) -> Any:
        return np.array([np.clip(self._at, -99, 99), self._time / 10, 0], np.float32)


class OutsideBounds(Line):
    def _observation(self) -> Any:
        return np.array([150.0 if self._time == 30 else self._at, self._time / 10, 0], np.float32)


class NotANumber(Line):
    def _observation(self) -> Any:
        observation = super()._observation()
        observation[2] = np.nan if self._time == 7 else 0
        return observation


class WrongType(Line):
    """Writes text where numbers belong."""

    def _observation(self) -> Any:
        return np.array(["a", "b", "c"]) if self._time == 3 else super()._observation()


class WrongShape(Line):
    def _observation(self) -> Any:
        return np.zeros(4, np.float32) if self._time == 5 else super()._observation()


class Frozen(Line):
    def _observation(self) -> Any:
        return np.zeros(3, np.float32)


class RewardNotANumber(Line):
    def step(self, action: Any) -> Step:
        observation, _, *rest = super().step(action)
        return observation, float("nan") if self._time == 11 else 1.0, *rest


class NeverEnds(Line):
    def step(self, action: Any) -> Step:
        observation, reward, _, _, info = super().step(action)
        self._at = float(np.clip(self._at, -9, 9))
        self._time %= 900
        return observation, reward, False, False, info


class IgnoresSeed(Line):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return super().reset(seed=None, options=options)


class Remembers(Line):
    """A reset does not put everything back."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        at = getattr(self, "_at", 0.0)
        _, info = super().reset(seed=seed, options=options)
        self._at = at / 2
        return self._observation(), info


class DiffersByProcess(Line):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = super().reset(seed=seed, options=options)
        self._at = os.getpid() % 1000 / 1000
        return self._observation(), result[1]


class LeaksFiles(Line):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        KEPT.append(open("/dev/zero", "rb"))  # noqa: SIM115 - the fault
        return super().reset(seed=seed, options=options)


class LeaksMemory(Line):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        KEPT.append(b"x" * (2 << 20))
        return super().reset(seed=seed, options=options)


class Raises(Line):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if self._episodes == 2:
            raise KeyError("the third level is missing")
        return super().reset(seed=seed, options=options)


class Crashes(Line):
    def step(self, action: Any) -> Step:
        if self._time == 5:
            os._exit(11)
        return super().step(action)


class Hangs(Line):
    def step(self, action: Any) -> Step:
        if self._time == 5:
            time.sleep(30)
        return super().step(action)


class Stalls(Line):
    def step(self, action: Any) -> Step:
        if self._time == 5 and self._episodes == 2:
            time.sleep(1.2)
        return super().step(action)


class DrawsWrongly(Line):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.zeros((4, 4), np.float32)


class HangsAtClose(Line):
    pass


class OneValue(Line):
    action_space = spaces.Box(0.5, 0.5, (2,), np.float32)

    def step(self, action: Any) -> Step:
        return super().step(int(self._time % 2))


if __name__ == "__main__":
    kind = globals()[sys.argv[1]]
    ferry.ServerBackend(kind, "faulty").run()
    if kind is HangsAtClose:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait(30)
