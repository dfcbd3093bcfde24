"""The agent's side in real time: environments that go on whether or not their agent has thought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from ferry import _core
from ferry.adapter import Adapter
from ferry.errors import LayoutMismatchError
from ferry.vector import ScopedVectorEnv

__all__ = ["RealtimeEnv", "RealtimeVectorEnv"]

Pace = float | Literal["frame", "latest"]


class RealtimeEnv(Adapter):
    """A gymnasium.Env whose environment runs in real time, in another process: a robot, a game at 60 Hz.

    The environment publishes a frame whenever it has one, and acts by the latest action that it finds. `step` hands an
    action over and returns what is to be seen then, as its pace says. Nothing that was not seen is lost: the reward is
    what has accrued since the frame before, and the frame that ends an episode stands until the reset.

    What Ferry knows of the time stands in `info["ferry"]`: "frame", the number of what is observed in its episode (0:
    what the reset gave); "skipped", how many came and went between the last one returned and this; "obs_age_s", how
    long ago it was begun, None for frame 0; "action_age_s", how old the action behind it was then, None if there was
    none yet; "deadline_met", whether `step` was called before the period was over.

    Args:
        address: Where to meet, as for `ClientEnv`; "serve:NAME" to be connected to. None: FERRY_ADDRESS in the process
            environment.
        pace: "frame": a step returns at the next frame. "latest": at once, with the newest frame, which may be the one
            that was returned before: then the reward is 0. A number: every so many seconds, with the newest frame; a
            step that is asked for too late returns at once, and the periods are counted on from there.
        timeout: Seconds to wait for the environment, when connecting, for a reset and for a frame; None for ever.
            FERRY_TIMEOUT in the process environment takes precedence (0: for ever).
        check_actions: As for `ClientEnv`.
        max_bytes: As for `ClientEnv`.
        render_mode: As for `ClientEnv`.

    Raises:
        ValueError: The environment does not run in real time, or the pace is none.

    Example::

        env = ferry.RealtimeEnv("robot", pace=0.02)
        observation, info = env.reset()
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        pace: Pace = "frame",
        timeout: float | None = 60.0,
        check_actions: Literal["range", "bounds"] = "range",
        max_bytes: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._pace = _pace(pace)
        super().__init__(
            address,
            timeout=timeout,
            check_actions=check_actions,
            max_bytes=max_bytes,
            render_mode=render_mode,
            _of={"realtime": True},
        )

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hands an action over and returns what is to be seen then: (observation, reward, terminated, truncated, info).

        Raises:
            ResetNeeded: No episode runs: none has been begun on this connection, or it has ended.
            InvalidAction: The action is not one of the action space; the environment has not seen it.
            BackendError: The environment raised.
            PeerGoneError: The environment is gone; `reset` connects again.
            FerryTimeoutError: No frame in time; `wait` goes on waiting.
        """
        self._agent.act(action)
        return self._agent.see(self._pace)

    def wait(self) -> tuple[Any, ...]:
        """What is to be seen as the pace says, without a new action; the answer, if a reset or call has timed out."""
        return self._agent.resume() if self._agent.owes else self._agent.see(self._pace)


class RealtimeVectorEnv(ScopedVectorEnv):
    """A VectorEnv of environments that run in real time, each in a process of its own.

    A step hands all actions over and then waits for each environment, as the pace says, so it takes as long as the
    slowest. A row whose episode has ended is reset by the next step, whose action for it is ignored (Gymnasium's
    next-step mode). Where one row raises, as when its environment is late, those that have got their frame keep it for
    the next step, which hands them no action. `info["ferry"]` holds arrays of what `RealtimeEnv` tells; NaN where there
    is nothing to tell.

    Args:
        addresses: One for each row.
        pace: As for `RealtimeEnv`.
        **options: As for `RealtimeEnv`.

    Raises:
        LayoutMismatchError: The environments have unlike spaces.
    """

    def __init__(self, addresses: Sequence[str], *, pace: Pace = "frame", **options: Any) -> None:
        if isinstance(addresses, str) or not addresses:
            raise ValueError(f"addresses are a list of one or more, not {addresses!r}")
        self._pace = _pace(pace)
        self._envs: list[RealtimeEnv] = []
        try:
            for address in addresses:
                self._envs.append(RealtimeEnv(address, pace=pace, **options))
            self._adopt_spaces()
        except BaseException:
            self.close()
            raise
        self._ended = np.zeros(self.num_envs, bool)
        self._seen: list[tuple[Any, ...] | None] = [None] * self.num_envs  # in a step that is not over

    def _adopt_spaces(self) -> None:
        first = self._envs[0]
        for env in self._envs:
            if (env.observation_space, env.action_space) != (first.observation_space, first.action_space):
                raise LayoutMismatchError(f"{env} has other spaces than {first}; a vector environment has one kind")
        self.num_envs = len(self._envs)
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = first.observation_space, first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode in every environment; a seed counts up from row to row."""
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds: list[int | None] = [None if seed is None else int(seed) + row for row in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        self._seen = [None] * self.num_envs
        results = [env.reset(seed=each, options=options) for env, each in zip(self._envs, seeds, strict=True)]
        self._ended[:] = False
        infos: dict[str, Any] = {}
        for row, (_, info) in enumerate(results):
            infos = self._add_info(infos, info, row)
        return self._batch([observation for observation, _ in results]), infos

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Hands one action to each environment and returns what is to be seen then, in batches."""
        rows = list(zip(self._envs, iterate(self.action_space, actions), self._ended.tolist(), strict=True))
        for seen, (env, action, ended) in zip(self._seen, rows, strict=True):
            if seen is None and not ended:
                env._agent.act(action)
        for row, (env, _, ended) in enumerate(rows):
            if self._seen[row] is None:
                self._seen[row] = _begun(*env.reset()) if ended else env._agent.see(self._pace)
        observations, rewards, terminated, truncated, told = zip(*self._seen, strict=True)
        self._seen = [None] * self.num_envs
        infos: dict[str, Any] = {}
        for row, info in enumerate(told):
            infos = self._add_info(infos, _without_none(info), row)
        ends, cuts = np.array(terminated, bool), np.array(truncated, bool)
        self._ended = ends | cuts
        return self._batch(observations), np.array(rewards, np.float64), ends, cuts, infos

    def _batch(self, observations: Sequence[Any]) -> Any:
        space = self.single_observation_space
        return concatenate(space, observations, create_empty_array(space, self.num_envs))  # type: ignore[arg-type]

    def close_extras(self, **kwargs: Any) -> None:
        """Says goodbye to all; the environments go on."""
        for env in self._envs:
            env.close()


def _begun(observation: Any, info: dict[str, Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """What a reset gives, as what a step does."""
    return observation, 0.0, False, False, info


def _without_none(info: dict[str, Any]) -> dict[str, Any]:
    """The info, with NaN for times that are not known: they go into arrays of numbers."""
    told = {key: math.nan if value is None else value for key, value in info.get("ferry", {}).items()}
    return {**info, "ferry": told}


def _pace(pace: Any) -> int:
    """As the core has it."""
    if pace == "frame":
        return _core.FRAME
    if pace == "latest":
        return _core.LATEST
    if isinstance(pace, (int, float)) and not isinstance(pace, bool) and 1e-6 <= pace < 1e6:
        return round(pace * 1e9)
    raise ValueError(f"pace is {pace!r}; it is 'frame', 'latest', or a number of seconds, a millionth at least")
