"""Vector environments: what ClientVectorEnv gives is what Gymnasium's SyncVectorEnv gives, value for value.

Besides: whoever is ready first, calls, and whatever can go wrong in one row of many.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shlex
import shutil
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
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

import ferry
import row_envs
import same
from conftest import PATIENCE, Serve, wait_until
from ferry import _core, blobs
from ferry import spaces as spaces_of_ferry
from row_envs import END_BOTH, GO_ON, Faulty

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


def sorted_infos(value: Any) -> Any:
    """With the keys of dicts in order."""
    if isinstance(value, dict):
        return {key: sorted_infos(value[key]) for key in sorted(value)}
    return tuple(map(sorted_infos, value)) if isinstance(value, tuple) else value


def play(
    envs: ferry.ClientVectorEnv, twin: SyncVectorEnv[Any, Any], mode: str, steps: int, *, in_order: bool = True
) -> None:
    """Does the same in both, and compares everything that comes back.

    Args:
        envs: Ferry's.
        twin: Gymnasium's.
        mode: Of both.
        steps: How many.
        in_order: Whether the keys of infos come in the same order too.
    """
    assert_same = same.assert_same
    if not in_order:
        assert_same = lambda mine, theirs: same.assert_same(sorted_infos(mine), sorted_infos(theirs))  # noqa: E731
    rows = twin.num_envs
    assert envs.num_envs == rows
    assert envs.metadata["autoreset_mode"] is twin.metadata["autoreset_mode"]
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(envs, name) == getattr(twin, name)
    random = np.random.default_rng(rows)
    twin.action_space.seed(rows)
    over = np.zeros(rows, bool)
    seen: set[tuple[bool, ...]] = set()
    assert_same(envs.reset(seed=1), twin.reset(seed=1))
    for _ in range(steps):
        if (mode == "disabled" and over.any()) or random.integers(50) == 0:
            arguments = beginnings(random, rows, over)
            given = copied(arguments)
            assert_same(envs.reset(**given), twin.reset(**copied(arguments)))
            same.assert_same(given, arguments)  # the caller's own are left alone
        actions = told_to(twin.action_space, ends(random, rows))
        mine, theirs = envs.step(actions), twin.step(actions)
        assert_same(mine, theirs)
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


@pytest.fixture(scope="module")
def typed_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled C environment of many rows."""
    program: Path = tmp_path_factory.mktemp("c") / "typed_rows"
    source = Path(__file__).parent / "c" / "typed_rows.c"
    flags = subprocess.run(
        [sys.executable, "-m", "ferry", "--cflags", "--libs"], check=True, capture_output=True, text=True
    ).stdout
    subprocess.run(["cc", str(source), *shlex.split(flags), "-o", str(program)], check=True)
    return program


@pytest.mark.skipif(not shutil.which("cc"), reason="install a C compiler")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_infos_of_c_are_as_in_process(typed_rows: Path, connect: Any, topology: str, mode: str) -> None:
    rows = TOPOLOGIES[topology]
    with contextlib.ExitStack() as running:
        for number, count in enumerate(rows):
            process = running.enter_context(subprocess.Popen([typed_rows, f"test{number}", str(count)]))
            running.callback(process.kill)
        envs = connect([f"test{number}" for number in range(len(rows))], mode)
        twin = SyncVectorEnv([row_envs.Typed] * sum(rows), autoreset_mode=AutoresetMode[mode.upper()])
        play(envs, twin, mode, 200, in_order=False)
        twin.close()


# ---- Views ----


def test_views_lie_in_the_shared_memory_and_outlive_it(serve: Serve, connect: Any) -> None:
    backend = serve("row_envs:Told", num_envs=3)
    envs = connect("test", copy=False)
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    assert not first.flags.writeable
    second, *_ = envs.step(np.zeros(3, int))
    np.testing.assert_array_equal(first, kept)  # until the step after the next
    assert not np.shares_memory(first, second)
    backend.kill()
    with pytest.raises(ferry.PeerGoneError):
        envs.step(np.zeros(3, int))
    serve("row_envs:Told", num_envs=3)
    third, _ = envs.reset(seed=0)
    kept = third.copy()
    assert not any(np.shares_memory(third, old) for old in (first, second))
    envs.close()
    np.testing.assert_array_equal(third, kept)  # of the second connection's memory, which is mapped still
    np.testing.assert_array_equal(second, second.copy())


# ---- Whoever is ready ----


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def faulty(serve: Serve, connect: Any, rows: Sequence[int], mode: str = "next_step", **options: Any) -> Any:
    """Backends with rows of Faulty, served in processes of their own, and the environment that steps them."""
    backends = [serve("row_envs:Faulty", f"test{i}", num_envs=count) for i, count in enumerate(rows)]
    return connect([backend.address for backend in backends], mode, **options), backends


def test_recv_gets_whoever_is_ready(serve: Serve, connect: Any, fifo: Path) -> None:
    envs, _ = faulty(serve, connect, [2, 1, 2])
    envs.reset(options={"fifo": str(fifo)})
    actions = np.array([0, Faulty.HANG, 0, 0, 0])
    envs.send(actions)
    observations, rewards, terminations, truncations, infos = envs.recv(batch_size=3)
    assert infos["env_id"].tolist() == [2, 3, 4]
    assert observations.tolist() == [[0, 1], [0, 1], [1, 1]]
    assert (rewards.dtype, rewards.tolist()) == (np.float64, [1, 1, 1])
    assert (terminations.dtype, terminations.shape, truncations.shape) == (bool, (3,), (3,))
    assert infos["steps"].tolist() == [1, 1, 1]
    envs.send(np.zeros(3, int), env_ids=infos["env_id"])
    *_, infos = envs.recv(batch_size=2)
    assert infos["env_id"].tolist() in ([3, 4], [2, 3, 4])
    with pytest.raises(ferry.FerryError, match="while answers are owed"):
        envs.step(np.zeros(5, int))
    with pytest.raises(ferry.FerryError, match=r"the backends \[0\] have not been heard"):
        envs.send(np.zeros(2, int), env_ids=[0, 1])
    with pytest.raises(ferry.FerryTimeoutError, match=r"\d of \d backends answered in time"):
        envs.recv(timeout=0)
    fifo.write_bytes(b"!")
    heard: list[int] = []
    while len(heard) < (3 if infos["env_id"].tolist() == [3, 4] else 2):
        heard += envs.recv(batch_size=1)[4]["env_id"].tolist()
    assert sorted(heard) in ([0, 1], [0, 1, 2])
    with pytest.raises(ferry.FerryError, match="nothing sent"):
        envs.recv()
    envs.step(np.zeros(5, int))


def test_recv_is_fair(serve: Serve, connect: Any) -> None:
    envs, _ = faulty(serve, connect, [1, 1, 1])
    envs.reset()
    envs.send(np.zeros(3, int))
    heard: list[int] = []
    for _ in range(300):
        *_, infos = envs.recv(batch_size=1)
        heard += infos["env_id"].tolist()
        envs.send(np.zeros(1, int), env_ids=infos["env_id"])
    assert min(heard.count(row) for row in range(3)) > 0
    envs.reset()  # drops what is owed
    assert envs.step(np.zeros(3, int))[0][:, 1].tolist() == [1, 1, 1]


def test_recv_of_all_keeps_what_the_others_said(serve: Serve, connect: Any) -> None:
    envs, _ = faulty(serve, connect, [1, 2])
    envs.reset()
    envs.send(np.array([Faulty.RAISE, 0, 0]))
    with pytest.raises(ferry.BackendError, match="backend 0, row 0") as caught:
        envs.recv()
    assert caught.value.row == 0
    observations, *_, infos = envs.recv()
    assert infos["env_id"].tolist() == [1, 2]
    assert observations.tolist() == [[0, 1], [1, 1]]
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    assert envs.step(np.zeros(3, int))[0][:, 1].tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_size": 4}, "batch_size is 4, and actions were sent to 3 rows"),
        ({"batch_size": 0}, "batch_size is 0; it is 1 or more"),
        ({"batch_size": -1}, "batch_size is -1; it is 1 or more"),
        ({"timeout": -1}, "timeout is -1; it takes seconds"),
    ],
)
def test_recv_takes_no_nonsense(serve: Serve, connect: Any, arguments: dict[str, Any], text: str) -> None:
    envs, _ = faulty(serve, connect, [1, 2])
    envs.reset()
    envs.send(np.zeros(3, int))
    with pytest.raises(ValueError, match=text):
        envs.recv(**arguments)
    assert envs.recv()[4]["env_id"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("env_ids", [[1], [0, 2], [2, 1], [3], [-1], [], [0, 0], [1, 2, 1, 2]])
def test_send_takes_whole_backends(serve: Serve, connect: Any, env_ids: list[int]) -> None:
    envs, _ = faulty(serve, connect, [1, 2])
    envs.reset()
    with pytest.raises(ValueError, match="env_ids"):
        envs.send(np.zeros(len(env_ids), int), env_ids=env_ids)
    envs.send(np.zeros(3, int), env_ids=[1, 2, 0])
    assert envs.recv()[4]["env_id"].tolist() in ([0, 1, 2], [1, 2, 0])


def test_each_wait_has_its_own_sender(serve: Serve, connect: Any) -> None:
    envs, _ = faulty(serve, connect, [1, 2])
    for wait in (envs.step_wait, envs.reset_wait):
        with pytest.raises(ferry.FerryError, match="there is nothing to wait for"):
            wait()
    envs.reset_async(seed=1)
    for wait in (envs.step_wait, envs.recv, lambda: envs.send(np.zeros(3, int)), lambda: envs.call("where")):
        with pytest.raises(ferry.FerryError):
            wait()
    envs.reset_wait()
    envs.step_async(np.zeros(3, int))
    for wait in (envs.reset_wait, lambda: envs.step_async(np.zeros(3, int)), lambda: envs.set_attr("level", 1)):
        with pytest.raises(ferry.FerryError, match=r"owed|nothing to wait for"):
            wait()
    assert envs.step_wait()[0][:, 1].tolist() == [1, 1, 1]


# ---- Calls ----


def drawn(served: Any, connect: Any, rows: Sequence[int], **options: Any) -> ferry.ClientVectorEnv:
    envs: ferry.ClientVectorEnv = connect(served("Told", rows), **options)
    return envs


@pytest.mark.parametrize("rows", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_calls(served: Any, connect: Any, rows: list[int]) -> None:
    envs, total = drawn(served, connect, rows), sum(rows)
    envs.reset(seed=1)
    for _ in range(3):
        envs.step(np.zeros(total, int))
    assert envs.call("add", 1, 2, times=2) == (12,) * total
    assert envs.call("level") == envs.get_attr("level") == (1,) * total
    envs.set_attr("level", 5)
    assert envs.get_attr("level") == (5,) * total
    envs.set_attr("level", list(range(total)))
    assert envs.get_attr("level") == tuple(range(total))
    assert envs.call_rows([total - 1, 0, 0], "level") == (total - 1, 0, 0)
    assert envs.call_rows(np.array([1]), "add", 4) == (7,)
    assert envs.call_rows([], "level") == ()
    envs.set_attr("level", 1)
    with pytest.raises(ValueError, match=f"one for each of the {total} rows; not 7"):
        envs.set_attr("level", [0] * 7)
    for row in (total, -1):
        with pytest.raises(ValueError, match=f"there are {total}"):
            envs.call_rows([row], "level")
    with pytest.raises(ferry.BackendError, match="nothing_there"):
        envs.call("nothing_there")
    with pytest.raises(ferry.BackendError, match="is a method"):
        envs.get_attr("add")
    for name in ("_secret", "a.b"):
        with pytest.raises(ValueError, match="not the name of a public attribute"):
            envs.call(name)
    assert envs.step(np.zeros(total, int))[0][:, 2].tolist() == [4] * total  # the episodes go on


@pytest.mark.parametrize("rows", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_render(served: Any, connect: Any, rows: list[int]) -> None:
    envs = drawn(served, connect, rows, render_mode="rgb_array")
    envs.reset(seed=1)
    envs.step(np.zeros(sum(rows), int))
    frames = envs.render()
    assert frames is not None
    same.assert_same(frames, (np.full((2, 3, 3), 1, np.uint8),) * sum(rows))
    same.assert_same(envs.call("render"), frames)
    envs.close()
    envs = drawn(served, connect, rows)
    envs.reset()
    with pytest.warns(UserWarning, match="without a render mode"):
        assert envs.render() is None


# ---- Bad input ----


@pytest.mark.parametrize("name", ["Told", "Nested", "Wordy", "Graphs"])
@pytest.mark.parametrize("rows", [[3], [1, 2]], ids=["one backend", "several"])
def test_bad_actions_reach_nobody(served: Any, connect: Any, name: str, rows: list[int]) -> None:
    envs = connect(served(name, rows))
    space, go_on = envs.action_space, np.zeros(3, int)
    envs.reset(seed=1)
    good = told_to(space, go_on)
    bad: list[Any] = [told_to(space, np.array([0, 0, 4])), None, 3, good[:2] if name == "Told" else ()]
    if name == "Told":
        bad += [np.zeros((3, 1), int), np.zeros(3), np.zeros(4, int), ["x"] * 3, np.array([0, -1, 0])]
    if name == "Nested":
        bad += [good[:2], [*good], ({**good[0], "more": 1}, *good[1:]), ({"do": go_on}, *good[1:])]
        bad[-3] = (good[0], good[1], good[2][:2])
    if name == "Wordy":
        bad += [{**good, "say": good["say"][:2]}, {**good, "say": (*good["say"][:2], "UPPER")}, {**good, "say": "abc"}]
        bad += [{**good, "pick": (*good["pick"][:2], (9,))}, {**good, "choose": (*good["choose"][:2], (0, 7))}]
    if name == "Graphs":
        bad += [(*good[:2], 5), (*good[:2], (0, 1.5)), good[:2]]
    for actions in bad:
        with pytest.raises(InvalidAction):
            envs.step(actions)
        with pytest.raises(InvalidAction):
            envs.step_async(actions)
        with pytest.raises(InvalidAction):
            envs.send(actions)
        with pytest.raises(ferry.FerryError):
            envs.step_wait()
    assert envs.call("add") == (0, 0, 0)  # the time in each: nobody has stepped
    envs.step(good)
    assert envs.call("add") == (1, 1, 1)


def test_bad_actions_are_named(served: Any, connect: Any) -> None:
    envs = connect(served("Told", [2, 2]))
    envs.reset()
    with pytest.raises(InvalidAction, match=r"^action is 7 at index 2; 0 to 3 are allowed$"):
        envs.step(np.array([0, 0, 7, 0]))
    with pytest.raises(InvalidAction, match=r"^action is -1 at index 1; 0 to 3 are allowed$"):
        envs.send(np.array([0, -1]), env_ids=[2, 3])
    with pytest.raises(InvalidAction, match=r"^action has shape \(3,\); \(4,\) is wanted$"):
        envs.step(np.zeros(3, int))
    envs = connect(served("Wordy", [2, 2]))
    envs.reset()
    actions = told_to(envs.action_space, np.zeros(4, int))
    with pytest.raises(InvalidAction, match="row 3 of the batch: action at 'say' is 'UPPER'"):
        envs.step({**actions, "say": (*actions["say"][:3], "UPPER")})


def test_bounds_are_checked_where_asked(served: Any, connect: Any) -> None:
    envs = connect(served("Nested", [3]), check_actions="bounds")
    envs.reset()
    actions = told_to(envs.action_space, np.zeros(3, int))
    actions[0]["move"][2, 1] = 1.5
    with pytest.raises(InvalidAction, match=r"action#0/move' is 1.5 at index \(2, 1\)|is 1.5 at index \(2, 1\)"):
        envs.step(actions)


@pytest.mark.parametrize(
    ("mask", "error", "text"),
    [
        ([True] * 4, TypeError, "must be a numpy array"),
        (np.ones(3, bool), ValueError, r"must have shape `\(4,\)`"),
        (np.ones((4, 1), bool), ValueError, "must have shape"),
        (np.ones(4, int), TypeError, "dtype=np.bool_"),
        (np.zeros(4, bool), ValueError, "at least one True"),
    ],
)
def test_bad_masks(served: Any, connect: Any, mask: Any, error: type[Exception], text: str) -> None:
    envs = connect(served("Told", [2, 2]), "disabled")
    envs.reset(seed=1)
    envs.step(np.zeros(4, int))
    with pytest.raises(error, match=text):
        envs.reset(options={"reset_mask": mask})
    assert envs.step(np.zeros(4, int))[0][:, 2].tolist() == [2] * 4


@pytest.mark.parametrize(
    ("seed", "text"),
    [
        ([1, 2], "length must match num_envs=4 but got length=2"),
        (-1, "the seed -1 cannot travel"),
        (2**63 - 2, "cannot travel"),
        ([None, None, None, 2**63], "cannot travel"),
    ],
)
def test_bad_seeds(served: Any, connect: Any, seed: Any, text: str) -> None:
    envs = connect(served("Told", [2, 2]))
    with pytest.raises(ValueError, match=text):
        envs.reset(seed=seed)
    envs.reset(seed=2**63 - 4)


def test_options_that_cannot_travel(served: Any, connect: Any) -> None:
    envs = connect(served("Told", [2, 2]))
    with pytest.raises(TypeError, match="cannot be sent"):
        envs.reset(options={"x": threading.Lock()})
    envs.reset()


def test_steps_before_resets(served: Any, connect: Any) -> None:
    envs = connect(served("Told", [2, 2]))
    with pytest.raises(ResetNeeded, match=r"call reset\(\) before step\(\)"):
        envs.step(np.zeros(4, int))
    with pytest.raises(ResetNeeded):
        envs.send(np.zeros(2, int), env_ids=[0, 1])
    mask = np.array([False, True, True, True])
    observations, infos = envs.reset(options={"reset_mask": mask})
    assert observations[0].tolist() == [0, 0, 0]
    assert infos["_seed"].tolist() == mask.tolist()
    with pytest.raises(ResetNeeded, match=r"the rows \[0\] have no episode under way"):
        envs.step(np.zeros(4, int))
    envs.send(np.zeros(2, int), env_ids=[2, 3])
    envs.recv()
    envs.reset(options={"reset_mask": ~mask})
    assert envs.step(np.zeros(4, int))[0][:, 2].tolist() == [1, 1, 2, 2]


def test_rows_nobody_has_reset_have_no_graphs(served: Any, connect: Any) -> None:
    envs = connect(served("Graphs", [2, 2]))
    observations, _ = envs.reset(options={"reset_mask": np.array([False, True, False, False])})
    assert [observation is None for observation in observations] == [True, False, True, True]


def test_disabled_finished_rows_are_named(served: Any, connect: Any) -> None:
    envs = connect(served("Told", [2, 2]), "disabled")
    envs.reset()
    envs.step(np.array([0, row_envs.TERMINATE, 0, row_envs.TRUNCATE]))
    with pytest.raises(ResetNeeded, match=r"episodes of the rows \[1, 3\] have ended, and autoreset is disabled"):
        envs.step(np.zeros(4, int))
    envs.reset(options={"reset_mask": np.array([False, True, False, False])})
    with pytest.raises(ResetNeeded, match=r"the rows \[3\]"):
        envs.step(np.zeros(4, int))
    assert envs.call("add") == (1, 0, 1, 1)


@pytest.mark.parametrize("mode", ["NextStep", AutoresetMode.NEXT_STEP, "next_step"])
def test_modes_have_names(served: Any, connect: Any, mode: Any) -> None:
    assert connect(served("Told", [2, 2]), mode).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def test_bad_arguments(served: Any) -> None:
    places = served("Told", [1, 1])
    with pytest.raises(ValueError, match="autoreset_mode is 'never'; it may be 'next_step', 'same_step', 'disabled'"):
        ferry.ClientVectorEnv(places, autoreset_mode="never")
    with pytest.raises(ValueError, match="addresses is empty"):
        ferry.ClientVectorEnv([])
    with pytest.raises(ValueError, match="stand twice in addresses"):
        ferry.ClientVectorEnv([places[0], places[1], places[0]])
    with pytest.raises(ferry.FerryTimeoutError, match="0 of 2 backends have come: no environment has connected"):
        ferry.ServerVectorEnv("nobody", num_backends=2, timeout=0.1)
    with pytest.raises(ferry.LayoutMismatchError, match="num_envs is 3, and the backends have 2 rows"):
        ferry.ClientVectorEnv(places, num_envs=3)
    ferry.ClientVectorEnv(places, num_envs=2).close()
    ferry.ClientVectorEnv(places, num_envs=1).close()  # as make_vec has it where nobody says how many


def test_unlike_environments(served: Any) -> None:
    places = served("Told", [2]) + served("Numbers", [2])
    with pytest.raises(ferry.LayoutMismatchError, match="are not alike; a batch needs equal spaces:\n"):
        ferry.ClientVectorEnv(places)
    ferry.ClientVectorEnv(places[0]).close()  # nothing is held after a failure


def test_a_client_env_is_for_one_row(served: Any) -> None:
    [place] = served("Told", [2])
    with pytest.raises(ferry.LayoutMismatchError, match="has 2 rows, and this object is for one"):
        ferry.ClientEnv(place)
    ferry.ClientVectorEnv(place).close()


@pytest.mark.parametrize("num_envs", [0, -1, 2])
def test_a_backend_makes_its_rows(num_envs: int) -> None:
    env: Any = row_envs.Told() if num_envs == 2 else row_envs.Told
    with pytest.raises(ValueError, match=f"num_envs is {num_envs}; it is 1 or more, and more than 1 needs an id"):
        ferry.ServerBackend(env, "test", num_envs=num_envs)


def test_a_backend_whose_maker_fails_closes_what_it_made() -> None:
    closed: list[int] = []

    class Closing(row_envs.Told):
        def close(self) -> None:
            closed.append(1)

    def make() -> Closing:
        made.append(1)
        if len(made) == 3:
            raise OSError("no more")
        return Closing()

    made: list[int] = []
    with pytest.raises(OSError, match="no more"):
        ferry.ServerBackend(make, "test", num_envs=5)
    assert len(closed) == 2


# ---- What can go wrong in one row of many ----


@pytest.mark.parametrize("rows", [[3], [1, 2], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_an_environment_raises_in_one_row(serve: Serve, connect: Any, rows: list[int], mode: str) -> None:
    envs, _ = faulty(serve, connect, rows, mode)
    envs.reset()
    with pytest.raises(
        ferry.BackendError, match=r"row 2: the environment .* raised ZeroDivisionError: as scripted"
    ) as caught:
        envs.step(np.array([0, 0, Faulty.RAISE]))
    assert caught.value.row == 2
    assert caught.value.remote_type == "ZeroDivisionError"
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(3, int))
    observations, _ = envs.reset()
    assert observations[:, 1].tolist() == [0, 0, 0]
    assert envs.step(np.zeros(3, int))[0][:, 1].tolist() == [1, 1, 1]


def test_the_others_go_on_after_a_reset_of_the_failed_backend(serve: Serve, connect: Any) -> None:
    envs, _ = faulty(serve, connect, [1, 2])
    envs.reset()
    with pytest.raises(ferry.BackendError, match="backend 1, row 2"):
        envs.step(np.array([0, 0, Faulty.RAISE]))
    mask = np.array([False, True, False])
    envs.reset(options={"reset_mask": mask})
    with pytest.raises(ResetNeeded, match=r"the rows \[2\] have no episode"):
        envs.step(np.zeros(3, int))
    observations, _ = envs.reset(options={"reset_mask": ~mask & [False, True, True]})
    assert observations[:, 1].tolist() == [1, 0, 0]
    assert envs.step(np.zeros(3, int))[0][:, 1].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Faulty.BAD_OBSERVATION, r"row 1: .* observation has shape \(5,\); \(2,\) is wanted"),
        (Faulty.BAD_INFO, "its info"),
    ],
)
@pytest.mark.parametrize("rows", [[3], [1, 1, 1]], ids=str)
def test_answers_that_do_not_fit(serve: Serve, connect: Any, rows: list[int], action: int, text: str) -> None:
    envs, _ = faulty(serve, connect, rows)
    envs.reset()
    with pytest.raises(ferry.BackendError, match=text):
        envs.step(np.array([0, action, 0]))
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(3, int))
    envs.reset()
    envs.step(np.zeros(3, int))


def test_an_environment_raises_in_the_reset_of_a_row(serve: Serve, connect: Any) -> None:
    envs, _ = faulty(serve, connect, [3])
    with pytest.raises(ferry.BackendError, match=r"row 1: .*no such level") as caught:
        envs.reset(options={"raise": 1})
    assert caught.value.row == 1
    envs.reset()
    envs.step(np.array([0, Faulty.END, 0]))
    assert envs.step(np.zeros(3, int))[0][:, 1].tolist() == [2, 0, 2]


@pytest.mark.parametrize("rows", [[3], [1, 2]], ids=str)
def test_a_backend_is_killed_in_mid_batch(serve: Serve, connect: Any, rows: list[int]) -> None:
    envs, backends = faulty(serve, connect, rows)
    envs.reset()
    with pytest.raises(ferry.PeerGoneError, match="gone") as caught:
        envs.step(np.array([0, 0, Faulty.DIE]))
    assert ("backend 1, rows 1 to 2" if len(rows) > 1 else "rows 0 to 2") in str(caught.value)
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(3, int))
    serve("row_envs:Faulty", backends[-1].address, num_envs=rows[-1])
    observations, _ = envs.reset()
    assert observations[:, 1].tolist() == [0, 0, 0]
    assert envs.step(np.zeros(3, int))[0][:, 1].tolist() == [1, 1, 1]


def test_a_backend_leaves_while_it_is_idle(serve: Serve, connect: Any) -> None:
    envs, backends = faulty(serve, connect, [1, 2])
    envs.reset()
    assert backends[1].terminate() == 0
    with pytest.raises(ferry.PeerGoneError, match=r"said goodbye|gone"):
        envs.step(np.zeros(3, int))
    serve("row_envs:Faulty", backends[1].address, num_envs=2)
    envs.call("where")  # connects again; the rows must be reset all the same
    observations, _ = envs.reset(options={"reset_mask": np.array([False, True, False])})
    assert observations[2].tolist() == [0, 0]  # of which nothing is known
    with pytest.raises(ResetNeeded, match=r"the rows \[2\]"):
        envs.step(np.zeros(3, int))
    envs.reset()
    envs.step(np.zeros(3, int))


def test_another_number_of_rows_comes_back(serve: Serve, connect: Any) -> None:
    envs, backends = faulty(serve, connect, [1, 2])
    envs.reset()
    backends[1].kill()
    with pytest.raises(ferry.PeerGoneError):
        envs.step(np.zeros(3, int))
    backend = serve("row_envs:Faulty", backends[1].address, num_envs=3)
    with pytest.raises(ferry.LayoutMismatchError, match="has 3 rows; the one before had 2"):
        envs.reset()
    with pytest.raises(ferry.FerryError):
        envs.step_wait()
    backend.kill()
    serve("row_envs:Faulty", backends[1].address, num_envs=2)
    envs.reset()
    envs.step(np.zeros(3, int))


@pytest.mark.parametrize("rows", [[2], [1, 1]], ids=str)
def test_a_time_out_leaves_the_answers_owed(serve: Serve, connect: Any, fifo: Path, rows: list[int]) -> None:
    envs, _ = faulty(serve, connect, rows)
    envs.reset(options={"fifo": str(fifo)})
    envs.step_async(np.array([0, Faulty.HANG]))
    for _ in range(2):
        with pytest.raises(ferry.FerryTimeoutError, match=r"has held the turn for (?!0\.0 s)"):
            envs.step_wait(timeout=0.1)
    with pytest.raises(ValueError, match="timeout is -1"):
        envs.step_wait(timeout=-1)
    with pytest.raises(ferry.FerryError, match="while answers are owed"):
        envs.step(np.zeros(2, int))
    fifo.write_bytes(b"!")
    assert envs.step_wait()[0][:, 1].tolist() == [1, 1]
    envs.step_async(np.array([0, Faulty.HANG]))
    with pytest.raises(ferry.FerryTimeoutError):
        envs.step_wait(timeout=0)
    fifo.write_bytes(b"!")
    observations, _ = envs.reset(options={"reset_mask": np.array([True, False])})  # awaits what is owed, and drops it
    assert observations[:, 1].tolist() == [0, 2]
    assert envs.step(np.zeros(2, int))[0][:, 1].tolist() == [1, 3]


def test_closed_is_closed_whatever_was_owed(serve: Serve, connect: Any) -> None:
    envs, _ = faulty(serve, connect, [1, 1])
    envs.reset()
    envs.step_async(np.zeros(2, int))
    envs.close()
    for call in (lambda: envs.step(np.zeros(2, int)), lambda: envs.get_attr("row"), envs.reset):
        with pytest.raises(ferry.FerryError, match="is closed; make a new one"):
            call()


def test_a_timed_out_backend_dies(serve: Serve, connect: Any, fifo: Path) -> None:
    envs, backends = faulty(serve, connect, [1, 1])
    envs.reset(options={"fifo": str(fifo)})
    envs.step_async(np.array([0, Faulty.HANG]))
    with pytest.raises(ferry.FerryTimeoutError):
        envs.step_wait(timeout=0)
    backends[1].kill()
    with pytest.raises(ferry.PeerGoneError):
        envs.reset()
    other = serve("row_envs:Told", backends[1].address)
    with pytest.raises(ferry.LayoutMismatchError):
        envs.reset()
    with pytest.raises(ferry.FerryError):
        envs.step_wait()
    with pytest.raises(ferry.FerryError):
        envs.recv()
    other.kill()
    serve("row_envs:Faulty", backends[1].address)
    envs.reset()
    envs.step(np.zeros(2, int))


def test_ctrl_c_leaves_the_answers_owed(serve: Serve, connect: Any, fifo: Path) -> None:
    envs, _ = faulty(serve, connect, [1, 1])
    envs.reset(options={"fifo": str(fifo)})
    envs.step_async(np.array([0, Faulty.HANG]))
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        envs.step_wait()
    timer.join()
    fifo.write_bytes(b"!")
    assert envs.step_wait()[0][:, 1].tolist() == [1, 1]


def test_close_while_answers_are_owed(serve: Serve, connect: Any, fifo: Path) -> None:
    envs, backends = faulty(serve, connect, [1, 2])
    envs.reset(options={"fifo": str(fifo)})
    envs.step_async(np.array([0, Faulty.HANG, 0]))
    envs.close()
    envs.close()
    for use in (envs.step_wait, envs.reset, lambda: envs.step(np.zeros(3, int)), lambda: envs.call("where")):
        with pytest.raises(ferry.FerryError):
            use()
    fifo.write_bytes(b"!")
    ferry.ClientVectorEnv([backend.address for backend in backends], timeout=PATIENCE).close()


def test_another_thread_is_told(serve: Serve, connect: Any, fifo: Path) -> None:
    envs, _ = faulty(serve, connect, [1, 1])
    envs.reset(options={"fifo": str(fifo)})
    envs.step_async(np.array([0, Faulty.HANG]))
    result: list[Any] = []
    waiting = threading.Thread(target=lambda: result.append(envs.step_wait()))
    waiting.start()

    def refused() -> bool:
        try:
            envs.recv(timeout=0)
        except ferry.FerryTimeoutError:
            return False
        except ferry.FerryError as error:
            return "in use by another thread" in str(error)
        return False

    wait_until(refused)
    fifo.write_bytes(b"!")
    waiting.join(PATIENCE)
    assert result[0][0][:, 1].tolist() == [1, 1]


def test_an_address_taken_is_told(served: Any, connect: Any) -> None:
    places = served("Told", [2, 2])
    connect(places)
    with pytest.raises(ferry.BusyError, match="is held by the agent"):
        ferry.ClientVectorEnv(places)


def test_neither_pickled_nor_iterated(served: Any, connect: Any) -> None:
    envs = connect(served("Told", [2, 2]))
    with pytest.raises(TypeError, match=r"ferry.ClientVectorEnv\(...\)"):
        copy.deepcopy(envs)
    with pytest.raises(TypeError, match="is not a sequence"):
        list(envs)


# ---- What no well-meaning peer would say ----

NONSENSE = [
    (blobs.JSON, b"[1, 2]"),
    (blobs.JSON, b'"text"'),
    (blobs.JSON, b'{"x": {}}'),
    (blobs.JSON, b'{"0": 5}'),
    (blobs.JSON, b'{"0": [{}]}'),
    (blobs.JSON, b'{"9": {"a": 1}, "-1": {"b": 2}, "99999999999999999999": {}}'),
    (blobs.JSON, b"{"),
    (blobs.MSGPACK, b""),
    (blobs.MSGPACK, blobs.pack({float("inf"): {}})),
    (blobs.MSGPACK, blobs.pack({float("nan"): {}})),
    (blobs.MSGPACK, blobs.pack({None: {}})),
    (blobs.MSGPACK, blobs.pack({(0,): {}})),
    (blobs.MSGPACK, blobs.pack({0: {1: 2, None: 3, (1, 2): 4}})),
    (blobs.MSGPACK, blobs.pack({0: {"final_obs": 1, "_a": 2, "a": 3}})),
    (blobs.MSGPACK, blobs.pack({0: {"a": 1}, 1: {"a": {"b": 1}}})),
    (blobs.MSGPACK, blobs.pack({0: {"a": 1}, 1: {"a": "text"}})),
    (blobs.MSGPACK, blobs.pack({0: {"a": np.zeros((2, 3))}, 1: {"a": np.zeros(5)}})),
    (blobs.MSGPACK, b"\xc1\xff\x00"),
    (blobs.TEXT, b"\xff"),
    (blobs.TEXT, b"text"),
    (blobs.VALUES, blobs.pack(5)),
    (blobs.VALUES, blobs.pack([None])),
    (blobs.VALUES, blobs.pack([None, 5])),
    (blobs.VALUES, blobs.pack([5, {0: "x"}])),
    (blobs.VALUES, blobs.pack([{0: {}}, {0: 5, "x": 1, None: 2, 2**70: 3}])),
]


class Speaker:
    """An environment of two rows that answers every STEP with a blob, and each RESET with none; a text is observed.

    Attributes:
        said: (format, bytes); None: it answers as it should.
        failure: A report, in place of the answer.
    """

    def __init__(self, address: str) -> None:
        space, actions = spaces.Text(1000), spaces.Discrete(2)
        fields = (
            *spaces_of_ferry.fields(space, _core.OBSERVATION),
            *spaces_of_ferry.fields(actions, _core.ACTION),
        )
        self.said: tuple[int, bytes] | None = None
        self.failure: Any = None
        self.channel = _core.Env(
            address,
            fields,
            spaces_of_ferry.template(fields, _core.OBSERVATION),
            spaces_of_ferry.template(fields, _core.ACTION),
            codecs=spaces_of_ferry.codecs(fields, space, actions),
            decode=blobs.decode,
            encode=blobs.encode,
            num_rows=2,
        )
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while kind := self.channel.next(None):
            if kind == _core.LEFT:
                continue
            said = self.said if kind == _core.STEP else None
            if kind == _core.STEP and self.failure is not None:
                self.channel.refuse((blobs.MSGPACK, blobs.pack(self.failure)))
                continue
            for row in self.channel.rows():
                # A text that is too long for its place lies in the blob, which is another one then.
                self.channel.put(row, "text" if said is None or said[0] != blobs.VALUES else "", 0.0, False, False)
            self.channel.reply(said)

    def close(self) -> None:
        self.channel.stop()
        self.thread.join(PATIENCE)
        self.channel.close()


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    speaker = Speaker("speaker")
    yield speaker
    speaker.close()


@pytest.mark.parametrize("mode", MODES)
def test_nonsense_in_blobs_is_told(speaker: Speaker, connect: Any, mode: str) -> None:
    envs = connect("speaker", mode)
    for said in NONSENSE:
        envs.reset()
        speaker.said = said
        with contextlib.suppress(ferry.BackendError, ValueError):
            envs.step(np.zeros(2, int))
        speaker.said = None
        with contextlib.suppress(ResetNeeded):
            same.assert_same(envs.step(np.zeros(2, int))[0], ("text", "text"))


@pytest.mark.parametrize(
    ("report", "row"),
    [
        ({"row": 1}, 1),
        ({"row": 2}, None),
        ({"row": -1}, None),
        ({"row": "1"}, None),
        ({"row": 1e300}, None),
        ("no", None),
    ],
)
def test_a_failure_names_a_row_that_is_there(speaker: Speaker, connect: Any, report: Any, row: int | None) -> None:
    envs = connect("speaker")
    envs.reset()
    speaker.failure = report
    with pytest.raises(ferry.BackendError, match=r"^rows 0 to 1: |^row 1: ") as caught:
        envs.step(np.zeros(2, int))
    assert caught.value.row == row


# ---- gymnasium.make_vec ----


@pytest.mark.parametrize("mode", ["same_step", AutoresetMode.SAME_STEP])
def test_make_vec(served: Any, mode: Any) -> None:
    places = served("Told", [2, 2])
    arguments = {"addresses": places, "autoreset_mode": mode, "timeout": PATIENCE}
    envs = gymnasium.make_vec("ferry/Client-v0", vectorization_mode="vector_entry_point", **arguments)
    try:
        assert type(envs) is ferry.ClientVectorEnv
        assert envs.num_envs == 4
        assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        envs.reset(seed=1)
        envs.step(np.zeros(4, int))
        assert envs.spec is not None
        text = envs.spec.to_json()
    finally:
        envs.close()
    again = gymnasium.make_vec(EnvSpec.from_json(text))
    try:
        assert again.num_envs == 4
        assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    finally:
        again.close()


def test_make_vec_checks_the_number_of_rows(served: Any) -> None:
    places = served("Told", [2, 2])
    gymnasium.make_vec("ferry/Client-v0", num_envs=4, addresses=places, timeout=PATIENCE).close()
    with pytest.raises(ferry.LayoutMismatchError, match="num_envs is 3, and the backends have 4 rows"):
        gymnasium.make_vec("ferry/Client-v0", num_envs=3, addresses=places, timeout=PATIENCE)


def test_the_spec_of_the_environments_is_shown(serve: Serve, connect: Any) -> None:
    serve("CartPole-v1", num_envs=2)
    envs = connect("test")
    assert envs.spec.id == "CartPole-v1"
    assert repr(envs) == "ClientVectorEnv(CartPole-v1, num_envs=2)"


def test_a_call_that_is_refused_to_a_second_thread_changes_nothing() -> None:
    class Slow(gymnasium.Env[Any, Any]):
        observation_space = spaces.Discrete(2)
        action_space = spaces.Discrete(2)

        def reset(self, **_: Any) -> Any:
            return 0, {}

        def step(self, action: Any) -> Any:
            begun.write_text("")
            while not gone_on.exists():
                os.sched_yield()
            return 0, 0.0, False, False, {}

    with tempfile.TemporaryDirectory() as folder:
        begun, gone_on = Path(folder, "begun"), Path(folder, "gone on")
        with ferry.launch(Slow, num_engines=2, timeout=PATIENCE) as envs:
            envs.reset()
            first = threading.Thread(target=envs.step, args=([0, 0],))
            first.start()
            wait_until(begun.exists)
            with pytest.raises(ferry.FerryError, match="in use by another thread"):
                envs.step([0, 0])
            gone_on.write_text("")
            first.join(PATIENCE)
            assert envs.step([0, 0])[1].tolist() == [0.0, 0.0]
