"""The addon in engines/godot, played in the engine itself: its example, and the scenes in tests/engines/godot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import ferry
import legs
from conftest import PATIENCE, Start, wait_until
from ferry import paths
from same import same

ENGINE = legs.ROOT / "engines" / "godot"
SCENES = Path(__file__).parent / "godot"
BUILD_LIMIT_S = 120.0

HEADLESS = ["--headless", "--fixed-fps", "60", "--disable-render-loop"]
ON_SCREEN = ["--rendering-driver", "opengl3", "--audio-driver", "Dummy"]


def made(source: Path, folder: Path) -> Path:
    """A copy of a project, with the addon in it."""
    project = folder / source.name
    shutil.copytree(source, project, ignore=shutil.ignore_patterns("addons", ".godot"))
    done = subprocess.run(
        [str(ENGINE / "build.sh"), str(project)], timeout=BUILD_LIMIT_S, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def godot() -> str:
    return legs.need("godot")[0]


@pytest.fixture(scope="module")
def example(godot: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that starts the example."""
    return [godot, "--path", str(made(ENGINE / "example", tmp_path_factory.mktemp("godot"))), *HEADLESS]


Play = Callable[..., ferry.LaunchedEnv]


@pytest.fixture(scope="module")
def project(godot: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(SCENES, tmp_path_factory.mktemp("godot"))


@pytest.fixture
def play(godot: str, project: Path) -> Iterator[Play]:
    """Launches one of the scenes, with variables for it."""
    with contextlib.ExitStack() as stack:

        def play(scene: str, *arguments: str, on_crash: str = "raise", **variables: str) -> ferry.LaunchedEnv:
            command = [godot, "--path", str(project), *(arguments or HEADLESS), f"res://{scene}.tscn"]
            env = ferry.launch(command, timeout=PATIENCE, on_crash=on_crash, env=variables)
            assert isinstance(env, ferry.LaunchedEnv)
            return stack.enter_context(env)

        yield play


@pytest.fixture
def screen() -> Iterator[dict[str, str]]:
    """A screen that nobody sees, and the variables that lead there."""
    (xvfb,) = legs.need("Xvfb")
    reads, writes = os.pipe()
    command = [xvfb, "-displayfd", str(writes), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    server = subprocess.Popen(
        [str(paths.launcher()), str(os.getpid()), *command], pass_fds=[writes], stderr=subprocess.DEVNULL
    )
    os.close(writes)
    with os.fdopen(reads) as number:
        display = number.readline().strip()
    assert display, "Xvfb has not started"
    yield {"DISPLAY": f":{display}", "LIBGL_ALWAYS_SOFTWARE": "1"}
    server.terminate()
    server.wait(PATIENCE)


Trajectory = list[tuple[Any, ...]]


def episode(env: gymnasium.Env[Any, Any], seed: int, steps: int = 120) -> Trajectory:
    rng = np.random.default_rng(seed)
    trajectory: Trajectory = [env.reset(seed=seed)]
    for _ in range(steps):
        trajectory.append(env.step(rng.uniform(-1, 1, 1).astype(np.float32)))
        if trajectory[-1][2] or trajectory[-1][3]:
            break
    return trajectory


# ---- The example ----


def test_the_example_keeps_gymnasiums_rules(example: list[str]) -> None:
    with ferry.launch(example, timeout=PATIENCE) as env:
        assert env.observation_space == spaces.Box(
            np.array([-2, -1, -1], np.float32), np.array([2, 1, 1], np.float32), dtype=np.float32
        )
        assert env.action_space == spaces.Box(-1, 1, (1,), np.float32)
        check_env(env, skip_render_check=True)


def test_same_seed_same_episode(example: list[str]) -> None:
    """Bit for bit: after other episodes, and in another process."""
    with ferry.launch(example, timeout=PATIENCE) as env, ferry.launch(example, timeout=PATIENCE) as other:
        first = episode(env, seed=3)
        assert not same(episode(env, seed=4), first)
        assert same(episode(env, seed=3), first)
        episode(other, seed=5, steps=7)
        assert same(episode(other, seed=3), first)


def test_the_ball_rolls_where_the_beam_leans(example: list[str]) -> None:
    with ferry.launch(example, timeout=PATIENCE) as env:
        for direction in (-1.0, 1.0):
            before, _ = env.reset(seed=0)
            ended, steps = False, 0
            while not ended:
                observation, _, ended, _, _ = env.step(np.array([direction], np.float32))
                steps += 1
            assert steps < 300
            assert np.sign(observation[0] - before[0]) == direction
            assert observation[2] == direction


def test_the_library_truncates(example: list[str]) -> None:
    with ferry.launch(example, timeout=PATIENCE) as env:
        observation, _ = env.reset(seed=0)
        steps, ended = 0, False
        while not ended:
            turn = np.clip(-4 * (1.2 * observation[0] + 2 * observation[1] + observation[2]), -1, 1)
            observation, _, terminated, ended, _ = env.step(np.array([turn], np.float32))
            assert not terminated
            steps += 1
        assert steps == 500


def test_an_agent_learns(godot: str) -> None:
    """In a few generations; the first is as good as chance."""
    project = ENGINE / "example"
    subprocess.run([str(ENGINE / "build.sh"), str(project)], check=True, timeout=BUILD_LIMIT_S)
    done = subprocess.run(
        [sys.executable, str(ENGINE / "learn.py"), "--enough", "350"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "GODOT": godot},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    means = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("generation")]
    assert means[0] < 250
    assert means[-1] >= 350


def test_the_readme_leads_to_a_game(godot: str, tmp_path: Path) -> None:
    """Its files and its program, as they stand there."""
    scene, project, script, program, *_ = re.findall(r"```\w+\n(.*?)```", (ENGINE / "README.md").read_text(), re.DOTALL)
    for name, text in {"chase.tscn": scene, "project.godot": project, "agent.gd": script}.items():
        (tmp_path / name).write_text(text)
    subprocess.run([str(ENGINE / "build.sh"), str(tmp_path)], check=True, timeout=BUILD_LIMIT_S)
    command = [sys.executable, "-c", program.replace('"godot"', repr(godot))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "reached the flag in 20 of 20 episodes", done.stdout + done.stderr


def test_the_benchmark_measures_what_it_says(godot: str) -> None:
    """All of its contenders come to the same place, or it fails."""
    program = legs.ROOT / "bench" / "engines" / "godot.py"
    done = subprocess.run(
        [sys.executable, str(program), "--rounds", "2", "--no-peers", "--json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "GODOT": godot},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["us"].keys() == {"own", "ferry", "ferry_spin", "own_free", "ferry_free"}
    assert all(us > 0 for us in found["us"].values())
    assert found["godot_rl_skipped"] == "not asked for"


# ---- Spaces and values ----


def described() -> spaces.Dict:
    inside = spaces.Dict({"a/b": spaces.Discrete(2), "": spaces.Tuple([spaces.Discrete(3), spaces.Box(0, 1, (1,))])})
    return spaces.Dict(
        {
            "box": spaces.Box(-1, 1, (2, 3)),
            "double": spaces.Box(-np.inf, np.inf, (), np.float64),
            "bytes": spaces.Box(0, 255, (4,), np.uint8),
            "ints": spaces.Box(np.array([-5, 0], np.int32), np.array([5, 9], np.int32), dtype=np.int32),
            "long": spaces.Box(-100, 100, (), np.int64),
            "choice": spaces.Discrete(4, start=-2),
            "buttons": spaces.MultiBinary(5),
            "choices": spaces.MultiDiscrete([2, 3, 4]),
            "inside": inside,
        }
    )


def test_every_kind_of_space_goes_there_and_back(play: Play) -> None:
    env = play("spaces")
    assert env.action_space == env.observation_space == described()
    env.reset(seed=0)
    env.action_space.seed(11)
    for _ in range(50):
        action = env.action_space.sample()
        observation = env.step(action)[0]
        for name in ("double", "long"):
            action[name] = np.asarray(action[name])  # an observation without dimensions is an array all the same
        assert same(observation, action)


def test_values_of_other_types_are_converted(play: Play) -> None:
    observation, info = play("spaces").reset(seed=0)
    expected = {
        "box": np.array([[0, 0.5, 1], [-1, 1, 0.25]], np.float32),
        "double": np.array(0.1),
        "bytes": np.array([1, 2, 3, 255], np.uint8),
        "ints": np.array([5, 9], np.int32),
        "long": np.array(100),
        "choice": np.int64(-2),
        "buttons": np.array([1, 0, 1, 0, 1], np.int8),
        "choices": np.array([1, 2, 3]),
        "inside": {"a/b": np.int64(1), "": (np.int64(2), np.array([0.5], np.float32))},
    }
    assert same(observation, expected)
    assert info == {}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"choice": 2}, '"choice" is 2, not one of -2 to 1'),
        ({"choice": 0.5}, '"choice" is 0.5, no whole number'),
        ({"box": [1, 2]}, '"box" has 2 numbers, not 6'),
        ({"box": "text"}, '"box" is a String, not 6 numbers'),
        ({"bytes": [1, 2, 3, 256]}, '"bytes" has 256.* at place 3, which is no uint8'),
        ({"ints": [1, "x"]}, '"ints" has x at place 1, which is no int32'),
        ({"buttons": [0, 1, 2, 0, 0]}, '"buttons" has 2.* at place 2, which is no 0 or 1'),
        ({"long": [1]}, '"long" is .*, no int64'),
        ({"more": 1}, "it has 10 entries, not the 9 described"),
        ({"box": None, "bax": 1}, 'there is no "box" in it'),
        ({"inside": [1]}, "it is a Array, not the Dictionary that was described"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(play: Play, options: dict[str, Any], complaint: str) -> None:
    env = play("spaces")
    with pytest.raises(ferry.BackendError, match=f"_get_observation: {complaint}"):
        env.reset(options=options)
    assert env.reset()[0]["long"] == 100


def test_a_node_without_a_script_says_so(play: Play) -> None:
    with pytest.raises(ferry.PeerGoneError, match='the node "Mute" cannot be played: its script must have'):
        play("mute")


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_a_space_that_holds_itself(play: Play, kind: str) -> None:
    with pytest.raises(ferry.PeerGoneError, match=r"_get_observation_space: nests too deep: does it hold itself\?"):
        play("wrong", WRONG=kind)


# ---- Ticks ----


@pytest.mark.parametrize("repeat", [1, 4])
def test_a_step_takes_so_many_ticks(play: Play, repeat: int) -> None:
    """Its reward is the sum over them, and it is cut short where the episode ends: at tick 10."""
    env = play("counter", ACTION_REPEAT=str(repeat))
    for _ in range(2):
        assert env.reset()[0].tolist() == [0, 0]
        for end in [*range(repeat, 10, repeat), 10]:
            observation, reward, terminated, truncated, _ = env.step(0)
            assert observation.tolist() == [end, end]
            assert reward == (end - 1) % repeat + 1
            assert (terminated, truncated) == (end == 10, False)


def test_the_inspectors_step_limit(play: Play) -> None:
    env = play("counter", MAX_EPISODE_STEPS="3")
    env.reset()
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


def test_the_world_stands_while_the_agent_thinks(play: Play) -> None:
    """Longer than a tick waits."""
    env = play("counter")
    env.reset()
    for tick in range(1, 4):
        time.sleep(0.15)
        assert env.step(0)[0].tolist() == [tick, tick]


def test_the_world_stands_on_a_screen_too(screen: dict[str, str], play: Play) -> None:
    env = play("counter", *ON_SCREEN, **screen)
    env.reset()
    for tick in range(1, 9):
        time.sleep(0.03)
        assert env.step(0)[0].tolist() == [tick, tick]


def test_a_reset_may_take_many_frames(play: Play) -> None:
    env = play("counter")
    _, info = env.reset(seed=1)
    before = info["all_ticks"]
    observation, info = env.reset(seed=2, options={"frames": 30})
    assert observation.tolist() == [0, 0]
    assert info["all_ticks"] - before >= 29
    assert info["seeds"] == [1, 2]
    assert info["episodes"] == 1  # it is told after the answer: this one is not there yet
    assert env.step(0)[0].tolist() == [1, 1]


def test_a_reset_may_fail_after_a_while(play: Play) -> None:
    env = play("counter")
    for frames in (0, 3):
        with pytest.raises(ferry.BackendError, match="no such level"):
            env.reset(options={"frames": frames, "fail": "no such level"})
        assert env.reset()[0].tolist() == [0, 0]


def test_a_failure_without_a_text(play: Play) -> None:
    with pytest.raises(ferry.BackendError, match=r"the script called fail\(\) and did not say why"):
        play("counter").reset(options={"fail": ""})


@pytest.mark.parametrize("character", ["ä", "€", "😀"])
def test_a_long_text_ends_in_a_whole_character(play: Play, character: str) -> None:
    size = len(character.encode())
    counter, spaces = play("counter"), play("spaces")
    for start in range(4):  # wherever the room ends in it
        said = "x" * start + character * ((1023 - start) // size)
        with pytest.raises(ferry.BackendError) as failed:
            counter.reset(options={"fail": "x" * start + character * 2000})
        assert said in str(failed.value)
        assert "\ufffd" not in str(failed.value)
        given = "x" * start + character * ((255 - start) // size)
        with pytest.raises(ferry.BackendError, match=f'"choice" is {given}, no whole number'):
            spaces.reset(options={"choice": "x" * start + character * 2000})


def test_a_long_text_about_a_space_ends_in_a_whole_character(play: Play) -> None:
    with pytest.raises(ferry.PeerGoneError, match=r'_get_observation_space: "€{299}\n'):
        play("wrong", WRONG="text")


# ---- Coming and going ----


Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(godot: str, project: Path, start: Start) -> Run:
    """Starts one of the scenes as a player would, with variables for it."""

    def run(scene: str, **variables: str) -> subprocess.Popen[str]:
        code = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
        command = [godot, "--path", str(project), *HEADLESS, f"res://{scene}.tscn"]
        env = {**os.environ, **variables}
        return start("-c", code, *command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


@pytest.fixture
def served(run: Run) -> subprocess.Popen[str]:
    """The counter, at the address "counter"."""
    return run("counter", FERRY_ADDRESS="serve:counter")


def test_the_game_goes_on_and_takes_the_next(served: subprocess.Popen[str]) -> None:
    ticks = -1
    for agent in range(1, 4):
        with ferry.ClientEnv("counter", timeout=PATIENCE) as env:
            _, info = env.reset(seed=agent)
            assert (info["joined"], info["left"]) == (agent, agent - 1)
            assert info["seeds"] == list(range(1, agent + 1))
            assert info["all_ticks"] > ticks  # nobody has stepped it since
            ticks = env.step(0)[4]["all_ticks"]  # and leaves in mid-episode
        time.sleep(0.1)
    assert served.poll() is None


def test_an_agent_may_leave_in_mid_reset(served: subprocess.Popen[str]) -> None:
    """The script's own reset comes to its end before the next one begins."""
    with ferry.ClientEnv("counter", timeout=PATIENCE) as env:
        env.reset(seed=1)
    impatient = ferry.ClientEnv("counter", timeout=0.2)
    with pytest.raises(ferry.FerryTimeoutError):
        impatient.reset(seed=2, options={"frames": 100_000, "fail": "not for the next"})
    impatient.close()
    with ferry.ClientEnv("counter", timeout=PATIENCE) as env:
        observation, info = env.reset(seed=3)
        assert observation.tolist() == [0, 0]
        assert info["seeds"] == [1, 2, 3]
        assert env.step(0)[0].tolist() == [1, 1]
    assert served.poll() is None


def test_a_node_that_is_disabled_leaves_and_comes_back(served: subprocess.Popen[str]) -> None:
    """In mid-turn, from its own script."""
    with ferry.ClientEnv("counter", timeout=PATIENCE) as env:
        for _ in range(3):
            with pytest.raises(ferry.PeerGoneError):
                env.reset(options={"rest": 5})
            assert env.reset()[0].tolist() == [0, 0]
    assert served.poll() is None


def test_two_nodes_share_a_world(run: Run) -> None:
    """It stands while both agents think, and goes on by each step, for as long as anybody plays."""
    game = run("pair")
    with ferry.ClientEnv("first", timeout=PATIENCE) as first:
        ticks, _ = first.reset()[0]
        with ferry.ClientEnv("second", timeout=PATIENCE) as second:
            assert second.reset()[0] == (ticks, 0)
            for step in range(1, 6):
                time.sleep(0.15 if step == 3 else 0)  # longer than a tick waits
                assert first.step(0)[0] == (ticks + 2 * step - 1, step)
                assert second.step(0)[0] == (ticks + 2 * step, step)
            assert second.step(0)[0] == (ticks + 11, 6)
        assert first.step(0)[0] == (ticks + 12, 6)
    time.sleep(0.1)
    with ferry.ClientEnv("second", timeout=PATIENCE) as second:
        assert second.reset()[0][0] > ticks + 12  # nobody has stepped it since
    assert game.poll() is None


def test_a_killed_agent_is_noticed(served: subprocess.Popen[str], start: Start) -> None:
    code = "import ferry, time; env = ferry.ClientEnv('counter'); env.reset(seed=1); print('there'); time.sleep(60)"
    agent = start("-u", "-c", code)
    assert agent.stdout is not None
    assert agent.stdout.readline() == "there\n"
    agent.kill()
    with ferry.ClientEnv("counter", timeout=PATIENCE) as env:
        assert env.reset(seed=2)[1]["left"] == 1


def test_a_killed_game_is_started_again(play: Play) -> None:
    env = play("counter", on_crash="restart")
    env.reset(seed=1)
    env.step(0)
    first = env.process.pid
    env.process.kill()
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert "ferry" in info
    _, info = env.reset(seed=5)
    assert env.process.pid != first
    assert info["seeds"] == [5]
    assert env.step(0)[0].tolist() == [1, 1]


def test_it_ends_with_its_trainer(play: Play) -> None:
    env = play("counter")
    env.reset()
    process = env.process
    env.close()
    wait_until(lambda: process.poll() is not None)


def test_without_an_address_it_is_an_ordinary_game(godot: str, project: Path) -> None:
    done = subprocess.run(
        [godot, "--path", str(project), *HEADLESS, "--quit-after", "20", "res://counter.tscn"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0
    assert "ERROR" not in done.stdout + done.stderr


# ---- Images ----


def square_at(x: int, y: int) -> np.ndarray[Any, Any]:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[y : y + 8, x : x + 8] = (255, 128, 0)
    return picture


def look(env: gymnasium.Env[Any, Any]) -> None:
    assert env.observation_space == spaces.Box(0, 255, (64, 96, 3), np.uint8)
    np.testing.assert_array_equal(env.reset()[0], square_at(0, 0))
    for x, y in ((0, 0), (87, 55), (13, 7), (0, 20)):
        np.testing.assert_array_equal(env.step(np.array([x, y]))[0], square_at(x, y))


def test_an_image_that_the_processor_draws(play: Play) -> None:
    look(play("camera"))


def test_an_image_of_the_screen(screen: dict[str, str], play: Play) -> None:
    look(play("camera", *ON_SCREEN, **screen))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"width": 32}, r"32 x 64 pixels, and the space says 96 x 64; Image.resize\(\) helps"),
        ({"alpha": True}, r"another format than the FORMAT_RGB8 .* Image.convert\(\) helps"),
    ],
)
def test_an_image_of_another_kind(play: Play, options: dict[str, Any], complaint: str) -> None:
    env = play("camera")
    with pytest.raises(ferry.BackendError, match=complaint):
        env.reset(options=options)
