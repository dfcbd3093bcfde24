"""The demonstration: it learns, it tells, it draws, and it says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ferry
from ferry import demo, paths

pytest.importorskip("matplotlib")


def test_demo_balances_the_pole_and_draws_the_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "new" / "curve.png"
    assert demo.run(["--output", str(picture), "--record", str(tmp_path / "demo.svg")]) == 0
    assert "is killed" in (tmp_path / "demo.svg").read_text().replace("&#160;", " ")
    lines = capsys.readouterr().out.splitlines()
    told = {key.strip(): rest for key, _, rest in (line.partition("  ") for line in lines)}
    assert float(told["mean return"].split()[0]) >= demo.SOLVED
    assert told["survived"].split()[0] == "3"
    assert sum(line.endswith("is killed; the next takes its place, and env stays") for line in lines) == 3
    assert 0 < float(told["training"].split()[0]) <= demo.TRAINING_LIMIT_S
    rates = [float(told[key].split()[0].replace(",", "")) for key in ("through Ferry", "in process")]
    assert float(told["ratio"]) == pytest.approx(rates[0] / rates[1], abs=0.06)
    assert told["learning curve"].strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_demo_fails_when_the_pole_was_not_balanced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "TRAINING_LIMIT_S", 0.0)
    assert demo.run(["--output", str(tmp_path / "curve.png")]) == 1
    error = capsys.readouterr().err
    assert "below 475" in error
    assert "more than 0 s" in error


@pytest.mark.parametrize("undrawn", [False, True])
def test_demo_does_without_its_extra_and_names_it_where_nothing_is_drawn(
    undrawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "TRAINING_LIMIT_S", 0.0)
    monkeypatch.setattr(demo, "NUM_BLOCKS", 1)
    if undrawn:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    picture = tmp_path / "curve.png"
    demo.run(["--output", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("generation  1") for line in lines)
    assert ('pip install "ferry-fast[demo]"' in lines[-1]) == undrawn
    assert picture.exists() != undrawn


def test_demo_names_make_build_when_there_is_no_pole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "ferry")
    assert demo.run([]) == 1
    assert "make build" in capsys.readouterr().err


def test_demo_explains_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        demo.run(["--help"])
    text = capsys.readouterr().out
    assert "--seed" in text
    assert "--output" in text


def test_command_line_hands_the_options_on() -> None:
    command = [sys.executable, "-m", "ferry", "demo", "--seed", "1", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ferry demo")


def test_cross_entropy_finds_the_top_of_a_hill() -> None:
    top = np.array([1.0, -2.0, 3.0, 0.5])
    method = demo.CrossEntropy(4, np.random.default_rng(1))
    for _ in range(60):
        candidates = method.ask()
        method.tell(candidates, (-((candidates - top) ** 2).sum(axis=1)).tolist())
    assert np.abs(method.ask().mean(axis=0) - top).max() < 0.1


def test_learning_repeats_itself_from_a_seed() -> None:
    with ferry.launch([paths.pole()]) as env:
        runs = [demo.learn(env, seed, lambda returns: None) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
