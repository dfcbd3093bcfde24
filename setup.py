"""Builds the compiled module from the C library and its Cython face; everything else is in pyproject.toml."""

import os
import re
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

HEADER = Path("include/libferry.h")
C_FILES = sorted(str(path) for folder in ("include", "csrc") for path in Path(folder).glob("*.[ch]"))


def version() -> str:
    """The version that the header states, so that library and package cannot disagree."""
    numbers = dict(re.findall(r"#define FERRY_VERSION_(MAJOR|MINOR|PATCH) (\d+)", HEADER.read_text(encoding="utf-8")))
    return ".".join(numbers[part] for part in ("MAJOR", "MINOR", "PATCH"))


core = Extension(
    "ferry._core",
    sources=["ferry/_core.pyx", "csrc/libferry.c"],
    depends=C_FILES,
    include_dirs=["include", "csrc", np.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    extra_compile_args=["-O2", "-fvisibility=hidden"],
)
if os.environ.get("FERRY_WERROR") == "1":  # never by default: the next compiler's warnings must not break installations
    core.extra_compile_args += ["-Wall", "-Wextra", "-Werror"]

setup(version=version(), ext_modules=cythonize([core], build_dir="build/cython", language_level=3))  # type: ignore[no-untyped-call]
