"""Looking at a channel that others use, from a third process."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import gymnasium
from typing_extensions import Self

from ferry import _core, blobs, spaces
from ferry.adapter import effective_timeout
from ferry.errors import FerryTimeoutError, PeerGoneError, ProtocolError

__all__ = ["Observer", "Snapshot"]

_MOST_HZ = 30.0
"""So often an environment shows itself at most."""


@dataclass(frozen=True)
class Snapshot:
    """One turn with its answer, whole.

    In an environment with many rows all but `number`, `rows`, `time`, `finished` and `finished_return` are tuples with
    one element for each row.

    Attributes:
        observation: As its space has it; None if a part of it was too large for shared memory.
        action: What the agent did; None after a reset, and where a part of it has no field, or was too large for one.
        reward: What followed.
        terminated: Whether the episode ended by its rules.
        truncated: Whether it ended otherwise.
        info: What the environment said besides, as far as it fits into shared memory.
        number: Of the turn, counted from 1 on the channel; in real time of the frame, counted in its episode.
        episode: Resets so far, over all agents.
        episode_return: Sum of the rewards of the episode under way; None if it began before anybody observed.
        rows: Which rows the turn was about.
        time: When it was taken, in seconds by `time.monotonic`.
        finished: How many episodes have begun and ended while somebody observed.
        finished_return: The sum of their returns.
    """

    observation: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    info: Any
    number: int
    episode: Any
    episode_return: Any
    rows: tuple[int, ...]
    time: float
    finished: int
    finished_return: float


class Observer:
    """Looks at what an agent and an environment do, without taking part; neither of them notices.

    For environments that serve, in their process or another's language, while an agent is connected. The environment
    copies at most 30 turns a second for all observers; up to eight may look on. The constructor waits until there is
    something to observe, because only the environment knows its spaces.

    Example::

        with ferry.Observer("pole") as observer:
            for snapshot in observer:
                print(snapshot.number, snapshot.observation, snapshot.reward)

    Args:
        address: Where the environment serves: a name, or the path of a socket. None: FERRY_ADDRESS.
        timeout: Seconds to wait until there is something to see; None for ever. FERRY_TIMEOUT has the last word.
        max_bytes: Map no more than this, about four messages; None: 5 GiB.

    Attributes:
        observation_space: Of one row.
        action_space: Of one row.
        num_rows: How many environments are stepped together.
        name: What the environment calls itself, "" if it does not.
        address: As given.

    Raises:
        FerryTimeoutError: Nobody serves or plays there, or the environment is busy in its own code.
        AddressError: The address is another user's, or none.
        BusyError: Eight observers are there already.
        FerryError: An agent listens there; only environments that listen can be observed.
    """

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    num_rows: int
    name: str

    def __init__(
        self, address: str | None = None, *, timeout: float | None = 60.0, max_bytes: int | None = None
    ) -> None:
        self._timeout = effective_timeout(timeout)
        self.address = address
        self._core = _core.Observer(address, decode=blobs.decode, max_bytes=max_bytes or 0)
        self._fields: tuple[_core.Field, ...] | None = None
        try:
            self._attach(self._timeout)
        except BaseException:
            self._core.close()
            raise

    def snapshot(self, timeout: float | None = None) -> Snapshot:
        """Waits for a turn that is newer than the last one seen.

        Args:
            timeout: Seconds; None: as the observer has it.

        Raises:
            FerryTimeoutError: There was none; the agent or the environment takes its time, or has stopped.
            PeerGoneError: The agent or the environment is gone; the next call waits for others.
        """
        limit = self._timeout if timeout is None else timeout
        if self._fields is None:
            self._attach(limit)
        try:
            found = self._core.next(limit)
        except PeerGoneError:
            self._fields = None
            raise
        if found is None:
            raise FerryTimeoutError(f"{self._core.why}: nothing new in time; ferry top shows who has the turn")
        _kind, number, seconds, about, finished, finished_return, rows = found
        *columns, returns = zip(*rows, strict=True)
        known = tuple(None if math.isnan(each) else each for each in returns)
        values = [*columns, known] if self.num_rows > 1 else [column[0] for column in (*columns, known)]
        observation, action, reward, terminated, truncated, info, episode, episode_return = values
        return Snapshot(
            observation=observation,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            info=info,
            number=number,
            episode=episode,
            episode_return=episode_return,
            rows=tuple(about),
            time=seconds,
            finished=finished,
            finished_return=finished_return,
        )

    def watch(self, hz: float = _MOST_HZ) -> Iterator[Snapshot]:
        """Snapshots at a pace, until the agent or the environment is gone.

        Args:
            hz: So many a second at most.
        """
        if not hz > 0:
            raise ValueError(f"hz is {hz}; it is how many snapshots a second are wanted, above 0")
        while True:
            due = time.monotonic() + 1 / hz
            try:
                yield self.snapshot()
            except PeerGoneError:
                return
            time.sleep(max(0.0, due - time.monotonic()))

    def __iter__(self) -> Iterator[Snapshot]:
        return self.watch()

    def close(self) -> None:
        """Goes. May be called again."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Observer {self.address!r}>"

    def _attach(self, timeout: float | None) -> None:
        met = self._core.attach(timeout)
        if met is None:
            raise FerryTimeoutError(self._core.why)
        name, fields, about, num_rows = met
        try:
            told = blobs.decode(about[1], about[0]) if about is not None else {}
            described = spaces.described(told if isinstance(told, dict) else {})
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"what the environment {name!r} says of itself cannot be read: {error}") from error
        self.observation_space = spaces.compose(fields, _core.OBSERVATION, described.get("observation", {}))
        self.action_space = spaces.compose(fields, _core.ACTION, described.get("action", {}))
        self._core.bind(
            fields,
            spaces.template(fields, _core.OBSERVATION),
            spaces.template(fields, _core.ACTION),
            spaces.codecs(fields, self.observation_space, self.action_space),
        )
        self.name, self.num_rows, self._fields = name, num_rows, fields
