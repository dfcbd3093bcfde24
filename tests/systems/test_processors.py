"""Other processors: aarch64 under emulation, and 32 bits beside 64.

Emulated programs are processes of this kernel like any other, so that they meet native ones in the same memory. What
this cannot show is how an aarch64 machine orders memory: the processor below is this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
import legs
from conftest import PATIENCE
from ferry import paths

ROOT = legs.ROOT
HERE = Path(__file__).parent
# Two are left out: of the allocations in a million turns emulation changes nothing but the time they take, and what is
# resident after a thousand openings is the emulator's.
C_TESTS = [
    pytest.param(name, source, id=f"{name}-{source.stem}")
    for name in ("aarch64", "i686")
    for source in sorted((ROOT / "tests" / "c").glob("test_*.c"))
    if name != "aarch64" or source.stem not in ("test_no_malloc", "test_reopen")
]
# Every file but the platform and the one that includes all others: for tests that bring a platform of their own.
PORTABLE = [path for path in sorted((ROOT / "csrc").glob("*.c")) if not path.name.startswith(("libferry", "platform_"))]
STEPS = 3000
BUILD_LIMIT_S = 120.0
# A death is promised to be noticed within 50 ms; the rest is for a busy machine.
NOTICED_S = 1.0

WARNINGS = ["-Wall", "-Wextra", "-Werror"]
INCLUDE = f"-I{ROOT / 'include'}"


class Processor:
    """Makes programs for a processor, and starts them on this one.

    Attributes:
        name: As in the names of its tools.
        compiler: Its C compiler.
        flags: What that needs to make programs that find their libraries here.
        start: What comes before a program in a command.
    """

    def __init__(self, name: str, build: Path) -> None:
        self.name = name
        self.build = build
        self.flags: list[str] = []
        self.start: list[str] = []
        if name == "native":
            (self.compiler,) = legs.need("cc")
        elif name == "aarch64":
            self.compiler, emulator = legs.need("aarch64-linux-gnu-gcc", "qemu-aarch64")
            self.start = [emulator, "-L", str(self.find("libc.so.6").parent.parent)]
        else:
            (self.compiler,) = legs.need("i686-linux-gnu-gcc")
            loader = self.find("ld-linux.so.2")
            # Doubles as everybody else has them: the older unit computes with more bits.
            self.flags = ["-msse2", "-mfpmath=sse"]
            self.flags += [f"-Wl,--dynamic-linker={loader}", f"-Wl,-rpath,{loader.parent}"]
        self.library = build / "libferry.a"
        self.compile("-fvisibility=hidden", "-c", ROOT / "csrc/libferry.c", "-o", build / "libferry.o")
        archiver = "ar" if name == "native" else legs.need(self.compiler.removesuffix("gcc") + "ar")[0]
        run([archiver, "rcs", self.library, build / "libferry.o"])
        self.pole = self.program(ROOT / "examples/c/pole.c", self.library)
        self.player = self.program(HERE / "player.c", self.library)

    def find(self, file: str) -> Path:
        """Where the compiler has a file of its C library."""
        return Path(run([self.compiler, f"-print-file-name={file}"]).stdout.strip()).resolve()

    def compile(self, *arguments: str | Path) -> None:
        run([self.compiler, "-std=c99", "-O2", *WARNINGS, INCLUDE, *self.flags, *arguments])

    def program(self, source: Path, *rest: str | Path) -> Path:
        """Makes a program of a source and what it is linked with."""
        made = self.build / source.stem
        self.compile(source, *rest, "-lm", "-pthread", "-o", made)
        return made


def run(command: list[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, timeout=BUILD_LIMIT_S, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done


Make = Callable[[str], Processor]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Gives the processor of a name, with its library made."""
    made: dict[str, Processor] = {}

    def make(name: str) -> Processor:
        if name not in made:
            made[name] = Processor(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts a program of a processor; it is killed after the test, however that ends."""
    running: list[subprocess.Popen[str]] = []

    def begin(processor: Processor, program: Path, *arguments: str) -> subprocess.Popen[str]:
        command: list[str | Path] = [paths.launcher(), str(os.getpid()), *processor.start, program, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate(timeout=PATIENCE)


others = pytest.mark.parametrize("name", ["aarch64", "i686"])
paradigms = pytest.mark.parametrize("server", ["env", "agent"])


@others
@pytest.mark.parametrize("language", ["c99", "c++17"])
def test_every_file_compiles(name: str, language: str) -> None:
    """With it goes what csrc/layout.h asserts: sizes and places of all shared bytes."""
    (compiler,) = legs.need(f"{name}-linux-gnu-{'gcc' if language == 'c99' else 'g++'}")
    options = [
        "-x",
        language.rstrip("0123456789"),
        f"-std={language}",
        "-fsyntax-only",
        *WARNINGS,
        "-Wpedantic",
        INCLUDE,
    ]
    run([compiler, *options, *sorted((ROOT / "csrc").glob("*.c"))])


@pytest.mark.parametrize(("name", "source"), C_TESTS)
def test_c(make: Make, begin: Begin, name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = make(name)
    rest: list[str | Path] = [processor.library]
    if source.stem.startswith("test_fake_"):
        rest = [ROOT / "tests/c/fake_platform.c", *PORTABLE, "-DSTRIDE=100"]
        rest.append("-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free")
    wrapped = {"test_fake_moments": ["poll", "sleep"], "test_fake_wakeups": ["sleep"]}.get(source.stem, [])
    rest += [f"-Wl,--wrap=ferry__platform_{function}" for function in wrapped]
    program = processor.program(source, *rest, "-D_GNU_SOURCE", f"-I{ROOT / 'csrc'}")
    folder = Path("/tmp") / f"ferry-{os.getpid()}"  # sockets want short paths
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    try:
        process = begin(processor, program)
        output, errors = process.communicate(timeout=BUILD_LIMIT_S)
        assert process.returncode == 0, errors
    finally:
        shutil.rmtree(folder)
    # What test_leaving leaves out under an emulator that takes the advice MADV_WIPEONFORK and does not follow it.
    assert "left out" not in output or (name == "aarch64" and "on fork" in output)


def trajectory(begin: Begin, env: Processor, agent: Processor, server: str) -> str:
    """What an agent of one processor sees of a pole of another, bit by bit."""
    env_role, agent_role = ("serve", "connect") if server == "env" else ("connect", "serve")
    pole = begin(env, env.pole, f"{env_role}:pole")
    player = begin(agent, agent.player, f"{agent_role}:pole", str(STEPS))
    output, errors = player.communicate(timeout=PATIENCE)
    assert player.returncode == 0, errors
    pole.terminate()
    assert pole.wait(PATIENCE) == 0
    return output


@pytest.fixture(scope="module")
def native_trajectory(make: Make) -> Callable[[Begin], str]:
    """The native pole's, seen by a native agent."""
    known: list[str] = []

    def native_trajectory(begin: Begin) -> str:
        if not known:
            known.append(trajectory(begin, make("native"), make("native"), "env"))
        return known[0]

    return native_trajectory


@paradigms
@pytest.mark.parametrize(
    ("env", "agent"),
    [
        ("aarch64", "native"),
        ("native", "aarch64"),
        ("i686", "native"),
        ("native", "i686"),
        ("aarch64", "aarch64"),
        ("i686", "i686"),
        ("aarch64", "i686"),
        ("i686", "aarch64"),
    ],
)
def test_a_trajectory_is_the_native_one(
    make: Make, begin: Begin, native_trajectory: Callable[[Begin], str], env: str, agent: str, server: str
) -> None:
    expected = native_trajectory(begin)
    assert len(expected.splitlines()) > STEPS
    assert trajectory(begin, make(env), make(agent), server) == expected


def balance(env: gymnasium.Env[Any, Any], steps: int) -> list[tuple[Any, ...]]:
    """So many steps of a policy that keeps the pole up for a while."""
    seen: list[tuple[Any, ...]] = []
    over, state = True, np.zeros(4)
    for step in range(steps):
        if over:
            state, _ = env.reset(seed=step)
            seen.append((state.tobytes(),))
        state, reward, terminated, truncated, _ = env.step(int(state[2] + 0.3 * state[3] > 0))
        seen.append((state.tobytes(), reward, terminated, truncated))
        over = terminated or truncated
    return seen


@others
@pytest.mark.parametrize(("adapter", "role"), [(ferry.ClientEnv, "serve"), (ferry.ServerEnv, "connect")])
def test_python_sees_the_native_trajectory(
    make: Make, begin: Begin, name: str, adapter: type[ferry.ClientEnv | ferry.ServerEnv], role: str
) -> None:
    seen = []
    for processor in (make(name), make("native")):
        pole = begin(processor, processor.pole, f"{role}:pole")
        with adapter("pole", timeout=PATIENCE) as env:
            seen.append(balance(env, STEPS))
        pole.kill()
        pole.wait(PATIENCE)
    assert seen[0] == seen[1]


def test_one_batch_of_three_processors(make: Make, begin: Begin) -> None:
    """Their rows are the native ones'; all three ring one bell."""
    names = ["native", "aarch64", "i686"]
    for name in names:
        begin(make(name), make(name).pole, name, "2")
    with ferry.ClientVectorEnv(names, timeout=PATIENCE) as envs:
        observations, _ = envs.reset(seed=[1, 2] * len(names))
        for step in range(500):
            for other in (slice(2, 4), slice(4, 6)):
                np.testing.assert_array_equal(observations[other], observations[:2], strict=True)
            observations, rewards, *_ = envs.step(np.array([step % 2, step // 3 % 2] * len(names)))
            assert rewards.tolist() == [*rewards[:2]] * len(names)
        envs.send(np.zeros(2 * len(names), np.int64))
        assert len(envs.recv()[0]) == 2 * len(names)


@others
def test_a_death_is_noticed_on_both_sides(make: Make, begin: Begin, name: str) -> None:
    processor = make(name)
    pole = begin(processor, processor.pole, "pole")
    player = begin(make("native"), make("native").player, "pole", "1000000000")
    assert player.stdout is not None
    player.stdout.readline()  # it plays
    player.kill()
    with ferry.ClientEnv("pole", timeout=PATIENCE) as env:  # so the pole has noticed, and takes the next
        env.reset(seed=1)
        pole.kill()
        pole.wait(PATIENCE)
        start = time.monotonic()
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
        assert time.monotonic() - start < NOTICED_S
