"""The agent's side of many environments, connecting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gymnasium.vector import AutoresetMode

from ferry.adapter import Adapter
from ferry.clientenv import ClientEnv
from ferry.vector import VectorAdapter, all_of

__all__ = ["ClientVectorEnv"]


class ClientVectorEnv(VectorAdapter):
    """A gymnasium.vector.VectorEnv over environments that serve: one backend with many rows, many, or both.

    Rows are numbered through, in the order of the addresses.

    Example::

        envs = ferry.ClientVectorEnv("poles")  # ferry serve CartPole-v1 --address poles --num-envs 64
        observations, infos = envs.reset(seed=0)
        observations, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())

    Args:
        addresses: Where to meet; one address, or one for each backend. None: FERRY_ADDRESS in the process environment.
        autoreset_mode: What becomes of a row whose episode has ended. "next_step": the next step resets it;
            "same_step": the step that ends it resets it, and `infos["final_obs"]` has its end; "disabled": the caller
            does.
        num_envs: How many rows the backends have; None: what they say.
        timeout: As ClientEnv.
        copy: As ClientEnv. Views are for one backend; several are gathered into one array in any case.
        check_actions: As ClientEnv.
        max_bytes: As ClientEnv, for each backend.
        render_mode: As ClientEnv.

    Raises:
        LayoutMismatchError: The environments are not alike, or have other than `num_envs` rows.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] | None = None,
        *,
        autoreset_mode: str | AutoresetMode = "next_step",
        num_envs: int | None = None,
        timeout: float | None = 60.0,
        copy: bool = True,
        check_actions: Literal["range", "bounds"] = "range",
        max_bytes: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "timeout": timeout,
            "copy": copy,
            "check_actions": check_actions,
            "max_bytes": max_bytes,
            "render_mode": render_mode,
        }
        places: list[str | None] = [addresses] if addresses is None or isinstance(addresses, str) else list(addresses)
        if not places:
            raise ValueError("addresses is empty; name one backend or more")
        if twice := {place for place in places if places.count(place) > 1}:
            raise ValueError(f"{sorted(map(str, twice))} stand twice in addresses; a backend takes one agent at a time")

        def make(of: Mapping[str, Any]) -> list[Adapter]:
            return all_of(ClientEnv(place, **options, _of=of) for place in places)

        super().__init__(make, autoreset_mode=autoreset_mode, num_envs=num_envs)
