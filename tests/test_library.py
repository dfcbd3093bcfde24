"""The C library as a whole: what it exports, what it needs, and that header, package and documents agree."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

import gymnasium
import pytest

import ferry
from ferry import blobs

ROOT = Path(__file__).resolve().parent.parent
HEADER = (ROOT / "include" / "libferry.h").read_text()
LIBRARY = ROOT / "build" / "libferry.so"

needs_library = pytest.mark.skipif(
    not LIBRARY.exists() or not shutil.which("nm"), reason="make build/libferry.so, install binutils"
)


def declared() -> set[str]:
    return set(re.findall(r"^FERRY_API [^;(]*?(ferry_\w+)\(", HEADER, re.MULTILINE))


@needs_library
def test_the_library_exports_what_the_header_declares_and_nothing_else() -> None:
    table = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True).stdout
    assert {line.split()[-1] for line in table.splitlines()} == declared()


@needs_library
def test_the_library_needs_libc_alone() -> None:
    table = subprocess.run(["objdump", "-p", LIBRARY], check=True, capture_output=True, text=True).stdout
    assert {name for name in re.findall(r"NEEDED\s+(\S+)", table) if not name.startswith("ld-")} <= {"libc.so.6"}


@needs_library
def test_the_library_has_no_variables() -> None:
    table = subprocess.run(["nm", ROOT / "build" / "libferry.a"], check=True, capture_output=True, text=True).stdout
    assert [line for line in table.splitlines() if re.search(r" [BbDdC] ", line)] == []


def test_the_versions_agree() -> None:
    parts = [re.search(rf"#define FERRY_VERSION_{part} (\d+)", HEADER) for part in ("MAJOR", "MINOR", "PATCH")]
    version = ".".join(part.group(1) for part in parts if part)
    assert version == ferry.__version__ == importlib.metadata.version("ferry-fast")


def test_the_header_keeps_off_the_operating_system() -> None:
    assert set(re.findall(r"^#include <(.*)>", HEADER, re.MULTILINE)) == {"stddef.h", "stdint.h"}


def test_the_environment_in_the_header_compiles_and_plays(tmp_path: Path, runtime_dir: Path) -> None:
    program = HEADER.split("walk.c build/libferry.a -o walk):\n")[1].split(" * and from Python")[0]
    source = "\n".join(line.removeprefix(" *").removeprefix("     ") for line in program.splitlines())
    (tmp_path / "walk.c").write_text(source)
    library = ROOT / "build" / "libferry.a"
    if not library.exists():
        pytest.skip("make build/libferry.a")
    command = [
        "cc",
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{ROOT / 'include'}",
        "walk.c",
        str(library),
        "-o",
        "walk",
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    with ferry.launch([tmp_path / "walk"]) as env:
        assert env.action_space == gymnasium.spaces.Discrete(3, start=-1)
        env.reset()
        rewards = []
        for _ in range(10):
            observation, reward, terminated, _truncated, _info = env.step(1)
            rewards.append(reward)
        assert (observation.tolist(), terminated, rewards) == ([10], True, [0] * 9 + [1])


def test_the_protocol_lists_the_extension_types_of_the_code() -> None:
    listed = re.findall(
        r"^\| (\d+) \| (\w+) \|",
        (ROOT / "docs" / "protocol.md").read_text().split("## 5. Blobs")[1].split("## 6.")[0],
        re.MULTILINE,
    )
    documented = re.findall(r"^    (\d+)     (\w+)", blobs.__doc__ or "", re.MULTILINE)
    assert len(documented) > 0
    assert listed == documented


def test_the_protocol_lists_the_fields_of_the_structs() -> None:
    document = (ROOT / "docs" / "protocol.md").read_text()
    layout = (ROOT / "csrc" / "layout.h").read_text()
    for struct, title in (
        ("header", "**Header**"),
        ("group", "**Group**"),
        ("entry", "**Entry**"),
        ("line", "**Line**"),
        ("slot", "**Slot**"),
    ):
        size = re.search(rf"SIZE\(ferry__{struct}, (\w+)\)", layout)
        assert size is not None
        bytes_ = {"FERRY__LINE_BYTES": "128"}.get(size.group(1), size.group(1))
        section = document.split(title)[1][:200]
        assert f"{bytes_} bytes" in section, struct
        offsets = {int(at) for at in re.findall(rf"AT\(ferry__{struct}, \w+, (\d+)\)", layout)}
        table = document.split(title)[1].split("\n\n")[1]
        rows = {int(at) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for at in row.split(",")}
        assert offsets <= rows, (struct, offsets - rows)
