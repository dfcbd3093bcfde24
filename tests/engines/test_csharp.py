"""The binding in bindings/csharp, compiled and run by Mono, and its example beside the pole in C."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import ferry
import foreign
import legs
from foreign import Command, run

BINDING = legs.ROOT / "bindings" / "csharp"
HERE = Path(__file__).parent / "csharp"
NUM_STEPS = 5000


def compile_with(mcs: str, mono: str, folder: Path, source: Path) -> Command:
    """Compiles a program with the binding, and puts the library beside it."""
    program = folder / f"{source.stem}.exe"
    run(mcs, "-unsafe", "-optimize", "-langversion:7", "-warnaserror", f"-out:{program}", BINDING / "Ferry.cs", source)
    (folder / "libferry.so").symlink_to(legs.ROOT / "build" / "libferry.so")
    return [mono, str(program)]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Command:
    mcs, mono = legs.need("mcs", "mono")
    return compile_with(mcs, mono, tmp_path_factory.mktemp("everything"), HERE / "Everything.cs")


@pytest.fixture(scope="module")
def pole(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Compiled as the README says."""
    _, mono = legs.need("mcs", "mono")
    folder = tmp_path_factory.mktemp("pole")
    foreign.run_readme(BINDING / "README.md", "mcs", folder)
    return [mono, str(folder / "build" / "pole.exe")]


def test_the_pole_is_that_of_c(pole: Command) -> None:
    """But for the last bit of sine and cosine, which Mono has of the processor, and which grows in an unstable pole."""
    foreign.check_pole(pole, atol=1e-6, num_steps=200)
    foreign.check_limit(pole)


def test_many_poles_are_those_of_c(pole: Command) -> None:
    foreign.check_rows(pole, atol=1e-6)


def test_an_error_has_the_full_text(pole: Command) -> None:
    foreign.check_second_server(pole)


def test_everything_arrives(everything: Command) -> None:
    foreign.check_everything(everything)


def test_misuse_is_noticed(everything: Command) -> None:
    foreign.check_misuse(everything, {"waiting", "looking", "key", "row", "over"})


@pytest.mark.parametrize("mode", ["throw", "hide", "dispose"])
def test_what_the_log_does_wrong_stays_there(everything: Command, mode: str) -> None:
    foreign.check_everything([*everything, mode])


def test_it_waits_through_collections(everything: Command) -> None:
    """Mono's collector signals the thread that sleeps in the library."""
    said = foreign.last_words([*everything, "collect"], NUM_STEPS)
    counted = re.search(r"(\d+) collections", said)
    assert counted
    assert int(counted.group(1)) > 0


def test_a_step_leaves_no_garbage(everything: Command) -> None:
    said = foreign.last_words(everything, NUM_STEPS)
    assert "log: the agent" in said
    counted = re.search(r"left: Closed, (\d+) bytes and 0 collections", said)
    assert counted
    # What was connected and said goodbye in between has been logged: that, and not one byte for each step.
    assert int(counted.group(1)) < NUM_STEPS


def test_garbage_would_be_counted(everything: Command) -> None:
    said = foreign.last_words([*everything, "leak"], NUM_STEPS)
    counted = re.search(r"left: Closed, (\d+) bytes", said)
    assert counted
    assert int(counted.group(1)) > 10 * NUM_STEPS


def test_the_environment_in_its_first_comment_plays(tmp_path: Path) -> None:
    mcs, mono = legs.need("mcs", "mono")
    comment = (BINDING / "Ferry.cs").read_text().split("//\n")[1]
    program = "\n".join(line.removeprefix("//") for line in comment.splitlines())
    source = tmp_path / "Walk.cs"
    source.write_text(f"public static class Walk {{ public static void Main() {{\n{program}\n}} }}\n")
    command = compile_with(mcs, mono, tmp_path, source)
    with foreign.running(command, "walk", stderr=subprocess.DEVNULL), ferry.ClientEnv("walk") as env:
        env.reset()
        assert [float(env.step(1)[1]) for _ in range(10)] == [0] * 9 + [1]
