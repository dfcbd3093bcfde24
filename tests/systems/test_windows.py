"""Ferry for Windows: cross-compiled, and run under Wine, which stands in for Windows here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
PATIENT = pytest.mark.timeout(600)  # the first of them compiles the module


def make(*command: str | os.PathLike[str]) -> None:
    """Compiles or links."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr


class Program:
    """A Windows program that runs, and dies with this process.

    Its input and output are pipes, because Windows' Python under Wine takes no files. Nobody waits for the end of its
    output: services that it happens to start outlive it, and hold the pipe open.
    """

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self._command = command
        self._printed = b""
        self._process = subprocess.Popen(
            [str(paths.launcher()), str(os.getpid()), *command],
            env=env,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        os.set_blocking(self._process.stdout.fileno(), False)

    def printed(self) -> str:
        """What it has printed so far."""
        assert self._process.stdout is not None
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._process.stdout.fileno(), 1 << 16):
                self._printed += part
        return self._printed.decode(errors="replace")

    def wait(self, seconds: float = RUN_S) -> int:
        """Waits for its end; returns its exit code."""
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                self.end()
                raise AssertionError(f"{self._command} has not ended after {seconds} s:\n{self.printed()}")
            self.printed()  # so that its pipe does not fill up
            time.sleep(0.02)
        return self._process.returncode

    def end(self) -> None:
        """Kills it, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(RUN_S)
        assert self._process.stdout is not None
        self.printed()
        self._process.stdout.close()


class Wine:
    """A Windows of its own, in a folder.

    Args:
        folder: Where it may live.
    """

    def __init__(self, folder: Path) -> None:
        self._command, self._server = legs.need("wine", "wineserver")
        self._folder = folder
        self._env = {
            key: value for key, value in os.environ.items() if key != "DISPLAY" and not key.startswith("FERRY_")
        }
        self._env |= {"WINEPREFIX": str(folder / "prefix"), "WINEDEBUG": "-all"}
        self._env["FERRY_RUNTIME_DIR"] = "C:\\ferry"
        self.boot()

    def boot(self) -> None:
        """Makes it, and says that it is Windows 10; its services start here, with nobody's pipes."""
        for command in (["wineboot", "-i"], ["winecfg", "-v", "win10"]):
            subprocess.run(
                [self._command, *command],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
                timeout=BOOT_S,
            )

    def close(self) -> None:
        """Ends everything that runs in it."""
        subprocess.run([self._server, "-k"], env=self._env, check=False, timeout=RUN_S)
        shutil.rmtree(self._folder / "prefix", ignore_errors=True)

    def start(self, *command: str | os.PathLike[str]) -> Program:
        """Starts a program."""
        return Program([self._command, *map(str, command)], self._env, self._folder)

    def run(self, *command: str | os.PathLike[str]) -> str:
        """Runs a program that must succeed; returns what it printed."""
        program = self.start(*command)
        try:
            code = program.wait()
            text = program.printed()
        finally:
            program.end()
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


@pytest.mark.parametrize("name", ["turns", "blobs", "calls", "rows", "spec", "leaving", "observer", "realtime"])
def test_the_c_tests_pass(wine: Wine, compiler: str, library: Path, tmp_path: Path, name: str) -> None:
    program = tmp_path / f"test_{name}.exe"
    make(compiler, *FLAGS, *TEST_FLAGS, "-o", program, ROOT / f"tests/c/test_{name}.c", library)
    wine.run(program)


def test_what_is_windows_own(wine: Wine, compiler: str, library: Path, tmp_path: Path) -> None:
    make(compiler, *FLAGS, *TEST_FLAGS, "-o", tmp_path / "test_windows.exe", HERE / "test_windows.c", library)
    printed = wine.run(tmp_path / "test_windows.exe")
    assert "turns/s" in printed, printed
    print(printed)


@pytest.fixture(scope="module")
def dll(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dynamic library, with libferry.dll.a for the linker beside it."""
    dll = tmp_path_factory.mktemp("dll") / "ferry.dll"
    implib = f"-Wl,--out-implib,{dll.parent / 'libferry.dll.a'}"
    make(compiler, *FLAGS, "-DFERRY_SHARED", "-shared", "-o", dll, ROOT / "csrc/libferry.c", implib)
    return dll


def test_a_program_with_the_dll_plays(wine: Wine, compiler: str, dll: Path) -> None:
    program = dll.parent / "test_turns.exe"
    shared = ["-DFERRY_SHARED", f"-L{dll.parent}", "-lferry.dll"]
    make(compiler, *FLAGS, *TEST_FLAGS[:-1], "-o", program, ROOT / "tests/c/test_turns.c", *shared)
    wine.run(program)


def test_a_dll_exports_what_the_header_declares(dll: Path) -> None:
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


# ---- Python ----


class Player:
    """Runs tests/systems/windows/play.py in a Python for Windows."""

    def __init__(self, wine: Wine, python: Path) -> None:
        self.wine = wine
        self._command = [python, HERE / "play.py"]

    def start(self, side: str, address: str) -> Program:
        """Starts a side."""
        return self.wine.start(*self._command, side, address)

    def command(self, *arguments: str) -> Program:
        """Starts `python -m ferry`."""
        return self.wine.start(self._command[0], "-m", "ferry", *arguments)

    def run(self, side: str, address: str = "pole") -> dict[str, Any]:
        """Plays a side, and returns what it says at the end."""
        printed = self.wine.run(*self._command, side, address).splitlines()
        result: dict[str, Any] = json.loads(printed[-1])
        return result


@pytest.fixture(scope="module")
def player(wine: Wine, compiler: str) -> Player:
    """Ferry in a Python for Windows."""
    assert compiler
    build = [sys.executable, str(ROOT / "tools/build_windows.py"), str(ROOT / "build/windows")]
    fetched = subprocess.run([*build, "--fetch"], capture_output=True, text=True, timeout=RUN_S, check=False)
    if fetched.returncode != 0:
        legs.miss(f"a Python for Windows cannot be fetched: {fetched.stderr[-500:]}", "python.exe")
    built = subprocess.run(build, capture_output=True, text=True, timeout=4 * RUN_S, check=False)
    assert built.returncode == 0, built.stderr
    return Player(wine, Path(built.stdout.strip()))


@PATIENT
def test_python_plays_python_that_serves(player: Player) -> None:
    server = player.start("ServerBackend", "pole")
    try:
        assert player.run("ClientEnv")["episodes"] > 100
        assert player.run("ClientEnv")["episodes"] > 100  # the next agent is taken
    finally:
        server.end()


@PATIENT
def test_python_plays_python_that_connects(player: Player) -> None:
    backend = player.start("ClientBackend", "pole")
    try:
        assert player.run("ServerEnv")["episodes"] > 100
        assert backend.wait() == 0, backend.printed()  # it ends when its agent has closed
    finally:
        backend.end()


@PATIENT
def test_python_plays_c(player: Player, compiler: str, library: Path, tmp_path: Path) -> None:
    pole = tmp_path / "pole.exe"
    make(compiler, *FLAGS, "-o", pole, ROOT / "examples/c/pole.c", library)
    one = player.wine.start(pole, "pole")
    many = player.wine.start(pole, "poles", "8")
    try:
        played = player.run("ClientEnvInC")
        print(played)
        assert played["steps"] > 10
        assert player.run("vector", "poles") == {"shape": [8, 4]}
    finally:
        one.end()
        many.end()


@PATIENT
def test_the_command_serves_and_launch_attaches(player: Player) -> None:
    server = player.command("serve", "CartPole-v1", "--address", "served")
    try:
        assert player.run("attached", "served")["episodes"] > 100
        assert "serving CartPole-v1 as 'served'" in server.printed()
    finally:
        server.end()


@PATIENT
def test_workers_are_gymnasiums(player: Player) -> None:
    assert player.run("workers") == {"shape": [2, 4]}


@PATIENT
def test_what_windows_lacks_is_said(player: Player) -> None:
    listing = player.command("ls")
    try:
        assert listing.wait() == 1
        assert "on Windows there is `ferry serve`" in listing.printed()
    finally:
        listing.end()
    said = player.run("refusals")
    assert "NotImplementedError: launch starts no processes on Windows yet" in said["launch"]
    assert "on Windows no connection is inherited; use a name" in said["fd"]
