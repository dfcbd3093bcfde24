"""What a run of the benchmarks says, and how it is shown: on the terminal, as JSON, as Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

ROOT = Path(__file__).resolve().parent.parent
METHOD = """\
Absolute times drift with the machine: on some virtual machines by a factor of five within one run. So contenders run
in alternating blocks, and each ratio is the median over the rounds; where ratios drift too, the range over several
pairs of processes stands beside it. The floor is what an expert would write by hand for just that exchange
(`bench/c/floor.h`); that of a batch is the same C loop in the process that steps it (`bench/c/inprocess.c`).
Everything that moves is verified. How it is done: [bench/README.md](../bench/README.md)."""
PACKAGES = ("numpy", "gymnasium", "msgpack", "envpool", "pyzmq")
LOSSES = Path(__file__).resolve().parent / "losses.md"


@dataclass(frozen=True)
class Promise:
    """Something that is claimed of Ferry, and what was measured.

    Attributes:
        text: The claim.
        figure: What was measured.
        bar: What it must not exceed, or must reach.
        unit: Of both.
        at_least: Whether the figure must reach the bar.
    """

    text: str
    figure: float
    bar: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.figure >= self.bar if self.at_least else self.figure <= self.bar

    def cells(self) -> list[str]:
        """The row in a table of promises."""
        relation = "at least" if self.at_least else "at most"
        bar = f"{relation} {number(self.bar, self.unit)}"
        return [self.text, bar, number(self.figure, self.unit), "yes" if self.holds else "NO"]


@dataclass(frozen=True)
class Table:
    """Rows of text below column headings; all but the first column are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def rich(self) -> RichTable:
        """For the terminal."""
        table = RichTable(title=self.title, title_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*map(escape, row), style="bold red" if row[-1] == "NO" else None)
        return table

    def markdown(self) -> str:
        """For a page."""
        lines = [self.columns, ["---"] + ["---:"] * (len(self.columns) - 1), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Plot:
    """Curves over one axis, both axes logarithmic.

    Attributes:
        name: Of the file.
        title: What it shows.
        x: What is below.
        y: What is on the left.
        curves: Points by label.
    """

    name: str
    title: str
    x: str
    y: str
    curves: dict[str, list[tuple[float, float]]]


@dataclass
class Section:
    """One question and its answer."""

    name: str
    question: str
    tables: list[Table] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    plots: list[Plot] = field(default_factory=list)


def recorded(section: Section) -> dict[str, Any]:
    """The section as JSON has it."""
    record = asdict(section)
    for promise, entry in zip(section.promises, record["promises"], strict=True):
        entry["holds"] = promise.holds
    return record


def restored(record: dict[str, Any]) -> Section:
    """The section that was recorded."""
    promises = [{key: value for key, value in entry.items() if key != "holds"} for entry in record["promises"]]
    return Section(
        record["name"],
        record["question"],
        [Table(**table) for table in record["tables"]],
        [Promise(**promise) for promise in promises],
        record["data"],
        [Plot(**plot) for plot in record["plots"]],
    )


def read(paths: list[Path]) -> tuple[dict[str, Any], list[Section]]:
    """Runs that were recorded, as one: of sections with the same name the last counts."""
    runs = [json.loads(path.read_text()) for path in paths]
    sections = {record["name"]: restored(record) for run in runs for record in run["sections"]}
    return {key: value for key, value in runs[-1].items() if key != "sections"}, list(sections.values())


def number(value: float, unit: str) -> str:
    """A figure as people read it: three significant digits or so, with its unit."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def promise_table(sections: list[Section]) -> Table:
    """All promises of a run."""
    rows = [promise.cells() for section in sections for promise in section.promises]
    return Table("Promises", ["promise", "bar", "measured", "holds"], rows)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def machine(cpus: tuple[int, int]) -> dict[str, Any]:
    """Where and with what a run takes place."""
    return {
        "cpu": _cpu_model(),
        "cpus_online": os.cpu_count(),
        "virtual": "hypervisor" in Path("/proc/cpuinfo").read_text(),
        "pinned": {"agent": cpus[0], "env": cpus[1]},
        "kernel": platform.release(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "compiler": _output(os.environ.get("CC", "cc"), "--version").splitlines()[0],
        "packages": {package: _version(package) for package in PACKAGES},
        "revision": _output("git", "describe", "--always", "--dirty"),
        "command": " ".join(sys.argv),
        "load": os.getloadavg(),
    }


def show(console: Console, sections: list[Section]) -> None:
    """Prints every table, the promises last."""
    for section in sections:
        console.print(f"\n[bold]{section.name}[/]: {section.question}")
        for table in section.tables:
            console.print(table.rich())
    if any(section.promises for section in sections):
        console.print()
        console.print(promise_table(sections).rich())


def page(about: dict[str, Any], sections: list[Section], plots: str | None) -> str:
    """docs/performance.md.

    Args:
        about: The run: when, where, with what.
        sections: What was found.
        plots: The folder of the plots as the page names it; None: there are none.
    """
    setting = about["machine"]
    kind = "virtual machine" if setting["virtual"] else "machine"
    pinned = setting["pinned"]
    packages = ", ".join(f"{name} {version}" for name, version in setting["packages"].items())
    parts = [
        "# Performance",
        "Written by `python bench/run.py --page docs/performance.md`; no figure was typed in.",
        f"Measured on {about['started'][:10]}: {setting['cpu']}, a {kind} with {setting['cpus_online']} CPUs, "
        f"Linux {setting['kernel']}, Python {setting['python']}, {packages}. The agent was pinned to CPU "
        f"{pinned['agent']}, the env to CPU {pinned['env']}, unless a row says otherwise.",
        METHOD,
        "## Promises",
        promise_table(sections).markdown(),
        "## Where Ferry loses, and why",
        LOSSES.read_text().strip(),
    ]
    for section in sections:
        if section.tables:
            parts += [f"## {section.name.capitalize()}", section.question]
            for table in section.tables:
                parts += [f"**{table.title}**", table.markdown()]
        if plots is not None:
            parts += [f"![{plot.title}]({plots}/{plot.name}.svg)" for plot in section.plots]
    return "\n\n".join(parts) + "\n"
