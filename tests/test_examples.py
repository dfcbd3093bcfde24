"""Every example, run for real: those in C and C++ by their compiled programs, the Python ones by their scripts."""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import ferry
import legs

Env = gym.Env[Any, Any]
Array = np.ndarray[Any, Any]

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "examples" / "python"
TIMEOUT_S = 30.0
BALANCING = np.array([0.1, 0.5, 1.0, 1.0])
"""A linear policy that holds the pole up for 500 steps from every start."""


def program(name: str) -> str:
    """Returns the path of a compiled example."""
    path = ROOT / "build" / "examples" / name
    assert path.is_file(), f"{path} is missing; run `make build`"
    return str(path)


@contextmanager
def running(*command: str, limit_s: float = TIMEOUT_S) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the block; a watchdog kills it after a while, which ends any read from it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(limit_s, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def line_of(process: subprocess.Popen[str], *parts: str) -> str:
    """Reads lines until one holds all parts, and returns it."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        if all(part in line for part in parts):
            return line
        seen.append(line)
    raise AssertionError(f"{process.args!r} ended without a line with {parts}; it said {seen}")


def end(process: subprocess.Popen[str]) -> int:
    """Asks a process to end, as a supervisor does, and returns its exit code."""
    process.terminate()
    return process.wait(TIMEOUT_S)


# ---- pole.c and pole.cpp ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["c", "cpp"])
def own_pole(request: pytest.FixtureRequest) -> str:
    """The path of the pole in C, and of the one in C++."""
    if request.param == "cpp":
        legs.need("c++")
        return program("cpp/pole")
    return program("pole")


@contextmanager
def two_poles(own_pole: str) -> Iterator[tuple[Env, Env]]:
    """One of the project's own through Ferry, and Gymnasium's in process."""
    with ferry.launch([own_pole]) as pole, gym.make("CartPole-v1") as cartpole:
        yield pole, cartpole


def start_both(pole: Env, cartpole: Env, state: Array) -> tuple[Array, Array]:
    """Resets both to the same state, and returns their first observations."""
    observation, _ = pole.reset(options={"state": state.tolist()})
    cartpole.reset()
    cartpole.unwrapped.state = state.copy()  # type: ignore[attr-defined]
    return observation, state.astype(np.float32)


def test_pole_has_the_spaces_of_cartpole(own_pole: str) -> None:
    with two_poles(own_pole) as (pole, cartpole):
        assert pole.observation_space == cartpole.observation_space
        assert pole.action_space == cartpole.action_space
        assert pole.metadata["render_modes"] == []
        assert pole.metadata["render_fps"] == cartpole.metadata["render_fps"] == 50


def test_pole_moves_as_cartpole(own_pole: str) -> None:
    """A difference doubles every 0.2 s of an unstable pole; hence runs of 200 steps: the last bit of cos may differ."""
    rng = np.random.default_rng(7)
    num_steps = num_ends = 0
    with two_poles(own_pole) as (pole, cartpole):
        for run in range(100):
            state = rng.uniform(-1, 1, 4) * ((0.05, 0.05, 0.05, 0.05) if run % 2 else (2.4, 1.0, 0.2, 1.0))
            mine, theirs = start_both(pole, cartpole, state)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
            for _ in range(200):
                balance = rng.random() < 0.8
                action = int(BALANCING @ theirs > 0) if balance else int(rng.integers(2))
                mine, *my_outcome, my_info = pole.step(action)
                theirs, *their_outcome, _ = cartpole.step(action)
                np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
                assert mine.dtype == theirs.dtype
                assert my_outcome == their_outcome, f"run {run}, {theirs}"
                assert not set(my_info) - {"ferry"}
                num_steps += 1
                if my_outcome[1]:
                    num_ends += 1
                    break
    assert num_steps > 5000
    assert num_ends > 20


def test_pole_is_truncated_with_cartpole(own_pole: str) -> None:
    with two_poles(own_pole) as (pole, cartpole):
        observations = list(start_both(pole, cartpole, np.array([0.01, -0.02, 0.03, 0.04])))
        for step in range(1, 501):
            for i, env in enumerate((pole, cartpole)):
                observations[i], _, terminated, truncated, _ = env.step(int(BALANCING @ observations[i] > 0))
                assert (terminated, truncated) == (False, step == 500)


@pytest.mark.filterwarnings("ignore:.*You are calling 'step")
def test_pole_pays_after_the_end_what_cartpole_pays(own_pole: str) -> None:
    with two_poles(own_pole) as (pole, cartpole):
        start_both(pole, cartpole, np.array([2.39, 1.0, 0.0, 0.0]))
        outcomes = [(pole.step(1)[1:4], cartpole.step(1)[1:4]) for _ in range(4)]
    assert all(mine == theirs for mine, theirs in outcomes)
    assert [mine[0] for mine, _ in outcomes] == [1, 0, 0, 0]


def test_pole_draws_its_start_from_the_seed(own_pole: str) -> None:
    with ferry.launch([own_pole]) as pole:
        first, second = pole.reset(seed=3)[0], pole.reset()[0]
        assert not np.array_equal(first, second)
        assert np.array_equal(pole.reset(seed=3, options={})[0], first)
        assert np.array_equal(pole.reset()[0], second)
        starts = np.stack([pole.reset()[0] for _ in range(500)])
    assert np.abs(starts).max() <= np.float32(0.05)
    assert np.abs(starts.mean(axis=0)).max() < 0.01
    assert starts.min() < -0.045
    assert starts.max() > 0.045


@pytest.mark.parametrize(
    "options",
    [
        {"state": [1, 2, 3]},
        {"state": [1, 2, 3, 4, 5]},
        {"state": [1, 2, 3, "x"]},
        {"state": None},
        {"state": [0, 0, 0, 0], "more": 1},
        {"other": [0, 0, 0, 0]},
        {"state": [0, 0, 0, 0], "long": "x" * 1000},
    ],
)
def test_pole_refuses_malformed_options(own_pole: str, options: dict[str, object]) -> None:
    with ferry.launch([own_pole]) as pole:
        with pytest.raises(ferry.BackendError, match="the options must be"):
            pole.reset(options=options)
        observation, _ = pole.reset(options={"state": [0, 0, 0, 1]})
        assert observation.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pole_says_goodbye_when_asked_to_end(own_pole: str, number: int, runtime_dir: Path) -> None:
    with running(own_pole) as process, ferry.ClientEnv("pole", timeout=TIMEOUT_S) as pole:
        pole.reset()
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0
        assert not any(path.is_socket() for path in runtime_dir.iterdir())
        with pytest.raises(ferry.PeerGoneError):
            pole.step(0)


def test_pole_is_the_same_in_c_and_in_cpp() -> None:
    """Row for row, through falls and resets."""
    legs.need("c++")
    np.testing.assert_array_equal(
        batch("pole", "poles", "{num_envs}", rows=4), batch("cpp/pole", "poles", "{num_envs}", rows=4)
    )


# ---- realtime_pole.c -------------------------------------------------------------------------------------------------

GAINS = np.array([1.0, 2.2, 31.0, 8.0])
"""A linear policy that holds the pole up in real time."""


def hold(env: ferry.RealtimeEnv, seconds: float) -> tuple[float, list[dict[str, Any]], bool]:
    """Balances the pole for so long; returns the return, what Ferry told of each frame, and whether it fell."""
    observation, _ = env.reset(seed=1)
    told: list[dict[str, Any]] = []
    total, terminated, truncated = 0.0, False, False
    while not (terminated or truncated) and total < seconds - 1e-6:
        action = np.clip([GAINS @ observation], -10, 10).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation in env.observation_space
        total += reward
        told.append(info["ferry"])
    return total, told, terminated


def test_realtime_pole_stands_where_it_decides() -> None:
    """However late the agent is, no action comes late for the pole."""
    with running(program("realtime_pole"), "pole", "200", "1000") as pole:
        with ferry.RealtimeEnv("pole", timeout=TIMEOUT_S) as env:
            assert env.metadata["render_fps"] == 200
            total, told, fell = hold(env, 1.0)
            assert not fell
            assert total == pytest.approx(1.0)
            assert [each["frame"] for each in told] == list(range(1, 201))
            assert all(each["skipped"] == 0 for each in told)
            assert all(each["action_age_s"] > 0 for each in told)
        assert end(pole) == 0


def test_realtime_pole_falls_without_an_agent_that_acts() -> None:
    with running(program("realtime_pole"), "pole", "1000") as pole:
        with ferry.RealtimeEnv("pole", timeout=TIMEOUT_S) as env:
            for seed in (1, 2):
                env.reset(seed=seed)
                terminated, total, frames = False, 0.0, 0
                while not terminated:
                    _, reward, terminated, truncated, info = env.wait()
                    assert info["ferry"]["action_age_s"] is None
                    assert not truncated
                    total += reward
                    frames = info["ferry"]["frame"]
                assert total == pytest.approx((frames - 1) / 1000)  # the frame of the fall brings nothing
                assert 0.2 < total < 10
        assert end(pole) == 0


@pytest.mark.parametrize("arguments", [["x"], ["0"], ["200", "-1"], ["200", "1001"]])
def test_realtime_pole_refuses_what_is_no_rate(arguments: list[str]) -> None:
    command = [program("realtime_pole"), "pole", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2
    assert "usage: realtime_pole" in done.stderr


# ---- gameloop.c ------------------------------------------------------------------------------------------------------


def follow(observation: dict[str, Array]) -> int:
    """Moves the paddle under the ball."""
    distance = observation["ball"][0] - observation["paddle"][0]
    return 1 if abs(distance) < 0.02 else 2 if distance > 0 else 0


def play_round(game: Env, seed: int, steer: bool) -> list[tuple[object, ...]]:
    """Plays one round and returns its trajectory: observation, reward, terminated, truncated, score."""
    observation, info = game.reset(seed=seed)
    trajectory: list[tuple[object, ...]] = [(observation, 0.0, False, False, int(info["score"]))]
    while not (trajectory[-1][2] or trajectory[-1][3]):
        observation, reward, terminated, truncated, info = game.step(follow(observation) if steer else 0)
        assert game.observation_space.contains(observation)
        trajectory.append((observation, reward, terminated, truncated, int(info["score"])))
    return trajectory


def test_gameloop_is_a_game_of_skill() -> None:
    with ferry.launch([program("gameloop"), "--hz", "0"]) as game:
        assert isinstance(game.observation_space, gym.spaces.Dict)
        assert set(game.observation_space) == {"ball", "paddle", "lives"}
        skilled, idle = play_round(game, seed=1, steer=True), play_round(game, seed=1, steer=False)
    assert skilled[-1][2:4] == (False, True)
    assert len(skilled) == 3601
    assert idle[-1][2:4] == (True, False)
    for trajectory in (skilled, idle):
        rewards = [float(row[1]) for row in trajectory]  # type: ignore[arg-type]
        lives = 3 - sum(reward < 0 for reward in rewards)
        assert trajectory[-1][4] == sum(reward > 0 for reward in rewards)
        assert trajectory[-1][0]["lives"] == lives  # type: ignore[index]
    assert skilled[-1][4] > 40  # type: ignore[operator]


def test_gameloop_repeats_itself_from_a_seed() -> None:
    with ferry.launch([program("gameloop"), "--hz", "0"]) as game:
        rounds = [play_round(game, seed, steer=True) for seed in (5, 6, 5)]
    balls = [[row[0]["ball"].tolist() for row in trajectory] for trajectory in rounds]  # type: ignore[index]
    assert balls[0] == balls[2]
    assert balls[0] != balls[1]


def test_gameloop_goes_on_when_its_agent_dies_in_mid_reset() -> None:
    """The fade lasts a second at 5 Hz; the agent dies at its beginning."""
    with running(program("gameloop"), "--hz", "5", "game") as game:
        agent = "import ferry; ferry.ClientEnv('game').reset(); raise SystemExit('the reset was answered')"
        with running(sys.executable, "-c", agent) as first:
            line_of(game, f"pid {first.pid}", "plays")
            first.kill()
            line_of(game, f"pid {first.pid}", "left in mid-reset")
        with ferry.ClientEnv("game", timeout=TIMEOUT_S) as second:
            _, info = second.reset(seed=1)
            line_of(game, f"pid {os.getpid()}", "plays")
            assert int(info["score"]) == 0
            assert second.step(1)[1:4] == (0.0, False, False)
        line_of(game, f"pid {os.getpid()}", "left: ")
        assert end(game) == 0


def test_gameloop_goes_on_when_agents_die_in_mid_tick() -> None:
    agent = (
        "import ferry\n"
        "env = ferry.ClientEnv('game')\n"
        "env.reset()\n"
        "print('steps', flush=True)\n"
        "while True:\n"
        "    _, _, terminated, truncated, _ = env.step(1)\n"
        "    if terminated or truncated: env.reset()\n"
    )
    with running(program("gameloop"), "--hz", "0", "game") as game:
        for _ in range(3):
            with running(sys.executable, "-c", agent) as doomed:
                line_of(doomed, "steps")
                doomed.kill()
                line_of(game, f"pid {doomed.pid}", "left")
        with ferry.ClientEnv("game", timeout=TIMEOUT_S) as env:
            env.reset()
            env.step(1)
        assert end(game) == 0


def test_gameloop_ends_after_its_ticks() -> None:
    with running(program("gameloop"), "--hz", "200", "--ticks", "40") as game:
        line_of(game, "ended after 40 ticks")
        assert game.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("name", ["gameloop", "pixel"])
@pytest.mark.parametrize(
    "arguments", [["--unknown", "1"], ["--hz", "x", "--height", "x"], ["--height", "0", "--hz", "-1"]]
)
def test_programs_refuse_arguments_that_they_do_not_know(name: str, arguments: list[str]) -> None:
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2
    assert name in done.stderr


def batch(*command: str, rows: int) -> Array:
    """Observations and rewards of a run of many rows with seeds and random actions."""
    with ferry.launch([program(command[0]), *command[1:]], envs_per_engine=rows, timeout=TIMEOUT_S) as envs:
        seen = [envs.reset(seed=5)[0]]
        chance = np.random.default_rng(0)
        for _ in range(700):
            observations, rewards, *_ = envs.step(chance.integers(0, 2, rows))
            seen.append(np.concatenate([observations, rewards[:, None]], axis=1))
        return np.stack(seen[1:])


def test_rows_of_the_pole_are_poles() -> None:
    together = batch("pole", "poles", "{num_envs}", rows=3)
    with ferry.launch([program("pole")], timeout=TIMEOUT_S) as alone:
        chance = np.random.default_rng(0)
        observation, over = alone.reset(seed=6)[0], False  # row 1's
        for expected in together[:, 1]:
            action = chance.integers(0, 2, 3)[1]
            if over:
                observation, reward, over = alone.reset()[0], 0.0, False
            else:
                observation, reward, terminated, truncated, _ = alone.step(action)
                over = terminated or truncated
            np.testing.assert_array_equal(
                np.append(observation, reward).astype(np.float32), expected.astype(np.float32)
            )


# ---- pendulums.c -----------------------------------------------------------------------------------------------------


def test_pendulums_are_the_same_on_any_number_of_threads() -> None:
    runs = [batch("pendulums", "p", "{num_envs}", threads, rows=6) for threads in ("1", "4")]
    np.testing.assert_array_equal(runs[0], runs[1])
    height = runs[0][..., 6]
    assert (np.abs(height) <= 2).all()
    assert np.isfinite(runs[0]).all()
    assert np.ptp(height) > 0.5


def test_pendulums_keep_their_energy_when_nobody_pushes() -> None:
    with ferry.launch([program("pendulums"), "p", "{num_envs}", "2"], envs_per_engine=4, timeout=TIMEOUT_S) as envs:
        envs.reset(seed=0)
        energies = []
        for action in [1] * 30 + [0] * 400:
            state = envs.step([action] * 4)[0].astype(float).T
            (sin_a, sin_b), (cos_a, cos_b), (u, v) = state[:2], state[2:4], state[4:]
            motion = u**2 + 0.5 * v**2 + u * v * (cos_a * cos_b + sin_a * sin_b)
            energies.append(motion - 9.81 * (2 * cos_a + cos_b))
        calm = np.array(energies[30:])
        assert (np.abs(calm - calm[0]) < 0.05).all()
        assert np.ptp(energies) > 0.5


# ---- pixel.c ---------------------------------------------------------------------------------------------------------


def check_image(image: Array, step: int) -> None:
    """Checks that one pixel is lit, and that it is the step's."""
    height, width, channels = image.shape
    pixel = step * 7919 % (height * width)
    lit = np.flatnonzero(image)
    assert lit.tolist() == list(range(pixel * channels, (pixel + 1) * channels))
    assert (image.ravel()[lit] == 255).all()


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize(("shape", "num_steps"), [((84, 84, 4), 300), ((5, 3, 1), 40), ((1080, 1920, 3), 12)])
def test_pixel_shows_the_pixel_of_the_step(shape: tuple[int, int, int], num_steps: int, copy: bool) -> None:
    height, width, channels = map(str, shape)
    command = [program("pixel"), "--height", height, "--width", width, "--channels", channels, "--episode", "10"]
    with running(*command) as process:
        for _ in range(2):
            with ferry.ClientEnv("pixel", timeout=TIMEOUT_S, copy=copy) as env:
                assert env.observation_space == gym.spaces.Box(0, 255, shape, np.uint8)
                observation, _ = env.reset()
                check_image(observation, 0)
                step = 0
                for _ in range(num_steps):
                    before, step_before = observation, step
                    if step == 10:
                        step = 0
                        observation, _ = env.reset()
                    else:
                        step += 1
                        observation, reward, terminated, truncated, _ = env.step(1)
                        assert (reward, terminated, truncated) == (step, False, step == 10)
                    check_image(observation, step)
                    check_image(before, step_before)
        assert end(process) == 0


# ---- examples/python -------------------------------------------------------------------------------------------------


def script(name: str, *arguments: str) -> tuple[str, ...]:
    """Returns the command that runs an example."""
    return (sys.executable, str(SCRIPTS / f"{name}.py"), *arguments)


def played_return(process: subprocess.Popen[str]) -> float:
    """Returns what an agent's script says that it reached, once it has ended well."""
    value = float(line_of(process, "return ").split()[1])
    assert process.wait(TIMEOUT_S) == 0
    return value


def test_client_plays_in_the_c_pole() -> None:
    with running(program("pole")) as pole:
        with running(*script("client")) as client:
            assert 8 <= played_return(client) <= 500
        assert end(pole) == 0


def test_client_plays_in_server_backend_one_agent_after_another() -> None:
    with running(*script("server_backend", "MountainCarContinuous-v0", "hill")) as backend:
        for _ in range(2):
            with running(*script("client", "hill")) as client:
                assert math.isfinite(played_return(client))
        end(backend)


@pytest.mark.parametrize("agent_first", [True, False])
def test_client_backend_goes_to_server_env_and_ends_with_it(agent_first: bool) -> None:
    commands = [script("server_env"), script("client_backend")]
    if not agent_first:
        commands.reverse()
    with running(*commands[0]) as first, running(*commands[1]) as second:
        agent, backend = (first, second) if agent_first else (second, first)
        assert 8 <= played_return(agent) <= 500
        assert backend.wait(TIMEOUT_S) == 0


def test_realtime_agent_balances_the_c_pole() -> None:
    """A pole that decides stands, whatever else the machine has to do."""
    with running(program("realtime_pole"), "pole", "200", "1000") as pole:
        with running(*script("realtime_agent", "pole", "1")) as agent:
            assert line_of(agent, "return ") == "return 1 in 200 frames, 0 of them passed over\n"
            for name in ("observations", "actions"):
                words = line_of(agent, f"{name} were").split()
                assert 0 <= float(words[2]) <= float(words[-1])
            assert agent.wait(TIMEOUT_S) == 0
        assert end(pole) == 0


def test_realtime_agent_plays_in_a_pole_that_waits_for_nobody() -> None:
    with running(program("realtime_pole")) as pole:
        with running(*script("realtime_agent", "pole", "0.5")) as agent:
            assert 0 < played_return(agent) < 10  # it may have fallen, where the machine has other things to do
        assert end(pole) == 0


def test_sb3_ppo_compiles() -> None:
    path = SCRIPTS / "sb3_ppo.py"
    compile(path.read_text(), str(path), "exec")


@pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="needs stable-baselines3")
def test_sb3_ppo_learns() -> None:
    """One rollout instead of ten: what is tested is that the two get along."""
    source = (SCRIPTS / "sb3_ppo.py").read_text()
    assert "20_000" in source
    with running(program("pole"), limit_s=100):
        command = [sys.executable, "-c", source.replace("20_000", "2_000")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "total_timesteps" in done.stdout
