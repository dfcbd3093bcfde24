"""A trajectory through Ferry equals the same environment's in process, value for value and dtype for dtype."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import same
from conftest import Connect, newest
from ferry.backend import make

STEPS = 1000
ENVS = [
    *map(newest, ["CartPole", "Acrobot", "MountainCarContinuous", "Pendulum", "Taxi", "FrozenLake", "Blackjack"]),
    "sample_envs:Nested",
    "sample_envs:Pixels",
    "sample_envs:Wordy",
]


def assert_same(space: gymnasium.Space[Any], mine: Any, theirs: Any) -> None:
    """That what arrived is what the environment returned, as its space words it.

    Args:
        space: The observation space.
        mine: What arrived.
        theirs: What the environment returned in process; its integers may be Python's.
    """
    if isinstance(space, spaces.Dict):
        assert type(mine) is dict
        assert list(mine) == list(space.spaces)
        for key in space.spaces:
            assert_same(space[key], mine[key], theirs[key])
    elif isinstance(space, spaces.Tuple):
        assert type(mine) is tuple
        for part, my_part, their_part in zip(space.spaces, mine, theirs, strict=True):
            assert_same(part, my_part, their_part)
    elif isinstance(space, (spaces.Text, spaces.Sequence, spaces.Graph, spaces.OneOf)):
        same.assert_same(mine, theirs)
    elif isinstance(space, spaces.Discrete):
        assert type(mine) is np.int64
        assert mine == int(theirs)
    else:
        assert isinstance(mine, np.ndarray)
        assert (mine.dtype, mine.shape) == (np.asarray(theirs).dtype, space.shape)
        if not np.array_equal(mine, theirs):  # quicker for large images
            np.testing.assert_array_equal(mine, theirs)


def play(env: gymnasium.Env[Any, Any], twin: gymnasium.Env[Any, Any], steps: int) -> int:
    """Takes the same actions in both, with a new seed for every other episode; returns how many episodes it began."""
    assert env.observation_space == twin.observation_space
    assert env.action_space == twin.action_space
    twin.action_space.seed(7)
    episodes, over = 0, True
    for _ in range(steps):
        if over:
            seed = episodes if episodes % 2 == 0 else None
            (mine, my_info), (theirs, their_info) = (side.reset(seed=seed) for side in (env, twin))
            episodes += 1
            assert_same(twin.observation_space, mine, theirs)
            same.assert_same(my_info, their_info)
        action = twin.action_space.sample()
        mine, reward, terminated, truncated, my_info = env.step(action)
        theirs, their_reward, their_terminated, their_truncated, their_info = twin.step(action)
        assert_same(twin.observation_space, mine, theirs)
        assert type(reward) is float
        assert reward == float(their_reward)
        assert (terminated, truncated) == (bool(their_terminated), bool(their_truncated))
        same.assert_same(my_info, their_info)
        over = terminated or truncated
    twin.close()
    return episodes


@pytest.mark.parametrize("copy", [True, False], ids=["copies", "views"])
@pytest.mark.parametrize("env_id", ENVS)
def test_trajectories_are_equal(connect: Connect, env_id: str, copy: bool) -> None:
    play(connect(env_id, copy=copy), make(env_id), STEPS)


def test_trajectories_of_large_images_are_equal(connect: Connect) -> None:
    play(connect("sample_envs:large_pixels"), make("sample_envs:large_pixels"), STEPS)


def test_episodes_are_equal_under_wrappers(connect: Connect) -> None:
    env_id = newest("Blackjack")
    env, twin = (gymnasium.wrappers.FlattenObservation(side) for side in (connect(env_id), make(env_id)))
    (mine, _), (theirs, _) = env.reset(seed=3), twin.reset(seed=3)
    np.testing.assert_array_equal(mine, theirs, strict=True)
    twin.close()
