"""How fast does an environment in another language step, and what is Ferry's share of it?

    make build && cd bench && python -m engines.languages [ROUNDS]

The pole in C, Rust and C#, each with the same agent, which is written in C, with ``FERRY_WAIT=spin`` and without; and
the same step function, called in a loop in a process of that language. Both replay one episode; blocks of the two
alternate. Ferry's share is the difference, in microseconds a step.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ferry
from blocks import alternate
from contenders import Episode, balance
from processes import BENCH, BUILD, CAgent, Child

ROOT = BENCH.parent
LOOPS = Path(__file__).parent / "loops"
STEPS = 400
EPISODES = 10
"""In a block."""
BAR_US = 3.0
"""What Ferry may add to a step when both sides spin."""


@dataclass
class Language:
    """One language.

    Attributes:
        needs: Programs that have to be here.
        build: Makes the two programs in a folder.
        pole: Runs the environment there.
        loop: Runs its step function in a loop.
    """

    needs: list[str]
    build: Callable[[Path], list[list[str]]]
    pole: list[str]
    loop: list[str]


def _build_c(folder: Path) -> list[list[str]]:
    options = ["-std=c99", "-O2", f"-I{ROOT / 'include'}", str(LOOPS / "loop.c"), str(BUILD / "libferry.a"), "-lm"]
    return [["cc", *options, "-o", str(folder / "c_loop")]]


def _build_rust(folder: Path) -> list[list[str]]:
    rustc, crate = ["rustc", "--edition", "2021", "-O"], folder / "libferry.rlib"
    use = ["--extern", f"ferry={crate}"]
    bindings = ROOT / "bindings" / "rust"
    library = ["--crate-type", "rlib", "--crate-name", "ferry", "-L", f"native={BUILD}", "-l", "static=ferry"]
    return [
        [*rustc, *library, "-o", str(crate), str(bindings / "src" / "lib.rs")],
        [*rustc, *use, "-o", str(folder / "rust_pole"), str(bindings / "examples" / "pole.rs")],
        [*rustc, *use, "-o", str(folder / "rust_loop"), str(LOOPS / "loop.rs")],
    ]


def _build_csharp(folder: Path) -> list[list[str]]:
    bindings = ROOT / "bindings" / "csharp"
    mcs = ["mcs", "-unsafe", "-optimize"]
    sources = [str(bindings / "Ferry.cs"), str(bindings / "examples" / "Pole.cs")]
    return [
        [*mcs, f"-out:{folder / 'pole.exe'}", *sources],
        [*mcs, "-main:Loop", f"-out:{folder / 'loop.exe'}", *sources, str(LOOPS / "Loop.cs")],
        ["ln", "-sf", str(BUILD / "libferry.so"), str(folder / "libferry.so")],
    ]


LANGUAGES = {
    "C": Language(["cc"], _build_c, [str(BUILD / "examples" / "pole")], ["{folder}/c_loop"]),
    "Rust": Language(["rustc"], _build_rust, ["{folder}/rust_pole"], ["{folder}/rust_loop"]),
    "C#": Language(["mcs", "mono"], _build_csharp, ["mono", "{folder}/pole.exe"], ["mono", "{folder}/loop.exe"]),
}


class Loop(Child):
    """A process that replays episodes by itself (``loops``).

    Args:
        command: Runs it.
        cpu: Where.
    """

    def __init__(self, command: list[str], cpu: int) -> None:
        super().__init__(command, cpu, pipes=True)

    def replay(self, seed: int, actions: list[int]) -> tuple[float, float]:
        """As an agent does."""
        self.write(f"{seed} {''.join(map(str, actions))}")
        elapsed_ns, total = self.read().split()
        return float(elapsed_ns), float(total)


def _replaying(player: CAgent | Loop, episode: Episode) -> Callable[[], float]:
    """A block: nanoseconds a step over some episodes, of which each must end as it was recorded."""

    def block() -> float:
        elapsed_ns = 0.0
        for _ in range(EPISODES):
            ns, total = player.replay(episode.seed, episode.actions)
            if total != episode.total:
                raise AssertionError(f"a replay returned {total}, not {episode.total}")
            elapsed_ns += ns
        return elapsed_ns / (EPISODES * len(episode.actions))

    return block


def _measure(pole: list[str], loop: list[str], wait: str, cpus: tuple[int, int], rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, ferry.launch([str(BUILD / "examples" / "pole")]) as recorder:
        episode = balance(recorder, STEPS)
        address = f"{folder}/pole"
        variables = {"FERRY_ADDRESS": f"serve:{address}", "FERRY_WAIT": wait}
        with contextlib.ExitStack() as processes:
            processes.enter_context(Child(pole, cpus[1], variables))
            processes.enter_context(agent := CAgent(f"connect:{address}", cpus[0]))
            processes.enter_context(alone := Loop(loop, cpus[0]))
            agent.wait_ready()
            times = alternate({"ferry": _replaying(agent, episode), "loop": _replaying(alone, episode)}, rounds)
    return {
        "steps_per_s": 1e9 / float(np.median(times["ferry"])),
        "ferry_us": float(np.median(times["ferry"])) / 1e3,
        "loop_us": float(np.median(times["loop"])) / 1e3,
        "share_us": float(np.median(times["ferry"] - times["loop"])) / 1e3,
        "share_p10_us": float(np.quantile(times["ferry"] - times["loop"], 0.1)) / 1e3,
    }


def languages(rounds: int = 31) -> dict[str, Any]:
    """Measures every language whose tools are here.

    Args:
        rounds: Blocks of each contender.

    Returns:
        Of each language and way of waiting ``steps_per_s``, ``ferry_us``, ``loop_us`` and ``share_us``, which are
        medians, and ``share_p10_us``, which other processes disturb less; or under ``skipped`` what is missing. Then
        ``bar_us``, and whether all ``hold`` it when they spin.
    """
    available = sorted(os.sched_getaffinity(0))
    cpus = (available[0], available[-1])
    found: dict[str, Any] = {}
    for name, language in LANGUAGES.items():
        missing = [program for program in language.needs if not shutil.which(program)]
        if missing:
            found[name] = {"skipped": f"{', '.join(missing)} not here"}
            continue
        with tempfile.TemporaryDirectory() as folder:
            for command in language.build(Path(folder)):
                subprocess.run(command, check=True, timeout=240)
            pole, loop = ([part.format(folder=folder) for part in each] for each in (language.pole, language.loop))
            found[name] = {wait: _measure(pole, loop, wait, cpus, rounds) for wait in ("spin", "adaptive")}
    shares = [each["spin"]["share_us"] for each in found.values() if "spin" in each]
    return {"languages": found, "bar_us": BAR_US, "hold": bool(shares) and max(shares) < BAR_US}


if __name__ == "__main__":
    json.dump(languages(*map(int, sys.argv[1:])), sys.stdout, indent=4)
    print()
