"""Ferry in Lua: engines/love/ferry.lua in LuaJIT and in LÖVE, and the game beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import string
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import ferry
import ferry.testing
import legs
from conftest import PATIENCE
from ferry import paths

LOVE = legs.ROOT / "engines" / "love"
GAME = LOVE / "example"
PROGRAMS = Path(__file__).parent / "lua"
LIBRARY = legs.ROOT / "build" / "libferry.so"
START_LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Lua finds ferry.lua, and ferry.lua its library; and no screen."""
    monkeypatch.setenv("LUA_PATH", f"{LOVE}/?.lua")
    monkeypatch.setenv("FERRY_LIBRARY", str(LIBRARY))
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("ALSOFT_DRIVERS", "null")


@pytest.fixture
def luajit() -> str:
    return legs.need("luajit").pop()


@pytest.fixture
def game() -> list[str]:
    """The command of the game."""
    return [legs.need("love")[0], str(GAME)]


@pytest.fixture
def serve() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program that serves an address; it is killed after the test."""
    running: list[subprocess.Popen[str]] = []

    def serve(command: list[str], address: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(paths.launcher()), str(os.getpid()), *command],
            env={**os.environ, "FERRY_ADDRESS": address},
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield serve
    for process in running:
        process.kill()
        process.communicate(timeout=PATIENCE)


def run(command: list[str], text: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False, **options)


def launch(luajit: str, program: str, **options: Any) -> ferry.LaunchedEnv:
    env: ferry.LaunchedEnv = ferry.launch([luajit, str(PROGRAMS / program)], start_timeout=START_LIMIT_S, **options)
    return env


# ---- Declarations ----------------------------------------------------------------------------------------------------


def declared() -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Structs with their members, constants, and prototypes, as ferry.lua declares them."""
    found = re.search(r"DECLARATIONS = \[\[(.*?)\]\]", (LOVE / "ferry.lua").read_text(), re.DOTALL)
    assert found is not None
    structs = {
        name: re.findall(r"(\w+)(?:\[\d+\])?;", body)
        for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\}", found[1], re.DOTALL)
    }
    constants = re.findall(r"(FERRY_\w+) =", found[1])
    prototypes = re.findall(r"^\w[^{}]*?\bferry_\w+\([^{}]*?\);$", found[1], re.MULTILINE)
    return structs, constants, prototypes


def test_declarations_are_those_of_the_header(luajit: str, tmp_path: Path) -> None:
    """A program in C and one in Lua print what each makes of the same names; prototypes are declared twice over."""
    structs, constants, prototypes = declared()
    assert {"ferry_turn", "ferry_env_desc", "ferry_field", "ferry_blob", "ferry_why", "ferry_list"} == structs.keys()
    assert len(constants) > 30
    assert len(prototypes) == 9
    asked, lines = [], []
    for struct, members in structs.items():
        asked.append(struct)
        lines.append(f'printf("{struct}\\t%zu\\n", sizeof({struct}));')
        for member in members:
            asked.append(f"{struct} {member}")
            lines.append(f'printf("{struct}\\t{member}\\t%zu\\n", offsetof({struct}, {member}));')
    for name in constants:
        asked.append(name)
        lines.append(f'printf("{name}\\t%d\\n", (int){name});')
    source, program = tmp_path / "declarations.c", tmp_path / "declarations"
    body = "\n".join([*prototypes, "int main(void) {", *lines, "return 0;", "}"])
    source.write_text(f"#include <libferry.h>\n#include <stdio.h>\n{body}\n")
    include = str(legs.ROOT / "include")
    made = run(["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{include}", "-o", str(program), str(source)])
    assert made.returncode == 0, made.stderr
    said = run([luajit, str(PROGRAMS / "declarations.lua")], "\n".join(asked) + "\n")
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == run([str(program)]).stdout.splitlines()


# ---- Finding the library ---------------------------------------------------------------------------------------------

SAY = "print(require('ferry').library)"


def test_a_library_that_is_not_there(luajit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_LIBRARY", "/nowhere/libferry.so")
    said = run([luajit, "-e", SAY])
    assert said.returncode != 0
    assert "ferry.lua cannot load libferry: /nowhere/libferry.so" in said.stderr
    assert "set FERRY_LIBRARY" in said.stderr


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("unsigned ferry_version(void) { return 0x070800; }", r"is Ferry 7\.8\.0, and this ferry\.lua is for 0\.1\.0"),
        ("unsigned another(void) { return 0; }", r"is no libferry: .*ferry_version"),
    ],
    ids=["another version", "another library"],
)
def test_a_library_that_does_not_fit(
    luajit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, text: str
) -> None:
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(code)
    assert run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)]).returncode == 0
    monkeypatch.setenv("FERRY_LIBRARY", str(library))
    said = run([luajit, "-e", SAY])
    assert said.returncode != 0
    assert re.search(text, said.stderr), said.stderr


def test_lua_without_ffi(luajit: str) -> None:
    said = run([luajit, "-e", "package.preload.ffi = function() error('none') end " + SAY])
    assert said.returncode != 0
    assert "needs LuaJIT with its FFI, and runs in LuaJIT" in said.stderr


def test_luajit_finds_the_library_beside_the_file(luajit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(LOVE / "ferry.lua", tmp_path)
    shutil.copy(LIBRARY, tmp_path)
    monkeypatch.setenv("LUA_PATH", f"{tmp_path}/?.lua")
    monkeypatch.delenv("FERRY_LIBRARY")
    assert run([luajit, "-e", SAY]).stdout.strip() == str(tmp_path / "libferry.so")


@pytest.mark.parametrize("as_archive", [False, True], ids=["folder", "archive"])
def test_love_finds_the_library_beside_the_game(
    game: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_archive: bool
) -> None:
    """A game of one's own: a copy of the file, and the library in the folder, or beside the archive."""
    monkeypatch.delenv("FERRY_LIBRARY")
    folder = tmp_path / "game"
    shutil.copytree(GAME, folder)
    shutil.copy(LOVE / "ferry.lua", folder)
    where = folder
    if as_archive:
        where = tmp_path / "bounce.love"
        with zipfile.ZipFile(where, "w") as archive:
            for path in folder.iterdir():
                archive.write(path, path.name)
        shutil.copy(LIBRARY, tmp_path)
    else:
        shutil.copy(LIBRARY, folder)
    with ferry.launch([game[0], str(where)], start_timeout=START_LIMIT_S) as env:
        env.reset(seed=1)
        env.step(0)


# ---- Plain LuaJIT ----------------------------------------------------------------------------------------------------


def every_space() -> spaces.Dict:
    """What spaces.lua declares."""
    i8, i16, u16, u32 = np.int8, np.int16, np.uint16, np.uint32

    def whole(dtype: Any) -> spaces.Box:
        return spaces.Box(np.iinfo(dtype).min, np.iinfo(dtype).max, (2,), dtype)

    return spaces.Dict(
        {
            "scalar": spaces.Box(-np.inf, np.inf, (), np.float64),
            "bounded": spaces.Box(-1, 2.5, (2, 3), np.float32),
            "each": spaces.Box(np.array([-1, -2, -3], np.int32), np.array([1, 20, 300], np.int32), dtype=np.int32),
            "bytes": spaces.Box(0, 255, (4, 5, 3), np.uint8),
            "flags": spaces.Box(0, 1, (5,), np.bool_),
            "flag": spaces.Box(0, 1, (), np.bool_),
            "i8": whole(i8),
            "i16": whole(i16),
            "u16": whole(u16),
            "u32": whole(u32),
            "i64": whole(np.int64),
            "u64": whole(np.uint64),
            "choice": spaces.Discrete(5, start=-2),
            "choices": spaces.MultiDiscrete([3, 1, 7]),
            "bits": spaces.MultiBinary(6),
            "word": spaces.Text(12, min_length=0, charset=string.printable),
            "pair": spaces.Tuple(
                [
                    spaces.Discrete(2),
                    spaces.Tuple(
                        [
                            spaces.Box(-np.inf, np.inf, (1,), np.float32),
                            spaces.Box(-np.inf, np.inf, (2,), np.float64),
                        ]
                    ),
                ]
            ),
            "a/b#c%": spaces.Dict({"inner": spaces.Discrete(3), "nothing": spaces.Dict({})}),
        }
    )


def assert_same(one: Any, other: Any) -> None:
    if isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in other:
            assert_same(one[key], other[key])
    elif isinstance(other, tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(other, str):
        assert one == other
    else:
        np.testing.assert_array_equal(one, other, strict=True)


def test_every_space_goes_through_lua_and_back(luajit: str) -> None:
    with launch(luajit, "spaces.lua") as env:
        assert env.observation_space == every_space()
        assert env.action_space == every_space()
        env.action_space.seed(5)
        env.reset()
        for step in range(1, 200):
            action = env.action_space.sample()
            observation, _, _, _, info = env.step(action)
            assert_same(observation, action)
            assert info["moves"] == step
            assert info["moves"].dtype == np.int64
            assert info["path"] == f"step {step}"
            assert info["note"] == [None, True, '\0"é']


def test_numbers_keep_every_bit(luajit: str) -> None:
    """Arrays of 64-bit integers are exact, and so are the ends of what floats hold."""
    with launch(luajit, "spaces.lua") as env:
        env.reset()
        action = env.action_space.sample()
        action["i64"] = np.array([-(2**63), 2**63 - 1])
        action["u64"] = np.array([2**64 - 1, 2**53 + 1], np.uint64)
        action["scalar"] = np.array(5e-324)
        assert_same(env.step(action)[0], action)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (1, "observation.level is not set, and must be a number"),
        (2, "observation.level is a string, and must be a number"),
        (3, "observation.list is a table, and must be a list of 3, or an array of 12 bytes"),
        (4, "observation.list is a cdata, and must be a list of 3"),
        (5, "observation.word is a string, and must be a string of at most 3 bytes"),
        (6, "JSON has no function"),
        (7, "does it hold itself"),
    ],
)
def test_a_wrong_value_is_named_and_the_turn_stands(luajit: str, fault: int, text: str) -> None:
    with launch(luajit, "values.lua") as env:
        env.reset()
        with pytest.raises(ferry.BackendError, match=text):
            env.step(fault)
        observation, info = env.reset()
        np.testing.assert_array_equal(observation["list"], [1, 2, 3])
        assert (observation["level"], observation["word"]) == (2, "abc")
        assert not set(info) - {"ferry"}


JSON_VALUES = [
    0,
    -1.5,
    1e300,
    2**53,
    "",
    'a"b\\c/\b\f\n\r\t\x01\x7f',
    "é€😀\ud7ff",
    True,
    False,
    [],
    [1, [2, []], {"x": [None, 3]}],
    {"a": {"b": {}}, "": 1, "ü": None},
]


def test_calls(luajit: str) -> None:
    with launch(luajit, "values.lua") as env:
        for value in JSON_VALUES:
            assert env.call("echo", value) == value
        assert env.call("echo", None) is None
        assert env.call("sum", 1, 2, c=3) == 6
        assert env.get_attr("level") == 1
        env.set_attr("level", {"name": "two"})
        assert env.get_attr("level") == {"name": "two"}
        assert env.has_wrapper_attr("echo")
        assert not env.has_wrapper_attr("nothing")
        with pytest.raises(ferry.BackendError, match="as was asked for"):
            env.call("raise")
        with pytest.raises(ferry.BackendError, match="there is no call of 'level'"):
            env.call("level")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,]",
        "[1 2]",
        '{"a" 1}',
        "{1: 2}",
        '"a',
        '"\\x"',
        '"\\ud800"',
        '"\\udc00"',
        "1.2.3",
        "--1",
        "nul",
        "1 2",
        "[" * 70,
    ],
)
def test_malformed_json_is_refused(luajit: str, text: str) -> None:
    said = run([luajit, "-e", "print(pcall(require('ferry').from_json, io.read('*a')))"], text)
    assert said.stdout.startswith("false"), said.stdout
    assert "JSON" in said.stdout


def test_an_agent_cannot_crash_a_game_that_closes(luajit: str) -> None:
    with ferry.launch([luajit, str(PROGRAMS / "misuse.lua"), "close"], start_timeout=START_LIMIT_S) as env:
        env.reset()
        with pytest.raises(ferry.FerryError):
            env.call("quit")
        assert env.process.wait(PATIENCE) == 0


def test_a_forgotten_environment_goes_before_the_library(luajit: str) -> None:
    done = run([luajit, str(PROGRAMS / "misuse.lua"), "forget"])
    assert (done.returncode, done.stdout) == (0, "collected\n")


def test_a_failure_need_not_be_a_text(luajit: str) -> None:
    with ferry.launch([luajit, str(PROGRAMS / "misuse.lua"), "fail"], start_timeout=START_LIMIT_S) as env:
        for _ in range(2):
            env.reset()
            with pytest.raises(ferry.BackendError, match="a table of errors"):
                env.step(0)


def test_rows_are_stepped_as_one_batch(luajit: str) -> None:
    command = [luajit, str(PROGRAMS / "rows.lua")]
    with ferry.launch(command, num_engines=1, envs_per_engine=4, start_timeout=START_LIMIT_S) as envs:
        observations, _ = envs.reset(seed=[0, 1, 2, 3])
        np.testing.assert_array_equal(observations["count"], [0, 1, 2, 3])
        observations, rewards, ends, _, infos = envs.step(np.array([2, 0, 1, 2]))
        np.testing.assert_array_equal(observations["count"], [2, 1, 3, 5])
        np.testing.assert_array_equal(observations["pair"], [[0, 2], [1, 1], [2, 3], [3, 5]])
        np.testing.assert_array_equal(rewards, [0.5, 0.25, 0.75, 1.25])
        np.testing.assert_array_equal(ends, [False, False, False, True])
        np.testing.assert_array_equal(infos["double"], [4, 0, 6, 10])
        np.testing.assert_array_equal(infos["_double"], [True, False, True, True])
        assert infos["note"][1] == "one"
        observations, *_ = envs.step(np.array([1, 1, 1, 1]))  # and the last one begins anew
        np.testing.assert_array_equal(observations["count"], [3, 2, 4, 0])


def test_a_reset_lasts_frames_and_agents_leave_in_the_middle_of_it(
    luajit: str, serve: Callable[..., subprocess.Popen[str]]
) -> None:
    process = serve([luajit, str(PROGRAMS / "frames.lua")], "frames")
    with ferry.ClientEnv("frames", timeout=START_LIMIT_S) as env:
        assert env.reset()[0] == {"frames": 20, "unheard": 0}
        assert env.step(1)[0] == {"frames": 21, "unheard": 0}
    for _ in range(3):
        with ferry.ClientEnv("frames", timeout=0.04) as hasty, pytest.raises(ferry.FerryTimeoutError):
            hasty.reset()
    with ferry.ClientEnv("frames", timeout=START_LIMIT_S) as env:
        assert env.reset()[0] == {"frames": 20, "unheard": 3}
    assert process.poll() is None


def growth(env: gymnasium.Env[Any, Any], kib: Callable[[], float], action: Any, steps: int = 20_000) -> float:
    """Bytes that Lua allocates in a step, once its compiler has seen the steps before."""
    env.reset(seed=1)
    for _ in range(steps):
        env.step(action)
    before = kib()
    for _ in range(steps):
        env.step(action)
    return 1024 * (kib() - before) / steps


def test_a_step_makes_no_garbage_in_lua(luajit: str) -> None:
    with launch(luajit, "memory.lua") as env:
        action = {"push": np.ones(2, np.float32), "jump": np.int64(1)}

        def kib() -> float:
            return float(env.step(action)[4]["kib"])

        assert growth(env, kib, action) < 1


# ---- The game --------------------------------------------------------------------------------------------------------

Episode = tuple[list[bytes], list[tuple[float, bool, bool]]]


def chase(observation: Any) -> int:
    """A policy that keeps the ball in the air."""
    away = observation[0] - observation[4]
    return int(away > 0.3) - int(away < -0.3)


def played(env: gymnasium.Env[Any, Any], seed: int, steps: int = 600) -> Episode:
    """What an episode shows from a seed: chased for a while, then let go."""
    observation, _ = env.reset(seed=seed)
    seen, outcomes = [observation.tobytes()], []
    for step in range(steps):
        action = chase(observation) if step < steps // 2 else 0
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append(observation.tobytes())
        outcomes.append((float(reward), terminated, truncated))
        if terminated or truncated:
            break
    return seen, outcomes


@pytest.fixture
def bounce(game: list[str]) -> Iterator[ferry.LaunchedEnv]:
    with ferry.launch(game, on_crash="restart", start_timeout=START_LIMIT_S) as env:
        yield env


def test_the_game_says_what_it_is(bounce: ferry.LaunchedEnv) -> None:
    low, high = np.array([-1, -1, -50, -50, 0], np.float32), np.array([11, 11, 50, 50, 10], np.float32)
    assert bounce.observation_space == spaces.Box(low, high)
    assert bounce.action_space == spaces.Discrete(3, start=-1)
    assert bounce.metadata["render_fps"] == 60


def test_the_game_passes_gymnasiums_checks(bounce: ferry.LaunchedEnv) -> None:
    check_env(bounce, skip_render_check=True)


def test_the_game_passes_ferrys_checks(game: list[str]) -> None:
    ferry.testing.assert_conforms(game)


def test_the_same_seed_gives_the_same_episode(game: list[str], bounce: ferry.LaunchedEnv) -> None:
    """Physics and all: in one process, after other episodes, and in another process."""
    first = played(bounce, seed=11)
    assert played(bounce, seed=12) != first
    assert played(bounce, seed=11) == first
    with ferry.launch(game, start_timeout=START_LIMIT_S) as other:
        assert played(other, seed=11) == first


def test_the_game_pays_for_hits_and_ends(bounce: ferry.LaunchedEnv) -> None:
    observation, info = bounce.reset(seed=5)
    hits, ended = 0.0, False
    assert info["hits"] == 0
    for _ in range(3000):
        assert not ended
        observation, reward, terminated, ended, info = bounce.step(chase(observation))
        assert not terminated
        hits += float(reward)
        assert info["hits"] == hits
    assert ended  # truncated by the library
    assert hits >= 10
    seen, outcomes = played(bounce, seed=5, steps=2)
    assert len(seen) == 3
    while not outcomes[-1][1]:  # nobody moves the paddle: in the end the ball is lost
        outcomes.append(bounce.step(0)[1:4])
    assert len(outcomes) < 3000


def test_a_killed_game_is_started_again(bounce: ferry.LaunchedEnv) -> None:
    before = played(bounce, seed=7, steps=100)
    bounce.process.kill()
    truncated = False
    while not truncated:
        *_, truncated, info = bounce.step(0)
    assert "SIGKILL" in str(info["ferry"])
    assert played(bounce, seed=7, steps=100) == before


def test_agents_come_and_go(game: list[str], serve: Callable[..., subprocess.Popen[str]]) -> None:
    """Also from the middle of an episode. In the end the game says goodbye when it is asked to go."""
    process = serve(game, "bounce")
    expected = None
    for _ in range(5):
        with ferry.ClientEnv("bounce", timeout=START_LIMIT_S) as env:
            episode = played(env, seed=9, steps=50)
            expected = expected or episode
            assert episode == expected
    env = ferry.ClientEnv("bounce", timeout=START_LIMIT_S)
    env.reset(seed=9)
    process.terminate()
    assert process.wait(PATIENCE) == 0, process.communicate(timeout=PATIENCE)[1]
    with pytest.raises(ferry.PeerGoneError, match="said goodbye"):
        env.step(0)
    env.close()


def test_a_step_of_the_game_makes_no_garbage(game: list[str], tmp_path: Path) -> None:
    """Beside LÖVE's own functions, which LuaJIT does not compile. The collector stands still here."""
    (tmp_path / "conf.lua").write_text((GAME / "conf.lua").read_text())
    (tmp_path / "main.lua").write_text(
        f"""
        collectgarbage("stop")
        package.path = "{LOVE}/?.lua;{GAME}/?.lua;" .. package.path
        local ferry = require "ferry"
        local open = ferry.open
        function ferry.open(what)
            what.attributes = setmetatable({{}}, {{__index = function() return collectgarbage("count") end}})
            return open(what)
        end
        assert(loadfile("{GAME}/main.lua"))()
        """
    )
    with ferry.launch([game[0], str(tmp_path)], start_timeout=START_LIMIT_S) as env:
        assert growth(env, lambda: float(env.get_attr("kib")), 0) < 1


def test_a_window_ticks_and_is_left(game: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty steps a second, and half a second for a reset, drawn into memory."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "offscreen")
    try:
        env = ferry.launch([*game, "--window"], start_timeout=START_LIMIT_S)
    except ferry.FerryError as error:
        legs.miss(f"LÖVE makes no window without a screen: {error}", "love-window")
    begin = time.monotonic()
    env.reset(seed=1)
    for _ in range(30):
        env.step(0)
    assert 0.8 < time.monotonic() - begin < 10
    env.close()
    assert env.process.returncode == 0


# ---- What is written about it ----------------------------------------------------------------------------------------


def test_the_way_that_the_readme_tells(game: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an empty folder to an agent that has learned something."""
    monkeypatch.delenv("FERRY_LIBRARY")
    shutil.copy(LOVE / "ferry.lua", tmp_path)
    shutil.copy(paths.library() / "libferry.so", tmp_path)
    files = re.findall(
        r"^\*\*(\S+)\*\*:.*?```\w+\n(.*?)```", (LOVE / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert [name for name, _ in files] == ["conf.lua", "main.lua", "train.py"]
    for name, text in files:
        (tmp_path / name).write_text(text)
    said = run([sys.executable, "train.py"], cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    found = re.fullmatch(r"before: (-?\d+)\nafter: (-?\d+)\n", said.stdout)
    assert found is not None
    assert int(found[1]) < 100
    assert int(found[2]) > 400
    monkeypatch.chdir(tmp_path)
    ferry.testing.assert_conforms([game[0], "."])


def test_the_benchmark_measures_what_it_says(game: list[str]) -> None:
    """It also compares where the game arrives through Ferry and alone, to the bit. No figure is judged here."""
    said = run([sys.executable, "-m", "engines.love", "5", "200"], cwd=legs.ROOT / "bench")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    for wait in ("spin", "adaptive"):
        assert {"steps_per_s", "engine_alone_steps_per_s", "ferry_us_per_step"} < found[wait].keys()
        assert found[wait]["steps_per_s"] > 0
        assert found[wait]["engine_alone_steps_per_s"] > 0
