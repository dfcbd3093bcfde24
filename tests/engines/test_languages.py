"""The benchmark of languages runs: its programs play one episode, through Ferry and without."""

from __future__ import annotations

import json
import sys

import legs
from foreign import run


def test_every_language_is_measured() -> None:
    legs.need("rustc", "mcs", "mono")
    found = json.loads(run(sys.executable, "-m", "engines.languages", "1", cwd=legs.ROOT / "bench"))
    assert set(found["languages"]) == {"C", "Rust", "C#"}
    for language in found["languages"].values():
        for measured in language.values():
            assert measured["ferry_us"] > 0
            assert measured["loop_us"] > 0
