"""What all vector environments have in common: many rows, in one or more other processes, stepped as one."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace, TracebackType
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from typing_extensions import Self

from ferry import _core, blobs, spaces
from ferry.adapter import Adapter, public
from ferry.errors import (
    BackendError,
    FerryError,
    FerryTimeoutError,
    InvalidAction,
    LayoutMismatchError,
    PeerGoneError,
)

__all__ = [
    "MODES",
    "ScopedVectorEnv",
    "VectorAdapter",
    "all_of",
    "autoreset_of",
    "check_number_of_seeds",
    "checked_mask",
]

# The words of the library for Gymnasium's.
MODES = {
    AutoresetMode.DISABLED: _core.DISABLED,
    AutoresetMode.NEXT_STEP: _core.NEXT_STEP,
    AutoresetMode.SAME_STEP: _core.SAME_STEP,
}


class ScopedVectorEnv(VectorEnv[Any, Any, Any]):
    """A gymnasium.vector.VectorEnv that a with statement closes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VectorAdapter(ScopedVectorEnv):
    """A gymnasium.vector.VectorEnv over channels, each to a backend with one row or more.

    Rows are numbered through: those of the first channel, then those of the second. Everything but the batch itself
    (connecting, calls, what becomes of an environment that is gone) is the affair of one `Adapter` for each channel.

    Args:
        make: Makes the channels, each given what its agent has besides: keyword arguments.
        autoreset_mode: "next_step", "same_step" or "disabled", or the member of AutoresetMode.

    Raises:
        LayoutMismatchError: The environments are not alike.
    """

    _spec: EnvSpec | None = None

    def __init__(
        self,
        make: Callable[[Mapping[str, Any]], Sequence[Adapter]],
        *,
        autoreset_mode: str | AutoresetMode,
        num_envs: int | None = None,
    ) -> None:
        self._mode = autoreset_of(autoreset_mode)
        self._bell = _core.Bell()
        self._channels: Sequence[Adapter] = list(make({"autoreset": MODES[self._mode], "bell": self._bell}))
        self._farewell = weakref.finalize(self, _farewell, self._close_channels, self._channels, self._bell)
        try:
            self._prepare()
            # make_vec says 1 where nobody says anything.
            if num_envs is not None and num_envs not in (1, self.num_envs):
                raise LayoutMismatchError(
                    f"num_envs is {num_envs}, and the backends have {self.num_envs} rows; leave num_envs out, or serve "
                    "as many"
                )
        except BaseException:
            self._farewell()
            raise

    def _prepare(self) -> None:
        first = self._channels[0]
        for channel in self._channels[1:]:
            _make_sure_they_are_alike(first, channel)
        rows = [channel._num_rows for channel in self._channels]
        # The number of the first row of each channel, and of all.
        self._first = [int(number) for number in np.concatenate([[0], np.cumsum(rows)])]
        self.num_envs = self._first[-1]
        self.single_observation_space, self.single_action_space = first.observation_space, first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)
        self.metadata = {**first.metadata, "autoreset_mode": self._mode}
        self.render_mode = first.render_mode
        self.copy = first._copies
        self.spec = first.remote_spec
        self._options_format = first._options_format
        self._agents = _core.Agents([channel._agent for channel in self._channels], rows, self._bell, _merged)
        self._resetting = False  # what was sent are resets
        self._asked: tuple[list[int | None], tuple[int, bytes] | None] = ([], None)  # their seeds and options
        self._sent: list[int] | None = None  # numbers of the channels whose answers step_wait, reset_wait or recv get
        self._lost: dict[int, str] = {}  # by number of the channel: those whose environment is gone, and how it went
        self._heard = 0  # after whom recv listens next

    # ---- Stepping all rows ----

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Takes an action in every row: (observations, rewards, terminations, truncations, infos).

        Raises:
            ResetNeeded: A row has no episode under way.
            InvalidAction: An action is not one of the action space; no environment has seen any.
            BackendError: An environment raised; `row` says in which.
            PeerGoneError: A backend is gone; `reset` connects again.
            FerryTimeoutError: No answer in time; `step_wait` goes on waiting.
        """
        if self._sent:
            self._make_sure_nothing_is_sent("step()")
        fresh = self._replaced() if self._lost else None
        self._resetting = False
        try:
            errors, result = self._agents.step(actions, fresh)
        except BaseException:
            self._note_what_is_owed()
            raise
        if fresh and not errors:
            self._settle(fresh)
        return self._result(None, errors, result) if errors else result  # type: ignore[no-any-return]

    def step_async(self, actions: Any) -> None:
        """Sends an action to every row; `step_wait` gets what follows."""
        self._make_sure_nothing_is_sent("step_async()")
        self._agents.send(actions, fresh=self._replaced() if self._lost else None)
        self._sent, self._resetting = self._all, False

    def step_wait(
        self, timeout: float | None = None
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """What follows the actions of `step_async`.

        Args:
            timeout: Seconds; None: the object's `timeout`. After FerryTimeoutError it may be called again.
        """
        result: tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]
        result = self._received("step_async()", timeout, are_resets=False)
        return result

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode in every row: (observations, infos).

        Args:
            seed: Of row 0, and row i has seed + i; or one for each row.
            options: Plain data for the environments. "reset_mask", a bool array, is for this object: only these rows
                are reset, and the others' observations come as they were.
        """
        self.reset_async(seed=seed, options=options)
        return self.reset_wait()

    def reset_async(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> None:
        """Sends a reset to every row; `reset_wait` gets what follows. Answers that are owed are awaited, forgotten."""
        seeds = self._seeds(seed)
        mask = None
        if options is not None and "reset_mask" in options:
            options = dict(options)
            mask = checked_mask(options.pop("reset_mask"), self.num_envs)
        self._np_random_from(seed)
        self._meet_again(seeds)
        blob = None if options is None else (self._options_format, blobs.encode(options, self._options_format))
        self._asked = (seeds, blob)
        self._resetting = True
        try:
            members = self._agents.send_resets(seeds, blob, mask)
        except BaseException:
            self._note_what_is_owed()
            raise
        self._sent = self._all if len(members) == len(self._channels) else members

    def reset_wait(self, timeout: float | None = None) -> tuple[Any, dict[str, Any]]:
        """What follows `reset_async`."""
        result: tuple[Any, dict[str, Any]] = self._received("reset_async()", timeout, are_resets=True)
        return result

    # ---- Stepping whoever is ready ----

    def send(self, actions: Any, env_ids: Sequence[int] | NDArray[Any] | None = None) -> None:
        """Sends actions to some rows; `recv` gets what follows.

        Args:
            actions: Of the batched action space, but of as many rows.
            env_ids: Numbers of the rows: all rows of one or more backends. None: all.
        """
        members = self._members_of(env_ids)
        if self._resetting:
            self._make_sure_nothing_is_sent("send()")
        under_way = set(self._sent or ())
        again = sorted(under_way.intersection(members))
        if again:
            raise FerryError(f"the backends {again} have not been heard since the last send(); call recv() first")
        self._agents.send(actions, members, self._replaced() if self._lost else None)
        self._sent, self._resetting = [*(self._sent or ()), *members], False

    def recv(
        self, batch_size: int | None = None, timeout: float | None = None
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """What follows the actions of `send`, from whoever is ready first.

        Args:
            batch_size: Rows to wait for; whole backends are returned, so that there may be more. None: all that were
                sent.
            timeout: Seconds; None: the object's `timeout`.

        Returns:
            As `step`, for these rows alone; `infos["env_id"]` has their numbers.
        """
        sent = self._sent
        if not sent or self._resetting:
            raise FerryError("recv() with nothing sent; call send() first")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is 1 or more")
        wanted, rows = (len(sent), 0) if batch_size is None else (0, 0)
        if batch_size is not None:
            for member in sorted(sent, key=lambda member: self._channels[member]._num_rows):
                if rows >= batch_size:
                    break
                rows += self._channels[member]._num_rows
                wanted += 1
            if rows < batch_size:
                raise ValueError(
                    f"batch_size is {batch_size}, and actions were sent to {rows} rows; send more, or ask for fewer"
                )
        ready = self._agents.wait(sent, wanted, self._channels[0]._timeout if timeout is None else timeout)
        if len(ready) < wanted:
            raise FerryTimeoutError(f"{len(ready)} of {wanted} backends answered in time; recv() goes on waiting")
        # Round and round, so that quick backends with low numbers leave the others their turn.
        count = len(self._channels)
        members = sorted(ready, key=lambda member: (member - self._heard) % count)[:wanted]
        self._heard = (members[-1] + 1) % count
        self._sent = [member for member in sent if member not in members]
        errors, result = self._agents.receive(members, timeout)
        try:
            result = self._result(members, errors, result)
        except (FerryError, InvalidAction):
            # What the others said is for the next recv.
            self._sent += self._agents.give_back(members, errors or {})
            raise
        result[4]["env_id"] = np.concatenate([np.arange(self._first[m], self._first[m + 1]) for m in members])
        received: tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]] = result
        return received

    def _members_of(self, env_ids: Sequence[int] | NDArray[Any] | None) -> list[int]:
        """The channels whose rows these are."""
        if env_ids is None:
            return list(self._all)
        wanted, members = [int(number) for number in env_ids], []
        while wanted:
            member = int(np.searchsorted(self._first, wanted[0], "right")) - 1
            rows = (
                list(range(self._first[member], self._first[member + 1])) if 0 <= member < len(self._channels) else []
            )
            if not rows or wanted[: len(rows)] != rows:
                raise ValueError(
                    f"env_ids are the rows of whole backends, each in order, such as {list(range(self._first[1]))}; "
                    f"not {wanted[: len(rows) or 1]}"
                )
            members.append(member)
            wanted = wanted[len(rows) :]
        if len(set(members)) < len(members) or not members:
            raise ValueError("env_ids names no row, or one twice")
        return members

    # ---- Results ----

    @functools.cached_property
    def _all(self) -> list[int]:
        return list(range(len(self._channels)))

    def _make_sure_nothing_is_sent(self, what: str) -> None:
        if self.closed:
            raise FerryError(f"{self} is closed; make a new one to go on")
        if self._sent:
            raise FerryError(f"{what} while answers are owed; step_wait() or recv() gets them, reset() starts afresh")

    def _note_what_is_owed(self) -> None:
        """After an exception, which may have come before anything was sent or after all was received."""
        if self._agents.busy:  # another thread is at it, and this call has done nothing
            return
        owing = self._agents.owing()
        self._sent = self._all if owing == self._all else owing or None

    def _received(self, after: str, timeout: float | None, *, are_resets: bool) -> Any:
        if not self._sent or self._resetting != are_resets:
            raise FerryError(f"there is nothing to wait for; call {after} first")
        members = None if self._sent is self._all else self._sent
        try:
            errors, result = self._agents.receive(members, timeout, are_resets)
        except BaseException:
            self._note_what_is_owed()
            raise
        self._sent = None
        return self._result(members, errors, result)

    def _result(self, members: Sequence[int] | None, errors: Mapping[int, Exception] | None, result: Any) -> Any:
        if not errors:
            return result
        for member, error in errors.items():
            if isinstance(error, PeerGoneError):
                self._lost[member] = str(error)
        return self._mended(members, errors)

    def _mended(self, members: Sequence[int] | None, errors: Mapping[int, Exception]) -> Any:
        """What a step returns in spite of errors, if anything; here the first is raised, with the row in its text."""
        member, error = next(iter(errors.items()))
        raise self._named(member, error)

    def _replaced(self) -> dict[int, list[int | None]] | None:
        """Seeds for the channels that have met another environment since a loss; None: there are none."""
        return None

    def _settle(self, members: Iterable[int]) -> None:
        """What has been met since a loss has taken a step."""

    def _meet_again(self, seeds: Sequence[int | None]) -> None:
        """Makes sure, before a reset, that every channel has an environment."""
        for channel in self._channels:
            channel._make_sure_it_is_connected()
        self._lost.clear()

    def _named(self, member: int, error: Exception) -> Exception:
        """The error, which says where it was."""
        first, count = self._first[member], self._channels[member]._num_rows
        row = first if count == 1 else None
        if isinstance(error, BackendError):
            if row is None and error.row is not None and 0 <= error.row < count:  # what a peer says, as everything
                row = first + error.row
            error.row = row
        if self.num_envs > 1 and error.args:
            rows = f"rows {first} to {first + count - 1}" if row is None else f"row {row}"
            where = f"backend {member}, {rows}" if len(self._channels) > 1 else rows
            error.args = (f"{where}: {error.args[0]}", *error.args[1:])
        return error

    # ---- Calls ----

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Calls a method of every environment, or reads an attribute of theirs.

        Args:
            name: Public name, through wrappers; of a method, or of an attribute if there are no arguments.
            args: Plain data.
            kwargs: Plain data.

        Returns:
            One value for each row.
        """
        return self.call_rows(range(self.num_envs), name, *args, **kwargs)

    def call_rows(
        self, rows: Sequence[int] | NDArray[np.integer[Any]], name: str, /, *args: Any, **kwargs: Any
    ) -> tuple[Any, ...]:
        """As `call`, for some rows, in the order given."""
        if name == "render":
            return self._request(rows, op="render")
        return self._request(rows, op="call_or_get", name=public(name), args=list(args), kwargs=kwargs)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """The value of a public attribute of every environment, or of a wrapper around it."""
        return self._request(range(self.num_envs), op="get", name=public(name))

    def set_attr(self, name: str, values: Any) -> None:
        """Sets a public attribute of every environment.

        Args:
            name: Of the attribute.
            values: A list or tuple with one for each row; anything else is for all.
        """
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(
                f"set_attr takes one value, or one for each of the {self.num_envs} rows; not {len(values)}"
            )
        self._make_sure_nothing_is_sent("set_attr()")
        for member, channel in enumerate(self._channels):
            part = list(values[self._first[member] : self._first[member + 1]])
            self._request_of(channel, {"op": "set", "name": public(name), "value": part[0], "values": part})

    def render(self) -> tuple[Any, ...] | None:
        """Has every environment draw, as the `render_mode` says: one frame for each row."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                f"{self} was made without a render mode; make it with one of {self.metadata['render_modes']}"
            )
            return None
        return self._request(range(self.num_envs), op="render")

    def _request(self, rows: Sequence[int] | NDArray[np.integer[Any]], **request: Any) -> tuple[Any, ...]:
        self._make_sure_nothing_is_sent("a call")
        rows = [int(row) for row in rows]
        if any(not 0 <= row < self.num_envs for row in rows):
            raise ValueError(f"the rows {rows} are not all there; there are {self.num_envs}")
        values: dict[int, Any] = {}
        for member, channel in enumerate(self._channels):
            first, last = self._first[member], self._first[member + 1]
            wanted = sorted({row - first for row in rows if first <= row < last})
            if wanted:
                got = self._request_of(channel, {**request, "rows": wanted})
                values.update(zip([first + row for row in wanted], got, strict=True))
        return tuple(values[row] for row in rows)

    def _request_of(self, channel: Adapter, request: dict[str, Any]) -> Any:
        if channel._num_rows > 1:
            return channel._request(**request)
        request.pop("values", None)
        request.pop("rows", None)
        if request["op"] == "call_or_get":
            request["op"] = "call"
            if not request["args"] and not request["kwargs"]:
                kind = channel._request(op="has", name=request["name"])
                if kind == "value":
                    request = {"op": "get", "name": request["name"]}
        return [channel._request(**request)]

    # ---- Small things ----

    @property
    def spec(self) -> EnvSpec | None:
        """What made this object, if gymnasium.make_vec did; else the environments' own spec, as plain data."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:  # a mode is told by its name, so that the spec can be written as JSON
            modes = {key: value for key, value in spec.kwargs.items() if isinstance(value, AutoresetMode)}
            spec = dataclasses.replace(spec, kwargs={**spec.kwargs, **{key: modes[key].name.lower() for key in modes}})
        self._spec = spec

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            seeds: list[int | None] = [int(seed) + row for row in range(self.num_envs)]
        else:
            seeds = [None if each is None else int(each) for each in seed]
        check_number_of_seeds(seeds, self.num_envs)
        for each in seeds:
            if each is not None and not 0 <= each < 2**63:
                raise ValueError(f"the seed {each} cannot travel; it may be 0 to 2**63 - 1")
        return seeds

    def _np_random_from(self, seed: Any) -> None:
        if isinstance(seed, (int, np.integer)):
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(int(seed))

    def close_extras(self, **_kwargs: Any) -> None:
        """Says goodbye to every backend; those of a server go on. `close` calls it."""
        self._farewell()

    @staticmethod
    def _close_channels(channels: Sequence[Adapter]) -> None:
        for channel in channels:
            channel.close()

    def __iter__(self) -> Iterator[NoReturn]:
        raise TypeError(f"a {type(self).__name__} is not a sequence; its rows live in other processes")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"a {name} holds live connections and can be neither pickled nor copied; pass a function that makes one, "
            f"such as lambda: ferry.{name}(...), and call it where the environment is needed"
        )


def autoreset_of(mode: str | AutoresetMode) -> AutoresetMode:
    """The member that a name means: "next_step", or Gymnasium's own "NextStep"."""
    if isinstance(mode, AutoresetMode):
        return mode
    names = {name: member for member in AutoresetMode for name in (member.name.lower(), str(member.value))}
    if mode not in names:
        raise ValueError(
            f"autoreset_mode is {mode!r}; it may be {', '.join(repr(m.name.lower()) for m in AutoresetMode)}"
        )
    return names[mode]


def check_number_of_seeds(seeds: Sequence[Any], num_envs: int) -> None:
    """Raises ValueError, in Gymnasium's words, if there is not one for each row."""
    if len(seeds) != num_envs:
        raise ValueError(
            f"If seeds are passed as a list the length must match num_envs={num_envs} but got length={len(seeds)}."
        )


def checked_mask(mask: Any, num_envs: int) -> NDArray[np.bool_]:
    """The rows that options["reset_mask"] names. Raises TypeError or ValueError, in Gymnasium's words."""
    if not isinstance(mask, np.ndarray):
        raise TypeError(f"`options['reset_mask']` must be a numpy array, got {type(mask)}")
    if mask.shape != (num_envs,):
        raise ValueError(f"`options['reset_mask']` must have shape `({num_envs},)`, got {mask.shape}")
    if mask.dtype != np.bool_:
        raise TypeError(f"`options['reset_mask']` must have `dtype=np.bool_`, got {mask.dtype}")
    if not mask.any():
        raise ValueError(
            f"`options['reset_mask']` must contain a boolean array with at least one True value, got reset_mask={mask}"
        )
    return mask


def all_of(channels: Iterable[Adapter]) -> list[Adapter]:
    """What an iterator makes; if one of them fails, those before it are closed."""
    made: list[Adapter] = []
    try:
        made.extend(channels)
    except BaseException:
        for channel in made:
            channel.close()
        raise
    return made


def _make_sure_they_are_alike(one: Adapter, other: Adapter) -> None:
    lines = list(spaces.differences(one._fields or (), other._fields or ()))
    if not lines and (one.observation_space != other.observation_space or one.action_space != other.action_space):
        lines = [f"{one.observation_space}, {one.action_space} is not {other.observation_space}, {other.action_space}"]
    if lines:
        shown = "\n  ".join(["", *lines])
        raise LayoutMismatchError(
            f"the environments of {one} and {other} are not alike; a batch needs equal spaces:{shown}"
        )


def _farewell(close: Callable[[Sequence[Adapter]], None], channels: Sequence[Adapter], bell: _core.Bell) -> None:
    close(channels)
    bell.close()


class _Infos(SimpleNamespace):
    """As many rows as an exchange has, in place of a VectorEnv: for Gymnasium's own way of merging infos."""

    _add_info = VectorEnv._add_info


def _merged(num_envs: int, entries: Sequence[_core.Entry], infos: dict[str, Any]) -> dict[str, Any]:
    """Infos as a VectorEnv has them: an array for each key, and a mask of the rows that have it."""
    merger: Any = _Infos(num_envs=num_envs)
    for row, info, *final in entries:
        try:
            if final:
                infos = merger._add_info(infos, {"final_obs": final[0], "final_info": final[1]}, row)
            infos = merger._add_info(infos, info, row)
        except Exception as error:  # Gymnasium stumbles over it in many ways
            raise ValueError(
                f"the info of row {row} of the batch does not go together with those before it: {error}; let each key "
                "have values of one type and shape in all rows"
            ) from error
    return infos
