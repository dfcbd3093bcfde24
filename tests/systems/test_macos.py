"""macOS: the library compiles and links for both its processors. It has never run there.

Zig brings headers and the names that macOS's libraries export; it is put into build/zig by pip.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import legs

ROOT = legs.ROOT
ZIG = ROOT / "build" / "zig"
FLAGS = ["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"]
LIMIT_S = 100.0
# Before and after the system made waiting for addresses public.
TARGETS = [f"{processor}-macos.{version}" for processor in ("aarch64", "x86_64") for version in ("13.0", "14.4")]
# A 64-bit Mach-O file, and its processor.
MAGIC = bytes.fromhex("cffaedfe")
PROCESSORS = {"aarch64": bytes.fromhex("0c000001"), "x86_64": bytes.fromhex("07000001")}


def install() -> Path:
    """Makes an environment with Zig in build/zig, unless it is there; skips the test where it cannot be had."""
    python = ZIG / "bin" / "python"
    if not (ZIG / ".made").exists():
        steps = [
            [sys.executable, "-m", "venv", str(ZIG)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "ziglang"],
        ]
        for step in steps:
            try:
                done = subprocess.run(step, capture_output=True, text=True, timeout=LIMIT_S, check=False)
            except subprocess.TimeoutExpired:
                legs.miss("ziglang could not be installed in time", "ziglang")
            if done.returncode != 0:
                legs.miss(f"ziglang could not be installed: {done.stderr[-200:]}", "ziglang")
        (ZIG / ".made").touch()
    return python


@pytest.fixture(scope="module")
def zig() -> list[str]:
    """How to start it."""
    here = importlib.util.find_spec("ziglang") is not None
    return [sys.executable if here else str(install()), "-m", "ziglang"]


def run(command: list[str | Path], folder: Path) -> None:
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(ZIG / "cache"), "ZIG_LOCAL_CACHE_DIR": str(ZIG / "cache")}
    environment = {**os.environ, **caches}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"


targets = pytest.mark.parametrize("target", TARGETS)


@targets
@pytest.mark.parametrize("language", ["c99", "c++17"])
def test_it_compiles(zig: list[str], target: str, language: str, tmp_path: Path) -> None:
    """As one unit, and the platform's file alone, as each file must."""
    options = ["-target", target, "-x", language.rstrip("0123456789"), f"-std={language}", *FLAGS]
    for source in ("libferry.c", "platform_macos.c"):
        run([*zig, "cc", *options, "-c", ROOT / "csrc" / source, "-o", "made.o"], tmp_path)
        assert (tmp_path / "made.o").read_bytes()[:8] == MAGIC + PROCESSORS[target.partition("-")[0]]


@targets
def test_a_program_finds_all_that_it_calls(zig: list[str], target: str, tmp_path: Path) -> None:
    """Made of the two files that a program may have in its tree."""
    run([sys.executable, ROOT / "tools/amalgamate.py", "."], tmp_path)
    sources = [ROOT / "examples/c/pole.c", tmp_path / "libferry.c"]
    run([*zig, "cc", "-target", target, "-std=c99", *FLAGS, *sources, "-o", "pole"], tmp_path)
    program = (tmp_path / "pole").read_bytes()
    assert program[:8] == MAGIC + PROCESSORS[target.partition("-")[0]]
    is_public = target.endswith("14.4")
    assert (b"os_sync_wait_on_address_with_timeout" in program) == is_public
    assert (b"__ulock_wait" in program) == (not is_public)
