"""The command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
from conftest import PATIENCE, Start, newest
from ferry import paths
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
