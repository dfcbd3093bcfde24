"""What native programs build with: libferry.hpp, and the library as two files."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path

import gymnasium
import pytest

import ferry
import legs

ROOT = legs.ROOT
INCLUDE = ROOT / "include"
LIBRARY = ROOT / "build" / "libferry.a"
PATIENCE = 60
WARNINGS = ["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
CPP_ALONE = ["-fno-exceptions", "-fno-rtti"]
CPP_SOURCES = [ROOT / "examples/cpp/pole.cpp", ROOT / "tests/interop/cpp/drift.cpp", ROOT / "tests/cpp/test_header.cpp"]


def run(*command: str | Path, cwd: Path) -> str:
    """Returns what a command prints."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


# ---- libferry.hpp ----------------------------------------------------------------------------------------------------


def programs_in_the_header() -> list[str]:
    """The indented programs in the comment that libferry.hpp begins with: an environment, and an agent's main."""
    comment = (INCLUDE / "libferry.hpp").read_text().split("*/")[0]
    lines = [line.removeprefix(" *").removeprefix(" ") for line in comment.splitlines()]
    text = "\n".join(line if line.startswith("    ") or not line else "\f" for line in lines)
    return [textwrap.dedent(part).strip() for part in text.split("\f") if part.strip()]


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
@pytest.mark.parametrize("compiler", ["g++", "clang++", "x86_64-w64-mingw32-g++"])
def test_the_cpp_header_compiles_without_a_warning(compiler: str, standard: str, tmp_path: Path) -> None:
    (path,) = legs.need(compiler)
    sources = [source for source in CPP_SOURCES if "mingw" not in compiler or source.name != "test_header.cpp"]
    for source in sources:
        run(
            path, f"-std={standard}", *WARNINGS, *CPP_ALONE, f"-I{INCLUDE}", "-D_GNU_SOURCE", "-c", source, cwd=tmp_path
        )


def test_the_environment_and_the_agent_in_the_cpp_header_play(tmp_path: Path, runtime_dir: Path) -> None:
    (compiler,) = legs.need("c++")
    walk, agent = programs_in_the_header()
    (tmp_path / "walk.cpp").write_text(walk)
    report = 'auto last = agent->request();\nreturn std::printf("%s\\n", last ? "terminated" : "not answered"), 0;\n'
    includes = "#include <libferry.hpp>\n#include <cstdio>\n"
    (tmp_path / "agent.cpp").write_text(f"{includes}int main() {{\n{agent}\n{report}}}\n")
    for name in ("walk", "agent"):
        run(
            compiler,
            "-std=c++17",
            *WARNINGS,
            *CPP_ALONE,
            f"-I{INCLUDE}",
            f"{name}.cpp",
            LIBRARY,
            "-o",
            name,
            cwd=tmp_path,
        )
    with ferry.launch([tmp_path / "walk"]) as env:
        assert env.action_space == gymnasium.spaces.Discrete(3, start=-1)
        env.reset()
        rewards = [env.step(1)[1] for _ in range(9)]
        observation, reward, terminated, _truncated, _info = env.step(1)
        assert (observation.tolist(), terminated, [*rewards, reward]) == ([10], True, [0] * 9 + [1])
    served = subprocess.Popen([tmp_path / "walk"])
    try:
        assert run(tmp_path / "agent", cwd=tmp_path) == "terminated\n"
    finally:
        served.kill()
        served.wait()


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ("row[position][0] = float(row[move]);", True),
        ("row[move] = 1;", False),  # the agent's
        ("ferry::Span<double> all = row[position];", False),
        ("ferry::Span<const float> all = row[position];", True),
        ("float *first = row[position].data();", True),
        ("double *first = row[position].data();", False),
        ("answer[position][0] = 1;", False),  # the environment's
        ("answer[move];", False),
        ("request[move] = 1;", True),
        ("request[position];", False),
        ("ferry::Env another(std::move(env));", True),
        ("ferry::Env another(env);", False),
        ('ferry::Box<long double> wide("wide", {1});', False),
    ],
)
def test_what_does_not_fit_does_not_compile(line: str, is_right: bool, tmp_path: Path) -> None:
    (compiler,) = legs.need("c++")
    arguments = (
        "ferry::EnvRow row, ferry::Answer answer, ferry::Request request, ferry::Env env,"
        "ferry::Observation<ferry::Box<float>> position, ferry::Action<ferry::Discrete<>> move"
    )
    (tmp_path / "x.cpp").write_text(f"#include <libferry.hpp>\nvoid x({arguments}) {{ {line} }}\n")
    command = [compiler, "-std=c++17", "-fsyntax-only", f"-I{INCLUDE}", "x.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode == 0) == is_right, done.stderr


def test_the_cpp_header_needs_no_cpp_library(tmp_path: Path) -> None:
    """The driver for C links none: what throws, allocates by new, or asks for a type at run time is missed."""
    cpp, c = legs.need("c++", "cc")
    for source in CPP_SOURCES[1:]:
        run(cpp, "-std=c++17", *WARNINGS, *CPP_ALONE, f"-I{INCLUDE}", "-D_GNU_SOURCE", "-c", source, cwd=tmp_path)
        run(c, f"{source.stem}.o", LIBRARY, "-lm", "-o", source.stem, cwd=tmp_path)


def macros(compiler: str, text: str, folder: Path) -> set[str]:
    (folder / "macros.cpp").write_text(text)
    told = run(compiler, "-std=c++17", "-dM", "-E", f"-I{INCLUDE}", "macros.cpp", cwd=folder)
    return set(re.findall(r"^#define (\w+)", told, re.MULTILINE))


def test_the_cpp_header_defines_no_macro_and_minds_none(tmp_path: Path) -> None:
    """Those of engines and of windowing systems are all over a program that uses them."""
    (compiler,) = legs.need("c++")
    others = re.findall(r"^#include (.*)", (INCLUDE / "libferry.hpp").read_text(), re.MULTILINE)
    before = "".join(f"#include {name}\n" for name in others)
    assert macros(compiler, '#include "libferry.hpp"\n', tmp_path) - macros(compiler, before, tmp_path) == {
        "LIBFERRY_HPP"
    }
    taken = "min max check verify ensure TEXT ERROR IN OUT OPTIONAL near far small interface PI UI"  # engines, Windows
    taken += " Bool Status None True False Always Success"  # X11
    hostile = "".join(f"#define {name} =not C++=\n" for name in taken.split())
    (tmp_path / "hostile.cpp").write_text(f'{before}{hostile}#include "libferry.hpp"\n')
    run(compiler, "-std=c++17", *WARNINGS, f"-I{INCLUDE}", "-c", "hostile.cpp", cwd=tmp_path)
