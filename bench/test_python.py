"""What the calls of the Python surface take, by pytest-benchmark: ``pytest bench/test_python.py``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import ferry
from contenders import PEER_TIMEOUT_S
from processes import BUILD, Child

Env = gym.Env[Any, Any]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a pole written in C serves."""
    cpu = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as directory:
        where = str(Path(directory) / "pole")
        with Child([str(BUILD / "examples" / "pole")], cpu, {"FERRY_ADDRESS": f"serve:{where}"}):
            yield where


@pytest.fixture
def env(address: str) -> Iterator[Env]:
    """The pole."""
    with ferry.ClientEnv(address, timeout=PEER_TIMEOUT_S) as env:
        env.reset(seed=1)
        yield env


def test_step(benchmark: BenchmarkFixture, env: Env) -> None:
    """One step; the pole may fall and is stepped on."""
    observation, *_ = benchmark(env.step, 1)
    assert env.observation_space.shape == observation.shape


def test_step_with_view(benchmark: BenchmarkFixture, address: str) -> None:
    """One step, the observation in place."""
    with ferry.ClientEnv(address, timeout=PEER_TIMEOUT_S, copy=False) as env:
        env.reset(seed=1)
        observation, *_ = benchmark(env.step, 1)
        assert not observation.flags.writeable


def test_reset(benchmark: BenchmarkFixture, env: Env) -> None:
    """One reset without a seed."""
    observation, _ = benchmark(env.reset)
    assert abs(observation).max() <= 0.05


def test_reset_with_seed_and_options(benchmark: BenchmarkFixture, env: Env) -> None:
    """One reset that carries a blob."""
    state = [0.01, 0.02, 0.03, 0.04]
    observation, _ = benchmark(env.reset, seed=3, options={"state": state})
    assert observation.tolist() == pytest.approx(state)


def test_connect(benchmark: BenchmarkFixture, address: str) -> None:
    """Connecting to a running server, and the goodbye."""

    def connect() -> None:
        ferry.ClientEnv(address, timeout=PEER_TIMEOUT_S).close()

    benchmark(connect)
