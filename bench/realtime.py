"""The question about real time: what a step costs that waits for nobody."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

import numpy as np

import ferry
from blocks import Block
from contenders import PEER_TIMEOUT_S, Empty
from report import Promise, Section, Table, number
from scene import BACKEND, Bench, Scene

HZ, STEPS = 60, 2000


def replaying_at_once(env: ferry.RealtimeEnv) -> Block:
    """Steps of an episode that does not end: as many as are asked for, each of them with what is newest then."""
    env.reset()
    before = 0

    def block() -> float:
        nonlocal before
        step = env.step
        start = perf_counter_ns()
        for _ in range(STEPS):
            observation, _, terminated, truncated, info = step(1)
        elapsed_ns = perf_counter_ns() - start
        frame = info["ferry"]["frame"]
        if terminated or truncated or observation[0] != frame or frame < before:
            raise AssertionError(f"frame {frame} says {observation}")
        before = frame
        return elapsed_ns / STEPS

    return block


def doing_nothing(env: Empty) -> Block:
    """As many steps of an env in process that only returns a fresh array and an info."""

    def block() -> float:
        step = env.step
        start = perf_counter_ns()
        for _ in range(STEPS):
            _observation, _, _terminated, _truncated, _info = step(1)
        return (perf_counter_ns() - start) / STEPS

    return block


def latest(bench: Bench) -> Section:
    """RealtimeEnv.step(pace="latest") beside an empty Env in process."""
    with Scene(bench) as scene:
        address, _ = scene.served([*BACKEND, str(HZ)])
        env = scene.keep(ferry.RealtimeEnv(address, pace="latest", timeout=PEER_TIMEOUT_S))
        contenders = {
            "latest": replaying_at_once(env),
            "empty": doing_nothing(Empty()),
            "control": doing_nothing(Empty()),
        }
        times = bench.alternate(contenders, bench.rounds(151, 31))
    own_ns, error_ns = (float(np.median(times[name] - times["empty"])) for name in ("latest", "control"))
    labels = {
        "latest": 'RealtimeEnv.step, pace="latest"',
        "empty": "empty Env in process, fresh array and info",
        "control": "the same once more",
    }
    medians = {name: float(np.median(each)) for name, each in times.items()}
    return Section(
        "real time",
        "What does a step cost that waits for nobody? (The env is in Python, in another process, and ticks at "
        f"{HZ} Hz; most steps are given a frame that was given before, once more as an array of its own.)",
        [Table("A step", ["", "time"], [[labels[name], number(ns, "ns")] for name, ns in medians.items()])],
        [Promise('RealtimeEnv.step(pace="latest") over empty Env', own_ns / 1e3, 0.7, "us")],
        {"ns": medians, "own_ns": own_ns, "error_ns": error_ns},
    )


SECTIONS: dict[str, Callable[[Bench], Section]] = {f.__name__: f for f in (latest,)}
