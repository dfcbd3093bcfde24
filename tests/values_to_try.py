"""Plain data of every kind that a blob carries, for property tests."""

from __future__ import annotations

import random
from typing import Any

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np

text = st.text(st.characters(exclude_categories=["Cs"]))
dtypes = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="="),
    npst.unsigned_integer_dtypes(endianness="="),
    npst.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
    npst.complex_number_dtypes(endianness="=", sizes=(64, 128)),
    npst.datetime64_dtypes(endianness="="),
    npst.timedelta64_dtypes(endianness="="),
    npst.byte_string_dtypes(min_len=1),
    npst.unicode_string_dtypes(endianness="=", min_len=1),
)


def elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    if dtype.kind == "U":
        return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=dtype.itemsize // 4)
    return npst.from_dtype(dtype)


plain_arrays = dtypes.flatmap(
    lambda d: npst.arrays(d, npst.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4), elements=elements(d))
)
numpy_scalars = dtypes.flatmap(lambda d: npst.arrays(d, (1,), elements=elements(d))).map(lambda a: a[0])
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 64) - 2, -(1 << 64) + 2),
    st.integers((1 << 64) - 2, (1 << 64) + 2),
    st.floats(),
    st.complex_numbers(),
    text,
    st.binary(),
    numpy_scalars,
)
keys = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), text, st.binary()),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)


def object_array(items: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


values = st.recursive(
    leaves | plain_arrays,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(object_array),
        st.lists(inner, min_size=4, max_size=4).map(lambda items: object_array(items).reshape(2, 1, 2)),
        inner.map(lambda item: object_array([item]).reshape(())),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
    ),
    max_leaves=12,
)


DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
DTYPES += ["c8", "c16", "M8[ns]", "m8[10ms]", "S5", "U4"]


def random_text(chance: random.Random) -> str:
    """Up to nine characters of any plane."""
    return "".join(chance.choice("aZ 0\n\0\xe9\u4e16\U0001f409%/#") for _ in range(chance.randrange(10)))


def random_array(chance: random.Random) -> np.ndarray[Any, Any]:
    """Of any dtype and up to three dimensions, some of them empty."""
    dtype = np.dtype(chance.choice(DTYPES))
    shape = tuple(chance.randrange(5) for _ in range(chance.randrange(4)))
    size = int(np.prod(shape, dtype=int))
    if dtype.kind == "U":
        return np.array([chance.choice(["", "ab", "\u4e16"]) for _ in range(size)], dtype).reshape(shape)
    data = chance.randbytes(size * dtype.itemsize)
    if dtype.kind == "b":
        data = bytes(byte & 1 for byte in data)
    array: np.ndarray[Any, Any] = np.frombuffer(data, dtype).reshape(shape).copy()
    return array


def random_value(chance: random.Random, depth: int = 0) -> Any:
    """Any plain value; quicker than the strategies above, for when many are wanted."""
    kind = chance.randrange(9 if depth > 3 else 15)
    few = range(chance.randrange(4))
    if kind == 0:
        return chance.choice([None, True, False, 0, -1, 2**63, 2**64, -(2**70), 0.0, -0.0, float("inf"), float("nan")])
    if kind == 1:
        return chance.randrange(-(2**63), 2**63) >> chance.randrange(64)
    if kind == 2:
        return chance.gauss(0, 1e9)
    if kind == 3:
        return random_text(chance)
    if kind == 4:
        return chance.randbytes(chance.randrange(20))
    if kind == 5:
        return complex(chance.random(), chance.gauss(0, 1))
    if kind in (6, 7):
        return random_array(chance)
    if kind == 8:
        scalars = random_array(chance).reshape(-1)
        return scalars[0] if scalars.size else np.float32(chance.random())
    if kind == 9:
        return tuple(random_value(chance, depth + 1) for _ in few)
    if kind == 10:
        return {random_text(chance): random_value(chance, depth + 1) for _ in few}
    if kind == 11:
        return {chance.choice([1, None, "x", (1, "y"), b"z", 2.5]): random_value(chance, depth + 1) for _ in few}
    if kind == 12:
        return chance.choice([set, frozenset])(random_text(chance) for _ in few)
    if kind == 13:
        return object_array([random_value(chance, depth + 1) for _ in few])
    return [random_value(chance, depth + 1) for _ in few]
