"""Reads the texts of errors and log lines out of the sources, with a gap wherever something is filled in.

`python tests/error_messages.py` prints them all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
GAP = "\N{HORIZONTAL ELLIPSIS}"

# Calls whose arguments are texts for people: of C; of Python and Cython, with what is put around the text.
C_CALLS = r"\b(ferry__(?:fail|fail_os|wrong_field|also|channel_lose|channel_damaged|tell|env_refuse))\s*\("
C_BEFORE = {
    "ferry__wrong_field": f"{GAP} '{GAP}'",
    "ferry__channel_damaged": f"the region shared with the {GAP} (pid {GAP}) is damaged: ",
}
C_BEHIND = {"ferry__fail_os": f": {GAP}"}
PYTHON_CALLS = {
    r"\w*Error|\w*Exception|InvalidAction|ResetNeeded": "{}",
    r"cls|__init__|error|of_report|warn|warning|info": "{}",
    r"wrong|_unsupported": GAP + " {}",
}
# Functions whose results are such texts.
RETURNS = r"fate|known|reset_text"


class Message(NamedTuple):
    """A text of the code.

    Attributes:
        text: With GAP for what is filled in.
        place: "file:line".
    """

    text: str
    place: str


@cache
def messages() -> tuple[Message, ...]:
    """Every text of the code once; those without a word of their own, such as "%s", are left out."""
    readers = {".c": c_texts, ".h": c_texts, ".py": python_texts, ".pyx": cython_texts, ".pxi": cython_texts}
    found: dict[str, Message] = {}
    # The texts of ferry.testing are findings, each with its own advice.
    files = {*ROOT.glob("csrc/*"), *ROOT.glob("ferry/*")} - {ROOT / "ferry" / "testing.py"}
    for path in sorted(files):
        if path.suffix in readers:
            for text, line in readers[path.suffix](path.read_text(encoding="utf-8")):
                if re.search(r"[a-z]{2}", text):
                    found.setdefault(text, Message(text, f"{path.relative_to(ROOT)}:{line}"))
    return tuple(found.values())


# ---- C ---------------------------------------------------------------------------------------------------------------


def c_texts(source: str) -> Iterator[tuple[str, int]]:
    """The formats of C_CALLS. Literals that stand side by side are one; directives and macros are gaps."""
    string = r'"(?:\\.|[^"\\])*"'
    for call in re.finditer(C_CALLS, source):
        format = re.match(rf"[^;\"]*?({string}(?:\s|\w+|{string})*)", source[call.end() :])
        if format is None:
            continue  # a declaration, or a text that was made elsewhere
        parts = re.findall(rf"({string})|\w+", format[1])
        text = "".join(ast.literal_eval(part) if part else GAP for part in parts)
        text = re.sub(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?(?:hh|h|ll|l|z|j|t)?[a-zA-Z]", GAP, text)
        text = text.replace("%" + GAP, GAP).replace("%%", "%")
        yield C_BEFORE.get(call[1], "") + text + C_BEHIND.get(call[1], ""), source.count("\n", 0, call.start()) + 1


# ---- Python and Cython -----------------------------------------------------------------------------------------------


def python_texts(source: str) -> Iterator[tuple[str, int]]:
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    seen: set[ast.AST] = set()
    for scope in [*functions, tree]:  # the module last: what is in a function knows its variables
        nodes = list(ast.walk(scope))
        for text, node in returned(getattr(scope, "name", ""), nodes):
            yield text, node.lineno
        for call in nodes:
            if isinstance(call, ast.Call) and call not in seen:
                seen.add(call)
                for text in texts_of(call, nodes):
                    yield text, call.lineno


def cython_texts(source: str) -> Iterator[tuple[str, int]]:
    """The same for what ast cannot read as a whole: functions, and in them calls and assignments, are cut out."""
    begin = 0
    names = "|".join(PYTHON_CALLS)
    for function in re.split(r"(?m)^(?=\s*(?:cp?def|def) )", source):
        nodes = [node for line in re.findall(r"(?m)^ *((?:\w+ =|return) .+)$", function) for node in parsed(line)]
        for text, _ in returned("".join(re.findall(r"(\w+)\(", function)[:1]), nodes):
            yield text, source.count("\n", 0, begin + 1) + 1
        for call in re.finditer(rf"(?:\w+\.)?\b(?:{names})\(", function):
            for node in parsed(function[call.start() : end_of_call(function, call.end())]):
                if isinstance(node, ast.Call):
                    for text in texts_of(node, nodes):
                        yield text, source.count("\n", 0, begin + call.start()) + 1
                    break  # a call within is found by itself
        begin += len(function)


def parsed(source: str) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(source)))
    except SyntaxError:  # Cython's own, or the first line of several
        return []


def end_of_call(source: str, begin: int) -> int:
    """Where the parenthesis is closed that was opened before begin."""
    depth = 1
    for token in re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|[()]').finditer(source, begin):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(source)


def returned(function: str, nodes: list[ast.AST]) -> Iterator[tuple[str, ast.Return]]:
    """The texts that a function returns, if it is one of RETURNS."""
    if re.fullmatch(RETURNS, function):
        for node in nodes:
            if isinstance(node, ast.Return) and node.value is not None and " " in (text := text_of(node.value)):
                yield text, node


def texts_of(call: ast.Call, nodes: list[ast.AST]) -> Iterator[str]:
    """The texts that a call may give: its arguments, or what is assigned in nodes to the variables among them."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    around = next((around for pattern, around in PYTHON_CALLS.items() if re.fullmatch(pattern, name)), None)
    if around is None:
        return
    for argument in call.args:
        values: list[ast.expr] = [argument]
        if isinstance(argument, ast.Name):
            assignments = [node for node in nodes if isinstance(node, ast.Assign)]
            values = [node.value for node in assignments if getattr(node.targets[0], "id", None) == argument.id]
        for value in values:
            for branch in [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]:
                if " " in (text := text_of(branch)).strip():
                    yield around.format(text)


def text_of(value: ast.expr) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return re.sub(r"%[sdr]", GAP, value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(GAP if isinstance(part, ast.FormattedValue) else text_of(part) for part in value.values)
    if isinstance(value, ast.BinOp):
        return text_of(value.left) + text_of(value.right)
    return GAP


if __name__ == "__main__":
    for message in messages():
        print(f"{message.place}: {message.text}")
