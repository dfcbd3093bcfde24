"""Builds the compiled module, the C library, the launcher and the C pole; everything else is in pyproject.toml."""

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HEADER = Path("include/libferry.h")
PACKAGING = Path("packaging")
C_FILES = sorted(str(path) for folder in ("include", "csrc") for path in Path(folder).glob("*.[ch]"))

FLAGS = ["-O2", "-fvisibility=hidden"]
if os.environ.get("FERRY_WERROR") == "1":  # never by default: the next compiler's warnings must not break installations
    FLAGS += ["-Wall", "-Wextra", "-Werror"]
NO_SYMBOLS = ["-g0"]  # Python's own flags ask for debugging information; in a wheel it would be most of the bytes
ON_MACOS = sys.platform == "darwin"
STRIP = ["-Wl,-x"] if ON_MACOS else ["-Wl,-s"]


def version() -> str:
    """The version that the header states, so that library and package cannot disagree."""
    numbers = dict(re.findall(r"#define FERRY_VERSION_(MAJOR|MINOR|PATCH) (\d+)", HEADER.read_text(encoding="utf-8")))
    return ".".join(numbers[part] for part in ("MAJOR", "MINOR", "PATCH"))


class BuildAll(build_ext):  # type: ignore[misc]
    """Builds into the package, beside the module, what a C program needs, and the pole that `ferry demo` plays.

    Not for an installation in place: there the Makefile builds them, in the folder build, and symbols are kept.
    """

    def run(self) -> None:
        """Builds."""
        if self.inplace:
            super().run()
            return
        for extension in self.extensions:
            extension.extra_compile_args += NO_SYMBOLS
            extension.extra_link_args += STRIP
        super().run()
        self._build_c(Path(self.build_lib) / "ferry")

    def _build_c(self, package: Path) -> None:
        cc = self.compiler
        options = {"include_dirs": ["include"], "extra_postargs": FLAGS + NO_SYMBOLS}
        library = cc.compile(["csrc/libferry.c"], f"{self.build_temp}/library", **options)
        pole = cc.compile(["examples/c/pole.c"], f"{self.build_temp}/examples", **options)
        folder = str(package / "lib")
        cc.create_static_lib(library, "ferry", folder)
        name = cc.library_filename("ferry", "shared")
        soname = f"-Wl,-install_name,@rpath/{name}" if ON_MACOS else f"-Wl,-soname,{name}"
        cc.link_shared_lib(library, "ferry", folder, extra_postargs=[soname, *STRIP])
        if not ON_MACOS:  # where no process can ask to end with another
            launcher = cc.compile(["ferry/launcher.c"], f"{self.build_temp}/launcher", **options)
            cc.link_executable(launcher, "launcher", folder, extra_postargs=STRIP)
        cc.link_executable(pole + library, "pole", str(package / "examples"), libraries=["m"], extra_postargs=STRIP)
        self._tell_build_systems(package / "lib")

    def _tell_build_systems(self, folder: Path) -> None:
        """What `make install` does too: the places in these files are relative to themselves."""
        for place in ("cmake/ferry", "pkgconfig"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        for path in PACKAGING.glob("*.cmake"):
            shutil.copy(path, folder / "cmake" / "ferry")
        text = (PACKAGING / "ferry.pc.in").read_text(encoding="utf-8").replace("@VERSION@", version())
        (folder / "pkgconfig" / "ferry.pc").write_text(text, encoding="utf-8")


core = Extension(
    "ferry._core",
    sources=["ferry/_core.pyx", "csrc/libferry.c"],
    depends=C_FILES,
    include_dirs=["include", "csrc", np.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    extra_compile_args=[*FLAGS],
)

setup(
    version=version(),
    ext_modules=cythonize([core], build_dir="build/cython", language_level=3),  # type: ignore[no-untyped-call]
    cmdclass={"build_ext": BuildAll},
)
