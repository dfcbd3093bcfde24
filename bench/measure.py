"""The questions, one function each: it measures, judges the promises that concern it, and returns a ``Section``."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import ferry
from blocks import Block, Times, quantiles
from contenders import (
    Episode,
    PipeEnv,
    RlayEnv,
    SocketEnv,
    Trivial,
    Vector1,
    balance,
    copying,
    missing,
    pixel_episode,
    replaying,
    single_steps,
    stepping,
    trivial_episode,
)
from processes import BENCH
from report import Promise, Section, Table, number
from scene import BACKEND, GAME, PIXEL, POLE, Bench, Scene, run, run_c

POLE_STEPS = 400
IMAGES = {"28 KiB": (84, 84, 4), "6 MB": (1080, 1920, 3)}


def floor(bench: Bench) -> Section:
    """The floors by themselves."""
    a, b = bench.cpus
    found = run_c(
        bench, "floor", "--cpus", f"{a},{b}", "--blocks", bench.rounds(101, 21), "--trips", bench.rounds(10000, 4000)
    )
    rows = []
    for kind, label in (("spin", "two processes that spin"), ("futex", "two processes that sleep on a futex")):
        trip = found[kind]
        singles = [number(trip["single_ns"][q], "ns") for q in ("p50", "p99", "p99.9")]
        rows.append([label, number(trip["ns"], "ns"), *singles])
    copies = [[f"{int(size):,} bytes", number(ns, "ns")] for size, ns in found["memcpy_ns"].items()]
    return Section(
        "floor",
        "What do this machine and this kernel allow?",
        [
            Table("A bare round trip, 64 bytes each way", ["", "block median", "p50", "p99", "p99.9"], rows),
            Table("A warm memcpy", ["", "time"], copies),
        ],
        data=found,
    )


def roundtrip(bench: Bench) -> Section:
    """C round trips in each wait mode, against the floor."""
    a, b = bench.cpus
    pairs, blocks = bench.rounds(21, 5), 101
    runs = {
        "spin": run_c(bench, "roundtrip", "--cpus", f"{a},{b}", "--pairs", pairs, "--blocks", blocks, wait="spin"),
        "adaptive": run_c(bench, "roundtrip", "--cpus", f"{a},{b}", "--pairs", pairs, "--blocks", blocks),
        "block": run_c(
            bench,
            "roundtrip",
            "--cpus",
            f"{a},{b}",
            "--pairs",
            bench.rounds(5, 2),
            "--blocks",
            blocks,
            "--trips",
            100,
            wait="block",
        ),
        "one CPU": run_c(
            bench, "roundtrip", "--cpus", f"{b},{b}", "--pairs", bench.rounds(3, 1), "--blocks", blocks, "--trips", 500
        ),
    }
    rows = []
    for mode, found in runs.items():
        trip = found["ferry"]
        singles = [number(trip["single_ns"][q], "ns") for q in ("p50", "p99", "p99.9")]
        rows.append(
            [
                f"{found['wait']}{', both on one CPU' if mode == 'one CPU' else ''}",
                f"{found['floor_wait']}: {number(found['floor']['ns'], 'ns')}",
                number(trip["ns"], "ns"),
                f"{trip['ratio']:.3f}",
                f"{min(trip['ratio_by_pair']):.2f} to {max(trip['ratio_by_pair']):.2f}",
                number(trip["difference_ns"], "ns"),
                f"{found['control']['ratio']:.3f}",
                *singles,
            ]
        )
    spin, block = runs["spin"], runs["block"]
    return Section(
        "round trip",
        "How much more does a turn through Ferry cost in C than the bare exchange of its bytes, 64 each way? (The "
        "control is the floor against itself: the error of the method. p50, p99 and p99.9 are of round trips timed one "
        "by one, with the clock in them.)",
        [
            Table(
                "C agent, C env",
                ["FERRY_WAIT", "floor", "Ferry", "ratio", "by pair", "difference", "control", "p50", "p99", "p99.9"],
                rows,
            )
        ],
        [
            Promise(
                "C round trip over the bare spin (1.10 x, or 25 ns where that is more)",
                spin["ferry"]["ratio"],
                max(1.10, 1 + 25 / spin["floor"]["ns"]),
                "x",
            ),
            Promise("sleeping round trip over the bare futex", block["ferry"]["ratio"], 1.10, "x"),
            Promise("C step, both sides on one CPU, adaptive", runs["one CPU"]["ferry"]["ns"] / 1e3, 15, "us"),
        ],
        runs,
    )


def poles(bench: Bench) -> Section:
    """Sixteen processes, one agent."""
    with bench.unpinned():
        runs = {n: run_c(bench, "play", "--count", n, "--seconds", bench.rounds(4, 1), "--", POLE) for n in (1, 4, 16)}
    rows = [[str(n), number(run["steps_per_s"], ""), number(run["us_per_step"], "us")] for n, run in runs.items()]
    return Section(
        "many processes",
        "How many steps a second does one agent get out of several C poles, each a process of its own?",
        [
            Table(
                "C agent, turn by turn: sends to each, then waits for each",
                ["poles", "steps a second", "time a step"],
                rows,
            )
        ],
        [Promise("16 C poles, one agent: steps a second in all", runs[16]["steps_per_s"], 200_000, "", at_least=True)],
        {str(n): run for n, run in runs.items()},
    )


def game(bench: Bench) -> Section:
    """The price of waiting for a game that ticks 60 times a second."""
    seconds = bench.rounds(6, 2)
    with bench.unpinned():
        c = run_c(bench, "play", "--count", 1, "--seconds", seconds, "--", GAME)
    with Scene(bench) as scene:
        env = scene.ferry([GAME])
        env.reset(seed=1)
        steps, over = 0, False
        wall, cpu = time.perf_counter(), time.thread_time()
        while time.perf_counter() - wall < seconds:
            if over:
                env.reset()
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated
            steps += 1
        cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
    python = {"steps": steps, "steps_per_s": steps / wall, "agent_cpu_share": cpu / wall}
    rows = [
        [label, number(run["steps_per_s"], ""), number(100 * run["agent_cpu_share"], "%")]
        for label, run in (("C agent", c), ("Python agent", python))
    ]
    return Section(
        "waiting for a game",
        "How much of a CPU does an agent use up while it waits for a game that ticks 60 times a second?",
        [Table("examples/c/gameloop at 60 Hz", ["", "steps a second", "CPU of the agent"], rows)],
        [
            Promise("waiting on a 60 Hz game, C agent", 100 * c["agent_cpu_share"], 2, "% of a CPU"),
            Promise("waiting on a 60 Hz game, Python agent", 100 * python["agent_cpu_share"], 2, "% of a CPU"),
        ],
        {"c": c, "python": python},
    )


def steps_in_fresh_processes(bench: Bench, rounds: int) -> tuple[Times, NDArray[np.float64]]:
    """Steps of the pole in every way, and steps of ClientEnv timed one by one."""
    with Scene(bench) as scene:
        client, server = scene.ferry([POLE]), scene.ferry([POLE], serve=False)
        narrow = scene.ferry([POLE], cpu=bench.cpus[0])
        agent = scene.c_agent([POLE])
        cartpole, empty = scene.env(gym.make("CartPole-v1")), scene.env(gym.make("FerryBench/Empty-v0"))
        pole = balance(client, POLE_STEPS)
        nothing = Episode(1, pole.actions, np.zeros(4, np.float32), 1.0, pole.total)
        times = bench.alternate(
            {
                "client": stepping(client, pole),
                "server": stepping(server, pole),
                "c": replaying(agent, pole),
                "empty": stepping(empty, nothing),
                "cartpole": stepping(cartpole, balance(cartpole, POLE_STEPS)),
                "one cpu": stepping(narrow, pole),
            },
            rounds,
        )
        return times, single_steps(client, pole, rounds // 5)


def steps(bench: Bench) -> Section:
    """ClientEnv.step on the C pole against the sum of its parts, CartPole in process, and ServerEnv."""
    runs = [steps_in_fresh_processes(bench, bench.rounds(101, 51)) for _ in range(bench.rounds(5, 2))]
    times: Times = {name: np.concatenate([run[name] for run, _ in runs]) for name in runs[0][0]}
    singles = quantiles(np.concatenate([single for _, single in runs]))
    own_ns = float(np.median(times["client"] - times["c"] - times["empty"]))
    faster = float(np.median(times["cartpole"] / times["client"]))
    serving = float(np.median(times["server"] / times["client"]))
    labels = {
        "client": "ClientEnv.step, C pole",
        "server": "ServerEnv.step, C pole",
        "c": "C agent, C pole",
        "empty": "empty Env in process, fresh array",
        "cartpole": "CartPole-v1 in process",
        "one cpu": "ClientEnv.step, C pole, both on one CPU",
    }
    medians = {name: float(np.median(t)) for name, t in times.items()}
    rows = [[labels[name], number(medians[name], "ns"), number(1e9 / medians[name], "")] for name in labels]
    return Section(
        "Python step",
        "What does ClientEnv.step add to the C round trip and to what an Env costs anyway? (All Envs through gym.make, "
        "with fresh observations.)",
        [
            Table("A step of the pole", ["", "time a step", "steps a second"], rows),
            Table(
                "ClientEnv.step timed one by one, with the clock in it",
                ["", *singles],
                [["C pole", *(number(ns, "ns") for ns in singles.values())]],
            ),
        ],
        [
            Promise("ClientEnv.step over C round trip + empty Env", own_ns / 1e3, 0.4, "us"),
            Promise("ClientEnv.step on the C pole: times as fast as CartPole-v1", faster, 10, "x", at_least=True),
            Promise("ServerEnv.step over ClientEnv.step", serving, 1.05, "x"),
            Promise("Python step, both sides on one CPU, adaptive", medians["one cpu"] / 1e3, 15, "us"),
        ],
        {"ns": medians, "own_ns": own_ns, "cartpole_ratio": faster, "server_ratio": serving, "single_ns": singles},
    )


def peers_of(bench: Bench, scene: Scene, episode: Episode) -> dict[str, Block]:
    """Everyone between a Python agent and a Python env, but for peers that are not installed."""
    cpu = bench.cpus[1]
    peers = {
        "ferry": stepping(scene.ferry(BACKEND), episode),
        "ferry, block": stepping(scene.ferry(BACKEND, wait="block"), episode),
        "pipe": stepping(scene.env(PipeEnv(cpu)), episode),
        "vector": stepping(scene.env(Vector1(cpu)), episode),
    }
    if not missing("zmq"):
        peers["zmq"] = stepping(scene.env(SocketEnv(cpu, Trivial, bench.address())), episode)
    if not missing("rlay"):
        relay = scene.keep(RlayEnv(cpu))
        peers["rlay"] = relay.awake(stepping(relay, trivial_episode(len(episode.actions) // 10)))
    return peers


def table(bench: Bench) -> Section:
    """{C, Python} env x {C, Python} agent x {ClientEnv, ServerEnv}, and the peers."""
    rounds, few = bench.rounds(151, 51), 40
    envs = {"C": [POLE], "Python": BACKEND}
    with Scene(bench) as scene:
        episodes = {"C": balance(scene.ferry([POLE]), POLE_STEPS), "Python": trivial_episode(POLE_STEPS)}
        cells: dict[str, Block] = {}
        for language, command in envs.items():
            for serve in (True, False):
                paradigm = "ClientEnv" if serve else "ServerEnv"
                episode = episodes[language]
                cells[f"{language} {paradigm} C"] = replaying(scene.c_agent(command, serve=serve), episode)
                cells[f"{language} {paradigm} Python"] = stepping(scene.ferry(command, serve=serve), episode)
        times = bench.alternate(cells, rounds)
        peers = bench.alternate(peers_of(bench, scene, trivial_episode(few)), rounds)
    rows = []
    for language in envs:
        for paradigm in ("ClientEnv", "ServerEnv"):
            figures = [times[f"{language} {paradigm} {agent}"] for agent in ("C", "Python")]
            rows.append([f"{language} env, {paradigm}", *(number(np.median(t), "ns") for t in figures)])
    labels = {
        "ferry": "Ferry, adaptive",
        "ferry, block": "Ferry, FERRY_WAIT=block: sleeps like the three below",
        "pipe": "multiprocessing.Pipe and pickle",
        "vector": "gymnasium AsyncVectorEnv, one env",
        "zmq": "pyzmq, REQ and REP",
        "rlay": "rlay, which spins",
    }
    against = [
        [
            labels[name],
            number(np.median(peers[name]) / 1e3, "us"),
            f"{np.median(peers[name] / peers['ferry, block']):.2f}",
        ]
        if name in peers
        else [labels[name], f"skipped: {missing(name)}", ""]
        for name in labels
    ]
    return Section(
        "all combinations",
        "How long does a step take, whoever is written in whatever and whoever listens? (C env: the pole. Python env: "
        "CartPole's spaces, no physics. With ClientEnv the env listens, with ServerEnv the agent; a C agent has the "
        "same two roles.)",
        [
            Table("Time a step", ["", "C agent", "Python agent"], rows),
            Table("Python agent, Python env: beside its peers", ["", "time a step", "to Ferry sleeping"], against),
        ],
        data={
            "ns": {name: float(np.median(t)) for name, t in times.items()},
            "peers_ns": {name: float(np.median(t)) for name, t in peers.items()},
        },
    )


def images(bench: Bench) -> Section:
    """Large observations, as views and as fresh arrays."""
    rounds, steps_a_block = bench.rounds(151, 51), 40
    with Scene(bench) as scene:
        contenders: dict[str, Block] = {"call": copying(1, steps_a_block)}
        for name, shape in IMAGES.items():
            height, width, channels = map(str, shape)
            command = [PIXEL, "--height", height, "--width", width, "--channels", channels]
            episode = pixel_episode(shape, steps_a_block)
            for kind in ("view", "fresh"):
                env = scene.ferry(command, copy=kind == "fresh")
                contenders[f"{name} {kind}"] = stepping(env, episode)
            contenders[f"{name} copy"] = copying(math.prod(shape), steps_a_block)
            contenders[f"{name} single copy"] = copying(math.prod(shape), steps_a_block, buffers=1)
        times = bench.alternate(contenders, rounds)
    costs = {}
    for name in IMAGES:
        times[f"{name} memcpy"] = times[f"{name} copy"] - times["call"]
        times[f"{name} single memcpy"] = times[f"{name} single copy"] - times["call"]
        times[f"{name} cost"] = times[f"{name} fresh"] - times[f"{name} view"]
        costs[name] = float(np.median(times[f"{name} cost"] / times[f"{name} memcpy"]))
    small, large = IMAGES
    views = float(np.median(times[f"{large} view"] / times[f"{small} view"]))
    medians = {name: float(np.median(t)) for name, t in times.items()}
    rows = [
        [
            name,
            *(
                number(medians[f"{name} {kind}"] / 1e3, "us")
                for kind in ("view", "fresh", "cost", "memcpy", "single memcpy")
            ),
            f"{costs[name]:.2f}",
        ]
        for name in IMAGES
    ]
    return Section(
        "images",
        "What does the size of an observation cost? (The C env lights one pixel a step. The cost of a fresh array is "
        "the step with it minus the step with copy=False. The warm memcpy goes from two shared buffers in turn into "
        "two arrays, as observations do; between one and one, more stays in the caches.)",
        [
            Table(
                "Python agent, ClientEnv",
                ["", "copy=False", "fresh array", "cost of it", "memcpy, 2 to 2", "memcpy, 1 to 1", "cost / 2 to 2"],
                rows,
            )
        ],
        [
            Promise(f"step of {large} with copy=False over a step of {small}", views, 1.5, "x"),
            *(Promise(f"cost of a fresh array of {name} over a warm memcpy", costs[name], 1.3, "x") for name in IMAGES),
        ],
        {"ns": medians, "fresh_over_memcpy": costs, "view_ratio": views},
    )


def functions(bench: Bench) -> Section:
    """step, reset and connect by pytest-benchmark."""
    with tempfile.TemporaryDirectory(dir=bench.directory) as directory:
        result = Path(directory) / "result.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(BENCH / "test_python.py")]
        command += [f"--benchmark-json={result}", f"--benchmark-max-time={0.3 if bench.quick else 1}"]
        with bench.unpinned():
            run(command)
        found = json.loads(result.read_text())["benchmarks"]
    stats = {entry["name"].removeprefix("test_"): entry["stats"] for entry in found}
    rows = [
        [name, *(number(1e6 * stat[key], "us") for key in ("median", "iqr", "min")), f"{stat['rounds']:,}"]
        for name, stat in stats.items()
    ]
    keep = ("min", "median", "mean", "stddev", "iqr", "rounds", "iterations")
    return Section(
        "functions",
        "What do the calls of the Python surface take? (pytest-benchmark; envs in C.)",
        [Table("bench/test_python.py", ["", "median", "IQR", "fastest", "rounds"], rows)],
        data={name: {key: stat[key] for key in keep} for name, stat in stats.items()},
    )


SECTIONS: dict[str, Callable[[Bench], Section]] = {
    f.__name__: f for f in (floor, roundtrip, poles, game, steps, table, images, functions)
}
VERSION = ferry.__version__
