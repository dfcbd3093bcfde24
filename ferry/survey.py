"""Who is there, and what they do: looked at from outside, without taking part.

Names are found in the directories of docs/protocol.md. A visit reads the greeting of whoever listens and goes; a look
maps the region of a channel for reading. Nobody is disturbed, and all that is read is checked before it is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import re
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ferry import _core
from ferry.errors import AddressError, ProtocolError

__all__ = [
    "Channel",
    "Lookout",
    "Pulse",
    "Sample",
    "Side",
    "Visit",
    "channel",
    "directories",
    "flaw",
    "is_shown",
    "names",
    "path_of",
    "shown_by",
    "visit",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
# Seconds within which a side that waits for its peer greets a visitor; one that is busy in its own code does not.
_PATIENCE = 0.25

_FRAME = struct.Struct("=IHHII")
_REALTIME = 1 << 5  # a feature
_HELLO = struct.Struct("=8sIHHQIIiIQI12x")
_MAGIC, _GREETING, _REFUSAL = 0x59525246, 1, 4
_SIDES = {1: "environment", 2: "agent"}


@dataclass(frozen=True)
class Visit:
    """What a visit to a name found.

    Attributes:
        name: The name, or the path.
        path: Of the socket.
        pid: The process that listens.
        side: "environment" or "agent", whichever listens; "" if it did not greet.
        version: Of its library: "1.2.3"; "" if it did not greet.
        state: "free": it waits for a peer; "held": it has one; "busy": it did not greet, being in code of its own.
        text: What it said in refusal, naming the holder.
    """

    name: str
    path: str
    pid: int
    side: str = ""
    version: str = ""
    state: str = "busy"
    text: str = ""


@dataclass(frozen=True)
class Side:
    """One side of a channel.

    Attributes:
        pid: Its process.
        sleeps: How often it slept while it waited.
        big_blobs: Blobs that did not fit into shared memory, and went by descriptor.
        asleep: Whether it sleeps now.
    """

    pid: int
    sleeps: int
    big_blobs: int
    asleep: bool


@dataclass(frozen=True)
class Channel:
    """A channel that is in use.

    Attributes:
        env: The environment's side.
        agent: The agent's side.
        turns: Turns so far, steps, resets and calls; in real time frames too.
        num_rows: How many environments are stepped together.
        episode: Resets so far, of all rows, over all of the environment's agents.
        holder: Who has to act: "agent" or "environment"; "nobody" in real time.
        region_bytes: Of shared memory.
        blob_bytes: Room for a blob there.
        protocol: Version of it: "1.1".
        name: What the environment calls itself.
        fields: Its field table.
        about: What else it says of itself: (format, bytes) or None.
    """

    env: Side
    agent: Side
    turns: int
    num_rows: int
    episode: int
    holder: str
    region_bytes: int
    blob_bytes: int
    protocol: str
    name: str
    fields: tuple[_core.Field, ...]
    about: tuple[int, bytes] | None


class Sample(NamedTuple):
    """A turn that a side timed, on the monotonic clock, in nanoseconds.

    Attributes:
        number: Low word of the turn's number; the same turn has the same number on both sides.
        times: Env: it took the turn, it answered. Agent: it sent the turn, it took the answer.
        thought: Agent: how long it took, lately, from an answer to its next turn; 0 if that is unknown.
    """

    number: int
    times: tuple[int, int]
    thought: int


class Pulse(NamedTuple):
    """What moves in a channel, at one moment.

    Attributes:
        turns: So far; in real time frames too.
        holder: Who has to act: "agent" or "environment"; "nobody" in real time.
        since_ns: Since when, on the monotonic clock; None if the other side does not wait for it yet, or nobody has to.
        asleep: Whether that other side sleeps while it waits.
        env: The turn that the environment timed last; None before the first.
        agent: The turn that the agent timed last.
    """

    turns: int
    holder: str
    since_ns: int | None
    asleep: bool
    env: Sample | None
    agent: Sample | None


def directories() -> list[Path]:
    """Where names live, best first."""
    own = os.environ.get("FERRY_RUNTIME_DIR")
    if own:
        return [Path(own)]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    found = [Path(runtime) / "ferry"] if runtime else []
    return [*found, Path(f"/tmp/ferry-{os.geteuid()}")]


def flaw(directory: Path) -> str:
    """Why names cannot live there: it is not this user's alone; "" if it is."""
    found = directory.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid == os.geteuid():
        found = directory.stat()
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}"
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory"
    return "is open to others" if found.st_mode & 0o077 else ""


def names() -> list[Path]:
    """The sockets in these directories that belong to this user, dead ones among them."""
    found: list[Path] = []
    for directory in directories():
        try:
            if flaw(directory):
                continue
            entries = sorted(directory.iterdir())
        except OSError:
            continue
        found += [path for path in entries if _NAME.fullmatch(path.name) and _is_own(path, stat.S_ISSOCK)]
    return found


def path_of(address: str) -> Path:
    """The socket of an address.

    Raises:
        AddressError: There is none of that name, or something else is at the path, or a socket of another user.
    """
    if address.startswith("/"):
        try:
            found = os.stat(address)
        except FileNotFoundError:
            return Path(address)
        except OSError as error:
            raise AddressError(f"{address!r} cannot be connected to: {error.strerror}") from None
        if not stat.S_ISSOCK(found.st_mode):
            raise AddressError(f"{address!r} is not a socket; give the path of one, or a name that ferry ls lists")
        if found.st_uid != os.geteuid():
            raise AddressError(f"{address!r} belongs to user {found.st_uid}, not to you ({os.geteuid()})")
        return Path(address)
    for path in names():
        if path.name == address:
            return path
    live = ", ".join(repr(path.name) for path in names()) or "none"
    where = ", ".join(map(str, directories()))
    raise AddressError(f"nobody has the name {address!r}; searched: {where}; names there: {live}")


def _is_own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return is_kind(found.st_mode) and found.st_uid == os.geteuid()


# ---- Visits ----


def visit(path: Path) -> Visit | None:
    """Reads the greeting of whoever listens at a socket; None if nobody does: then the dead name is removed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(_PATIENCE)
        try:
            stream.connect(str(path))
        except ConnectionRefusedError:
            _bury(path)
            return None
        except FileNotFoundError:
            return None
        except OSError:  # its queue is full of visitors
            return Visit(path.name, str(path), 0)
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_WR)  # who listens need not wait for a greeting
        (pid,) = struct.unpack("=i8x", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            kind, payload = _frame(stream)
        except (OSError, ValueError):
            return Visit(path.name, str(path), pid)
    if kind == _GREETING and len(payload) == _HELLO.size and payload.startswith(b"FERRYhi\n"):
        *_, side, _pid, _index, _autoreset, _most, version = _HELLO.unpack(payload)
        text = f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}"
        return Visit(path.name, str(path), pid, _SIDES.get(side, ""), text, "free")
    if kind == _REFUSAL and len(payload) >= 8:
        return Visit(path.name, str(path), pid, state="held", text=payload[8:].decode(errors="replace"))
    return Visit(path.name, str(path), pid)


def _bury(path: Path) -> None:
    """Removes a name whose server died, unless somebody takes it meanwhile, or holds the directory's lock.

    Nothing but a socket of one's own is a dead name: any other file, too, refuses connections.
    """
    with contextlib.suppress(OSError), contextlib.ExitStack() as undo:  # it has gone, or is not ours to remove
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, directory)
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stream = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        stream.setblocking(False)
        try:
            stream.connect(str(path))
        except ConnectionRefusedError:
            if _is_own(path, stat.S_ISSOCK):
                path.unlink()
                if is_shown(path):
                    _shown(path).unlink()


def _frame(stream: socket.socket) -> tuple[int, bytes]:
    magic, kind, _, size_bytes, _ = _FRAME.unpack(_exactly(stream, _FRAME.size))
    if magic != _MAGIC or size_bytes > 2048:
        raise ValueError("not a frame")
    return kind, _exactly(stream, size_bytes)


def _exactly(stream: socket.socket, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        part = stream.recv(size_bytes - len(data))
        if not part:
            raise ValueError("cut short")
        data += part
    return data


# ---- Looks ----


def _shown(path: Path) -> Path:
    """The link to the region of a channel."""
    return path.parent / f".{path.name}.map"


def is_shown(path: Path) -> bool:
    """Whether the socket's channel is in use and can be looked at. Beside a path anybody may have put a link."""
    return _is_own(_shown(path), stat.S_ISLNK)


def shown_by(path: Path) -> int | None:
    """The process that listens at a socket, if its channel is in use and can be looked at."""
    with contextlib.suppress(OSError):
        if is_shown(path) and (found := re.fullmatch(r"/proc/(\d+)/fd/\d+", os.readlink(_shown(path)))):
            return int(found[1])
    return None


def channel(path: Path) -> Channel | None:
    """What the region of the channel at a socket says now; None if it has no peer, or cannot be looked at.

    Raises:
        ProtocolError: The region is not one of this version.
    """
    region = _region(path)
    if region is None:
        return None
    with region, _damage(path):
        return _read_region(region)


class Lookout:
    """A channel that is looked at again and again.

    Args:
        path: Its socket.

    Raises:
        ProtocolError: The region is not one of this version.
        OSError: It is not in use, or cannot be looked at.
    """

    def __init__(self, path: Path) -> None:
        region = _region(path)
        if region is None:
            raise FileNotFoundError(str(path))
        self._path, self._region = path, region
        try:
            with _damage(path):
                self.channel = _read_region(region)
                self._places = _places(region)
                self._identity = os.readlink(_shown(path)), os.stat(_shown(path)).st_ino
                self.pulse()
        except BaseException:
            region.close()
            raise

    def pulse(self) -> Pulse:
        """What it does now; a few microseconds, and nobody notices."""
        with _damage(self._path):
            return _read_pulse(self._region, self._places)

    def stands(self) -> bool:
        """Whether the channel is still that of the same two processes."""
        try:
            return (os.readlink(_shown(self._path)), os.stat(_shown(self._path)).st_ino) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        """Unmaps the region."""
        self._region.close()


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Raises the one error for whatever does not fit."""
    try:
        yield
    except (struct.error, ValueError, OverflowError) as error:
        raise ProtocolError(f"the region of {path.name!r} is damaged: {error}") from None


def _region(path: Path) -> mmap.mmap | None:
    if not is_shown(path):
        return None
    try:
        # A link that outlived its process may lead anywhere: to a pipe, say, which is not to be waited for.
        memory = os.open(_shown(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not _keeps_its_size(memory):
            raise ProtocolError("the region is not Ferry's, or of another version")
        return mmap.mmap(memory, os.fstat(memory).st_size, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return None
    finally:
        os.close(memory)


def _keeps_its_size(memory: int) -> bool:
    """Whether it is memory whose size is sealed: that of anything else may change while it is read, which kills."""
    try:
        return bool(fcntl.fcntl(memory, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:
        return False


def _read_region(region: mmap.mmap) -> Channel:
    magic, endian, major, minor = struct.unpack_from("=8sIHH", region, 0)
    if magic != b"FERRYmap" or endian != 0x01020304 or major != 1:
        raise ProtocolError("the region is not Ferry's, or of another version")
    places = _places(region)
    (groups,) = struct.unpack_from("=Q", region, 64)
    (blob_bytes,) = struct.unpack_from("=Q", region, 168)
    (num_rows,) = struct.unpack_from("=I", region, groups)
    (episode_offset,) = struct.unpack_from("=Q", region, groups + 48)
    pulse = _read_pulse(region, places)
    episodes = [np.frombuffer(_bytes(region, slot + episode_offset, 8 * num_rows), "u8") for slot in places.answers]
    name, name_bytes, about, about_bytes, about_format = struct.unpack_from("=5I", region, 184)
    (pool,) = struct.unpack_from("=Q", region, 80)
    return Channel(
        name=_bytes(region, pool + name, name_bytes).decode(),
        fields=_fields(region, pool),
        about=(about_format, _bytes(region, pool + about, about_bytes)) if about_format else None,
        env=_side(region, places.env_line),
        agent=_side(region, places.agent_line),
        turns=pulse.turns,
        num_rows=num_rows,
        episode=max(int(column.sum()) for column in episodes),
        holder=pulse.holder,
        region_bytes=len(region),
        blob_bytes=blob_bytes,
        protocol=f"{major}.{minor}",
    )


class _Places(NamedTuple):
    """Where in a region that lies which changes."""

    agent_line: int
    env_line: int
    request: int
    answers: tuple[int, int]
    is_realtime: bool


def _places(region: mmap.mmap) -> _Places:
    agent_line, env_line = struct.unpack_from("=Q8xQ", region, 96)
    request, first, second = struct.unpack_from("=QQQ", region, 128)
    (features,) = struct.unpack_from("=Q", region, 24)
    return _Places(agent_line, env_line, request, (first, second), bool(features & _REALTIME))


def _read_pulse(region: mmap.mmap, places: _Places) -> Pulse:
    answered = [struct.unpack_from("=I", region, slot)[0] for slot in places.answers]
    # Sequence words wrap; the head says the number in full.
    asked, turns = struct.unpack_from("=I4xQ", region, places.request)
    holder = "agent" if asked in answered else "environment"
    waits, awaited = (places.env_line, (asked + 1) % 2**32) if holder == "agent" else (places.agent_line, asked)
    since_ns, waits_for = struct.unpack_from("=QI", region, waits + 96)
    (parked,) = struct.unpack_from("=I", region, waits)
    if places.is_realtime:
        (frames,) = struct.unpack_from("=Q", region, places.env_line + 112)
        turns, holder, waits_for = turns + frames, "nobody", None
    return Pulse(
        turns=turns,
        holder=holder,
        since_ns=since_ns if waits_for == awaited and since_ns else None,
        asleep=parked != 0,
        env=_sample(region, places.env_line),
        agent=_sample(region, places.agent_line),
    )


def _sample(region: mmap.mmap, line: int) -> Sample | None:
    """The turn that a side timed last, by its line; None while it is written: two numbers, or times out of order."""
    (done,) = struct.unpack_from("=I", region, line + 68)
    first, second, thought = struct.unpack_from("=QQQ", region, line + 72)
    (begun,) = struct.unpack_from("=I", region, line + 64)
    return Sample(done, (first, second), thought) if done == begun and 0 < first <= second else None


def _fields(region: mmap.mmap, pool: int) -> tuple[_core.Field, ...]:
    field_bytes, _groups, count = struct.unpack_from("=III", region, 48)
    (table,) = struct.unpack_from("=Q", region, 72)
    if count > 4096 or field_bytes < 128:
        raise ValueError(f"{count} fields of {field_bytes} bytes")
    return tuple(_field(region, table + i * field_bytes, pool) for i in range(count))


def _field(region: mmap.mmap, at: int, pool: int) -> _core.Field:
    path, path_bytes, role, kind, dtype, ndim, bounds = struct.unpack_from("=IHBBBBB", region, at)
    shape = struct.unpack_from("=8I", region, at + 12)[:ndim]
    (capacity,) = struct.unpack_from("=I", region, at + 44)
    low, high = struct.unpack_from("=QQ", region, at + 80)
    if dtype not in _core.DTYPES or ndim > 8:
        raise ValueError(f"a field of the dtype {dtype} with {ndim} dimensions")
    found = _core.Field(_bytes(region, pool + path, path_bytes).decode(), role, kind, dtype, shape, capacity=capacity)
    number = np.dtype(_core.DTYPES[dtype])
    if bounds == 1:
        least, most = (np.frombuffer(_bytes(region, pool + at, number.itemsize), number)[0] for at in (low, high))
        if kind == _core.DISCRETE:
            return found._replace(start=int(least), n=int(most) - int(least) + 1)
        return found._replace(low=float(least), high=float(most))
    if bounds == 2:
        size_bytes = number.itemsize * math.prod(shape)
        each = [_bytes(region, pool + at, size_bytes) for at in (low, high)]
        return found._replace(low_each=each[0], high_each=each[1])
    return found


def _bytes(region: mmap.mmap, at: int, size_bytes: int) -> bytes:
    if at + size_bytes > len(region):
        raise ValueError("what should lie inside the region does not")
    return region[at : at + size_bytes]


def _side(region: mmap.mmap, line: int) -> Side:
    parked, _left, sleeps, big_blobs, _stamp, _processor, pid = struct.unpack_from("=IIQQQII", region, line)
    return Side(pid, sleeps, big_blobs, parked != 0)
