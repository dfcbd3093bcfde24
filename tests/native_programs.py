"""Programs in C and C++ that are built with an installed Ferry, in the ways that build systems have."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import ferry
import legs

EXAMPLES = legs.ROOT / "examples"
PATIENCE = 110  # of one command, in seconds


def run(*command: str | Path, variables: dict[str, str] | None = None) -> str:
    """Returns what a command prints, given variables beside those of this process."""
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def check_plays(program: Path) -> None:
    """Plays a step of the pole that a program serves."""
    with ferry.launch([program]) as env:
        env.reset(seed=1)
        assert env.step(1)[1] == 1.0


def configure(build: Path, *options: str, wanted: str) -> subprocess.CompletedProcess[str]:
    """What CMake says of the project in tests/native, which wants a version of Ferry."""
    cmake, *_ = legs.need("cmake", "cc", "c++")
    project = ["-S", str(legs.ROOT / "tests" / "native"), "-B", str(build), f"-DPOLES={EXAMPLES}", f"-DWANTED={wanted}"]
    return subprocess.run([cmake, *project, *options], capture_output=True, text=True, timeout=PATIENCE, check=False)


def check_cmake(build: Path, *options: str, library: Path) -> None:
    """With these options a project finds Ferry, and its programs run, one of them by the shared library there."""
    done = configure(build, *options, wanted=ferry.__version__)
    assert done.returncode == 0, done.stdout + done.stderr
    run("cmake", "--build", build)
    for name in ("shared", "static", "cpp"):
        check_plays(build / name)
    assert f"libferry.so => {library}" in run("ldd", build / "shared")
    assert "libferry" not in run("ldd", build / "static")


def check_pkg_config(program: Path, folder: Path) -> None:
    """With this folder in PKG_CONFIG_PATH a compiler finds Ferry, and its program runs."""
    pkg_config, cc = legs.need("pkg-config", "cc")
    variables = {"PKG_CONFIG_PATH": str(folder)}
    assert run(pkg_config, "--modversion", "ferry", variables=variables).strip() == ferry.__version__
    flags = shlex.split(run(pkg_config, "--cflags", "--libs", "ferry", variables=variables))
    library = shlex.split(run(pkg_config, "--variable=libdir", "ferry", variables=variables))[0]
    run(cc, EXAMPLES / "c" / "pole.c", *flags, f"-Wl,-rpath,{library}", "-lm", "-o", program)
    check_plays(program)
