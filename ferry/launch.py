"""Environments in processes of their own: started with their adapter, replaced when they crash, and ended."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeAlias, overload

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from ferry import worker
from ferry.adapter import Adapter
from ferry.engine import INHERITS, Engine, end_all, processors
from ferry.errors import FerryTimeoutError, LayoutMismatchError, PeerGoneError, ProtocolError, ResetNeeded
from ferry.vector import VectorAdapter

__all__ = ["AttachedEnv", "LaunchedEnv", "LaunchedVectorEnv", "launch"]

OnCrash: TypeAlias = Literal["raise", "truncate", "restart"]
Command: TypeAlias = str | Sequence[str | os.PathLike[str]] | Callable[..., gymnasium.Env[Any, Any]]

_ENV_ID = re.compile(r"([\w.]+:)?([\w-]+/)?[\w.-]+-v\d+|[\w.]+:[A-Za-z_]\w*")

# Seconds between two looks at a process that has not connected yet.
_LOOK = 0.05

# Seconds before the second, third, ... attempt to replace an engine that has not taken a step.
_BACK_OFF = (0.0, 0.1, 0.3, 1.0, 3.0, 5.0)
_MOST_FUTILE = 8


@overload
def launch(
    command: Command, *, num_engines: int, envs_per_engine: int | None = None, **options: Any
) -> LaunchedVectorEnv: ...
@overload
def launch(command: Command, *, envs_per_engine: int, **options: Any) -> LaunchedVectorEnv: ...
@overload
def launch(command: Command, **options: Any) -> LaunchedEnv: ...
@overload
def launch(*, address: str, **options: Any) -> AttachedEnv: ...


def launch(
    command: Command | None = None,
    *,
    address: str | None = None,
    num_engines: int | None = None,
    envs_per_engine: int | None = None,
    autoreset_mode: str | AutoresetMode = "next_step",
    on_crash: OnCrash = "raise",
    max_restarts: int = 30,
    start_timeout: float | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    timeout: float | None = 60.0,
    copy: bool = True,
    check_actions: Literal["range", "bounds"] = "range",
    max_bytes: int | None = None,
    render_mode: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    **make_kwargs: Any,
) -> LaunchedEnv | AttachedEnv | LaunchedVectorEnv:
    """Starts an environment in a process of its own and connects to it, or attaches to one that runs already.

    With `num_engines` or `envs_per_engine` it starts so many processes and returns a gymnasium.vector.VectorEnv of all
    their environments.

    The process finds its end of the channel in FERRY_ADDRESS, and wherever "{address}" stands in its arguments, its
    number among several wherever "{index}" stands, and `envs_per_engine` wherever "{num_envs}" stands. It dies
    with this process, also when this one is killed, and is not reached by this terminal's Ctrl-C.

    A function is pickled by cloudpickle and handed to a process of the same interpreter that imports from the same
    folders; lambdas, closures, and classes of __main__ or within a function go over by value. gymnasium.make takes one
    for "ferry/Launch-v0" too, but a spec that becomes JSON needs plain data.

    Args:
        command: A program with its arguments, as a list or as one line for `shlex.split`; or, served by a Python
            process, an id of Gymnasium's registry, "module:callable", or a function that makes a gymnasium.Env there.
            None: nothing is started.
        address: Without a command: where an environment serves that somebody else starts, such as a game in its editor.
        num_engines: How many processes; as many as there are processors are starting at a time.
        envs_per_engine: How many rows each has. A program is told by "{num_envs}" in its command.
        autoreset_mode: Of several environments: as in `ClientVectorEnv`.
        on_crash: What a step does when the environment's process is gone. "raise": PeerGoneError. "truncate": the
            episode ends truncated, with the last observation, reward 0 and the reason in `info["ferry"]`; the next
            `reset` raises. "restart": the same, and the next `reset` meets a new process; at an address it waits. Of
            several, the rows of the one that is gone end so, and autoreset resets them in its successor.
        max_restarts: More of them within a minute are an error.
        start_timeout: Seconds that the process may take until it has connected; None: as `timeout`.
        log_dir: Where each process has a file for what it prints. None: it appears on this process's standard error.
        timeout: As in `ClientEnv`.
        copy: As in `ClientEnv`.
        check_actions: As in `ClientEnv`.
        max_bytes: As in `ClientEnv`.
        render_mode: As in `ClientEnv`.
        cwd: The folder to start it in.
        env: Variables to set for it, beside those of this process.
        **make_kwargs: Arguments of the environment: for an id what JSON can carry, for a function what can be pickled.

    Returns:
        The environment; its `close` ends the process that was started.

    Raises:
        FileNotFoundError: There is no such program.
        NotImplementedError: On Windows nothing can be started; an address is attached to there as everywhere.
        TypeError: A function cannot be pickled, or not be called with these arguments.
        ProtocolError: The process speaks another version of Ferry.
        PeerGoneError: The process ended before it connected; its exit code and its last lines are in the text.
        FerryTimeoutError: It runs, and has not connected in time.
    """
    common: dict[str, Any] = {
        "on_crash": on_crash,
        "max_restarts": max_restarts,
        "start_timeout": start_timeout,
        "timeout": timeout,
        "copy": copy,
        "check_actions": check_actions,
        "max_bytes": max_bytes,
        "render_mode": render_mode,
    }
    if command is None:
        if address is None:
            raise TypeError("launch takes a command to start, or the address of what runs already")
        started = {"cwd": cwd, "env": env, "log_dir": log_dir, **make_kwargs}
        if unused := [name for name, value in started.items() if value is not None]:
            raise TypeError(f"{', '.join(unused)}: nothing is started at an address; leave it out")
        return AttachedEnv(address, **common)
    if address is not None:
        raise TypeError("launch takes a command or an address, not both; what it starts needs no address")
    if not INHERITS:
        raise NotImplementedError(
            "launch starts no processes on Windows yet: start the environment yourself, with FERRY_ADDRESS=serve:NAME, "
            "and attach to it by ferry.launch(address='NAME') or ferry.ClientEnv('NAME')"
        )
    if isinstance(command, gymnasium.Env):
        raise TypeError(
            f"launch makes the environment in another process, and {command} is made already; pass a function that "
            "makes it, such as lambda: gymnasium.make('CartPole-v1')"
        )
    arguments, given = _arguments(command, make_kwargs, envs_per_engine or 1)

    def engine(index: int) -> Engine:
        return Engine(arguments, index=index, cwd=cwd, env=env, log_dir=log_dir, given=given)

    if num_engines is None and envs_per_engine is None:
        return LaunchedEnv(lambda: engine(0), **common)
    if (num_engines is not None and num_engines < 1) or (envs_per_engine is not None and envs_per_engine < 1):
        raise ValueError(f"num_engines is {num_engines}, envs_per_engine {envs_per_engine}; both are 1 or more")
    engines = [functools.partial(engine, index) for index in range(num_engines or 1)]
    return LaunchedVectorEnv(engines, envs_per_engine=envs_per_engine, autoreset_mode=autoreset_mode, options=common)


def _arguments(command: Command, make_kwargs: dict[str, Any], num_envs: int) -> tuple[list[str], bytes | None]:
    """The command line of an engine, and what is to be given to it."""
    if callable(command):
        return worker.command(command, make_kwargs, num_envs)
    if isinstance(command, str) and (_ENV_ID.fullmatch(command) or command in gymnasium.registry):
        arguments = [sys.executable, "-m", "ferry", "serve", command]
        if num_envs > 1:
            arguments += ["--num-envs", str(num_envs)]
        if make_kwargs:
            arguments += ["--kwargs", json.dumps(make_kwargs)]
        return arguments, None
    if make_kwargs:
        names = ", ".join(make_kwargs)
        raise TypeError(
            f"{names}: only an environment's id or function takes arguments by name, not the program {command!r}; "
            "write them into its command line"
        )
    arguments = shlex.split(command) if isinstance(command, str) else [os.fspath(part) for part in command]
    if not arguments:
        raise ValueError("there is no program to launch: the command is empty")
    return [part.replace("{num_envs}", str(num_envs)) for part in arguments], None


class Supervised(Adapter):
    """An adapter that can outlive the crash of its environment."""

    _maker = "launch"

    def __init__(
        self,
        address: str,
        *,
        on_crash: OnCrash,
        max_restarts: int,
        start_timeout: float | None,
        **options: Any,
    ) -> None:
        if on_crash not in ("raise", "truncate", "restart"):
            raise ValueError(f"on_crash is 'raise', 'truncate' or 'restart', not {on_crash!r}")
        self._on_crash = on_crash
        if isinstance(self, LaunchedEnv) and on_crash != "restart":
            self._after_loss = ""  # there is no next one to meet
        self._max_restarts = max_restarts
        self._start_timeout = start_timeout
        self._restarts = 0
        self._recent: collections.deque[float] = collections.deque()
        self._futile = 0  # losses since the last step
        self._lost: str | None = None  # how the environment was lost, until the next has been met
        self._replaced = False  # the next has been started
        self._seed: int | None = None
        self._last: Any = None
        super().__init__(address, **options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As `Adapter.step`, but for what `on_crash` says of an environment that is gone."""
        under_way = not self._agent.needs_reset
        try:
            result = self._agent.step(action)
        except PeerGoneError as error:
            text = self._explained(error)
            if self._on_crash == "raise" or not under_way:
                raise PeerGoneError(text) from None
            return self._truncated(text)
        if self._on_crash != "raise":
            self._last, self._futile = result[0], 0
        return result

    def reset(
        self, *, seed: int | np.integer[Any] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As `Adapter.reset`; with `on_crash="restart"` it meets the next environment if the last one is gone."""
        if seed is not None:
            self._seed = int(seed)
        while True:
            if self._lost is not None:
                self._meet_next()
            try:
                self._last, info = super().reset(seed=seed, options=options)
            except PeerGoneError as error:
                text = self._explained(error)
                if self._on_crash != "restart":
                    raise PeerGoneError(text) from None
                self._lose(text)
                continue
            return self._last, info

    def wait(self) -> tuple[Any, ...]:
        """As `Adapter.wait`, but for what `on_crash` says of an environment that is gone."""
        try:
            return super().wait()
        except PeerGoneError as error:
            text = self._explained(error)
            if self._on_crash == "raise" or self._last is None:
                raise PeerGoneError(text) from None
            return self._truncated(text)

    def _request(self, **request: Any) -> Any:
        try:
            return super()._request(**request)
        except PeerGoneError as error:
            raise PeerGoneError(self._explained(error)) from None

    def _truncated(self, text: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The end of an episode whose environment is gone."""
        self._lose(text)
        info = {"ferry": {"crash": text, "restarts": self._restarts}}
        # What was a view of the lost environment's memory becomes the caller's own.
        return _copied(self._last), 0.0, False, True, info

    def _lose(self, text: str) -> None:
        self._lost = text
        self._futile += 1
        self._replaced = False
        if self._futile == 1 and self._may_replace():
            self._replace()  # at once, so that it starts while the algorithm takes notice

    def _may_replace(self) -> bool:
        return self._on_crash == "restart" and not self._is_exhausted()

    def _meet_next(self) -> None:
        """Makes sure that there is a next environment to meet."""
        if self._on_crash != "restart":
            raise PeerGoneError(f"{self._lost}; on_crash='restart' would replace it")
        if not self._replaced:
            if self._futile >= _MOST_FUTILE:
                raise PeerGoneError(f"it was lost {self._futile} times without having taken a step: {self._lost}")
            if self._is_exhausted():
                raise PeerGoneError(
                    f"it was replaced {len(self._recent)} times within a minute, and max_restarts allows no more: "
                    f"{self._lost}"
                )
            time.sleep(_BACK_OFF[min(self._futile - 1, len(_BACK_OFF) - 1)])
            self._replace()
        self._lost = None

    def _is_exhausted(self) -> bool:
        """Whether as many were replaced within a minute as may be."""
        while self._recent and self._recent[0] < time.monotonic() - 60:
            self._recent.popleft()
        return len(self._recent) >= self._max_restarts

    def _replace(self) -> None:
        self._recent.append(time.monotonic())
        self._restarts += 1
        self._replaced = True
        self._start()

    def _fresh_seed(self) -> int | None:
        """For a reset without a seed: derived from the last given, if the environment is not the one that had it."""
        if self._restarts == 0 or self._seed is None or self._agent.has_reset:
            return None
        return int(np.random.SeedSequence([self._seed, self._restarts]).generate_state(1)[0])

    def _start(self) -> None:
        """Starts the next environment, if that is this object's affair."""

    def _explained(self, error: PeerGoneError) -> str:
        """What is known of the loss."""
        return str(error)


class AttachedEnv(Supervised):
    """A gymnasium.Env at an address, where an environment serves that somebody else starts. Made by `launch`."""

    def _met(self) -> bool:
        return self._agent.connect(self._timeout if self._start_timeout is None else self._start_timeout)


class LaunchedEnv(Supervised):
    """A gymnasium.Env whose environment runs in a process that this object started, and ends with it. Made by `launch`.

    Attributes:
        process: The process; another one after a restart.
    """

    def __init__(self, make_engine: Callable[[], Engine], *, _engine: Engine | None = None, **options: Any) -> None:
        self._make_engine = make_engine
        self._engine = make_engine() if _engine is None else _engine
        with self._ended_on_failure():
            super().__init__(f"fd:{self._engine.ours.fileno()}", **options)

    @property
    def process(self) -> Any:
        """The process, as a `subprocess.Popen`."""
        return self._engine.process

    def _start(self) -> None:
        self._farewell()
        self._engine = self._make_engine()
        with self._ended_on_failure():
            self._open(f"fd:{self._engine.ours.fileno()}", self._farewell_of())

    @contextlib.contextmanager
    def _ended_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._engine.end()
            raise

    def _farewell_of(self) -> Callable[[], None] | None:
        return self._engine.end

    def _explained(self, error: PeerGoneError) -> str:
        remedy = "" if self._on_crash == "restart" else "; launch it again"
        return f"{error} ({self._engine.fate()}){remedy}{self._engine.last_words()}"

    def _met(self) -> bool:
        with contextlib.suppress(OSError):
            self._engine.ours.detach()  # connecting takes it over; a second time it finds it used up
        limit = self._timeout if self._start_timeout is None else self._start_timeout
        begin = time.monotonic()
        engine = self._engine
        greeted = False
        while limit is None or time.monotonic() < begin + limit:
            try:
                if self._agent.connect(_LOOK):
                    return True
                greeted = self._has_greeted()
            except PeerGoneError as error:
                self._fail_to_start(greeted or "handshake" in str(error))
            except ProtocolError as error:
                # Through an inherited channel only the launcher knows whom it speaks with before they agree.
                text = re.sub(r"(environment \(pid|agents \(pids) 0\b", rf"\1 {engine.process.pid}", str(error))
                raise ProtocolError(f"{engine.command!r} cannot be played: {text}{engine.last_words()}") from None
            if engine.process.poll() is not None:
                self._fail_to_start(greeted)
        if greeted:
            raise FerryTimeoutError(
                f"{engine.command!r} (pid {engine.process.pid}) is in the handshake: {self._agent.why}; it has to "
                "call ferry_env_wait again and again, or to run its backend. A longer start_timeout gives it more time"
                f"{engine.last_words()}"
            )
        raise FerryTimeoutError(
            f"{engine.command!r} (pid {engine.process.pid}) runs, but has not spoken Ferry for {limit:g} s; does it "
            "call ferry_env_open and ferry_env_wait, or run a backend? A longer start_timeout gives it more time"
            f"{engine.last_words()}"
        )

    def _has_greeted(self) -> bool:
        """Whether the process has sent a greeting that fits: it is known by its pid since then."""
        return re.search(r"\(pid [1-9]\d*\) at .* handshake", self._agent.why) is not None

    def _fail_to_start(self, greeted: bool) -> NoReturn:
        fate = self._engine.fate()
        if greeted:
            raise PeerGoneError(f"{fate} in the middle of the handshake{self._engine.last_words()}")
        raise PeerGoneError(f"{fate} before it spoke Ferry{self._engine.last_words()}")


class LaunchedVectorEnv(VectorAdapter):
    """A gymnasium.vector.VectorEnv whose environments run in processes that this object started. Made by `launch`.

    Rows are numbered through: those of the first process, then those of the second. What becomes of rows whose process
    is gone, `launch` says under `on_crash`.
    """

    _channels: list[LaunchedEnv]

    def __init__(
        self,
        engines: Sequence[Callable[[], Engine]],
        *,
        envs_per_engine: int | None,
        autoreset_mode: str | AutoresetMode,
        options: Mapping[str, Any],
    ) -> None:
        self._on_crash: OnCrash = options["on_crash"]

        def make(of: Mapping[str, Any]) -> list[LaunchedEnv]:
            return _launched(engines, envs_per_engine, {**options, "_of": of})

        super().__init__(make, autoreset_mode=autoreset_mode)

    @property
    def processes(self) -> list[Any]:
        """The processes, each a `subprocess.Popen`; another after a restart."""
        return [channel.process for channel in self._channels]

    def _mended(self, members: Sequence[int] | None, errors: Mapping[int, Exception]) -> Any:
        gone = {member: error for member, error in errors.items() if isinstance(error, PeerGoneError)}
        texts = {member: self._channels[member]._explained(error) for member, error in gone.items()}
        if self._resetting and self._on_crash == "restart" and len(gone) == len(errors):
            for member, text in texts.items():
                self._channels[member]._lose(text)
            self._reset_lost(*self._asked)
            return self._agents.result_of_resets(members)
        if len(gone) < len(errors) or self._on_crash == "raise" or self._resetting:
            for member, error in gone.items():
                error.args = (texts[member], *error.args[1:])
            return super()._mended(members, errors)
        told = {
            member: {"ferry": {"crash": text, "restarts": channel._restarts + channel._may_replace()}}
            for member, text in texts.items()
            for channel in (self._channels[member],)
        }
        # First the last that was seen, which lies in the lost environments' memory.
        result = self._agents.result_despite(members, told)
        result = (_copied(result[0]), *result[1:])
        for member, text in texts.items():
            self._channels[member]._lose(text)
        if self._mode is AutoresetMode.SAME_STEP and members is None:
            self._reset_lost(None, None)
            result = (self._agents.observe(), *result[1:])
        return result

    def _replaced(self) -> dict[int, list[int | None]] | None:
        if self._mode is AutoresetMode.DISABLED:
            raise ResetNeeded(f"the environments of the backends {sorted(self._lost)} are gone; reset() meets others")
        return self._next_seeds()

    def _settle(self, members: Iterable[int]) -> None:
        for member in members:
            self._channels[member]._futile = 0

    def _next_seeds(self) -> dict[int, list[int | None]]:
        """Meets the environments that take the place of lost ones; the seeds of their rows."""
        fresh: dict[int, list[int | None]] = {}
        for member in list(self._lost):
            self._meet(member)
            first = self._channels[member]._fresh_seed()
            rows = range(self._channels[member]._num_rows)
            fresh[member] = [None if first is None else first + row for row in rows]
        return fresh

    def _reset_lost(self, asked: Sequence[int | None] | None, options: tuple[int, bytes] | None) -> None:
        """Begins episodes in the environments that take the place of lost ones, with seeds asked for or fresh ones."""
        while self._lost:
            fresh = self._next_seeds()
            mask = np.zeros(self.num_envs, bool)
            seeds: list[int | None] = [None] * self.num_envs
            for member, own in fresh.items():
                rows = slice(self._first[member], self._first[member + 1])
                mask[rows], seeds[rows] = True, own if asked is None else asked[rows]
            errors, _ = self._agents.receive(self._agents.send_resets(seeds, options, mask), is_reset=True)
            for member, error in (errors or {}).items():
                if not isinstance(error, PeerGoneError):
                    raise self._named(member, error)
                self._lost[member] = self._channels[member]._explained(error)
                self._channels[member]._lose(self._lost[member])
            self._settle(set(fresh) - set(self._lost))

    def _meet_again(self, seeds: Sequence[int | None]) -> None:
        for member, channel in enumerate(self._channels):
            if seeds[self._first[member]] is not None:
                channel._seed = seeds[self._first[member]]
            if member in self._lost or not channel._agent.connected:
                self._meet(member)

    def _meet(self, member: int) -> None:
        """Meets the environment that takes the place of a lost one."""
        channel = self._channels[member]
        while True:
            if channel._lost is not None:
                channel._meet_next()
            try:
                channel._make_sure_it_is_connected()
            except PeerGoneError as error:
                if self._on_crash != "restart":
                    raise
                channel._lose(channel._explained(error))
                continue
            break
        self._agents.replace(member, channel._agent)
        self._lost.pop(member, None)

    @staticmethod
    def _close_channels(channels: Sequence[Adapter]) -> None:
        launched = [channel for channel in channels if isinstance(channel, LaunchedEnv)]
        _end_together(launched)


def _launched(
    engines: Sequence[Callable[[], Engine]], rows: int | None, options: Mapping[str, Any]
) -> list[LaunchedEnv]:
    """Starts engines, as many at a time as there are processors, and connects to all."""
    ahead = processors()
    started: list[Engine] = []
    channels: list[LaunchedEnv] = []
    try:
        for number, engine in enumerate(engines):
            while len(started) < min(number + ahead, len(engines)):
                started.append(engines[len(started)]())
            channels.append(LaunchedEnv(engine, _engine=started[number], **options))
            if rows is not None and channels[-1]._num_rows != rows:
                raise LayoutMismatchError(
                    f"envs_per_engine is {rows}, and {started[number].command!r} has {channels[-1]._num_rows} rows; "
                    "'{num_envs}' in its command tells it how many"
                )
    except BaseException:
        for channel in channels:
            channel._agent.close()
        end_all(started)
        raise
    return channels


def _end_together(channels: Sequence[LaunchedEnv]) -> None:
    """Says goodbye to all, then waits for all."""
    for channel in channels:
        channel._agent.close()
    end_all([channel._engine for channel in channels])
    for channel in channels:
        channel.close()


def _copied(observation: Any) -> Any:
    """An observation of the caller's own."""
    if isinstance(observation, dict):
        return {key: _copied(part) for key, part in observation.items()}
    if isinstance(observation, np.ndarray):
        return observation.copy()
    return tuple(map(_copied, observation)) if type(observation) is tuple else observation
