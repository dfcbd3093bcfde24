"""What Gymnasium's users may rely on, rule by rule, in both paradigms."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import re
import signal
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env

import ferry
import same
import sample_envs
from conftest import PATIENCE, Connect, Serve, Start, is_alive, line_of, newest, wait_until
from ferry import blobs
from ferry.backend import make


def step_as(env: gymnasium.Env[Any, Any], do: str, **options: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """The result of the scripted environment's action 1."""
    env.reset(options={"do": do, **options})
    return env.step(1)


# ---- Types ----


def test_reward_is_a_float_and_flags_are_bools(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    _, reward, terminated, truncated, _ = step_as(env, "odd_scalars")
    assert type(reward) is float
    assert reward == 0.5
    assert terminated is True
    assert truncated is False


def test_values_keep_their_dtype(connect: Connect) -> None:
    env = connect("sample_envs:Nested")
    observation, _ = env.reset(seed=1)
    assert list(observation) == list(sample_envs.Nested.observation_space.spaces)
    assert observation["zeta"].dtype == np.float64
    assert observation["camera/1"]["rgb"].dtype == np.uint8
    assert observation["camera/1"]["on"].dtype == np.int8
    assert observation["half"].dtype == np.float16
    assert observation["sure"].dtype == np.bool_
    assert type(observation["pair"]) is tuple
    assert type(observation["pair"][0]) is np.int64
    assert observation["pair"][1].dtype == np.int64
    assert observation["nothing"] == {}
    assert observation["none"] == ()


def test_a_box_without_dimensions_stays_so(connect: Connect) -> None:
    env = connect("sample_envs:Nested")
    observation, _ = env.reset(seed=1)
    assert isinstance(observation[""], np.ndarray)
    assert observation[""].shape == ()


def test_actions_arrive_with_the_types_of_their_space(connect: Connect) -> None:
    env = connect("sample_envs:Nested")
    env.reset(seed=1)
    _, _, _, _, info = env.step(env.action_space.sample())
    assert info["kinds"] == ["int64", "int64", "int8"]


def test_info_values_keep_their_type(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    _, _, _, _, info = step_as(env, "rich_info")
    np.testing.assert_array_equal(info["array"], np.arange(6, dtype=np.int16).reshape(2, 3))
    assert info["array"].dtype == np.int16
    assert type(info["scalar"]) is np.float32
    assert info["tuple"] == (1, "two", None)
    assert info["bytes"] == b"\x00\xff"
    assert info["big"] == 2**80
    assert info["nested"] == {"list": [1.5, True]}


def test_large_infos_arrive_whole(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    _, _, _, _, info = step_as(env, "large_info")
    np.testing.assert_array_equal(info["large"], np.arange(1_000_000))


# ---- Actions ----


@pytest.mark.parametrize("action", [0, 1, np.int64(1), np.int32(0), np.uint8(1), np.array(1), True])
def test_any_integer_is_a_discrete_action(client: Callable[..., ferry.ClientEnv], action: Any) -> None:
    env = client()
    env.reset(options={"do": "odd_scalars"})
    _, reward, _, _, _ = env.step(action)
    assert reward == (0.5 if int(action) else 1.0)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (2, "action is 2; 0 to 1 are allowed"),
        (-1, "action is -1; 0 to 1 are allowed"),
        (2**70, f"action is {2**70}; 0 to 1 are allowed"),
        (np.int64(7), "action is 7; 0 to 1 are allowed"),
        (0.0, "action is of type float; an integer is wanted"),
        (np.float32(1), "action is of dtype float32; an integer is wanted"),
        (np.array([1]), r"action has shape \(1,\); a single integer is wanted"),
        ("1", "action is of type str; an integer is wanted"),
        (None, "action is of type NoneType; an integer is wanted"),
    ],
)
def test_what_is_no_discrete_action_is_refused(client: Callable[..., ferry.ClientEnv], action: Any, text: str) -> None:
    env = client()
    env.reset()
    with pytest.raises(InvalidAction, match=text):
        env.step(action)
    observation, _, _, _, _ = env.step(0)
    assert observation[0] == 1, "the environment has not seen the action, and the episode goes on"


GOOD = ({"move": np.zeros(2, np.float32), "jump": 0}, np.array([-1, 3]), np.zeros(3, np.int8))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, {"move": np.ones(2, np.float64), "jump": np.int8(1)}),
        (0, {"jump": True, "move": [0.5, 1]}),
        (0, {"move": np.array([1, 0]), "jump": 0}),
        (0, {"move": np.ones((2, 3), np.float32)[:, 1], "jump": 0}),
        (0, {"move": np.ones(2, ">f4"), "jump": 0}),
        (1, np.array([1, 0], np.int8)),
        (1, [0, 1]),
        (2, np.array([True, False, True])),
    ],
)
def test_what_means_an_action_is_cast(client: Callable[..., ferry.ClientEnv], place: int, value: Any) -> None:
    env = client("sample_envs:Nested")
    env.reset(seed=1)
    action: list[Any] = list(GOOD)
    action[place] = value
    first, second, third = action
    total = np.asarray(first["move"]).sum() + int(first["jump"]) * 10 + np.sum(second) + np.sum(third) / 4
    _, reward, _, _, _ = env.step(tuple(action))
    assert reward == total


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (0, {"move": np.zeros(3, np.float32), "jump": 0}, r"action at '#0/move' has shape \(3,\); \(2,\) is wanted"),
        (0, {"move": np.zeros(2, np.complex64), "jump": 0}, "action at '#0/move' .* dtype complex64"),
        (0, {"move": "ab", "jump": 0}, "action at '#0/move'"),
        (0, {"move": [1, [2]], "jump": 0}, "action at '#0/move' does not make an array"),
        (0, {"move": np.zeros(2, np.float32)}, r"action at '#0' has the keys \['move'\]"),
        (0, {"move": np.zeros(2, np.float32), "jump": 0, "duck": 1}, "action at '#0' has the keys"),
        (0, [1, 2], "action at '#0' is of type list; a dict"),
        (1, np.array([0.0, 1.0]), "action at '#1' is of dtype float64 and cannot be cast to int64"),
        (1, np.array([2, 0]), "action at '#1' is 2 at index 0; -1 to 1 are allowed"),
        (1, np.array([0, 4]), "action at '#1' is 4 at index 1; 0 to 3 are allowed"),
        (1, np.array([0, -1]), "action at '#1' is -1 at index 1; 0 to 3 are allowed"),
        (2, np.array([0, 1, 2], np.int8), "action at '#2' is 2 at index 2; 0 to 1 are allowed"),
        (2, np.array([0, 1, 300]), "action at '#2' is of dtype int64 and cannot be cast to int8"),
    ],
)
def test_an_action_that_does_not_fit_is_refused_by_its_path(
    client: Callable[..., ferry.ClientEnv], place: int, value: Any, text: str
) -> None:
    env = client("sample_envs:Nested")
    env.reset(seed=1)
    action: list[Any] = list(GOOD)
    action[place] = value
    with pytest.raises(InvalidAction, match=text):
        env.step(tuple(action))
    env.step(GOOD)


@pytest.mark.parametrize("action", [GOOD[:2], 5, {"a": 1}])
def test_an_action_of_the_wrong_form_is_refused(client: Callable[..., ferry.ClientEnv], action: Any) -> None:
    env = client("sample_envs:Nested")
    env.reset(seed=1)
    with pytest.raises(InvalidAction, match=r"action (has 2 elements|is of type)"):
        env.step(action)


def test_bounds_of_boxes_are_checked_on_demand_only(serve: Serve) -> None:
    serve("MountainCarContinuous-v0")
    too_much = np.array([3.0], np.float32)
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)
        env.step(too_much)
    with ferry.ClientEnv("test", timeout=PATIENCE, check_actions="bounds") as env:
        env.reset(seed=1)
        env.step(np.array([1.0], np.float32))
        with pytest.raises(InvalidAction, match=r"action is 3\.0 at index 0; -1\.0 to 1\.0 are allowed"):
            env.step(too_much)
        with pytest.raises(InvalidAction, match="action is nan"):
            env.step(np.array([np.nan], np.float32))
    with pytest.raises(ValueError, match="'range' or 'bounds'"):
        ferry.ClientEnv("test", check_actions="all")  # type: ignore[arg-type]


# ---- Observations ----


def test_an_observation_of_the_wrong_shape_is_a_backend_error(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    with pytest.raises(ferry.BackendError, match=r"observation has shape \(3,\); \(2,\) is wanted"):
        step_as(env, "wrong_shape")
    with pytest.raises(ferry.BackendError, match="observation is of type dict"):
        step_as(env, "wrong_type")
    with pytest.raises(ferry.BackendError, match=r"observation .* complex64"):
        step_as(env, "complex")
    env.reset()


def test_an_observation_of_another_dtype_is_cast_with_one_warning(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        for _ in range(3):
            observation, _, _, _, _ = step_as(env, "float64")
            assert observation.dtype == np.float32
    assert backend.errors().count("observation is of dtype float64, the space says float32") == 1


class Unknown(gymnasium.Space[Any]):
    """A space that nobody has registered."""


def test_a_space_that_cannot_travel_is_refused_by_its_path() -> None:
    env = sample_envs.Scripted()
    env.observation_space = gymnasium.spaces.Dict({"own": Unknown()})  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"observation space at 'own' is of the class .*Unknown, which Ferry does not"):
        ferry.ServerBackend(env, "test")


# ---- Spec and metadata ----


def test_the_environments_spec_travels(connect: Connect) -> None:
    spec = connect("CartPole-v1").remote_spec
    assert spec is not None
    assert (spec.id, spec.max_episode_steps, spec.reward_threshold) == ("CartPole-v1", 500, 475.0)
    assert connect("sample_envs:Scripted").remote_spec is None


def test_the_time_limit_of_the_environment_counts(connect: Connect) -> None:
    env = connect("MountainCar-v0")
    env.reset(seed=1)
    truncations = [env.step(1)[3] for _ in range(200)]
    assert truncations == [False] * 199 + [True]


@pytest.mark.parametrize(("limit", "steps"), [(10, 10), (1000, 200)])
def test_the_smaller_time_limit_counts(serve: Serve, limit: int, steps: int) -> None:
    serve("MountainCar-v0")
    with gymnasium.make("ferry/Client-v0", address="test", timeout=PATIENCE, max_episode_steps=limit) as env:
        env.reset(seed=1)
        truncations = [env.step(1)[3] for _ in range(steps)]
    assert truncations == [False] * (steps - 1) + [True]


def test_metadata_is_the_environments_own_and_lists_the_modes_that_it_offers(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    assert env.metadata == {"render_modes": [], "render_fps": 7, "note": ("kept", 1)}, "its maker takes no mode"
    assert env.render_mode is None
    modes = ["human", "rgb_array", "ansi", "rgb_array_list", "ansi_list"]
    assert connect("sample_envs:Drawn").metadata == {"render_modes": modes, "render_fps": 4}
    assert set(modes) < set(type(env).metadata["render_modes"])


# ---- Rendering ----


def test_frames_arrive(connect: Connect) -> None:
    env = connect("sample_envs:Drawn", render_mode="rgb_array")
    assert env.reset()[1] == {"mode": "rgb_array"}
    env.step(0)
    env.step(0)
    frame = env.render()
    np.testing.assert_array_equal(frame, np.full((30, 40, 3), 2, np.uint8), strict=True)
    assert env.step(0)[0] == 3, "drawing changes nothing"


def test_text_is_drawn(connect: Connect) -> None:
    env = connect("sample_envs:drawn_in_wrappers", render_mode="ansi")
    env.reset()
    env.step(0)
    assert env.render() == "time 1"


def test_lists_of_frames_arrive(connect: Connect) -> None:
    env_id = newest("FrozenLake")
    env, twin = connect(env_id, render_mode="ansi_list"), gymnasium.make(env_id, render_mode="ansi_list")
    for side in (env, twin):
        side.reset(seed=3)
        side.step(0)
        side.step(1)
    frames = env.render()
    assert frames == twin.render()
    assert [type(frame) for frame in frames] == [str] * 3
    twin.close()


def test_human_is_drawn_on_the_environments_side(connect: Connect) -> None:
    env = connect("sample_envs:Drawn", render_mode="human")
    env.reset()
    env.step(0)
    assert env.render() is None
    assert env.get_attr("drawn") == 1


def test_the_next_agent_gets_the_usual_mode_again(serve: Serve) -> None:
    serve("sample_envs:Drawn")
    with ferry.ClientEnv("test", timeout=PATIENCE, render_mode="ansi") as env:
        assert env.reset()[1] == {"mode": "ansi"}
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        assert env.reset()[1] == {"mode": None}
        with pytest.warns(UserWarning, match="made without a render mode; make it with one: render_mode='human'"):
            assert env.render() is None


def test_a_mode_that_is_not_offered_is_refused(connect: Connect) -> None:
    with pytest.raises(ValueError, match=r"does not offer the render mode 'ansi'; it offers \[\]"):
        connect("sample_envs:Scripted", render_mode="ansi")


def test_an_instance_offers_the_mode_that_it_was_made_with() -> None:
    with ferry.ServerBackend(sample_envs.Drawn("ansi"), "test") as backend:
        thread = threading.Thread(target=backend.run)
        thread.start()
        with ferry.ClientEnv("test", timeout=PATIENCE, render_mode="ansi") as env:
            assert env.metadata["render_modes"] == ["ansi"]
            env.reset()
            assert env.render() == "time 0"
        with pytest.raises(ValueError, match="it offers"):
            ferry.ClientEnv("test", timeout=PATIENCE, render_mode="human")
        backend.close()
        thread.join(PATIENCE)


def test_gymnasium_makes_adapters_that_draw(serve: Serve) -> None:
    serve("sample_envs:Drawn")
    with gymnasium.make("ferry/Client-v0", address="test", timeout=PATIENCE, render_mode="rgb_array") as env:
        env.reset()
        assert env.render().shape == (30, 40, 3)  # type: ignore[union-attr]
        assert env.render_mode == "rgb_array"


# ---- Seeds and options ----


@pytest.mark.parametrize("seed", [0, 5, 2**63 - 1, np.int64(7), np.uint8(8)])
def test_seeds_arrive(client: Callable[..., ferry.ClientEnv], seed: Any) -> None:
    env = client()
    _, info = env.reset(seed=seed)
    assert info["seed"] == seed
    assert env.np_random_seed == seed
    twin = gymnasium.utils.seeding.np_random(int(seed))[0]
    assert env.np_random.integers(2**32) == twin.integers(2**32), "super().reset(seed=seed) was called"


def test_there_is_no_default_seed(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    assert env.reset()[1]["seed"] is None


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_what_is_no_seed_is_refused_as_gymnasium_does(client: Callable[..., ferry.ClientEnv], seed: Any) -> None:
    with pytest.raises(gymnasium.error.Error, match="Seed must be"):
        client().reset(seed=seed)


def test_a_seed_that_cannot_travel_is_refused(client: Callable[..., ferry.ClientEnv]) -> None:
    with pytest.raises(ValueError, match=r"2\*\*63 - 1"):
        client().reset(seed=2**63)


@pytest.mark.parametrize("options", [None, {}, {"info": True, "nested": {"array": [1, 2.5, None, "x"]}}])
def test_options_arrive(connect: Connect, options: dict[str, Any] | None) -> None:
    before = copy.deepcopy(options)
    _, info = connect("sample_envs:Scripted").reset(options=options)
    assert info["options"] == options
    assert options == before, "the caller's dict is left alone"


def test_arrays_travel_as_options(client: Callable[..., ferry.ClientEnv]) -> None:
    _, info = client().reset(options={"start": np.arange(3, dtype=np.int16)})
    np.testing.assert_array_equal(info["options"]["start"], np.arange(3, dtype=np.int16))
    assert info["options"]["start"].dtype == np.int16


def test_options_that_are_no_data_are_refused(client: Callable[..., ferry.ClientEnv]) -> None:
    env = client()
    with pytest.raises(TypeError, match="options are a dict or None, not list"):
        env.reset(options=[1])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        env.reset(options={"function": len})
    env.reset()


# ---- Order of calls ----


def test_reset_is_legal_at_any_time(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    for resets in range(1, 4):
        observation, _ = env.reset()
        assert tuple(observation) == (0, resets)
    env.step(0)
    observation, _ = env.reset()
    assert tuple(observation) == (0, 4)


def test_step_before_reset_is_an_error(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(0)
    env.reset()
    env.step(0)


def test_a_new_agent_must_reset_first(serve: Serve) -> None:
    serve("sample_envs:Scripted")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        env.step(0)
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        with pytest.raises(ResetNeeded):
            env.step(0)
        assert tuple(env.reset()[0]) == (0, 2)


def test_step_after_the_end_is_forwarded(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    *_, terminated, _, _ = step_as(env, "odd_scalars")
    assert terminated
    observation, *_ = env.step(0)
    assert observation[0] == 2


def test_an_exception_in_step_is_a_backend_error(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    with pytest.raises(ferry.BackendError, match="ZeroDivisionError: as scripted") as caught:
        step_as(env, "fail")
    assert caught.value.remote_type == "ZeroDivisionError"
    assert 'raise ZeroDivisionError("as scripted")' in caught.value.remote_traceback
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()
    env.step(0)


def test_an_exception_may_be_without_a_text(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    with pytest.raises(ferry.BackendError, match=r"MuteError: \(its text cannot be had"):
        step_as(env, "no_text")
    env.reset()


def test_the_text_of_an_exception_may_be_odd(connect: Connect) -> None:
    with pytest.raises(ferry.BackendError, match=r"OSError: no file \?"):
        step_as(connect("sample_envs:Scripted"), "odd_text")


def test_an_exception_in_reset_is_a_backend_error(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    env.reset()
    with pytest.raises(ferry.BackendError, match="KeyError") as caught:
        env.reset(options={"do": "raise in reset"})
    assert caught.value.remote_type == "KeyError"
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()
    env.step(0)


# ---- Info ----


def test_info_is_a_fresh_dict_each_time(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    _, first = env.reset(options={"info": False})
    *_, second = env.step(0)
    *_, third = env.step(0)
    assert first == second == third == {}
    assert len({id(first), id(second), id(third)}) == 3


def test_an_info_key_that_no_type_carries_is_dropped_with_one_warning(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        for _ in range(3):
            *_, info = step_as(env, "rich_info")
            assert "function" not in info
            assert "array" in info
    assert backend.errors().count("'function' is of type builtin_function_or_method") == 1


def test_an_info_that_is_no_map_is_a_backend_error(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    with pytest.raises(ferry.BackendError, match="info is of type list, not a map"):
        step_as(env, "list_info")
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()


# ---- Calls ----


def test_methods_are_called_through_wrappers(connect: Connect) -> None:
    env = connect("sample_envs:drawn_in_wrappers")
    assert env.call("add", 1, 2, times=3) == 9
    same.assert_same(env.call("add", np.arange(3), times=np.float32(2)), np.arange(3) * np.float32(2))
    env.reset()
    env.step(0)
    np.testing.assert_array_equal(env.call("action_masks"), np.arange(5) != 1)
    assert env.step(0)[0] == 2, "a call is no step"


def test_attributes_are_got_and_set_through_wrappers(connect: Connect) -> None:
    env = connect("sample_envs:drawn_in_wrappers")
    assert env.get_attr("level") == 1
    env.set_attr("level", {"deep": (1, 2)})
    assert env.get_attr("level") == {"deep": (1, 2)}


def test_gymnasiums_own_way_to_attributes_leads_to_the_environment(connect: Connect) -> None:
    env = gymnasium.wrappers.RecordEpisodeStatistics(connect("sample_envs:drawn_in_wrappers"))
    env.reset()
    assert env.has_wrapper_attr("action_masks")
    assert not env.has_wrapper_attr("action_maps")
    assert env.get_wrapper_attr("action_masks")().tolist() == [False, True, True, True, True]
    assert env.get_wrapper_attr("level") == 1
    env.set_wrapper_attr("level", 4, force=False)
    assert env.get_wrapper_attr("level") == 4
    with pytest.raises(AttributeError, match="'action_maps'"):
        env.get_wrapper_attr("action_maps")


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("fail", (), "raised KeyError: 'on purpose'"),
        ("no_such", (), "no_such"),
        ("add", ("x",), "TypeError"),
        ("give_lock", (), "what 'give_lock' gave cannot travel"),
        ("reset", (), r"reset\(\) is a method of the agent's own env object"),
    ],
)
def test_a_call_that_fails_is_a_backend_error_and_the_episode_goes_on(
    connect: Connect, name: str, arguments: tuple[Any, ...], text: str
) -> None:
    env = connect("sample_envs:Drawn")
    env.reset()
    env.step(0)
    with pytest.raises(ferry.BackendError, match=text) as raised:
        env.call(name, *arguments)
    assert "next call must be reset" not in str(raised.value)
    assert env.step(0)[0] == 2


@pytest.mark.parametrize("name", ["_secret", "__class__", "a.b", ""])
def test_private_names_are_refused(connect: Connect, name: str) -> None:
    env = connect("sample_envs:Drawn")
    for refused in (lambda: env.call(name), lambda: env.get_attr(name), lambda: env.set_attr(name, 1)):
        with pytest.raises(ValueError, match="is not the name of a public attribute"):
            refused()


def test_private_names_are_refused_by_the_backend_too(serve: Serve) -> None:
    serve("sample_envs:Drawn")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        for request in (
            {"op": "get", "name": "_secret"},
            {"op": "call", "name": "__init__"},
            {"op": "what", "name": "x"},
            [1],
        ):
            with pytest.raises(ferry.BackendError, match=r"public attribute|unknown|a request is a map"):
                env._agent.call((blobs.MSGPACK, blobs.encode(request, blobs.MSGPACK)))


def test_arguments_that_are_no_data_are_refused(connect: Connect) -> None:
    env = connect("sample_envs:Drawn")
    with pytest.raises(TypeError, match="lock"):
        env.call("add", threading.Lock())


def test_a_call_meets_the_next_environment(serve: Serve) -> None:
    backend = serve("sample_envs:Drawn")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        backend.kill()
        with pytest.raises(ferry.PeerGoneError):
            env.call("add", 1)
        serve("sample_envs:Drawn")
        assert env.call("add", 1) == 1


def test_a_view_outlives_calls(client: Callable[..., ferry.ClientEnv]) -> None:
    """It stays right until the step after the next, whatever is called in between."""
    env = client("sample_envs:Pixels", copy=False)
    env.reset(seed=1)
    last = env.step(1)[0]
    kept = last.copy()
    for step in range(5):
        for _ in range(step):
            env.get_attr("render_mode")
        now = env.step(1)[0]
        np.testing.assert_array_equal(last, kept)
        last, kept = now, now.copy()


# ---- Who waits for whom ----


def test_a_server_env_waits_for_its_backend(serve: Serve) -> None:
    made: list[ferry.ServerEnv] = []
    thread = threading.Thread(target=lambda: made.append(ferry.ServerEnv("test", timeout=PATIENCE)))
    thread.start()
    serve("sample_envs:Scripted", paradigm="ClientBackend")
    thread.join(PATIENCE)
    with made[0] as env:
        env.reset()


def test_waiting_is_told_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ferry.FerryTimeoutError):
        ferry.ServerEnv("test", timeout=2.2)
    assert len(caplog.messages) == 1
    assert "waiting" in caplog.text
    assert "test" in caplog.text


def test_a_second_backend_is_refused_with_the_holders_pid(serve: Serve) -> None:
    holder = serve("sample_envs:Scripted", paradigm="ClientBackend")
    with ferry.ServerEnv("test", timeout=PATIENCE) as env:
        env.reset()
        second = serve("sample_envs:Scripted", paradigm="ClientBackend")
        deadline = time.monotonic() + PATIENCE
        while second.process.poll() is None and time.monotonic() < deadline:
            env.step(0)
        assert f"{holder.process.pid}" in second.errors().splitlines()[-1]


# ---- The end ----


def test_closing_a_client_leaves_the_server_running(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted")
    for resets in range(1, 4):
        with ferry.ClientEnv("test", timeout=PATIENCE) as env:
            assert tuple(env.reset()[0]) == (0, resets)
    assert backend.process.poll() is None


def test_closing_a_server_env_ends_its_backend_normally(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted", paradigm="ClientBackend")
    with ferry.ServerEnv("test", timeout=PATIENCE) as env:
        env.reset()
    assert backend.process.wait(PATIENCE) == 0


def test_sigterm_says_goodbye(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    _, info = env.reset()
    os.kill(info["pid"], signal.SIGTERM)
    wait_until(lambda: not is_alive(info["pid"]))
    with pytest.raises(ferry.PeerGoneError, match="goodbye"):
        env.step(0)


def test_close_is_idempotent_and_everything_after_it_an_error(connect: Connect) -> None:
    env = connect("sample_envs:Scripted")
    env.reset()
    env.close()
    env.close()
    for call in (lambda: env.step(0), env.reset, env.wait):
        with pytest.raises(ferry.FerryError, match="closed"):
            call()


def test_an_adapter_that_is_forgotten_says_goodbye(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted", paradigm="ClientBackend")
    env = ferry.ServerEnv("test", timeout=PATIENCE)
    env.reset()
    del env
    gc.collect()
    assert backend.process.wait(PATIENCE) == 0


def test_an_interpreter_that_ends_says_goodbye(serve: Serve, start: Start) -> None:
    backend = serve("sample_envs:Scripted", paradigm="ClientBackend")
    agent = start(
        "-c", "import ferry; env = ferry.ServerEnv('test', timeout=30); env.reset(); print('done', flush=True)"
    )
    assert line_of(agent) == "done\n"
    assert backend.process.wait(PATIENCE) == 0
    assert agent.communicate(timeout=PATIENCE) == ("", "")


def test_an_adapter_that_was_never_made_is_forgotten_silently() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ferry.ClientEnv.__new__(ferry.ClientEnv)
        with pytest.raises(ferry.FerryTimeoutError):
            ferry.ClientEnv("test", timeout=0.01)
        gc.collect()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_adapter_can_be_neither_pickled_nor_copied(
    client: Callable[..., ferry.ClientEnv], duplicate: Callable[[Any], Any]
) -> None:
    with pytest.raises(TypeError, match=re.escape("lambda: ferry.ClientEnv(...)")):
        duplicate(client())


# ---- Gymnasium's own checks ----


def warnings_of_check(env: gymnasium.Env[Any, Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped, skip_render_check=True, skip_close_check=True)
    return sorted({str(warning.message) for warning in caught})


@pytest.mark.parametrize(
    "env_id", [*map(newest, ["CartPole", "Pendulum", "FrozenLake", "Blackjack", "Taxi"]), "sample_envs:Pixels"]
)
def test_check_env_has_no_more_to_say_than_in_process(connect: Connect, env_id: str) -> None:
    local = make(env_id)
    assert set(warnings_of_check(connect(env_id))) <= set(warnings_of_check(local))
    local.close()


@pytest.mark.parametrize("name", ["Client", "Server"])
def test_gymnasium_makes_adapters(serve: Serve, name: str) -> None:
    paradigm = {"Client": "ServerBackend", "Server": "ClientBackend"}[name]
    for _ in range(2):
        backend = serve("CartPole-v1", paradigm=paradigm)
        env = gymnasium.make(f"ferry/{name}-v0", address="test", timeout=PATIENCE)
        assert isinstance(env, getattr(ferry, f"{name}Env")), "no wrapper costs time"
        assert env.spec is not None
        assert env.spec.id == f"ferry/{name}-v0"
        env.reset(seed=1)
        env.close()
        env.close()
        backend.terminate()
    wait_until(lambda: backend.process.poll() is not None)
