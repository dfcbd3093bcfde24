"""Plays at full speed for a long time, and fails if a process comes to hold more memory or descriptors than before.

    python tests/campaign/soak.py --seconds 1800

Side by side: a game in turns, one in rows, one in real time, each between two C programs which check every value and
meet anew every hundred games; Gymnasium's CartPole through Python on both sides; an observer of the first and one of
the last.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low

import numpy as np
from rich.console import Console
from rich.table import Table

import ferry

PLAYER = Path(__file__).resolve().parent.parent.parent / "build" / "campaign" / "soak_player"
SAMPLE_S = 1.0
SETTLED = 0.4  # of the time: from then on memory stands
LEAST_S = 10.0  # of less there are not enough samples to compare
SLACK_KIB = 128  # the kernel counts a process's pages in batches, and Python's allocator rounds


@dataclass
class Soaked:
    """A process and what it held at each sample."""

    name: str
    process: subprocess.Popen[str]
    kib: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def sample(self) -> None:
        """Notes resident memory and open descriptors."""
        folder = Path("/proc") / str(self.process.pid)
        pages = int((folder / "statm").read_text().split()[1])
        self.kib.append(pages * os.sysconf("SC_PAGE_SIZE") // 1024)
        self.descriptors.append(len(list((folder / "fd").iterdir())))

    def held(self) -> list[int]:
        """After settling: the most memory in the first half and in the second; the descriptors that it mostly had in
        the first half and at the end. Whoever meets anew has others for a moment; what leaks is there for good.
        """
        settled = int(len(self.kib) * SETTLED)
        middle = (settled + len(self.kib)) // 2
        end = len(self.descriptors) - max(len(self.descriptors) // 10, 5)
        return [
            *(max(part, default=0) for part in (self.kib[settled:middle], self.kib[middle:])),
            *(median_low(part or [0]) for part in (self.descriptors[settled:middle], self.descriptors[end:])),
        ]

    def grew(self) -> bool:
        """Whether it held more later than in the first half."""
        kib, later_kib, descriptors, later_descriptors = self.held()
        return later_kib > kib + SLACK_KIB or later_descriptors > descriptors


def until_terminated() -> list[bool]:
    """A list that gets an element with SIGTERM."""
    ended: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    return ended


def play_pole(address: str) -> int:
    """Steps a pole; the number of steps."""
    ended, env, steps = until_terminated(), ferry.ClientEnv(address), 0
    actions = itertools.cycle(np.random.default_rng(1).integers(0, 2, 1000).tolist())
    over = True
    while not ended:
        if over:
            env.reset(seed=steps)
        _, _, terminated, truncated, _ = env.step(next(actions))
        over, steps = terminated or truncated, steps + 1
    env.close()
    return steps


def look(address: str) -> int:
    """Observes at full rate; the number of snapshots. Now and then there is no agent for a moment."""
    ended, seen = until_terminated(), 0
    with ferry.Observer(address) as observer:
        while not ended:
            try:
                seen += observer.snapshot(timeout=0.2) is not None
            except (ferry.PeerGoneError, ferry.FerryTimeoutError):
                continue
    return seen


def start(name: str, *command: str | Path) -> Soaked:
    """Starts one of the processes."""
    return Soaked(name, subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True))


def start_all() -> list[Soaked]:
    """Starts environments, agents, observers."""
    me = [sys.executable, __file__, "--play"]
    all_of_them = [
        start(f"{mode}, {side}", PLAYER, side, mode, mode)
        for mode in ("turns", "rows", "frames")
        for side in ("env", "agent")
    ]
    all_of_them.append(start("Python, env", sys.executable, "-m", "ferry", "serve", "CartPole-v1", "--address", "pole"))
    all_of_them.append(start("Python, agent", *me, "pole"))
    all_of_them.append(start("observer of turns", *me, "turns", "--look"))
    all_of_them.append(start("observer of Python", *me, "pole", "--look"))
    return all_of_them


def end(soaked: list[Soaked]) -> bool:
    """Ends all, agents and observers first; whether each ended well."""
    well = True
    for one in sorted(soaked, key=lambda one: one.name.endswith("env")):
        one.process.terminate()
        try:
            one.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        well = well and one.process.returncode == 0
    return well


def table_of(soaked: list[Soaked]) -> Table:
    """What each did and held."""
    table = Table("process", "turns, or snapshots", "KiB: first half", "second", "descriptors", "at the end", "verdict")
    for one in soaked:
        assert one.process.stdout is not None
        count = (one.process.stdout.read().split() or [""])[-1]
        numbers = [f"{int(count):,}" if count.isdigit() else "", *map(str, one.held())]
        failed = (
            f"exit code {one.process.returncode}" if one.process.returncode else "GREW" if one.grew() else "constant"
        )
        table.add_row(one.name, *numbers, failed)
    return table


def main() -> int:
    """Runs the soak, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--play", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play is not None:
        print(look(options.play) if options.look else play_pole(options.play))
        return 0
    if not options.seconds >= LEAST_S:
        parser.error(f"--seconds is {options.seconds:g}; it takes {LEAST_S:g} at least")
    console = Console(width=120)
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        os.environ["FERRY_RUNTIME_DIR"] = folder
        soaked = start_all()
        lost: list[str] = []
        passed = 0.0
        try:
            started, told = time.monotonic(), 0
            while (passed := time.monotonic() - started) < options.seconds:
                time.sleep(SAMPLE_S)
                lost = [one.name for one in soaked if one.process.poll() is not None]
                if lost:
                    break
                for one in soaked:
                    one.sample()
                if passed // 60 > told:
                    told = int(passed // 60)
                    console.print(
                        f"{told} min: {sum(one.kib[-1] for one in soaked):,} KiB in {len(soaked)} processes",
                        highlight=False,
                    )
        except KeyboardInterrupt:
            lost = [f"everybody, by Ctrl-C after {passed:.0f} s"]
        finally:
            well = end(soaked)
    console.print(table_of(soaked))
    if lost:
        console.print(f"ended too early: {'; '.join(lost)}", highlight=False)
    well = well and not lost and not any(one.grew() for one in soaked)
    console.print(f"{passed:.0f} s: " + ("nothing grew" if well else "FAILED"), highlight=False)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
