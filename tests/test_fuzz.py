"""What the fuzz targets begin with, replayed: real regions and games, and every input that has once shown a fault."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import legs

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
PROGRAMS = ROOT / "build" / "fuzz" / "checked"
TARGETS = sorted(path.stem for path in (ROOT / "tests" / "fuzz").glob("fuzz_*.c") if path.stem != "fuzz_platform")

PYTHON_TARGETS = sorted(path.stem for path in (ROOT / "tests" / "fuzz").glob("fuzz_*.py"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Builds the targets, where clang has a fuzzer."""
    clang, make = legs.need("clang", "make")
    source = tmp_path_factory.mktemp("fuzzer") / "target.c"
    source.write_text("int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return data && !size; }")
    probe = [clang, "-fsanitize=fuzzer,address,undefined", str(source), "-o", str(source.with_suffix(""))]
    if subprocess.run(probe, capture_output=True, timeout=60).returncode != 0:
        legs.miss("clang has no fuzzer here (libclang-rt-dev)", "libfuzzer")
    subprocess.run([make, "-j2", "fuzz-checked", f"FUZZ_CC={clang}"], cwd=ROOT, check=True, timeout=300)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_in_the_corpus_shows_a_fault(target: str, tmp_path: Path) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    command = [
        str(PROGRAMS / target),
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-malloc_limit_mb=512",
        "-artifact_prefix=",
        *map(str, inputs),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Executed ") == len(inputs)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_of_this_version_of_the_layout(target: str, tmp_path: Path) -> None:
    subprocess.run([PROGRAMS / "make_corpus", tmp_path], check=True, timeout=60)
    made, kept = files(tmp_path / target), files(CORPUS / target)
    stale = [name for name, content in made.items() if kept.get(name) != content]
    assert not stale, "make fuzz-corpus writes them anew"
    assert all(name in made or name.startswith(("found_", "reaches_")) for name in kept)


@pytest.mark.usefixtures("programs")
def test_the_corpus_reaches_every_branch_of_the_checks(tmp_path: Path) -> None:
    """If it does not, `make fuzz` finds what does, or tools/fuzz_reached.py names why nothing can."""
    profdata, _ = legs.need("llvm-profdata", "llvm-cov")
    clang, make = legs.need("clang", "make")
    subprocess.run([make, "-j2", "fuzz-counted", f"FUZZ_CC={clang}"], cwd=ROOT, check=True, timeout=300)
    counted = PROGRAMS.parent / "counted"
    for target in TARGETS:
        variables = {**os.environ, "LLVM_PROFILE_FILE": str(tmp_path / f"{target}.profraw")}
        command = [counted / target, *sorted((CORPUS / target).iterdir())]
        subprocess.run(command, cwd=tmp_path, env=variables, check=True, capture_output=True, timeout=120)
    profile = tmp_path / "reached.profdata"
    subprocess.run([profdata, "merge", "-o", profile, *tmp_path.glob("*.profraw")], check=True, timeout=60)
    report = [sys.executable, "tools/fuzz_reached.py", str(profile), *(str(counted / target) for target in TARGETS)]
    done = subprocess.run(report, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", PYTHON_TARGETS)
def test_nothing_in_the_corpus_of_python_shows_a_fault(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "fuzz"))
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        importlib.import_module(target).one_input(path.read_bytes())


def test_the_corpus_of_python_is_what_its_maker_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tests/fuzz/make_python_corpus.py", tmp_path], check=True, timeout=60)
    for target in PYTHON_TARGETS:
        made, kept = files(tmp_path / target), files(CORPUS / target)
        assert not [name for name, content in made.items() if kept.get(name) != content], "make fuzz-corpus"
        assert all(name in made or name.startswith(("found_", "reaches_")) for name in kept)


@pytest.mark.parametrize("seconds", ["", "0", "-1", "abc"])
@pytest.mark.parametrize("tool", ["fuzz.sh", "fuzz_python.sh"])
def test_what_is_no_time_to_fuzz_for_is_refused(tool: str, seconds: str, tmp_path: Path) -> None:
    python = ["python"] if tool == "fuzz_python.sh" else []
    command = [str(ROOT / "tools" / tool), *python, str(tmp_path), seconds, "fuzz_no_target"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "FUZZ_SECONDS" in done.stderr
    assert list(tmp_path.iterdir()) == []
