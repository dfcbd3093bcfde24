"""Minari records in Ferry's environments what it records in process, and says where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from conftest import PATIENCE, Connect, Serve
from ferry.backend import make

pytest.importorskip("minari", reason="needs minari[create,hdf5]")

import minari

EPISODES = 12


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def recorded(env: gymnasium.Env[Any, Any], name: str) -> Any:
    """The data set of a few episodes of random play."""
    collector = minari.DataCollector(env, record_infos=True, jpeg_encoding=False)
    collector.action_space.seed(0)
    for episode in range(EPISODES):
        collector.reset(seed=episode)
        over = False
        while not over:
            _, _, terminated, truncated, _ = collector.step(collector.action_space.sample())
            over = terminated or truncated
    dataset = collector.create_dataset(name, algorithm_name="random", description="made by a test")
    collector.close()
    return dataset


def assert_same(mine: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert_same(mine[key], theirs[key])
    elif isinstance(theirs, tuple):
        for my_part, their_part in zip(mine, theirs, strict=True):
            assert_same(my_part, their_part)
    else:
        np.testing.assert_array_equal(mine, theirs)
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "sample_envs:Pixels"])
def test_datasets_are_the_same_as_in_process(connect: Connect, env_id: str) -> None:
    mine, theirs = recorded(connect(env_id), "pole/ferry-v0"), recorded(make(env_id), "pole/local-v0")
    assert mine.total_episodes == theirs.total_episodes == EPISODES
    assert mine.total_steps == theirs.total_steps > 100
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    for my_episode, their_episode in zip(mine.iterate_episodes(), theirs.iterate_episodes(), strict=True):
        for part in ("observations", "actions", "rewards", "terminations", "truncations", "infos"):
            assert_same(getattr(my_episode, part), getattr(their_episode, part))


def test_a_dataset_recovers_its_environment_by_its_id(serve: Serve) -> None:
    backend = serve("CartPole-v1")
    env = gymnasium.make("ferry:ferry/Client-v0", address=backend.address, timeout=PATIENCE)
    recorded(env, "pole/ferry-v0")
    recovered = minari.load_dataset("pole/ferry-v0").recover_environment()
    observation, _ = recovered.reset(seed=0)
    np.testing.assert_array_equal(observation, gymnasium.make("CartPole-v1").reset(seed=0)[0], strict=True)
    recovered.close()
