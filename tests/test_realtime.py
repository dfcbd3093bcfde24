"""Environments in real time: RealtimeEnv and RealtimeVectorEnv, the backend's clock, RecentActions."""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import sys
import threading
import time
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import ferry
from conftest import PATIENCE, Backend, Start
from ferry import blobs
from realtime_envs import Counting

HZ = 200.0
ACTIONS = np.array([10, 11])


@pytest.fixture
def run_world(start: Start) -> Any:
    """Serves a function of realtime_envs in real time."""

    def run(name: str = "Counting", address: str = "world", hz: float = HZ, **options: Any) -> Backend:
        code = f"import realtime_envs, ferry; ferry.ServerBackend(realtime_envs.{name}, {address!r}, realtime_hz={hz}, "
        return Backend(start("-c", code + f"**{options!r}).run()"), address)

    return run


def realtime(address: str = "world", **options: Any) -> ferry.RealtimeEnv:
    return ferry.RealtimeEnv(address, timeout=PATIENCE, **options)


def steps(env: ferry.RealtimeEnv, number: int) -> None:
    for _ in range(number):
        env.step(10)


def test_frame_by_frame_nothing_is_missing(run_world: Any) -> None:
    run_world()
    with realtime() as env:
        observation, info = env.reset(seed=3)
        assert observation.tolist() == [0, -1]
        assert info == {"seed": 3}
        total, steps, terminated = 0.0, 0, False
        while not terminated:
            observation, reward, terminated, truncated, info = env.step(10 + steps % 5)
            told = info["ferry"]
            steps = told["frame"]
            total += reward
            assert observation[0] == steps == info["step"]
            assert told.keys() == {"frame", "skipped", "obs_age_s", "action_age_s", "deadline_met"}
            assert type(reward) is float
            assert type(terminated) is bool
            assert not truncated
            assert 0 <= told["obs_age_s"] < PATIENCE
            assert reward == 0.1 or told["skipped"] > 0  # exactly, where none was passed over
        assert steps == 50
        assert total == pytest.approx(5.0)
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(10)
        assert env.reset()[0].tolist() == [0, -1]


def test_a_period_passes_over_frames_and_loses_no_reward(run_world: Any) -> None:
    run_world()
    with realtime(pace=0.04) as env:
        env.reset()
        rewards, frames, terminated = [], 0, False
        while not terminated:
            _, reward, terminated, _, info = env.step(11)
            rewards.append(reward)
            frames += info["ferry"]["skipped"] + 1
        assert sum(rewards) == pytest.approx(5.0)
        assert frames == 50
        assert len(rewards) < 50


def test_a_step_that_comes_too_late_is_told(run_world: Any) -> None:
    run_world("endless")
    with realtime(pace=0.05) as env:
        env.reset()
        assert env.step(10)[4]["ferry"]["deadline_met"]
        time.sleep(0.2)
        began = time.monotonic()
        assert not env.step(10)[4]["ferry"]["deadline_met"]
        assert time.monotonic() - began < PATIENCE
        assert env.step(10)[4]["ferry"]["deadline_met"]  # counted on from there


def test_a_pace_that_cannot_be_met_is_told_once(run_world: Any, caplog: pytest.LogCaptureFixture) -> None:
    run_world("endless", hz=1.0)
    with realtime(pace=0.001) as env:
        env.reset()
        for _ in range(40):
            env.step(10)
    assert caplog.text.count("32 steps in a row found no new frame") == 1
    with realtime(pace=1e-6) as env:
        env.reset()
        for _ in range(100):
            env.step(10)
            time.sleep(0.001)
    assert caplog.text.count("the agent is slower than its pace") == 1


def test_the_latest_may_be_what_was_seen_before(run_world: Any) -> None:
    run_world("endless", hz=2.0)
    with realtime(pace="latest") as env:
        first, _ = env.reset()
        for _ in range(20):
            observation, reward, terminated, truncated, info = env.step(12)
            if info["ferry"]["frame"] > 0:  # half a second has passed
                break
            assert (reward, terminated, truncated, info["ferry"]["skipped"]) == (0.0, False, False, 0)
            assert info["ferry"]["obs_age_s"] is None
            assert info["ferry"]["action_age_s"] is None
            np.testing.assert_array_equal(observation, first)
            assert observation is not first
            observation[:] = 99  # the caller's own
        # An answer in between leaves what is seen alone, unless a frame has come too: on a busy machine it mostly has.
        for _ in range(60):
            before, *_, told = env.step(12)
            env.call("get_wrapper_attr", "resets")
            after, *_, later = env.step(12)
            if later["ferry"]["frame"] == told["ferry"]["frame"]:
                break
        np.testing.assert_array_equal(after, before)


def test_the_latest_action_is_what_acts(run_world: Any) -> None:
    run_world("endless")
    with realtime() as env:
        env.reset()
        for action in (14, 10, 13):
            env.step(action)
            while (observed := env.wait())[0][1] != action:  # wait() looks on without a new one
                assert observed[4]["ferry"]["frame"] < 10_000
            assert observed[4]["ferry"]["action_age_s"] > 0


@pytest.mark.parametrize(("options", "expected"), [({}, 10.0), ({"default_action": 12}, 12.0)])
def test_before_the_first_action_the_environment_rests(run_world: Any, options: Any, expected: float) -> None:
    run_world("endless", **options)
    with realtime(pace="frame") as env:
        env.reset()
        assert env.wait()[0][1] == expected


def test_what_the_environment_raises_is_told_once_and_it_goes_on(run_world: Any) -> None:
    run_world("failing")
    with realtime() as env:
        for _ in range(2):
            env.reset()
            with pytest.raises(ferry.BackendError, match="the motor is gone"):
                steps(env, 10)
            with pytest.raises(gymnasium.error.ResetNeeded):
                env.step(10)


def test_an_info_too_large_for_a_frame_is_told(run_world: Any) -> None:
    run_world("talkative")
    with realtime() as env:
        env.reset()
        with pytest.raises(ferry.BackendError, match="a frame has room for blob_bytes, which are 16384"):
            steps(env, 3)


def test_a_failure_with_much_to_say_is_told_in_short(run_world: Any) -> None:
    run_world("wordy")
    with realtime() as env:
        for _ in range(2):  # and the world goes on
            env.reset()
            with pytest.raises(ferry.BackendError, match="so it is, so it is"):
                steps(env, 10)


def test_calls_take_no_steps_from_the_clock(run_world: Any) -> None:
    run_world("endless", hz=50.0)
    with realtime(pace="latest") as env:
        env.reset()
        began, first = time.monotonic(), env.step(10)[4]["ferry"]["frame"]
        while time.monotonic() - began < 1.0:
            env.call("get_wrapper_attr", "resets")
        frames = env.step(10)[4]["ferry"]["frame"] - first
        assert frames > 0.7 * 50 * (time.monotonic() - began)


def test_a_slow_reset_leaves_no_steps_out(run_world: Any) -> None:
    world = run_world("slow_to_reset")
    with realtime() as env:
        for _ in range(2):
            env.reset()
            steps(env, 3)
    assert "steps are left out" not in world.errors()


def waited_for(env: ferry.RealtimeEnv) -> Any:
    """What comes at last, though each wait is short."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(ferry.FerryTimeoutError):
            return env.wait()
    raise AssertionError("nothing came")


def test_an_answer_that_is_late_is_waited_for(run_world: Any) -> None:
    run_world("slow_to_reset", hz=50.0)
    with realtime() as env:  # it is there
        env.reset()
    with ferry.RealtimeEnv("world", timeout=0.4) as env:
        for episode in range(2):
            with pytest.raises(ferry.FerryTimeoutError):
                env.reset(seed=episode)
            if episode > 0:  # there was one under way
                with pytest.raises(ferry.FerryError, match="still owes the answer"):
                    env.step(10)
            observation, info = waited_for(env)
            assert observation.tolist() == [0, -1]
            assert info["seed"] == episode
            assert env.step(10)[4]["ferry"]["frame"] >= 1
        with pytest.raises(ferry.FerryTimeoutError):
            env.call("nap", 0.6)
        answer: Any = waited_for(env)
        assert answer == "rested"
        assert len(env.wait()) == 5


def test_what_ctrl_c_keeps_back_comes_next(run_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_world()
    decode, calls, armed = blobs.decode, itertools.count(), False

    def decode_or_interrupt(*args: Any) -> Any:
        if armed and next(calls) % 2 == 0:
            raise KeyboardInterrupt
        return decode(*args)

    monkeypatch.setattr(blobs, "decode", decode_or_interrupt)
    with realtime() as env:
        env.reset()
        total, terminated, armed = 0.0, False, True
        while not terminated:
            with contextlib.suppress(KeyboardInterrupt):
                _, reward, terminated, _, _ = env.step(10)
                total += reward
        assert total == pytest.approx(5.0)
        assert next(calls) > 10


def test_close_ends_a_long_period(run_world: Any) -> None:
    run_world("endless")
    env = realtime(pace=100.0)
    env.reset()
    threading.Timer(0.3, env.close).start()
    with pytest.raises(ferry.FerryError, match="closed"):
        env.step(10)


def test_a_world_slower_than_its_clock_says_so(run_world: Any) -> None:
    world = run_world("slow")
    with realtime() as env:
        env.reset()
        for _ in range(5):
            env.step(10)
    assert "in real time it has 5.0; steps are left out" in world.errors()


def test_a_world_that_is_gone_is_told_and_met_again(run_world: Any) -> None:
    world = run_world("endless")
    with realtime() as env:
        env.reset()
        env.step(10)
        world.kill()
        with pytest.raises(ferry.PeerGoneError, match=r"reset\(\) meets the next one"):
            steps(env, 100_000)
        run_world("endless")
        env.reset()
        assert env.step(10)[4]["ferry"]["frame"] >= 1


def test_an_action_that_is_none_is_refused(run_world: Any) -> None:
    run_world("endless")
    with realtime() as env:
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(10)
        env.reset()
        for action in (15, 9, 1.5, None):
            with pytest.raises(gymnasium.error.InvalidAction):
                env.step(action)
        env.step(10)


@pytest.mark.parametrize("pace", ["fast", 0, -1, math.nan, None, True])
def test_a_pace_is_one_of_three(pace: Any) -> None:
    with pytest.raises(ValueError, match="'frame', 'latest', or a number of seconds"):
        ferry.RealtimeEnv("nobody", pace=pace)


def test_both_sides_must_want_real_time(run_world: Any, serve: Any) -> None:
    run_world("endless")
    with pytest.raises(ValueError, match="the environment runs in real time, and the agent plays in turns"):
        ferry.ClientEnv("world", timeout=PATIENCE)
    serve("CartPole-v1", "turns")
    with pytest.raises(ValueError, match="the agent plays in real time, and the environment in turns"):
        realtime("turns")


def test_a_backend_wants_a_rate_that_makes_sense() -> None:
    for hz in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="steps a second, more than 0"):
            ferry.ServerBackend(Counting, "world", realtime_hz=hz)
    with pytest.raises(ValueError, match="in real time a backend has one"):
        ferry.ServerBackend(Counting, "world", realtime_hz=60, num_envs=2)
    with pytest.raises(ValueError, match="give realtime_hz too"):
        ferry.ServerBackend(Counting, "world", default_action=12)


def test_a_vector_of_worlds(run_world: Any) -> None:
    for row in range(3):
        run_world(address=f"world{row}")
    with ferry.RealtimeVectorEnv([f"world{row}" for row in range(3)], timeout=PATIENCE) as envs:
        observations, _ = envs.reset(seed=1)
        assert observations.shape == (3, 2)
        assert envs.action_space.shape == (3,)
        totals, ends, begun = np.zeros(3), np.zeros(3, int), np.zeros(3, bool)
        while ends.min() < 2:
            observations, rewards, terminated, truncated, infos = envs.step(np.array([10, 11, 12]))
            assert rewards.dtype == np.float64
            assert terminated.dtype == bool
            assert not truncated.any()
            assert (observations[begun, 0] == 0).all()
            assert (rewards[begun] == 0).all()
            assert begun.all() or infos["ferry"]["frame"].shape == (3,)
            totals += rewards
            ends += terminated
            begun = terminated
        assert (totals >= 5 * ends - 1e-9).all()
        assert (totals < 5 * ends + 5).all()


def steps_until_late(envs: ferry.RealtimeVectorEnv, world: Backend) -> list[tuple[Any, ...]]:
    """What steps give while one world does not go on, until one of them has timed out."""
    results: list[tuple[Any, ...]] = []
    world.process.send_signal(signal.SIGSTOP)
    with pytest.raises(ferry.FerryTimeoutError):
        results.extend(envs.step(ACTIONS) for _ in itertools.count())
    world.process.send_signal(signal.SIGCONT)
    return results


@pytest.fixture
def two_worlds(run_world: Any) -> Any:
    """Of such names, and a vector of them that does not wait for long."""
    with contextlib.ExitStack() as stack:

        def run(*names: str) -> tuple[list[Backend], ferry.RealtimeVectorEnv]:
            worlds = [run_world(name, address=f"world{row}") for row, name in enumerate(names)]
            for world in worlds:
                with realtime(world.address) as env:  # it is there
                    env.reset()
            envs = ferry.RealtimeVectorEnv([world.address for world in worlds], timeout=1.0)
            return worlds, stack.enter_context(envs)

        yield run


def test_a_row_that_is_late_costs_the_others_no_frame(two_worlds: Any) -> None:
    worlds, envs = two_worlds("endless", "endless")
    envs.reset()
    earned = sum(rewards for _, rewards, *_ in steps_until_late(envs, worlds[1]))
    observations, rewards, *_ = envs.step(ACTIONS)
    assert earned + rewards == pytest.approx(0.1 * observations[:, 0])


def test_a_row_that_is_late_costs_the_others_neither_end_nor_beginning(two_worlds: Any) -> None:
    worlds, envs = two_worlds("brief", "endless")
    envs.reset()
    results = steps_until_late(envs, worlds[1])
    had_ended = bool(results) and results[-1][2][0]
    for is_end in itertools.islice(itertools.cycle([not had_ended, had_ended]), 4):
        observations, rewards, terminated, *_ = envs.step(ACTIONS)
        expected = ([1, 10], 0.1, True) if is_end else ([0, -1], 0, False)
        assert (observations[0].tolist(), rewards[0], terminated[0]) == expected


def test_a_reset_forgets_what_was_kept(two_worlds: Any) -> None:
    worlds, envs = two_worlds("endless", "endless")
    envs.reset()
    steps_until_late(envs, worlds[1])
    assert envs.reset()[0].tolist() == [[0, -1], [0, -1]]
    observations, rewards, *_ = envs.step(ACTIONS)
    assert rewards == pytest.approx(0.1 * observations[:, 0])


def test_worlds_of_a_vector_are_alike(run_world: Any, start: Start) -> None:
    run_world("endless", address="one")
    code = "import ferry; ferry.ServerBackend('CartPole-v1', 'other', realtime_hz=100).run()"
    start("-c", code)
    with pytest.raises(ferry.LayoutMismatchError, match="has other spaces than"):
        ferry.RealtimeVectorEnv(["one", "other"], timeout=PATIENCE)


def test_gymnasium_makes_one(run_world: Any) -> None:
    run_world("endless")
    with gymnasium.make("ferry/Realtime-v0", address="world", pace=0.02) as env:
        env.reset()
        assert env.step(10)[4]["ferry"]["deadline_met"]


# ---- RecentActions ----


def test_recent_actions_stand_in_the_observation() -> None:
    env = ferry.RecentActions(Counting(), length=3)
    assert env.reset(seed=1)[0]["actions"].tolist() == [10, 10, 10]
    for action, expected in ((11, [10, 10, 11]), (12, [10, 11, 12]), (13, [11, 12, 13]), (14, [12, 13, 14])):
        observation = env.step(action)[0]
        assert observation["actions"].tolist() == expected
        assert observation in env.observation_space
    assert env.reset()[0]["actions"].tolist() == [10, 10, 10]


@pytest.mark.parametrize(
    ("space", "rest"),
    [
        (spaces.Box(1, 2, (2,)), [1, 1]),
        (spaces.Box(-3, -1, (1,)), [-1]),
        (spaces.MultiDiscrete([2, 3], start=[5, 6]), [5, 6]),
        (spaces.MultiBinary(2), [0, 0]),
    ],
)
def test_before_that_they_rest(space: spaces.Space[Any], rest: list[float]) -> None:
    env = Counting()
    env.action_space = space  # type: ignore[assignment]
    assert ferry.RecentActions(env, 2).reset()[0]["actions"].tolist() == [rest, rest]


def test_recent_actions_pass_gymnasiums_check() -> None:
    env = ferry.RecentActions(gymnasium.make("CartPole-v1").unwrapped, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a wrapper, and what it finds amiss in CartPole's own space
        check_env(env, skip_render_check=True)
    with pytest.raises(ValueError, match="1 or more"):
        ferry.RecentActions(Counting(), 0)
    with pytest.raises(ValueError, match="not one of"):
        ferry.RecentActions(Counting(), 1, initial=3)


# ---- For onlookers ----


@pytest.mark.skipif(sys.platform != "linux", reason="onlookers look into /proc")
def test_onlookers_count_frames(run_world: Any) -> None:
    from ferry import top

    run_world("endless")
    with realtime() as env:
        env.reset()
        (before,) = top.seen(0.3)
        steps(env, 20)
        (after,) = top.seen(0.3)
    assert after["turn_is_with"] == "nobody"
    assert after["turns"] >= before["turns"] + 20
    assert after["steps_per_second"] > 0
