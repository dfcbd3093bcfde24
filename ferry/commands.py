"""What ``ferry ls``, ``info``, ``bench`` and ``doctor`` show: as tables on a terminal, as plain columns in a pipe."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import ferry
from ferry import _core, blobs, paths, spaces, survey

__all__ = ["bench", "check", "doctor", "info", "ls"]

# Seconds to wait for an environment that is asked what it is.
_PATIENCE = 5.0
_BENCH_STEPS, _BENCH_BLOCKS = 2000, 10


def ls(as_json: bool) -> int:
    """Lists who listens; removes names whose server died."""
    found = [seen for path in survey.names() if (seen := survey.visit(path)) is not None]
    if as_json:
        print(json.dumps([_told(seen, None, False) for seen in found], indent=2))
    elif found:
        _table(
            ["name", "state", "peer", "rows", "listens", "pid", "command"],
            [
                [
                    t["name"],
                    t["state"],
                    *(str(t.get(key, "")) for key in ("held_by", "rows", "listens", "pid", "command")),
                ]
                for t in (_told(seen, None, False) for seen in found)
            ],
        )
    else:
        print(f"ferry: nobody listens in {', '.join(map(str, survey.directories()))}", file=sys.stderr)
    return 0


def info(address: str, as_json: bool) -> int:
    """Tells what is known of an environment: its spaces, its channel, who holds it."""
    path = survey.path_of(address)
    seen = survey.visit(path)
    if seen is None:
        raise ferry.AddressError(f"nobody listens at {str(path)!r} any more; ferry ls lists who does")
    channel = survey.channel(path)
    seen_free = channel is None and seen.state == "free" and seen.side == "environment"
    if seen_free:
        channel = _asked(path)
    told = _told(seen, channel, seen_free)
    if as_json:
        print(json.dumps(told, indent=2, default=str))
    else:
        _describe(told)
    return 0


def _asked(path: Path) -> survey.Channel | None:
    """What an environment shows of itself while it has an agent: this one; None if it shows nothing in time."""
    deadline = time.monotonic() + _PATIENCE
    agent = _core.Agent(str(path), timeout=_PATIENCE, decode=blobs.decode, encode=blobs.encode)
    try:
        if not agent.connect(_PATIENCE):
            raise ferry.FerryTimeoutError(agent.why)
        # The environment shows it when it looks around next: a game, in its next tick.
        while (channel := survey.channel(path)) is None and time.monotonic() < deadline:
            time.sleep(0.001)
        return channel
    finally:
        agent.close()


def bench(as_json: bool) -> int:
    """Measures steps of the C pole through Ferry beside those of CartPole in process."""
    with ferry.launch([paths.pole()]) as through, gymnasium.make("CartPole-v1") as within:
        envs: dict[str, gymnasium.Env[Any, Any]] = {"C pole through Ferry": through, "CartPole-v1 in process": within}
        times: dict[str, list[float]] = {name: [] for name in envs}
        for block in range(1 + _BENCH_BLOCKS):  # the first warms up
            for name, env in envs.items():
                measured = _step_times(env, block)
                times[name] += measured if block else []
    rows: list[dict[str, Any]] = [
        {
            "what": name,
            "steps_per_second": round(1e9 / float(np.mean(each))),
            **{f"p{q}_us": round(float(np.percentile(each, q)) / 1e3, 2) for q in (50, 99)},
        }
        for name, each in times.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _table(
            ["", "steps a second", "p50, us", "p99, us"],
            [[row["what"], f"{row['steps_per_second']:,}", str(row["p50_us"]), str(row["p99_us"])] for row in rows],
        )
    return 0


def doctor(as_json: bool) -> int:
    """Examines this machine; 1 if something is bad."""
    from ferry.doctor import examine  # nothing else needs it

    found = list(examine())
    if as_json:
        print(json.dumps([each._asdict() for each in found], indent=2))
    else:
        _table(["", "verdict", "", "do"], [[each.what, each.verdict, each.detail, each.remedy] for each in found])
    return int(any(each.verdict == "bad" for each in found))


def check(address: str | None, command: list[str], timeout: float, as_json: bool) -> int:
    """Checks that an environment conforms; 1 if something fails."""
    from ferry.testing import Subject  # nothing else needs it
    from ferry.testing import check as run

    subject = Subject(address, attach=True, timeout=timeout) if address else Subject(command, timeout=timeout)
    results = []
    for result in run(subject):
        results.append(result)
        if not as_json:
            print(f"{result.verdict}  {result.name:17} {result.detail}", flush=True)
            if result.advice:
                print(f"      {'':17} -> {result.advice}", flush=True)
    failed = sum(result.verdict == "fail" for result in results)
    if as_json:
        print(json.dumps([result._asdict() for result in results], indent=2))
    else:
        print(f"{failed} of {len(results)} checks failed" if failed else f"all of {len(results)} checks are well")
    return int(failed > 0)


def _step_times(env: gymnasium.Env[Any, Any], seed: int) -> list[float]:
    """Nanoseconds of each step in a block; a reading of the clock is part of each."""
    env.reset(seed=seed)
    times = []
    for i in range(_BENCH_STEPS):
        start = time.perf_counter_ns()
        _, _, terminated, truncated, _ = env.step(i % 2)
        times.append(float(time.perf_counter_ns() - start))
        if terminated or truncated:
            env.reset()
    return times


# ---- What is known, as plain data ----


def _told(seen: survey.Visit, channel: survey.Channel | None, seen_free: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": seen.name,
        "path": seen.path,
        "state": seen.state,
        "listens": _listens(seen),
        "pid": seen.pid,
        "command": _command(seen.pid),
        "library": seen.version,
    }
    shown = _shown(Path(seen.path))
    if shown is not None:
        told["held_by"] = shown.agent.pid if shown.env.pid == seen.pid else shown.env.pid
        told["rows"] = shown.num_rows
    if channel is None:
        return told
    about = blobs.decode(channel.about[1], channel.about[0]) if channel.about is not None else {}
    about = about if isinstance(about, dict) else {}
    described = spaces.described(about)
    told["protocol"] = channel.protocol
    told["environment"] = channel.name
    told["rows"] = channel.num_rows
    for role, key in ((_core.OBSERVATION, "observation"), (_core.ACTION, "action")):
        told[f"{key}_space"] = _space(channel.fields, role, described.get(key, {}))
    told["metadata"] = about.get("metadata")
    told["spec"] = _spec(about.get("spec"))
    told["fields"] = [_field(field) for field in channel.fields]
    told["region_bytes"], told["blob_bytes"] = channel.region_bytes, channel.blob_bytes
    if not seen_free:
        told["turns"], told["resets"], told["turn_is_with"] = channel.turns, channel.episode, channel.holder
        told["agent"], told["env"] = vars(channel.agent), vars(channel.env)
    return told


def _space(fields: Sequence[_core.Field], role: int, described: spaces.Descriptions) -> str:
    try:
        return str(spaces.compose(fields, role, described))
    except ferry.ProtocolError as error:  # a class that only its owners know, say
        return f"? ({error})"


def _field(field: _core.Field) -> dict[str, Any]:
    return {
        "role": spaces.role_name(field),
        "path": field.path,
        "kind": spaces.kind_name(field),
        "dtype": _core.DTYPES[field.dtype],
        "shape": list(field.shape),
        "capacity": field.capacity or None,
    }


def _listens(seen: survey.Visit) -> str:
    """Which side; one that is held says so only by its region."""
    shown = _shown(Path(seen.path))
    return seen.side or ("?" if shown is None else "environment" if shown.env.pid == seen.pid else "agent")


def _shown(path: Path) -> survey.Channel | None:
    """The channel of a name, if it is in use and can be looked at."""
    try:
        return survey.channel(path)
    except ferry.ProtocolError:
        return None


def _spec(text: Any) -> Any:
    """What a person wants to know of a spec."""
    told = json.loads(text) if isinstance(text, str) else text
    wanted = ("id", "max_episode_steps", "reward_threshold")
    return {key: told[key] for key in wanted if told.get(key) is not None} if isinstance(told, dict) else None


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if len(words) > 1 and os.path.basename(words[0]).startswith("python") and os.path.basename(words[1]) == "ferry":
            words = ["ferry", *words[2:]]
        return " ".join(words).strip()
    except OSError:
        return ""


# ---- On the terminal, or in a pipe ----


def _describe(told: dict[str, Any]) -> None:
    fields = told.pop("fields", [])
    for side in ("agent", "env"):
        if side in told:
            counted = told[side]
            sleeping = "asleep now" if counted["asleep"] else "awake now"
            told[side] = f"pid {counted['pid']}, slept {counted['sleeps']:,} times, {sleeping}, " + (
                f"{counted['big_blobs']:,} blobs beyond the capacity"
            )
    _table(["", ""], [[key.replace("_", " "), _worded(value)] for key, value in told.items() if value])
    if fields:
        print()
        header = ["role", "path", "kind", "dtype", "shape", "capacity"]
        _table(header, [[_worded(field[column]) for column in header] for field in fields])


def _worded(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_worded(each)}" for key, each in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if value >= 100_000 else str(value)
    return "" if value is None else str(value)


def _table(header: list[str], rows: list[list[str]]) -> None:
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, show_header=any(header), header_style="bold", pad_edge=False)
        for column in header:
            table.add_column(column, style="cyan" if column == header[0] else None, overflow="fold")
        for row in rows:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows] if any(header) else rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
