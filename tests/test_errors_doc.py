"""docs/errors.md and the code agree: each text that users can meet has its row there, and each row its text.

Where this fails after a change of a text, it says which one and what to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

import ferry
from error_messages import GAP, ROOT, c_texts, cython_texts, messages, python_texts
from ferry import _core, errors

DOCUMENT = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
MAP, CATALOGUE = re.split(r"(?m)^## (?=Building)", DOCUMENT)

# Texts without a row, as the code has them, and why no user meets them.
LEFT_OUT = {
    "the connection ended": "the receiver tells its callers, who say who is gone",
    f"the {GAP} (pid {GAP}): {GAP}": "puts a name before texts that have rows",
    f" (row {GAP})": "stands after texts that have rows",
    f"{GAP} has not been connected yet": "adapters describe what they have connected to",
    f"{GAP} has no turn to answer": "backends answer the turns that they were given",
    f"field {GAP} has no element {GAP} of {GAP} bytes": "a proxy writes to elements that it has counted",
    "not a frame": "a visit says no more than that somebody listens",
    "cut short": "a visit says no more than that somebody listens",
    f"{GAP} fields of {GAP} bytes": "comes after: the region is damaged",
    f"a field of the dtype {GAP} with {GAP} dimensions": "comes after: the region is damaged",
    "what should lie inside the region does not": "comes after: the region is damaged",
    f"{GAP} has no such turn to look at": "backends look at the turns that they were given",
}


def entries() -> list[str]:
    """The texts in the first cells of the catalogue's rows, with "..." and <words> for what is filled in."""
    cells: list[str] = re.findall(r"(?m)^\| (?!it says)(.+?) \| .* \|$", CATALOGUE)
    texts = [text for cell in cells for _, text in re.findall(r"(`+)(.+?)\1(?!`)", cell)]
    return [text[1:-1] if text[0] == text[-1] == " " else text for text in texts]  # as Markdown has it


def covers(entry: str, text: str) -> bool:
    """Whether an entry is a text, with more filled in than the code has, or more left out."""
    entry = re.sub(r"\.\.\.|<[^>]*>", GAP, entry)
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split(GAP))), instance, re.DOTALL)
        for pattern, instance in ((entry, text), (text, entry))
    )


def test_every_text_of_the_code_has_a_row() -> None:
    rows = entries()
    lost = [m for m in messages() if m.text not in LEFT_OUT and not any(covers(row, m.text) for row in rows)]
    assert not lost, "no row of docs/errors.md covers these; add to the table where each belongs\n" + "\n".join(
        f"  {message.place}:\n    | `{message.text.replace(GAP, '...')}` | why it comes | what to do |"
        for message in lost
    )


def test_every_row_has_a_text_in_the_code() -> None:
    texts = [message.text for message in messages() if message.text not in LEFT_OUT]
    stale = [row for row in entries() if not any(covers(row, text) for text in texts)]
    assert not stale, "no text of the code is meant by these entries of docs/errors.md; correct or remove them\n" + (
        "\n".join(f"  `{row}`" for row in stale)
    )


def test_rows_say_something() -> None:
    """An entry of placeholders alone would cover everything."""
    assert [row for row in entries() if len(re.sub(r"\.\.\.|<[^>]*>|\W", "", row)) < 7] == []
    assert len(entries()) == len(set(entries()))


def test_what_is_left_out_is_there() -> None:
    assert set(LEFT_OUT) - {message.text for message in messages()} == set()


def test_the_map_has_every_class() -> None:
    named = re.findall(r"(?m)^\| `(\w+)`", MAP)
    assert set(errors.__all__) - set(named) == set()
    assert [name for name in named if name.endswith("Error") and hasattr(ferry, name)]


def test_the_map_has_every_code() -> None:
    header = (ROOT / "include" / "libferry.h").read_text(encoding="utf-8")
    codes = re.findall(r'X\((FERRY_E\w+), (-\d+), "(.+?)"\)', header)
    rows = re.findall(r"(?m)^\| `(FERRY_E\w+)` \| (-\d+) \| (.+?) \| `(\w+)` \|", MAP)
    assert codes == [row[:3] for row in rows]
    for name, value, _, python in rows:
        assert type(_core.exception(int(value), "")).__name__ == python, name
        if python != "FerryError":
            by_class = re.search(rf"(?m)^\| `{python}`[^|]*\| ([^|]*)\|", MAP)
            assert by_class is not None, python
            assert f"`{name}`" in by_class[1], f"{name} belongs in the row of {python}"


@pytest.mark.parametrize(
    ("read", "source", "texts"),
    [
        (
            c_texts,
            'return ferry__fail(why, FERRY_E, "a %-3s " "b %" PRIu64 " (%.1f)", name, n);',
            [f"a {GAP} b {GAP} ({GAP})"],
        ),
        (c_texts, "int ferry__fail(ferry_why *why, int code, const char *format, ...);", []),
        (
            cython_texts,
            'cdef int f(self):\n    text = "no"\n    raise self.wrong(f"is {x}; " "no")',
            [f"{GAP} is {GAP}; no"],
        ),
        (cython_texts, 'cdef str reset_text(self):\n    return f"{x} is so"', [f"{GAP} is so"]),
        (python_texts, 'def f():\n    text = f"no {x}"\n    raise XError(text + " here") from None', [f"{GAP} here"]),
    ],
)
def test_the_reader_reads(read: Callable[[str], Iterator[tuple[str, int]]], source: str, texts: list[str]) -> None:
    assert [text for text, _ in read(source)] == texts
