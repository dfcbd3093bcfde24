"""What `make install` installs for C and C++ programs, and where a checkout has the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ferry
import legs
from ferry import paths
from ferry.__main__ import main
from native_programs import check_cmake, check_pkg_config, configure, run

INSTALLED = {
    "include/libferry.h",
    "include/libferry.hpp",
    "lib/libferry.a",
    "lib/libferry.so",
    "lib/cmake/ferry/ferryConfig.cmake",
    "lib/cmake/ferry/ferryConfigVersion.cmake",
    "lib/pkgconfig/ferry.pc",
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `make install` has put it, and it was moved to afterwards."""
    (make,) = legs.need("make")
    folder = tmp_path_factory.mktemp("install")
    run(make, "-C", legs.ROOT, "install", f"PREFIX={folder / 'there'}")
    return (folder / "there").rename(folder / "moved away")


def test_an_installation_is_complete(prefix: Path) -> None:
    assert files(prefix) == INSTALLED


def test_an_installation_can_be_staged(tmp_path: Path) -> None:
    (make,) = legs.need("make")
    run(make, "-C", legs.ROOT, "install", f"DESTDIR={tmp_path}", "PREFIX=/opt/ferry")
    assert files(tmp_path) == {f"opt/ferry/{name}" for name in INSTALLED}


def test_cmake_finds_an_installation(prefix: Path, tmp_path: Path) -> None:
    check_cmake(tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}", library=prefix / "lib" / "libferry.so")


def test_pkg_config_finds_an_installation(prefix: Path, tmp_path: Path) -> None:
    check_pkg_config(tmp_path / "pole", prefix / "lib" / "pkgconfig")


@pytest.mark.parametrize("compatible", [True, False])
def test_cmake_takes_compatible_versions_alone(compatible: bool, prefix: Path, tmp_path: Path) -> None:
    major, minor, patch = (int(part) for part in re.findall(r"\d+", ferry.__version__))
    good = [f"{major}", f"{major}.{minor}", f"{major}.{minor}.{patch}"]
    bad = [f"{major}.{minor + 1}", f"{major}.{minor}.{patch + 1}", f"{major + 1}"]
    for wanted in good if compatible else bad:
        done = configure(tmp_path / wanted, f"-DCMAKE_PREFIX_PATH={prefix}", wanted=wanted)
        assert (done.returncode == 0) == compatible, done.stdout + done.stderr
        assert compatible or f"version: {ferry.__version__}" in done.stderr


# ---- In a checkout ---------------------------------------------------------------------------------------------------


def test_a_checkout_has_the_same(tmp_path: Path) -> None:
    assert ferry.get_include() == paths.include()
    assert ferry.get_library_dir() == paths.library()
    folder = ferry.get_cmake_dir().parents[2]
    assert files(folder) == INSTALLED
    for name in ("libferry.h", "libferry.hpp"):
        assert (folder / "include" / name).read_bytes() == (ferry.get_include() / name).read_bytes()
    check_pkg_config(tmp_path / "pole", ferry.get_pkgconfig_dir())


def test_the_command_line_names_the_folders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cmakedir", "--pkgconfigdir"]) == 0
    folders = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert folders == [ferry.get_cmake_dir(), ferry.get_pkgconfig_dir()]
    assert (folders[0] / "ferryConfig.cmake").is_file()
    assert (folders[1] / "ferry.pc").is_file()


def test_what_has_not_been_built_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "ferry")
    for option in ("--cmakedir", "--pkgconfigdir"):
        assert main([option]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "make build" in line
