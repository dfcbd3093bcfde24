"""The agent's side of many environments, listening."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from gymnasium.vector import AutoresetMode

from ferry import _core
from ferry.adapter import Adapter
from ferry.errors import FerryTimeoutError
from ferry.serverenv import ServerEnv
from ferry.vector import VectorAdapter, all_of

__all__ = ["ServerVectorEnv"]


class ServerVectorEnv(VectorAdapter):
    """A gymnasium.vector.VectorEnv that waits for backends to connect: `ClientBackend`s, or games with libferry.

    The trainer is there first, and its constructor waits until all backends have come. Rows are numbered through, in
    the order of the INDEX that the backends give in their address ("connect:arena#3"), else of their arrival. One
    backend more than there are places is refused.

    Example::

        envs = ferry.ServerVectorEnv("arena", num_backends=4)  # now start four engines
        observations, infos = envs.reset(seed=0)

    Args:
        address: Where to listen; None: FERRY_ADDRESS in the process environment.
        num_backends: How many backends to wait for.
        autoreset_mode: As ClientVectorEnv.
        timeout: As ServerEnv, for each backend.
        copy: As ClientVectorEnv.
        check_actions: As ServerEnv.
        max_bytes: As ServerEnv, for each backend.
        render_mode: As ServerEnv.

    Raises:
        FerryTimeoutError: Not all backends came in time.
        LayoutMismatchError: They are not alike.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        num_backends: int = 1,
        autoreset_mode: str | AutoresetMode = "next_step",
        timeout: float | None = 60.0,
        copy: bool = True,
        check_actions: Literal["range", "bounds"] = "range",
        max_bytes: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if num_backends < 1:
            raise ValueError(f"num_backends is {num_backends}; it is 1 or more")
        options: dict[str, Any] = {
            "timeout": timeout,
            "copy": copy,
            "check_actions": check_actions,
            "max_bytes": max_bytes,
            "render_mode": render_mode,
        }

        def make(of: Mapping[str, Any]) -> list[Adapter]:
            siblings: list[_core.Agent] = []
            together = {**of, "siblings": siblings}

            def awaited(already_here: int) -> ServerEnv:
                try:
                    return ServerEnv(address, **options, _of=together)
                except FerryTimeoutError as error:
                    raise FerryTimeoutError(f"{already_here} of {num_backends} backends have come: {error}") from None

            channels = all_of(awaited(i) for i in range(num_backends))
            return sorted(channels, key=lambda channel: channel._index if channel._index >= 0 else math.inf)

        super().__init__(make, autoreset_mode=autoreset_mode)
