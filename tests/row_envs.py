"""Environments whose actions say what becomes of an episode, for tests of many rows; served as ``row_envs:name``."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from sample_envs import Step

# What the number in an action does.
GO_ON, TERMINATE, TRUNCATE, END_BOTH = range(4)
DO = spaces.Discrete(4)


class Told(gymnasium.Env[Any, Any]):
    """Ends its episodes as the actions say; observations, rewards and infos depend on seed, time and the whole action.

    Infos come and go, and change their types.
    """

    observation_space: gymnasium.Space[Any] = spaces.Box(-10, 10, (3,), np.float32)
    action_space: gymnasium.Space[Any] = DO
    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "ansi"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.level = 1
        self.observation_space = copy.deepcopy(self.observation_space)  # each samples for itself

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._time = 0
        info: dict[str, Any] = {"seed": str(seed), "options": options} if options != {"quiet": True} else {}
        return self._observation(None), {**info, **self._info()}

    def step(self, action: Any) -> Step:
        self._time += 1
        do = self._do(action)
        reward = float(self.np_random.normal())
        return self._observation(action), reward, do in (TERMINATE, END_BOTH), do in (TRUNCATE, END_BOTH), self._info()

    def render(self) -> Any:
        return np.full((2, 3, 3), self._time, np.uint8) if self.render_mode == "rgb_array" else f"time {self._time}"

    def add(self, *numbers: Any, times: Any = 1) -> Any:
        return (self._time + sum(numbers)) * times

    def _do(self, action: Any) -> int:
        return int(action)

    def _observation(self, action: Any) -> Any:
        observation = self.np_random.normal(size=3).astype(np.float32).clip(-10, 10)
        observation[2] = self._time % 10 + (0 if action is None else self._do(action) / 10)
        return observation

    def _info(self) -> dict[str, Any]:
        random = self.np_random
        if random.integers(2):
            return {}
        told: dict[str, Any] = {
            "count": self._time,
            "mixed": (random.choice([0, 1]) and self._time / 3) or np.int16(self._time),
            "array": random.integers(0, 9, (2, 2)),
            "text": f"time {self._time}",
            "nested": {"deep": {"x": np.float32(random.normal())}, "y": True},
            "list": [self._time, None],
            "odd": None if random.choice([0, 1]) else (1, "two"),
        }
        return {key: value for key, value in told.items() if random.integers(3) == 0}


class Nested(Told):
    """Every space of a fixed size, nested."""

    observation_space = spaces.Dict(
        [
            ("zeta", spaces.Box(-1.0, 1.0, (3,), np.float64)),
            ("camera/1", spaces.Dict({"rgb": spaces.Box(0, 255, (4, 5, 3), np.uint8), "on": spaces.MultiBinary(2)})),
            ("pair", spaces.Tuple((spaces.Discrete(4, start=-1), spaces.MultiDiscrete(np.array([[3, 4], [5, 6]]))))),
            ("", spaces.Box(-np.inf, np.inf, (), np.float32)),
            ("half", spaces.Box(np.float16(-2), np.float16(2), (2,), np.float16)),
            ("sure", spaces.Box(0, 1, (2,), np.bool_)),  # type: ignore[arg-type]
            ("nothing", spaces.Dict()),
            ("none", spaces.Tuple(())),
        ]
    )
    action_space: gymnasium.Space[Any] = spaces.Tuple(
        (
            spaces.Dict({"do": DO, "move": spaces.Box(-1, 1, (2,), np.float32)}),
            spaces.MultiDiscrete([3, 4], start=[-1, 0]),
            spaces.MultiBinary(3),
        )
    )

    def _do(self, action: Any) -> int:
        return int(action[0]["do"])

    def _observation(self, action: Any) -> Any:
        observation = self.observation_space.sample()
        if action is not None:
            first, second, third = action
            observation["zeta"][:2] = first["move"]
            observation[""] = np.array(first["do"] + second.sum() / 10 + third.sum() / 100, np.float32)
        return observation


class Wordy(Told):
    """Spaces whose batch is a tuple, with values that are now short, now too long for the shared memory."""

    observation_space = spaces.Dict(
        {
            "words": spaces.Text(2000, min_length=0),
            "list": spaces.Sequence(spaces.Box(-1, 1, (2,), np.float64)),
            "stack": spaces.Sequence(spaces.MultiBinary(3), stack=True),
            "graph": spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(4)),
            "one": spaces.OneOf([spaces.Discrete(7), spaces.Text(9), spaces.Dict({"x": spaces.Box(0, 1, ())})]),
            "number": spaces.Discrete(5),
        }
    )
    action_space = spaces.Dict(
        {
            "do": DO,
            "say": spaces.Text(50, charset="abcdefghijklmnopqrstuvwxyz "),
            "pick": spaces.Sequence(spaces.Discrete(9)),
            "choose": spaces.OneOf([spaces.Discrete(3), spaces.Box(-1, 1, (2,))]),
        }
    )

    def _do(self, action: Any) -> int:
        return int(action["do"])

    def _observation(self, action: Any) -> Any:
        observation: dict[str, Any] = self.observation_space.sample()
        said = "reset" if action is None else f"{action['say']} {action['pick']} {action['choose']}"
        observation["words"] = said * int(self.np_random.choice([0, 1, 20]))
        observation["words"] = observation["words"][:2000]
        return observation


class Numbers(Told):
    """The batch of numbers is an array."""

    observation_space = spaces.Discrete(1000, start=-5)

    def _observation(self, action: Any) -> Any:
        return np.int64(self.np_random.integers(-5, 900) + (0 if action is None else action))


class Graphs(Told):
    """Observation and action have no array form at all."""

    observation_space = spaces.Graph(spaces.Box(-1, 1, (2,)), None)
    action_space = spaces.Sequence(DO)

    def _do(self, action: Any) -> int:
        return int(action[0]) if len(action) else GO_ON

    def _observation(self, action: Any) -> Any:
        return self.observation_space.sample()


class EightDimensions(Told):
    """As many dimensions as a field may have; the batch has one more."""

    observation_space = spaces.Box(-10, 10, (1, 2, 1, 1, 2, 1, 1, 1), np.float32)

    def _observation(self, action: Any) -> Any:
        return self.np_random.normal(size=self.observation_space.shape).astype(np.float32).clip(-10, 10)


class Faulty(gymnasium.Env[Any, Any]):
    """Counts its steps, and fails as the action says, in the row of its number; the observation is (row, steps).

    Attributes:
        made: How many of them this process has.
    """

    FINE, RAISE, HANG, DIE, BAD_OBSERVATION, BAD_INFO, END = range(7)

    observation_space = spaces.Box(0, 1000, (2,), np.float32)
    action_space = spaces.Discrete(7)
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        self.row = Faulty.made
        Faulty.made += 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._options = options or {}
        if self._options.get("raise") == self.row:
            raise KeyError("no such level")
        self._steps = 0
        return self._observation(), {"pid": os.getpid()}

    def step(self, action: Any) -> Step:
        self._steps += 1
        observation, info = self._observation(), {"steps": self._steps}
        if action == self.RAISE:
            raise ZeroDivisionError("as scripted")
        if action == self.HANG:
            Path(self._options["fifo"]).read_bytes()
        elif action == self.DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == self.BAD_OBSERVATION:
            observation = np.zeros(5, np.float32)
        elif action == self.BAD_INFO:
            info = ["no", "map"]  # type: ignore[assignment]
        return observation, 1.0, bool(action == self.END), False, info

    def where(self) -> int:
        return self.row

    def _observation(self) -> Any:
        return np.array([self.row, self._steps], np.float32)


class Typed(gymnasium.Env[Any, Any]):
    """What tests/c/typed_rows.c is."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = DO

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._time = 0
        return np.array([-1.0 if seed is None else seed, 0.0]), self._info(0)

    def step(self, action: Any) -> Step:
        self._time += 1
        observation = np.array([action, self._time], np.float64)
        terminated, truncated = action in (TERMINATE, END_BOTH), action in (TRUNCATE, END_BOTH)
        return observation, self._time / 2, terminated, truncated, self._info(action)

    def _info(self, action: int) -> dict[str, Any]:
        info: dict[str, Any] = {}
        if self._time % 2 == 0:
            info["score"] = np.float32(self._time) / np.float32(3)
        if self._time % 3 == 0:
            info["pair"] = np.array([action, -self._time])
        if self._time % 4 == 1:
            info["note"] = self._time
        return info
