"""Publishing a frame takes as many instructions whatever its agent does: valgrind's callgrind counts them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import legs

LIMIT_S = 120.0


def instructions_of_replies(agent: str, folder: Path) -> tuple[int, int]:
    """Those of all calls of ferry_env_reply, and how many actions came in time for the frame after theirs."""
    (valgrind,) = legs.need("valgrind")
    counting = ["--tool=callgrind", "--toggle-collect=ferry_env_reply", f"--callgrind-out-file={folder / 'out.%p'}"]
    command = [valgrind, *counting, str(legs.ROOT / "build" / "bench" / "publish"), agent]
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    told = json.loads(result.stdout)
    counted = re.findall(r"Collected : (\d+)", result.stderr)
    return max(map(int, counted)), told["answered"]


def test_the_work_is_the_same_with_any_agent(tmp_path: Path) -> None:
    left, _ = instructions_of_replies("left", tmp_path)
    stopped, unanswered = instructions_of_replies("stopped", tmp_path)
    spinning, answered = instructions_of_replies("spinning", tmp_path)
    assert left > 50 * 5000
    assert answered > unanswered  # it did look and act meanwhile
    assert abs(stopped / left - 1) < 0.02
    assert abs(spinning / left - 1) < 0.02
