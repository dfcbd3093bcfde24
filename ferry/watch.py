"""What ``ferry watch`` shows: a channel's numbers and returns, and what its agent sees where that is a picture."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ferry.errors import PeerGoneError
from ferry.observer import Observer, Snapshot

__all__ = ["Picture", "View", "image_of", "sparkline", "watch"]

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 60


def watch(address: str, key: str | None, hz: float, once: bool, timeout: float) -> int:
    """Shows a channel until it ends or Ctrl-C, or once.

    Args:
        address: Of the environment.
        key: Path in the observation of what to draw; None: the first picture there.
        hz: Pictures a second.
        once: Whether to show one snapshot and end.
        timeout: Seconds to wait until there is something to see.
    """
    if not hz > 0:
        raise ValueError(f"hz is {hz:g}; it is how many pictures a second are wanted, above 0")
    console = Console()
    with contextlib.suppress(KeyboardInterrupt), Observer(address, timeout=timeout) as observer:
        view = View(observer, key)
        if once:
            view.take(observer.snapshot())
            console.print(view.picture())
            return 0
        with contextlib.ExitStack() as undo:
            live = None
            if console.is_terminal:
                live = undo.enter_context(Live(console=console, auto_refresh=False, screen=True))
            for snapshot in _paced(observer, hz):
                view.take(snapshot)
                if live is not None:
                    live.update(view.picture(), refresh=True)
                else:
                    print(view.line(), flush=True)
        print(f"ferry: {observer!r}: the agent or the environment has gone", file=sys.stderr)
    return 0


def _paced(observer: Observer, hz: float) -> Iterator[Snapshot]:
    """Snapshots until the channel ends; a pause of the agent's, however long, is none."""
    while True:
        due = time.monotonic() + 1 / hz
        try:
            yield observer.snapshot(timeout=float("inf"))
        except PeerGoneError:
            return
        time.sleep(max(0.0, due - time.monotonic()))


class View:
    """What has been seen of a channel.

    Args:
        observer: Where the snapshots come from.
        key: As of `watch`.

    Raises:
        ValueError: The observation has no such part.
    """

    def __init__(self, observer: Observer, key: str | None) -> None:
        self._observer, self._key = observer, key
        self._snapshot: Snapshot | None = None
        self._returns: deque[float] = deque(maxlen=_SPARKS)  # the mean of those that ended between two snapshots
        self._rate = 0.0
        if key is not None:
            _part(observer.observation_space.sample(), key)

    def take(self, snapshot: Snapshot) -> None:
        """Takes a snapshot in."""
        before, self._snapshot = self._snapshot, snapshot
        if before is None or snapshot.number <= before.number:
            return
        rate = (snapshot.number - before.number) / max(snapshot.time - before.time, 1e-9)
        self._rate = rate if not self._rate else 0.9 * self._rate + 0.1 * rate
        if (ended := snapshot.finished - before.finished) > 0:
            self._returns.append((snapshot.finished_return - before.finished_return) / ended)

    def line(self) -> str:
        """The numbers in a line, for a pipe."""
        return "  ".join(f"{name} {value}" for name, value in self._numbers())

    def picture(self) -> RenderableType:
        """All of it, for a terminal."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="cyan")
        table.add_column(overflow="fold")
        for name, value in self._numbers():
            table.add_row(name, Text(value))
        parts: list[RenderableType] = [Text(self._observer.name or str(self._observer.address), style="bold"), table]
        if self._snapshot is not None:
            image = image_of(self._first(self._snapshot.observation), self._key)
            parts.append(Text(""))
            parts.append(Text("no picture in the observation", style="dim") if image is None else Picture(image))
        return Group(*parts)

    def _first(self, value: Any) -> Any:
        """Of the first row, where there are more."""
        return value if self._observer.num_rows == 1 else value[0]

    def _numbers(self) -> list[tuple[str, str]]:
        shot = self._snapshot
        if shot is None:
            return []
        so_far = self._first(shot.episode_return)
        ended = [word for word in ("terminated", "truncated") if self._first(getattr(shot, word))]
        rows = f", the first of {self._observer.num_rows} rows" if self._observer.num_rows > 1 else ""
        numbers = [
            ("turn", f"{shot.number:,}"),
            ("turns/s", f"{self._rate:,.0f}"),
            ("episode", f"{self._first(shot.episode):,}{rows}"),
            ("action", _short(self._first(shot.action))),
            ("reward", f"{self._first(shot.reward):g}{''.join(f', {word}' for word in ended)}"),
            ("return", "?" if so_far is None else f"{so_far:g}"),
        ]
        if shot.finished:
            mean = shot.finished_return / shot.finished
            numbers.append(("returns", f"{sparkline(self._returns)} {mean:g} on average of {shot.finished:,}".lstrip()))
        if info := self._first(shot.info):
            numbers.append(("info", _short(", ".join(f"{key}: {value}" for key, value in info.items()))))
        return numbers


def _short(value: Any) -> str:
    text = np.array2string(value, threshold=8) if isinstance(value, np.ndarray) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 70 else text[:67] + "..."


def sparkline(values: Sequence[float] | deque[float]) -> str:
    """Bars from the least value to the largest."""
    if not values:
        return ""
    least, most = min(values), max(values)
    scale = (len(_BARS) - 1) / (most - least) if most > least else 0.0
    return "".join(_BARS[int((value - least) * scale + 0.5)] for value in values)


# ---- Pictures ----


def image_of(observation: Any, key: str | None) -> NDArray[np.uint8] | None:
    """A picture of shape (height, width, 3), if the observation, or its part of a path, is or has one."""
    if key is not None:
        found = _as_image(_part(observation, key))
        if found is None:
            raise ValueError(f"{key!r} is no picture: a uint8 array of height, width, and colours or stacked frames")
        return found
    for leaf in _leaves(observation):
        if (image := _as_image(leaf)) is not None:
            return image
    return None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _part(observation: Any, key: str) -> Any:
    for name in key.split("/"):
        if not isinstance(observation, dict) or name not in observation:
            has = ", ".join(map(repr, observation)) if isinstance(observation, dict) else "no keys"
            raise ValueError(f"the observation has no part {key!r}; it has {has}")
        observation = observation[name]
    return observation


def _as_image(value: Any) -> NDArray[np.uint8] | None:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim not in (2, 3):
        return None
    if value.ndim == 2:
        value = value[:, :, None]
    height, width, colours = value.shape
    if min(height, width) < 4 or colours < 1:
        return None
    # Stacked frames: the last one is the newest.
    shown = value[:, :, :3] if colours == 3 else value[:, :, -1:]
    return np.broadcast_to(shown, (height, width, 3))


class Picture:
    """An image in a terminal: each character is an upper half with one colour on a lower half with another.

    Args:
        image: Of shape (height, width, 3), uint8.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self._image = image

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height, width, _ = self._image.shape
        # Numbers stand above: a dozen lines.
        most = max(8, 2 * ((options.height or console.height) - 12))
        scale = min(1.0, options.max_width / width, most / height)
        rows = (np.arange(max(2, int(height * scale) // 2 * 2)) / scale).astype(int).clip(max=height - 1)
        columns = (np.arange(max(1, int(width * scale))) / scale).astype(int).clip(max=width - 1)
        pixels = self._image[rows][:, columns].tolist()
        for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
            for (above, below), same in groupby(zip(upper, lower, strict=True)):
                style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
                yield Segment("▀" * len(list(same)), style)
            yield Segment.line()
