"""Blobs: free-form values (info, options, call arguments and results, frames) as bytes, and back.

A blob is one MessagePack value, JSON text or plain text. MessagePack carries Python's and NumPy's values exactly, by
means of the extension types below; JSON carries what every engine understands. Bytes from a peer are foreign: they are
checked, never executed, and whatever is wrong with them is a ValueError.

MessagePack
    None, bool, int (64 bits), float (as float64), str (UTF-8), bytes (bin), list (array) and dict (map, keys of any
    hashable kind) are MessagePack's own. Everything else is an extension; all numbers in it are little-endian:

    ====  =========  ===================================================================================================
    code  value      payload
    ====  =========  ===================================================================================================
    1     array      u8 n, n bytes of type code, u8 ndim (at most 32), ndim x u64 shape, then the elements in C order
                     without gaps; for type code ``|O`` one MessagePack array of the elements instead
    2     scalar     u8 n, n bytes of type code, then the one element: a NumPy scalar
    3     tuple      one MessagePack array
    4     int        two's complement of one byte or more: an integer beyond 64 bits
    5     complex    f64 real part, f64 imaginary part
    6     set        one MessagePack array
    7     frozenset  one MessagePack array
    ====  =========  ===================================================================================================

    A type code is ASCII, as in NumPy's array interface: ``|b1`` (bytes 0 or 1), ``|i1 <i2 <i4 <i8``,
    ``|u1 <u2 <u4 <u8``, ``<f2 <f4 <f8``, ``<c8 <c16``, ``|S3`` (3 bytes, padded with zeros), ``<U3`` (3 Unicode scalar
    values as u32, padded with zeros), ``<M8[ns]`` and ``<m8[10ms]`` (i64 counts of a unit: Y M W D h m s ms us ns ps fs
    as, or none); in arrays also ``|O``. In ``|S`` and ``<U`` arrays elements have at least one byte or character;
    scalars may be empty.

    MessagePack's time stamp (extension -1) is read as float seconds since 1970 and never written. Any other code is an
    error. Subclasses (OrderedDict, a named tuple, IntEnum, np.memmap) arrive as the plain type, bytearray and
    memoryview as bytes. Values nest at most 64 levels deep.

    A byte may stand for a value that takes a hundred in memory. So a blob holds `MAX_VALUES` values at most, all its
    lists, maps and sets together; and of the values of a map's keys or a set that are not text, bytes, numbers or None
    there are a few thousand, because somebody could choose them so that they collide in Python's tables.

JSON
    NumPy arrays, tuples and sets become arrays, NumPy numbers numbers, masked elements null. NaN and the infinities
    become null, as JavaScript writes them: JSON has no words for them, and C parsers choke on Python's. In reading,
    ``NaN``, ``Infinity`` and ``-Infinity`` are understood. Keys that are numbers, booleans or None become strings.
    Bytes, complex numbers and times are not carried.

What a format does not carry (objects, functions, structured and masked arrays, long doubles, text with lone surrogates)
costs the innermost dict key that leads to it, and the caller is told; where no dict leads to it, it is a TypeError.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias, cast

import msgpack
import numpy as np

__all__ = [
    "JSON",
    "MAX_DEPTH",
    "MAX_VALUES",
    "MSGPACK",
    "TEXT",
    "VALUES",
    "decode",
    "encode",
    "from_json",
    "pack",
    "to_json",
    "unpack",
]

# ferry_format in libferry.h.
JSON: Final = 1
MSGPACK: Final = 2
TEXT: Final = 3
VALUES: Final = 4

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 1 << 23

Bytes: TypeAlias = bytes | bytearray | memoryview
Dropped: TypeAlias = Callable[[str, object], None]


def encode(value: Any, format: int, *, dropped: Dropped | None = None) -> bytes:
    """Writes a value in one of the formats of libferry.h.

    Args:
        value: What to write; a str for TEXT, where lone surrogates become "?".
        format: JSON, MSGPACK, TEXT, or VALUES, which is written as MSGPACK is.
        dropped: As in `pack`.

    Raises:
        TypeError: The format does not carry the value.
        ValueError: There is no such format.
    """
    if format in (MSGPACK, VALUES):
        return pack(value, dropped=dropped)
    if format == JSON:
        return to_json(value, dropped=dropped)
    if format == TEXT:
        if not isinstance(value, str):
            raise TypeError(f"a text blob is a str, not {_type_name(value)}")
        return value.encode(errors="replace")
    raise ValueError(f"unknown blob format {format}")


def decode(data: Bytes, format: int) -> Any:
    """Reads what `encode`, or an engine, wrote.

    Raises:
        ValueError: The bytes are not valid in this format, or there is no such format.
    """
    if format in (MSGPACK, VALUES):
        return unpack(data)
    if format == JSON:
        return from_json(data)
    if format == TEXT:
        try:
            return str(data, "utf-8")
        except ValueError as error:
            raise ValueError(f"not a valid blob: {error}") from None
    raise ValueError(f"unknown blob format {format}")


def pack(value: Any, *, dropped: Dropped | None = None) -> bytes:
    """Writes a value as MessagePack; `unpack` returns an equal value of equal types.

    Args:
        value: What to write.
        dropped: Called with the path ("a.b[2]") and value of each thing that is not carried, after which the innermost
            dict key on that path is left out. None: nothing may be left out.

    Raises:
        TypeError: Something is not carried, and `dropped` is None or no dict leads to it.
    """
    return _write(value, _to_msgpack, _msgpack_leaf, dropped)


def unpack(data: Bytes) -> Any:
    """Reads one MessagePack value from foreign bytes.

    Arrays are writable, C-contiguous and in native byte order, and own their memory.

    Raises:
        ValueError: The bytes are not one valid value.
    """
    try:
        _check_claims(data)
        value = _from_msgpack(data) if len(data) <= _SMALL else _from_large_msgpack(data)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ValueError(f"not a valid blob: {str(error) or type(error).__name__}") from error
    return _shallow(value)


def to_json(value: Any, *, dropped: Dropped | None = None) -> bytes:
    """Writes a value as JSON in UTF-8.

    Args:
        value: What to write.
        dropped: As in `pack`.

    Raises:
        TypeError: Something is not carried, and `dropped` is None or no dict leads to it.
    """
    return _write(value, _to_json, _json_leaf, dropped)


def from_json(data: Bytes) -> Any:
    """Reads JSON in UTF-8 from foreign bytes.

    Raises:
        ValueError: The bytes are not one valid value.
    """
    try:
        if len(data) > MAX_VALUES:
            _check_json(bytes(data))
        value = json.loads(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a valid blob: {error}") from None
    return _shallow(value)


# ---- Type codes ------------------------------------------------------------------------------------------------------

_TYPE_CODE = re.compile(
    rb"\|b1|\|[iu]1|<[iu][248]|<f[248]|<c8|<c16|\|O"
    rb"|\|S(0|[1-9][0-9]{0,8})|<U(0|[1-9][0-9]{0,7})"
    rb"|<[Mm]8(\[([1-9][0-9]{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?"
)


@lru_cache(maxsize=256)
def _dtype_of(code: bytes) -> np.dtype[Any]:
    """The little-endian dtype of a type code; nothing but listed codes reaches NumPy's parser."""
    if not _TYPE_CODE.fullmatch(code):
        raise ValueError(f"unknown type code {code!r}")
    return np.dtype(code.decode())


@lru_cache(maxsize=256)
def _code_of(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], bytes]:
    """The little-endian form of a dtype, and its type code with the length in front."""
    little = dtype.newbyteorder("<")
    code = little.str.encode()
    if not _TYPE_CODE.fullmatch(code) or dtype.char in "gG":
        raise TypeError(f"no type code for {dtype}")
    return little, bytes((len(code),)) + code


def _read_code(payload: bytes) -> tuple[np.dtype[Any], int]:
    end = 1 + payload[0] if payload else 0
    return _dtype_of(payload[1:end]), end


# ---- MessagePack: writing --------------------------------------------------------------------------------------------

_ARRAY, _SCALAR, _TUPLE, _INT, _COMPLEX, _SET, _FROZENSET = range(1, 8)


def _to_msgpack(value: object, depth: int = 0) -> bytes:
    # Exact types only, so that tuples, subclasses and NumPy's scalars go to _extension and do not pass for their bases.
    return cast(bytes, msgpack.Packer(default=_WRITERS[depth], strict_types=True).pack(value))


def _msgpack_leaf(value: object) -> object:
    _to_msgpack(value)
    return value


def _extension(depth: int, value: Any) -> Any:
    """What stands for a value that is not MessagePack's own: an extension, or the plain type beneath a subclass."""
    if isinstance(value, np.generic):
        return msgpack.ExtType(_SCALAR, _scalar_payload(value))
    if isinstance(value, np.ndarray):
        return msgpack.ExtType(_ARRAY, _array_payload(value, depth))
    if isinstance(value, tuple):
        return msgpack.ExtType(_TUPLE, _to_msgpack(list(value), depth + 1))
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 64:
            return int(value)
        return msgpack.ExtType(_INT, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
    if isinstance(value, complex):
        return msgpack.ExtType(_COMPLEX, struct.pack("<dd", value.real, value.imag))
    if isinstance(value, set):
        return msgpack.ExtType(_SET, _to_msgpack(list(value), depth + 1))
    if isinstance(value, frozenset):
        return msgpack.ExtType(_FROZENSET, _to_msgpack(list(value), depth + 1))
    for plain in _PLAIN:
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"no type carries {_type_name(value)}")


def _scalar_payload(value: np.generic) -> bytes:
    little, code = _code_of(value.dtype)
    # NumPy's own conversions lose trailing zeros of strings, and make empty ones longer.
    if isinstance(value, np.str_):
        return code + value.encode("utf-32-le")
    if isinstance(value, np.bytes_):
        return code + bytes(value)
    return code + np.asarray(value, little).tobytes()


def _array_payload(value: np.ndarray[Any, Any], depth: int) -> bytes:
    if isinstance(value, np.ma.MaskedArray) or value.ndim > 32:
        raise TypeError("masked arrays, and arrays of more than 32 dimensions, are not carried")
    little, code = _code_of(value.dtype)
    head = struct.pack(f"<{len(code)}sB{value.ndim}Q", code, value.ndim, *value.shape)
    if little.char == "O":
        return head + _to_msgpack(value.ravel().tolist(), depth + 1)
    if little.itemsize == 0 or not _is_clean(value):
        raise TypeError(f"an array of {value.dtype} with empty elements or lone surrogates is not carried")
    return b"".join((head, np.ascontiguousarray(value, little).reshape(-1).view(np.uint8).data))


_PLAIN: tuple[type, ...] = (dict, list, str, float, bytes)
_WRITERS = tuple(partial(_extension, depth) for depth in range(MAX_DEPTH + 1))


# ---- MessagePack: reading --------------------------------------------------------------------------------------------


# A blob of so many bytes can do no harm that is worth looking for: it is read at full speed.
_SMALL = 16 << 10
# So many keys, or elements of a set, may collide.
_MOST_ODD = 4096


# A header of five bytes can claim as many elements as the blob has bytes, and the parser believes it and reserves them,
# at every level. Where that could amount to something, a first pass that builds nothing makes sure that they are there.
def _check_claims(data: Bytes) -> None:
    if len(data) > _SMALL:
        parser = msgpack.Unpacker(max_buffer_size=len(data))
        parser.feed(data)
        parser.skip()


class _Budget:
    """What a large blob may still hold. Its lists and maps are counted as they are made."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def count(self, values: int) -> None:
        self._left -= values + 1
        if self._left < 0:
            raise ValueError(f"more than {MAX_VALUES} values")

    def of_list(self, elements: list[Any]) -> list[Any]:
        self.count(len(elements))
        return elements

    def of_map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self.count(2 * len(pairs))
        _check_hashed([key for key, _ in pairs])
        return dict(pairs)


def _check_hashed(values: list[Any]) -> None:
    """Text and bytes have hashes that nobody outside knows, and few numbers of 64 bits have the same."""
    if len(values) > _MOST_ODD:
        odd = sum(
            type(value) not in _WELL_HASHED and (type(value) is not int or not -(1 << 63) <= value < 1 << 64)
            for value in values
        )
        if odd > _MOST_ODD:
            raise ValueError(f"{odd} keys or elements of a set that are neither text, bytes nor plain numbers")


_WELL_HASHED = {str, bytes, float, bool, type(None)}


def _read_extension(depth: int, budget: _Budget | None, code: int, payload: bytes) -> Any:
    if budget is not None:
        budget.count(0)
    if code == _SCALAR:
        return _read_scalar(payload)
    if code == _ARRAY:
        return _read_array(payload, depth, budget)
    if code == _TUPLE:
        return tuple(_read_list(payload, depth, budget))
    if code == _INT and payload:
        return int.from_bytes(payload, "little", signed=True)
    if code == _COMPLEX and len(payload) == 16:
        return complex(*struct.unpack("<dd", payload))
    if code in (_SET, _FROZENSET):
        elements = _read_list(payload, depth, budget)
        _check_hashed(elements)
        return set(elements) if code == _SET else frozenset(elements)
    raise ValueError(f"unknown extension {code} of {len(payload)} bytes")


def _read_list(payload: bytes, depth: int, budget: _Budget | None) -> list[Any]:
    # Unpacker keeps its state on the heap, unpackb 40 KB on the C stack: too much for 64 levels in a small thread.
    if depth + 1 == len(_READERS):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    _check_claims(payload)
    size_bytes = len(payload)
    reading = _READING_SMALL[depth + 1] if budget is None else _reading_large(depth + 1, budget)
    parser = msgpack.Unpacker(max_buffer_size=max(size_bytes, 1), **reading)
    parser.feed(payload)
    value = parser.unpack()
    if type(value) is not list or parser.tell() != size_bytes:
        raise ValueError("an extension's payload is not one array")
    return value


def _read_scalar(payload: bytes) -> Any:
    dtype, start = _read_code(payload)
    data = payload[start:]
    kind = dtype.kind
    if kind == "O" or len(data) != dtype.itemsize or (kind == "b" and data > b"\1"):
        raise ValueError(f"not a scalar of {dtype}: {data[:16]!r}")
    if kind == "U":
        return np.str_(data.decode("utf-32-le"))
    if kind == "S":
        return np.bytes_(data)
    return np.frombuffer(data, dtype)[0]


def _read_array(payload: bytes, depth: int, budget: _Budget | None) -> np.ndarray[Any, Any]:
    dtype, start = _read_code(payload)
    ndim = payload[start] if start < len(payload) else 33
    start += 1 + 8 * ndim
    if ndim > 32 or start > len(payload):
        raise ValueError("an array's header is cut short or has too many dimensions")
    shape = struct.unpack_from(f"<{ndim}Q", payload, start - 8 * ndim)
    size = math.prod(shape)
    if dtype.char == "O":
        return _object_array(shape, _read_list(payload[start:], depth, budget))
    if dtype.itemsize == 0 or size * dtype.itemsize != len(payload) - start:
        raise ValueError(f"an array of {dtype} and shape {shape} in {len(payload) - start} bytes")
    array = np.empty(shape, dtype.newbyteorder("="))
    if size:
        flat = np.frombuffer(payload, dtype, size, start)
        if not _is_clean(flat):
            raise ValueError(f"an array of {dtype} has impossible elements")
        array[...] = flat.reshape(shape)
    return array


def _object_array(shape: tuple[int, ...], elements: list[Any]) -> np.ndarray[Any, Any]:
    if math.prod(shape) != len(elements):
        raise ValueError(f"{len(elements)} elements in an array of shape {shape}")
    flat = np.empty(len(elements), object)
    for i, element in enumerate(elements):  # one by one, or NumPy would look into nested lists
        flat[i] = element
    return flat.reshape(shape)


_READERS = tuple(partial(_read_extension, depth, None) for depth in range(MAX_DEPTH + 1))
_READING: dict[str, Any] = {"strict_map_key": False, "timestamp": 1}
_READING_SMALL = tuple({"ext_hook": reader, **_READING} for reader in _READERS)
_from_msgpack = partial(msgpack.unpackb, **_READING_SMALL[0])


def _reading_large(depth: int, budget: _Budget) -> dict[str, Any]:
    most = {"max_array_len": MAX_VALUES, "max_map_len": MAX_VALUES // 2}
    hooks = {"list_hook": budget.of_list, "object_pairs_hook": budget.of_map}
    return {"ext_hook": partial(_read_extension, depth, budget), **hooks, **most, **_READING}


def _from_large_msgpack(data: Bytes) -> Any:
    return msgpack.unpackb(data, **_reading_large(0, _Budget()))


# ---- JSON ------------------------------------------------------------------------------------------------------------


_JSON_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def _check_json(data: bytes) -> None:
    """Counts, at least, the values of a large text: as many as what opens and what divides them."""
    if sum(map(data.count, (b",", b"[", b"{"))) >= MAX_VALUES:
        data = _JSON_TEXT.sub(b"", data)
        if sum(map(data.count, (b",", b"[", b"{"))) >= MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")


def _to_json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()


def _json_leaf(value: Any) -> Any:
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.where(np.isfinite(value), value, None)  # type: ignore[call-overload]
    if isinstance(value, np.generic):
        value = _plain(value)
    _to_json(value)
    return value


def _plain(value: Any) -> Any:
    """What stands for a value that json does not know."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufUO" and value.dtype.char != "g":
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"JSON does not carry {_type_name(value)}")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


# ---- What is not carried ---------------------------------------------------------------------------------------------


# How writers say that they cannot. IndexError is what the tables of hooks answer to a depth that they do not have.
_FAILURES = (TypeError, ValueError, OverflowError, RecursionError, IndexError)


class _RefusedError(TypeError):
    def __init__(self, path: str, value: object, reason: str) -> None:
        place = f" at {path!r}" if path else ""
        super().__init__(f"{_type_name(value)}{place} cannot be sent: {reason}")
        self.path, self.value = path, value


def _write(
    value: object,
    write: Callable[[Any], bytes],
    leaf: Callable[[Any], Any],
    dropped: Dropped | None,
) -> bytes:
    """Writes at full speed; only where that fails is the value searched for what is not carried."""
    try:
        data = write(value)
        if not _too_deep(value):
            return data
    except _FAILURES:
        pass
    try:
        return write(_sifted(value, "", (), leaf, dropped))
    except _RefusedError as refused:
        raise TypeError(str(refused)) from None


def _sifted(
    value: Any, path: str, parents: tuple[int, ...], leaf: Callable[[Any], Any], dropped: Dropped | None
) -> Any:
    """A copy without the dict keys that lead to what is not carried; leaf returns what stands for a leaf, or raises."""
    children = _children(value)
    if children is None:
        try:
            return leaf(value)
        except _FAILURES as error:
            raise _RefusedError(path, value, str(error)) from None
    if id(value) in parents:
        raise _RefusedError(path, value, "it contains itself")
    if len(parents) == MAX_DEPTH:
        raise _RefusedError(path, value, f"nested deeper than {MAX_DEPTH} levels")
    parents = (*parents, id(value))
    if not isinstance(value, dict):
        if isinstance(value, np.ndarray):
            places: Iterable[Any] = map(list, np.ndindex(value.shape))
        else:
            places = ([i] for i in range(len(value)))
        elements = [_sifted(v, f"{path}{i}", parents, leaf, dropped) for i, v in zip(places, children, strict=True)]
        if isinstance(value, np.ndarray):
            return _object_array(value.shape, elements)
        return next(plain for plain in (list, tuple, set, frozenset) if isinstance(value, plain))(elements)
    kept = {}
    for key, child in value.items():
        name = str(key) if isinstance(key, (str, int, float, type(None))) else f"<{_type_name(key)}>"
        place = f"{path}.{name}" if path else name
        try:
            kept[_sifted_key(key, place, leaf)] = _sifted(child, place, parents, leaf, dropped)
        except _RefusedError as refused:
            if dropped is None:
                raise
            dropped(refused.path, refused.value)
    return kept


def _sifted_key(key: Any, place: str, leaf: Callable[[Any], Any]) -> Any:
    try:
        plain = leaf(key)
        leaf({plain: None})  # some values are carried, but not as keys
        return plain
    except _FAILURES as error:
        raise _RefusedError(place, key, str(error)) from None


def _shallow(value: Any) -> Any:
    if _too_deep(value):
        raise ValueError(f"not a valid blob: nested deeper than {MAX_DEPTH} levels")
    return value


def _too_deep(value: object) -> bool:
    if isinstance(value, dict) and _LEAVES.issuperset(map(type, value.values())):
        return False  # the usual case, at C speed
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) or () if type(child) not in _LEAVES]
        if not level:
            return False
    return any(_children(child) is not None for child in level)


def _children(value: Any) -> Iterable[Any] | None:
    """The values within a container; None for a leaf."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.char == "O" and not isinstance(value, np.ma.MaskedArray):
        return value.flat
    return None


# Exact types that have no children, so that the usual ones are passed over quickly.
_LEAVES = {type(None), bool, int, float, complex, str, bytes, *np.sctypeDict.values()}


def _is_clean(array: np.ndarray[Any, Any]) -> bool:
    """Whether each element is one that NumPy and Python can hold: booleans 0 or 1, text of Unicode scalar values."""
    if array.dtype.kind == "b":
        return not (np.ascontiguousarray(array).view(np.uint8) > 1).any()
    if array.dtype.kind == "U" and array.size and array.itemsize:
        points = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1).view(np.uint32)
        return bool(((points < 0xD800) | ((points > 0xDFFF) & (points < 0x110000))).all())
    return True


def _type_name(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} of {value.dtype}" if isinstance(value, np.ndarray) else name
