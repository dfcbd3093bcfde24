"""Writes the library as two files, for who compiles it into a program of their own: amalgamate.py FOLDER.

It is csrc/libferry.c with every file of csrc that it includes in the place of the include, in the same order, each
behind its headers, as far as they are new; without comments and without what only several files need: guards, a second
include of what is there, prototypes of what is defined before it is used, and the places of fields, which nobody
changes there (a compiler that puts them elsewhere shows in the sizes, which are asserted as ever). All that is internal
is static, and its names begin with fy_ for ferry__. To the compiler both are the same code.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include" / "libferry.h"
SOURCES = ROOT / "csrc"

# Texts and characters are matched so that what looks like a comment in them is none.
_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
_INDENT = re.compile(r"^ +")
_CONTINUED = re.compile(r" +\\$")
_GUARDED = re.compile(r"#ifndef (\w+_H)\n#define \1\n(.*)#endif\n", re.DOTALL)
_INCLUDE = re.compile(r'\s*#\s*include ["<]([^">]+)[">]')
_CONDITION = re.compile(r"\s*#\s*(if|el|endif)")
_SYSTEM = re.compile(r"#(if|else|endif)(?:def (_WIN32|__APPLE__)\n)?")
_LOCAL = re.compile(r"#ifndef FERRY__LOCAL\n.*?#endif\n#endif\n", re.DOTALL)  # how it is defined
_PLACE = re.compile(r"^(?:#define )?FERRY__AT\(.*\n", re.MULTILINE)
_PROTOTYPE = re.compile(r"^FERRY__LOCAL [^;{(]*?(\w+)\([^;{]*\);\n", re.MULTILINE)


def without_comments(text: str) -> str:
    """The text with a space for each comment, without the lines that this leaves empty, and indented by tabs."""
    text = re.sub(r"^ */\*(?:(?!\*/).)*\*/\n", "", text, flags=re.DOTALL | re.MULTILINE)
    bare = _TOKEN.sub(lambda found: " " if found[0].startswith("/") else found[0], text)
    lines = [_INDENT.sub(lambda found: "\t" * (len(found[0]) // 4), line.rstrip()) for line in bare.splitlines()]
    lines = [_CONTINUED.sub(r" \\", line) for line in lines]
    return "\n".join(continued(lines)).strip() + "\n"


def continued(lines: list[str]) -> Iterator[str]:
    """The lines, those that lie inside parentheses a tab deeper than the one that they go on with."""
    depth, indent = 0, ""
    for line in lines:
        bare = _TOKEN.sub("", line)
        within = depth > 0 and not bare.startswith("#")
        if depth == 0:
            indent = line[: len(line) - len(line.lstrip("\t"))]
        if not _CONDITION.match(bare):
            depth += bare.count("(") - bare.count(")")
        yield f"{indent}\t{line.lstrip()}" if within else line


def inlined(name: str, met: list[set[str]]) -> Iterator[str]:
    """The parts of a file of csrc with its includes in place, each where it is first met; libferry.h stays outside.

    met has what was included, for each condition that stands around this place: what is met under one has not been met
    by the others.
    """
    if name.endswith(".c"):
        yield f"\n/* ---- {name} ---- */\n"
    text = without_comments((SOURCES / name).read_text(encoding="utf-8"))
    guarded = _GUARDED.fullmatch(text)
    for line in (guarded[2].strip() + "\n" if guarded else text).splitlines(keepends=True):
        condition, include = _CONDITION.match(line), _INCLUDE.match(line)
        if condition and condition[1] != "if":
            met.pop()
        if condition and condition[1] != "endif":
            met.append(met[-1].copy())
        if include is None:
            yield line
        elif include[1] not in met[-1]:
            met[-1].add(include[1])
            if (SOURCES / include[1]).exists():
                yield from inlined(include[1], met)
            else:
                yield line


def on_system(text: str, macro: str) -> str:
    """What is left of the text where this macro tells of the system; other conditions leave all."""
    kept: list[str] = []
    taken: list[bool | None] = []  # for each condition that stands around a line; None: not one of systems
    for line in text.splitlines(keepends=True):
        condition = _SYSTEM.match(line)
        if condition is None:
            kept += [] if False in taken else [line]
        elif condition[1] == "if":
            taken.append(condition[2] == macro if condition[2] else None)
        elif condition[1] == "endif":
            taken.pop()
        elif taken[-1] is not None:
            taken[-1] = not taken[-1]
    return "".join(kept)


def without_prototypes(text: str) -> str:
    """Drops those of what is defined before it is used, on every system."""
    views = [on_system(_PROTOTYPE.sub("", text), macro) for macro in ("_WIN32", "__APPLE__", "")]
    for prototype in _PROTOTYPE.finditer(text):
        definition = re.compile(rf"^(?!static)\w[\w *]*\b{prototype[1]}\([^;{{]*{{", re.MULTILINE)
        mentions = [(re.search(rf"^.*\b{prototype[1]}\b", view, re.MULTILINE), view) for view in views]
        if all(first is None or definition.match(view, first.start()) for first, view in mentions):
            text = definition.sub(lambda found: f"FERRY__LOCAL {found[0]}", text.replace(prototype[0], "", 1))
    return text


def renamed(text: str) -> str:
    """What begins with ferry__ begins with fy_, but for what libferry.h has."""
    public = set(re.findall(r"\bFERRY__\w+", HEADER.read_text(encoding="utf-8")))
    text = re.sub(r"\bFERRY__\w+", lambda found: found[0] if found[0] in public else f"FY_{found[0][7:]}", text)
    return re.sub(r"\bferry__", "fy_", text)


def main() -> None:
    """Writes libferry.h and libferry.c."""
    parser = argparse.ArgumentParser(description="Writes libferry.h and libferry.c, the whole library, into a folder.")
    parser.add_argument("folder", type=Path, help="is made if it is not there")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8").strip()
    shutil.copy(HEADER, folder)
    text = without_prototypes(_PLACE.sub("", "".join(inlined("libferry.c", [set()]))))
    text = renamed(_LOCAL.sub("", text).replace("FERRY__LOCAL", "static"))
    banner = (
        "libferry in one file, made from csrc, where it is explained; libferry.h is its manual.\n"
        "What begins with fy_ or FY_ here begins with ferry__ or FERRY__ there."
    )
    text = re.sub(r"\n{3,}", "\n\n", f"/* {banner}\n\n{licence}\n*/\n\n{text}")
    (folder / "libferry.c").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
