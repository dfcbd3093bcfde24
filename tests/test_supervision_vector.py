"""Many engines, some of which crash, and a batch that goes on."""

from __future__ import annotations

import gc
import os
import random
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import ferry
from conftest import PATIENCE, children, is_alive
from ferry import paths

SCRIPTED = "sample_envs:Scripted"
POLES = [str(paths.pole()), "poles", "{num_envs}"]


def crash(envs: ferry.LaunchedVectorEnv, number: int) -> None:
    envs.processes[number].kill()
    envs.processes[number].wait(PATIENCE)


def test_a_crash_is_raised_unless_told_otherwise() -> None:
    with ferry.launch(POLES, num_engines=3, envs_per_engine=2, timeout=PATIENCE) as envs:
        envs.reset(seed=0)
        crash(envs, 1)
        with pytest.raises(ferry.PeerGoneError, match=r"backend 1, rows 2 to 3: .*killed by SIGKILL"):
            envs.step(envs.action_space.sample())


def test_the_rows_of_a_lost_engine_end_truncated_and_go_on() -> None:
    with ferry.launch(POLES, num_engines=3, envs_per_engine=2, on_crash="restart", timeout=PATIENCE) as envs:
        envs.reset(seed=0)
        last = envs.step([0] * 6)[0]
        crash(envs, 1)
        observations, rewards, terminations, truncations, infos = envs.step([1] * 6)
        np.testing.assert_array_equal(observations[2:4], last[2:4])
        assert (observations[[0, 1, 4, 5]] != last[[0, 1, 4, 5]]).any(axis=1).all()
        np.testing.assert_array_equal(rewards, [1, 1, 0, 0, 1, 1])
        np.testing.assert_array_equal(truncations, [False, False, True, True, False, False])
        assert not terminations.any()
        np.testing.assert_array_equal(infos["_ferry"], truncations)
        assert "was killed by SIGKILL" in infos["ferry"]["crash"][2]
        np.testing.assert_array_equal(infos["ferry"]["restarts"], [0, 0, 1, 1, 0, 0])
        observations, rewards, _, truncations, infos = envs.step([1] * 6)
        np.testing.assert_array_equal(rewards, [1, 1, 0, 0, 1, 1])
        assert (np.abs(observations[2:4]) <= 0.05).all()
        assert not truncations.any()
        assert infos == {}
        np.testing.assert_array_equal(envs.step([0] * 6)[1], np.ones(6))


def test_same_step_has_the_end_and_the_next_start_at_once() -> None:
    mode = "same_step"
    with ferry.launch(
        POLES, num_engines=2, envs_per_engine=2, on_crash="restart", autoreset_mode=mode, timeout=PATIENCE
    ) as envs:
        envs.reset(seed=0)
        last = envs.step([0] * 4)[0]
        crash(envs, 0)
        observations, _, _, truncations, infos = envs.step([0] * 4)
        np.testing.assert_array_equal(truncations, [True, True, False, False])
        np.testing.assert_array_equal(np.stack(infos["final_obs"][:2]), last[:2])
        assert "SIGKILL" in infos["final_info"]["ferry"]["crash"][1]
        assert (np.abs(observations[:2]) <= 0.05).all()
        np.testing.assert_array_equal(envs.step([0] * 4)[1], np.ones(4))


def test_disabled_waits_for_the_callers_reset() -> None:
    mode = AutoresetMode.DISABLED
    with ferry.launch(
        POLES, num_engines=2, envs_per_engine=2, on_crash="restart", autoreset_mode=mode, timeout=PATIENCE
    ) as envs:
        envs.reset(seed=0)
        crash(envs, 1)
        truncations = envs.step([0] * 4)[3]
        np.testing.assert_array_equal(truncations, [False, False, True, True])
        with pytest.raises(gymnasium.error.ResetNeeded):
            envs.step([0] * 4)
        observations, _ = envs.reset(options={"reset_mask": truncations})
        assert (np.abs(observations[2:]) <= 0.05).all()
        np.testing.assert_array_equal(envs.step([0] * 4)[1], np.ones(4))


def test_a_crash_before_a_reset_is_not_noticed() -> None:
    with ferry.launch(SCRIPTED, num_engines=2, on_crash="restart", timeout=PATIENCE) as envs:
        envs.reset(seed=1)
        crash(envs, 0)
        _, infos = envs.reset(seed=[5, 6])
        np.testing.assert_array_equal(infos["seed"], [5, 6])
        np.testing.assert_array_equal(infos["pid"], [process.pid for process in envs.processes])


def test_truncate_replaces_nothing() -> None:
    with ferry.launch(POLES, num_engines=2, on_crash="truncate", timeout=PATIENCE) as envs:
        envs.reset(seed=0)
        crash(envs, 0)
        np.testing.assert_array_equal(envs.step([0, 0])[3], [True, False])
        with pytest.raises(ferry.PeerGoneError, match="on_crash='restart' would replace it"):
            envs.step([0, 0])


def test_views_of_a_lost_engine_are_copied() -> None:
    options: dict[str, Any] = {"copy": False, "on_crash": "restart", "timeout": PATIENCE}
    with ferry.launch(POLES, num_engines=1, envs_per_engine=3, **options) as envs:
        envs.reset(seed=0)
        last = envs.step([0] * 3)[0].copy()
        crash(envs, 0)
        observations = envs.step([0] * 3)[0]
        envs.step([0] * 3)
        envs.step([0] * 3)
        np.testing.assert_array_equal(observations, last)


def test_many_kills_at_random_steps_leave_nothing() -> None:
    chance = random.Random(0)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    envs = ferry.launch(POLES, num_engines=4, envs_per_engine=2, on_crash="restart", max_restarts=100, timeout=PATIENCE)
    envs.reset(seed=0)
    kills = told = 0
    seen = {process.pid for process in envs.processes}
    for _ in range(2000):
        if chance.random() < 0.02:
            crash(envs, chance.randrange(4))
            kills += 1
        *_, truncations, infos = envs.step([chance.randrange(2) for _ in range(8)])
        told += int(infos["_ferry"].sum()) if "ferry" in infos else 0
        if "ferry" in infos:
            assert truncations[infos["_ferry"]].all()
        seen |= {process.pid for process in envs.processes}
    envs.close()
    assert kills > 20
    assert told == 2 * kills
    assert not any(is_alive(pid) for pid in seen)
    assert not children()
    assert len(os.listdir("/proc/self/fd")) == before


def test_functions_and_ids_are_launched_many_times() -> None:
    with ferry.launch(lambda: gymnasium.make("CartPole-v1"), num_engines=2, envs_per_engine=2, timeout=PATIENCE) as own:
        assert own.num_envs == 4
        ours = own.reset(seed=7)[0]
    with ferry.launch("CartPole-v1", envs_per_engine=4, timeout=PATIENCE) as envs:
        assert len(envs.processes) == 1
        np.testing.assert_array_equal(envs.reset(seed=7)[0], ours)


def test_wrong_arguments_are_explained() -> None:
    with pytest.raises(ValueError, match="both are 1 or more"):
        ferry.launch(POLES, num_engines=0)
    with pytest.raises(ferry.LayoutMismatchError, match=r"envs_per_engine is 3, and .* has 1 rows"):
        ferry.launch([str(paths.pole())], num_engines=2, envs_per_engine=3, timeout=PATIENCE)
    with pytest.raises(ferry.PeerGoneError, match=r"exited with code [34] before it spoke Ferry"):
        ferry.launch(
            [sys.executable, "-c", "import sys; sys.exit(3 + int('{index}'))"], num_engines=2, timeout=PATIENCE
        )
    assert not children()


def test_engines_that_will_not_go_are_made_to_together() -> None:
    # Two do not heed SIGTERM, and one is stopped.
    code = (
        "import signal, sys, ferry\n"
        "if int(sys.argv[1]) < 2: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "backend = ferry.ServerBackend('CartPole-v1')\n"
        "while True: backend._turn()\n"
    )
    envs = ferry.launch([sys.executable, "-c", code, "{index}"], num_engines=8, timeout=PATIENCE)
    processes = envs.processes
    envs.reset(seed=0)
    processes[2].send_signal(19)
    envs.close()
    assert all(process.returncode is not None for process in processes)
    assert not children()
