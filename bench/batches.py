"""The questions about many environments stepped as one, one function each."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from numpy.typing import NDArray

import ferry
from blocks import Block, Times, quantiles
from contenders import PEER_TIMEOUT_S, balance, missing, replaying, stepping
from processes import BENCH, BUILD, Worker
from report import Plot, Promise, Section, Table, number
from scene import POLE, Bench, Scene, waiting
from vectors import (
    Batch,
    Busy,
    InProcess,
    LitPixel,
    Pool,
    pole_rollout,
    record,
    rolling,
    rounds_of,
    running,
    single_batches,
    work,
)

BUSY = str(BUILD / "bench" / "busy")
ROWS = (1, 4, 16, 64, 256, 1024, 4096)
ENGINES = (2, 4, 8, 16)
WAITS = ("default", "block")
WORKERS, BUSY_BACKENDS, BUSY_US, BUSY_STEPS = 8, 16, 50.0, 100
PYTHON_BUSY_US, PYTHON_BLOCK_US = (50, 100, 500), 5000


def medians_of(times: Times) -> dict[str, float]:
    """Nanoseconds of each contender."""
    return {name: float(np.median(t)) for name, t in times.items()}


def joined(runs: list[Times]) -> Times:
    """The blocks of several runs."""
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def ratio(times: Times, of: str, to: str) -> float:
    """Median over the rounds."""
    return float(np.median(times[of] / times[to]))


def cartpole() -> gym.Env[Any, Any]:
    """Gymnasium's, as its users make it."""
    return gym.make("CartPole-v1")


def pool_of(bench: Bench, num_rows: int, num_threads: int) -> Pool:
    """An EnvPool whose threads may use all CPUs."""
    with bench.unpinned():
        return Pool(num_rows, num_threads)


# ---- One backend with many rows ----


def batch_in_fresh_processes(bench: Bench, rounds: int) -> tuple[Times, NDArray[np.float64]]:
    """Steps of 64 poles in every way, and steps of Ferry timed one by one."""
    num_rows, steps = 64, 200
    with Scene(bench) as scene:
        rollout = pole_rollout(steps, num_rows)
        envs = scene.batch([POLE, "unused", str(num_rows)])
        contenders = {"ferry": rolling(envs, rollout), "loop": rolling(scene.keep(InProcess(num_rows)), rollout)}
        if not missing("envpool"):
            contenders["envpool"] = running(scene.keep(pool_of(bench, num_rows, 1)), num_rows, steps // 5)
        times = bench.alternate(contenders, rounds)
        return times, single_batches(envs, rollout, rounds // 5)


def batch(bench: Bench) -> Section:
    """64 poles from Python, through Ferry and in process."""
    runs = [batch_in_fresh_processes(bench, bench.rounds(101, 31)) for _ in range(bench.rounds(5, 2))]
    times = joined([run for run, _ in runs])
    singles = quantiles(np.concatenate([single for _, single in runs]))
    share = ratio(times, "loop", "ferry")
    medians = medians_of(times)
    labels = {
        "ferry": "ClientVectorEnv.step, 64 C poles in one backend",
        "loop": "the same C loop in process, by ctypes, fresh copies",
        "envpool": "EnvPool CartPole-v1, one thread",
    }
    rows = [
        [label, number(medians[name] / 1e3, "us"), number(64e9 / medians[name], "")]
        if name in medians
        else [label, "skipped", missing("envpool")]
        for name, label in labels.items()
    ]
    return Section(
        "a batch of 64",
        "How much of the speed of a C loop over 64 poles in the same process is left when they live in another one? "
        "(Random actions, fresh arrays, next-step autoreset; all trajectories equal those of the loop.)",
        [
            Table("A step of all 64", ["", "time a step", "env steps a second"], rows),
            Table(
                "ClientVectorEnv.step timed one by one, with the clock in it",
                ["", *singles],
                [["64 C poles", *(number(ns / 1e3, "us") for ns in singles.values())]],
            ),
        ],
        [Promise("64 C poles through Ferry: speed of the same C loop in process", 100 * share, 50, "%", at_least=True)],
        {"ns": medians, "share_of_loop": share, "single_ns": singles},
    )


def one_row_in_fresh_processes(bench: Bench, rounds: int) -> Times:
    """A pole as a batch of one, as an env, and from C."""
    steps = 200
    with Scene(bench) as scene:
        client = scene.ferry([POLE])
        episode = balance(client, steps)
        return bench.alternate(
            {
                "batch": rolling(scene.batch([POLE]), pole_rollout(steps, 1)),
                "env": stepping(client, episode),
                "c": replaying(scene.c_agent([POLE]), episode),
            },
            rounds,
        )


def one_row(bench: Bench) -> Section:
    """The vector interface with nothing to batch."""
    times = joined([one_row_in_fresh_processes(bench, bench.rounds(101, 31)) for _ in range(bench.rounds(5, 2))])
    medians = medians_of(times)
    own_ns = float(np.median(times["batch"] - times["c"]))
    labels = {
        "batch": "ClientVectorEnv.step, one row",
        "env": "ClientEnv.step",
        "c": "C agent",
    }
    return Section(
        "a batch of one",
        "What does the vector interface cost when there is one row?",
        [Table("A step of one C pole", ["", "time a step"], [[labels[n], number(medians[n], "ns")] for n in labels])],
        [Promise("ClientVectorEnv.step with one row over the C round trip", own_ns / 1e3, 1.2, "us")],
        {"ns": medians, "own_ns": own_ns},
    )


def rows_of(bench: Bench, num_rows: int, rounds: int) -> Times:
    """A step of so many rows, by everyone."""
    steps = max(8, min(200, 20_000 // num_rows))
    with Scene(bench) as scene:
        rollout = pole_rollout(steps, num_rows)
        numpy_batch = gym.make_vec("CartPole-v1", num_rows, "vector_entry_point")
        sync = SyncVectorEnv([cartpole] * num_rows)
        contenders: dict[str, Block] = {
            "ferry": rolling(scene.batch([POLE, "unused", str(num_rows)]), rollout),
            "loop": rolling(scene.keep(InProcess(num_rows)), rollout),
            "numpy": running(scene.keep(numpy_batch), num_rows, max(2, steps // 10)),
            "sync": running(scene.keep(sync), num_rows, max(1, 64 // num_rows)),
        }
        if not missing("envpool"):
            for threads in (1, 2):
                pool = scene.keep(pool_of(bench, num_rows, threads))
                contenders[f"envpool {threads}"] = running(pool, num_rows, max(2, steps // 10))
        return bench.alternate(contenders, rounds)


def rows(bench: Bench) -> Section:
    """Batches from one row to thousands."""
    found = {n: medians_of(rows_of(bench, n, bench.rounds(51, 9))) for n in ROWS}
    labels = {
        "ferry": "Ferry, one C backend",
        "loop": "C loop in process",
        "envpool 1": "EnvPool, 1 thread",
        "envpool 2": "EnvPool, 2 threads",
        "numpy": "Gymnasium, in NumPy",
        "sync": "Gymnasium Sync",
    }
    here = [name for name in labels if name in found[1]]
    note = f" EnvPool is skipped: {missing('envpool')}." if missing("envpool") else ""

    rates: dict[str, list[tuple[float, float]]] = {name: [(n, n * 1e9 / found[n][name]) for n in ROWS] for name in here}
    times = [
        [f"{n:,}", *(number(found[n][name] / 1e3, "us") if name in here else "skipped" for name in labels)]
        for n in ROWS
    ]
    speeds = [
        [f"{n:,}", *(number(rates[name][i][1], "") if name in here else "skipped" for name in labels)]
        for i, n in enumerate(ROWS)
    ]
    return Section(
        "rows",
        "What does a step of a batch take from one row to thousands? (CartPole, random actions, fresh arrays. "
        f"'Gymnasium, in NumPy' is its CartPoleVectorEnv, which computes all rows at once.{note})",
        [
            Table("Time a step", ["rows", *labels.values()], times),
            Table("Env steps a second", ["rows", *labels.values()], speeds),
        ],
        data={"ns": found},
        plots=[
            Plot(
                "rows",
                "Env steps a second by the size of the batch",
                "rows",
                "env steps a second",
                {labels[name]: points for name, points in rates.items()},
            )
        ],
    )


# ---- Many processes ----


def launched(
    bench: Bench, scene: Scene, command: list[str], count: int, wait: str = "default"
) -> ferry.LaunchedVectorEnv:
    """A vector environment over so many new processes, wherever the kernel puts them."""
    with bench.unpinned(), nullcontext() if wait == "default" else waiting(wait):
        return scene.keep(ferry.launch(command, num_engines=count, timeout=PEER_TIMEOUT_S))


def engines_of(bench: Bench, count: int) -> tuple[Times, dict[str, float]]:
    """So many C poles, each in a process of its own, and steps timed one by one."""
    with Scene(bench) as scene, bench.unpinned():
        rollout = pole_rollout(200, count)
        envs = {wait: launched(bench, scene, [POLE, "{address}"], count, wait) for wait in WAITS}
        times = bench.alternate({wait: rolling(each, rollout) for wait, each in envs.items()}, bench.rounds(31, 7))
        return times, quantiles(single_batches(envs["default"], rollout, bench.rounds(10, 2)))


def engines(bench: Bench) -> Section:
    """Several processes with one row each, through one vector environment."""
    runs = {count: engines_of(bench, count) for count in ENGINES}
    found = {count: medians_of(times) for count, (times, _) in runs.items()}
    rates = {count: {wait: count * 1e9 / ns for wait, ns in each.items()} for count, each in found.items()}
    rows = [
        [
            str(count),
            number(found[count]["default"] / 1e3, "us"),
            *(number(rate, "") for rate in rates[count].values()),
            *(number(ns / 1e3, "us") for ns in singles.values()),
        ]
        for count, (_, singles) in runs.items()
    ]
    slowest = min(each["default"] for each in rates.values())
    return Section(
        "many backends",
        "How many steps a second does Python get out of several C poles, each a process of its own with one row? "
        "(Env steps a second, with the default way of waiting and with FERRY_WAIT=block; the times of steps are of the "
        "default.)",
        [
            Table(
                "ferry.launch(..., num_engines=M).step",
                ["backends", "time a step", "default", "block", "p50", "p99", "p99.9"],
                rows,
            )
        ],
        [Promise("2 to 16 C poles, one vector env: env steps a second", slowest, 200_000, "", at_least=True)],
        {
            str(count): {"ns": found[count], "steps_per_s": rates[count], "single_ns": singles}
            for count, (_, singles) in runs.items()
        },
        [
            Plot(
                "backends",
                "Env steps a second by the number of backends with one C pole each",
                "backends",
                "env steps a second",
                {f"Ferry, {wait}": [(count, rates[count][wait]) for count in ENGINES] for wait in WAITS},
            )
        ],
    )


def working(workers: list[Worker], count: int, expected: int) -> Block:
    """Processes that do the work of so many steps each, with nothing between; nanoseconds of one process's step."""

    def block() -> float:
        for worker in workers:
            worker.ask(count)
        answers = [worker.answer() for worker in workers]
        if any(x != expected for _, x in answers):
            raise AssertionError(f"the work came to {answers}, not {expected}")
        return max(ns for ns, _ in answers) / count

    return block


def busy_rounds(workers: list[Worker]) -> int:
    """How many rounds of work take ``BUSY_US`` while both CPUs work."""
    trial, times = 100, []
    for _ in range(20):
        for worker in workers:
            worker.ask(trial)
        times.append(max(worker.answer()[0] for worker in workers) / trial)
    return round(workers[0].rounds * BUSY_US * 1e3 / float(np.median(times)))


class BusyReference:
    """``bench/c/busy.c`` in this process, for as many rows as are wanted; the reference for it.

    Args:
        rounds: Of work in a step.
        num_rows: How many.
    """

    def __init__(self, rounds: int, num_rows: int) -> None:
        self._rounds, self._x, self._steps = rounds, [0] * num_rows, 0

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Row r starts with ``seed + r``."""
        self._x, self._steps = [(seed or 0) + r for r in range(len(self._x))], 0
        return None, {}

    def step(self, actions: Any, /) -> Any:
        """Works for each row."""
        self._x = [work(x + int(action), self._rounds) for x, action in zip(self._x, actions, strict=True)]
        self._steps += 1
        count = len(self._x)
        over = np.zeros(count, np.bool_)
        observations = np.array([(self._steps, x) for x in self._x], np.uint64)
        return observations, np.ones(count), over, over, {}

    def close(self) -> None:
        """Does nothing."""


def backends(bench: Bench) -> Section:
    """Sixteen backends with 50 us of work in a step, on two CPUs."""
    with Scene(bench) as scene:
        trial = [scene.worker([BUSY, "44000"], 44000, cpu) for cpu in bench.cpus]
        rounds = busy_rounds(trial)
        workers = [scene.worker([BUSY, str(rounds)], rounds, cpu) for cpu in bench.cpus]
        command = [BUSY, str(rounds), "{address}"]
        envs = {wait: launched(bench, scene, command, BUSY_BACKENDS, wait) for wait in WAITS}
        rollout = record(BusyReference(rounds, BUSY_BACKENDS), BUSY_STEPS, BUSY_BACKENDS)
        each = BUSY_STEPS * BUSY_BACKENDS // len(workers)
        expected = functools.reduce(lambda x, _: work(x, rounds), range(each), 0)
        with bench.unpinned():
            contenders = {wait: rolling(several, rollout) for wait, several in envs.items()}
            times = bench.alternate({**contenders, "bare": working(workers, each, expected)}, bench.rounds(51, 11))
    for wait in WAITS:
        times[wait] /= BUSY_BACKENDS
    times["bare"] /= len(workers)
    share = ratio(times, "bare", "default")
    rates = {name: 1e9 / ns for name, ns in medians_of(times).items()} | {"ideal": len(bench.cpus) * 1e6 / BUSY_US}
    labels = {
        "default": "16 backends, one vector env",
        "block": "the same with FERRY_WAIT=block",
        "bare": "two processes that do nothing but the work",
        "ideal": "two CPUs / 50 us",
    }
    return Section(
        "busy backends",
        "Do backends that work share two CPUs well? (16 C envs whose step takes 50 us of CPU, stepped as one, beside "
        "two processes that do the same work without an agent: what these CPUs allow at that moment.)",
        [
            Table(
                "Env steps a second",
                ["", "a second", "of the bare work"],
                [[labels[n], number(rates[n], ""), number(100 * rates[n] / rates["bare"], "%")] for n in labels],
            )
        ],
        [Promise("16 backends of 50 us on two CPUs: share of the bare work", 100 * share, 75, "%", at_least=True)],
        {"steps_per_s": rates, "share": share, "rounds_of_work": rounds},
    )


# ---- Python environments: beside Gymnasium's AsyncVectorEnv ----


def ours(makers: list[Callable[[], gym.Env[Any, Any]]], workers: int | str) -> Batch | None:
    """``ferry.AsyncVectorEnv``, if this version has it."""
    if not hasattr(ferry, "AsyncVectorEnv"):
        return None
    made: Batch = ferry.AsyncVectorEnv(makers, workers=workers)
    return made


def peers_of(
    bench: Bench,
    make: Callable[[], gym.Env[Any, Any]],
    workers: Mapping[str, int | str],
    steps: int,
    rounds: int,
    *,
    gymnasium_async: bool = True,
    bare: Callable[[Scene], Block] | None = None,
) -> Times:
    """Eight Python environments in every way; Gymnasium's SyncVectorEnv is the reference for the others."""
    makers = [make] * WORKERS
    with Scene(bench) as scene, bench.unpinned():
        sync = scene.keep(SyncVectorEnv(makers))
        rollout = record(sync, steps, WORKERS)
        contenders = {"sync": rolling(sync, rollout)}
        if gymnasium_async:
            contenders["async"] = rolling(scene.keep(AsyncVectorEnv(makers, context="spawn")), rollout)
        for name, number_of_workers in workers.items():
            if (envs := ours(makers, number_of_workers)) is not None:
                contenders[name] = rolling(scene.keep(envs), rollout)
        if bare is not None:
            contenders["bare"] = bare(scene)
        return bench.alternate(contenders, rounds)


def shared_out(bench: Bench, rounds: int, steps: int, scene: Scene) -> Block:
    """Eight rows of ``Busy`` in a process for each CPU, which steps its share of them and serves nobody."""
    num_rows = WORKERS // len(bench.cpus)
    command = [sys.executable, str(BENCH / "bare.py"), str(rounds), str(num_rows)]
    last_row = Busy(rounds)
    last_row.reset(seed=num_rows - 1)
    expected = [int(last_row.step(0)[0][0]) for _ in range(steps)][-1]
    return working([scene.worker(command, rounds, cpu) for cpu in bench.cpus], steps, expected)


def workers(bench: Bench) -> Section:
    """ferry.AsyncVectorEnv and Gymnasium's vector environments."""
    few, rounds = {"ferry 8": 8, "ferry 2": 2}, bench.rounds(31, 7)
    auto = {"ferry auto": "auto"}
    found = {
        "CartPole-v1": peers_of(bench, cartpole, {**few, **auto}, 40, rounds),
        "84 x 84 x 4 images": peers_of(bench, LitPixel, few, 20, rounds),
    }
    for us in PYTHON_BUSY_US:
        work_rounds, steps = rounds_of(us), PYTHON_BLOCK_US // us + 2
        make, bare = functools.partial(Busy, work_rounds), functools.partial(shared_out, bench, work_rounds, steps)
        peers = peers_of(bench, make, auto, steps, rounds, gymnasium_async=not bench.quick, bare=bare)
        found[f"{us} us of work"] = peers
    labels = {
        "sync": "Gymnasium Sync",
        "async": "Gymnasium Async",
        "ferry 8": "Ferry, 8 workers",
        "ferry 2": "Ferry, 2 workers",
        "ferry auto": "Ferry, auto",
        "bare": "no agent",
    }
    table = [
        [kind, *(number(np.median(times[n]) / 1e3, "us") if n in times else "" for n in labels)]
        for kind, times in found.items()
    ]
    bars = [
        *(("CartPole-v1", f"ferry {n}", "async", 5.0) for n in (8, 2)),
        *(("84 x 84 x 4 images", f"ferry {n}", "async", 4.0) for n in (8, 2)),
        ("CartPole-v1", "ferry auto", "sync", 1.0),
        *((f"{us} us of work", "ferry auto", "sync", 1.6) for us in PYTHON_BUSY_US),
    ]
    promises = [
        Promise(
            f"8 x {kind}, {labels[name]}: times as fast as {labels[to]}", ratio(found[kind], to, name), bar, "x", True
        )
        for kind, name, to, bar in bars
        if name in found[kind]
    ]
    return Section(
        "Python environments",
        "How fast are eight Python environments in a vector? (Each with the seed of its row; all trajectories equal "
        "those of Gymnasium's SyncVectorEnv. The work is a fixed number of rounds of a generator, and is verified. 'No "
        "agent' is a process on each CPU that steps its share of the rows and serves nobody: what these CPUs allow at "
        "that moment.)",
        [
            Table("A step of all eight", ["", *labels.values()], table),
            Table(
                "Times as fast as Gymnasium Sync",
                ["", labels["ferry auto"], labels["bare"], "share"],
                [
                    [
                        kind,
                        *(number(ratio(times, "sync", n), "x") for n in ("ferry auto", "bare")),
                        number(100 * ratio(times, "bare", "ferry auto"), "%"),
                    ]
                    for kind, times in found.items()
                    if "bare" in times
                ],
            ),
        ],
        promises,
        {kind: {"ns": medians_of(times)} for kind, times in found.items()},
    )


SECTIONS: dict[str, Callable[[Bench], Section]] = {
    f.__name__: f for f in (batch, one_row, rows, engines, backends, workers)
}
