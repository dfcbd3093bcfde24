"""The crate in bindings/rust: built by cargo and by rustc alone, and its example beside the pole in C."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import foreign
import legs
from foreign import Command, run

CRATE = legs.ROOT / "bindings" / "rust"
HERE = Path(__file__).parent / "rust"
NUM_STEPS = 5000


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[Command]:
    """The example, compiled without cargo as the README says, and with the crate that this made, everything."""
    [rustc] = legs.need("rustc")
    folder = tmp_path_factory.mktemp("rust")
    foreign.run_readme(CRATE / "README.md", "rustc", folder)
    build = folder / "build"
    crate = f"ferry={build / 'libferry.rlib'}"
    run(rustc, "--edition", "2021", "-O", "--extern", crate, "-o", build / "everything", HERE / "everything.rs")
    return [[str(build / "pole_rs")], [str(build / "everything")]]


@pytest.fixture(scope="module")
def pole(programs: list[Command]) -> Command:
    return programs[0]


@pytest.fixture(scope="module")
def everything(programs: list[Command]) -> Command:
    return programs[1]


def test_cargo_builds_and_tests_it(tmp_path: Path) -> None:
    """Offline, in a copy, so that nothing is left in the tree; the tests are those in its documentation."""
    [cargo] = legs.need("cargo")
    crate = shutil.copytree(CRATE, tmp_path / "crate", ignore=shutil.ignore_patterns("target", "Cargo.lock"))
    variables = {
        "FERRY_LIB_DIR": str(legs.ROOT / "build"),
        "RUSTFLAGS": "-D warnings",
        "RUSTDOCFLAGS": "-D warnings",
        "CARGO_TARGET_DIR": str(tmp_path / "target"),
    }
    said = run(cargo, "test", "--offline", "--jobs", "2", "--examples", "--lib", cwd=crate, env=variables)
    assert "0 failed" in said
    said = run(cargo, "test", "--offline", "--jobs", "2", "--doc", cwd=crate, env=variables)
    passed = re.search(r"(\d+) passed; 0 failed", said)
    assert passed
    assert int(passed.group(1)) >= 6


def test_cargo_says_where_the_library_should_be(tmp_path: Path) -> None:
    [rustc] = legs.need("rustc")
    program = tmp_path / "build"
    run(rustc, "--edition", "2021", "-o", program, CRATE / "build.rs")
    with pytest.raises(AssertionError, match="run `make build`, or set FERRY_LIB_DIR"):
        run(program, env={"FERRY_LIB_DIR": str(tmp_path)})


def test_clippy_has_nothing_to_say(tmp_path: Path) -> None:
    cargo, _ = legs.need("cargo", "cargo-clippy")
    variables = {"FERRY_LIB_DIR": str(legs.ROOT / "build"), "CARGO_TARGET_DIR": str(tmp_path / "target")}
    crate = shutil.copytree(CRATE, tmp_path / "crate", ignore=shutil.ignore_patterns("target", "Cargo.lock"))
    run(cargo, "clippy", "--offline", "--all-targets", "--", "-D", "warnings", cwd=crate, env=variables)


def test_the_pole_is_that_of_c(pole: Command) -> None:
    foreign.check_pole(pole)
    foreign.check_limit(pole)


def test_many_poles_are_those_of_c(pole: Command) -> None:
    foreign.check_rows(pole)


def test_an_error_has_the_full_text(pole: Command) -> None:
    foreign.check_second_server(pole)


def test_everything_arrives(everything: Command) -> None:
    foreign.check_everything(everything)


def test_misuse_is_noticed(everything: Command) -> None:
    foreign.check_misuse(everything, {"waiting", "looking", "key", "row"})


def test_a_panic_in_the_log_stays_there(everything: Command) -> None:
    foreign.check_everything([*everything, "panic"])


def test_a_step_does_not_allocate(everything: Command) -> None:
    said = foreign.last_words(everything, NUM_STEPS)
    assert "log: the agent" in said
    assert f"left: Closed, 0 allocations since step {foreign.WARM_UP}" in said


def test_an_allocation_would_be_counted(everything: Command) -> None:
    said = foreign.last_words([*everything, "leak"], NUM_STEPS)
    counted = re.search(r"left: Closed, (\d+) allocations", said)
    assert counted
    assert int(counted.group(1)) >= NUM_STEPS - foreign.WARM_UP
