"""Spaces of every kind, for property tests."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
FLOATS = [np.float16, np.float32, np.float64]
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
# Without dimensions Gymnasium samples scalars of integer spaces, and warns that it casts nodes to look at them.
SHAPES_WITH_SIDES = SHAPES.filter(bool)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype: Any = np.dtype(draw(st.sampled_from([*INTEGERS, *FLOATS, np.bool_])))
    shape = draw(SHAPES if dtype.kind == "f" else SHAPES_WITH_SIDES)
    lowest: Any
    highest: Any
    if dtype.kind == "b":
        lowest, highest = 0, 1
    elif dtype.kind == "f":
        lowest, highest = float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    else:
        lowest, highest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    numbers: st.SearchStrategy[Any] = st.integers(lowest, highest)
    if dtype.kind == "f":
        # Gymnasium compares bounds with np.allclose, which overflows near the ends of the range.
        numbers = st.floats(lowest / 4, highest / 4, width=8 * dtype.itemsize) | st.sampled_from([-np.inf, np.inf])
    if draw(st.booleans()):
        low, high = sorted([draw(numbers), draw(numbers)])
        return spaces.Box(low, high, shape, dtype.type)
    pairs = [sorted([draw(numbers), draw(numbers)]) for _ in range(int(np.prod(shape, dtype=int)))]
    low, high = (np.array([pair[i] for pair in pairs], dtype).reshape(shape) for i in (0, 1))
    return spaces.Box(low, high, shape, dtype.type)


@st.composite
def discretes(draw: st.DrawFn) -> spaces.Discrete:
    n, start = draw(st.integers(1, 100)), draw(st.integers(0, 100))
    if "dtype" not in inspect.signature(spaces.Discrete).parameters:  # as in older releases of Gymnasium
        return spaces.Discrete(n, start=start)
    dtype: Any = draw(st.sampled_from([np.int64, np.int32, np.uint8]))
    return spaces.Discrete(n, start=start, dtype=dtype)


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete:
    shape = draw(SHAPES_WITH_SIDES)
    count = int(np.prod(shape, dtype=int))
    dtype: Any = draw(st.sampled_from([np.int64, np.int32, np.int16]))
    nvec, start = (
        np.array([draw(numbers) for _ in range(count)], dtype).reshape(shape)
        for numbers in (st.integers(1, 100), st.integers(-100, 100))
    )
    return spaces.MultiDiscrete(nvec, dtype=dtype, start=start)


FLAT = (
    boxes()
    | discretes()
    | multi_discretes()
    | st.integers(1, 9).map(spaces.MultiBinary)
    | st.lists(st.integers(1, 3), min_size=2, max_size=3).map(spaces.MultiBinary)
)


@st.composite
def texts(draw: st.DrawFn) -> spaces.Text:
    least = draw(st.integers(0, 5))
    charset = draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9))
    return spaces.Text(least + draw(st.sampled_from([0, 1, 20, 600])), min_length=least, charset=charset)


# No dimension may be of another space's length: Gymnasium stacks and batches what it can.
SMALL = boxes() | discretes() | multi_discretes() | st.integers(1, 9).map(spaces.MultiBinary)
LEAVES = FLAT | texts() | st.builds(spaces.Sequence, FLAT, stack=st.booleans())
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5) | st.sampled_from(
    ["", "%", "/", "#0", "%-", "%2F"]
)
GRAPHS = st.builds(
    spaces.Graph,
    st.one_of(
        st.builds(spaces.Box, st.just(-1.0), st.just(1.0), SHAPES_WITH_SIDES), st.integers(1, 9).map(spaces.Discrete)
    ),
    st.none() | st.integers(1, 9).map(spaces.Discrete),
)
SPACES = st.recursive(
    LEAVES | GRAPHS,
    lambda inner: (
        st.lists(st.tuples(KEYS, inner), max_size=3, unique_by=lambda pair: pair[0]).map(spaces.Dict)
        | st.lists(inner, max_size=3).map(lambda parts: spaces.Tuple(tuple(parts)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: spaces.OneOf(tuple(parts)))
        | inner.map(spaces.Sequence)
    ),
    max_leaves=6,
)


def assert_same_space(one: gymnasium.Space[Any], other: gymnasium.Space[Any]) -> None:
    """Equality of spaces, and what Gymnasium's own leaves out."""
    assert one == other
    assert type(one) is type(other)
    if isinstance(one, spaces.Dict):
        assert list(one.spaces) == list(other.spaces)  # type: ignore[attr-defined]
        for key in one.spaces:
            assert_same_space(one[key], other[key])  # type: ignore[index]
    elif isinstance(one, (spaces.Tuple, spaces.OneOf)):
        for mine, theirs in zip(one.spaces, other.spaces, strict=True):  # type: ignore[attr-defined]
            assert_same_space(mine, theirs)
    elif isinstance(one, spaces.Sequence):
        assert_same_space(one.feature_space, other.feature_space)  # type: ignore[attr-defined]
    elif isinstance(one, spaces.Text):
        assert one.character_list == other.character_list  # type: ignore[attr-defined]
    else:
        assert one.dtype == other.dtype
        assert one.shape == other.shape
    if isinstance(one, spaces.Box):
        assert one.low.tobytes() == other.low.tobytes()  # type: ignore[attr-defined]
        assert one.high.tobytes() == other.high.tobytes()  # type: ignore[attr-defined]
