"""Puts ferry.AsyncVectorEnv where Gymnasium's own tests look for Gymnasium's class.

For `make test-gymnasium` alone: loaded as a plugin, it is there before any test module imports the class, and
gymnasium.make_vec looks it up when it is called.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium.vector
import gymnasium.vector.async_vector_env
import pytest

import ferry

SWAPPED = "AsyncVectorEnv"
SKIPPED = Path(__file__).with_name("skipped.txt")

ours = getattr(ferry, SWAPPED)
for _module in (gymnasium.vector, gymnasium.vector.async_vector_env):
    setattr(_module, SWAPPED, ours)


def skipped() -> dict[str, str]:
    """What skipped.txt says: the ids of tests and why each is left out."""
    lines = SKIPPED.read_text().splitlines()
    rows = [line.partition(" | ") for line in lines if line and not line.startswith("#")]
    for test, _, reason in rows:
        if not reason.strip():
            raise pytest.UsageError(f"{SKIPPED}: no reason for {test}")
    return {test.strip(): reason.strip() for test, _, reason in rows}


def pytest_report_header() -> str:
    return f"{SWAPPED}: {ours.__module__}.{ours.__qualname__}, in the tests of Gymnasium {gymnasium.__version__}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    holders = {item.module for item in items if isinstance(item, pytest.Function) and hasattr(item.module, SWAPPED)}
    theirs = [module.__name__ for module in holders if getattr(module, SWAPPED) is not ours]
    if theirs:
        raise pytest.UsageError(f"these test Gymnasium's class, not Ferry's: {', '.join(sorted(theirs))}")

    reasons = skipped()
    ids = {item.nodeid for item in items}
    files = {test.partition("::")[0] for test in ids}
    unknown = [test for test in reasons if test not in ids and test.partition("::")[0] in files]
    if unknown and not any("::" in argument for argument in config.args):
        raise pytest.UsageError(f"{SKIPPED} names tests that are not there: {', '.join(unknown)}")
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in reasons])
    items[:] = [item for item in items if item.nodeid not in reasons]
