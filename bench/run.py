"""Measures Ferry and says which promises hold: ``python bench/run.py``, or ``make bench``.

Needs the package, the examples in build/examples and the C benchmarks in build/bench; ``make bench`` builds them all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import batches
import costs
import measure as single
import realtime
from plots import draw
from processes import BENCH, BUILD
from report import Section, machine, page, read, recorded, show
from scene import Bench

SECTIONS = {**single.SECTIONS, **batches.SECTIONS, **costs.SECTIONS, **realtime.SECTIONS}
REFRESH_S = 0.5


def parse() -> argparse.Namespace:
    """The command line."""
    names = ", ".join(SECTIONS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than a minute, less certain figures")
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, metavar="NAME", help=f"only this; repeatable: {names}"
    )
    parser.add_argument("--cpus", metavar="A,B", help="CPUs of the agent and the env (default: the first two allowed)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results go (default: bench/results/TIME.json)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="also write the results as a Markdown page")
    parser.add_argument(
        "--from",
        dest="recorded",
        action="append",
        type=Path,
        metavar="FILE",
        help="measure nothing, show this file of results; repeatable, a later one replaces what it has too",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a promise does not hold")
    return parser.parse_args()


def choose_cpus(text: str | None) -> tuple[int, int]:
    """The agent's CPU and the env's."""
    allowed = sorted(os.sched_getaffinity(0))
    try:
        chosen = [int(part) for part in text.split(",")] if text else allowed[:2]
    except ValueError:
        chosen = []
    if len(chosen) != 2 or chosen[0] == chosen[1] or not set(chosen) <= set(allowed):
        sys.exit(f"two different CPUs are needed, as in --cpus 0,1; this process may use {allowed}")
    return chosen[0], chosen[1]


@contextmanager
def progress(console: Console, count: int) -> Iterator[Progress]:
    """A progress bar that no thread redraws: one would run beside the blocks."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        bar.add_task("", total=count)
        yield bar


def measure(bench: Bench, names: list[str], console: Console) -> list[Section]:
    """Answers the questions, one after the other."""
    sections = []
    with progress(console, len(names)) as bar:
        drawn = time.monotonic()

        def redraw() -> None:
            nonlocal drawn
            if time.monotonic() - drawn > REFRESH_S:
                drawn = time.monotonic()
                bar.refresh()

        bench.on_progress = redraw
        for name in names:
            bar.update(bar.task_ids[0], description=name, refresh=True)
            sections.append(SECTIONS[name](bench))
            bar.advance(bar.task_ids[0])
    return sections


def measured(options: argparse.Namespace, console: Console) -> tuple[dict[str, Any], list[Section]]:
    """Measures, and records it."""
    missing = [str(path) for path in (BUILD / "bench" / "roundtrip", BUILD / "examples" / "pole") if not path.exists()]
    if missing:
        sys.exit(f"{' and '.join(missing)}: not built; run 'make bench'")
    cpus = choose_cpus(options.cpus)
    started = datetime.now(timezone.utc)
    about = {"started": started.isoformat(timespec="seconds"), "quick": options.quick, "machine": machine(cpus)}
    names = options.only or list(SECTIONS)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpus[0]})
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as directory:
        sections = measure(Bench(cpus, allowed, options.quick, Path(directory)), names, console)
    about["machine"]["load_after"] = os.getloadavg()
    about["seconds"] = round((datetime.now(timezone.utc) - started).total_seconds(), 1)
    target = options.json or BENCH / "results" / f"{started:%Y%m%d-%H%M%S}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({**about, "sections": [recorded(section) for section in sections]}, indent=1) + "\n")
    console.print(f"results: {target}", style="dim")
    return about, sections


def write_page(target: Path, about: dict[str, Any], sections: list[Section]) -> None:
    """The page, and its plots in a folder of its name."""
    folder = target.with_suffix("")
    drawn = draw([plot for section in sections for plot in section.plots], folder)
    target.write_text(page(about, sections, folder.name if drawn else None))


def main() -> int:
    """Runs; returns the exit code."""
    options = parse()
    console = Console()
    about, sections = read(options.recorded) if options.recorded else measured(options, console)
    show(console, sections)
    setting = about["machine"]
    pinned = setting["pinned"]
    console.print(
        f"\n{setting['cpu']}, {setting['cpus_online']} CPUs{' (virtual)' if setting['virtual'] else ''}, "
        f"Linux {setting['kernel']}, agent on CPU {pinned['agent']}, env on CPU {pinned['env']}; "
        f"load {setting['load'][0]:.1f} before and {setting['load_after'][0]:.1f} after; {about['seconds']} s",
        style="dim",
    )
    if options.page:
        write_page(options.page, about, sections)
        console.print(f"page: {options.page}", style="dim")
    return int(options.strict and not all(promise.holds for section in sections for promise in section.promises))


if __name__ == "__main__":
    sys.exit(main())
