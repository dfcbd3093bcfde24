"""Where the parts for C and C++ programs are: inside an installed package, or in a checkout of Ferry."""

from __future__ import annotations

from pathlib import Path

__all__ = ["cmake", "include", "launcher", "library", "pkgconfig", "pole"]

PACKAGE = Path(__file__).absolute().parent


def include() -> Path:
    """Returns the folder of libferry.h and libferry.hpp."""
    return _existing("include", "include")


def library() -> Path:
    """Returns the folder of libferry.a and libferry.so.

    Raises:
        FileNotFoundError: They have not been built; the text says what to do.
    """
    return _existing("lib/libferry.so", "build/libferry.so").parent


def cmake() -> Path:
    """Returns the folder of ferryConfig.cmake, for CMake's variable ferry_DIR.

    Raises:
        FileNotFoundError: It has not been made; the text says what to do.
    """
    return _existing("lib/cmake/ferry", "build/prefix/lib/cmake/ferry")


def pkgconfig() -> Path:
    """Returns the folder of ferry.pc, for PKG_CONFIG_PATH.

    Raises:
        FileNotFoundError: It has not been made; the text says what to do.
    """
    return _existing("lib/pkgconfig", "build/prefix/lib/pkgconfig")


def launcher() -> Path:
    """Returns the program that starts engines, compiled from ferry/launcher.c.

    Raises:
        FileNotFoundError: It has not been built; the text says what to do.
    """
    return _existing("lib/launcher", "build/launcher")


def pole() -> Path:
    """Returns the program compiled from examples/c/pole.c.

    Raises:
        FileNotFoundError: It has not been built; the text says what to do.
    """
    return _existing("examples/pole", "build/examples/pole")


def _existing(installed: str, built: str) -> Path:
    if (PACKAGE / "include").is_dir():  # only an installation has it there
        path, remedy = PACKAGE / installed, "pip install --force-reinstall ferry-fast"
    else:
        path, remedy = PACKAGE.parent / built, f"make build, in {PACKAGE.parent}"
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; run: {remedy}")
    return path
