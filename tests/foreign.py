"""What the tests of other languages share: their poles beside that in C, and an environment with one of everything."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ferry
import legs
from conftest import PATIENCE
from ferry import paths

BUILD_LIMIT_S = 120.0
BALANCING = np.array([0.1, 0.5, 1.0, 1.0])
"""A linear policy that holds the pole up for 500 steps from every start."""
POLE = legs.ROOT / "build" / "examples" / "pole"
WARM_UP = 10
"""The step of an episode from which on the programs count what they allocate."""

Command = list[str]
Action = dict[str, Any]


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Runs what must succeed, and returns what it printed."""
    variables = {**os.environ, **(env or {})}
    done = subprocess.run(command, cwd=cwd, env=variables, timeout=BUILD_LIMIT_S, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def run_readme(readme: Path, program: str, folder: Path) -> None:
    """Runs the lines of a README that begin with a program's name, in a folder that looks like the checkout."""
    build = folder / "build"
    build.mkdir()
    for name in ("libferry.a", "libferry.so"):
        (build / name).symlink_to(legs.ROOT / "build" / name)
    (folder / "bindings").symlink_to(legs.ROOT / "bindings")
    lines = re.findall(rf"^    ({program} .*)$", readme.read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        run(*line.split(), cwd=folder)


@contextlib.contextmanager
def running(command: Command, address: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """A program at an address; it is killed at the end."""
    process = subprocess.Popen(
        [str(paths.launcher()), str(os.getpid()), *command],
        env={**os.environ, "FERRY_ADDRESS": address},
        text=True,
        **streams,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


# ---- The pole --------------------------------------------------------------------------------------------------------


def same(one: Sequence[Any], other: Sequence[Any], atol: float) -> None:
    """Compares what two resets or two steps returned, but for infos."""
    assert other[0].dtype == one[0].dtype
    np.testing.assert_allclose(other[0], one[0], rtol=0, atol=atol)
    for value, expected in zip(other[1:-1], one[1:-1], strict=True):
        np.testing.assert_array_equal(value, expected, strict=True)


def check_pole(command: Command, atol: float = 0.0, num_steps: int = 600) -> None:
    """Compares a pole with the one in C, to the bit unless told otherwise; and beyond its limit of 500 steps."""
    rng = np.random.default_rng(5)
    num_ends = 0
    with ferry.launch([POLE]) as c, ferry.launch(command) as other:
        assert other.observation_space == c.observation_space
        assert other.action_space == c.action_space
        assert other.metadata == c.metadata
        for run in range(20):
            state = (rng.uniform(-1, 1, 4) * (1.0, 1.0, 0.2, 1.0)).tolist()
            start: dict[str, Any] = {"options": {"state": state}} if run % 2 else {"seed": run}
            answer: Sequence[Any] = c.reset(**start)
            same(answer, other.reset(**start), atol)
            for _ in range(num_steps):
                action = int(rng.integers(2)) if run % 4 < 2 else int(BALANCING @ answer[0] > 0)
                answer = c.step(action)
                same(answer, other.step(action), atol)
                num_ends += answer[2]
                if (answer[2] and rng.random() < 0.5) or answer[3]:  # sometimes on after the fall, whose reward is 0
                    break
        assert num_ends > 10
        for options in ({"state": [1, 2, 3]}, {"state": [1, 2, 3, "x"]}, {"other": 1}, {"state": [1, 2, 3, 4], "x": 1}):
            with pytest.raises(ferry.BackendError, match=r"the options must be \{\} or"):
                other.reset(options=options)
        same(c.reset(seed=1), other.reset(seed=1, options={}), atol)


def check_limit(command: Command) -> None:
    """A pole that is balanced stands for 500 steps, and no longer."""
    with ferry.launch(command) as env:
        observation, _ = env.reset(seed=2)
        for step in range(1, 501):
            observation, _, terminated, truncated, _ = env.step(int(BALANCING @ observation > 0))
            assert (terminated, truncated) == (False, step == 500)


def check_rows(command: Command, atol: float = 0.0) -> None:
    """Compares eight poles of one program with eight in C, ends and autoresets included."""
    arguments = ["poles", "{num_envs}"]
    rng = np.random.default_rng(6)
    num_ends = 0
    with (
        ferry.launch([str(POLE), *arguments], num_engines=1, envs_per_engine=8) as c,
        ferry.launch([*command, *arguments], num_engines=1, envs_per_engine=8) as other,
    ):
        same(c.reset(seed=3), other.reset(seed=3), atol)
        for _ in range(300):
            actions = rng.integers(0, 2, 8)
            answer: Sequence[Any] = c.step(actions)
            same(answer, other.step(actions), atol)
            num_ends += int(answer[2].sum())
    assert num_ends > 20


def check_second_server(command: Command) -> None:
    """Two programs at one address: the second one says why it cannot be there."""
    with running(command, "taken", stderr=subprocess.DEVNULL):
        with ferry.ClientEnv("taken", timeout=PATIENCE) as env:
            env.reset(seed=0)
        with running(command, "taken", stderr=subprocess.PIPE) as second:
            said = second.communicate(timeout=PATIENCE)[1]
    assert second.returncode != 0
    assert "taken' is already served by the process" in said


# ---- One of everything -----------------------------------------------------------------------------------------------


def actions(count: int) -> Iterator[Action]:
    """Lists of all lengths, texts of all sizes."""
    rng = np.random.default_rng(8)
    for i in range(count):
        yield {
            "numbers": tuple(rng.uniform(-1, 1, (i % 5, 2)).astype(np.float32)),
            "word": "ferries and more"[: i % 17],
            "bits": rng.integers(0, 2, 3).astype(np.int8),
            "pair": rng.integers(0, [3, 5]),
        }


def check_everything(command: Command) -> None:
    """An environment that shows what it is given: lists, texts, bits, pairs, infos, calls."""
    with ferry.launch(command) as env:
        observation, info = env.reset(seed=1)
        assert observation["numbers"] == ()
        assert observation["word"] == ""
        assert info == {}
        assert env.observation_space["nothing"].high.tolist() == [0, 0]  # type: ignore[index]
        for i, action in enumerate(actions(100), start=1):
            observation, _, _, _, info = env.step(action)
            np.testing.assert_array_equal(observation["numbers"], action["numbers"])
            assert observation["word"] == action["word"]
            np.testing.assert_array_equal(observation["bits"], action["bits"])
            np.testing.assert_array_equal(observation["pair"], action["pair"])
            assert observation["picture"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
            assert info["count"].dtype == np.uint32
            assert info["count"] == i
        # More than the program has room for travel in the blob; it takes that for none.
        long = next(actions(1)) | {"numbers": tuple(np.zeros((9, 2), np.float32))}
        assert env.step(long)[0]["numbers"] == ()
        assert env.call("hello", 1, x=2) == {"op": "call", "name": "hello", "args": [1], "kwargs": {"x": 2}}


def check_misuse(command: Command, words: set[str]) -> None:
    """The program misuses its binding in the ways that it names, and says which are held against it."""
    with ferry.launch(command) as env:
        env.reset(seed=1)
        env.step(next(actions(1)))
        assert env.call("misuse") == dict.fromkeys(words, True)
        env.step(next(actions(1)))


def last_words(command: Command, num_steps: int) -> str:
    """What the program prints when its agent leaves after one long episode."""
    with running(command, "serve:counted", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        with ferry.ClientEnv("counted", timeout=PATIENCE) as env:
            env.reset(seed=1)
            some = list(actions(5))
            for i in range(num_steps):
                env.step(some[i % 5])
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("left:"):
                break
    said = "".join(lines)
    assert f"of {num_steps}\n" in said, said
    return said
