"""ferry.AsyncVectorEnv, beside Gymnasium's own, and where that has no answer."""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState

import ferry
from conftest import PATIENCE, Start, children, is_alive, line_of, program, wait_until
from same import same
from sample_envs import Drawn, Mirror, Scripted

Maker = Callable[[], gymnasium.Env[Any, Any]]
Make = Callable[..., ferry.AsyncVectorEnv]
CARTPOLE = functools.partial(gymnasium.make, "CartPole-v1")


@pytest.fixture(autouse=True, scope="module")
def helpers() -> Iterator[None]:
    """Ends what multiprocessing leaves running for the next process to start: other tests count their children."""
    yield
    gc.collect()
    server: Any = forkserver._forkserver
    tracker: Any = resource_tracker._resource_tracker
    server._stop()
    tracker._stop()


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes vector environments whose processes are gone when the test ends."""
    made: list[ferry.AsyncVectorEnv] = []

    def make(makers: Sequence[Maker], **options: Any) -> ferry.AsyncVectorEnv:
        made.append(ferry.AsyncVectorEnv(makers, **options))
        return made[-1]

    yield make
    for envs in made:
        for process in envs.processes:
            process.kill()
        envs.close(terminate=True)


def assert_same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert same(one, other), (one, other)


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """The texts of warnings, which nobody else hears."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts.extend(str(warning.message) for warning in caught)


def without_order(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Gymnasium's two classes put final infos and observations in another order."""
    return (*result[:-1], dict(sorted(result[-1].items())))


# ---- As Gymnasium ----


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    ("context", "workers"), [("fork", None), ("fork", 2), ("fork", "auto"), ("spawn", 2), ("forkserver", 3)]
)
@pytest.mark.parametrize("maker", [CARTPOLE, Mirror])
def test_it_steps_as_gymnasium_does(make: Make, mode: Any, context: str, workers: Any, maker: Maker) -> None:
    envs = make([maker] * 5, autoreset_mode=mode, context=context, workers=workers)
    twins = SyncVectorEnv([maker] * 5, autoreset_mode=mode)
    assert envs.action_space == twins.action_space
    assert envs.observation_space == twins.observation_space
    assert envs.metadata == twins.metadata
    assert_same(envs.reset(seed=3), twins.reset(seed=3))
    for _ in range(40):
        actions = twins.action_space.sample()
        assert_same(without_order(envs.step(actions)), without_order(twins.step(actions)))
    twins.close()


@pytest.mark.parametrize("workers", [None, 2])
def test_disabled_autoreset_is_the_callers(make: Make, workers: Any) -> None:
    envs = make([Mirror] * 3, autoreset_mode="Disabled", workers=workers)
    twins = SyncVectorEnv([Mirror] * 3, autoreset_mode=AutoresetMode.DISABLED)
    seeds: list[list[int | None]] = [[1, 2, 2**70], [4, None, 2**64]]
    for seed in seeds:
        assert_same(envs.reset(seed=seed), twins.reset(seed=seed))
    mask = np.array([False, True, True])
    for _ in range(3):
        for _ in range(4):
            assert_same(envs.step(np.arange(3))[1:], twins.step(np.arange(3))[1:])
        for masked in (mask, ~mask):
            ours = envs.reset(seed=[5, 6, 7], options={"reset_mask": masked, "x": 1})
            theirs = twins.reset(seed=[5, 6, 7], options={"reset_mask": masked, "x": 1})
            assert same(ours[0][masked], theirs[0][masked])
            assert same(ours[1], theirs[1])


_BOOL: Any = np.bool_
SPACES: list[Any] = [
    spaces.Box(-1, 1, (2, 3), np.float64),
    spaces.Box(-1, 1, (), np.float32),
    spaces.Box(0, 1, (2,), _BOOL),
    spaces.Box(-1, 1, (1,) * 7, np.float16),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    spaces.MultiBinary((2, 2)),
    spaces.Text(12),
    spaces.OneOf([spaces.Discrete(2), spaces.Text(4)]),
    spaces.Sequence(spaces.Box(0, 1, (2,))),
    spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
    spaces.Dict(a=spaces.Discrete(2), b=spaces.Tuple([spaces.MultiBinary(3), spaces.Dict(c=spaces.Text(3))])),
    spaces.Tuple([spaces.Discrete(5), spaces.Box(0, 1, (2,))]),
    spaces.Dict({"slash/key": spaces.Discrete(2), "": spaces.Box(0, 1, (1,)), "#1": spaces.Discrete(2)}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("workers", [None, 2])
def test_every_space_comes_and_goes(make: Make, space: Any, copy: bool, workers: Any) -> None:
    maker = functools.partial(Mirror, space, space)
    envs = make([maker] * 3, copy=copy, workers=workers)
    twins = SyncVectorEnv([maker] * 3)
    assert_same(envs.reset(seed=1), twins.reset(seed=1))
    for _ in range(6):
        actions = twins.action_space.sample()
        assert_same(envs.step(actions), twins.step(actions))
        assert same(envs.observations, twins._observations)
    twins.close()


def test_what_shared_memory_cannot_hold_goes_gymnasiums_way(make: Make) -> None:
    space = spaces.Box(-1, 1, (1,) * 9)
    envs = make([functools.partial(Mirror, space)] * 2, workers=2)
    assert envs.reset(seed=0)[0].shape == (2,) + (1,) * 9
    assert envs._crew is None


class Ours(spaces.Space[Any]):
    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return "ours"

    def contains(self, x: Any) -> bool:
        return bool(x == "ours")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ours)

    def __hash__(self) -> int:
        return 0


def test_a_space_of_ones_own_needs_no_shared_memory(make: Make) -> None:
    makers = [functools.partial(Mirror, Ours(), Ours())] * 2
    with pytest.raises(ValueError, match="you can disable this feature"):
        make(makers)
    envs = make(makers, shared_memory=False)
    assert envs.reset()[0] == ("ours", "ours")
    assert list(envs.step(("one", "two"))[4]["action"]) == ["one", "two"]


# ---- Actions ----


@pytest.mark.parametrize(
    ("space", "actions", "kind"),
    [
        (spaces.Discrete(2), np.array([7, -(2**62)]), np.int64),
        (spaces.Discrete(2), [1, 0], int),
        (spaces.Discrete(2), np.array([1.5, 0.5]), np.float64),
        (spaces.Discrete(2), (True, None), None),
        (spaces.Box(0, 1, ()), np.array([0.5, np.inf], np.float32), np.float32),
        (spaces.Box(0, 1, (2,)), np.array([[1, 2], [3, np.nan]], np.float32), np.ndarray),
        (spaces.MultiBinary(2), np.array([[1, 2], [3, 4]], np.int8), np.ndarray),
    ],
)
@pytest.mark.parametrize("workers", [2, 1])
def test_actions_arrive_as_they_are(make: Make, space: Any, actions: Any, kind: Any, workers: int) -> None:
    envs = make([functools.partial(Mirror, None, space)] * 2, workers=workers)
    envs.reset()
    infos = envs.step(actions)[4]
    assert kind is None or list(infos["type"]) == [kind, kind]
    assert kind is None or same([*map(np.asarray, infos["action"])], [*map(np.asarray, actions)])


def test_wrong_actions_are_not_sent(make: Make) -> None:
    envs = make([Mirror] * 3, workers=2)
    envs.reset()
    for actions in ([0, 1], [0, 1, 2, 3], np.zeros(2, np.int64)):
        with pytest.raises(ValueError, match="zip"):
            envs.step(actions)
    with pytest.raises(TypeError, match="Unable to iterate over the following elements: 0"):
        envs.step(0)
    assert list(envs.step([0, 1, 2])[4]["nested"]["count"]) == [1, 1, 1]


def test_a_step_before_any_reset_is_the_environments_affair(make: Make) -> None:
    envs = make([Mirror] * 3, workers=2)
    assert list(envs.step([0, 1, 2])[4]["nested"]["count"]) == [1, 1, 1]
    untouched = make([CARTPOLE])
    with told(), pytest.raises(gymnasium.error.ResetNeeded):
        untouched.step([0])


def test_what_an_environment_returns_is_cast_as_numpy_casts(make: Make) -> None:
    envs = make([Scripted])
    envs.reset(options={"do": "float64"})
    assert envs.step([1])[0].dtype == np.float32
    envs.reset(options={"do": "odd_scalars"})
    assert [column.tolist() for column in envs.step([1])[1:4]] == [[0.5], [True], [False]]
    envs.reset(options={"do": "wrong_shape"})
    with told(), pytest.raises(ValueError, match="shape"):
        envs.step([1])


# ---- What is whose ----


def test_results_are_the_callers_own(make: Make) -> None:
    envs = make([Mirror] * 2)
    kept = [envs.reset(seed=1), *(envs.step([1, 2]) for _ in range(4))]
    copies = pickle.loads(pickle.dumps(kept))
    envs.step([0, 0])
    assert same(kept, copies)
    observations, _, _, _, infos = envs.step(np.array([1, 2]))
    infos["action"][:] = 0
    observations[:] = 5
    assert not same(envs.observations, observations)


@pytest.mark.parametrize("space", [SPACES[0], SPACES[-1], SPACES[-2]], ids=str)
def test_without_copies_it_is_one_object_that_changes(make: Make, space: Any) -> None:
    envs = make([functools.partial(Mirror, space)] * 3, copy=False, workers=2)
    first, _ = envs.reset(seed=1)
    before = pickle.loads(pickle.dumps(first))
    second = envs.step([0, 0, 0])[0]
    assert first is second is envs.observations
    assert not same(before, second)
    leaf = next(iter(second.values())) if isinstance(second, dict) else second[0]
    leaf[:] = 0


# ---- Calls ----


def test_calls_reach_every_environment(make: Make) -> None:
    makers = [functools.partial(Drawn, "rgb_array", level) for level in (1, 2, 3)]
    envs = make(makers, workers=2)
    assert envs.call("add", 1, times=2) == tuple(maker().add(1, times=2) for maker in makers)
    envs.reset()
    frames: Any = envs.render()
    assert [frame.shape for frame in frames] == [frames[0].shape] * 3
    assert envs.get_attr("level") == (1, 2, 3)
    envs.set_attr("level", [4, 5, 6])
    assert envs.get_attr("level") == (4, 5, 6)
    envs.set_attr("level", 7)
    assert envs.get_attr("level") == (7, 7, 7)
    with pytest.raises(ValueError, match="Got `2` values for 3 environments"):
        envs.set_attr("level", [1, 2])
    envs.reset(seed=4)
    assert envs.np_random_seed == (4, 5, 6)
    assert [type(generator) for generator in envs.np_random] == [np.random.Generator] * 3


@pytest.mark.parametrize(("workers", "number"), [(None, 5), (1, 1), (2, 2), (9, 5)])
def test_as_many_workers_as_were_asked_for(make: Make, workers: Any, number: int) -> None:
    envs = make([Scripted] * 5, workers=workers)
    pids = list(envs.reset()[1]["pid"])
    assert pids == sorted(pids, key=pids.index)
    assert len(set(pids)) == number == len(envs.processes)
    assert envs.processes[0].name == "Worker<AsyncVectorEnv>-0"


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "many"])
def test_odd_numbers_of_workers_are_refused(workers: Any) -> None:
    with pytest.raises(ValueError, match="workers is"):
        ferry.AsyncVectorEnv([Scripted], workers=workers)


def test_a_worker_of_ones_own_is_gymnasiums_affair(make: Make) -> None:
    from gymnasium.vector.async_vector_env import _async_worker

    envs = make([CARTPOLE] * 2, worker=_async_worker)
    assert envs._crew is None
    assert envs.reset(seed=1)[0].shape == (2, 4)


def test_an_address_in_the_environment_leads_nobody_astray(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_ADDRESS", "nowhere")
    envs = make([CARTPOLE] * 2)
    assert envs.reset()[0].shape == (2, 4)


# ---- The order of calls ----


def test_calls_out_of_order_are_told_in_gymnasiums_words(make: Make) -> None:
    envs = make([CARTPOLE] * 2)
    for what, state in (("reset", AsyncState.WAITING_RESET), ("step", AsyncState.WAITING_STEP)):
        with pytest.raises(NoAsyncCallError) as nothing:
            getattr(envs, f"{what}_wait")()
        assert str(nothing.value) == f"Calling `{what}_wait` without any prior call to `{what}_async`."
        assert nothing.value.name == state.value
    envs.reset()
    envs.step_async([0, 1])
    for call in (
        envs.reset_async,
        functools.partial(envs.step_async, [0, 1]),
        functools.partial(envs.set_attr, "x", 1),
    ):
        with pytest.raises(AlreadyPendingCallError, match="pending call to `step` to complete") as pending:
            call()
        assert pending.value.name == "step"
    with pytest.warns(UserWarning, match="Calling `close` while waiting for a pending call to `step` to complete"):
        envs.close()
    with pytest.raises(ClosedEnvironmentError, match="on `AsyncVectorEnv`, after a call to `close"):
        envs.reset()
    assert envs.observations.shape == (2, 4)


# ---- Errors ----


def test_an_error_ends_its_worker_and_no_other(make: Make) -> None:
    envs = make([Scripted] * 3)
    pids = list(envs.reset(options={"do": "fail"})[1]["pid"])
    with told() as texts, pytest.raises(ZeroDivisionError, match="as scripted"):
        envs.step([0, 1, 1])
    assert len(texts) == 5
    assert "Received the following error from Worker-1 - Shutting it down" in texts[0]
    assert "Traceback (most recent call last):" in texts[1]
    assert "ZeroDivisionError: as scripted\n" in texts[1]
    assert "Worker-2" in texts[2]
    assert "Raising the last exception back to the main process." in texts[4]
    wait_until(lambda: not is_alive(pids[1]) and not is_alive(pids[2]))
    assert is_alive(pids[0])
    with pytest.raises(ferry.PeerGoneError, match=r"worker 1 \(row 1\) was shut down after ZeroDivisionError"):
        envs.step([0, 0, 0])
    envs.close()


def test_with_several_rows_the_error_says_which(make: Make) -> None:
    envs = make([Scripted] * 4, workers=2)
    envs.reset(options={"do": "fail"})
    with told() as texts, pytest.raises(ZeroDivisionError):
        envs.step([0, 0, 0, 1])
    assert "from Worker-1 (row 3) - Shutting it down" in texts[0]


def test_an_error_that_cannot_travel_is_told_in_words(make: Make) -> None:
    envs = make([Scripted] * 4, workers=2)
    envs.reset(options={"do": "picky"})
    with (
        told() as texts,
        pytest.raises(ferry.BackendError, match=r"worker 1 \(rows 2 to 3\) raised .*as scripted") as raised,
    ):
        envs.step([0, 0, 0, 1])
    assert "in picky" in texts[1]
    assert raised.value.row == 3
    assert raised.value.remote_type.endswith("PickyError")


def test_an_error_while_an_environment_is_made_is_raised() -> None:
    known = children()

    def maker() -> gymnasium.Env[Any, Any]:
        if multiprocessing.parent_process() is not None:
            raise LookupError("not here")
        return Scripted()

    with told(), pytest.raises(LookupError, match="not here"):
        ferry.AsyncVectorEnv([Scripted, maker])
    assert children() == known


@pytest.mark.parametrize("workers", [None, 1])
def test_spaces_that_differ_are_refused(workers: Any) -> None:
    known = children()
    with pytest.raises(RuntimeError, match="observation spaces are not equivalent"):
        ferry.AsyncVectorEnv([CARTPOLE, Scripted], workers=workers)
    with pytest.raises(RuntimeError, match="have an action space different from"):
        ferry.AsyncVectorEnv([Mirror, functools.partial(Mirror, None, spaces.Discrete(9))], workers=workers)
    assert children() == known


# ---- Deaths and delays ----


@pytest.mark.parametrize(("workers", "named"), [(None, r"worker 1 \(row 1\)"), (2, r"worker 1 \(rows 2 to 3\)")])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_killed_worker_is_named(make: Make, workers: Any, named: str, limit: int | None) -> None:
    envs = make([Scripted] * 4, workers=workers, max_concurrency=limit)
    envs.reset()
    envs.processes[1].kill()
    with pytest.raises(ferry.PeerGoneError, match=named + r", pid \d+, was killed by SIGKILL"):
        envs.step([0, 0, 0, 0])
    with pytest.raises(ferry.PeerGoneError, match=named):
        envs.reset()
    envs.close()
    assert not any(process.is_alive() for process in envs.processes)


def test_who_dies_at_work_blocks_nobody(make: Make) -> None:
    envs = make([Scripted] * 3, max_concurrency=1)
    envs.reset(options={"do": "die"})
    with pytest.raises(ferry.PeerGoneError, match="worker 0"):
        envs.step([1, 0, 0])
    envs.close()


@pytest.mark.parametrize("terminate", [True, False])
def test_a_stalled_worker_is_named_and_ended(make: Make, terminate: bool) -> None:
    envs = make([Scripted] * 3)
    envs.reset()
    os.kill(envs.processes[2].pid or 0, signal.SIGSTOP)
    envs.step_async([0, 0, 0])
    with pytest.raises(multiprocessing.TimeoutError) as late:
        envs.step_wait(timeout=0.1)
    assert str(late.value).startswith("The call to `step_wait` has timed out after 0.1 second(s).")
    assert "worker 2 (row 2)" in str(late.value)
    envs.close(terminate=terminate)
    assert not any(process.is_alive() for process in envs.processes)


def test_a_late_answer_is_dropped_before_the_next(make: Make, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    envs = make([Scripted] * 2)
    envs.reset(options={"do": "hang", "fifo": str(fifo)})
    envs.step_async([0, 1])
    with pytest.raises(multiprocessing.TimeoutError):
        envs.step_wait(timeout=0)
    fifo.write_bytes(b"go on")
    observations, rewards, _, _, infos = envs.step([0, 0])
    assert observations[:, 0].tolist() == [2, 2]
    assert rewards.tolist() == [1, 1]
    assert infos == {}


def test_close_while_a_step_hangs_terminates_it(make: Make, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    envs = make([Scripted] * 2)
    envs.reset(options={"do": "hang", "fifo": str(fifo)})
    envs.step_async([0, 1])
    with pytest.warns(UserWarning, match="Calling `close`"):
        envs.close(timeout=0)
    assert not any(process.is_alive() for process in envs.processes)


# ---- Nothing is left ----


def test_no_process_and_no_descriptor_is_left() -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    def play() -> None:
        for workers in (None, 2):
            envs = ferry.AsyncVectorEnv([CARTPOLE] * 3, workers=workers)
            envs.reset()
            envs.step([0, 0, 0])
            if workers:
                envs.close()

    play()
    gc.collect()
    known, count = children(), descriptors()
    for _ in range(3):
        play()
    assert descriptors() == count
    assert children() == known


PLAYER = """
import sys, ferry
from sample_envs import Scripted
envs = ferry.AsyncVectorEnv([Scripted] * 3, daemon=sys.argv[1] == "True", workers=2)
print(*envs.reset()[1]["pid"], flush=True)
{then}
"""


@pytest.mark.parametrize("daemon", [True, False])
def test_workers_do_not_outlive_a_parent_that_ends(start: Start, daemon: bool) -> None:
    player = start(*program(PLAYER.format(then=""), str(daemon))[1:])
    pids = [int(pid) for pid in line_of(player).split()]
    assert player.wait(PATIENCE) == 0
    assert player.stderr is not None
    assert player.stderr.read() == ""
    wait_until(lambda: not any(map(is_alive, pids)))


def test_workers_do_not_outlive_a_parent_that_is_killed(start: Start) -> None:
    player = start(*program(PLAYER.format(then="import signal; signal.pause()"), "True")[1:])
    pids = [int(pid) for pid in line_of(player).split()]
    player.kill()
    wait_until(lambda: not any(map(is_alive, pids)))


FORK = """
import os, gc
pid = os.fork()
if pid == 0:
    del envs
    gc.collect()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(envs.step([0, 0, 0])[0][:, 0].tolist())
envs.close()
"""


def test_a_fork_has_no_say(start: Start) -> None:
    player = start(*program(PLAYER.format(then=FORK), "True")[1:])
    line_of(player)
    assert line_of(player).strip() == "[1.0, 1.0, 1.0]"
    assert player.wait(PATIENCE) == 0
    assert player.stderr is not None
    assert player.stderr.read() == ""


def test_it_is_gymnasiums_class_too(make: Make) -> None:
    envs = make([CARTPOLE])
    assert isinstance(envs, gymnasium.vector.AsyncVectorEnv)
    assert repr(envs) == "AsyncVectorEnv(num_envs=1)"
