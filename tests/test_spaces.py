"""A space goes over as fields, and comes back as it was."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from ferry import _core
from ferry._core import Field
from ferry.errors import ProtocolError
from ferry.spaces import compose, differences, fields, template

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
FLOATS = [np.float16, np.float32, np.float64]
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype: Any = np.dtype(draw(st.sampled_from([*INTEGERS, *FLOATS, np.bool_])))
    shape = draw(SHAPES)
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
    shape = draw(SHAPES)
    count = int(np.prod(shape, dtype=int))
    dtype: Any = draw(st.sampled_from([np.int64, np.int32, np.int16]))
    nvec, start = (
        np.array([draw(numbers) for _ in range(count)], dtype).reshape(shape)
        for numbers in (st.integers(1, 100), st.integers(-100, 100))
    )
    return spaces.MultiDiscrete(nvec, dtype=dtype, start=start)


LEAVES = (
    boxes()
    | discretes()
    | multi_discretes()
    | st.integers(1, 9).map(spaces.MultiBinary)
    | st.lists(st.integers(1, 3), min_size=2, max_size=3).map(spaces.MultiBinary)
)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5) | st.sampled_from(
    ["", "%", "/", "#0", "%-", "%2F"]
)
SPACES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(st.tuples(KEYS, inner), max_size=3, unique_by=lambda pair: pair[0]).map(spaces.Dict)
        | st.lists(inner, max_size=3).map(lambda parts: spaces.Tuple(tuple(parts)))
    ),
    max_leaves=6,
)


def assert_same(one: gymnasium.Space[Any], other: gymnasium.Space[Any]) -> None:
    """Equality of spaces, and what Gymnasium's own leaves out."""
    assert one == other
    assert type(one) is type(other)
    if isinstance(one, spaces.Dict):
        assert list(one.spaces) == list(other.spaces)  # type: ignore[attr-defined]
        for key in one.spaces:
            assert_same(one[key], other[key])  # type: ignore[index]
    elif isinstance(one, spaces.Tuple):
        for mine, theirs in zip(one.spaces, other.spaces, strict=True):  # type: ignore[attr-defined]
            assert_same(mine, theirs)
    else:
        assert one.dtype == other.dtype
        assert one.shape == other.shape
    if isinstance(one, spaces.Box):
        assert one.low.tobytes() == other.low.tobytes()  # type: ignore[attr-defined]
        assert one.high.tobytes() == other.high.tobytes()  # type: ignore[attr-defined]


@given(SPACES, st.sampled_from([_core.OBSERVATION, _core.ACTION]))
def test_a_space_survives_the_journey(space: gymnasium.Space[Any], role: int) -> None:
    assert_same(space, compose(fields(space, role), role))


@given(SPACES, SPACES)
def test_roles_do_not_mix(observation: gymnasium.Space[Any], action: gymnasium.Space[Any]) -> None:
    table = (*fields(action, _core.ACTION), *fields(observation, _core.OBSERVATION))
    assert_same(observation, compose(table, _core.OBSERVATION))
    assert_same(action, compose(table, _core.ACTION))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (3,), np.float32),
        spaces.Box(-np.inf, np.inf, (3,), np.float64),
        spaces.Box(np.array([-np.inf, 0, -1]), np.array([0, np.inf, 1]), dtype=np.float64),
        spaces.Box(-np.inf, np.inf, (3,), np.int32),
        spaces.Box(0, np.inf, (3,), np.int64),
        spaces.Box(0, 255, (3,), np.uint8),
        spaces.Discrete(50, start=-7),
        spaces.MultiDiscrete([50, 60], start=[-5, 5]),
        spaces.MultiBinary((4, 4)),
    ],
)
def test_a_space_that_came_over_samples_as_the_first(space: gymnasium.Space[Any]) -> None:
    there = compose(fields(space, _core.ACTION), _core.ACTION)
    space.seed(3)
    there.seed(3)
    for _ in range(10):
        np.testing.assert_array_equal(space.sample(), there.sample())


def test_paths_name_the_place_of_each_field() -> None:
    space = spaces.Dict(
        [
            ("camera", spaces.Dict({"rgb": spaces.Box(0, 255, (2,), np.uint8)})),
            (
                "pair",
                spaces.Tuple(
                    (spaces.Discrete(2), spaces.Tuple((spaces.Discrete(3), spaces.Dict({"x": spaces.Discrete(4)}))))
                ),
            ),
            ("a%b/c#d", spaces.Discrete(5)),
            ("", spaces.MultiBinary(2)),
        ]
    )
    paths = [field.path for field in fields(space, _core.OBSERVATION)]
    assert paths == ["camera/rgb", "pair#0", "pair#1#0", "pair#1#1/x", "a%25b%2Fc%23d", "%-"]


def test_a_space_alone_has_the_empty_path() -> None:
    (field,) = fields(spaces.Discrete(3, start=-1), _core.ACTION)
    assert (field.path, field.kind, field.n, field.start) == ("", _core.DISCRETE, 3, -1)


def test_fields_of_an_engine_may_come_in_any_order() -> None:
    table = (
        Field("b#1", _core.OBSERVATION, _core.DISCRETE, 8, n=2),
        Field("", _core.ACTION, _core.DISCRETE, 8, n=2),
        Field("a", _core.OBSERVATION, _core.BOX, 11, (2,)),
        Field("b#0", _core.OBSERVATION, _core.DISCRETE, 8, n=3),
    )
    space = compose(table, _core.OBSERVATION)
    assert_same(
        space,
        spaces.Dict(
            [
                ("b", spaces.Tuple((spaces.Discrete(3), spaces.Discrete(2)))),
                ("a", spaces.Box(-np.inf, np.inf, (2,), np.float32)),
            ]
        ),
    )
    assert template(table, _core.OBSERVATION) == {"b": (3, 0), "a": 2}
    assert template(table, _core.ACTION) == 1


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(9, 0, 2**64 - 1), (3, 0, 255), (2, -128, 127), (1, False, True), (8, -(2**63), 2**63 - 1), (12, -np.inf, np.inf)],
)
def test_bounds_that_are_both_zero_mean_the_range_of_the_dtype(dtype: int, low: Any, high: Any) -> None:
    space = compose((Field("", _core.ACTION, _core.BOX, dtype, (2,)),), _core.ACTION)
    assert isinstance(space, spaces.Box)
    assert (space.low == low).all()
    assert (space.high == high).all()


def test_a_box_of_zeros_keeps_its_bounds() -> None:
    space = spaces.Box(0.0, 0.0, (2,), np.float32)
    assert_same(space, compose(fields(space, _core.ACTION), _core.ACTION))


@pytest.mark.parametrize(
    ("space", "name"), [(spaces.Text(5), "Text"), (spaces.Sequence(spaces.Discrete(2)), "Sequence")]
)
def test_an_unknown_space_is_refused_by_its_path(space: gymnasium.Space[Any], name: str) -> None:
    whole = spaces.Dict({"camera": spaces.Dict({"text": spaces.Tuple((spaces.Discrete(2), space))})})
    with pytest.raises(TypeError, match=rf"observation space at 'camera/text#1' is a {name}, which"):
        fields(whole, _core.OBSERVATION)
    with pytest.raises(TypeError, match=rf"action space is a {name}"):
        fields(space, _core.ACTION)


def test_a_dtype_that_cannot_travel_is_refused_by_its_path() -> None:
    space = spaces.Dict({"x": spaces.Box(-1, 1, (2,), np.longdouble)})
    with pytest.raises(TypeError, match="observation space at 'x' is of dtype float128"):
        fields(space, _core.OBSERVATION)


def test_keys_that_are_not_text_are_refused() -> None:
    with pytest.raises(TypeError, match="key 3"):
        fields(spaces.Dict({3: spaces.Discrete(2)}), _core.OBSERVATION)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "paths", [["a", "a"], ["a", "a/b"], ["a/b", "a"], ["", "a"], ["#0", "a"], ["a", "#0"], ["#1"], ["#0", "#2"]]
)
def test_fields_that_make_no_space_are_refused(paths: list[str]) -> None:
    table = [Field(path, _core.OBSERVATION, _core.DISCRETE, 8, n=2) for path in paths]
    with pytest.raises(ProtocolError):
        compose(table, _core.OBSERVATION)


@pytest.mark.parametrize("path", ["/a", "a//b", "a/", "#", "#01", "#x", "a#0b", "a/#0", "#0/", "##0"])
def test_what_is_not_a_path_is_refused(path: str) -> None:
    with pytest.raises(ProtocolError, match="not a path"):
        compose([Field(path, _core.OBSERVATION, _core.DISCRETE, 8, n=2)], _core.OBSERVATION)


def test_an_environment_without_actions_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no action fields"):
        compose(fields(spaces.Discrete(2), _core.OBSERVATION), _core.ACTION)


def test_bounds_that_make_no_space_are_refused() -> None:
    low, high = np.array([1, 5], np.int8).tobytes(), np.array([2, 3], np.int8).tobytes()
    with pytest.raises(ProtocolError, match="'x'"):
        compose([Field("x", _core.ACTION, _core.BOX, 2, (2,), low_each=low, high_each=high)], _core.ACTION)


def test_differences_are_told_field_by_field() -> None:
    before = fields(spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(2)}), _core.OBSERVATION)
    after = fields(spaces.Dict({"b": spaces.Discrete(3), "c": spaces.Box(0, 1, (2,))}), _core.OBSERVATION)
    assert differences(before, after) == [
        "- observation 'a': Discrete of int64, 0 to 1",
        "+ observation 'c': Box of float32, shape (2,), bounds 0 to 1",
        "~ observation 'b': Discrete of int64, 0 to 1 is now observation 'b': Discrete of int64, 0 to 2",
    ]
    assert differences(before, before) == []
    assert "another order" in differences(before, before[::-1])[0]
