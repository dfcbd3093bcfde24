"""Vector environments: what ClientVectorEnv gives is what Gymnasium's SyncVectorEnv gives, value for value.

Besides: whoever is ready first, calls, and whatever can go wrong in one row of many.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

import ferry
import row_envs
import same
from conftest import PATIENCE, Serve, wait_until
from row_envs import DO, END_BOTH, GO_ON, Faulty

MODES = ["next_step", "same_step", "disabled"]
# Rows of each backend.
TOPOLOGIES = {"one backend": [3], "one row each": [1, 1], "many of each": [2, 2]}
# Steps in each topology; together 10,000 in each mode.
STEPS = {"Told": 2200, "Numbers": 900, "Nested": 200, "Wordy": 60, "Graphs": 60, "EightDimensions": 20}

# Serves what its standard input names, each in a process of its own.
SERVER = """
import os, sys, ferry
for line in sys.stdin:
    env_id, address, rows = line.split()
    if os.fork() == 0:
        ferry.ServerBackend(env_id, address, num_envs=int(rows)).run()
        os._exit(0)
"""


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[str, Sequence[int]], list[str]]]:
    """Addresses of backends for an environment of row_envs, with so many rows each; they serve all tests."""
    known: dict[tuple[str, int, int], str] = {}
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent)])},
        )

        def served(name: str, rows: Sequence[int]) -> list[str]:
            assert process.stdin is not None
            wanted = [(name, count, list(rows[:i]).count(count)) for i, count in enumerate(rows)]
            for key in wanted:
                if key not in known:
                    known[key] = f"{folder}/{len(known)}"
                    process.stdin.write(f"row_envs:{name} {known[key]} {key[1]}\n")
            return [known[key] for key in wanted]

        try:
            yield served
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=PATIENCE)


@pytest.fixture
def connect() -> Iterator[Callable[..., ferry.ClientVectorEnv]]:
    """Makes a ClientVectorEnv that is closed after the test."""
    with contextlib.ExitStack() as made:

        def connect(addresses: str | Sequence[str], mode: str = "next_step", **options: Any) -> ferry.ClientVectorEnv:
            envs = ferry.ClientVectorEnv(addresses, autoreset_mode=mode, **{"timeout": PATIENCE, **options})
            made.callback(envs.close)
            return envs

        yield connect


# ---- As in process ----


def told_to(space: gymnasium.Space[Any], do: NDArray[np.int64]) -> Any:
    """A random action of all rows that makes each end its episode as the number says."""
    actions: Any = space.sample()
    if isinstance(actions, dict):
        actions["do"] = do
    elif isinstance(space, spaces.Tuple) and isinstance(space[0], spaces.Dict):
        actions[0]["do"] = do
    elif isinstance(space, spaces.Tuple):
        actions = tuple((np.int64(number), *action) for number, action in zip(do, actions, strict=True))
    else:
        actions = do
    return actions


def ends(random: np.random.Generator, rows: int) -> NDArray[np.int64]:
    """What the rows shall do: mostly go on, now and then end in any combination, or all at once."""
    kind = random.integers(10)
    if kind < 5:
        return np.full(rows, GO_ON)
    if kind == 9:
        return np.full(rows, random.integers(1, 4))
    return random.integers(0, END_BOTH + 1, rows) * random.integers(0, 2, rows)


def beginnings(random: np.random.Generator, rows: int, over: NDArray[np.bool_]) -> dict[str, Any]:
    """Arguments of a reset: of all rows, or of those that are over and some others."""
    seeds = [None, int(random.integers(1000)), [None if random.integers(2) else row + 7 for row in range(rows)]]
    options: Any = [None, {}, {"quiet": True}, {"list": [1, 2.5, "x"]}][random.integers(4)]
    if random.integers(4) != 0 and over.any():
        mask = over | (random.integers(0, 3, rows) == 0)
        options = {**(options or {}), "reset_mask": mask}
    return {"seed": seeds[random.integers(3)], "options": options}


def copied(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same; Gymnasium takes the mask out of the caller's own options."""
    options = arguments["options"]
    return {**arguments, "options": None if options is None else dict(options)}


def play(envs: ferry.ClientVectorEnv, twin: SyncVectorEnv[Any, Any], mode: str, steps: int) -> None:
    """Does the same in both, and compares everything that comes back."""
    rows = twin.num_envs
    assert envs.num_envs == rows
    assert envs.metadata["autoreset_mode"] is twin.metadata["autoreset_mode"]
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(envs, name) == getattr(twin, name)
    random = np.random.default_rng(rows)
    twin.action_space.seed(rows)
    over = np.zeros(rows, bool)
    seen = set()
    same.assert_same(envs.reset(seed=1), twin.reset(seed=1))
    for _ in range(steps):
        if (mode == "disabled" and over.any()) or random.integers(50) == 0:
            arguments = beginnings(random, rows, over)
            given = copied(arguments)
            same.assert_same(envs.reset(**given), twin.reset(**copied(arguments)))
            same.assert_same(given, arguments)  # the caller's own are left alone
        actions = told_to(twin.action_space, ends(random, rows))
        mine, theirs = envs.step(actions), twin.step(actions)
        same.assert_same(mine, theirs)
        over = theirs[2] | theirs[3]
        seen.update(zip(theirs[2].tolist(), theirs[3].tolist(), strict=True))
        if over.all():
            seen.add((True, True, True))
    assert len(seen) == 5 or steps < 200


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("name", STEPS)
def test_it_is_as_in_process(served: Any, connect: Any, name: str, topology: str, mode: str) -> None:
    rows = TOPOLOGIES[topology]
    twin = SyncVectorEnv([getattr(row_envs, name)] * sum(rows), autoreset_mode=AutoresetMode[mode.upper()])
    play(connect(served(name, rows), mode), twin, mode, STEPS[name])
    twin.close()


def test_there_are_many_steps() -> None:
    assert sum(STEPS.values()) * len(TOPOLOGIES) >= 10_000


@pytest.mark.parametrize("name", ["Told", "Nested"])
@pytest.mark.parametrize("mode", MODES)
def test_views_are_as_in_process(served: Any, connect: Any, name: str, mode: str) -> None:
    twin = SyncVectorEnv([getattr(row_envs, name)] * 4, autoreset_mode=AutoresetMode[mode.upper()])
    play(connect(served(name, [4]), mode, copy=False), twin, mode, 150)
    twin.close()
