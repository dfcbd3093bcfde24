"""What does Ferry add to a step of each engine and each language that is here? ``make test-engines`` prints it.

Steps a second through Ferry, and of the same engine or the same function without it in the same run; Ferry's share is
the difference in microseconds a step. Each benchmark can be run by itself, and says more then.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
BAR_US = 3.0
"""What Ferry may add to a step when both sides spin."""
LIMIT_S = 300.0
COMMANDS = {
    "languages": ["-m", "engines.languages", "11"],
    "love": ["-m", "engines.love", "21"],
    "godot": ["engines/godot.py", "--json", "--rounds", "30"],
}


class Row(NamedTuple):
    """One engine or language with one way of waiting.

    Attributes:
        name: With its version, where it has one.
        wait: FERRY_WAIT.
        through: Steps a second through Ferry.
        alone: Steps a second without it.
        share_us: What Ferry takes of a step, in microseconds.
    """

    name: str
    wait: str
    through: float
    alone: float
    share_us: float


def languages(found: dict[str, Any]) -> Iterator[Row]:
    for name, ways in found["languages"].items():
        for wait, said in ways.items() if "skipped" not in ways else ():
            yield Row(f"the pole in {name}", wait, said["steps_per_s"], 1e6 / said["loop_us"], said["share_us"])


def love(found: dict[str, Any]) -> Iterator[Row]:
    version = subprocess.run(["love", "--version"], capture_output=True, text=True, timeout=20).stdout.split()
    for wait in ("spin", "adaptive"):
        said = found[wait]
        name = f"LÖVE {version[1]}" if len(version) > 1 else "LÖVE"
        yield Row(name, wait, said["steps_per_s"], said["engine_alone_steps_per_s"], said["ferry_us_per_step"])


def godot(found: dict[str, Any]) -> Iterator[Row]:
    rates, shares = found["steps_per_s"], found["share_us"]
    name = f"Godot {found['engine'].partition('.stable')[0]}"
    for wait, key in (("spin", "ferry_spin"), ("adaptive", "ferry")):
        yield Row(name, wait, rates[key], rates["own"], shares[key])
    if "godot_rl" in rates:
        yield Row(f"{name} by godot-rl", "", rates["godot_rl"], rates["own"], shares["godot_rl"])
    free = found["us"]["ferry_free"] - found["us"]["own_free"]
    yield Row(f"{name} on any processor", "adaptive", rates["ferry_free"], rates["own_free"], free)


def main() -> int:
    """Measures what is here and prints a table; 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=COMMANDS, action="append", help="only this; repeatable")
    options = parser.parse_args()
    console = Console()
    table = Table("", "wait", "steps/s", "without Ferry", "Ferry's share", "<= 3 us")
    failed = []
    load = os.getloadavg()[0]
    for which in options.only or COMMANDS:
        with console.status(f"measuring: {which}"):
            done = subprocess.run(
                [sys.executable, *COMMANDS[which]], cwd=HERE.parent, capture_output=True, text=True, timeout=LIMIT_S
            )
        if done.returncode != 0:
            failed.append(which)
            console.print(f"{which} failed:\n{done.stderr}", markup=False)
            continue
        found = json.loads(done.stdout)
        if "skipped" in found:
            console.print(f"{which}: {found['skipped']}", markup=False)
            continue
        for row in {"languages": languages, "love": love, "godot": godot}[which](found):
            holds = "" if row.wait != "spin" else "yes" if row.share_us <= BAR_US else "NO"
            table.add_row(
                row.name, row.wait, f"{row.through:,.0f}", f"{row.alone:,.0f}", f"{row.share_us:.2f} us", holds
            )
    console.print(table)
    console.print(f"{os.cpu_count()} CPUs; load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
