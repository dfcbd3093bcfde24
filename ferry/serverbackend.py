"""The environment's side, listening."""

from __future__ import annotations

import logging

from ferry.backend import Backend

__all__ = ["ServerBackend"]

logger = logging.getLogger("ferry")


class ServerBackend(Backend):
    """Serves an environment at an address, to one agent after another: the counterpart of `ClientEnv`.

    Example::

        ferry.ServerBackend("CartPole-v1", "pole").run()  # until Ctrl-C
    """

    _role = "serve"

    def _left(self, reason: Exception | None) -> None:
        logger.info("the agent left: %s", "it said goodbye" if reason is None else reason)
