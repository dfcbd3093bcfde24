"""What all environment sides have in common: a gymnasium.Env that is stepped from another process."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import logging
import signal
import threading
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

__all__ = ["Backend", "make"]

logger = logging.getLogger("ferry")

# Characters of a text or traceback that an agent is told.
_MOST_TEXT = 1 << 18


class Backend:
    """Serves a Gymnasium environment to agents in other processes.

    Args:
        env: An id of Gymnasium's registry ("module:Name-v0" too), a callable that makes an environment, or an
            environment. One that the backend made is closed with it.
        address: Where to meet. FERRY_ADDRESS in the process environment takes precedence.
        max_bytes: More shared memory than this is not used: a space that needs it is refused. None: 1 GiB.

    Raises:
        TypeError: A space has parts that cannot travel.
        FerryError: The spaces need too much memory.
        AddressError: The address is taken, or its folder cannot be used.
        ValueError: The address is malformed.

    Attributes:
        env: The environment.
    """

    _role: ClassVar[Literal["serve", "connect"]]

    def __init__(
        self,
        env: str | Callable[[], gymnasium.Env[Any, Any]] | gymnasium.Env[Any, Any],
        address: str | None = None,
        *,
        max_bytes: int | None = None,
    ) -> None:
        self._owns_env = not isinstance(env, gymnasium.Env)
        self.env: gymnasium.Env[Any, Any] = _made(env)
        self._dropped: set[str] = set()
        self._running = threading.RLock()
        self._ended = False
        try:
            table = (
                *spaces.fields(self.env.observation_space, _core.OBSERVATION),
                *spaces.fields(self.env.action_space, _core.ACTION),
            )
            self._channel = _core.Env(
                with_role("connect", address) if self._role == "connect" else address,
                table,
                spaces.template(table, _core.OBSERVATION),
                spaces.template(table, _core.ACTION),
                about=(blobs.MSGPACK, blobs.encode(_about(self.env), blobs.MSGPACK, dropped=lambda *_: None)),
                name=None if self.env.spec is None else self.env.spec.id,
                max_bytes=max_bytes or 0,
            )
        except BaseException:
            self._close_env()
            raise

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
            kind = self._channel.next(None)
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
        elif kind == _core.LEFT:
            self._left(self._channel.reason())

    def _answer(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if self._ended:  # by close(), called from the environment
                return
            self._channel.refuse((blobs.MSGPACK, blobs.encode(_report(error), blobs.MSGPACK)))

    def _step(self) -> None:
        observation, reward, terminated, truncated, info = self.env.step(self._channel.action())
        self._channel.reply(
            observation, float(reward), bool(terminated), bool(truncated), self._info(info) if info else None
        )

    def _reset(self) -> None:
        seed, blob = self._channel.request()
        options = None if blob is None else blobs.decode(blob[1], blob[0])
        observation, info = self.env.reset(seed=seed, options=options)
        self._channel.reply(observation, 0.0, False, False, self._info(info) if info else None)

    def _info(self, info: dict[str, Any]) -> tuple[int, bytes]:
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
        self._close_env()

    def _close_env(self) -> None:
        if self._owns_env:
            self._owns_env = False
            self.env.close()


def _report(error: Exception) -> dict[str, str]:
    """What the agent is told of an exception, whatever its text holds."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = str(error)
    except Exception as second:
        text = f"(its text cannot be had: {type(second).__name__})"
    told = {"type": name, "text": text, "traceback": traceback.format_exc()}
    return {key: value.encode(errors="replace").decode()[:_MOST_TEXT] for key, value in told.items()}


def make(env_id: str, kwargs: Mapping[str, Any] | None = None) -> gymnasium.Env[Any, Any]:
    """Makes the environment that an id names.

    Args:
        env_id: An id of Gymnasium's registry, also "module:Name-v0", or "module:callable".
        kwargs: For the environment's constructor.
    """
    module, colon, name = env_id.partition(":")
    if colon and name.isidentifier():
        creator = getattr(importlib.import_module(module), name, None)
        if callable(creator):
            env = creator(**(kwargs or {}))
            if not isinstance(env, gymnasium.Env):
                raise TypeError(f"{env_id} made a {type(env).__name__}, not a gymnasium.Env")
            return env
    return gymnasium.make(env_id, **(kwargs or {}))


def _made(env: str | Callable[[], gymnasium.Env[Any, Any]] | gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    if isinstance(env, str):
        return make(env)
    made = env if isinstance(env, gymnasium.Env) or not callable(env) else env()
    if not isinstance(made, gymnasium.Env):
        raise TypeError(
            f"an environment is a gymnasium.Env, an id or a callable that makes one; this is a {type(made).__name__}"
        )
    return made


def _about(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """What agents are told, as far as it can travel. Rendering is not offered, so no mode of it is listed."""
    return {
        "metadata": {**env.metadata, "render_modes": []},
        "spec": None if env.spec is None else _spec_json(env.spec),
    }


def _spec_json(spec: EnvSpec) -> str:
    """The spec as text; what only this process can use (functions, objects among the arguments) is left out."""
    bare = dataclasses.replace(spec, entry_point=None, vector_entry_point=None)
    for candidate in (spec, bare, dataclasses.replace(bare, kwargs={}, additional_wrappers=())):
        try:
            return candidate.to_json()
        except (ValueError, TypeError):
            continue
    return json.dumps({"id": spec.id})


class _Terminated(BaseException):
    """SIGTERM came."""
