"""The environment's side, connecting."""

from __future__ import annotations

from ferry.backend import Backend

__all__ = ["ClientBackend"]


class ClientBackend(Backend):
    """Brings an environment to an agent that listens: the counterpart of `ServerEnv`.

    `run` waits for the agent for ever. It ends normally when the agent says goodbye, and with PeerGoneError when the
    agent's process dies.

    Example::

        ferry.ClientBackend("CartPole-v1", "pole").run()
    """

    _role = "connect"

    def _left(self, reason: Exception | None) -> None:
        self._ended = True
        if reason is not None:
            raise reason
