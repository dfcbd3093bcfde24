"""Tools of other systems, engines and languages: a test that needs an absent one is skipped, unless it is required.

TESTS_REQUIRE names the tools that must be here, with spaces between, or "all": then their absence is a failure.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Tools that a script of the project's own brings, and the variable that names another.
_OWN = {"godot": ("GODOT", ROOT / "build" / "godot" / "godot")}


def find(tool: str) -> str | None:
    """The path of a program, if it is here."""
    if tool in _OWN:
        variable, place = _OWN[tool]
        for path in (os.environ.get(variable), shutil.which("godot4"), shutil.which("godot"), str(place)):
            if path and os.access(path, os.X_OK):
                return path
        return None
    return shutil.which(tool)


def miss(what: str, tool: str) -> None:
    """Skips the test because of a tool, or fails it where the tool is required."""
    required = os.environ.get("TESTS_REQUIRE", "").split()
    if tool in required or "all" in required:
        pytest.fail(f"{what}, and TESTS_REQUIRE says that it must be here")
    pytest.skip(what)


def need(*tools: str) -> list[str]:
    """The paths of programs; skips the test, or fails it, if one is absent."""
    found = []
    for tool in tools:
        path = find(tool)
        if path is None:
            miss(f"{tool} is not here", tool)
        else:
            found.append(path)
    return found
