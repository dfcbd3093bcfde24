"""``ferry check`` passes what is well, and finds each fault that was planted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import ferry.testing
from conftest import PATIENCE, Serve, newest
from ferry import paths
from ferry.__main__ import main
from ferry.testing import Subject, assert_conforms, check

FAULTY = str(Path(__file__).with_name("faulty.py"))


def verdicts(subject: Subject) -> dict[str, str]:
    return {result.name: f"{result.verdict}: {result.detail}" for result in check(subject)}


@pytest.mark.parametrize(
    "env_id",
    [
        *map(newest, ["CartPole", "Acrobot", "MountainCar", "MountainCarContinuous", "Pendulum", "FrozenLake"]),
        *map(newest, ["Taxi", "Blackjack", "CliffWalkingSlippery", "FrozenLake8x8"]),
        "sample_envs:Nested",
    ],
)
def test_environments_of_gymnasium_conform(env_id: str) -> None:
    failed = {name: text for name, text in verdicts(Subject(env_id)).items() if text.startswith("fail")}
    assert not failed


def test_the_examples_in_c_conform() -> None:
    assert_conforms([paths.pole()])
    engine = [str(Path(paths.pole()).with_name("gameloop")), "--hz", "2000"]  # 60 take over a minute
    assert [name for name, text in verdicts(Subject(engine)).items() if text.startswith("fail")] == []


def test_nothing_is_found_where_no_fault_is() -> None:
    assert_conforms([sys.executable, FAULTY, "Line"])


@pytest.mark.parametrize(
    ("fault", "name", "text"),
    [
        ("OutsideBounds", "observations", "outside its space"),
        ("NotANumber", "observations", "has NaN"),
        ("WrongType", "observations", "<U1"),
        ("WrongShape", "observations", r"has shape \(4,\)"),
        ("Frozen", "observations", "changed the observation"),
        ("RewardNotANumber", "rewards", "is nan"),
        ("NeverEnds", "endings", "no episode ended"),
        ("IgnoresSeed", "seeds", "gave another episode"),
        ("Remembers", "resets", "began elsewhere"),
        ("DiffersByProcess", "processes", "in another process"),
        ("LeaksFiles", "leaks", "open files"),
        ("LeaksMemory", "leaks", "MiB"),
        ("Raises", "resets", "third level is missing"),
        ("Crashes", "observations", "exited with code 11"),
        ("Hangs", "endings", "has held the turn"),
        ("Stalls", "times", "a step took 1"),
        ("DrawsWrongly", "rendering", r"float32 \(4, 4\)"),
        ("HangsAtClose", "closing", "had to be made to"),
        ("OneValue", "spaces", "one value alone"),
    ],
)
def test_each_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch, fault: str, name: str, text: str) -> None:
    checks = {name: ferry.testing._CHECKS[name]}
    monkeypatch.setattr(ferry.testing, "_CHECKS", checks)
    with pytest.raises(AssertionError, match=f"the environment does not conform:\n{name}: (.|\n)*{text}"):
        assert_conforms([sys.executable, FAULTY, fault], timeout=3)


def test_what_runs_already_is_checked(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("CartPole-v1")
    assert main(["check", "test", "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    told = {row["name"]: row["verdict"] for row in rows}
    assert told["second agent"] == told["calls"] == told["closing"] == "pass"
    assert told["kill and restart"] == "skip"


def test_the_command_starts_what_follows_the_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--timeout", str(PATIENCE), "--", sys.executable, FAULTY, "Frozen"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("fail  observations") for line in lines)
    assert any("is it written anew for each answer?" in line for line in lines)
    assert lines[-1] == "1 of 14 checks failed"


@pytest.mark.parametrize("arguments", [["check"], ["check", "test", "--", "./game"]])
def test_a_name_or_a_command(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 1
    assert "the name of a served environment, or, after --, a command" in capsys.readouterr().err
