"""The command line."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
import sample_envs
from conftest import PATIENCE, Serve, Start, newest, wait_until
from ferry import paths, survey
from ferry.__main__ import main

ROOT = Path(__file__).resolve().parent.parent


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ferry {ferry.__version__}\n"


@pytest.mark.parametrize(
    ("env_id", "kwargs", "space"),
    [
        ("CartPole-v1", None, gymnasium.make("CartPole-v1").observation_space),
        (newest("FrozenLake"), '{"map_name": "8x8"}', gymnasium.spaces.Discrete(64)),
        ("sample_envs:Pixels", '{"shape": [2, 3, 1]}', gymnasium.spaces.Box(0, 255, (2, 3, 1), np.uint8)),
    ],
)
def test_serve(start: Start, env_id: str, kwargs: str | None, space: gymnasium.Space[Any]) -> None:
    arguments = [] if kwargs is None else ["--kwargs", kwargs]
    process = start("-m", "ferry", "serve", env_id, "--address", "test", *arguments)
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)
        assert env.observation_space == space
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (0, "")
    assert errors == f"ferry: serving {env_id} as 'test'; Ctrl-C ends it\n"


def test_serve_many_rows(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start("-m", "ferry", "serve", "CartPole-v1", "--address", "test", "--num-envs", "3", "--wrap", "FlattenObservation")
    envs = ferry.ClientVectorEnv("test", timeout=PATIENCE)
    try:
        envs.reset(seed=1)
        envs.reset(options={"reset_mask": np.array([True, False, True])})
        told = rows_of("info test", capsys)
        assert (told["rows"], told["resets"], told["turns"]) == (3, 5, 2)
    finally:
        envs.close()


def test_serve_makes_one_row_or_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "CartPole-v1", "--num-envs", "0"]) == 1
    assert "num_envs is 0; it is 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env_id", "address"), [("CartPole-v1", "CartPole-v1"), ("sample_envs:Pixels", "sample_envs-Pixels")]
)
def test_the_address_is_made_of_the_id(start: Start, env_id: str, address: str) -> None:
    start("-m", "ferry", "serve", env_id)
    ferry.ClientEnv(address, timeout=PATIENCE).close()


def test_the_process_environment_has_the_last_word_on_the_address(start: Start) -> None:
    start(
        "-m", "ferry", "serve", "CartPole-v1", "--address", "test", env={**os.environ, "FERRY_ADDRESS": "serve:other"}
    )
    ferry.ClientEnv("other", timeout=PATIENCE).close()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: COMMAND"),
        (["serve"], "required: ENV_ID"),
        (["serve", "CartPole-v1", "--kwargs", "{"], "not JSON"),
        (["serve", "CartPole-v1", "--kwargs", "[1]"], "an object is wanted"),
        (["fly"], "invalid choice"),
        (["--libs", "serve", "CartPole-v1"], "stand alone"),
        (["--cflags", "--static"], "stand alone"),
    ],
)
def test_wrong_usage_is_explained(capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env_id", "text"),
    [
        ("NoSuchGame-v7", "NoSuchGame"),
        ("no_such_module:make", "no_such_module"),
        ("sample_envs:NoSuchEnv", "NoSuchEnv"),
        ("not an id", "not an id"),
    ],
)
def test_an_id_that_makes_nothing_is_one_line(capsys: pytest.CaptureFixture[str], env_id: str, text: str) -> None:
    assert main(["serve", env_id, "--address", "test"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ferry: ")
    assert text in line


def test_a_malformed_address_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "CartPole-v1", "--address", "a b"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "'a b'" in line


def test_the_demo_has_a_command_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--help"])
    assert caught.value.code == 0
    assert "ferry demo" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("cc"), reason="install a C compiler")
def test_the_flags_are_enough_to_build_and_run_a_c_program_anywhere(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "c" / "pole.c", tmp_path)
    command = f"cc pole.c $('{sys.executable}' -m ferry --cflags --libs) -o pole"
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    with ferry.launch([tmp_path / "pole"]) as env:
        env.reset(seed=1)
        assert env.step(1)[1] == 1.0


def test_the_flags_are_one_line_in_the_order_that_a_linker_wants(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for arguments in (["--cflags"], ["--libs"], ["--libs", "--cflags"]):
        assert main(arguments) == 0
        lines.append(capsys.readouterr().out)
    assert lines[2] == f"{lines[0].strip()} {lines[1]}"


def test_the_flags_name_make_build_when_there_is_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "ferry")
    assert main(["--libs"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "make build" in line


# ---- Looking from outside ----


def test_wrappers_are_put_around_what_is_served(start: Start) -> None:
    wrap = ["--wrap", 'TimeLimit={"max_episode_steps": 3}', "--wrap", "gymnasium.wrappers:FlattenObservation"]
    start("-m", "ferry", "serve", newest("FrozenLake"), "--address", "test", *wrap)
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        assert env.observation_space == gymnasium.spaces.Box(0, 1, (16,), np.int64)
        env.reset(seed=1)
        assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("wrapper", "text"),
    [("NoSuch", "there is no wrapper 'NoSuch'"), ("no_such:x", "no_such"), ("TimeLimit={", "not JSON")],
)
def test_a_wrapper_that_is_none_is_explained(capsys: pytest.CaptureFixture[str], wrapper: str, text: str) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "CartPole-v1", "--wrap", wrapper])
    assert text in capsys.readouterr().err


def test_ls_and_info_tell_what_a_free_environment_is(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    backend = serve("sample_envs:Wordy")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    (row,) = rows_of("ls", capsys)
    assert (row["name"], row["state"], row["listens"]) == ("test", "free", "environment")
    assert row["pid"] == backend.process.pid
    assert "sample_envs:Wordy" in row["command"]
    told = rows_of("info test", capsys)
    space = sample_envs.Wordy.observation_space
    assert told["observation_space"] == str(space)
    assert {(field["path"], field["kind"], field["capacity"]) for field in told["fields"]} >= {
        ("words", "Text", 1024),
        ("list", "Sequence of Box", 64),
        ("graph", "space in blobs", None),
        ("say", "Text", 50),
    }
    assert "turns" not in told
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()


@pytest.mark.parametrize("tick", [0.0, 0.03])
def test_info_waits_until_an_environment_has_shown_itself(tick: float, capsys: pytest.CaptureFixture[str]) -> None:
    """A game sees in one of its ticks that an agent has come, which is after the agent knows it."""
    ended = threading.Event()
    backend = ferry.ServerBackend("CartPole-v1", "game")

    def play() -> None:
        while not ended.wait(tick):
            backend._channel.next(0)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        for _ in range(10):
            told = rows_of("info game", capsys)
            assert told["environment"] == "CartPole-v1"
            assert told["action_space"] == "Discrete(2)"
    finally:
        ended.set()
        thread.join(PATIENCE)
        backend.close()


def test_info_tells_of_spaces_that_only_their_owners_know(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import gymnasium, ferry, sample_envs
class Own(gymnasium.Space): pass
ferry.spaces.register(Own, lambda space: None, lambda told: Own())
env = sample_envs.Scripted()
env.observation_space = Own()
ferry.ServerBackend(env, "test").run()
"""
    start("-c", code)
    wait_until(lambda: bool(rows_of("ls", capsys)))
    told = rows_of("info test", capsys)
    assert told["observation_space"].startswith("? (")
    assert told["fields"]


def test_info_tells_who_holds_it_and_what_was_counted(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("sample_envs:Wordy")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)
        env.step({"say": "x" * 50, "pick": (1,) * 10_000, "choose": (0, 1)})
        (row,) = rows_of("ls", capsys)
        assert (row["state"], row["listens"]) == ("held", "environment")
        told = rows_of("info test", capsys)
        assert row["held_by"] == told["held_by"] == os.getpid()
        assert (told["turns"], told["resets"], told["turn_is_with"]) == (2, 1, "agent")
        assert told["agent"]["pid"] == os.getpid()
        assert told["agent"]["big_blobs"] == 1, "ten thousand picks do not fit into shared memory"
        assert main(["info", "test"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("agent") and "1 blobs beyond the capacity" in line for line in lines)
        env.step({"say": "x", "pick": (), "choose": (0, 1)})


def test_looking_finds_an_agent_that_waits(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    process = start("-c", "import ferry; ferry.ServerEnv('test', timeout=20)")
    wait_until(lambda: bool(rows_of("ls", capsys)))
    (row,) = rows_of("ls", capsys)
    assert (row["listens"], row["state"], row["pid"]) == ("agent", "free", process.pid)
    assert rows_of("info test", capsys)["listens"] == "agent"


def test_ls_removes_dead_names(serve: Serve, runtime_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backend = serve("CartPole-v1")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        assert (runtime_dir / ".test.map").is_symlink()
        backend.kill()
        assert rows_of("ls", capsys) == []
    assert list(runtime_dir.iterdir()) == []


def test_a_closed_channel_shows_nothing(serve: Serve, runtime_dir: Path) -> None:
    serve("CartPole-v1")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    wait_until(lambda: not (runtime_dir / ".test.map").is_symlink())


def test_a_file_that_has_the_name_of_the_link_stays(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / ".test.map").write_text("mine")
    backend = serve("CartPole-v1", str(tmp_path / "test"))
    with ferry.ClientEnv(str(tmp_path / "test"), timeout=PATIENCE) as env:
        env.reset()
    backend.terminate()
    assert (tmp_path / ".test.map").read_text() == "mine"


def test_no_such_name_is_one_line_with_those_there_are(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("CartPole-v1")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    assert main(["info", "tset"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nobody has the name 'tset'" in line
    assert "names there: 'test'" in line


def test_looking_at_a_file_that_is_no_socket_leaves_it_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system refuses connections to any file, as to a socket whose server has died."""
    file, link = tmp_path / "diary", tmp_path / "link"
    file.write_text("dear")
    link.symlink_to(file)
    for path in (file, link):
        assert main(["info", str(path)]) == 1
        assert f"'{path}' is not a socket" in capsys.readouterr().err
        assert survey.visit(path) is None
        assert path.read_text() == "dear"


def test_a_dead_name_is_left_alone_while_its_directory_is_locked(runtime_dir: Path) -> None:
    path = runtime_dir / "dead"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    directory = os.open(runtime_dir, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        assert survey.visit(path) is None
        assert path.is_socket()
    finally:
        os.close(directory)
    assert survey.visit(path) is None
    assert not path.exists()


def test_a_link_that_leads_elsewhere_is_not_followed_far(runtime_dir: Path, tmp_path: Path) -> None:
    """Of a process that was killed it stays, and its process's number may be another's one day."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(bytes(10_000))
    for target in (tmp_path / "fifo", tmp_path / "file", Path("/dev/null")):
        link = runtime_dir / ".stray.map"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises(ferry.ProtocolError, match="the region is not Ferry's"):
            survey.channel(runtime_dir / "stray")
    link.unlink()
    assert survey.channel(runtime_dir / "stray") is None


def test_a_scribbled_region_is_a_clear_error(runtime_dir: Path) -> None:
    good = bytearray(region_of(runtime_dir))
    chance = random.Random(1)
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(chance.randrange(1, 30)):
            bad[chance.randrange(1500)] = chance.randrange(256)
        memory = os.memfd_create("scribbled", os.MFD_ALLOW_SEALING)
        os.write(memory, bad[: chance.choice([len(bad), chance.randrange(1, len(bad))])])
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        link = runtime_dir / ".scribbled.map"
        link.unlink(missing_ok=True)
        link.symlink_to(f"/proc/self/fd/{memory}")
        with contextlib.suppress(ferry.ProtocolError):
            survey.channel(runtime_dir / "scribbled")
        os.close(memory)


def region_of(runtime_dir: Path) -> bytes:
    """A copy of a living channel's region."""
    backend = ferry.ServerBackend("CartPole-v1", "region")
    thread = threading.Thread(target=backend.run)
    thread.start()
    with ferry.ClientEnv("region", timeout=PATIENCE) as env:
        env.reset()
        data = (runtime_dir / ".region.map").read_bytes()
    backend.close()
    thread.join(PATIENCE)
    return data


def test_bench_measures_in_brief(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferry.commands._BENCH_STEPS", 50)
    rows = rows_of("bench", capsys)
    assert [row["what"] for row in rows] == ["C pole through Ferry", "CartPole-v1 in process"]
    assert all(row["steps_per_second"] > 0 and row["p99_us"] >= row["p50_us"] > 0 for row in rows)


def rows_of(command: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command says in JSON."""
    capsys.readouterr()
    assert main([*command.split(), "--json"]) == 0
    return json.loads(capsys.readouterr().out)
