"""Runs a target of Python under Atheris, which knows libFuzzer's options:

python tests/fuzz/python.py TARGET [OPTION or FOLDER]...
"""

from __future__ import annotations

import importlib
import sys

import atheris


def main() -> None:
    """Imports the target, and through it what of Ferry it looks at, so that branches are seen."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["ferry", name]):
        target = importlib.import_module(name)
    if hasattr(target, "lower_limits"):
        target.lower_limits()
    atheris.Setup(sys.argv, target.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
