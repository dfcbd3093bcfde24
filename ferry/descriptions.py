"""Spaces that no field says in full, in plain words, and the values that travel outside of fields.

A description is a map that a blob carries: ``{"type": "Graph", "node_space": {...}, "edge_space": None}``. Descriptions
nest; the names of their entries are those of the constructors' arguments. Values of such a space travel as they are,
save that a Graph's becomes a tuple, and one of a registered class what its owner makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from ferry.errors import ProtocolError

__all__ = ["Codec", "Room", "box", "codec", "describe", "is_registered", "register", "space_of", "text"]

Space: TypeAlias = gymnasium.Space[Any]
Description: TypeAlias = dict[str, Any]
Convert: TypeAlias = Callable[[Any], Any]


class Codec(NamedTuple):
    """What a field whose values may travel in a blob needs to know beside its entry in the table.

    Attributes:
        space: The space of the values.
        encode: Makes plain data of a value.
        decode: Makes a value of plain data from a peer: ValueError or TypeError if it is none.
    """

    space: Space
    encode: Convert
    decode: Convert


class _Registered(NamedTuple):
    cls: type[Space]
    encode: Convert
    decode: Convert
    encode_value: Convert
    decode_value: Convert


_MOST_BYTES = 256 << 20
_MOST_DIMENSIONS = 32

_registry: dict[str, _Registered] = {}


def _same(value: Any) -> Any:
    return value


def register(
    cls: type[Space],
    encode: Convert,
    decode: Convert,
    *,
    encode_value: Convert = _same,
    decode_value: Convert = _same,
) -> None:
    """Makes a Space class of one's own known, so that it can travel. Both sides must do so, with the same class.

    Args:
        cls: The class; it is known to the other side by module and name.
        encode: Makes plain data (what MessagePack and Ferry's extensions carry) of a space.
        decode: Makes an equal space of that data.
        encode_value: Makes plain data of a value of the space. Not given: the values are plain data.
        decode_value: Makes an equal value of that data.

    Example::

        ferry.spaces.register(Angle, lambda space: space.unit, Angle)
    """
    if not (isinstance(cls, type) and issubclass(cls, gymnasium.Space)):
        raise TypeError(f"a class derived from gymnasium.Space is registered, not {cls!r}")
    _registry[_name(cls)] = _Registered(cls, encode, decode, encode_value, decode_value)


def is_registered(space: Space) -> bool:
    """Whether the space's class was given to `register`."""
    found = _registry.get(_name(type(space)))
    return found is not None and found.cls is type(space)


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# ---- From a space ----


def describe(space: Space, where: str) -> Description:
    """The description of a space.

    Args:
        space: The space.
        where: How errors call it.

    Raises:
        TypeError: A part of it is of a class that is not known.
    """
    if is_registered(space):
        own = _registry[_name(type(space))]
        return {"type": "custom", "name": _name(own.cls), "data": own.encode(space)}
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
        told = {"type": "Box", "dtype": str(space.dtype), "low": low, "high": high}
        if low.size > 1 and (low == low.flat[0]).all() and (high == high.flat[0]).all():
            # Arrays of an image's bounds would soon fill all the room for descriptions.
            told |= {"low": low.flat[0], "high": high.flat[0], "shape": list(space.shape)}
        return told
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "dtype": str(space.dtype), "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        start = np.asarray(space.start, space.dtype)
        return {"type": "MultiDiscrete", "dtype": str(space.dtype), "nvec": space.nvec, "start": start}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": list(space.shape)}
    if isinstance(space, spaces.Text):
        return text(space)
    if isinstance(space, spaces.Sequence):
        part = describe(space.feature_space, f"{where}[...]")
        return {"type": "Sequence", "space": part, "stack": bool(space.stack)}
    if isinstance(space, spaces.Graph):
        edges = None if space.edge_space is None else describe(space.edge_space, f"{where}.edge_space")
        return {"type": "Graph", "node_space": describe(space.node_space, f"{where}.node_space"), "edge_space": edges}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {k: describe(s, f"{where}[{k!r}]") for k, s in space.spaces.items()}}
    if isinstance(space, (spaces.Tuple, spaces.OneOf)):
        parts = [describe(part, f"{where}[{i}]") for i, part in enumerate(space.spaces)]
        return {"type": "OneOf" if isinstance(space, spaces.OneOf) else "Tuple", "spaces": parts}
    raise TypeError(
        f"{where} is of the class {_name(type(space))}, which Ferry does not know; "
        "ferry.spaces.register(cls, encode, decode), called on both sides, makes it known"
    )


def text(space: spaces.Text) -> Description:
    """The description of a Text."""
    charset = "".join(space.character_list)
    return {"type": "Text", "min_length": space.min_length, "max_length": space.max_length, "charset": charset}


# ---- To a space ----


class Room:
    """What described spaces may still take: a few bytes can describe bounds that would fill the memory."""

    def __init__(self) -> None:
        self._left = _MOST_BYTES

    def take(self, shape: Sequence[int], bytes_each: int, kind: str) -> None:
        """Counts a space's arrays.

        Raises:
            ValueError: There is no room for them.
        """
        if len(shape) > _MOST_DIMENSIONS:
            raise ValueError(f"a {kind} of {len(shape)} dimensions")
        self._left -= max(math.prod(shape), 0) * bytes_each
        if self._left < 0:
            raise ValueError(
                f"with a {kind} of shape {tuple(shape)} described spaces take more than {_MOST_BYTES >> 20} MiB"
            )


def space_of(description: Any, room: Room | None = None) -> Space:
    """The space that a peer's description means.

    Args:
        description: Foreign data.
        room: What it and others may take together; None: it is the only one.

    Raises:
        ProtocolError: It means none.
    """
    try:
        return _space(description, room or Room())
    except ProtocolError:
        raise
    except Exception as error:  # foreign data in constructors: they may stumble in any way
        raise ProtocolError(f"the peer describes a space that cannot be made: {error}") from error


def _space(told: Mapping[str, Any], room: Room) -> Space:
    kind = told["type"]
    if kind == "Box":
        low, high = told.get("low"), told.get("high")
        shape = tuple(map(int, told.get("shape", np.shape(low if low is not None else 0))))
        number = _number(told.get("dtype", "float32"))
        room.take(shape, 2 * number.itemsize + 2, "Box")  # low, high, and whether there are any
        return box(low, high, shape, number)
    if kind == "Discrete":
        return discrete(int(told["n"]), int(told.get("start", 0)), _number(told.get("dtype", "int64")))
    if kind == "MultiDiscrete":
        dtype: Any = _number(told.get("dtype", "int64")).type
        nvec = np.asarray(told["nvec"], dtype)
        return spaces.MultiDiscrete(
            nvec, dtype=dtype, start=np.broadcast_to(np.asarray(told.get("start", 0)), nvec.shape)
        )
    if kind == "MultiBinary":
        lengths = [int(n) for n in np.atleast_1d(told["n"])]
        room.take(lengths, 1, "MultiBinary")
        return spaces.MultiBinary(lengths if len(lengths) != 1 else lengths[0])
    if kind == "Text":
        least, most = int(told.get("min_length", 1)), int(told["max_length"])
        return spaces.Text(most, min_length=least, charset=str(told["charset"]))
    if kind == "Sequence":
        return spaces.Sequence(_space(told["space"], room), stack=bool(told.get("stack", False)))
    if kind == "Graph":
        nodes, edges = told["node_space"], told.get("edge_space")
        return spaces.Graph(_space(nodes, room), None if edges is None else _space(edges, room))
    if kind == "Dict":
        return spaces.Dict([(str(key), _space(part, room)) for key, part in told["spaces"].items()])
    if kind == "Tuple":
        return spaces.Tuple([_space(part, room) for part in told["spaces"]])
    if kind == "OneOf":
        return spaces.OneOf([_space(part, room) for part in told["spaces"]])
    if kind == "custom":
        return _custom(told["name"], told["data"])
    raise ProtocolError(f"the peer describes a space of the unknown type {kind!r}")


def _number(name: Any) -> np.dtype[Any]:
    """A dtype of numbers; of texts, say, an element may take gigabytes."""
    dtype = np.dtype(name) if isinstance(name, str) and len(name) <= 16 else None
    if dtype is None or dtype.kind not in "biuf":
        raise ValueError(f"{str(name)[:80]!r} is no dtype of numbers")
    return dtype


def _custom(name: str, data: Any) -> Space:
    if name not in _registry:
        raise ProtocolError(
            f"the peer has a space of the class {name}, which this side does not know; import its module here and call "
            "ferry.spaces.register(cls, encode, decode) before connecting"
        )
    space = _registry[name].decode(data)
    if not isinstance(space, gymnasium.Space):
        raise ProtocolError(f"the decode function that was registered for {name} made a {type(space).__name__}")
    return space


def box(low: Any, high: Any, shape: Any, dtype: np.dtype[Any]) -> spaces.Box:
    """A Box; None for a bound is none beside that of the dtype."""
    shape = tuple(int(n) for n in shape)
    if dtype.kind == "f":
        least, most = -np.inf, np.inf
    else:
        least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    lows = np.broadcast_to(np.asarray(least if low is None else low, dtype), shape)
    highs = np.broadcast_to(np.asarray(most if high is None else high, dtype), shape)
    made = spaces.Box(lows, highs, shape, dtype.type)
    if dtype == np.int64:
        # Gymnasium samples up to high + 1, which has to be a number.
        made.bounded_above &= highs < np.iinfo(np.int64).max
    return made


def discrete(n: int, start: int, dtype: np.dtype[Any]) -> spaces.Discrete:
    """A Discrete. In older releases of Gymnasium it has no dtype; its values arrive in the field's all the same."""
    try:
        return spaces.Discrete(n, start=start, dtype=dtype.type)
    except TypeError:
        return spaces.Discrete(n, start=start)


# ---- Values ----


def codec(space: Space) -> Codec:
    """How values of a space become plain data, and values again."""
    if not _has_own_values(space):
        return Codec(space, _same, _same)
    return Codec(space, lambda value: _encoded(space, value), lambda data: _decoded(space, data))


def _has_own_values(space: Space) -> bool:
    """Whether some values of the space are not plain data."""
    if isinstance(space, spaces.Graph) or is_registered(space):
        return True
    if isinstance(space, spaces.Sequence):
        return _has_own_values(space.feature_space)
    if isinstance(space, spaces.Dict):
        return any(map(_has_own_values, space.spaces.values()))
    return isinstance(space, (spaces.Tuple, spaces.OneOf)) and any(map(_has_own_values, space.spaces))


def _encoded(space: Space, value: Any) -> Any:
    if is_registered(space):
        return _registry[_name(type(space))].encode_value(value)
    if isinstance(space, spaces.Graph):
        return (value.nodes, value.edges, value.edge_links)
    return _walked(space, value, _encoded)


def _decoded(space: Space, data: Any) -> Any:
    if is_registered(space):
        return _registry[_name(type(space))].decode_value(data)
    if isinstance(space, spaces.Graph):
        nodes, edges, links = data
        return spaces.GraphInstance(nodes, edges, links)
    return _walked(space, data, _decoded)


def _walked(space: Space, value: Any, convert: Callable[[Space, Any], Any]) -> Any:
    """The value with its parts converted."""
    if not _has_own_values(space):
        return value
    if isinstance(space, spaces.Sequence):
        return tuple(convert(space.feature_space, part) for part in value)
    if isinstance(space, spaces.Dict):
        return {key: convert(part, value[key]) for key, part in space.spaces.items()}
    parts = cast("spaces.Tuple[Any]", space).spaces
    if isinstance(space, spaces.OneOf):
        which, chosen = value
        return (which, convert(parts[which], chosen))
    return tuple(convert(part, each) for part, each in zip(parts, value, strict=True))
