"""The guides in docs do what they say: their files are written, their commands run, their output is what comes out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from conftest import PATIENCE

DOCS = Path(__file__).resolve().parent.parent / "docs"
GUIDES = {
    name: (DOCS / f"{name}.md").read_text(encoding="utf-8")
    for name in ("quickstart", "engine-guide", "realtime", "reliability")
}
BLOCK = re.compile(r"(?ms)^```(\w+)\n(.*?)^```$")
FILE = re.compile(r"(?:#|/\*) (\w+\.(?:py|c))\b")
LOOP = re.compile(r"(?ms)^    while .*?^    }\n")
INSTALL = re.compile(
    r"(?m)^pip install /path/to/ferry.*"
)  # takes a minute and the network; the tests run in what it makes


class Section(NamedTuple):
    """What stands under a heading.

    Attributes:
        title: The heading.
        files: The files that are there by then, of earlier headings too.
        plays: For each stated output, the terminals that lead to it, and the output of the last one.
    """

    title: str
    files: dict[str, str]
    plays: list[tuple[list[str], str]]


def sections(guide: str) -> list[Section]:
    found = []
    files: dict[str, str] = {}
    for title, text in re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^##? |\Z)", BLOCK.sub(hidden, GUIDES[guide])):
        plays: list[tuple[list[str], str]] = []
        terminals: list[str] = []
        for language, content in BLOCK.findall(text.replace("\0", "#")):
            name = FILE.match(content)
            if language == "sh":
                terminals.append(content)
            elif language == "text":
                plays.append((terminals, content))
                terminals = []
            elif name is not None:
                files = {**files, name[1]: content}
            else:  # takes the place of the loop in the program before
                assert language == "c", f"a block under {title!r} is of no file"
                before, after = LOOP.split(files["hover.c"])
                files = {**files, "hover.c": before + content + after}
        found.append(Section(title, files, [*plays, *([(terminals, "")] if terminals else [])]))
    return found


def hidden(block: re.Match[str]) -> str:
    """A block whose comments cannot be taken for headings."""
    return block[0].replace("\n#", "\n\0")


@contextmanager
def terminal(commands: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A shell that runs commands; it and all that it started are gone after the block."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        ["sh", "-ec", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def play(terminals: list[str], folder: Path) -> str:
    """Runs commands, all but the last terminal's in the background; returns what the last one prints."""
    if len(terminals) == 1:
        with terminal(terminals[0], folder) as last:
            output, errors = last.communicate(timeout=PATIENCE)
            assert last.returncode == 0, errors
            return output
    with terminal(terminals[0], folder) as first:
        try:
            output = play(terminals[1:], folder)
        except Exception as error:
            if first.poll() is None:
                raise
            raise AssertionError(f"{terminals[0]!r} has ended: {first.communicate(timeout=PATIENCE)}") from error
        if "until Ctrl-C" in terminals[0]:
            assert first.poll() is None, "it should go on until Ctrl-C"
            os.killpg(first.pid, signal.SIGTERM)  # background jobs may ignore SIGINT
            allowed = [0, -signal.SIGTERM, 128 + signal.SIGTERM]
        else:
            allowed = [0]
        _, errors = first.communicate(timeout=PATIENCE)
        assert first.returncode in allowed, errors
        assert "Traceback" not in errors
        return output


@pytest.mark.parametrize(
    "section",
    [pytest.param(section, id=f"{guide}: {section.title}") for guide in GUIDES for section in sections(guide)],
)
def test_a_guide(section: Section, tmp_path: Path) -> None:
    for name, content in section.files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    for terminals, expected in section.plays:
        output = play([INSTALL.sub("", text) for text in terminals], tmp_path)
        pattern = ".*".join(map(re.escape, expected.split("...")))
        assert not expected or re.fullmatch(pattern, output), output


@pytest.mark.parametrize("guide", GUIDES)
def test_every_block_is_run(guide: str) -> None:
    """Files are written, and named by the commands of their heading or of a later one."""
    found = sections(guide)
    run = sum(len(terminals) + bool(expected) for section in found for terminals, expected in section.plays)
    languages = [language for language, _ in BLOCK.findall(GUIDES[guide])]
    assert run == languages.count("sh") + languages.count("text")
    assert GUIDES[guide].count("```") == 2 * len(languages)
    commands = " ".join(text for section in found for terminals, _ in section.plays for text in terminals)
    for name in found[-1].files:
        assert name in commands or f"{Path(name).stem}:" in commands, name
    assert len(languages) == run + len(re.findall(r"(?m)^```(?:python|c)$", GUIDES[guide]))
