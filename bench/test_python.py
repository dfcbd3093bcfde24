"""What the calls of the Python surface take, by pytest-benchmark: ``pytest bench/test_python.py``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import ferry
from contenders import PEER_TIMEOUT_S
from processes import BUILD, Child

STEPS_A_ROUND, ROUNDS = 100, 500
ENV_CPU = max(os.sched_getaffinity(0))


@pytest.fixture(scope="module", autouse=True)
def agent_cpu() -> Iterator[None]:
    """Keeps the agent off the env's CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def serving(command: list[str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as directory:
        address = str(Path(directory) / "env")
        with Child(command, ENV_CPU, {"FERRY_ADDRESS": f"serve:{address}"}):
            yield address


@pytest.fixture(scope="module")
def pole() -> Iterator[str]:
    """Where a pole written in C serves."""
    yield from serving([str(BUILD / "examples" / "pole")])


@pytest.fixture(scope="module")
def pixel() -> Iterator[str]:
    """Where an environment serves whose observation is 4 bytes and whose episodes never end."""
    size = ["--height", "1", "--width", "4", "--channels", "1"]
    yield from serving([str(BUILD / "examples" / "pixel"), *size])


@pytest.mark.parametrize("copy", [True, False], ids=["fresh", "view"])
def test_step(benchmark: BenchmarkFixture, pixel: str, copy: bool) -> None:
    with ferry.ClientEnv(pixel, timeout=PEER_TIMEOUT_S, copy=copy) as env:
        env.reset()
        result = benchmark.pedantic(  # type: ignore[no-untyped-call]
            env.step, args=(1,), iterations=STEPS_A_ROUND, rounds=ROUNDS, warmup_rounds=10
        )
    assert result[1] >= STEPS_A_ROUND * ROUNDS  # the reward counts the steps


def test_reset(benchmark: BenchmarkFixture, pole: str) -> None:
    with ferry.ClientEnv(pole, timeout=PEER_TIMEOUT_S) as env:
        observation, _ = benchmark(env.reset)
    assert abs(observation).max() <= 0.05


def test_reset_with_seed_and_options(benchmark: BenchmarkFixture, pole: str) -> None:
    state = [0.01, 0.02, 0.03, 0.04]
    with ferry.ClientEnv(pole, timeout=PEER_TIMEOUT_S) as env:
        observation, _ = benchmark(env.reset, seed=3, options={"state": state})
    assert observation.tolist() == pytest.approx(state)


def test_connect(benchmark: BenchmarkFixture, pole: str) -> None:
    def connect_and_say_goodbye() -> None:
        ferry.ClientEnv(pole, timeout=PEER_TIMEOUT_S).close()

    benchmark(connect_and_say_goodbye)
