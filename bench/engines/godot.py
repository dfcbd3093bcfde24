"""What does Ferry add to a step of Godot's, and what does godot-rl?

    python bench/engines/godot.py           # a table
    python bench/engines/godot.py --json    # the figures

The same scene, engines/godot/example, in processes of their own: without Ferry, played by a script in the engine;
through Ferry from Python, with both ways of waiting; through godot-rl's protocol from its own GodotEnv. They take turns
in short blocks, and all but one are stopped. What Ferry adds is the exchange, the script's _get_observation, and the
adapter in Python; it is the difference to the engine played by a script, in each round.

The engine is held to one processor and whoever trains to another. Godot's physics hand work to threads of its own some
five times in a tick, and where the kernel puts those decides more than all else: on two processors, one of them idle,
the engine alone has taken from 36 to 93 us a tick within a day. So its own rate, and Ferry's, are told of engines that
are held nowhere too, and no difference is taken between those.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

import ferry

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

import legs  # noqa: E402
from blocks import Block, Times, alternate  # noqa: E402
from processes import environment  # noqa: E402

SCENES = Path(__file__).parent / "godot"
HEADLESS = ["--headless", "--fixed-fps", "60", "--disable-render-loop"]
BLOCK_STEPS = 250
WARM_UP_STEPS = 50
CHECK_STEPS = 100
"""After so many steps all must have come to the same place."""
START_LIMIT_S = 60.0
# Without its dependencies, which the protocol's side of it does not use: Stable-Baselines3, ONNX and others.
PEER = ["godot-rl==0.8.2"]
PEER_NEEDS = ["gymnasium<=1.0.0", "numpy"]

BAR_US = 3.0
"""What Ferry may add to a step, when both sides spin."""
LEAST_US = 1.0
"""What differs by less is taken for this, when ratios are told: the ticks themselves vary more."""
BAR_RATIO = 20.0
"""How many times more godot-rl adds."""


def project(folder: Path) -> Path:
    """The example with the addon and with this benchmark's scenes, in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "engines/godot/example", folder, ignore=shutil.ignore_patterns("addons", ".godot"))
    for path in SCENES.glob("*.*"):
        shutil.copy(path, folder)
    subprocess.run([str(ROOT / "engines/godot/build.sh"), str(folder)], check=True, timeout=120)
    return folder


@contextlib.contextmanager
def child(command: list[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes, which dies with this one."""
    launcher = [str(ferry.paths.launcher()), str(os.getpid())]
    process = subprocess.Popen(
        launcher + command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(**variables),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def running_only_in(pid: int, block: Block) -> Block:
    """The block, with a process that runs only meanwhile: in the others it would take a processor."""
    os.kill(pid, signal.SIGSTOP)

    def run() -> float:
        os.kill(pid, signal.SIGCONT)
        try:
            return block()
        finally:
            os.kill(pid, signal.SIGSTOP)

    return run


def at(processor: int, command: list[str]) -> list[str]:
    """The command, held to one processor with all its threads."""
    return ["taskset", "--cpu-list", str(processor), *command]


class DiffersError(Exception):
    """A contender has not done what the others did."""


def check(observation: Any, expected: Any) -> None:
    """Compares what is observed after CHECK_STEPS; JSON has lost the last digits of some."""
    if not np.allclose(observation, expected, rtol=0, atol=1e-6):
        raise DiffersError(f"{observation} after {CHECK_STEPS} steps, not {expected}")


def held_to(processor: int | None, block: Block) -> Block:
    """The block, with this thread on that processor meanwhile."""
    if processor is None:
        return block

    def run() -> float:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {processor})
        try:
            return block()
        finally:
            os.sched_setaffinity(0, before)

    return run


def through_ferry(
    stack: contextlib.ExitStack, command: list[str], expected: Any, *, wait: str, processor: int | None = None
) -> Block:
    """Steps of the example, from Python, on a processor."""
    os.environ["FERRY_WAIT"] = wait
    env = ferry.launch(command, start_timeout=START_LIMIT_S)
    del os.environ["FERRY_WAIT"]
    assert isinstance(env, ferry.LaunchedEnv)
    stack.enter_context(env)
    still = np.zeros(1, np.float32)
    env.reset(seed=0)
    for _ in range(CHECK_STEPS):
        observation = env.step(still)[0]
    check(observation, expected)

    def play(steps: int) -> None:
        step, reset = env.step, env.reset
        for _ in range(steps):
            _, _, terminated, truncated, _ = step(still)
            if terminated or truncated:
                reset()

    def block() -> float:
        play(WARM_UP_STEPS)
        begin = perf_counter_ns()
        play(BLOCK_STEPS)
        return (perf_counter_ns() - begin) / BLOCK_STEPS

    return held_to(processor, running_only_in(env.process.pid, block))


def without_ferry(stack: contextlib.ExitStack, command: list[str]) -> tuple[Block, Any]:
    """Steps of the example that a script in the engine takes, by its own clock; and what it observes at the check."""
    variables = {"BLOCK": str(BLOCK_STEPS), "CHECK": str(CHECK_STEPS)}
    engine = stack.enter_context(child([*command, "res://own.tscn"], **variables))
    assert engine.stdout is not None
    lines = engine.stdout
    line = lines.readline()
    while not line.startswith("["):
        assert engine.poll() is None, "the scene own.tscn ended"
        line = lines.readline()
    observed = json.loads(line)

    def block() -> float:
        lines.readline()  # may hold the time that it was stopped
        return int(lines.readline()) * 1000 / BLOCK_STEPS

    return running_only_in(engine.pid, block), observed


def through_godot_rl(
    stack: contextlib.ExitStack, command: list[str], expected: Any, python: Path, processor: int
) -> Block:
    """Steps of the example through godot-rl, whose trainer is on that processor."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    trainer = stack.enter_context(
        child(at(processor, [str(python), str(SCENES / "trainer.py"), port, str(CHECK_STEPS)]))
    )
    engine = stack.enter_context(child([*command, "res://rl.tscn"], PORT=port))
    assert trainer.stdin is not None
    assert trainer.stdout is not None
    stdin, stdout = trainer.stdin, trainer.stdout
    check(json.loads(stdout.readline()), expected)

    def play(steps: int) -> float:
        stdin.write(f"{steps}\n")
        stdin.flush()
        return int(stdout.readline()) / steps

    def block() -> float:
        play(WARM_UP_STEPS)
        return play(BLOCK_STEPS)

    return running_only_in(engine.pid, block)


def interpreter_with_godot_rl(folder: Path) -> Path:
    """An environment of its own for godot-rl, which wants an older Gymnasium."""
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=120)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", *PEER], check=True, timeout=300)
        subprocess.run([*pip, *PEER_NEEDS], check=True, timeout=300)
        (folder / "made").touch()
    return python


def measure(rounds: int = 60, *, peers: bool = True) -> dict[str, Any]:
    """Measures all of them.

    Args:
        rounds: Of alternating blocks.
        peers: Whether godot-rl is installed and measured too.

    Returns:
        Microseconds a step of each, as medians over the blocks; "share_us", how much more than the engine alone, as
        medians of the differences in each round; "fast_us" and "fast_share_us", the same of the fastest tenth, which
        tell more on a machine with other work; and what does not run here, with the reason.
    """
    godot = legs.find("godot")
    if godot is None:
        return {"skipped": "there is no Godot here: set GODOT, or see tools/fetch_godot.sh"}
    processors = sorted(os.sched_getaffinity(0))
    engines, trainers = processors[0], processors[-1]
    build = ROOT / "build"
    free = [godot, "--path", str(project(build / "bench-godot")), *HEADLESS]
    command = at(engines, free)
    found: dict[str, Any] = {"engine": subprocess.check_output([godot, "--version"], text=True, timeout=60).strip()}
    with contextlib.ExitStack() as stack:
        own, expected = without_ferry(stack, command)
        contenders: dict[str, Block] = {
            "own": own,
            "ferry_spin": through_ferry(stack, command, expected, wait="spin", processor=trainers),
            "ferry": through_ferry(stack, command, expected, wait="adaptive", processor=trainers),
            "own_free": without_ferry(stack, free)[0],
            "ferry_free": through_ferry(stack, free, expected, wait="adaptive"),
        }
        try:
            if peers:
                python = interpreter_with_godot_rl(build / "godot-rl")
                contenders["godot_rl"] = through_godot_rl(stack, command, expected, python, trainers)
            else:
                found["godot_rl_skipped"] = "not asked for"
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            found["godot_rl_skipped"] = str(error)
        times: Times = alternate(contenders, rounds)
    added = [name for name in ("ferry_spin", "ferry", "godot_rl") if name in times]
    fast = {name: float(np.quantile(ns, 0.1)) / 1e3 for name, ns in times.items()}
    found["us"] = {name: float(np.median(ns)) / 1e3 for name, ns in times.items()}
    found["fast_us"] = fast
    found["steps_per_s"] = {name: 1e6 / us for name, us in found["us"].items()}
    found["share_us"] = {name: float(np.median(times[name] - times["own"])) / 1e3 for name in added}
    found["fast_share_us"] = {name: fast[name] - fast["own"] for name in added}
    found["load"] = os.getloadavg()[0]
    if "godot_rl" in times:
        found["speedup"] = found["us"]["godot_rl"] / found["us"]["ferry_spin"]
        found["share_ratio"] = found["share_us"]["godot_rl"] / max(found["share_us"]["ferry_spin"], LEAST_US)
    return found


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    if "skipped" in found:
        return str(found["skipped"])
    labels = {
        "own": "the engine alone, played by a script in it",
        "ferry_spin": "Ferry, FERRY_WAIT=spin",
        "ferry": "Ferry",
        "godot_rl": "godot-rl",
        "own_free": "the engine alone, on any processor",
        "ferry_free": "Ferry, both sides on any processor",
    }
    lines = [
        f"Godot {found['engine']}, engines/godot/example; load {found['load']:.1f}",
        f"{'':54}{'median':>20}{'fastest tenth':>20}",
        f"{'':44}{'steps/s':>10}{'us/step':>10}{'added us':>10}{'us/step':>10}{'added us':>10}",
    ]
    for name, label in labels.items():
        if name not in found["us"]:
            lines.append(f"{label:44}skipped: {found['godot_rl_skipped']}")
            continue
        line = f"{label:44}{found['steps_per_s'][name]:10,.0f}"
        for us, share in (("us", "share_us"), ("fast_us", "fast_share_us")):
            line += f"{found[us][name]:10.1f}" + (f"{found[share][name]:10.1f}" if name in found[share] else " " * 10)
        lines.append(line.rstrip())
    lines.append(f"Ferry adds {found['share_us']['ferry_spin']:.1f} us when spinning; the bar is {BAR_US:g}")
    if "share_ratio" in found:
        times, longer = found["share_ratio"], found["speedup"]
        lines.append(f"godot-rl adds {times:.0f} times as much (as {LEAST_US:g} us at least); the bar is {BAR_RATIO:g}")
        lines.append(f"godot-rl takes {longer:.1f} times as long as Ferry when spinning, the ticks included")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60, help="of alternating blocks (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="leave godot-rl out")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    found = measure(options.rounds, peers=not options.no_peers)
    print(json.dumps(found, indent=4) if options.json else table(found))


if __name__ == "__main__":
    main()
