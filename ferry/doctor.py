"""Is this machine fit for Ferry? Each thing that a channel needs is tried, not guessed."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import ferry
from ferry import paths, survey

__all__ = ["Finding", "examine"]

Verdict: TypeAlias = Literal["good", "fair", "bad"]

_MIB = 1 << 20
_ROOM = 64 * _MIB  # what a few environments with images want
_F_ADD_SEALS, _SEALS = 1033, 0x0002 | 0x0004 | 0x0010  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE
_LONGEST_SOCKET = 107


class Finding(NamedTuple):
    """What was found of one thing.

    Attributes:
        what: The thing.
        verdict: "good"; "fair": Ferry works, less well; "bad": it does not.
        detail: What was seen.
        remedy: What to do about it; "" where nothing is to be done.
    """

    what: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Examines the machine, one thing after another."""
    for look in (_versions, _kernel, _directory, _variables, _memory, _processors, _parts, _game):
        try:
            yield look()
        except Exception as error:  # whatever the machine may do; the next thing is looked at all the same
            yield Finding(look.__name__.strip("_"), "bad", f"{type(error).__name__}: {error}", "report this as a bug")


def _versions() -> Finding:
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "gymnasium", "msgpack")]
    detail = ", ".join([f"ferry {ferry.__version__}", f"Python {platform.python_version()}", *packages])
    try:
        installed = importlib.metadata.version("ferry-fast")
    except importlib.metadata.PackageNotFoundError:
        return Finding("versions", "fair", f"{detail}; not installed, used from a folder", "pip install it")
    if installed != ferry.__version__:
        remedy = "install again: pip install --force-reinstall ferry-fast"
        return Finding("versions", "bad", f"{detail}; but the package says {installed}", remedy)
    return Finding("versions", "good", detail)


def _kernel() -> Finding:
    detail = f"{platform.system()} {platform.release()}, {platform.machine()}"
    lacks = [name for name, attempt in _ATTEMPTS.items() if not _works(attempt)]
    if lacks:
        remedy = "Linux 5.3 or newer is needed; in a container, a seccomp profile that allows these calls"
        return Finding("kernel", "bad", f"{detail}; does not work: {', '.join(lacks)}", remedy)
    return Finding("kernel", "good", f"{detail}; {', '.join(_ATTEMPTS)} work")


def _works(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except (OSError, AttributeError):
        return False
    return True


def _sealed_memory() -> None:
    memory = os.memfd_create("ferry-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(memory, 0, 4096)
        fcntl.fcntl(memory, _F_ADD_SEALS, _SEALS)
    finally:
        os.close(memory)


def _process_descriptors() -> None:
    os.close(os.pidfd_open(os.getpid()))


_ATTEMPTS: dict[str, Callable[[], None]] = {"memfd with seals": _sealed_memory, "pidfd": _process_descriptors}


def _directory() -> Finding:
    remedy = "set FERRY_RUNTIME_DIR to a short path of your own, the same for both sides"
    directory = survey.directories()[0]
    detail = str(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if flaw := survey.flaw(directory):
            mend = f"chmod 700 {detail}" if flaw == "is open to others" else remedy
            return Finding("directory", "bad", f"{detail} {flaw}", mend)
        if len(detail) + 1 + 40 > _LONGEST_SOCKET:
            left = _LONGEST_SOCKET - len(detail) - 1
            return Finding(
                "directory", "fair" if left > 0 else "bad", f"{detail} leaves {left} characters for names", remedy
            )
        with tempfile.TemporaryDirectory(dir=directory, prefix=".") as folder, socket.socket(socket.AF_UNIX) as stream:
            stream.bind(f"{folder}/s")
    except OSError as error:
        return Finding("directory", "bad", f"{detail}: {error.strerror}", remedy)
    return Finding("directory", "good", f"{detail} is this user's alone, and sockets can be made there")


def _variables() -> Finding:
    found = {name: value for name, value in os.environ.items() if name.startswith("FERRY_")}
    detail = ", ".join(f"{name}={value}" for name, value in sorted(found.items())) or "none is set"
    known = {"FERRY_ADDRESS", "FERRY_RUNTIME_DIR", "FERRY_TIMEOUT", "FERRY_WAIT"}
    if strange := sorted(set(found) - known):
        return Finding(
            "variables", "fair", f"{detail}; unknown: {', '.join(strange)}", f"known are {', '.join(sorted(known))}"
        )
    if found.get("FERRY_WAIT", "adaptive") not in ("adaptive", "spin", "block"):
        return Finding("variables", "bad", detail, "FERRY_WAIT is adaptive, spin or block")
    try:
        if float(found.get("FERRY_TIMEOUT") or 0) < 0:
            raise ValueError
    except ValueError:
        return Finding("variables", "bad", detail, "FERRY_TIMEOUT takes seconds, 0 for ever")
    if "FERRY_ADDRESS" in found:
        return Finding(
            "variables", "fair", detail, "FERRY_ADDRESS overrules every environment's own address; unset it by hand"
        )
    return Finding("variables", "good", detail)


def _memory() -> Finding:
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
    free = int(meminfo["MemAvailable"].split()[0]) * 1024
    detail = f"{free / _MIB:,.0f} MiB are available"
    limit = _cgroup("memory.max", "memory.current")
    if limit is not None and limit < free:
        free = limit
        detail += f", {limit / _MIB:,.0f} MiB of them to this container or service"
    if free < _ROOM:
        return Finding(
            "memory", "bad", detail, "free some, or raise the limit: a region takes no more than three quarters of it"
        )
    return Finding("memory", "good", detail)


def _cgroup(most: str, used: str) -> int | None:
    """What a limit of this process's control group leaves; None if there is none."""
    try:
        path = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        group = Path("/sys/fs/cgroup") / path
        text = (group / most).read_text().strip()
        return None if text == "max" else int(text) - int((group / used).read_text())
    except (OSError, ValueError):
        return None


def _processors() -> Finding:
    mine, all_of_them = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    detail = f"{mine} of {all_of_them} may be used"
    if mine == 1:
        remedy = "with two, agent and environment need not take turns on one: a step is about ten times as fast"
        return Finding("processors", "fair", detail, remedy)
    if os.environ.get("FERRY_WAIT") == "spin" and os.getloadavg()[0] > mine:
        return Finding("processors", "fair", f"{detail}, all busy, and FERRY_WAIT=spin", "unset FERRY_WAIT")
    return Finding("processors", "good", detail)


def _parts() -> Finding:
    try:
        found = [paths.include(), paths.library(), paths.launcher(), paths.pole()]
    except FileNotFoundError as error:
        text, _, remedy = str(error).partition("; run: ")
        return Finding("parts", "bad", text, remedy)
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    detail = f"header, library, launcher and pole are in {os.path.commonpath(found)}"
    return Finding("parts", "good", f"{detail}; compiler: {compiler or 'none, which only C environments want'}")


def _game() -> Finding:
    begin = time.perf_counter()
    try:
        with ferry.launch([paths.pole()], timeout=10) as env:
            env.reset(seed=0)
            env.step(0)
            first = time.perf_counter() - begin
            begin = time.perf_counter()
            for step in range(2000):
                _, _, terminated, _, _ = env.step(step % 2)
                if terminated:
                    env.reset()
            rate = 2000 / (time.perf_counter() - begin)
    except (ferry.FerryError, OSError) as error:
        return Finding("game", "bad", str(error), f"see docs/errors.md; Python is {sys.executable}")
    detail = f"the C pole took its first step {first * 1e3:.0f} ms after launch, then {rate:,.0f} steps a second"
    if rate < 10_000:
        return Finding("game", "fair", detail, "is the machine busy? ferry bench measures at length")
    return Finding("game", "good", detail)
