"""Says which lines of csrc the tests have run, by what gcc counted: coverage.py FOLDER [--least PERCENT] [--missing].

FOLDER is where they were built with --coverage. The same file may be part of several programs there; a line has run if
it has in any of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "csrc"
ELSEWHERE = ("platform_macos.c", "platform_windows")


class Counts:
    """How often the lines of a file have run, and how often each way out of a line was taken."""

    def __init__(self) -> None:
        self.lines: dict[int, int] = defaultdict(int)
        self.ways: dict[tuple[int, int], int] = defaultdict(int)


def counted(folder: Path) -> dict[str, Counts]:
    """What was counted in each file of csrc, by the file's name."""
    counts: dict[str, Counts] = defaultdict(Counts)
    notes = sorted(str(path.resolve()) for path in folder.rglob("*.gcda"))
    if not notes:
        sys.exit(f"{folder} holds no counts: build with --coverage, and run the tests")
    command = ["gcov", "--branch-probabilities", "--json-format", "--stdout", *notes]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for told_of_one in filter(None, told.stdout.splitlines()):
        for file in json.loads(told_of_one)["files"]:
            path = Path(os.path.normpath(ROOT / file["file"]))
            if path.parent != SOURCES:
                continue
            of_file = counts[path.name]
            for line in file["lines"]:
                of_file.lines[line["line_number"]] += line["count"]
                for place, way in enumerate(line["branches"]):
                    of_file.ways[line["line_number"], place] += way["count"]
    return counts


def runs(numbers: list[int]) -> str:
    """The numbers, and neighbours as a range: 3 5-8 10."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return " ".join("-".join(map(str, ends)) for ends in ranges)


def print_row(name: str, files: list[Counts], missing: bool) -> float:
    """One row of the table; returns the share of the lines that have run, in percent."""
    lines = [count for of_file in files for count in of_file.lines.values()]
    ways = [count for of_file in files for count in of_file.ways.values()]
    run, taken = (sum(count > 0 for count in all_of) for all_of in (lines, ways))
    row = f"{name:<20} {len(lines):>6} {run:>6} {100 * run / len(lines):7.1f} % {len(ways):>6} {taken:>6}"
    if ways:
        row += f" {100 * taken / len(ways):7.1f} %"
    if missing:
        (of_file,) = files
        row += "  " + runs(sorted(number for number, count in of_file.lines.items() if count == 0))
    print(row.rstrip())
    return 100 * run / len(lines)


def main() -> int:
    """Prints the table; 1 where less has run than has to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--least", type=float, default=0, metavar="PERCENT", help="fail below it")
    parser.add_argument("--missing", action="store_true", help="name the lines that have not run")
    arguments = parser.parse_args()

    left_out = sorted(path.name for path in SOURCES.glob("*.[ch]") if path.name.startswith(ELSEWHERE))
    counts = {name: of_file for name, of_file in counted(arguments.folder).items() if name not in left_out}
    print(f"{'csrc':<20} {'lines':>6} {'run':>6} {'':>9} {'ways':>6} {'taken':>6}")
    for name in sorted(counts):
        print_row(name, [counts[name]], arguments.missing)
    share = print_row("total", list(counts.values()), missing=False)
    print(f"left out, since they do not run on Linux: {', '.join(left_out)}")
    if share < arguments.least:
        print(f"less than {arguments.least:g} % of the lines have run; --missing names the others", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
