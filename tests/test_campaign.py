"""A short campaign, at some of the points where `make campaign` tries all, and a short soak."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "build" / "campaign"
VERDICT = "nothing torn, nothing old, nobody hung, nothing left"


@pytest.mark.parametrize(
    ("program", "option", "count"), [("campaign", "--kills", 120), ("campaign_points", "--points", 60)]
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
    done = subprocess.run([sys.executable, soak, "--seconds", "15"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing grew" in done.stdout
