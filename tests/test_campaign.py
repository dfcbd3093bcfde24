"""A short campaign, at some of the points where `make campaign` tries all, and a short soak."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "build" / "campaign"
VERDICT = "nothing torn, nothing old, nobody hung, nothing left"


@pytest.mark.parametrize(
    ("program", "option", "count"), [("campaign", "--kills", 60), ("campaign_points", "--points", 100)]
)
def test_whoever_survives_plays_on(
    program: str, option: str, count: int, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(runtime_dir))
    done = subprocess.run([PROGRAMS / program, option, str(count)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, total, verdict = done.stdout.splitlines()
    assert verdict == VERDICT
    killed, stopped, disconnected = (
        int(number) for number in re.findall(r"(\d+) (?:killed|stopped|disconnected)", total)
    )
    if option == "--kills":
        assert killed == count
    else:
        assert min(killed, stopped, disconnected) > 0
    assert list(runtime_dir.glob("ferry-test-*")) == []


def test_memory_and_descriptors_are_constant() -> None:
    soak = ROOT / "tests" / "campaign" / "soak.py"
    done = subprocess.run([sys.executable, soak, "--seconds", "10"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing grew" in done.stdout


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "9"])
def test_a_soak_too_short_to_compare_is_refused(seconds: str) -> None:
    soak = ROOT / "tests" / "campaign" / "soak.py"
    done = subprocess.run([sys.executable, soak, f"--seconds={seconds}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "it takes 10 at least" in done.stderr


def test_a_soak_that_loses_a_process_says_whose_it_was() -> None:
    command = [sys.executable, str(ROOT / "tests" / "campaign" / "soak.py"), "--seconds", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as soak:
        children = Path(f"/proc/{soak.pid}/task/{soak.pid}/children")
        until, victim = time.monotonic() + 60, None
        while victim is None:
            assert soak.poll() is None
            assert time.monotonic() < until
            for pid in map(int, children.read_text().split()):
                if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0agent\0rows\0rows\0"):
                    victim = pid
        os.kill(victim, signal.SIGTERM)
        said, _ = soak.communicate(timeout=120)
    assert soak.returncode == 1, said
    assert re.search("ended too early: .*rows, agent", said), said
    assert "nothing grew" not in said
