"""The worker processes of `ferry.AsyncVectorEnv`: what they do, and what they and their parent must agree about.

A worker is started by the process that steps it, and joined to it by a pair of sockets that nobody else holds. So the
two trust each other, and what has no typed field travels pickled; nothing else in Ferry does.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import is_space_dtype_shape_equiv
from gymnasium.vector.utils import CloudpickleWrapper

from ferry import _core
from ferry._core import Field
from ferry.descriptions import Codec
from ferry.errors import FerryError, PeerGoneError
from ferry.spaces import Template

__all__ = ["Layout", "Task", "WorkerError", "codecs", "decode", "dumps", "encode", "layout_of", "work"]

Space: TypeAlias = gymnasium.Space[Any]

_CODES = {np.dtype(name): code for code, name in _core.DTYPES.items()}
_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_FORMAT = 2  # how blobs are marked; both sides know that they are pickled


# ---- Pickles ----


def dumps(value: Any) -> bytes:
    """A pickle; what a plain one does not carry (lambdas, classes of __main__) goes by value."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        import cloudpickle  # which takes a while to import, and is seldom needed

        pickled: bytes = cloudpickle.dumps(value)
        return pickled


def encode(value: Any, _format: int) -> bytes:
    """`dumps`, as a channel calls it."""
    return dumps(value)


def decode(content: bytes, _format: int) -> Any:
    """What a pickle of the other side's means.

    Raises:
        ValueError: It cannot be made here.
    """
    try:
        return pickle.loads(content)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


class WorkerError(FerryError):
    """An exception in a worker, on its way to the parent.

    Attributes:
        row: Whose environment it was, among those of the worker.
        exception: Its class and itself; None if they cannot be pickled.
        text: Its class and text.
        trace: Its traceback, formatted.
    """

    def __init__(self, row: int, exception: tuple[type[BaseException], BaseException] | None, text: str, trace: str):
        super().__init__(row, exception, text, trace)
        self.row, self.exception, self.text, self.trace = row, exception, text, trace


def _report(row: int, error: BaseException) -> bytes:
    """The failure of the exception that is being handled."""
    trace, text = traceback.format_exc(), traceback.format_exception_only(error)[-1].strip()
    try:
        content = dumps(WorkerError(row, (type(error), error), text, trace))
        pickle.loads(content)  # many an exception can only be pickled
    except Exception:
        return dumps(WorkerError(row, None, text, trace))
    return content


# ---- What lies in shared memory ----


class Layout(NamedTuple):
    """Which parts of observations and actions have fields.

    Attributes:
        fields: The field table.
        observation: Template of an observation.
        action: Template of an action.
    """

    fields: tuple[Field, ...]
    observation: Template
    action: Template


def layout_of(observation: Space, action: Space) -> Layout | None:
    """The layout for single observations and actions; None if shared memory cannot hold these observations.

    Box, Discrete, MultiDiscrete and MultiBinary have fields, in Dict and Tuple too. All other spaces are fields without
    bytes, whose values travel in blobs as they are. No field has bounds: nothing is checked here.
    """
    table: list[Field] = []
    seen = _template(observation, _core.OBSERVATION, table)
    done = _template(action, _core.ACTION, table)
    for role in (_core.OBSERVATION, _core.ACTION):
        if not any(field.role == role for field in table):
            table.append(_other(role, len(table)))
    return None if seen is None else Layout(tuple(table), seen, done if done is not None else ())


def _template(space: Space, role: int, table: list[Field]) -> Template | None:
    """Adds the space's fields to the table. None if one is not possible."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        keys: Sequence[Any] = list(space.spaces) if isinstance(space, spaces.Dict) else range(len(space.spaces))
        parts = [_template(space.spaces[key], role, table) for key in keys]
        if any(part is None for part in parts):
            return None
        known: list[Any] = parts
        return dict(zip(keys, known, strict=True)) if isinstance(space, spaces.Dict) else tuple(known)
    field = _other(role, len(table))
    if isinstance(space, _ARRAYS):
        shape, code = tuple(space.shape or ()), _CODES.get(np.dtype(space.dtype))
        if code is not None and len(shape) < _core.MAX_NDIM and all(length < 2**32 for length in shape):
            field = field._replace(kind=_core.BOX, dtype=code, shape=shape)
            if isinstance(space, spaces.Discrete) and role == _core.OBSERVATION:
                field = field._replace(kind=_core.DISCRETE, n=1)
        elif role == _core.OBSERVATION:
            return None
    table.append(field)
    return len(table) - 1


def _other(role: int, number: int) -> Field:
    return Field(f"#{number}", role, _core.OTHER, _CODES[np.dtype(np.uint8)])


def _same(value: Any) -> Any:
    return value


def codecs(layout: Layout) -> dict[int, Codec]:
    """For the fields of a layout that have no bytes."""
    identity = Codec(gymnasium.Space(), _same, _same)
    return {number: identity for number, field in enumerate(layout.fields) if field.kind == _core.OTHER}


def _conformed(template: Template, table: Sequence[Field], value: Any) -> Any:
    """What an env returned, in the shapes and dtypes of its space, as NumPy casts them."""
    if isinstance(template, dict):
        return {key: _conformed(part, table, value[key]) for key, part in template.items()}
    if isinstance(template, tuple):
        return tuple(_conformed(part, table, each) for part, each in zip(template, value, strict=True))
    field = table[template]
    if field.kind == _core.OTHER:
        return value
    array = np.asarray(value, _core.DTYPES[field.dtype])
    return array.reshape(field.shape) if array.size == math.prod(field.shape) else array


# ---- The process ----


class Task(NamedTuple):
    """What a worker is started with.

    Attributes:
        number: Its own.
        given: Pickled by value where it must be: (functions that make its environments, the single observation space,
            the single action space).
        pair: Its end of the pair.
        inherited: Ends that a forked process has and should not.
        layout: The layout of all workers.
        mode: What becomes of a row whose episode has ended.
        same: Whether observation spaces must be equal, or only of one dtype and shape.
        permits: A semaphore for those who may reset or step at the same time, or None.
    """

    number: int
    given: CloudpickleWrapper[Any]
    pair: socket.socket
    inherited: Sequence[socket.socket]
    layout: Layout
    mode: int
    same: bool
    permits: Any


def work(task: Task) -> None:
    """Steps environments until the parent has gone or one of them has raised."""
    for end in task.inherited:
        end.close()
    worker = _Worker(task)
    try:
        with contextlib.suppress(KeyboardInterrupt, PeerGoneError):
            while worker.turn():
                pass
    finally:
        worker.close()


class _Worker:
    def __init__(self, task: Task) -> None:
        given: Any = task.given.fn
        self._makers: list[Callable[[], gymnasium.Env[Any, Any]]] = given[0]
        self._observation_space: Space = given[1]
        self._action_space: Space = given[2]
        self._same, self._permits = task.same, task.permits
        self._envs: list[gymnasium.Env[Any, Any]] = []
        self._row = 0  # whose environment is made, or called
        self._channel = _opened(task, len(self._makers))

    def turn(self) -> bool:
        """Answers the next turn. False: it was the last."""
        kind = self._channel.next(None)
        if kind in (0, _core.LEFT):
            return False
        try:
            if len(self._envs) < len(self._makers):
                self._make()
            if kind == _core.CALL:
                self._call()
            elif self._permits is None:
                self._work(kind)
                self._channel.answer()
            else:
                with self._permits:
                    self._work(kind)
                self._channel.answer()
        except (KeyboardInterrupt, Exception) as error:
            row = self._row if kind == _core.CALL or len(self._envs) < len(self._makers) else self._channel.row
            self._channel.refuse((_FORMAT, _report(row, error)))
            return False
        return True

    def close(self) -> None:
        """Closes the environments, and says goodbye."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._channel.close)
            for env in reversed(self._envs):
                stack.callback(env.close)

    def _make(self) -> None:
        while len(self._envs) < len(self._makers):
            self._row = len(self._envs)
            self._envs.append(self._makers[self._row]())

    def _work(self, kind: int) -> None:
        if kind == _core.STEP:
            self._channel.step(self._envs)
        else:
            self._channel.reset(self._envs)

    def _call(self) -> None:
        blob = self._channel.called()
        assert blob is not None
        what, *arguments = pickle.loads(blob[1])
        ways: dict[str, Callable[..., Any]] = {"call": self._call_one, "set": self._set, "spaces": self._spaces}
        values: list[Any] = []
        while len(values) < len(self._envs):
            self._row = len(values)
            values.append(ways[what](self._envs[self._row], *arguments))
        self._channel.give((_FORMAT, dumps(values)))

    def _call_one(self, env: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in ("reset", "step", "close", "_setattr", "_check_spaces"):
            raise ValueError(
                f"Trying to call function `{name}` with `call`, use `{name}` directly instead."
            )  # in Gymnasium's words
        attribute = env.get_wrapper_attr(name)
        return attribute(*args, **kwargs) if callable(attribute) else attribute

    def _set(self, env: Any, name: str, values: Sequence[Any]) -> None:
        env.set_wrapper_attr(name, values[self._row])

    def _spaces(self, env: Any) -> tuple[bool, bool]:
        """Whether the observation space and the action space are like the others'."""
        mine = env.observation_space
        if self._same:
            alike = self._observation_space == mine
        else:
            alike = is_space_dtype_shape_equiv(self._observation_space, mine)
        return bool(alike), bool(self._action_space == env.action_space)


def _opened(task: Task, num_rows: int) -> _core.WorkerEnv:
    """The worker's side of the channel. FERRY_ADDRESS is for what its environments may open."""
    layout = task.layout
    redirection = os.environ.pop("FERRY_ADDRESS", None)
    try:
        return _core.WorkerEnv(
            f"fd:{task.pair.detach()}",
            layout.fields,
            layout.observation,
            layout.action,
            codecs=codecs(layout),
            decode=decode,
            encode=encode,
            name=f"worker {task.number}",
            num_rows=num_rows,
            conform=lambda value: _conformed(layout.observation, layout.fields, value),
            mode=task.mode,
        )
    finally:
        if redirection is not None:
            os.environ["FERRY_ADDRESS"] = redirection
