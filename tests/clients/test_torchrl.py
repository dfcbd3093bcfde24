"""TorchRL accepts Ferry's environments, and rolls out in them what it rolls out in process."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from conftest import PATIENCE, Connect, Serve, newest
from ferry.backend import make

pytest.importorskip("torchrl", reason="needs torchrl")

import torch
from tensordict import TensorDict
from torchrl.collectors import Collector
from torchrl.envs import GymEnv, GymWrapper, SerialEnv
from torchrl.envs.utils import RandomPolicy, check_env_specs

ENVS = ["CartPole-v1", "Pendulum-v1", newest("Taxi"), "sample_envs:Pixels"]


def assert_same(mine: TensorDict, theirs: TensorDict) -> None:
    """That two rollouts hold the same tensors, bit for bit."""
    keys = sorted(theirs.keys(include_nested=True, leaves_only=True), key=str)
    assert sorted(mine.keys(include_nested=True, leaves_only=True), key=str) == keys
    for key in keys:
        assert mine[key].dtype == theirs[key].dtype
        assert torch.equal(mine[key], theirs[key]), key


@pytest.mark.parametrize("env_id", ENVS)
def test_check_env_specs(connect: Connect, env_id: str) -> None:
    check_env_specs(GymWrapper(connect(env_id)), seed=0)


@pytest.mark.parametrize("env_id", ENVS)
def test_rollouts_are_the_same_as_in_process(connect: Connect, env_id: str) -> None:
    rollouts = []
    for env in (connect(env_id), make(env_id)):
        wrapped = GymWrapper(env)
        torch.manual_seed(0)
        wrapped.set_seed(0)
        rollouts.append(wrapped.rollout(400, break_when_any_done=False))
        wrapped.close()
    assert rollouts[0]["next", "done"].any()
    assert_same(*rollouts)


def collected(envs: list[Any]) -> TensorDict:
    torch.manual_seed(0)
    env = SerialEnv(len(envs), envs)
    env.set_seed(0)
    collector = Collector(env, RandomPolicy(env.action_spec), frames_per_batch=200, total_frames=400)
    batches = [batch.clone() for batch in collector]
    collector.shutdown()
    return torch.cat(batches, -1)


def test_a_collector_meets_environments_by_their_id(serve: Serve) -> None:
    addresses = [serve("CartPole-v1", f"pole{i}").address for i in range(2)]
    mine = collected(
        [partial(GymEnv, "ferry:ferry/Client-v0", address=address, timeout=PATIENCE) for address in addresses]
    )
    theirs = collected([partial(GymEnv, "CartPole-v1")] * len(addresses))
    assert mine["next", "done"].any()
    assert_same(mine, theirs)
