"""What an environment says of itself, as agents read it: its spaces, its metadata, its spec.

The bytes are one MessagePack value; a map may be a description of a space, or all that an environment says.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ferry import _core, adapter, blobs, descriptions, spaces
from ferry._core import Field
from ferry.errors import ProtocolError

NUMBERS = tuple(_core.DTYPES)


class _Told(adapter.Adapter):
    """An adapter as far as what is told goes."""

    def __init__(self) -> None:
        pass

    def close(self) -> None:
        pass


def use(space: Any, value: Any) -> None:
    """Does with a space what an agent does that was told of it."""
    with contextlib.suppress(TypeError):  # what is described may be more than fields carry
        table = spaces.fields(space, _core.OBSERVATION)
        again = spaces.compose(table, _core.OBSERVATION, spaces.describe(space, _core.OBSERVATION))
        assert type(again) is type(space)
        spaces.template(table, _core.OBSERVATION)
    descriptions.describe(space, "it")
    codec = descriptions.codec(space)
    with contextlib.suppress(Exception):  # as where actions and observations are read
        assert isinstance(codec.space.contains(codec.decode(value)), (bool, np.bool_))


def field_of(told: Any) -> Field:
    """A field as C would hand it out that has checked it: of known kinds, with text for a path."""
    path, role, kind, dtype, shape, n, start, capacity = told
    if not (isinstance(path, str) and role in (0, 1, 2) and kind in range(8) and dtype in NUMBERS):
        raise ValueError("C lets no such field pass")
    lengths = tuple(int(length) % 100 for length in shape)[:8]
    return Field(
        path, role, kind, dtype, lengths, n=int(n) % 2**62 + 1, start=int(start) % 2**62, capacity=int(capacity) % 9
    )


def one_input(data: bytes) -> None:
    """Takes the value for each of what it could be."""
    try:
        told = blobs.unpack(data)
    except ValueError:
        return
    with contextlib.suppress(ProtocolError):
        use(descriptions.space_of(told), told)
    with contextlib.suppress(ProtocolError):
        _Told()._tell("it", (blobs.MSGPACK, data))
    if isinstance(told, list):
        try:
            table = [field_of(each) for each in told]
        except (ValueError, TypeError, OverflowError):
            return
        with contextlib.suppress(ProtocolError):
            spaces.compose(table, _core.OBSERVATION, {})
        with contextlib.suppress(ProtocolError):
            spaces.template(table, _core.ACTION)
