"""What native programs build with: libferry.hpp, and the library as two files."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import gymnasium
import pytest

import ferry
import legs
from test_library import declared

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
        ('ferry::Sequence(ferry::Box<float>("a", {2}), 4);', True),
        ('ferry::Sequence(ferry::Sequence(ferry::Box<float>("a", {2}), 4), 3);', False),  # one field, one capacity
        ('ferry::Sequence(ferry::Text("a", 100), 3);', False),
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


THROWS = """
#include <libferry.hpp>
#include <cstdio>

struct Thrower {
    ferry::Fields<> fields;
    ferry::Observation<ferry::Scalar<float>> seen = fields.observation(ferry::Scalar<float>(""));
    ferry::Action<ferry::Discrete<>> move = fields.action(ferry::Discrete("", 3));
    ferry::Env env;
    void reset(ferry::EnvRow row) { row[seen] = 0; }
    void step(ferry::EnvRow row) {
        row[seen] = 1;
        if (row[move] == 2) env.close();
        if (row[move] > 0) throw 7;
    }
};

int main() {
    Thrower game;
    auto opened = ferry::Env::open(ferry::EnvDesc(nullptr, game.fields));
    if (!opened) return 1;
    game.env = std::move(*opened);
    for (int caught = 0;;) try {
        if (!game.env.play(game)) return caught == 2 ? 0 : 2;
    } catch (int) {
        caught++;
    }
}
"""


def test_a_turn_that_a_game_leaves_by_an_exception_fails(tmp_path: Path) -> None:
    (compiler,) = legs.need("c++")
    (tmp_path / "thrower.cpp").write_text(THROWS)
    run(compiler, "-std=c++17", *WARNINGS, f"-I{INCLUDE}", "thrower.cpp", LIBRARY, "-o", "thrower", cwd=tmp_path)
    with ferry.launch([tmp_path / "thrower"]) as env:
        env.reset()
        with pytest.raises(ferry.BackendError, match="the environment has thrown an exception"):
            env.step(1)
        env.reset()
        assert env.step(0)[0] == 1
        with pytest.raises(ferry.PeerGoneError):
            env.step(2)  # closes its handle, and throws


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


# ---- The library as two files ----------------------------------------------------------------------------------------

C_COMPILERS = ["gcc", "clang"]
if (ROOT / "csrc" / "platform_windows.c").exists():
    C_COMPILERS.append("x86_64-w64-mingw32-gcc")


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libferry.h and libferry.c."""
    folder = tmp_path_factory.mktemp("amalgamation")
    run(sys.executable, ROOT / "tools" / "amalgamate.py", folder, cwd=folder)
    return folder


def test_the_library_is_two_files_and_small(two_files: Path) -> None:
    assert {path.name for path in two_files.iterdir()} == {"libferry.h", "libferry.c"}
    assert (two_files / "libferry.h").read_bytes() == (INCLUDE / "libferry.h").read_bytes()
    assert (two_files / "libferry.c").stat().st_size < 250_000


def instructions(compiler: str, source: Path, *options: str) -> list[str]:
    """What a compiler makes of the library, in its words, by the names of csrc."""
    told = run(compiler, "-O2", "-S", f"-I{INCLUDE}", *options, "-o", "-", source, cwd=source.parent)
    lines = [re.sub(r"\bfy_", "ferry__", line.split("#")[0].strip()) for line in told.splitlines()]
    return [line for line in lines if line and not line.startswith(".file")]


@pytest.mark.parametrize("compiler", C_COMPILERS)
def test_the_one_file_is_the_same_code(compiler: str, two_files: Path) -> None:
    """As its parts, where what they share is static there too."""
    (path,) = legs.need(compiler)
    one = instructions(path, two_files / "libferry.c")
    assert one == instructions(path, ROOT / "csrc" / "libferry.c", "-DFERRY__LOCAL=static")
    assert len(one) > 10_000


@pytest.mark.parametrize("compiler", C_COMPILERS)
def test_the_one_file_compiles_soon_and_without_a_warning(compiler: str, two_files: Path, tmp_path: Path) -> None:
    (path,) = legs.need(compiler)
    for language, standard in (("c", "c99"), ("c", "c11"), ("c++", "c++17")):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(
            path,
            "-x",
            language,
            f"-std={standard}",
            *WARNINGS,
            "-c",
            two_files / "libferry.c",
            "-o",
            "x.o",
            cwd=tmp_path,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_a_library_made_of_the_one_file_shows_what_the_header_declares(two_files: Path, tmp_path: Path) -> None:
    """Without -fvisibility: who vendors it need not know of that."""
    compiler, nm = legs.need("cc", "nm")
    run(compiler, "-O2", "-fPIC", "-shared", two_files / "libferry.c", "-o", "libvendored.so", cwd=tmp_path)
    table = run(nm, "-D", "--defined-only", "libvendored.so", cwd=tmp_path)
    assert {line.split()[-1] for line in table.splitlines()} == declared()


def test_a_program_with_the_two_files_in_it_plays(two_files: Path, tmp_path: Path) -> None:
    (compiler,) = legs.need("cc")
    for path in (*two_files.iterdir(), ROOT / "examples" / "c" / "pole.c"):
        shutil.copy(path, tmp_path)
    run(compiler, "-O2", "-I.", "pole.c", "libferry.c", "-lm", "-o", "pole", cwd=tmp_path)
    with ferry.launch([tmp_path / "pole"]) as env:
        env.reset(seed=1)
        assert env.step(1)[1] == 1.0


def test_what_two_systems_include_reaches_both(tmp_path: Path) -> None:
    """A header that is first met under a condition is not there for who does not fulfil it."""
    (compiler,) = legs.need("cc")
    files = {
        "libferry.c": '#ifdef A\n#include "a.c"\n#include "c.c"\n#else\n#include "b.c"\n#endif\n#include "c.c"\n',
        "a.c": '#include "part.h"\nint a = PART; // "part.h"\n',
        "b.c": '#include "part.h"\n#include "part.h"\nchar b[] = "/* PART */"; /* is\nmore */ int c = PART;\n'
        "#define D    \\\n7\nint d = D;\n",
        "c.c": '#include "part.h"\n',
        "part.h": "#ifndef PART_H\n#define PART_H\n#include <stddef.h>\n#if 1\n#define PART 7\n#endif\n\n#endif\n",
    }
    write_library(tmp_path, files)
    for option in ("-DA", "-DB"):
        one, parts = (
            run(compiler, "-E", "-P", option, f"{folder}/libferry.c", cwd=tmp_path).split()
            for folder in ("out", "csrc")
        )
        assert one == parts
        assert "7;" in "".join(one)
    assert (tmp_path / "out" / "libferry.c").read_text().count("#define PART 7") == 3  # A's, B's, and that of neither


def test_what_is_defined_before_it_is_used_has_no_prototype(tmp_path: Path) -> None:
    files = {
        "libferry.c": '#include "a.c"\n',
        "a.c": '#include "a.h"\nint ferry__one(void) { return 1; }\nvoid ferry__two(int x,\n int y) {\n}\n'
        "static int ferry__three(void) { return ferry__four(); }\nint ferry__four(void) {\n}\n"
        "#ifdef _WIN32\nint ferry__five(void) {\n}\nint ferry__six(void) {\n}\n#else\n"
        "#ifdef A\n#else\n#endif\nint ferry__six(void) { return ferry__five(); }\nint ferry__five(void) {\n}\n#endif\n",
        "a.h": "#ifndef A_H\n#define A_H\n#ifndef FERRY__LOCAL\n#ifdef B\n#define FERRY__LOCAL\n#else\n"
        '#define FERRY__LOCAL __attribute__((visibility("hidden")))\n#endif\n#endif\n'
        "FERRY__LOCAL int ferry__one(void);\nFERRY__LOCAL void ferry__two(int x,\n int y);\n"
        "FERRY__LOCAL int ferry__four(void);\nFERRY__LOCAL int ferry__five(void);\nFERRY__LOCAL int ferry__six(void);\n"
        "#endif\n",
    }
    write_library(tmp_path, files)
    lines = (tmp_path / "out" / "libferry.c").read_text().splitlines()
    assert [line for line in lines if "fy_" in line][1:] == [  # after the comment
        "static int fy_four(void);",
        "static int fy_five(void);",
        "static int fy_one(void) { return 1; }",
        "static void fy_two(int x,",
        "static int fy_three(void) { return fy_four(); }",
        "int fy_four(void) {",
        "int fy_five(void) {",
        "static int fy_six(void) {",
        "static int fy_six(void) { return fy_five(); }",
        "int fy_five(void) {",
    ]


def write_library(folder: Path, files: dict[str, str]) -> None:
    """Makes two files, in out, of such a csrc."""
    for name in ("include/libferry.h", "LICENSE", "tools/amalgamate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "csrc").mkdir()
    for name, text in files.items():
        (folder / "csrc" / name).write_text(text)
    run(sys.executable, "tools/amalgamate.py", "out", cwd=folder)
