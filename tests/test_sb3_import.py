"""ferry.sb3 without Stable-Baselines3; tests/clients/test_sb3_vec.py has what it does with it."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_without_stable_baselines_the_import_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.monitor", None)
    monkeypatch.delitem(sys.modules, "ferry.sb3", raising=False)
    with pytest.raises(ImportError, match=r'pip install "ferry-fast\[sb3\]"'):
        importlib.import_module("ferry.sb3")
