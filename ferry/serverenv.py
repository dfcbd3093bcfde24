"""The agent's side, listening."""

from __future__ import annotations

from ferry.adapter import Adapter

__all__ = ["ServerEnv"]


class ServerEnv(Adapter):
    """A gymnasium.Env that waits for an environment to connect: a `ClientBackend`, or a game with libferry.

    The way round of ML-Agents: the trainer is there first. The constructor waits for the environment, because only it
    knows the spaces; a second environment is refused. `close` ends the environment's `ClientBackend.run` normally.

    Example::

        env = ferry.ServerEnv("pole")  # now start the engine
        observation, info = env.reset(seed=0)
    """

    _role = "serve"
