"""A proxy between the two sides of a channel that is late, silent, gone or wrong on purpose.

It is an agent to the environment and an environment to the agent, and passes on what either says, but for the faults
that were asked for. Which turns they befall depends on the seed and the turn's number alone, so that a run with faults
can be had again.
"""

from __future__ import annotations

import collections
import contextlib
import difflib
import json
import logging
import math
import os
import re
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

import ferry
from ferry import _core, blobs
from ferry.adapter import effective_timeout
from ferry.engine import INHERITS, Engine
from ferry.errors import BusyError, FerryError, FerryTimeoutError, PeerGoneError

__all__ = ["ChaosProxy", "Fault", "FaultName"]

logger = logging.getLogger("ferry")

FaultName: TypeAlias = Literal["delay", "stall", "drop", "fail", "nan", "outside", "reward"]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)

# What stands in the place of a reward.
_REWARDS = (math.nan, math.inf, -math.inf, 1e30, -1e30)

# Seconds between two looks at what nobody announces: a signal, the other side, the process that has started this one.
_SLICE, _NAP = 0.01, 0.005

# Faults that are remembered one by one; all are counted.
_REMEMBERED = 10_000

# Seconds that the proxy's process may take to say what it has done.
_PATIENCE = 30.0


class Fault(NamedTuple):
    """What was done to a turn.

    Attributes:
        turn: Its number.
        name: Of the fault.
        kind: "step" or "reset".
        row: Of the environment whose part of the answer was changed; None: the whole turn was concerned.
        detail: What was changed, and into what; "" where the name says all.
    """

    turn: int
    name: FaultName
    kind: Literal["step", "reset"]
    row: int | None
    detail: str


class ChaosProxy:
    """A process between an environment and its agent that does to chosen turns what a bad environment would do.

    What it leaves alone passes unchanged, value for value: spaces, seeds, options, actions, observations, rewards,
    flags, infos, calls, frames, exceptions, and any number of rows. A turn is a step or a reset; turns are numbered
    from 0 over the proxy's whole life, so that in the first episode turn 5 is the fifth step. Calls and renders are no
    turns. The faults:

    ========= ==========================================================================================================
    "delay"   The turn takes `delay_s` longer.
    "stall"   It is not answered for `stall_s`, by default never: the agent has FerryTimeoutError after its `timeout`.
    "drop"    The connection ends: the agent has PeerGoneError. The proxy is there again at once.
    "fail"    The environment seems to have raised: BackendError, whose `remote_type` is "ChaosError".
    "nan"     One number of the observation is NaN.
    "outside" One number of the observation lies outside its space.
    "reward"  The reward is NaN, an infinity, 1e30 or -1e30. Not of resets, which have none.
    ========= ==========================================================================================================

    The environment never sees a turn that is dropped or fails; the next that it sees is the agent's reset. Where there
    are several rows, one of them has the wrong number. The environment leaves when the agent does, and is met again for
    the next one. It plays in turns: environments in real time are refused.

    Args:
        env_address: Where the environment is met: it serves there; or, as "serve:NAME", it connects.
        address: Where the agent is met: it connects there; or, as "connect:NAME", it listens.
        seed: Of chance, 0 or more. Equal seeds do equal things to equal turns.
        share: By name of the fault, the share of turns that it befalls by chance, 0 to 1.
        at: By number of the turn, the fault that befalls it, or several.
        delay_s: Seconds of a "delay".
        stall_s: Seconds of a "stall"; None: until the agent leaves.
        timeout: Seconds that `start` waits for an environment that serves; None for ever. FERRY_TIMEOUT takes
            precedence.

    Raises:
        ValueError: An argument has a value that it may not have.
        TypeError: Or is of another type.

    Example::

        with ChaosProxy("pole", "bad-pole", seed=1, share={"delay": 0.1, "nan": 0.001}, at={300: "drop"}) as proxy:
            train(ferry.launch(address="bad-pole", on_crash="restart"))
            assert proxy.counts["drop"] == 1
    """

    def __init__(
        self,
        env_address: str,
        address: str,
        *,
        seed: int = 0,
        share: Mapping[FaultName, float] | None = None,
        at: Mapping[int, FaultName | Iterable[FaultName]] | None = None,
        delay_s: float = 0.05,
        stall_s: float | None = None,
        timeout: float | None = 60.0,
    ) -> None:
        for each in (env_address, address):
            if not isinstance(each, str):
                raise TypeError(f"an address is a str such as 'pole', not {type(each).__name__}")
        if _place(env_address) == _place(address):
            raise ValueError(f"the proxy would meet itself: both addresses are {_place(address)!r}")
        if not isinstance(delay_s, (int, float)) or not 0 <= delay_s < math.inf:
            raise ValueError(f"delay_s is {delay_s!r}; it takes seconds")
        if stall_s is not None and (not isinstance(stall_s, (int, float)) or not 0 <= stall_s < math.inf):
            raise ValueError(f"stall_s is {stall_s!r}; it takes seconds, or None: until the agent leaves")
        self.env_address, self.address = env_address, address
        self._plan = _Plan(seed, dict(share or {}), dict(at or {}))
        self._delay_s, self._stall_s = float(delay_s), None if stall_s is None else float(stall_s)
        self._timeout = effective_timeout(timeout)
        self._record = _Record()
        self._engine: Engine | None = None
        self._farewell: Callable[[], Any] = lambda: None
        self._asking = threading.Lock()
        self._owed, self._half = 0, b""  # lines that the process is still to say; the beginning of the next
        self._running = threading.RLock()
        self._relays = _Relays(self)

    # ---- In a process of its own ----

    def start(self) -> Self:
        """Starts the proxy's process, which ends with this one, and waits until it can be used.

        Where the environment serves it is waited for, `timeout` seconds at most; where it connects, it may come later.

        Raises:
            FerryTimeoutError: There is no environment.
            AddressError: An address is taken, or its folder cannot be used.
            BusyError: The environment is held by another agent.
            ValueError: A fault is not possible with this environment, or an address is malformed.
            FerryError: The proxy has been started already.
            NotImplementedError: On Windows nothing can be started; `run` works there as everywhere.
        """
        if not INHERITS:
            raise NotImplementedError("ChaosProxy starts no process on Windows; call run() in one of its own")
        if self._engine is not None:
            raise FerryError(f"{self} has been started already; make a new one")
        given = json.dumps(
            {
                "env_address": self.env_address,
                "address": self.address,
                "seed": self._plan.seed,
                "share": self._plan.share,
                "at": list(self._plan.at.items()),
                "delay_s": self._delay_s,
                "stall_s": self._stall_s,
                "timeout": self._timeout,
            }
        )
        engine = Engine([sys.executable, "-m", "ferry.chaos", "{address}", "{given}"], given=given.encode())
        self._engine = engine
        self._farewell = weakref.finalize(self, _end, engine, os.getpid())
        try:
            told = self._heard(engine, b"")
            if "error" in told:
                raise _error(told["error"], told["text"])
        except BaseException:
            self._farewell()
            raise
        return self

    def close(self) -> None:
        """Ends the proxy, and its process if it has one: both sides are told goodbye. May be called again."""
        if self._engine is not None and self._engine.process.poll() is None:
            with contextlib.suppress(FerryError, OSError):
                self._ask(b"f")
        self._farewell()
        self._relays.stop()
        with self._running:
            pass

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return f"<ChaosProxy {self.env_address!r} {self.address!r}>"

    @property
    def process(self) -> Any:
        """The proxy's process, a `subprocess.Popen`; None before `start`."""
        return None if self._engine is None else self._engine.process

    @property
    def turns(self) -> int:
        """How many steps and resets of agents have come so far, those of no fault too. Raises as `counts`."""
        return self._known(b"c").turns

    @property
    def counts(self) -> dict[str, int]:
        """How often each fault has befallen a turn so far: every name is there. What an agent has met is counted.

        After `close` it is what it was then.

        Raises:
            FerryError: The process has ended by itself; the text says how.
            FerryTimeoutError: It is stopped: it has said nothing for 30 s.
        """
        return dict(self._known(b"c").counts)

    @property
    def faults(self) -> list[Fault]:
        """What was done so far, turn by turn; the last 10,000. Raises as `counts`."""
        return list(self._known(b"f").faults.copy())

    def _known(self, question: bytes) -> _Record:
        if self._engine is not None and self._engine.ours.fileno() >= 0:
            self._ask(question)
        return self._record

    def _ask(self, question: bytes) -> None:
        """Has the process say what it has done: b"c" turns and counts, b"f" the faults too."""
        assert self._engine is not None
        with self._asking:
            self._record.learn(self._heard(self._engine, question))

    def _heard(self, engine: Engine, question: bytes) -> dict[str, Any]:
        """What the process says to a question; to none, its first word, for which it may take its time.

        An answer that Ctrl-C kept from being read is read, and passed over, by the next call.
        """
        engine.ours.settimeout(_PATIENCE if question else None)
        try:
            engine.ours.sendall(question)
            self._owed += 1
            while self._owed > 0:
                line, end, rest = self._half.partition(b"\n")
                if end:
                    self._half, self._owed = rest, self._owed - 1
                    continue
                part = engine.ours.recv(65536)
                if not part:
                    raise ConnectionResetError
                self._half += part
        except TimeoutError:
            raise FerryTimeoutError(f"the process {engine.process.pid} of {self} has said nothing for 30 s") from None
        except OSError:
            raise FerryError(f"{self} has ended: {engine.fate()}{engine.last_words()}") from None
        told: dict[str, Any] = json.loads(line)
        return told

    # ---- In this process ----

    def run(self) -> None:
        """Is the proxy in this process, until Ctrl-C, SIGTERM, or `close` in another thread. Waits for ever.

        FERRY_ADDRESS in the process environment takes the place of `address`. In the main thread SIGTERM is caught
        while this runs, if nobody else does.
        """
        self._run(None)

    def _run(self, control: _Control | None) -> None:
        with self._running, contextlib.suppress(KeyboardInterrupt), _terminated_by(self._relays.stop):
            self._relays.run(control)


class _Plan:
    """Which faults befall which turns."""

    def __init__(self, seed: int, share: dict[Any, Any], at: dict[Any, Any]) -> None:
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed is {seed!r}; it is a whole number, 0 or more")
        for name, part in share.items():
            _check_name("share", name)
            if not isinstance(part, (int, float)) or not 0 <= part <= 1:
                raise ValueError(f"the share of {name!r} is {part!r}; it may be 0 to 1")
        self.seed, self.share = int(seed), {name: float(part) for name, part in share.items()}
        self.at: dict[int, list[FaultName]] = {}
        for turn, names in at.items():
            if not isinstance(turn, (int, np.integer)) or isinstance(turn, bool) or turn < 0:
                raise ValueError(f"at names the turn {turn!r}; turns are numbered from 0")
            several: Any = (names,) if isinstance(names, str) else names
            self.at[int(turn)] = list(several)
            for name in self.at[int(turn)]:
                _check_name("at", name)

    def names(self) -> set[FaultName]:
        """The faults that may come."""
        return {name for name in FAULTS if self.share.get(name) or any(name in names for names in self.at.values())}

    def of(self, turn: int) -> dict[FaultName, np.random.Generator]:
        """The faults of a turn, each with what its further chances are drawn from."""
        chosen = {}
        for place, name in enumerate(FAULTS):
            listed = name in self.at.get(turn, ())
            if listed or self.share.get(name):
                chance = np.random.default_rng([self.seed, place, turn])
                if chance.random() < self.share.get(name, 0) or listed:
                    chosen[name] = chance
        return chosen


class _Record:
    """What has been done."""

    def __init__(self) -> None:
        self.turns = 0
        self.counts: dict[str, int] = dict.fromkeys(FAULTS, 0)
        self.faults: collections.deque[Fault] = collections.deque(maxlen=_REMEMBERED)

    def told(self, *, with_faults: bool) -> dict[str, Any]:
        """It as plain data."""
        told = {"turns": self.turns, "counts": self.counts}
        return {**told, "faults": list(self.faults)} if with_faults else told

    def learn(self, told: Mapping[str, Any]) -> None:
        """Takes over what another was told."""
        self.turns, self.counts = told["turns"], told["counts"]
        if "faults" in told:
            self.faults = collections.deque((Fault(*fault) for fault in told["faults"]), _REMEMBERED)


class _Target(NamedTuple):
    """Elements of a field that a wrong number may be put into, by their places in C order, and these numbers."""

    field: int
    path: str
    places: NDArray[np.intp]
    values: NDArray[Any]


class _AgentLeft(Exception):  # noqa: N818 - nothing is wrong
    """The agent has left in the middle of a turn."""


class _Dropped(Exception):  # noqa: N818
    """The connection to the agent is to end."""


class _Stopped(Exception):  # noqa: N818
    """The proxy is to end."""


class _Relays:
    """The proxy at work: one relay after another, each for one agent and the environment that it plays."""

    def __init__(self, proxy: ChaosProxy) -> None:
        self._proxy = proxy
        self._plan, self._record = proxy._plan, proxy._record
        self._control: _Control | None = None
        self._is_over = False
        self._number: int | None = None  # that the channel gave to the turn that was counted last
        self._targets: dict[str, list[_Target]] = {}

    def stop(self) -> None:
        """Makes `run` return soon. For any thread, and for signal handlers."""
        self._is_over = True

    def run(self, control: _Control | None) -> None:
        """Lets agents play until the end."""
        self._control = control
        self._agent = _core.Agent(
            self._proxy.env_address, timeout=None, decode=blobs.decode, encode=blobs.encode, max_bytes=_core.UNLIMITED
        )
        # Such a connection is the only one.
        is_inherited = os.environ.get("FERRY_ADDRESS", self._proxy.address).startswith("fd:")
        try:
            if self._proxy.env_address.startswith("serve:"):
                self._tell_ready()
            with contextlib.suppress(_Stopped):
                self._meet_first()
                while True:
                    self._aim()
                    with contextlib.closing(_core.Relay(self._proxy.address, self._agent)) as relay:
                        self._tell_ready()
                        self._play(relay)
                    if is_inherited:
                        return
                    self._meet_next()
        finally:
            self._agent.close()

    def _tell_ready(self) -> None:
        if self._control is not None:
            self._control.say_once({})

    def _look(self) -> None:
        """Raises _Stopped if it is not to go on; called again and again."""
        if self._control is not None and not self._control.look(self._record):
            self._is_over = True
        if self._is_over:
            raise _Stopped

    def _meet_first(self) -> None:
        """Waits for the first environment: no longer than whoever has started the process does."""
        limit = self._proxy._timeout if self._control is not None and not self._control.is_ready else None
        begin = time.monotonic()
        while not self._agent.connect(_SLICE):
            self._look()
            if limit is not None and time.monotonic() > begin + limit:
                raise FerryTimeoutError(self._agent.why)

    def _meet_next(self) -> None:
        """Makes sure that there is an environment, however long it takes, and also while another agent has it."""
        while True:
            self._look()
            try:
                if self._agent.connect(_SLICE):
                    return
            except (BusyError, PeerGoneError) as error:
                if self._proxy.env_address.startswith("fd:"):
                    raise
                logger.info("%s", error)
                time.sleep(_SLICE)

    def _aim(self) -> None:
        """Finds where wrong numbers can be put into this environment's observations."""
        name, fields, *_ = self._agent.describe()
        observed = [
            (number, field)
            for number, field in enumerate(fields)
            if field.role == _core.OBSERVATION and field.kind <= _core.MULTI_BINARY and not field.capacity
        ]
        for fault, find, lacks in (
            ("nan", _nan_targets, "floating-point numbers"),
            ("outside", _outside_targets, "bounds that its dtypes could exceed"),
        ):
            if fault in self._plan.names():
                self._targets[fault] = find(observed)
                if not self._targets[fault]:
                    raise ValueError(f"the fault {fault!r} is not possible: the observation of {name} has no {lacks}")

    def _play(self, relay: _core.Relay) -> None:
        """Answers an agent until it is gone, or the environment."""
        self._number = None
        try:
            while True:
                self._look()
                kind = relay.next(_SLICE)
                if kind == _core.LEFT:
                    raise _AgentLeft
                if kind == _core.CALL:
                    self._pass_on(relay)
                    answer = relay.refuse if relay.has_failed else relay.give
                    answer(relay.blob)
                elif kind != 0:
                    self._turn(relay, "step" if kind == _core.STEP else "reset")
                elif relay.lost:
                    return
        except _AgentLeft:
            logger.info("the agent left: %s", relay.reason() or "it said goodbye")
            self._agent.disconnect()
        except _Dropped:
            pass
        except PeerGoneError as error:
            logger.warning("%s", error)

    def _turn(self, relay: _core.Relay, kind: Literal["step", "reset"]) -> None:
        chosen: dict[FaultName, np.random.Generator] = {}
        turn = self._record.turns
        if relay.number != self._number:  # else it is the reset that belongs to a step
            self._number = relay.number
            chosen = self._plan.of(turn)
            self._record.turns += 1
        for name, seconds in (("delay", self._proxy._delay_s), ("stall", self._proxy._stall_s)):
            if name in chosen:
                self._note(turn, name, kind, None, "for ever" if seconds is None else f"{seconds:g} s")
                self._hold(relay, seconds)
        if "drop" in chosen:
            self._note(turn, "drop", kind, None, "")
            raise _Dropped
        if "fail" in chosen:
            self._note(turn, "fail", kind, None, "")
            report = {"type": "ChaosError", "text": f"on purpose, by the proxy at turn {turn}", "traceback": ""}
            relay.refuse((blobs.MSGPACK, blobs.encode(report, blobs.MSGPACK)))
            return
        self._pass_on(relay)
        if relay.has_failed:
            relay.refuse(relay.blob)
            return
        relay.take()
        for name, chance in chosen.items():
            row = int(chance.choice(relay.rows()))
            if name == "reward" and kind == "step":
                reward = float(chance.choice(_REWARDS))
                self._note(turn, name, kind, row, f"{reward:g}")
                relay.put_reward(row, reward)
            elif name in ("nan", "outside"):
                target = self._targets[name][int(chance.integers(len(self._targets[name])))]
                place = int(chance.integers(len(target.places)))
                at, value = int(target.places[place]), target.values[place]
                where = f"observation at {target.path!r}" if target.path else "observation"
                self._note(turn, name, kind, row, f"element {at} of the {where} is {value:g}")
                relay.put_element(target.field, row, at, value)
        relay.reply(relay.blob)

    def _pass_on(self, relay: _core.Relay) -> None:
        """Has the environment answer."""
        relay.ask()
        while not relay.heard(_SLICE):
            self._look()
            if relay.gone():
                raise _AgentLeft

    def _hold(self, relay: _core.Relay, seconds: float | None) -> None:
        """Keeps the turn, without an answer."""
        end = time.monotonic() + (math.inf if seconds is None else seconds)
        while (left := end - time.monotonic()) > 0:
            self._look()
            if relay.gone():
                raise _AgentLeft
            time.sleep(min(left, _NAP))

    def _note(self, turn: int, name: Any, kind: Literal["step", "reset"], row: int | None, detail: str) -> None:
        self._record.counts[name] += 1
        self._record.faults.append(Fault(turn, name, kind, row, detail))
        logger.info("turn %d, a %s: %s%s", turn, kind, name, f", {detail}" if detail else "")


def _nan_targets(observed: Iterable[tuple[int, _core.Field]]) -> list[_Target]:
    """All elements that can be NaN."""
    found = []
    for number, field in observed:
        dtype, size = np.dtype(_core.DTYPES[field.dtype]), math.prod(field.shape)
        if dtype.kind == "f" and size > 0:
            found.append(_Target(number, field.path, np.arange(size), np.full(size, math.nan, dtype)))
    return found


def _outside_targets(observed: Iterable[tuple[int, _core.Field]]) -> list[_Target]:
    """All elements whose dtype has a number outside of their bounds, infinities left aside."""
    found = []
    for number, field in observed:
        low, high = (np.atleast_1d(bound).ravel() for bound in _core.bounds_of(field))
        if low.dtype.kind == "b":
            continue
        if low.dtype.kind == "f":
            with np.errstate(over="ignore"):
                above, below = high + 2 * abs(high) + 1, low - 2 * abs(low) - 1
            has_above, has_below = (above > high) & np.isfinite(above), (below < low) & np.isfinite(below)
        else:
            has_above, has_below = high < np.iinfo(low.dtype).max, low > np.iinfo(low.dtype).min
            above, below = high + has_above, low - has_below
        places = np.flatnonzero(has_above | has_below)
        if places.size:
            values = np.where(has_above, above, below)[places].astype(low.dtype)
            found.append(_Target(number, field.path, places, values))
    return found


# ---- The process -----------------------------------------------------------------------------------------------------


class _Control:
    """The proxy's end of what joins it to the process that has started it."""

    def __init__(self, ours: socket.socket) -> None:
        self._ours = ours
        self._ours.setblocking(False)
        self.is_ready = False

    def look(self, record: _Record) -> bool:
        """Answers questions. False: the other end is closed."""
        try:
            questions = self._ours.recv(64)
        except BlockingIOError:
            return True
        for question in questions:
            self.say(record.told(with_faults=question == ord("f")))
        return bool(questions)

    def say_once(self, told: Mapping[str, Any]) -> None:
        """Says the first word, if it has not been said."""
        if not self.is_ready:
            self.is_ready = True
            self.say(told)

    def say(self, told: Mapping[str, Any]) -> None:
        """Says a line."""
        self._ours.setblocking(True)
        try:
            self._ours.sendall(json.dumps(told).encode() + b"\n")
        finally:
            self._ours.setblocking(False)


def _end(engine: Engine, parent: int) -> None:
    if os.getpid() == parent:  # and not a forked copy of it
        with contextlib.suppress(OSError):  # a mere close is not seen while such a copy has the descriptor too
            engine.ours.shutdown(socket.SHUT_RDWR)
    engine.end()


def _error(name: str, text: str) -> Exception:
    """The exception that a process had, by the name of its class."""
    kind: Any = {"ValueError": ValueError, "TypeError": TypeError, "MemoryError": MemoryError}.get(name)
    error: Exception = (kind or getattr(ferry, name, FerryError))(text)
    return error


def _place(address: str) -> str:
    """An address without the role."""
    return re.sub(r"^(serve|connect):|#\d+$", "", address)


def _check_name(argument: str, name: Any) -> None:
    if name not in FAULTS:
        near = difflib.get_close_matches(str(name), FAULTS, 1)
        raise ValueError(
            f"{argument} names the fault {name!r}; there are {', '.join(FAULTS)}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )


@contextlib.contextmanager
def _terminated_by(stop: Callable[[], None]) -> Iterator[None]:
    """Has SIGTERM call something; only in the main thread, and only if nobody handles it."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(arguments: Sequence[str]) -> int:
    """Is the proxy's process.

    Args:
        arguments: "fd:N", the end of what joins it to its parent; and the number of the descriptor with the options.
    """
    control = _Control(socket.socket(fileno=int(arguments[0].removeprefix("fd:"))))
    os.environ.pop("FERRY_ADDRESS", None)  # which says to the engines of `launch` what the first argument says here
    with open(int(arguments[1]), "rb") as given:
        options = json.load(given)
    options["at"] = dict(options["at"])
    proxy = ChaosProxy(**options)
    try:
        proxy._run(control)
    except (FerryError, ValueError, TypeError, MemoryError) as error:
        if not control.is_ready:
            control.say({"error": type(error).__name__, "text": str(error)})
        else:
            print(f"ferry: {proxy}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
