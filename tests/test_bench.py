"""The benchmarks' own parts: what they verify by, and what they record."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

import ferry
from report import Plot, Promise, Section, Table, page, read, recorded
from scene import POLE
from vectors import InProcess, pole_rollout, verify


@pytest.mark.parametrize("num_rows", [1, 7])
def test_the_loop_in_process_and_ferry_come_to_the_same(num_rows: int) -> None:
    rollout = pole_rollout(200, num_rows)
    command = [POLE, "{address}", "{num_envs}"]
    with contextlib.closing(ferry.launch(command, envs_per_engine=num_rows)) as envs:
        verify(envs, rollout)
    assert any(terminated.any() for _, _, terminated, _ in rollout.trace)


def test_a_rollout_that_differs_is_noticed() -> None:
    rollout = pole_rollout(5, 2)
    rollout.trace[3][0][1, 2] += 1
    with contextlib.closing(InProcess(2)) as batch, pytest.raises(AssertionError, match="step 3: the observations"):
        verify(batch, rollout)


def section(name: str, figure: float) -> Section:
    return Section(
        name,
        "How much?",
        [Table("All", ["", "figure"], [["one", str(figure)]])],
        [Promise("little", figure, 2.0, "us")],
        {"figure": figure},
        [Plot(name, "All", "x", "y", {"curve": [(1.0, figure)]})],
    )


def test_what_was_recorded_is_read_and_the_later_run_counts(tmp_path: Path) -> None:
    runs = [[section("a", 1.0), section("b", 1.0)], [section("b", 3.0)]]
    paths = [tmp_path / "1.json", tmp_path / "2.json"]
    for path, run in zip(paths, runs, strict=True):
        path.write_text(json.dumps({"run": path.name, "sections": [recorded(part) for part in run]}))
    about, sections = read(paths)
    assert about == {"run": "2.json"}
    assert [part.data["figure"] for part in sections] == [1.0, 3.0]
    assert [promise.holds for part in sections for promise in part.promises] == [True, False]
    assert sections[1].tables == runs[1][0].tables
    assert sections[0].plots[0].name == "a"


def test_a_page_shows_tables_and_plots() -> None:
    machine = {
        "virtual": False,
        "pinned": {"agent": 0, "env": 1},
        "packages": {},
        "cpu": "a CPU",
        "cpus_online": 2,
        "kernel": "6",
        "python": "3",
    }
    text = page({"machine": machine, "started": "2026-01-01"}, [section("a", 1.0)], "performance")
    assert "| little | at most 2.00 us | 1.00 us | yes |" in text
    assert "![All](performance/a.svg)" in text
