"""What an agent in real time needs to know of itself."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

__all__ = ["RecentActions"]


class RecentActions(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """Adds the actions taken last to the observation.

    Where an action takes effect only after a while, what is observed does not say all that matters: actions are on
    their way. With as many of them as a delay lasts steps the decision process is a Markov one again.

    The observation becomes {"observation": the environment's, "actions": the last `length` of them, the newest last}.
    Before there are so many, those at the front are `initial`.

    Sources: S. Ramstedt and C. Pal, "Real-Time Reinforcement Learning", NeurIPS 2019, https://arxiv.org/abs/1911.04448;
    rtgym, https://github.com/yannbouteiller/rtgym.

    Args:
        env: Any environment.
        length: How many, 1 or more.
        initial: An action of the action space. None: zeros, or the lowest value where there is no zero.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], length: int = 1, initial: Any = None) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, length=length, initial=initial)
        super().__init__(env)
        if length < 1:
            raise ValueError(f"length is {length}; it is 1 or more")
        if initial is None:
            initial = _rest(env.action_space)
        if initial not in env.action_space:
            raise ValueError(f"the initial action {initial!r} is not one of {env.action_space}")
        self._initial = initial
        self._recent: deque[Any] = deque(maxlen=length)
        self.observation_space = spaces.Dict(
            {"observation": env.observation_space, "actions": batch_space(env.action_space, length)}
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; the actions of the one before are forgotten."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._recent.extend([self._initial] * (self._recent.maxlen or 1))
        return self._with_actions(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes an action, which is the newest in what is observed then."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._recent.append(action)
        return self._with_actions(observation), reward, terminated, truncated, info

    def _with_actions(self, observation: Any) -> dict[str, Any]:
        space = self.env.action_space
        actions = concatenate(space, list(self._recent), create_empty_array(space, len(self._recent)))  # type: ignore[arg-type]
        return {"observation": observation, "actions": actions}


def _rest(space: spaces.Space[Any]) -> Any:
    """The action that does least, as far as a space can say."""
    if isinstance(space, spaces.Box):
        return space.low.clip(0, None).clip(None, space.high).astype(space.dtype)
    if isinstance(space, spaces.Discrete):
        return space.start
    if isinstance(space, spaces.MultiDiscrete):
        return space.start.copy()
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape, space.dtype)
    if isinstance(space, spaces.Dict):
        return {key: _rest(each) for key, each in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_rest(each) for each in space)
    raise ValueError(f"{space} has no action that is at rest; give one as initial")
