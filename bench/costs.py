"""The questions about what an exchange costs besides: bytes, other programs on the machine, a start, memory."""

from __future__ import annotations

import functools
import gc
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv

import ferry
from batches import BUSY, cartpole, launched, medians_of
from blocks import Block, Times, quantiles
from contenders import (
    PEER_TIMEOUT_S,
    PipeEnv,
    SocketEnv,
    balance,
    copying,
    missing,
    pixel_episode,
    single_steps,
    stepping,
    trivial_episode,
)
from report import Plot, Section, Table, number
from scene import BACKEND, PIXEL, POLE, Bench, Scene
from vectors import LitPixel, pole_rollout, rolling

Shape = tuple[int, int, int]
PAYLOADS: dict[str, Shape] = {
    "64 B": (4, 4, 4),
    "1 KiB": (16, 16, 4),
    "28 KiB": (84, 84, 4),
    "256 KiB": (256, 256, 4),
    "1.5 MiB": (512, 1024, 3),
    "6 MB": (1080, 1920, 3),
}
LARGE = 1 << 20
AT_START = 8


def pixel_command(shape: Shape) -> list[str]:
    """An environment process with images of that shape."""
    height, width, channels = map(str, shape)
    return [PIXEL, "--height", height, "--width", width, "--channels", channels]


# ---- Bytes ----


def payload_of(bench: Bench, shape: Shape) -> tuple[Times, dict[str, dict[str, float]]]:
    """A step with such an observation, by everyone, and quantiles of single steps through Ferry."""
    size = math.prod(shape)
    steps, few = 40, 4 if size >= LARGE else 20
    make = functools.partial(LitPixel, shape)
    with Scene(bench) as scene:
        episode, short = pixel_episode(shape, steps), pixel_episode(shape, few)
        view, fresh = (scene.ferry(pixel_command(shape), copy=copy) for copy in (False, True))
        contenders = {
            "view": stepping(view, episode),
            "fresh": stepping(fresh, episode),
            "memcpy": copying(size, steps),
            "pipe": stepping(scene.env(PipeEnv(bench.cpus[1], make)), short),
        }
        if not missing("zmq"):
            contenders["zmq"] = stepping(scene.env(SocketEnv(bench.cpus[1], make, bench.address())), short)
        times = bench.alternate(contenders, bench.rounds(31, 7))
        repeats = bench.rounds(25, 5)
        singles = {
            kind: quantiles(single_steps(env, episode, repeats)) for kind, env in (("view", view), ("fresh", fresh))
        }
        return times, singles


def payload(bench: Bench) -> Section:
    """Observations from 64 bytes to 6 MB, as views and as copies."""
    labels = {
        "view": "Ferry, copy=False",
        "fresh": "Ferry, fresh array",
        "memcpy": "memcpy alone",
        "pipe": "multiprocessing.Pipe",
        "zmq": "pyzmq",
    }
    runs = {name: payload_of(bench, shape) for name, shape in PAYLOADS.items()}
    found = {name: medians_of(times) for name, (times, _) in runs.items()}
    here = [name for name in labels if name in found["64 B"]]
    note = f" pyzmq is skipped: {missing('zmq')}." if missing("zmq") else ""
    rows = [
        [size, *(number(ns[name] / 1e3, "us") if name in ns else "skipped" for name in labels)]
        for size, ns in found.items()
    ]
    singles = [
        [f"{size}, {'copy=False' if kind == 'view' else 'fresh'}", *(number(ns / 1e3, "us") for ns in each.values())]
        for size, (_, by_kind) in runs.items()
        for kind, each in by_kind.items()
    ]
    curves: dict[str, list[tuple[float, float]]] = {
        labels[name]: [(math.prod(PAYLOADS[size]), ns[name] / 1e3) for size, ns in found.items()] for name in here
    }
    return Section(
        "payload",
        "What does a step take with observations from 64 bytes to 6 MB? (The env lights one pixel a step: in C for "
        f"Ferry, in Python for the peers, which send the image by pickle, or by a REQ/REP socket as it is.{note})",
        [
            Table("Time a step", ["observation", *labels.values()], rows),
            Table("Ferry's steps timed one by one", ["observation", "p50", "p99", "p99.9"], singles),
        ],
        data={"ns": found, "single_ns": {size: single for size, (_, single) in runs.items()}},
        plots=[Plot("payload", "Time a step by the size of the observation", "bytes", "microseconds a step", curves)],
    )


# ---- Other programs on the machine ----


def crowd_of(bench: Bench, busy: int) -> Times:
    """Steps while so many other processes want a CPU all the time."""
    steps = 100
    with Scene(bench) as scene, bench.unpinned():
        free = scene.ferry([POLE], cpu=-1)
        episode = balance(free, steps)
        contenders = {
            "env": stepping(free, episode),
            "batch": rolling(launched_rows(bench, scene, 64), pole_rollout(steps, 64)),
            "backends": rolling(launched(bench, scene, [POLE, "{address}"], 16), pole_rollout(steps, 16)),
            "python": stepping(scene.ferry(BACKEND, cpu=-1), trivial_episode(steps)),
            "block": stepping(scene.ferry(BACKEND, cpu=-1, wait="block"), trivial_episode(steps)),
            "pipe": stepping(scene.env(PipeEnv(None)), trivial_episode(steps)),
        }
        for i in range(busy):
            scene.worker([BUSY, "44000"], 44000, bench.cpus[i % len(bench.cpus)]).ask(1 << 40)
        return bench.alternate(contenders, bench.rounds(15, 3))


def launched_rows(bench: Bench, scene: Scene, num_rows: int) -> ferry.LaunchedVectorEnv:
    """One new process with many rows, wherever the kernel puts it."""
    with bench.unpinned():
        return scene.keep(
            ferry.launch([POLE, "{address}", "{num_envs}"], envs_per_engine=num_rows, timeout=PEER_TIMEOUT_S)
        )


def crowd(bench: Bench) -> Section:
    """An oversubscribed machine."""
    found = {busy: medians_of(crowd_of(bench, busy)) for busy in (0, 1, 2)}
    labels = {
        "env": "ClientEnv, C pole",
        "batch": "64 C poles in one backend",
        "backends": "16 backends with a C pole each",
        "python": "ClientEnv, Python env",
        "block": "ClientEnv, Python env, FERRY_WAIT=block",
        "pipe": "multiprocessing.Pipe and pickle, Python env",
    }
    return Section(
        "a crowded machine",
        "What does a step take when other processes want the CPUs? (Nothing is pinned but the others, which never "
        "sleep: one on a CPU, or one on each of two.)",
        [
            Table(
                "Time a step",
                ["", "alone", "one other", "two others"],
                [[label, *(number(found[n][name] / 1e3, "us") for n in found)] for name, label in labels.items()],
            )
        ],
        data={"ns": {str(busy): ns for busy, ns in found.items()}},
    )


# ---- A start ----


def beginning(make: Callable[[], Any], check: Callable[[Any], bool]) -> Block:
    """Makes an environment and gets the first observation; closing it is not timed."""

    def block() -> float:
        start = perf_counter_ns()
        env = make()
        observation, _ = env.reset(seed=1)
        elapsed_ns = perf_counter_ns() - start
        good = check(observation)
        env.close()
        if not good:
            raise AssertionError(f"the first observation is {observation}")
        return elapsed_ns

    return block


def starts(bench: Bench) -> Section:
    """From nothing to the first observation."""
    makers = [cartpole] * AT_START
    with Scene(bench) as scene, bench.unpinned():
        address, _ = scene.served([POLE])
        one, *_ = gym.make("CartPole-v1").reset(seed=1)

        def is_a_start(observation: Any) -> bool:
            return bool((np.abs(observation) <= 0.05).all())

        def is_cartpole(observation: Any) -> bool:
            return np.array_equal(np.atleast_2d(observation)[0], one)

        contenders = {
            "connect": beginning(lambda: ferry.ClientEnv(address, timeout=PEER_TIMEOUT_S), is_a_start),
            "launch": beginning(lambda: ferry.launch([POLE], timeout=PEER_TIMEOUT_S), is_a_start),
            "launch 16": beginning(
                lambda: ferry.launch([POLE, "{address}"], num_engines=16, timeout=PEER_TIMEOUT_S), is_a_start
            ),
            "python": beginning(lambda: ferry.launch("CartPole-v1", timeout=PEER_TIMEOUT_S), is_cartpole),
        }
        if hasattr(ferry, "AsyncVectorEnv"):
            contenders["async"] = beginning(lambda: ferry.AsyncVectorEnv(makers), is_cartpole)
        contenders["spawn"] = beginning(lambda: AsyncVectorEnv(makers, context="spawn"), is_cartpole)
        contenders["fork"] = beginning(lambda: AsyncVectorEnv(makers, context="fork"), is_cartpole)
        medians = medians_of(bench.alternate(contenders, bench.rounds(7, 1)))
    labels = {
        "connect": "ClientEnv, a C pole that serves already",
        "launch": "launch, a C pole",
        "launch 16": "launch, 16 C poles",
        "python": "launch, CartPole-v1",
        "async": "ferry.AsyncVectorEnv, 8 x CartPole-v1",
        "spawn": "gymnasium AsyncVectorEnv, 8 x CartPole-v1, spawned",
        "fork": "gymnasium AsyncVectorEnv, 8 x CartPole-v1, forked",
    }
    rows = [[labels[name], number(ns / 1e6, "ms")] for name, ns in medians.items()]
    return Section(
        "a start",
        "How long does it take until the first observation is there?",
        [Table("From the constructor's call", ["", "time"], rows)],
        data={"ns": medians},
    )


# ---- Memory ----


def mapped_bytes() -> int:
    """What this process maps of Ferry's regions."""
    spans = re.findall(r"^(\w+)-(\w+) .*memfd:ferry", Path("/proc/self/maps").read_text(), re.MULTILINE)
    return sum(int(end, 16) - int(start, 16) for start, end in spans)


def resident_bytes(pid: int) -> dict[str, int]:
    """Memory of a process that is there: its own, and what it shares."""
    found = re.findall(r"^(RssAnon|RssShmem):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return {kind: 1024 * int(kib) for kind, kib in found}


def memory_of(bench: Bench, command: list[str], count: int = 16) -> dict[str, float]:
    """What a channel to such an environment weighs, on average over several."""
    with Scene(bench) as scene:
        children = [scene.served(command) for _ in range(count)]
        gc.collect()
        before, mapped = resident_bytes_here(), mapped_bytes()
        envs = [scene.keep(ferry.ClientVectorEnv(address, timeout=PEER_TIMEOUT_S)) for address, _ in children]
        region = (mapped_bytes() - mapped) / count
        for env in envs:
            env.reset(seed=1)
            for _ in range(4):
                env.step(env.action_space.sample())
        agent = (resident_bytes_here() - before) / count
        env_side = float(np.mean([resident_bytes(child.process.pid)["RssAnon"] for _, child in children]))
    return {"region_bytes": region, "agent_bytes": agent, "env_process_bytes": env_side}


def resident_bytes_here() -> int:
    """Private memory of this process that is there."""
    return resident_bytes(os.getpid())["RssAnon"]


def memory(bench: Bench) -> Section:
    """The weight of a channel."""
    envs = {
        "C pole": [POLE],
        "64 C poles": [POLE, "unused", "64"],
        "4,096 C poles": [POLE, "unused", "4096"],
        "28 KiB image": pixel_command((84, 84, 4)),
        "6 MB image": pixel_command((1080, 1920, 3)),
    }
    found = {name: memory_of(bench, command) for name, command in envs.items()}
    rows = [[name, *(number(size / 1024, "KiB") for size in sizes.values())] for name, sizes in found.items()]
    return Section(
        "memory",
        "What does a channel weigh? (The region is shared by both sides and holds two observations. The agent's part "
        "is what its private memory grew by: arrays that it was given, and the spaces, of which Gymnasium's Box is "
        "four times as large as an observation of bytes, once for the row and once for the batch. The env's is all "
        "private memory of a C program. Means of 16.)",
        [Table("A channel", ["", "region", "agent", "process of the env"], rows)],
        data=found,
    )


SECTIONS: dict[str, Callable[[Bench], Section]] = {f.__name__: f for f in (payload, crowd, starts, memory)}
