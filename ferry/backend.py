"""What all environment sides have in common: a gymnasium.Env that is stepped from another process."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import importlib
import inspect
import json
import logging
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any, ClassVar, Literal

import gymnasium
from gymnasium.envs.registration import EnvSpec
from typing_extensions import Self

from ferry import _core, blobs, spaces
from ferry.adapter import with_role
from ferry.errors import FerryError, PeerGoneError

__all__ = ["Backend", "make", "takes_render_mode"]

logger = logging.getLogger("ferry")

# Characters of a text or traceback that an agent is told.
_MOST_TEXT = 1 << 18

# Bytes of a blob in real time, for which a frame has no other place.
_FRAME_ROOM = 16384


class Backend:
    """Serves a Gymnasium environment to agents in other processes.

    Args:
        env: An id of Gymnasium's registry ("module:Name-v0" too), a callable that makes an environment, or an
            environment. One that the backend made is closed with it, and made anew for an agent that asks for
            another render mode, with `render_mode=` as an argument, if the callable has it.
        num_envs: Rows: so many environments are made, of an id or a callable, and stepped together. More than one are
            for the vector environments of the agent's side.
        address: Where to meet. FERRY_ADDRESS in the process environment takes precedence.
        max_bytes: More shared memory than this is not used: a space that needs it is refused. None: 1 GiB.
        realtime_hz: Steps a second. The environment steps by itself, with the latest action, and waits for nobody: for
            `RealtimeEnv`. None: it steps when its agent does.
        default_action: In real time, of an episode's steps before its agent has sent one. None: zero, or the nearest
            value that may be.

    Raises:
        TypeError: A space has parts that cannot travel.
        FerryError: The spaces need too much memory.
        AddressError: The address is taken, or its folder cannot be used.
        ValueError: The address is malformed.

    Attributes:
        env: The environment; of several, the first.
        envs: All of them, by row.
    """

    _role: ClassVar[Literal["serve", "connect"]]

    def __init__(
        self,
        env: str | Callable[[], gymnasium.Env[Any, Any]] | gymnasium.Env[Any, Any],
        address: str | None = None,
        *,
        num_envs: int = 1,
        max_bytes: int | None = None,
        realtime_hz: float | None = None,
        default_action: Any = None,
    ) -> None:
        if realtime_hz is not None and not 0 < realtime_hz <= 1e6:
            raise ValueError(f"realtime_hz is {realtime_hz!r}; it takes steps a second, more than 0, or None")
        if realtime_hz is not None and num_envs > 1:
            raise ValueError(f"num_envs is {num_envs}; in real time a backend has one, so serve each by one of its own")
        if realtime_hz is None and default_action is not None:
            raise ValueError("default_action is for environments in real time; give realtime_hz too")
        self._clock = None if realtime_hz is None else _Clock(1.0 / realtime_hz)
        self._is_ticked = True  # the clock's last tick has had its step
        self._default_action = default_action
        self._owns_env = not isinstance(env, gymnasium.Env)
        if num_envs < 1 or (num_envs > 1 and not self._owns_env):
            raise ValueError(
                f"num_envs is {num_envs}; it is 1 or more, and more than 1 needs an id or a callable that makes "
                "environments"
            )
        self._make = _maker(env)
        self.envs: list[gymnasium.Env[Any, Any]] = []
        try:
            while len(self.envs) < num_envs:
                self.envs.append(_made(env))
        except BaseException:
            self._close_envs()
            raise
        # What the environment was made for; it may change its own word of it.
        self._usual_mode = self._mode = self.env.render_mode
        self._asked_to_draw = False
        self._dropped: set[str] = set()
        self._running = threading.RLock()
        self._ended = False
        self._options: Any = None  # of the reset under way
        try:
            self._table = _table(self.env)
            self._spoken = _spoken(self.env)
            self._channel = _core.Env(
                with_role("connect", address) if self._role == "connect" else address,
                self._table,
                spaces.template(self._table, _core.OBSERVATION),
                spaces.template(self._table, _core.ACTION),
                codecs=spaces.codecs(self._table, self.env.observation_space, self.env.action_space),
                decode=blobs.decode,
                encode=blobs.encode,
                about=(blobs.MSGPACK, self._about()),
                name=None if self.env.spec is None else self.env.spec.id,
                max_bytes=max_bytes or 0,
                num_rows=num_envs,
                realtime=realtime_hz is not None,
            )
        except BaseException:
            self._close_envs()
            raise

    @property
    def env(self) -> gymnasium.Env[Any, Any]:
        """The environment; of several, the first."""
        return self.envs[0]

    def run(self) -> None:
        """Answers agents until the end: Ctrl-C, SIGTERM, `close` in another thread, or what the class says.

        In the main thread SIGTERM is caught while this runs, if nobody else does.
        """
        with self._running:
            try:
                with contextlib.suppress(KeyboardInterrupt, _Terminated), self._sigterm_ends():
                    while not self._ended:
                        self._turn()
            finally:
                self._end()

    def close(self) -> None:
        """Says goodbye and gives up the address. From another thread it waits until `run` is out of the environment."""
        self._ended = True
        self._channel.stop()
        with self._running:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _left(self, reason: Exception | None) -> None:
        """The agent is gone; reason is None if it said goodbye."""
        raise NotImplementedError

    def _turn(self) -> None:
        try:
            kind = self._channel.next(None) if self._clock is None else self._tick(self._clock)
        except PeerGoneError as error:
            # Only an inherited channel ends so: there is no second agent.
            logger.info("%s", error)
            self._ended = True
            return
        except FerryError:
            if self._ended:  # by close(), called from a signal handler
                return
            raise
        if kind == _core.STEP:
            self._answer(self._step)
        elif kind == _core.RESET:
            self._answer(self._reset)
            if self._clock is not None:
                self._clock.start()  # the episode begins here, however long that took
        elif kind == _core.CALL:
            self._answer(self._call)
        elif kind == _core.LEFT:
            self._asked_to_draw = False
            self._left(self._channel.reason())

    def _tick(self, clock: _Clock) -> int:
        """In real time, the turn at the next tick of the clock; while no episode runs there are none.

        A tick is for a step: what else comes then (a call, a new agent) leaves it to the turn that follows at once.
        """
        if self._is_ticked:
            clock.wait()
        kind = self._channel.next(0)
        if kind == 0 and not self._ended:
            kind = self._channel.next(None)
            clock.start()
        self._is_ticked = kind in (_core.STEP, _core.RESET)
        return kind

    def _answer(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if self._ended:  # by close(), called from the environment
                return
            if work != self._call:
                logger.warning("the environment raised %s: %s; its agent is told", type(error).__name__, error)
            report = blobs.encode(_report(error), blobs.MSGPACK)
            if self._clock is not None and len(report) > _FRAME_ROOM:
                report = blobs.encode(_report(error, most_text=_FRAME_ROOM // 16), blobs.MSGPACK)
            self._channel.refuse((blobs.MSGPACK, report))

    def _step(self) -> None:
        if len(self.envs) > 1:
            self._rows(self._step_row)
            return
        action = self._channel.action()
        if self._default_action is not None and self._channel.is_at_rest:
            action = self._default_action
        observation, reward, terminated, truncated, info = self.envs[0].step(action)
        self._channel.put(0, observation, float(reward), bool(terminated), bool(truncated))
        self._channel.reply(self._info(info) if info else None)

    def _reset(self) -> None:
        blob = self._channel.options()
        self._options = None if blob is None else blobs.decode(blob[1], blob[0])
        if not self._asked_to_draw:
            self._draw_as(self._usual_mode)
        if len(self.envs) > 1:
            self._rows(self._reset_row)
            return
        info = self._reset_row(0)
        self._channel.reply(self._info(info) if info else None)

    def _rows(self, work: Callable[[int], dict[str, Any]]) -> None:
        """Does the work for every row that the turn is about, and answers."""
        infos: dict[int, dict[str, Any]] = {}
        for row in self._channel.rows():
            try:
                info = work(row)
            except Exception as error:
                error.__dict__["_ferry_row"] = row
                raise
            if info:
                infos[row] = info
        self._channel.reply(self._info(infos) if infos else None)

    def _step_row(self, row: int) -> dict[str, Any]:
        observation, reward, terminated, truncated, info = self.envs[row].step(self._channel.action(row))
        self._channel.put(row, observation, float(reward), bool(terminated), bool(truncated))
        return info

    def _reset_row(self, row: int) -> dict[str, Any]:
        observation, info = self.envs[row].reset(seed=self._channel.seed(row), options=self._options)
        self._channel.put(row, observation, 0.0, False, False)
        return info

    def _call(self) -> None:
        blob = self._channel.called()
        request = None if blob is None else blobs.decode(blob[1], blob[0])
        if not isinstance(request, dict):
            raise ValueError("a request is a map")
        value = self._requested(request.get("op"), request) if len(self.envs) == 1 else self._requested_of_rows(request)
        try:
            content = blobs.encode(value, blobs.MSGPACK)
        except TypeError as error:
            raise TypeError(f"what {request.get('name') or request['op']!r} gave cannot travel: {error}") from None
        self._channel.give((blobs.MSGPACK, content))

    def _requested_of_rows(self, request: dict[str, Any]) -> Any:
        """What a request means for several environments: a list of values, for the rows that it names, or all."""
        op = request.get("op")
        if op == "render_mode":
            return self._requested(op, request)
        rows = request.get("rows", range(len(self.envs)))
        values = request.get("values")
        if any(type(row) is not int or not 0 <= row < len(self.envs) for row in rows):
            raise ValueError(f"the rows {list(rows)} are not all there; there are {len(self.envs)}")
        if values is not None and len(values) != len(rows):
            raise ValueError(f"{len(values)} values for {len(rows)} rows")
        return [
            self._requested(op, request if values is None else {**request, "value": values[i]}, row)
            for i, row in enumerate(rows)
        ]

    def _requested(self, op: Any, request: dict[str, Any], row: int = 0) -> Any:
        env = self.envs[row]
        if op == "render":
            return env.render()
        if op == "render_mode":
            self._asked_to_draw = True
            return self._draw_as(request["mode"])
        name = request.get("name")
        if not isinstance(name, str) or name.startswith("_") or not name.isidentifier():
            raise ValueError(f"{name!r} is not the name of a public attribute")
        if op == "has":
            if not env.has_wrapper_attr(name):
                return None
            return "method" if callable(env.get_wrapper_attr(name)) else "value"
        if op == "get" or (op == "call_or_get" and not callable(env.get_wrapper_attr(name))):
            value = env.get_wrapper_attr(name)
            if callable(value):
                raise TypeError(f"{name!r} is a method; call({name!r}) calls it")
            return value
        if op == "set":
            env.set_wrapper_attr(name, request["value"])
            return None
        if op in ("call", "call_or_get"):
            if name in ("step", "reset", "render", "close"):
                raise ValueError(f"{name}() is a method of the agent's own env object; call it there")
            return env.get_wrapper_attr(name)(*request.get("args", ()), **request.get("kwargs", {}))
        raise ValueError(f"the request {op!r} is unknown")

    def _draw_as(self, mode: str | None) -> None:
        """Makes the environment anew if it was made for another render mode."""
        if mode == self._mode:
            return
        if self._make is None:
            raise ValueError(
                f"the environment was made with render_mode={self._mode!r} and handed to the backend, which "
                f"cannot make it anew for {mode!r}; give the backend an id, or a callable with the argument render_mode"
            )
        envs: list[gymnasium.Env[Any, Any]] = []
        try:
            for _ in self.envs:
                envs.append(self._make(mode))
                if _table(envs[-1]) != self._table or blobs.pack(_spoken(envs[-1])) != blobs.pack(self._spoken):
                    raise ValueError(f"with render_mode={mode!r} the environment has other spaces")
        except BaseException:
            for env in envs:
                if env not in self.envs:
                    env.close()
            raise
        self.envs, old, self._mode = envs, self.envs, mode
        for env in old:
            if env not in envs:
                env.close()

    def _about(self) -> bytes:
        """What agents are told: metadata as far as it can travel, and all of the spaces."""
        env = self.env
        modes = [env.render_mode] if env.render_mode is not None else []
        if self._make is not None:
            known = list(env.metadata.get("render_modes") or [])
            # Gymnasium's own wrapper collects frames.
            collected = [f"{mode}_list" for mode in known if mode in ("rgb_array", "depth_array", "ansi")]
            modes += [mode for mode in (*known, *collected) if mode not in modes]
        told = {
            "metadata": {**env.metadata, "render_modes": modes},
            "spec": None if env.spec is None else _spec_json(env.spec),
        }
        blobs.pack(self._spoken)  # which raises for what a registered class said of itself and no blob carries
        return blobs.encode({**told, "spaces": self._spoken}, blobs.MSGPACK, dropped=lambda *_: None)

    def _info(self, info: Any) -> tuple[int, bytes]:
        return blobs.MSGPACK, blobs.encode(info, blobs.MSGPACK, dropped=self._drop)

    def _drop(self, path: str, value: object) -> None:
        if path not in self._dropped:
            self._dropped.add(path)
            logger.warning(
                "%r is of type %s, which no blob carries; it is left out of every info (this is said once)",
                path,
                type(value).__name__,
            )

    @contextlib.contextmanager
    def _sigterm_ends(self) -> Iterator[None]:
        """Makes SIGTERM end `run` wherever it is; only in the main thread, and only if nobody handles it."""

        def terminate(number: int, frame: FrameType | None) -> None:
            # Should whatever is being run swallow the exception, the next wait ends it.
            self._ended = True
            self._channel.stop()
            raise _Terminated

        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        ):
            yield
            return
        signal.signal(signal.SIGTERM, terminate)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _end(self) -> None:
        self._ended = True
        self._channel.close()
        self._close_envs()

    def _close_envs(self) -> None:
        if self._owns_env:
            self._owns_env = False
            with contextlib.ExitStack() as all_of_them:  # also those after one whose close raises
                for env in self.envs:
                    all_of_them.callback(env.close)


def _report(error: Exception, most_text: int = _MOST_TEXT) -> dict[str, Any]:
    """What the agent is told of an exception, whatever its text holds; of a long traceback the end."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = str(error)
    except Exception as second:
        text = f"(its text cannot be had: {type(second).__name__})"
    told = {"type": name, "text": text, "traceback": traceback.format_exc()}
    report: dict[str, Any] = {key: value.encode(errors="replace").decode()[:most_text] for key, value in told.items()}
    report["traceback"] = told["traceback"].encode(errors="replace").decode()[-most_text:]
    row = getattr(error, "_ferry_row", None)
    return report if row is None else {**report, "row": row}


def make(
    env_id: str, kwargs: Mapping[str, Any] | None = None, *, render_mode: str | None = None
) -> gymnasium.Env[Any, Any]:
    """Makes the environment that an id names.

    Args:
        env_id: An id of Gymnasium's registry, also "module:Name-v0", or "module:callable".
        kwargs: For the environment's constructor.
        render_mode: For the constructor too, if it is not None.
    """
    kwargs = dict(kwargs or {})
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    creator = _creator(env_id)
    if creator is None:
        return gymnasium.make(env_id, **kwargs)
    env = creator(**kwargs)
    if not isinstance(env, gymnasium.Env):
        raise TypeError(f"{env_id} made a {type(env).__name__}, not a gymnasium.Env")
    return env


def takes_render_mode(env_id: str) -> bool:
    """Whether the environment that an id names can be made for a render mode."""
    creator = _creator(env_id)
    return creator is None or _can_draw(creator)


def _creator(env_id: str) -> Callable[..., Any] | None:
    """What "module:callable" names; None for an id of Gymnasium's registry."""
    module, colon, name = env_id.partition(":")
    if not colon or not name.isidentifier():
        return None
    found = getattr(importlib.import_module(module), name, None)
    if found is None and re.search(r"-v\d+$", name) is None:  # as ids of Gymnasium's registry end
        near = difflib.get_close_matches(name, dir(sys.modules[module]), 1)
        raise ValueError(
            f"the module {module!r} has nothing called {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return found if callable(found) else None


def _maker(
    env: str | Callable[..., gymnasium.Env[Any, Any]] | gymnasium.Env[Any, Any],
) -> Callable[[str | None], gymnasium.Env[Any, Any]] | None:
    """What makes the environment for a render mode, if anything can."""
    if isinstance(env, str):
        if not takes_render_mode(env):
            return None
        create = functools.partial(make, env)
        return (lambda mode: create(render_mode=mode)) if _creator(env) is None else _collecting(create)
    if isinstance(env, gymnasium.Env) or not callable(env) or not _can_draw(env):
        return None
    return _collecting(lambda render_mode: _made(lambda: env(render_mode=render_mode)))


def _collecting(create: Callable[..., gymnasium.Env[Any, Any]]) -> Callable[[str | None], gymnasium.Env[Any, Any]]:
    """Makes environments that collect frames where they do not do so themselves, as gymnasium.make does."""

    def made(mode: str | None) -> gymnasium.Env[Any, Any]:
        if mode is None or not mode.endswith("_list"):
            return create(render_mode=mode)
        env = create(render_mode=mode.removesuffix("_list"))
        if mode not in (env.metadata.get("render_modes") or []):
            return gymnasium.wrappers.RenderCollection(env)
        env.close()
        return create(render_mode=mode)

    return made


def _can_draw(creator: Callable[..., Any]) -> bool:
    """Whether it takes a render mode."""
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (ValueError, TypeError):  # a callable that does not tell
        return False
    return any(p.name == "render_mode" or p.kind is p.VAR_KEYWORD for p in parameters)


def _table(env: gymnasium.Env[Any, Any]) -> tuple[_core.Field, ...]:
    observation = spaces.fields(env.observation_space, _core.OBSERVATION)
    return (*observation, *spaces.fields(env.action_space, _core.ACTION))


def _spoken(env: gymnasium.Env[Any, Any]) -> dict[str, spaces.Descriptions]:
    """What the table leaves unsaid of the spaces."""
    return {
        "observation": spaces.describe(env.observation_space, _core.OBSERVATION),
        "action": spaces.describe(env.action_space, _core.ACTION),
    }


def _made(env: str | Callable[[], gymnasium.Env[Any, Any]] | gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    if isinstance(env, str):
        return make(env)
    if isinstance(env, gymnasium.Env):
        return env
    if not callable(env):
        raise TypeError(
            f"an environment is a gymnasium.Env, an id or a callable that makes one; this is a {type(env).__name__}"
        )
    made = env()
    if not isinstance(made, gymnasium.Env):
        raise TypeError(f"{env} made a {type(made).__name__}, not a gymnasium.Env; let it return one")
    return made


def _spec_json(spec: EnvSpec) -> str:
    """The spec as text; what only this process can use (functions, objects among the arguments) is left out."""
    bare = dataclasses.replace(spec, entry_point=None, vector_entry_point=None)
    for candidate in (spec, bare, dataclasses.replace(bare, kwargs={}, additional_wrappers=())):
        try:
            return candidate.to_json()
        except (ValueError, TypeError):
            continue
    return json.dumps({"id": spec.id})


class _Clock:
    """Ticks in real time.

    Args:
        period_s: From one tick to the next.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._told = False
        self.start()

    def start(self) -> None:
        """The next tick is a period from now."""
        self._due_s = time.monotonic() + self._period_s

    def wait(self) -> None:
        """Waits for the next tick. Ticks that are missed are left out, and it is said once that they are."""
        late_s = time.monotonic() - self._due_s
        if late_s < 0:
            time.sleep(-late_s)
        if late_s <= self._period_s:
            self._due_s += self._period_s
            return
        self.start()
        if not self._told:
            self._told = True
            logger.warning(
                "a step took %.1f ms, and in real time it has %.1f; steps are left out (this is said once)",
                (late_s + self._period_s) * 1e3,
                self._period_s * 1e3,
            )


class _Terminated(BaseException):
    """SIGTERM came."""
