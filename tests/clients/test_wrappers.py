"""Gymnasium's wrappers around Ferry's environments do what they do around the environments themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces, wrappers

from conftest import Connect, newest
from ferry.backend import make
from same import assert_same

Env: TypeAlias = gymnasium.Env[Any, Any]

STEPS = 400


def settled(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """The result of a step, without what may differ.

    Rewards, and so their sums, are floats through Ferry; in process they are what the environment makes of them. How
    many seconds an episode took is its own.
    """
    observation, reward, terminated, truncated, info = result
    if "episode" in info:
        assert info["episode"]["t"] >= 0
        info = {**info, "episode": (float(info["episode"]["r"]), info["episode"]["l"])}
    return observation, float(reward), bool(terminated), bool(truncated), info


def play(env: Env, twin: Env, resets_itself: bool = False) -> None:
    assert env.observation_space == twin.observation_space
    assert env.action_space == twin.action_space
    env.action_space.seed(7)
    twin.action_space.seed(7)
    episodes, over = 0, True
    for _ in range(STEPS):
        if over and not (resets_itself and episodes):
            seed = episodes if episodes % 2 == 0 else None
            assert_same(env.reset(seed=seed), twin.reset(seed=seed))
        episodes += over
        action = env.action_space.sample()
        assert_same(action, twin.action_space.sample())
        mine, theirs = env.step(action), twin.step(action)
        assert_same(settled(mine), settled(theirs))
        over = bool(theirs[2] or theirs[3])
    assert episodes >= 2
    twin.close()


def many(env: Env) -> Env:
    """A stack as of agents for continuous control."""
    env = wrappers.RecordEpisodeStatistics(wrappers.TimeLimit(wrappers.ClipAction(env), 150))
    env = wrappers.NormalizeObservation(wrappers.FrameStackObservation(env, 3))
    env = wrappers.TransformObservation(env, lambda observation: np.clip(observation, -10, 10), env.observation_space)
    return wrappers.NormalizeReward(env, gamma=0.9)


def small_and_grey(env: Env) -> Env:
    return wrappers.ResizeObservation(wrappers.GrayscaleObservation(env), (42, 42))


ONE = np.float32(1)
DOUBLE = spaces.Box(-np.inf, np.inf, (4,), np.float64)
WRAPPED: dict[str, tuple[str, Callable[[Env], Env]]] = {
    "ClipAction": ("Pendulum-v1", wrappers.ClipAction),
    "DelayObservation": ("CartPole-v1", lambda env: wrappers.DelayObservation(env, 2)),
    "DiscretizeAction": ("Pendulum-v1", lambda env: wrappers.DiscretizeAction(env, 5)),
    "DtypeObservation": ("CartPole-v1", lambda env: wrappers.DtypeObservation(env, np.float64)),
    "FilterObservation": ("sample_envs:Nested", lambda env: wrappers.FilterObservation(env, ["zeta", "half"])),
    "FlattenObservation, Dict": (
        "sample_envs:Nested",
        lambda env: wrappers.FlattenObservation(wrappers.FilterObservation(env, ["zeta", "pair", "camera/1"])),
    ),
    "FlattenObservation, Discrete": (newest("Taxi"), wrappers.FlattenObservation),
    "FlattenObservation, Tuple": (newest("Blackjack"), wrappers.FlattenObservation),
    "FrameStackObservation": ("CartPole-v1", lambda env: wrappers.FrameStackObservation(env, 4)),
    "MaxAndSkipObservation": ("CartPole-v1", lambda env: wrappers.MaxAndSkipObservation(env, 2)),
    "NormalizeObservation": ("CartPole-v1", wrappers.NormalizeObservation),
    "NormalizeReward": ("CartPole-v1", wrappers.NormalizeReward),
    "OrderEnforcing": ("CartPole-v1", wrappers.OrderEnforcing),
    "PassiveEnvChecker": ("CartPole-v1", wrappers.PassiveEnvChecker),
    "RecordEpisodeStatistics": ("CartPole-v1", wrappers.RecordEpisodeStatistics),
    "RepeatAction": ("CartPole-v1", lambda env: wrappers.RepeatAction(env, 3)),
    "RescaleAction": ("Pendulum-v1", lambda env: wrappers.RescaleAction(env, ONE * -1, ONE)),
    "RescaleObservation": ("Pendulum-v1", lambda env: wrappers.RescaleObservation(env, ONE * -1, ONE)),
    "ReshapeObservation": ("sample_envs:Pixels", lambda env: wrappers.ReshapeObservation(env, (84 * 84, 4))),
    "TimeAwareObservation": ("CartPole-v1", lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(env, 30))),
    "TimeLimit": ("CartPole-v1", lambda env: wrappers.TimeLimit(env, 15)),
    "TransformObservation": ("CartPole-v1", lambda env: wrappers.TransformObservation(env, np.float64, DOUBLE)),
    "TransformReward": ("CartPole-v1", lambda env: wrappers.TransformReward(env, lambda reward: float(reward) / 2)),
    "many": ("Pendulum-v1", many),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_the_same_follows(connect: Connect, name: str) -> None:
    env_id, wrap = WRAPPED[name]
    play(wrap(connect(env_id)), wrap(make(env_id)))


def test_autoreset(connect: Connect) -> None:
    play(wrappers.Autoreset(connect("CartPole-v1")), wrappers.Autoreset(make("CartPole-v1")), resets_itself=True)


def test_small_grey_images(connect: Connect) -> None:
    pytest.importorskip("cv2", reason="needs opencv-python-headless")
    pytest.importorskip("ale_py", reason="needs ale-py")
    env_id = "ale_py:ALE/Breakout-v5"
    play(small_and_grey(connect(env_id)), small_and_grey(make(env_id)))


def test_tensors(connect: Connect) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("array_api_compat", reason="needs gymnasium[torch]")
    env, twin = (wrappers.NumpyToTorch(side) for side in (connect("CartPole-v1"), make("CartPole-v1")))
    (mine, _), (theirs, _) = env.reset(seed=0), twin.reset(seed=0)
    assert torch.equal(mine, theirs)
    for i in range(8):
        mine, theirs = (side.step(torch.tensor(i % 2)) for side in (env, twin))
        assert mine[0].dtype == theirs[0].dtype
        assert torch.equal(mine[0], theirs[0])
        assert mine[1:] == theirs[1:]
    twin.close()
