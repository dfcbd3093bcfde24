"""Environments that the tests serve from other processes, as ``sample_envs:name``."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

Step: TypeAlias = tuple[Any, Any, Any, Any, dict[str, Any]]


class Nested(gymnasium.Env[Any, Any]):
    """Every kind of space, nested, in both directions; what is observed depends on every part of the action."""

    observation_space = spaces.Dict(
        [
            ("zeta", spaces.Box(-1.0, 1.0, (3,), np.float64)),
            (
                "camera/1",
                spaces.Dict({"rgb": spaces.Box(0, 255, (4, 5, 3), np.uint8), "on": spaces.MultiBinary((2, 2))}),
            ),
            ("pair", spaces.Tuple((spaces.Discrete(4, start=-1), spaces.MultiDiscrete(np.array([[3, 4], [5, 6]]))))),
            ("", spaces.Box(-np.inf, np.inf, (), np.float32)),
            ("half", spaces.Box(np.float16(-2), np.float16(2), (2,), np.float16)),
            ("sure", spaces.Box(0, 1, (2,), np.bool_)),  # type: ignore[arg-type]
            ("nothing", spaces.Dict()),
            ("none", spaces.Tuple(())),
        ]
    )
    action_space: spaces.Tuple[Any] = spaces.Tuple(
        (
            spaces.Dict({"move": spaces.Box(-1, 1, (2,), np.float32), "jump": spaces.Discrete(2)}),
            spaces.MultiDiscrete([3, 4], start=[-1, 0]),
            spaces.MultiBinary(3),
        )
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._time = 0
        return self._observation(0.0), {"seed": seed, "options": options}

    def step(self, action: Any) -> Step:
        first, second, third = action
        self._time += 1
        total = float(first["move"].sum()) + int(first["jump"]) * 10 + float(second.sum()) + float(third.sum()) / 4
        info = {
            "total": np.float64(total),
            "kinds": [type(first["jump"]).__name__, second.dtype.name, third.dtype.name],
        }
        return self._observation(total), total, self._time >= 40, self._time % 17 == 0, info

    def _observation(self, total: float) -> dict[str, Any]:
        random = self.np_random
        return {
            "zeta": np.clip(random.normal(size=3) + total / 100, -1, 1),
            "camera/1": {
                "rgb": random.integers(0, 256, (4, 5, 3), np.uint8),
                "on": random.integers(0, 2, (2, 2)).astype(np.int8),
            },
            "pair": (np.int64(random.integers(-1, 3)), random.integers(0, [[3, 4], [5, 6]])),
            "": np.array(total, np.float32),
            "half": random.uniform(-2, 2, 2).astype(np.float16),
            "sure": random.integers(0, 2, 2).astype(bool),
            "nothing": {},
            "none": (),
        }


class Wordy(gymnasium.Env[Any, Any]):
    """Spaces whose values have no fixed size; what is observed depends on every part of the action."""

    observation_space = spaces.Dict(
        {
            "words": spaces.Text(2000, min_length=0),
            "list": spaces.Sequence(spaces.Box(-1, 1, (2,), np.float64)),
            "stack": spaces.Sequence(spaces.MultiBinary(3), stack=True),
            "graph": spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(4)),
            "one": spaces.OneOf([spaces.Discrete(7), spaces.Text(9), spaces.Dict({"x": spaces.Box(0, 1, ())})]),
            "nested": spaces.Sequence(spaces.Tuple((spaces.Text(4), spaces.Sequence(spaces.Discrete(3))))),
            "plain": spaces.Box(0, 1000, (2,), np.float32),
        }
    )
    action_space = spaces.Dict(
        {
            "say": spaces.Text(50, charset="abcdefghijklmnopqrstuvwxyz "),
            "pick": spaces.Sequence(spaces.Discrete(9)),
            "choose": spaces.OneOf([spaces.Discrete(3), spaces.Box(-1, 1, (2,))]),
        }
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._time = 0
        return self._observation("reset", (), (0, 0)), {"seed": seed}

    def step(self, action: Any) -> Step:
        self._time += 1
        observation = self._observation(action["say"], action["pick"], action["choose"])
        if action["say"] == "bad words":
            observation["words"] = 5
        if action["say"] == "bad graph":
            observation["graph"] = 5
        info = {"action": action, "graph": tuple(observation["graph"]) if observation["graph"] != 5 else None}
        return observation, float(len(action["pick"])), self._time >= 60, False, info

    def _observation(self, say: str, pick: Any, choose: Any) -> dict[str, Any]:
        observation: dict[str, Any] = self.observation_space.sample()
        observation["words"] = say.replace(" ", "") * (self._time % 50)
        observation["plain"] = np.array([sum(map(int, pick)), float(np.sum(choose[1]))], np.float32).clip(0, 1000)
        return observation


class Drawn(gymnasium.Env[Any, Any]):
    """Draws in every mode, and can be asked for things.

    Attributes:
        level: A number that may be set.
    """

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012
    observation_space = spaces.Discrete(100)
    action_space = spaces.Discrete(5)

    def __init__(self, render_mode: str | None = None, level: int = 1) -> None:
        self.render_mode = render_mode
        self.level = level
        self._secret = 5
        self.drawn = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._time = 0
        return 0, {"mode": self.render_mode}

    def step(self, action: Any) -> Step:
        self._time += 1
        if self.render_mode == "human":
            self.drawn += 1
        return self._time, 0.0, False, False, {}

    def render(self) -> Any:
        if self.render_mode == "rgb_array":
            return np.full((30, 40, 3), self._time, np.uint8)
        return f"time {self._time}" if self.render_mode == "ansi" else None

    def action_masks(self) -> Any:
        return np.arange(5) != self._time % 5

    def add(self, *numbers: Any, times: Any = 1) -> Any:
        return sum(numbers) * times

    def fail(self) -> None:
        raise KeyError("on purpose")

    def give_lock(self) -> Any:
        return threading.Lock()


def drawn_in_wrappers(render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    return gymnasium.wrappers.TimeLimit(gymnasium.wrappers.OrderEnforcing(Drawn(render_mode)), 50)


class Pixels(gymnasium.Env[Any, Any]):
    """Images in which the action and the time can be found."""

    action_space = spaces.Discrete(4)

    def __init__(self, shape: tuple[int, ...] = (84, 84, 4)) -> None:
        self.observation_space = spaces.Box(0, 255, tuple(shape), np.uint8)
        self._frame = np.zeros(tuple(shape), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._time = 0
        self._frame[:] = self.np_random.integers(0, 256, self._frame.shape[-2:], np.uint8)
        return self._frame.copy(), {}

    def step(self, action: Any) -> Step:
        self._time += 1
        self._frame[self._time % self._frame.shape[0]] += np.uint8(action)
        self._frame.flat[0] = self._time % 256
        return self._frame.copy(), float(action), self._time >= 50, False, {}


def large_pixels() -> Pixels:
    return Pixels((1080, 1920, 3))


class Scripted(gymnasium.Env[Any, Any]):
    """Does what the reset option ``do`` says at the action 1, and counts steps at the action 0.

    The observation is (steps since the reset, resets so far).
    """

    metadata = {"render_modes": ["human"], "render_fps": 7, "note": ("kept", 1)}  # noqa: RUF012
    observation_space = spaces.Box(0, 1000, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self._resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._resets += 1
        self._steps = 0
        self._options = options or {}
        if self._options.get("do") == "raise in reset":
            raise KeyError("no such level")
        info = {"seed": seed, "options": options, "pid": os.getpid()} if self._options.get("info", True) else {}
        return self._observation(), info

    def step(self, action: Any) -> Step:
        self._steps += 1
        if action == 0:
            return self._observation(), 1.0, False, False, {}
        result: Step = getattr(self, self._options["do"])()
        return result

    def _observation(self) -> Any:
        return np.array([self._steps, self._resets], np.float32)

    def fail(self) -> Step:
        raise ZeroDivisionError("as scripted")

    def odd_text(self) -> Step:
        raise OSError("no file \udcff")

    def no_text(self) -> Step:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        raise MuteError

    def picky(self) -> Step:
        class PickyError(Exception):
            def __init__(self, text: str, more: str) -> None:
                super().__init__(text + more)

        raise PickyError("as", " scripted")

    def wrong_shape(self) -> Step:
        return np.zeros(3, np.float32), 0.0, False, False, {}

    def wrong_type(self) -> Step:
        return {"not": "an array"}, 0.0, False, False, {}

    def float64(self) -> Step:
        return self._observation().astype(np.float64), 0.0, False, False, {}

    def complex(self) -> Step:
        return self._observation().astype(np.complex64), 0.0, False, False, {}

    def odd_scalars(self) -> Step:
        return self._observation(), np.float32(0.5), np.bool_(True), np.int64(0), {}

    def list_info(self) -> Step:
        return self._observation(), 0.0, False, False, ["not", "a", "map"]  # type: ignore[return-value]

    def rich_info(self) -> Step:
        info = {
            "array": np.arange(6, dtype=np.int16).reshape(2, 3),
            "scalar": np.float32(0.1),
            "tuple": (1, "two", None),
            "bytes": b"\x00\xff",
            "big": 2**80,
            "nested": {"list": [1.5, True]},
            "function": len,
        }
        return self._observation(), 0.0, False, False, info

    def large_info(self) -> Step:
        return self._observation(), 0.0, False, False, {"large": np.arange(1_000_000)}

    def exit(self) -> Step:
        os._exit(3)

    def die(self) -> Step:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    def quit(self) -> Step:
        raise SystemExit(0)

    def hang(self) -> Step:
        """Until something is written to the FIFO that the option names."""
        Path(self._options["fifo"]).read_bytes()
        return self._observation(), 5.0, False, False, {"hung": True}

    def sleep(self) -> Step:
        time.sleep(600)
        raise AssertionError("unreachable")


class OtherScripted(Scripted):
    """The same for people, another layout for machines."""

    observation_space = spaces.Box(0, 1000, (5,), np.float32)


class Mirror(gymnasium.Env[Any, Any]):
    """Shows samples of a space, and tells in its infos what it was given. An episode has four steps."""

    def __init__(self, observed: gymnasium.Space[Any] | None = None, acted: gymnasium.Space[Any] | None = None) -> None:
        self.observation_space = copy.deepcopy(spaces.Box(0, 9, (3,), np.int16) if observed is None else observed)
        self.action_space = spaces.Discrete(5) if acted is None else acted
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._steps = 0
        return self.observation_space.sample(), {"seed": str(seed), "options": options}

    def step(self, action: Any) -> Step:
        self._steps += 1
        info = {"action": action, "type": type(action), "nested": {"count": self._steps, "yes": True}, "none": None}
        return self.observation_space.sample(), self._steps / 4, self._steps == 4, False, info
