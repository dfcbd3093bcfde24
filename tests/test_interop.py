"""One environment in every language: the scenario of tests/interop/README.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import ferry
import legs
from conftest import PATIENCE
from ferry import paths
from interop.python.drift import Drift

LEGS = sorted(path.parent for path in Path(__file__).parent.glob("interop/*/leg.json"))
BUILD_LIMIT_S = 240.0
# How long an engine may take until it plays.
START_LIMIT_S = 60.0

Action = dict[str, Any]


class Leg:
    """The scenario in one language, made and ready to start.

    Attributes:
        language: The name of its folder.
        command: Starts the program, which finds the address in FERRY_ADDRESS.
    """

    def __init__(self, here: Path, build: Path) -> None:
        said = json.loads((here / "leg.json").read_text())
        found = dict(zip(said["needs"], legs.need(*said["needs"]), strict=True))
        places = {**found, "here": here, "build": build, "root": legs.ROOT, "python": sys.executable}

        def filled(command: list[str]) -> list[str]:
            for name, place in places.items():
                command = [part.replace(f"{{{name}}}", str(place)) for part in command]
            return command

        self.language = here.name
        self.command = filled(said["run"])
        for each in said["build"]:
            done = subprocess.run(filled(each), cwd=here, timeout=BUILD_LIMIT_S, capture_output=True, text=True)
            assert done.returncode == 0, f"{each} failed:\n{done.stdout}{done.stderr}"

    @property
    def spoken(self) -> str:
        """What the program says its language is: that of the folder, up to a dash."""
        return self.language.partition("-")[0]


@pytest.fixture(scope="module", params=LEGS, ids=lambda here: here.name)
def leg(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Leg:
    return Leg(request.param, tmp_path_factory.mktemp(request.param.name))


@pytest.fixture
def play(leg: Leg) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts the program at an address, roles and all; it is killed after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def play(address: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [str(paths.launcher()), str(os.getpid()), *leg.command],
            env={**os.environ, "FERRY_ADDRESS": address},
            stdout=subprocess.DEVNULL,
        )
        running.append(process)
        return process

    yield play
    for process in running:
        process.kill()
        process.wait(PATIENCE)


Play = Callable[[str], "subprocess.Popen[bytes]"]
Adapter = type[ferry.ClientEnv] | type[ferry.ServerEnv]
PARADIGMS = pytest.mark.parametrize(
    ("adapter", "role"), [(ferry.ClientEnv, "serve"), (ferry.ServerEnv, "connect")], ids=["client", "server"]
)


def actions(count: int) -> list[Action]:
    """Multiples of 1/8, so that every language computes the same."""
    rng = np.random.default_rng(7)
    return [
        {"move": np.int64(rng.integers(-1, 2)), "push": rng.integers(-8, 9, 2).astype(np.float32) / 8}
        for _ in range(count)
    ]


def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Compares what two resets or two steps returned, but for the language."""
    (observation, *flags, info), (expected, *expected_flags, expected_info) = one, other
    assert observation.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(observation[key], value, strict=True)
    assert flags == expected_flags
    assert float(info["energy"]) == expected_info["energy"]


def compare(env: gymnasium.Env[Any, Any], seed: int, steps: int = 150) -> None:
    """Plays an environment and the one in this process side by side."""
    reference = Drift()
    same(env.reset(seed=seed), reference.reset(seed=seed))
    for action in actions(steps):
        answer = env.step(action)
        same(answer, reference.step(action))
        if answer[2] or answer[3]:
            same(env.reset(), reference.reset())


@PARADIGMS
def test_it_is_the_same_environment(leg: Leg, play: Play, adapter: Adapter, role: str) -> None:
    play(f"{role}:drift")
    with adapter("drift", timeout=START_LIMIT_S) as env:
        assert env.observation_space == Drift.observation_space
        assert env.action_space == Drift.action_space
        for seed in range(8):
            compare(env, seed)
        assert env.reset()[1]["language"] == leg.spoken
        check_env(env, skip_render_check=True)


def run_to_the_limit(env: gymnasium.Env[Any, Any]) -> list[tuple[bool, bool]]:
    still = {"move": np.int64(0), "push": np.zeros(2, np.float32)}
    env.reset(seed=0)
    return [env.step(still)[2:4] for _ in range(100)]


@PARADIGMS
def test_agents_come_and_go(play: Play, adapter: Adapter, role: str) -> None:
    process = play(f"{role}:drift")
    for seed in range(5):
        with adapter("drift", timeout=START_LIMIT_S) as env:
            compare(env, seed, steps=20)
            if seed == 0:
                assert run_to_the_limit(env) == [(False, False)] * 99 + [(False, True)]
            env.reset()
            env.step(actions(1)[0])  # and leaves in the middle
    assert process.poll() is None


@PARADIGMS
def test_a_reset_that_is_refused(play: Play, adapter: Adapter, role: str) -> None:
    play(f"{role}:drift")
    with adapter("drift", timeout=START_LIMIT_S) as env:
        env.reset(seed=1)
        with pytest.raises(ferry.BackendError, match="drift takes no options"):
            env.reset(options={"level": 3})
        compare(env, seed=2)


@PARADIGMS
def test_it_is_killed_and_comes_back(play: Play, adapter: Adapter, role: str) -> None:
    process = play(f"{role}:drift")
    with adapter("drift", timeout=START_LIMIT_S) as env:
        env.reset(seed=3)
        process.kill()
        process.wait(PATIENCE)
        with pytest.raises(ferry.PeerGoneError):
            env.step(actions(1)[0])
        play(f"{role}:drift")
        compare(env, seed=4)


def test_it_can_be_observed(play: Play) -> None:
    """What an observer is shown is what the agent was answered, by whatever language and processor."""
    play("serve:drift")
    with ferry.ClientEnv("drift", timeout=START_LIMIT_S) as env:
        _, info = env.reset(seed=9)
        with ferry.Observer("drift", timeout=START_LIMIT_S) as observer:
            assert observer.observation_space == Drift.observation_space
            assert observer.action_space == Drift.action_space
            assert observer.snapshot().info["language"] == info["language"]
            for number, action in enumerate(actions(3), start=2):
                answer = env.step(action)
                shot = observer.snapshot()
                assert shot.number == number
                np.testing.assert_equal(shot.action, action)
                same((shot.observation, shot.reward, shot.terminated, shot.truncated, shot.info), answer)


def test_it_is_launched(leg: Leg) -> None:
    """By an inherited connection, and again after a crash."""
    with ferry.launch(leg.command, on_crash="restart", start_timeout=START_LIMIT_S) as env:
        compare(env, seed=5, steps=30)
        env.process.kill()
        env.reset(seed=6)
        *_, terminated, truncated, _info = env.step(actions(1)[0])
        while truncated:  # the death may be noticed by the reset or by the step
            env.reset(seed=6)
            *_, terminated, truncated, _info = env.step(actions(1)[0])
        assert not terminated
        compare(env, seed=6, steps=30)
