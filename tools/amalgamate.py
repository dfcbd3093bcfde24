"""Writes the library as two files, for who compiles it into a program of their own: amalgamate.py FOLDER.

It is csrc/libferry.c with every file of csrc that it includes in the place of the include, in the same order, without
comments: to the preprocessor both are the same text.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include" / "libferry.h"
SOURCES = ROOT / "csrc"

# Texts and characters are matched so that what looks like a comment in them is none.
_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
_INDENT = re.compile(r"^ +")
_CONTINUED = re.compile(r" +\\$")
_INCLUDE = re.compile(r'\s*#\s*include "([^"]+)"')
_CONDITION = re.compile(r"\s*#\s*(if|endif)")


def without_comments(text: str) -> str:
    """The text with a space for each comment, without the lines that this leaves empty, and indented by tabs."""
    bare = _TOKEN.sub(lambda found: " " if found[0].startswith("/") else found[0], text)
    lines = [_INDENT.sub(lambda found: "\t" * (len(found[0]) // 4), line.rstrip()) for line in bare.splitlines()]
    lines = [_CONTINUED.sub(r" \\", line) for line in lines]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip()) + "\n"


def inlined(name: str, met: set[str]) -> Iterator[str]:
    """The parts of a file of csrc with its includes in place, each where it is first met; those of libferry.h stay.

    What is met under a condition, as the file of one system is, has not been met by the others: they get it again.
    """
    met.add(name)
    yield f"/* ---- {name} ---- */\n"
    depth = -1 if name.endswith(".h") else 0  # a header's guard is no condition
    for line in without_comments((SOURCES / name).read_text(encoding="utf-8")).splitlines(keepends=True):
        found = _INCLUDE.match(line)
        if found is None or found[1] == HEADER.name:
            condition = _CONDITION.match(line)
            depth += 0 if condition is None else 1 if condition[1] == "if" else -1
            yield line
        elif found[1] not in met:
            yield from inlined(found[1], met.copy() if depth > 0 else met)


def main() -> None:
    """Writes libferry.h and libferry.c."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8").strip()
    shutil.copy(HEADER, folder)
    text = "".join(inlined("libferry.c", set()))
    banner = "libferry in one file, made from csrc, where it is explained; libferry.h is its manual."
    (folder / "libferry.c").write_text(f"/* {banner}\n\n{licence}\n*/\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
