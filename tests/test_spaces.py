"""A space goes over as fields, and comes back as it was."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from ferry import _core, blobs, descriptions
from ferry._core import Field
from ferry.errors import ProtocolError
from ferry.spaces import compose, describe, differences, fields, template
from spaces_to_try import SPACES, assert_same_space


@given(SPACES, st.sampled_from([_core.OBSERVATION, _core.ACTION]))
def test_a_space_survives_the_journey(space: gymnasium.Space[Any], role: int) -> None:
    assert_same_space(space, compose(fields(space, role), role, describe(space, role)))


@given(SPACES, SPACES)
def test_roles_do_not_mix(observation: gymnasium.Space[Any], action: gymnasium.Space[Any]) -> None:
    table = (*fields(action, _core.ACTION), *fields(observation, _core.OBSERVATION))
    for space, role in ((observation, _core.OBSERVATION), (action, _core.ACTION)):
        assert_same_space(space, compose(table, role, describe(space, role)))


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
    assert_same_space(
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
    assert_same_space(space, compose(fields(space, _core.ACTION), _core.ACTION))


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


def test_spaces_of_large_images_need_little_room() -> None:
    image = spaces.Box(0, 255, (1024, 1024, 3), np.uint8)
    for space in (spaces.OneOf([image]), spaces.Sequence(spaces.Dict({"image": image})), spaces.Graph(image, None)):
        told = describe(space, _core.OBSERVATION)[""]
        assert len(blobs.pack(told)) < 500
        assert_same_space(descriptions.space_of(blobs.unpack(blobs.pack(told))), space)


@pytest.mark.parametrize("shape", [[2**40], [2**20, 2**10], [-1]])
def test_a_description_does_not_fill_the_memory(shape: list[int]) -> None:
    with pytest.raises(ProtocolError, match="a space that cannot be made"):
        descriptions.space_of({"type": "OneOf", "spaces": [{"type": "Box", "shape": shape}]})


def test_many_described_spaces_do_not_fill_the_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptions, "_MOST_BYTES", 1 << 20)
    large = {"type": "Box", "shape": [2**15], "dtype": "uint8"}  # low, high and their flags: 128 KiB
    many = {"type": "Tuple", "spaces": [large] * 8}
    assert descriptions.space_of(many)
    with pytest.raises(ProtocolError, match="take more than 1 MiB"):
        descriptions.space_of({"type": "Graph", "node_space": large, "edge_space": many})
    fields = tuple(Field(str(i), _core.OBSERVATION, _core.OTHER, 3) for i in range(9))
    assert compose(fields[:8], _core.OBSERVATION, {field.path: large for field in fields})
    with pytest.raises(ProtocolError, match="take more than 1 MiB"):
        compose(fields, _core.OBSERVATION, {field.path: large for field in fields})


@pytest.mark.parametrize(
    "description",
    [
        {"type": "MultiDiscrete", "dtype": "S268435456", "nvec": [2] * 40},
        {"type": "Discrete", "dtype": "U67108864", "n": 2},
        {"type": "Box", "dtype": [["a", "f8"]], "low": 0, "high": 1},
        {"type": "MultiBinary", "n": [2**20, 2**20]},
        {"type": "MultiBinary", "n": [1] * 33},
        {"type": "Box", "shape": [1] * 33},
        {"type": 1 << 20000},
    ],
    ids=lambda told: str(told["type"])[:14] if isinstance(told["type"], str) else "number",
)
def test_a_description_that_no_space_has_is_refused(description: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="a space that cannot be made"):
        descriptions.space_of(description)
