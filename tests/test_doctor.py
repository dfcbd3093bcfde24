"""The doctor tries what a channel needs, and names the remedy for what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ferry import doctor, paths
from ferry.__main__ import main


def found(what: str) -> doctor.Finding:
    return next(finding for finding in doctor.examine() if finding.what == what)


def test_this_machine_is_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    verdicts = {row["what"]: row["verdict"] for row in json.loads(capsys.readouterr().out)}
    assert list(verdicts) == ["versions", "kernel", "directory", "variables", "memory", "processors", "parts", "game"]
    assert "bad" not in verdicts.values()
    assert main(["doctor"]) == 0
    assert "steps a second" in capsys.readouterr().out


def test_a_directory_of_others_is_bad(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o755)
    finding = found("directory")
    assert (finding.verdict, finding.remedy) == ("bad", f"chmod 700 {runtime_dir}")


def test_a_directory_that_cannot_be_made_is_bad(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime_dir / "file").write_text("")
    monkeypatch.setenv("FERRY_RUNTIME_DIR", str(runtime_dir / "file" / "below"))
    finding = found("directory")
    assert finding.verdict == "bad"
    assert "FERRY_RUNTIME_DIR" in finding.remedy


def test_a_long_directory_leaves_no_names(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_RUNTIME_DIR", str(runtime_dir / ("x" * 90)))
    assert found("directory").verdict in ("fair", "bad")
    assert found("directory").detail.endswith("characters for names")


@pytest.mark.parametrize(
    ("name", "value", "verdict", "text"),
    [
        ("FERRY_WAIT", "sleep", "bad", "adaptive, spin or block"),
        ("FERRY_TIMEOUT", "soon", "bad", "takes seconds"),
        ("FERRY_TIMEOUT", "-1", "bad", "takes seconds"),
        ("FERRY_TIMOUT", "5", "fair", "known are"),
        ("FERRY_ADDRESS", "pole", "fair", "overrules"),
        ("FERRY_WAIT", "block", "good", ""),
    ],
)
def test_variables_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, verdict: str, text: str
) -> None:
    monkeypatch.setenv(name, value)
    finding = found("variables")
    assert finding.verdict == verdict
    assert text in finding.remedy
    assert f"{name}={value}" in finding.detail


def test_parts_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "ferry")
    finding = found("parts")
    assert finding.verdict == "bad"
    assert "make build" in finding.remedy


def test_a_game_that_does_not_start_is_bad_and_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "pole"
    broken.write_text("#!/bin/sh\nexit 4\n")
    broken.chmod(0o755)
    monkeypatch.setattr(paths, "pole", lambda: broken)
    assert main(["doctor"]) == 1
    assert "exited with code 4" in capsys.readouterr().out


def test_a_kernel_that_lacks_something_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    finding = found("kernel")
    assert finding.verdict == "bad"
    assert "does not work: pidfd" in finding.detail


def test_one_processor_is_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert found("processors").verdict == "fair"
