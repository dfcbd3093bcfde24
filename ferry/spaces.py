"""Spaces as field tables, and field tables as spaces.

Box, Discrete, MultiDiscrete, MultiBinary and Text have fields of their own, nested in Dict and Tuple, as has a flat
Sequence of numbers; so have empty Dicts and Tuples. Any other space is one field without bytes, whose values travel in
the turn's blob. What a field leaves unsaid of its space is said by a description beside the table
(`ferry.descriptions`).

A field table is flat; a path says where in the space each field has its place: keys of a Dict are joined by "/", places
in a Tuple written "#0", "#1"; in a key "%", "/" and "#" are escaped, and an empty key is "%-". What takes a value apart
later is a template: the space again, as nested dicts and tuples of field numbers.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from typing import Any, TypeAlias, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ferry import _core, descriptions
from ferry._core import Field
from ferry.descriptions import Codec, Description, register
from ferry.errors import ProtocolError

__all__ = [
    "Descriptions",
    "Template",
    "codecs",
    "compose",
    "describe",
    "described",
    "differences",
    "fields",
    "kind_name",
    "register",
    "role_name",
    "template",
]

Space: TypeAlias = gymnasium.Space[Any]
Template: TypeAlias = "int | dict[str, Template] | tuple[Template, ...]"
Descriptions: TypeAlias = Mapping[str, Description]
_Branch: TypeAlias = "int | dict[str | int, _Branch]"

_ROLES = {_core.OBSERVATION: "observation", _core.ACTION: "action", _core.INFO: "info"}
_KINDS = {
    _core.BOX: "Box",
    _core.DISCRETE: "Discrete",
    _core.MULTI_DISCRETE: "MultiDiscrete",
    _core.MULTI_BINARY: "MultiBinary",
    _core.DICT: "Dict",
    _core.TUPLE: "Tuple",
    _core.STRING: "Text",
    _core.OTHER: "space in blobs",
}
# What lists have room for in shared memory. Longer ones travel in the blob: a little slower, and without a limit.
_LIST_ELEMENTS = 64
_LIST_BYTES = 16384
_TEXT_BYTES = 1024
_CODES = {np.dtype(name): code for code, name in _core.DTYPES.items()}
_PART = re.compile(r"#(?P<place>0|[1-9][0-9]{0,8})|(?P<slash>/?)(?P<key>[^/#]+)")


# ---- From a space ----


def fields(space: Space, role: int) -> tuple[Field, ...]:
    """The field table of a space.

    Args:
        space: Any of Gymnasium's, and of the classes that were given to `register`.
        role: OBSERVATION, ACTION or INFO.

    Raises:
        TypeError: A part of the space cannot travel; its path is named.
    """
    return tuple(_part(space, "", role))


def describe(space: Space, role: int) -> Descriptions:
    """What the fields of the space leave unsaid, by path."""
    told: dict[str, Description] = {}
    for field, part in _leaves(space, role):
        if field.kind == _core.OTHER:
            told[field.path] = descriptions.describe(part, _where(field.path, role))
        elif field.kind == _core.STRING:
            told[field.path] = descriptions.text(cast(spaces.Text, part))
        elif field.capacity and cast(spaces.Sequence, part).stack:
            told[field.path] = {"type": "Sequence", "stack": True}
    return told


def described(about: Mapping[str, Any]) -> dict[str, Descriptions]:
    """What a peer says of its spaces: by "observation" and "action", then by path.

    Raises:
        TypeError: It says something else.
    """
    told = about.get("spaces") or {}
    if not isinstance(told, dict) or not all(isinstance(parts, dict) for parts in told.values()):
        raise TypeError("'spaces' in about is not a map of maps")
    if not all(isinstance(part, dict) for parts in told.values() for part in parts.values()):
        raise TypeError("a space's description is not a map")
    return told


def codecs(table: Sequence[Field], observation: Space, action: Space) -> dict[int, Codec]:
    """What to do with values that may travel in blobs, by number of the field in a table that describes both spaces."""
    whole = {_core.OBSERVATION: observation, _core.ACTION: action}
    return {
        number: descriptions.codec(_at(whole[field.role], field.path))
        for number, field in enumerate(table)
        if field.role in whole and (field.kind in (_core.OTHER, _core.STRING) or field.capacity)
    }


def _at(space: Any, path: str) -> Space:
    """The part of a space that has a path. What is described beside the table may have parts that have none."""
    for part in _parts(path):
        space = space.spaces[part]
    return cast(Space, space)


def _leaves(space: Space, role: int) -> list[tuple[Field, Space]]:
    """The fields of a space, each with its part of the space."""
    parts: Iterable[Space] = ()
    if not descriptions.is_registered(space):
        if isinstance(space, spaces.Dict):
            parts = space.spaces.values()
        elif isinstance(space, spaces.Tuple):
            parts = space.spaces
    if not parts:
        return [(next(_part(space, "", role)), space)]
    leaves = [leaf for part in parts for leaf in _leaves(part, role)]
    return [(field, leaf[1]) for field, leaf in zip(fields(space, role), leaves, strict=True)]


def _part(space: Space, path: str, role: int) -> Iterator[Field]:
    return _other(path, role) if descriptions.is_registered(space) else _fields(space, path, role)


def _other(path: str, role: int) -> Iterator[Field]:
    yield Field(path, role, _core.OTHER, _CODES[np.dtype(np.uint8)])


@singledispatch
def _fields(space: Space, path: str, role: int) -> Iterator[Field]:
    descriptions.describe(space, _where(path, role))  # which raises for what nobody knows
    return _other(path, role)


@_fields.register
def _(space: spaces.Box, path: str, role: int) -> Iterator[Field]:
    low, high = space.low, space.high
    field = Field(path, role, _core.BOX, _code(space.dtype, path, role), space.shape)
    if low.size == 0 or _is_unbounded(space):
        yield field
    elif _is_scalar(low) and _is_scalar(high) and (low.flat[0] != 0 or high.flat[0] != 0):
        yield field._replace(low=float(low.flat[0]), high=float(high.flat[0]))
    else:
        yield field._replace(low_each=low.tobytes(), high_each=high.tobytes())


@_fields.register
def _(space: spaces.Discrete, path: str, role: int) -> Iterator[Field]:
    n, start = int(space.n), int(space.start)
    if not -(2**63) <= start <= start + n - 1 < 2**63:
        raise _unsupported(path, role, f"is {space}, whose values need more than 64 bits")
    yield Field(path, role, _core.DISCRETE, _code(space.dtype, path, role), n=n, start=start)


@_fields.register
def _(space: spaces.MultiDiscrete, path: str, role: int) -> Iterator[Field]:
    low = np.asarray(space.start, space.dtype)
    high = (low + (space.nvec - 1)).astype(space.dtype)
    code = _code(space.dtype, path, role)
    yield Field(path, role, _core.MULTI_DISCRETE, code, space.shape, low_each=low.tobytes(), high_each=high.tobytes())


@_fields.register
def _(space: spaces.MultiBinary, path: str, role: int) -> Iterator[Field]:
    yield Field(path, role, _core.MULTI_BINARY, _code(space.dtype, path, role), space.shape)


@_fields.register
def _(space: spaces.Text, path: str, role: int) -> Iterator[Field]:
    longest = max((len(character.encode()) for character in space.character_list), default=1)
    capacity = min(max(space.max_length, 1) * longest, _TEXT_BYTES)
    field = Field(path, role, _core.STRING, _CODES[np.dtype(np.uint8)], capacity=capacity)
    yield field._replace(n=space.max_length, start=space.min_length)


@_fields.register(spaces.Sequence)
def _(space: spaces.Sequence, path: str, role: int) -> Iterator[Field]:
    element = space.feature_space
    flat = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if type(element) in flat and len(element.shape or ()) < _core.MAX_NDIM:
        (field,) = _fields(element, path, role)
        size_bytes = np.dtype(element.dtype).itemsize * math.prod(element.shape or ())
        yield field._replace(capacity=min(_LIST_ELEMENTS, max(_LIST_BYTES // max(size_bytes, 1), 1)))
    else:
        descriptions.describe(space, _where(path, role))
        yield from _other(path, role)


@_fields.register
def _(space: spaces.Dict, path: str, role: int) -> Iterator[Field]:
    if not space.spaces:
        yield Field(path, role, _core.DICT, _CODES[np.dtype(np.uint8)])
    for key, part in space.spaces.items():
        if not isinstance(key, str):
            raise _unsupported(path, role, f"is a Dict with the key {key!r}; keys that are str can travel")
        yield from _part(part, f"{path}/{_escaped(key)}" if path else _escaped(key), role)


@_fields.register(spaces.Tuple)
def _(space: spaces.Tuple[Any], path: str, role: int) -> Iterator[Field]:
    if not space.spaces:
        yield Field(path, role, _core.TUPLE, _CODES[np.dtype(np.uint8)])
    for place, part in enumerate(space.spaces):
        yield from _part(part, f"{path}#{place}", role)


def _where(path: str, role: int) -> str:
    return f"{_ROLES[role]} space{f' at {path!r}' if path else ''}"


def _unsupported(path: str, role: int, text: str) -> TypeError:
    return TypeError(f"{_where(path, role)} {text}")


def _code(dtype: Any, path: str, role: int) -> int:
    code = _CODES.get(np.dtype(dtype))
    if code is None:
        raise _unsupported(path, role, f"is of dtype {dtype}; {', '.join(_core.DTYPES.values())} can travel")
    return code


def _is_unbounded(space: spaces.Box) -> bool:
    """Whether all that limits the values is their dtype, as a field without bounds says it."""
    dtype: Any = space.dtype
    if dtype.kind in ("b", "u"):
        highest = 1 if dtype.kind == "b" else np.iinfo(dtype).max
        return not space.low.any() and bool(np.all(space.high == highest))
    return not space.bounded_below.any() and not space.bounded_above.any()


def _is_scalar(bounds: NDArray[Any]) -> bool:
    """Whether one double says them all. Not for float16, whose bounds are given for each element."""
    first = bounds.flat[0]
    exact = first.dtype.kind == "f" or int(float(first)) == int(first)
    return bool(exact and first.dtype != np.float16 and (bounds == first).all())


def _escaped(key: str) -> str:
    return key.replace("%", "%25").replace("/", "%2F").replace("#", "%23") or "%-"


def _unescaped(key: str) -> str:
    return "" if key == "%-" else key.replace("%2F", "/").replace("%23", "#").replace("%25", "%")


# ---- To a space ----


def compose(table: Sequence[Field], role: int, described: Descriptions | None = None) -> Space:
    """The space that the fields of a role describe.

    Args:
        table: The fields.
        role: OBSERVATION or ACTION.
        described: What they leave unsaid, by path.

    Raises:
        ProtocolError: They describe none.
    """
    return _space(_tree(table, role), table, role, described or {}, descriptions.Room())


def template(table: Sequence[Field], role: int) -> Template:
    """Where in a value of the space each field has its place.

    Raises:
        ProtocolError: The fields do not describe a space.
    """
    return _template(_tree(table, role), table)


def _tree(table: Sequence[Field], role: int) -> _Branch:
    """The space as nested dicts, whose keys are str in a Dict and int in a Tuple; their leaves are field numbers."""
    root: dict[str | int, _Branch] = {}
    for number, field in enumerate(table):
        if field.role != role:
            continue
        branch, last = root, cast("str | int", "")
        for part in _parts(field.path):
            inner = branch.setdefault(last, {})
            if not isinstance(inner, dict) or type(next(iter(inner), part)) is not type(part):
                raise _contradictory(field)
            branch, last = inner, part
        if last in branch:
            raise _contradictory(field)
        branch[last] = number
    if not root:
        raise ProtocolError(f"the environment has no {_ROLES[role]} fields")
    return root[""]


def _parts(path: str) -> list[str | int]:
    """The keys and places of a path: "pair#0/x" is ["pair", 0, "x"]."""
    parts: list[str | int] = []
    end = 0
    for match in _PART.finditer(path):
        if match.start() != end or (match["key"] is not None and bool(match["slash"]) != bool(parts)):
            break
        parts.append(_unescaped(match["key"]) if match["key"] is not None else int(match["place"]))
        end = match.end()
    if end != len(path):
        raise ProtocolError(f"{path!r} is not a path: keys joined by '/', places written '#0'")
    return parts


def _contradictory(field: Field) -> ProtocolError:
    text = f"the {_ROLES[field.role]} field {field.path!r} contradicts another: one place cannot hold two spaces"
    return ProtocolError(text)


def _space(
    branch: _Branch, table: Sequence[Field], role: int, described: Descriptions, room: descriptions.Room
) -> Space:
    if isinstance(branch, int):
        try:
            return _leaf(table[branch], described.get(table[branch].path, {}), room)
        except (ValueError, TypeError, OverflowError) as error:
            raise ProtocolError(f"the {_ROLES[role]} field {table[branch].path!r} makes no space: {error}") from error
    if isinstance(next(iter(branch)), int):
        return spaces.Tuple([_space(part, table, role, described, room) for part in _in_order(branch, role)])
    return spaces.Dict([(str(key), _space(part, table, role, described, room)) for key, part in branch.items()])


def _template(branch: _Branch, table: Sequence[Field]) -> Template:
    if isinstance(branch, int):
        empty: dict[int, Template] = {_core.DICT: {}, _core.TUPLE: ()}
        return empty.get(table[branch].kind, branch)
    if isinstance(next(iter(branch)), int):
        return tuple(_template(branch[place], table) for place in range(len(branch)))
    return {str(key): _template(part, table) for key, part in branch.items()}


def _in_order(branch: dict[str | int, _Branch], role: int) -> Iterable[_Branch]:
    if set(branch) != set(range(len(branch))):
        raise ProtocolError(f"a Tuple in the {_ROLES[role]} fields has the places {sorted(branch)}, with gaps")
    return [branch[place] for place in range(len(branch))]


def _leaf(field: Field, told: Description, room: descriptions.Room) -> Space:
    if field.kind == _core.STRING:
        # An environment that says nothing of its texts' length and characters may send whatever fits.
        return descriptions.space_of({"charset": string.printable, **_lengths(field), **told, "type": "Text"})
    if field.kind == _core.OTHER:
        if not told:
            raise ProtocolError(
                f"the environment does not say which space {field.path!r} is: 'spaces' is missing in about"
            )
        return descriptions.space_of(told, room)
    element = _element(field)
    return spaces.Sequence(element, stack=bool(told.get("stack", False))) if field.capacity else element


def _lengths(field: Field) -> dict[str, int]:
    return {"min_length": max(field.start, 0), "max_length": field.n if field.n > 0 else field.capacity}


def _element(field: Field) -> Space:
    dtype: Any = np.dtype(_core.DTYPES[field.dtype])
    if field.kind == _core.DISCRETE:
        return descriptions.discrete(field.n, field.start, dtype)
    if field.kind == _core.MULTI_BINARY:
        return spaces.MultiBinary(field.shape[0] if len(field.shape) == 1 else field.shape)
    if field.kind == _core.DICT:
        return spaces.Dict()
    if field.kind == _core.TUPLE:
        return spaces.Tuple(())
    low, high = _core.bounds_of(field)
    if field.kind == _core.MULTI_DISCRETE:
        return spaces.MultiDiscrete(high - low + 1, dtype=dtype.type, start=low)
    if field.low_each is None and field.low == field.high == 0 and dtype.kind in "if":
        return spaces.Box(-np.inf, np.inf, field.shape, dtype.type)
    return descriptions.box(low, high, field.shape, dtype)


# ---- Comparison ----


def differences(before: Sequence[Field], after: Sequence[Field]) -> list[str]:
    """What distinguishes two field tables, a line for each field; empty if they are equal."""
    old, new = ({(field.role, field.path): field for field in table} for table in (before, after))
    lines = [f"- {_told(old[key])}" for key in old if key not in new]
    lines += [f"+ {_told(new[key])}" for key in new if key not in old]
    lines += [f"~ {_told(old[key])} is now {_told(new[key])}" for key in old if key in new and old[key] != new[key]]
    if not lines and tuple(before) != tuple(after):
        lines = ["the same fields in another order: " + ", ".join(field.path for field in after)]
    return lines


def role_name(field: Field) -> str:
    """Which role it has: "observation", "action" or "info"."""
    return _ROLES.get(field.role, "?")


def kind_name(field: Field) -> str:
    """What the field stands for: "Box", "Sequence of Discrete"."""
    kind = _KINDS.get(field.kind, "?")
    return f"Sequence of {kind}" if field.capacity and field.kind != _core.STRING else kind


def _told(field: Field) -> str:
    values = f"{field.start} to {field.start + field.n - 1}" if field.kind == _core.DISCRETE else f"shape {field.shape}"
    if field.low_each is not None:
        bounds = "bounds of its own for each element"
    elif field.low == field.high == 0:
        bounds = "no bounds"
    else:
        bounds = f"bounds {field.low:g} to {field.high:g}"
    if field.kind in (_core.STRING, _core.OTHER):
        return f"{_ROLES[field.role]} {field.path!r}: {_KINDS[field.kind]}"
    text = f"{_ROLES[field.role]} {field.path!r}: {kind_name(field)} of {_core.DTYPES[field.dtype]}, {values}"
    return text if field.kind != _core.BOX else f"{text}, {bounds}"
