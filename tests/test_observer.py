"""ferry.Observer: a third process sees what two others do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
import sample_envs
from conftest import PATIENCE, Serve, Start, wait_until


@contextmanager
def playing(turn: Callable[[], object]) -> Iterator[None]:
    """Takes turns in another thread, a few thousand a second, until the block ends."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def play() -> None:
        try:
            while not ended.is_set():
                turn()
                time.sleep(0.0002)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)
    assert not errors


def player(env: gymnasium.Env[Any, Any]) -> Callable[[], None]:
    """A turn of a random policy."""

    def turn() -> None:
        if any(env.step(env.action_space.sample())[2:4]):
            env.reset()

    env.reset(seed=1)
    return turn


def test_turns_are_seen_whole_and_at_a_pace(serve: Serve) -> None:
    serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env, playing(player(env)):
        with ferry.Observer("test", timeout=PATIENCE) as observer:
            assert observer.observation_space == env.observation_space
            assert observer.action_space == env.action_space
            assert (observer.name, observer.num_rows) == ("CartPole-v1", 1)
            shots = []
            begin = time.monotonic()
            for shot in observer:
                shots.append(shot)
                if len(shots) == 30:
                    break
            assert time.monotonic() - begin > 0.9, "thirty a second at most"
        numbers = [shot.number for shot in shots]
        assert numbers == sorted(set(numbers))
        for shot in shots:
            assert env.observation_space.contains(shot.observation)
            assert shot.rows == (0,)
            assert shot.reward == 1.0 or shot.action is None
            assert shot.action is None or env.action_space.contains(shot.action)
        last = shots[-1]
        assert last.finished > 0
        assert last.finished_return / last.finished > 5, "each step of CartPole is worth one"
        assert last.episode_return is not None
        assert last.time <= time.monotonic()


def test_what_the_agent_did_last_is_there_while_it_thinks(serve: Serve) -> None:
    serve("sample_envs:Pixels")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)
        with ferry.Observer("test", timeout=PATIENCE) as observer:
            assert observer.snapshot().action is None, "a reset has none"
            for _ in range(3):
                action = env.action_space.sample()
                observation, reward, terminated, truncated, info = env.step(action)
                shot = observer.snapshot()
                np.testing.assert_array_equal(shot.observation, observation)
                np.testing.assert_array_equal(shot.action, action)
                assert (shot.reward, shot.terminated, shot.truncated) == (reward, terminated, truncated)
                assert shot.info == info
            with pytest.raises(ferry.FerryTimeoutError, match="nothing new in time"):
                observer.snapshot(timeout=0.1)


def test_texts_graphs_and_infos_are_seen(serve: Serve) -> None:
    serve("sample_envs:Wordy")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        first, _ = env.reset(seed=1)
        with ferry.Observer("test", timeout=PATIENCE) as observer:
            assert observer.observation_space == sample_envs.Wordy.observation_space
            assert observer.snapshot().observation["words"] == first["words"]
            observation, *_ = env.step({"say": "x", "pick": (1, 2), "choose": (0, 1)})
            shot = observer.snapshot()
            assert shot.observation["words"] == observation["words"]
            assert shot.action is None, "a OneOf goes past those who look on"


def test_rows_are_seen_together(serve: Serve) -> None:
    serve("CartPole-v1", num_envs=3)
    envs = ferry.ClientVectorEnv("test", timeout=PATIENCE)
    try:
        envs.reset(seed=1)
        with ferry.Observer("test", timeout=PATIENCE) as observer:
            assert observer.num_rows == 3
            assert observer.snapshot().rows == (0, 1, 2)
            observations, rewards, *_ = envs.step(np.array([0, 1, 0]))
            shot = observer.snapshot()
            np.testing.assert_array_equal(shot.observation, observations)
            assert shot.action == (0, 1, 0)
            assert shot.reward == tuple(rewards)
            assert shot.episode_return == (None, None, None), "these episodes began unobserved"
            envs.reset(seed=2)
            envs.step(np.array([0, 1, 0]))
            wait_until(lambda: observer.snapshot().episode_return == (1.0, 1.0, 1.0))
    finally:
        envs.close()


def test_an_observer_outlives_its_agent_and_meets_the_next(serve: Serve) -> None:
    serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        observer = ferry.Observer("test", timeout=PATIENCE)
        observer.snapshot()
    with observer:
        with pytest.raises(ferry.PeerGoneError, match="is over"):
            observer.snapshot()
        with pytest.raises(ferry.FerryTimeoutError, match="no agent plays at 'test' now"):
            observer.snapshot(timeout=0.3)
        with ferry.ClientEnv("test", timeout=PATIENCE) as env:
            env.reset()
            assert observer.snapshot().number == 1
        assert list(observer) == [], "iteration ends with what is observed"
    with pytest.raises(ferry.FerryError, match="is closed"):
        observer.snapshot()


def test_what_cannot_be_observed_is_explained(serve: Serve, start: Start) -> None:
    with pytest.raises(ferry.FerryTimeoutError, match="no environment has served 'nobody'"):
        ferry.Observer("nobody", timeout=0.1)
    with pytest.raises(ValueError, match="an observer looks at a name"):
        ferry.Observer("serve:test")
    start("-c", "import ferry; ferry.ServerEnv('trainer', timeout=30)")
    with pytest.raises(ferry.FerryError, match="an agent listens"):
        ferry.Observer("trainer", timeout=PATIENCE)
    serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        with ferry.Observer("test", timeout=PATIENCE) as observer, pytest.raises(ValueError, match="hz is 0"):
            next(observer.watch(0))


def test_observers_cost_their_agent_nothing_that_it_could_see(serve: Serve) -> None:
    """The trajectory is the same, value for value, whoever looks on."""
    serve("CartPole-v1")

    def trajectory(env: gymnasium.Env[Any, Any]) -> list[Any]:
        env.action_space.seed(3)
        seen: list[Any] = [env.reset(seed=3)[0].tolist()]
        for _ in range(2000):
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            seen.append((observation.tolist(), reward, terminated, truncated, info))
            if terminated or truncated:
                seen.append(env.reset()[0].tolist())
        return seen

    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        alone = trajectory(env)
        observers = [ferry.Observer("test", timeout=PATIENCE) for _ in range(3)]
        watched = trajectory(env)
        for observer in observers:
            observer.snapshot()
            observer.close()
    assert watched == alone
