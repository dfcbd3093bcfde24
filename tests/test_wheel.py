"""What is published: an sdist that has everything, and a wheel of it that works where there is no compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import ferry
from native_programs import check_cmake, check_pkg_config

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 110  # of one command, in seconds

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="install a C compiler")


def run(*command: str | Path, cwd: Path, path: str | None = None) -> str:
    """Returns what a command prints, in an environment that knows nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PATH"] = path
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", code, folder, cwd=ROOT)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--no-cache-dir")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, sdist, cwd=folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a venv with the wheel in it, which borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_sdist_has_every_file_that_git_has(sdist: Path) -> None:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in listing.stdout.splitlines() if (ROOT / name).exists()}
    assert {name for name in wanted - packed if not name.startswith((".ci/", ".git"))} == set()


def test_the_wheel_has_what_python_and_c_need_and_no_sources(unpacked: Path) -> None:
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    package = {name for name in names if ".dist-info/" not in name}
    python = {f"ferry/{path.name}" for path in (ROOT / "ferry").glob("*.py*") if path.suffix in (".py", ".pyi")}
    c = {
        "include/libferry.h",
        "include/libferry.hpp",
        "lib/libferry.a",
        "lib/libferry.so",
        "lib/launcher",
        "lib/cmake/ferry/ferryConfig.cmake",
        "lib/cmake/ferry/ferryConfigVersion.cmake",
        "lib/pkgconfig/ferry.pc",
        "examples/pole",
    }
    core = f"ferry/_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert package == python | {f"ferry/{name}" for name in c} | {core, "ferry/py.typed", "ferry/libferry.pxd"}


def test_the_wheel_is_small_for_it_has_no_symbols(wheel: Path, unpacked: Path) -> None:
    assert wheel.stat().st_size < 1_000_000
    for path in unpacked.rglob("*"):
        if path.suffix in (".so", ".a") or path.name in ("launcher", "pole"):
            content = path.read_bytes()
            assert b".debug_info" not in content, path
            assert path.suffix == ".a" or b".symtab" not in content, path


@pytest.mark.skipif(not shutil.which("objdump"), reason="install binutils")
def test_the_library_in_the_wheel_is_the_one_that_make_builds(unpacked: Path) -> None:
    told = []
    for library in (ROOT / "build" / "libferry.so", unpacked / "ferry" / "lib" / "libferry.so"):
        if not library.exists():
            pytest.skip(f"make {library}")
        headers = subprocess.run(["objdump", "-pT", library], check=True, capture_output=True, text=True).stdout
        names = re.findall(r"^\w+ g .*\s(ferry_\w+)$", headers, re.MULTILINE)
        told.append((re.findall(r"SONAME\s+(\S+)", headers), sorted(names)))
        assert len(names) > 0
    assert told[0] == told[1]


def test_the_wheel_plays_where_there_is_no_compiler(installed: Path, tmp_path: Path) -> None:
    path = str(installed)
    assert shutil.which("cc", path=path) is None
    run(installed / "python", ROOT / "tests" / "smoke.py", cwd=tmp_path, path=path)
    assert run(installed / "ferry", "--version", cwd=tmp_path, path=path) == f"ferry {ferry.__version__}\n"


def test_the_demo_runs_where_there_is_no_compiler(installed: Path, tmp_path: Path) -> None:
    told = run(installed / "ferry", "demo", "--output", tmp_path / "curve.png", cwd=tmp_path, path=str(installed))
    assert "mean return" in told


def test_the_wheel_says_how_to_build_a_c_program(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "c" / "pole.c", tmp_path)
    command = f"cc pole.c $('{installed}/ferry' --cflags --libs) -o pole"
    run("sh", "-c", command, cwd=tmp_path)
    assert str(ROOT) not in run(installed / "ferry", "--cflags", "--libs", cwd=tmp_path)
    with ferry.launch([tmp_path / "pole"]) as env:
        env.reset(seed=1)
        assert env.step(1)[1] == 1.0


def test_cmake_finds_the_wheel(installed: Path, tmp_path: Path) -> None:
    folder = run(installed / "ferry", "--cmakedir", cwd=tmp_path).strip()
    assert str(ROOT) not in folder
    library = Path(folder).parents[1] / "libferry.so"
    check_cmake(tmp_path / "build", f"-Dferry_DIR={folder}", library=library)


def test_pkg_config_finds_the_wheel(installed: Path, tmp_path: Path) -> None:
    folder = run(installed / "ferry", "--pkgconfigdir", cwd=tmp_path).strip()
    assert str(ROOT) not in folder
    check_pkg_config(tmp_path / "pole", Path(folder))
