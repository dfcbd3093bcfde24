"""Ferry for Windows: cross-compiled, and run under Wine, which stands in for Windows here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import legs
from ferry import paths

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "windows"
TARGET = "x86_64-w64-mingw32"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}"]
# Children of a C test are the program once more, at the same address (check_windows.h).
TEST_FLAGS = ["-D_GNU_SOURCE", f"-I{ROOT / 'csrc'}", "-Wl,--disable-dynamicbase", "-static"]
BOOT_S, RUN_S = 120.0, 100.0


def make(*command: str | os.PathLike[str]) -> None:
    """Compiles or links."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr


class Wine:
    """A Windows of its own, in a folder.

    Args:
        folder: Where it may live.
    """

    def __init__(self, folder: Path) -> None:
        self._command, self._server = legs.need("wine", "wineserver")
        self._folder = folder
        self._count = 0
        self._env = {
            key: value for key, value in os.environ.items() if key != "DISPLAY" and not key.startswith("FERRY_")
        }
        self._env |= {"WINEPREFIX": str(folder / "prefix"), "WINEDEBUG": "-all"}
        self.run("wineboot", "-i", seconds=BOOT_S)

    def close(self) -> None:
        """Ends everything that runs in it."""
        subprocess.run([self._server, "-k"], env=self._env, check=False, timeout=RUN_S)
        shutil.rmtree(self._folder / "prefix", ignore_errors=True)

    def start(self, *command: str | os.PathLike[str], **variables: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Starts a program, which dies with this process; and the file that receives what it prints.

        A file, because services that outlive the program would hold a pipe open.
        """
        self._count += 1
        printed = self._folder / f"printed-{self._count}"
        with printed.open("wb") as out:
            process = subprocess.Popen(
                [str(paths.launcher()), str(os.getpid()), self._command, *map(str, command)],
                env=self._env | variables,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, printed

    def run(self, *command: str | os.PathLike[str], seconds: float = RUN_S, **variables: str) -> str:
        """Runs a program that must succeed; returns what it printed."""
        process, printed = self.start(*command, **variables)
        try:
            code = process.wait(seconds)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        text = printed.read_text(errors="replace")
        assert code == 0, f"{command} ended with {code}:\n{text}"
        return text


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    """A Windows for the tests of this file."""
    wine = Wine(tmp_path_factory.mktemp("wine"))
    yield wine
    wine.close()


@pytest.fixture(scope="module")
def compiler() -> str:
    """The C compiler that makes Windows' programs."""
    return legs.need(f"{TARGET}-gcc")[0]


@pytest.fixture(scope="module")
def library(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static library."""
    folder = tmp_path_factory.mktemp("library")
    make(compiler, *FLAGS, "-c", "-o", folder / "libferry.o", ROOT / "csrc/libferry.c")
    make(f"{TARGET}-ar", "rcs", folder / "libferry.a", folder / "libferry.o")
    return folder / "libferry.a"


@pytest.mark.parametrize(("language", "standard", "suffix"), [("c", "c99", "gcc"), ("c++", "c++17", "g++")])
def test_every_file_compiles_without_a_warning(tmp_path: Path, language: str, standard: str, suffix: str) -> None:
    (command,) = legs.need(f"{TARGET}-{suffix}")
    flags = ["-x", language, f"-std={standard}", *WARNINGS, f"-I{ROOT / 'include'}"]
    make(command, *flags, "-fsyntax-only", *(path for path in ROOT.glob("csrc/*.c") if path.stem != "platform_linux"))
    make(command, *flags, "-O2", "-c", "-o", tmp_path / "o", ROOT / "csrc/libferry.c")


@pytest.mark.parametrize("name", ["turns", "blobs", "calls", "rows", "spec", "leaving"])
def test_the_c_tests_pass(wine: Wine, compiler: str, library: Path, tmp_path: Path, name: str) -> None:
    program = tmp_path / f"test_{name}.exe"
    make(compiler, *FLAGS, *TEST_FLAGS, "-o", program, ROOT / f"tests/c/test_{name}.c", library)
    wine.run(program)


def test_what_is_windows_own(wine: Wine, compiler: str, library: Path, tmp_path: Path) -> None:
    make(compiler, *FLAGS, *TEST_FLAGS, "-o", tmp_path / "test_windows.exe", HERE / "test_windows.c", library)
    printed = wine.run(tmp_path / "test_windows.exe")
    assert "turns/s" in printed, printed
    print(printed)


def test_a_dll_exports_what_the_header_declares(compiler: str, tmp_path: Path) -> None:
    dll = tmp_path / "ferry.dll"
    make(compiler, *FLAGS, "-DFERRY_SHARED", "-shared", "-o", dll, ROOT / "csrc/libferry.c")
    shown = subprocess.run([f"{TARGET}-objdump", "-p", dll], capture_output=True, text=True, check=True).stdout
    table = shown[shown.index("[Ordinal/Name Pointer] Table") :].split("\n\n")[0]
    exported = {line.split()[-1] for line in table.splitlines()[1:]}
    header = (ROOT / "include/libferry.h").read_text()
    declared = {
        part.split("(")[0].split()[-1].lstrip("*")
        for part in header.split("FERRY_API ")[1:]
        if "(" in part.split(";")[0]
    }
    assert exported == {name for name in declared if name.startswith("ferry_")}
