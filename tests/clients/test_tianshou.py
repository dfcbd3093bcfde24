"""Tianshou collects and learns in Ferry's environments what it collects and learns in process."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import pytest

import ferry
from conftest import PATIENCE, Serve

pytest.importorskip("tianshou", reason="needs tianshou")

import torch
from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, SubprocVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net

Env: TypeAlias = gymnasium.Env[Any, Any]

NUM_ENVS = 3


@pytest.fixture(params=["ClientEnv", "ServerEnv"])
def clients(request: pytest.FixtureRequest, serve: Serve, runtime_dir: Path) -> list[Callable[[], Env]]:
    """Functions that make environments of either paradigm, each with a backend of its own.

    Their addresses are paths, because workers may come from a fork server that knows another FERRY_RUNTIME_DIR.
    """
    paradigm = {"ClientEnv": "ServerBackend", "ServerEnv": "ClientBackend"}[request.param]
    addresses = [serve("CartPole-v1", str(runtime_dir / f"pole{i}"), paradigm).address for i in range(NUM_ENVS)]
    return [partial(getattr(ferry, request.param), address, timeout=PATIENCE) for address in addresses]


def poles() -> list[Callable[[], Env]]:
    return [partial(gymnasium.make, "CartPole-v1")] * NUM_ENVS


def learner(envs: Any) -> DQN:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    envs.seed(0)
    space = envs.action_space[0]
    space.seed(0)
    policy = DiscreteQLearningPolicy(
        model=Net(state_shape=(4,), action_shape=2, hidden_sizes=[32, 32]), action_space=space, eps_training=0.5
    )
    return DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), target_update_freq=50)


def collected(envs: Any) -> VectorReplayBuffer:
    buffer = VectorReplayBuffer(2_000, NUM_ENVS)
    collector = Collector[Any](learner(envs), envs, buffer, exploration_noise=True)
    collector.reset(gym_reset_kwargs={"seed": 0})
    collector.collect(n_step=900)
    envs.close()
    return buffer


def assert_same(mine: VectorReplayBuffer, theirs: VectorReplayBuffer) -> None:
    assert len(mine) == len(theirs)
    assert theirs.done.any()
    for key in ("obs", "act", "rew", "terminated", "truncated", "obs_next"):
        np.testing.assert_array_equal(getattr(mine, key), getattr(theirs, key), strict=True)


@pytest.mark.parametrize("vectorised", [DummyVectorEnv, SubprocVectorEnv])
def test_what_is_collected_is_the_same_as_in_process(clients: list[Callable[[], Env]], vectorised: Any) -> None:
    assert_same(collected(vectorised(clients)), collected(vectorised(poles())))


def learnt(envs: Any) -> tuple[VectorReplayBuffer, list[Any]]:
    algorithm = learner(envs)
    buffer = VectorReplayBuffer(3_000, NUM_ENVS)
    collector = Collector[Any](algorithm, envs, buffer, exploration_noise=True)
    collector.reset(gym_reset_kwargs={"seed": 0})
    parameters = OffPolicyTrainerParams(
        max_epochs=2,
        epoch_num_steps=900,
        batch_size=32,
        training_collector=collector,
        test_collector=None,
        collection_step_num_env_steps=30,
        update_step_num_gradient_steps_per_sample=0.1,
        show_progress=False,
        verbose=False,
    )
    algorithm.run_training(parameters)
    envs.close()
    return buffer, [value.numpy() for value in algorithm.policy.state_dict().values()]


def test_dqn_learns_the_same_as_in_process(clients: list[Callable[[], Env]]) -> None:
    my_buffer, my_weights = learnt(DummyVectorEnv(clients))
    their_buffer, their_weights = learnt(DummyVectorEnv(poles()))
    assert_same(my_buffer, their_buffer)
    for my_weight, their_weight in zip(my_weights, their_weights, strict=True):
        np.testing.assert_array_equal(my_weight, their_weight, strict=True)
