"""What an agent asks of a backend outside its turns, and what a backend reports of its failures.

The bytes are one MessagePack value. Requests may fail in any way, of which the agent is told; they reach public names
alone.
"""

from __future__ import annotations

import contextlib
from typing import Any

import gymnasium

from ferry import backend, blobs
from ferry.errors import BackendError


class _Watched(gymnasium.Env[Any, Any]):
    """An environment that sees by which names it is asked."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = action_space = gymnasium.spaces.Discrete(2)
    width = 8

    def double(self, value: Any) -> Any:
        return value * 2

    def _see(self, name: str) -> None:
        assert name.isidentifier()
        assert not name.startswith("_")

    def has_wrapper_attr(self, name: str) -> bool:
        self._see(name)
        return super().has_wrapper_attr(name)

    def get_wrapper_attr(self, name: str) -> Any:
        self._see(name)
        return super().get_wrapper_attr(name) if name in ("width", "double") else None

    def set_wrapper_attr(self, name: str, value: Any, *, force: bool = True) -> bool:
        self._see(name)
        return True

    def render(self) -> Any:
        return "o"


class _Served(backend.Backend):
    """A backend as far as requests go."""

    def __init__(self, rows: int) -> None:
        self.envs = [_Watched() for _ in range(rows)]
        self._make, self._mode = None, None


def one_input(data: bytes) -> None:
    """Asks, and reports."""
    try:
        told = blobs.unpack(data)
    except ValueError:
        return
    error = BackendError.of_report("'it'", told)
    assert isinstance(str(error), str)
    if not isinstance(told, dict):
        return
    for rows in (1, 3):
        served = _Served(rows)
        try:
            value = served._requested(told.get("op"), told) if rows == 1 else served._requested_of_rows(told)
        except AssertionError:
            raise
        except Exception as failure:
            blobs.encode(backend._report(failure), blobs.MSGPACK)
            continue
        with contextlib.suppress(TypeError):
            blobs.pack(value)
