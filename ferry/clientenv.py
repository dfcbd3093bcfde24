"""The agent's side, connecting."""

from __future__ import annotations

from ferry.adapter import Adapter

__all__ = ["ClientEnv"]


class ClientEnv(Adapter):
    """A gymnasium.Env that connects to an environment which serves: a `ServerBackend`, or a game with libferry.

    The recommended way round: the environment runs on while agents come and go. The constructor waits until it answers,
    because only it knows the spaces.

    Example::

        env = ferry.ClientEnv("pole")
        observation, info = env.reset(seed=0)
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    """
