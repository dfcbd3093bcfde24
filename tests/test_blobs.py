"""Blobs arrive as sent, in value and type; what cannot be sent is named; foreign bytes only ever raise ValueError."""

from __future__ import annotations

import collections
import enum
import json
import struct
from typing import Any, NamedTuple

import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings

from ferry import blobs
from same import same
from values_to_try import object_array, plain_arrays, text, values


@given(values)
def test_messagepack_keeps_value_and_type(value: Any) -> None:
    assert same(blobs.unpack(blobs.pack(value)), value)


@given(plain_arrays)
def test_arrays_arrive_writable_contiguous_and_native_with_memory_of_their_own(array: np.ndarray[Any, Any]) -> None:
    other_order = array.astype(array.dtype.newbyteorder("S"))
    fortran = np.asfortranarray(array)
    reverse = array.copy()[::-1] if array.ndim else array
    for source, expected in ((array, array), (other_order, array), (fortran, array), (reverse, reverse)):
        arrived = blobs.unpack(blobs.pack(source))
        assert same(arrived, expected.reshape(source.shape))
        assert arrived.flags.carray
        assert arrived.flags.owndata
        assert arrived.dtype.isnative


@pytest.mark.parametrize(
    "value",
    [
        np.str_(""),
        np.str_("a\0"),
        np.bytes_(b""),
        np.bytes_(b"a\0"),
        np.datetime64("NaT"),
        np.datetime64("2026-01-01T00:00", ("s", 25)),
        np.timedelta64(3, ("ms", 10)),
        np.float16(-0.0),
        np.zeros((0, 3), np.int8),
        np.zeros((3, 0, 1 << 40), "U5"),
        np.array(b"x", "S4"),
        np.array(["2026", "NaT"], "M8[D]"),
        np.array(7, object),
        np.zeros((2, 0), object),
        -(1 << 63),
        -(1 << 63) - 1,
        (1 << 64) - 1,
        1 << 64,
        {1: "a", "x": [], (1, (2, None)): {}, np.int64(3): 4, None: 5, 2.5: 6, b"b": 7, frozenset({1}): 8},
        float("nan"),
        complex("-inf-nanj"),
    ],
    ids=repr,
)
def test_edges_round_trip(value: Any) -> None:
    assert same(blobs.unpack(blobs.pack(value)), value)


class Point(NamedTuple):
    x: int
    y: object


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (collections.OrderedDict(a=1), {"a": 1}),
        (Point(1, np.float32(2)), (1, np.float32(2))),
        ([Colour.RED], [3]),
        (np.zeros(2).view(np.recarray), np.zeros(2)),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_arrive_as_the_plain_type(value: Any, arrives: Any) -> None:
    assert same(blobs.unpack(blobs.pack(value)), arrives)


def test_what_is_shared_arrives_twice() -> None:
    shared = [np.arange(3)]
    first, second = blobs.unpack(blobs.pack([shared, shared]))
    first[0][0] = 9
    assert second[0][0] == 0


def test_the_bytes_are_those_documented() -> None:
    array = np.array([[1, 2]], ">u2")
    shape = struct.pack("<2Q", 1, 2)
    assert blobs.pack(array) == b"\xc7\x19\x01" + b"\x03<u2\x02" + shape + b"\x01\0\x02\0"
    assert blobs.pack(np.float32(1)) == b"\xd7\x02" + b"\x03<f4" + b"\0\0\x80\x3f"
    assert blobs.pack((1, "a")) == b"\xd6\x03" + b"\x92\x01\xa1a"
    assert blobs.pack(1 << 64) == b"\xc7\x09\x04" + bytes(8) + b"\x01"
    assert blobs.pack(1j) == b"\xd8\x05" + struct.pack("<dd", 0, 1)
    assert blobs.pack({0.5}) == b"\xc7\x0a\x06" + b"\x91\xcb" + struct.pack(">d", 0.5)
    assert blobs.pack(frozenset()) == b"\xd4\x07\x90"
    assert blobs.pack(np.array(None)) == b"\xc7\x06\x01" + b"\x02|O\x00" + b"\x91\xc0"


def test_time_stamps_of_other_implementations_are_seconds() -> None:
    assert same(blobs.unpack(msgpack.packb(msgpack.Timestamp(5, 500_000_000))), 5.5)


# ---- What is not carried


class Thing:
    pass


uncarried = [
    Thing(),
    Thing,
    len,
    "\ud800",
    np.str_("\ud800"),
    np.array(["\ud800"]),
    np.zeros(2, [("a", "f4")]),
    np.zeros(1, [("a", "f4")])[0],
    np.longdouble(1) if np.dtype(np.longdouble).itemsize > 8 else Thing(),
    np.zeros(2, np.clongdouble),
]
json_has_words_for = [
    np.zeros(2, [("a", "U0")])["a"],
    np.ma.masked_array([1, 2], [False, True]),
    np.ma.masked_array(object_array([1, Thing()]), [False, True]),
]


@pytest.mark.parametrize(
    ("write", "thing"),
    [(blobs.pack, thing) for thing in uncarried + json_has_words_for] + [(blobs.to_json, thing) for thing in uncarried],
    ids=lambda part: getattr(part, "__name__", type(part).__name__),
)
def test_dict_keys_that_lead_to_it_are_dropped_and_named(write: Any, thing: Any) -> None:
    told: list[tuple[str, object]] = []
    value = {"a": {"b": thing, "c": 1}, "d": [2, {"e": thing}], "f": ({"g": 0, 5: thing},), "h": [3, [thing]]}
    data = write(value, dropped=lambda path, culprit: told.append((path, culprit)))
    assert [path for path, _ in told] == ["a.b", "d[1].e", "f[0].5", "h[1][0]"]
    assert all(culprit is thing for _, culprit in told)
    kept = {"a": {"c": 1}, "d": [2, {}], "f": ({"g": 0},)}
    assert blobs.unpack(data) == kept if write is blobs.pack else json.loads(data) == {**kept, "f": [{"g": 0}]}


@pytest.mark.parametrize("write", [blobs.pack, blobs.to_json])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Thing(), r"Thing cannot be sent"),
        ([1, (Thing(),)], r"Thing at '\[1\]\[0\]'"),
        (object_array([1, [Thing()]]), r"Thing at '\[1\]\[0\]'"),
        (object_array([1, Thing()]).reshape(2, 1), r"Thing at '\[1, 0\]'"),
        (np.zeros(2, "f4,i4"), r"numpy.ndarray of \[.*\] cannot be sent"),
    ],
)
def test_without_a_dict_it_is_a_type_error_with_type_and_place(write: Any, value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        write(value, dropped=pytest.fail)


def test_nothing_is_left_out_unless_somebody_listens() -> None:
    with pytest.raises(TypeError, match=r"Thing at 'a\.b'"):
        blobs.pack({"a": {"b": Thing()}})


def test_keys_that_are_not_carried_are_dropped() -> None:
    told: list[str] = []
    data = blobs.pack({Thing: 1, (1, Thing): 2, "a": 3}, dropped=lambda path, _: told.append(path))
    assert blobs.unpack(data) == {"a": 3}
    assert told == ["<type>", "<tuple>"]


def nested(depth: int, wrap: Any) -> Any:
    value: Any = wrap(None)
    for _ in range(depth - 1):
        value = wrap(value)
    return value


wraps = [
    lambda v: [v],
    lambda v: (v,),
    lambda v: {"k": v},
    lambda v: object_array([v]),
    lambda v: frozenset([v]),
    lambda v: collections.OrderedDict(k=v),
]


@pytest.mark.parametrize("wrap", wraps)
def test_depth_is_bounded_on_both_sides(wrap: Any) -> None:
    deepest = nested(blobs.MAX_DEPTH, wrap)
    assert blobs.pack(blobs.unpack(blobs.pack(deepest))) == blobs.pack(deepest)
    for depth in (blobs.MAX_DEPTH + 1, 1000):
        with pytest.raises(TypeError, match="nested deeper than 64 levels"):
            blobs.pack(nested(depth, wrap))


@pytest.mark.parametrize(
    "data", [b"\x91" * 65 + b"\xc0", b"\x91" * 5000 + b"\xc0", b"\x81\xa0" * 65 + b"\xc0"], ids=len
)
def test_deep_messagepack_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a valid blob: "):
        blobs.unpack(data)


def test_deep_extensions_are_refused() -> None:
    data = b"\x90"
    for _ in range(2000):
        data = b"\x91" + msgpack.packb(msgpack.ExtType(3, data))
    with pytest.raises(ValueError, match="not a valid blob: nested deeper"):
        blobs.unpack(data)


# A thousand maps of a byte each, in lists; a list that says so of itself; sets, which are extensions; in extensions.
MANY = 50_000


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd" + struct.pack(">I", MANY) + b"\x80" * MANY,
        b"\xdd" + struct.pack(">I", MANY // 10) + (b"\x9a" + b"\x90" * 10) * (MANY // 10),
        b"\xdf"
        + struct.pack(">I", MANY // 2)
        + b"".join(b"\xce" + struct.pack(">I", i) + b"\xc0" for i in range(MANY // 2)),
        b"\xdd" + struct.pack(">I", MANY // 2) + b"\xd4\x06\x90" * (MANY // 2),
        b"\x91" + msgpack.packb(msgpack.ExtType(3, msgpack.packb([[]] * MANY))),
        msgpack.packb(msgpack.ExtType(1, b"\x02|O\x01" + struct.pack("<Q", MANY) + msgpack.packb([()] * MANY))),
    ],
    ids=["maps", "lists", "keys", "sets", "in a tuple", "in an array"],
)
def test_a_large_blob_holds_so_many_values(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blobs.unpack(data) is not None
    monkeypatch.setattr(blobs, "MAX_VALUES", MANY - 1)
    with pytest.raises(ValueError, match="not a valid blob: "):
        blobs.unpack(data)


def test_a_large_text_in_json_holds_so_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "MAX_VALUES", 1000)
    for data in (b"[" + b"{}," * 1000 + b"0]", b"[" + b"[0]," * 500 + b"0]"):
        with pytest.raises(ValueError, match="not a valid blob: more than 1000 values"):
            blobs.from_json(data)
    text = ",[{\\" * 1000
    assert blobs.from_json(blobs.to_json({text: text})) == {text: text}


@pytest.mark.parametrize("code", [6, 7])
def test_values_that_are_made_to_collide_are_refused(code: int) -> None:
    """All these numbers have the hash 0, so that each would be compared with all before it."""
    numbers = [extension.data for extension in map(collider, range(1, 20_000))]
    elements = b"".join(msgpack.packb(msgpack.ExtType(4, number)) for number in numbers)
    count = struct.pack(">I", len(numbers))
    keys = b"\xdf" + count + b"".join(msgpack.packb(msgpack.ExtType(4, number)) + b"\xc0" for number in numbers)
    for data in (keys, msgpack.packb(msgpack.ExtType(code, b"\xdd" + count + elements))):
        with pytest.raises(ValueError, match="not a valid blob: 19999 keys or elements"):
            blobs.unpack(data)


def collider(i: int) -> msgpack.ExtType:
    number = i * ((1 << 61) - 1) << 61
    return msgpack.ExtType(4, number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True))


@pytest.mark.parametrize("write", [blobs.pack, blobs.to_json])
def test_what_contains_itself_is_dropped(write: Any) -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = [loop, loop]
    told: list[str] = []
    data = write(loop, dropped=lambda path, _: told.append(path))
    assert told == ["self[0]"]
    assert data == write({"a": 1})


# ---- Foreign bytes


def only_value_error(data: bytes) -> None:
    for read in (blobs.unpack, blobs.from_json):
        try:
            value = read(data)
        except ValueError as error:
            assert str(error).startswith("not a valid blob: ")  # noqa: PT017
        else:
            repr(value)
            if read is blobs.unpack:
                assert same(blobs.unpack(blobs.pack(value)), value)


@given(st.binary())
@example(b"\xd6\xff\0\0\0\0")
@example(b"\x81\x90\x01")
@example(b"\xc1")
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    only_value_error(data)


@given(values.map(blobs.pack), st.data())
def test_damaged_blobs_are_read_or_refused(blob: bytes, data: st.DataObject) -> None:
    damaged = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(damaged) - 1, 0)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    only_value_error(bytes(damaged))


@given(st.integers(0, 9), st.binary())
def test_damaged_extensions_are_read_or_refused(code: int, payload: bytes) -> None:
    only_value_error(msgpack.packb(msgpack.ExtType(code, payload)))


def array_blob(code: bytes, shape: tuple[int, ...], data: bytes, extension: int = 1) -> bytes:
    head = bytes((len(code),)) + code + (struct.pack(f"<B{len(shape)}Q", len(shape), *shape) if extension == 1 else b"")
    return msgpack.packb(msgpack.ExtType(extension, head + data))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        blobs.pack(1) + b"\0",
        blobs.pack({"a": [1, 2]})[:-1],
        array_blob(b"|b1", (2,), b"\0\x02"),
        array_blob(b"|b1", (), b"\x02", extension=2),
        array_blob(b"<U1", (1,), struct.pack("<I", 0x110000)),
        array_blob(b"<U1", (1,), struct.pack("<I", 0xD800)),
        array_blob(b"<U1", (), struct.pack("<I", 0xD800), extension=2),
        array_blob(b"<U0", (1 << 60,), b""),
        array_blob(b"<f8", (2,), bytes(8)),
        array_blob(b"<f8", (1 << 32, 1 << 32), b""),
        array_blob(b"<f8", (1 << 61, 1 << 3), b""),
        array_blob(b"<f8", (0, (1 << 64) - 1), b""),
        array_blob(b"<f8", (0, 1 << 62, 1 << 62), b""),
        array_blob(b"<f8", (1,) * 33, bytes(8)),
        array_blob(b"<f8", (), bytes(9), extension=2),
        array_blob(b">f8", (1,), bytes(8)),
        array_blob(b"f8", (1,), bytes(8)),
        array_blob(b"<f16", (1,), bytes(16)),
        array_blob(b"|V8", (1,), bytes(8)),
        array_blob(b"<i4,<i4", (1,), bytes(8)),
        array_blob(b"<M8[0s]", (1,), bytes(8)),
        array_blob(b"<M8[s/2]", (1,), bytes(8)),
        array_blob(b"|O", (), b"\xc0", extension=2),
        array_blob(b"|O", (2,), b"\x91\xc0"),
        array_blob(b"|O", (1 << 62,), b"\x91\xc0"),
        array_blob(b"|O", (1,), b"\xc0"),
        array_blob(b"|O", (1,), b"\x91\xc0\xc0"),
        array_blob(b"<f8", (), b"")[:-1],
        msgpack.packb(msgpack.ExtType(3, b"")),
        msgpack.packb(msgpack.ExtType(4, b"")),
        msgpack.packb(msgpack.ExtType(5, bytes(15))),
        msgpack.packb(msgpack.ExtType(6, b"\x91\x90")),
        msgpack.packb(msgpack.ExtType(99, b"")),
        b"\x81\xd4\x06\x90\x01",
        b"\xa2\xff\xff",
    ],
    ids=lambda data: data.hex()[:48],
)
def test_malformed_messagepack_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a valid blob: "):
        blobs.unpack(data)


@pytest.mark.timeout(30)
def test_claimed_lengths_cost_neither_time_nor_memory() -> None:
    size_bytes = 8 << 20
    claim = b"\xdd" + (size_bytes - 1).to_bytes(4, "big")
    inner = (claim * 1000).ljust(size_bytes, b"\0")
    for data in (inner, msgpack.packb(msgpack.ExtType(3, inner))):
        with pytest.raises(ValueError, match="not a valid blob: "):
            blobs.unpack(data)


def test_reading_takes_any_buffer() -> None:
    assert blobs.unpack(memoryview(bytearray(blobs.pack([1])))) == [1]
    assert blobs.from_json(memoryview(b"[1]")) == [1]


# ---- JSON and text

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_round_trips(value: Any) -> None:
    assert same(blobs.from_json(blobs.to_json(value)), value)


@given(values)
@settings(max_examples=50)
def test_json_is_strict_whatever_is_in_the_value(value: Any) -> None:
    def fail(word: str) -> None:
        raise AssertionError(word)

    json.loads(blobs.to_json({"value": value}, dropped=lambda path, culprit: None).decode(), parse_constant=fail)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": np.arange(4).reshape(2, 2)}, '{"a":[[0,1],[2,3]]}'),
        ((1, np.int64(2), np.float32(0.5), np.bool_(True), np.float64(0.25)), "[1,2,0.5,true,0.25]"),
        ([float("nan"), float("inf"), np.float32("-inf")], "[null,null,null]"),
        ({"a": np.array([1, np.nan, np.inf]), "b": np.array(np.nan)}, '{"a":[1.0,null,null],"b":null}'),
        ({2: "é", None: [], True: 0, np.int64(7): "k"}, '{"2":"é","null":[],"true":0,"7":"k"}'),
        (np.array(["x", "yz"]), '["x","yz"]'),
        (np.array([None, (1, np.nan)], object), "[null,[1,null]]"),
        ({"a": {3}}, '{"a":[3]}'),
    ],
    ids=repr,
)
def test_json_of_python_and_numpy_values(value: Any, written: str) -> None:
    assert blobs.to_json(value).decode() == written


@pytest.mark.parametrize(
    "thing", [b"x", 1j, np.bytes_(b"x"), np.array([b"x"]), np.datetime64(0, "s"), 10**5000], ids=type
)
def test_json_drops_what_only_messagepack_carries(thing: Any) -> None:
    told: list[str] = []
    assert blobs.to_json({"a": thing, (1, 2): 3, "b": 4}, dropped=lambda path, _: told.append(path)) == b'{"b":4}'
    assert told == ["a", "<tuple>"]


def test_json_with_pythons_words_is_understood() -> None:
    assert same(blobs.from_json(b"[NaN,-Infinity]"), [float("nan"), float("-inf")])


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[1]x", b"[" * 65 + b"]" * 65, b"[" * 100_000, b"1" * 5000, b"\xff\xfe1\0"]
)
def test_malformed_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a valid blob: "):
        blobs.from_json(data)


@given(text)
def test_text_round_trips(value: str) -> None:
    assert blobs.decode(blobs.encode(value, blobs.TEXT), blobs.TEXT) == value


def test_formats_are_chosen_by_number() -> None:
    value = {"a": (1,)}
    assert blobs.decode(blobs.encode(value, blobs.MSGPACK), blobs.MSGPACK) == value
    assert blobs.decode(blobs.encode(value, blobs.JSON), blobs.JSON) == {"a": [1]}
    with pytest.raises(TypeError, match="a text blob is a str, not dict"):
        blobs.encode(value, blobs.TEXT)
    with pytest.raises(ValueError, match="not a valid blob: "):
        blobs.decode(b"\xff", blobs.TEXT)
    for format in (0, 5):
        with pytest.raises(ValueError, match=f"unknown blob format {format}"):
            blobs.encode(value, format)
        with pytest.raises(ValueError, match=f"unknown blob format {format}"):
            blobs.decode(b"", format)
