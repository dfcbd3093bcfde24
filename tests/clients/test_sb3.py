"""Stable-Baselines3 accepts Ferry's environments, and learns from them what it learns in process."""

from __future__ import annotations

import os
import random
import threading
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
from conftest import PATIENCE, Connect, Serve, newest

pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")

import torch
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from ferry.sb3 import FerryVecEnv

POLE = Path(__file__).parents[2] / "build/examples/pole"

# The mean return, over 20 episodes, at which CartPole counts as solved.
BAR = 475.0

# The Zoo's for CartPole, with one environment instead of eight.
PPO_FOR_POLE: dict[str, Any] = {
    "n_steps": 256,
    "batch_size": 256,
    "n_epochs": 20,
    "gamma": 0.98,
    "gae_lambda": 0.8,
    "learning_rate": lambda remaining: 1e-3 * remaining,
    "clip_range": lambda remaining: 0.2 * remaining,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# ---- The checker ----


@pytest.mark.filterwarnings("error:::stable_baselines3")
@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCarContinuous-v0", newest("Taxi"), "sample_envs:Pixels"])
def test_check_env_has_no_complaint(connect: Connect, env_id: str) -> None:
    check_env(connect(env_id))


# ---- Learning ----


def learn_the_pole(env: gymnasium.Env[Any, Any] | VecEnv, judge: gymnasium.Env[Any, Any], verbose: int = 0) -> float:
    """Learns until the pole stays up, and returns what is reached afterwards.

    Args:
        env: To learn in.
        judge: To be judged in.
        verbose: 1: the log is printed.
    """
    judged = Monitor(judge)
    judged.reset(seed=1000)
    model = PPO("MlpPolicy", env, seed=0, device="cpu", verbose=verbose, **PPO_FOR_POLE)
    stop = StopTrainingOnRewardThreshold(BAR + 20, verbose=0)
    model.learn(100_000, EvalCallback(judged, stop, n_eval_episodes=8, eval_freq=4096, verbose=0))
    mean, deviation = evaluate_policy(model, judged, n_eval_episodes=20)
    print(f"PPO after {model.num_timesteps} steps: mean return {mean} over 20 episodes, standard deviation {deviation}")
    return float(mean)


@pytest.mark.timeout(600)
def test_ppo_learns_the_pole_in_c() -> None:
    with ferry.launch([POLE]) as env, ferry.launch([POLE]) as judge:
        assert learn_the_pole(env, judge) >= BAR


@pytest.mark.timeout(600)
def test_ppo_learns_gymnasiums_pole(connect: Connect) -> None:
    assert learn_the_pole(connect("CartPole-v1"), connect("CartPole-v1")) >= BAR


@pytest.mark.timeout(600)
def test_ppo_learns_eight_rows_of_the_pole(capfd: pytest.CaptureFixture[str]) -> None:
    """What is logged on the way has the mean return of episodes."""
    command = [str(POLE), "poles", "{num_envs}"]
    with ferry.launch([POLE]) as judge:
        envs = FerryVecEnv(ferry.launch(command, envs_per_engine=8, autoreset_mode="same_step"))
        try:
            assert learn_the_pole(envs, judge, verbose=1) >= BAR
        finally:
            envs.close()
    assert "ep_rew_mean" in capfd.readouterr().out


@pytest.mark.timeout(600)
def test_a_training_on_four_engines_outlives_their_deaths() -> None:
    """One of four is killed every half second; what is learnt is what an undisturbed run learns."""
    chance = random.Random(1)
    over = threading.Event()
    engines = ferry.launch([POLE], num_engines=4, on_crash="restart", max_restarts=1000, autoreset_mode="same_step")
    deaths = 0

    def kill() -> None:
        nonlocal deaths
        while not over.wait(0.5):
            chance.choice(engines.processes).kill()
            deaths += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with ferry.launch([POLE]) as judge:
            assert learn_the_pole(FerryVecEnv(engines), judge) >= BAR
    finally:
        over.set()
        killer.join()
        engines.close()
    print(f"{deaths} deaths on the way")
    assert deaths > 5


# ---- The same seed, the same curve ----


def learn(algorithm: Any, env: gymnasium.Env[Any, Any], steps: int, **options: Any) -> tuple[list[float], list[Any]]:
    """Returns the return of each episode while learning, and the weights that were learnt."""
    monitor = Monitor(env)
    model = algorithm("MlpPolicy", monitor, seed=3, device="cpu", **options)
    model.learn(steps)
    return monitor.get_episode_rewards(), [value.numpy() for value in model.policy.state_dict().values()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("algorithm", "env_id", "steps", "options"),
    [
        (PPO, "CartPole-v1", 10_240, {}),
        (A2C, "Acrobot-v1", 3_000, {}),
        (SAC, "Pendulum-v1", 600, {"learning_starts": 300}),
        (PPO, "FrozenLake-v1", 4_096, {}),
    ],
    ids=["PPO-CartPole", "A2C-Acrobot", "SAC-Pendulum", "PPO-FrozenLake"],
)
def test_learning_is_the_same_as_in_process(
    connect: Connect, algorithm: Any, env_id: str, steps: int, options: dict[str, Any]
) -> None:
    mine, my_weights = learn(algorithm, connect(env_id), steps, **options)
    theirs, their_weights = learn(algorithm, gymnasium.make(env_id), steps, **options)
    print(f"{len(mine)} episodes in {steps} steps, returns {mine[0]} to {mine[-1]}, at most {max(mine)}")
    assert mine == theirs
    assert len(mine) >= 2
    for my_weight, their_weight in zip(my_weights, their_weights, strict=True):
        np.testing.assert_array_equal(my_weight, their_weight, strict=True)


# ---- Many at a time ----


@pytest.mark.parametrize("vectorised", [DummyVecEnv, SubprocVecEnv])
@pytest.mark.parametrize(("adapter", "backend"), [("ClientEnv", "ServerBackend"), ("ServerEnv", "ClientBackend")])
def test_vector_environments_are_the_same_as_in_process(
    serve: Serve, runtime_dir: Path, vectorised: Any, adapter: str, backend: str
) -> None:
    # Paths, because workers have the process environment of the first test that used any: they come from a fork server.
    addresses = [serve("CartPole-v1", str(runtime_dir / f"pole{i}"), backend).address for i in range(3)]
    mine = vectorised([partial(getattr(ferry, adapter), address, timeout=PATIENCE) for address in addresses])
    theirs = vectorised([partial(gymnasium.make, "CartPole-v1") for _ in addresses])
    mine.seed(5)
    theirs.seed(5)
    np.testing.assert_array_equal(mine.reset(), theirs.reset(), strict=True)
    random = np.random.default_rng(0)
    for _ in range(300):
        actions = random.integers(0, 2, len(addresses))
        (my_result, my_infos), (their_result, their_infos) = (
            (result[:3], result[3]) for result in (side.step(actions) for side in (mine, theirs))
        )
        for my_part, their_part in zip(my_result, their_result, strict=True):
            np.testing.assert_array_equal(my_part, their_part, strict=True)
        for my_info, their_info in zip(my_infos, their_infos, strict=True):
            assert my_info.keys() == their_info.keys()
            np.testing.assert_array_equal(
                my_info.pop("terminal_observation", None), their_info.pop("terminal_observation", None)
            )
            assert my_info == their_info
    mine.close()
    theirs.close()


def test_a_saved_model_goes_on_with_a_new_connection(serve: Serve, tmp_path: Path) -> None:
    backend = serve("CartPole-v1")
    with ferry.ClientEnv(backend.address, timeout=PATIENCE) as env:
        PPO("MlpPolicy", env, n_steps=64, seed=0, device="cpu").learn(128).save(tmp_path / "model")
    assert os.path.getsize(tmp_path / "model.zip") > 0
    with ferry.ClientEnv(backend.address, timeout=PATIENCE) as env:
        model = PPO.load(tmp_path / "model", env=env, device="cpu")
        model.learn(128, reset_num_timesteps=False)
        assert model.num_timesteps == 256


# ---- Masks ----


class Recorded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps the actions that are taken, and ends episodes."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.taken: list[tuple[int, int]] = []
        self._time = 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        self._time = 0
        return super().reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.taken.append((self._time, int(action)))
        self._time += 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self._time == 20, info


def test_maskable_ppo_asks_for_masks_through_ferry(connect: Connect) -> None:
    """`action_masks` is a method of the environment on the other side; it forbids one action at each step."""
    contrib = pytest.importorskip("sb3_contrib", reason="needs sb3-contrib")
    env = Recorded(connect("sample_envs:Drawn"))
    model = contrib.MaskablePPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=1, seed=1)
    model.learn(256)
    assert len(env.taken) >= 256
    assert all(action != time % 5 for time, action in env.taken)
