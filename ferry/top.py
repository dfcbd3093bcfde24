"""What ``ferry top`` shows: what this user's channels do, by their maps alone, so that it works when they hang."""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ferry import _core, spaces, survey
from ferry.errors import ProtocolError

__all__ = ["Watch", "picture", "plain", "seen", "survey_all", "top"]

# Seconds between two looks at a channel. A look takes microseconds, and brings at most one timed turn of each side.
_PAUSE = 0.02
# Timed turns that quantiles are taken of, and seconds over which a rate is.
_KEPT, _RATE_SPAN = 1024, 2.0
_PARTS = ("env", "agent", "ferry")


def top(interval: float, once: bool, as_json: bool) -> int:
    """Shows the channels until q or Ctrl-C, or once.

    Args:
        interval: Seconds between two pictures; with once, seconds to look before the only one.
        once: Whether to end after the first picture.
        as_json: Whether to print each picture as a line of JSON.
    """
    if not interval > 0:
        raise ValueError(f"interval is {interval:g}; it is a number of seconds above 0")
    watches: dict[Path, Watch] = {}
    console = Console()
    try:
        with contextlib.ExitStack() as undo:
            shown = None
            if not (once or as_json) and console.is_terminal:
                shown = undo.enter_context(Live(console=console, auto_refresh=False, screen=True))
            stop = undo.enter_context(_keys())
            while True:
                ended = _look(watches, interval, stop)
                told = survey_all(watches)
                if as_json:
                    print(json.dumps(told), flush=True)
                elif shown is not None:
                    shown.update(picture(told), refresh=True)
                elif console.is_terminal:
                    console.print(picture(told))
                else:
                    print("\n".join(plain(told)), flush=True)
                if once or ended:
                    return 0
    except KeyboardInterrupt:
        return 0
    finally:
        for watch in watches.values():
            watch.close()


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Standard input, if somebody can press a key there; it says so without Enter meanwhile."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield None
        return
    import termios  # not on every system
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _look(watches: dict[Path, Watch], seconds: float, keys: int | None) -> bool:
    """Looks at every channel for so long, again and again; whether q was pressed meanwhile."""
    deadline = time.monotonic() + seconds
    _refresh(watches)
    while (left := deadline - time.monotonic()) > 0:
        for watch in watches.values():
            watch.look()
        pause = min(left, _PAUSE)
        if keys is None:
            time.sleep(pause)
        elif select.select([keys], [], [], pause)[0] and os.read(keys, 64).lower().startswith(b"q"):
            return True
    for watch in watches.values():
        watch.look()
    return False


def _refresh(watches: dict[Path, Watch]) -> None:
    """Takes in channels that have come, and drops those that have gone."""
    names = survey.names()
    for path in [path for path, watch in watches.items() if path not in names or not watch.stands()]:
        watches.pop(path).close()
    for path in names:
        if path not in watches:
            watches[path] = Watch(path)


class Watch:
    """What has been seen of one name.

    Args:
        path: Its socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._lookout: survey.Lookout | None = None
        self._times: dict[str, deque[float]] = {part: deque(maxlen=_KEPT) for part in _PARTS}
        # Of turns that both sides timed: where their time went, and the whole of it.
        self._shares: deque[tuple[float, float, float]] = deque(maxlen=_KEPT)
        self._marks: deque[tuple[float, int]] = deque()
        self._seen: dict[str, survey.Sample | None] = {"env": None, "agent": None, "both": None}
        self._turn = (-1, "", 0)  # turns, who has to act, when that was first seen
        self._pulse: survey.Pulse | None = None
        self._seen_ns = 0
        self._open()

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            try:
                self._lookout = survey.Lookout(self.path)
            except ProtocolError as error:
                self.trouble = str(error)

    def stands(self) -> bool:
        """Whether what was opened is still there; a name without a channel is opened again each time."""
        return self._lookout is not None and self._lookout.stands()

    def close(self) -> None:
        """Ends the watch."""
        if self._lookout is not None:
            self._lookout.close()

    def look(self) -> None:
        """Takes one sample."""
        if self._lookout is None:
            return
        try:
            pulse = self._lookout.pulse()
        except ProtocolError as error:
            self.trouble = str(error)
            return
        now = time.monotonic_ns()
        self._pulse, self._seen_ns = pulse, now
        if self._turn[:2] != (pulse.turns, pulse.holder):
            self._turn = (pulse.turns, pulse.holder, now)
        self._marks.append((now * 1e-9, pulse.turns))
        while self._marks[0][0] < now * 1e-9 - _RATE_SPAN:
            self._marks.popleft()
        self._take(pulse)

    def _take(self, pulse: survey.Pulse) -> None:
        env, agent = pulse.env, pulse.agent
        if env is not None and env != self._seen["env"]:
            self._times["env"].append(env.times[1] - env.times[0])
        if agent is not None and agent.thought and agent != self._seen["agent"]:
            self._times["agent"].append(agent.thought)
        if env is not None and agent is not None and env.number == agent.number and agent != self._seen["both"]:
            sent, received = agent.times
            taken, answered = env.times
            if sent <= taken and answered <= received:
                self._seen["both"] = agent
                between = (taken - sent) + (received - answered)
                self._times["ferry"].append(between)
                if agent.thought:
                    self._shares.append((answered - taken, agent.thought, between))
        self._seen["env"], self._seen["agent"] = env, agent

    def told(self) -> dict[str, Any]:
        """What is known, as plain data; see docs/architecture.md for what the numbers mean."""
        told: dict[str, Any] = {"name": self.path.name, "path": str(self.path)}
        lookout, pulse = self._lookout, self._pulse
        if lookout is None or pulse is None:
            told["state"] = "damaged" if self.trouble else "unseen"
            told["text"] = self.trouble or "no peer is connected, or it is not shown"
            return told
        channel = lookout.channel
        since = self._turn[2] if pulse.since_ns is None else pulse.since_ns
        waiter = "sleeps" if pulse.asleep else "is awake"
        told |= {
            "state": "damaged" if self.trouble else "live",
            "text": self.trouble,
            "environment": channel.name,
            "paradigm": self._paradigm(),
            "spec": _brief(channel.fields),
            "rows": channel.num_rows,
            "turns": pulse.turns,
            "steps_per_second": round(self._rate() * channel.num_rows, 1),
            "turn_is_with": pulse.holder,
            "held_s": round(max(self._seen_ns - since, 0) * 1e-9, 6),
            "peer": waiter,
            "share": _shares(self._shares),
            "times_us": {part: _quantiles(self._times[part]) for part in _PARTS},
            "env": {"pid": channel.env.pid, "process": _process_state(channel.env.pid)},
            "agent": {"pid": channel.agent.pid, "process": _process_state(channel.agent.pid)},
        }
        return told

    def _paradigm(self) -> str:
        listener = survey.shown_by(self.path)
        env = self._lookout.channel.env.pid if self._lookout is not None else None
        return "ServerBackend + ClientEnv" if listener == env else "ServerEnv + ClientBackend"

    def _rate(self) -> float:
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if end > start else 0.0


def seen(seconds: float) -> list[dict[str, Any]]:
    """What the channels do, after looking at them for so long."""
    watches: dict[Path, Watch] = {}
    try:
        _look(watches, seconds, None)
        return survey_all(watches)
    finally:
        for watch in watches.values():
            watch.close()


def survey_all(watches: dict[Path, Watch]) -> list[dict[str, Any]]:
    """What is known of all, in the order of their names."""
    return [watches[path].told() for path in sorted(watches)]


def _shares(seen: Sequence[tuple[float, float, float]]) -> dict[str, float] | None:
    whole = sum(map(sum, seen))
    if not whole:
        return None
    return {part: round(sum(column) / whole, 4) for part, column in zip(_PARTS, zip(*seen, strict=True), strict=True)}


def _quantiles(times: Sequence[float]) -> dict[str, float] | None:
    if not times:
        return None
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
    return {"p50": round(cuts[49] / 1e3, 2), "p99": round(cuts[98] / 1e3, 2), "turns": len(times)}


def _brief(fields: Sequence[_core.Field]) -> str:
    """A spec in a few letters: f32[4] -> Discrete(2)."""
    return " -> ".join(_brief_of([f for f in fields if f.role == role]) for role in (_core.OBSERVATION, _core.ACTION))


def _brief_of(fields: Sequence[_core.Field]) -> str:
    if len(fields) != 1:
        return f"{len(fields)} fields"
    (field,) = fields
    if field.kind == _core.DISCRETE:
        return f"Discrete({field.n})"
    if field.kind == _core.BOX and not field.capacity:
        number = _core.DTYPES[field.dtype].replace("float", "f").replace("uint", "u").replace("int", "i")
        return f"{number}[{','.join(map(str, field.shape))}]"
    return spaces.kind_name(field)


def _process_state(pid: int) -> str:
    """What the system says of a process: "runs", "sleeps", "stopped", "gone"."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
    return {"R": "runs", "T": "stopped", "t": "stopped", "Z": "gone", "X": "gone"}.get(letter, "sleeps")


# ---- Pictures ----


_HEADER = ("name", "environment", "steps/s", "turn with", "for", "peer", "env", "agent", "ferry", "pids")


def _cells(told: dict[str, Any]) -> list[str]:
    if "turns" not in told:
        return [told["name"], told["text"], *[""] * (len(_HEADER) - 2)]
    share = told["share"] or {}
    parts = []
    for part in _PARTS:
        times = told["times_us"][part]
        percent = f"{100 * share[part]:3.0f}%" if share else "   ?"
        parts.append(f"{percent} {_short(times['p50'])} {_short(times['p99'])}" if times else "")
    env, agent = (
        f"{side} {told[side]['pid']}" + (f" {state}" if (state := told[side]["process"]) in ("gone", "stopped") else "")
        for side in ("env", "agent")
    )
    first, second = (env, agent) if told["paradigm"].startswith("ServerBackend") else (agent, env)
    rows = f", {told['rows']} rows" if told["rows"] > 1 else ""
    return [
        told["name"],
        (f"{told['environment']}: " if told["environment"] else "") + told["spec"] + rows,
        f"{told['steps_per_second']:,.0f}",
        told["turn_is_with"],
        _short(told["held_s"] * 1e6),
        told["peer"],
        *parts,
        f"{first} <- {second}",
    ]


def _short(us: float) -> str:
    """Microseconds with a unit that leaves few digits."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{us / size:.3g}{unit}" if us < 1000 * size else f"{us / size:.0f}{unit}"
    return f"{us:.3g}us"


def plain(told: list[dict[str, Any]]) -> list[str]:
    """Lines for a pipe."""
    if not told:
        return [f"nobody listens in {', '.join(map(str, survey.directories()))}"]
    rows = [list(_HEADER), *map(_cells, told)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def picture(told: list[dict[str, Any]]) -> RenderableType:
    """A table for a terminal."""
    if not told:
        return Text(plain(told)[0])
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in _HEADER:
        table.add_column(column, style="cyan" if column == "name" else None, overflow="fold")
    for each in told:
        # Whoever holds the turn for a second or more is what one is looking for.
        late = each.get("held_s", 0.0) >= 1.0
        cells = [Text(cell) for cell in _cells(each)]
        if late:
            cells[3].stylize("bold red")
            cells[4].stylize("bold red")
        table.add_row(*cells)
    legend = (
        "env, agent, ferry: share of the time, then p50 and p99 of a turn's part. steps/s: turns times rows. q ends."
    )
    return Group(table, Text(legend, style="dim"))
