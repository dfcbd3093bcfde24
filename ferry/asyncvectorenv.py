"""Gymnasium's AsyncVectorEnv, with Ferry's channels in the place of pipes."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import gymnasium
import numpy as np
from gymnasium import logger, spaces
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from gymnasium.vector import AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState
from gymnasium.vector.async_vector_env import AsyncVectorEnv as _Gymnasiums
from gymnasium.vector.utils import batch_differing_spaces, batch_space, create_shared_memory, iterate
from numpy.typing import NDArray

from ferry import _core
from ferry.asyncworker import layout_of
from ferry.crew import Crew
from ferry.engine import INHERITS, processors
from ferry.errors import FerryTimeoutError, PeerGoneError
from ferry.vector import MODES, check_number_of_seeds, checked_mask

__all__ = ["AsyncVectorEnv"]

if TYPE_CHECKING:
    _Base = _Gymnasiums[Any, Any]
else:
    _Base = _Gymnasiums  # which takes no parameters in older releases

# Seconds that workers have to close their environments when nobody has called close().
_LAST_GRACE = 2.0


class AsyncVectorEnv(_Base):
    """Runs environments in processes of their own, as gymnasium.vector.AsyncVectorEnv does, in its place.

    Arguments, attributes, methods and errors are Gymnasium's; its documentation holds. What is different:

    - Observations and actions travel through shared memory, without pipes.
    - Fewer workers than environments may be had, each with some of them.
    - Every space works with `shared_memory=True`, but classes of one's own, which Gymnasium refuses.
    - A worker that was killed is noticed, whoever waits: PeerGoneError. `close` ends who does not answer any more.

    On Windows it is Gymnasium's, with a worker for each row.

    Example::

        envs = ferry.AsyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 8, workers="auto")
        observations, infos = envs.reset(seed=0)
        observations, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())

    Args:
        env_fns: Functions that make the environments, by row. One more of the first is made here, for its spaces.
        shared_memory: Kept for Gymnasium's sake. Observations lie in shared memory either way.
        copy: Whether observations are the caller's own. If not, they are the same arrays each time.
        context: How processes start: "fork", "spawn" or "forkserver"; None: multiprocessing's default.
        daemon: As of a multiprocessing.Process.
        worker: A worker function as Gymnasium describes it. Then nothing of Ferry's is used.
        observation_mode: "same", "different", or a pair of batched and single observation space.
        autoreset_mode: What becomes of a row whose episode has ended: the member or its value.
        max_concurrency: How many workers may reset or step at the same time; None: all.
        workers: How many processes there are, at most one for each row; the rows are dealt out in blocks. None: one for
            each row. "auto": as many as there are processors for this process.

    Raises:
        ValueError: An argument has an impossible value, or shared_memory is True and a space is a class of one's own.
        RuntimeError: The spaces of the environments are not alike.
        Exception: What an environment raised when it was made.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env[Any, Any]]],
        shared_memory: bool = True,
        copy: bool = True,
        context: str | None = None,
        daemon: bool = True,
        worker: Callable[..., None] | None = None,
        observation_mode: Any = "same",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        max_concurrency: int | None = None,
        *,
        workers: int | str | None = None,
    ) -> None:
        self._crew: Crew | None = None
        arguments: dict[str, Any] = {
            "shared_memory": shared_memory,
            "copy": copy,
            "context": context,
            "daemon": daemon,
            "worker": worker,
            "observation_mode": observation_mode,
            "autoreset_mode": autoreset_mode,
        }
        if max_concurrency is not None:  # which older releases do not know
            arguments["max_concurrency"] = max_concurrency
        if worker is not None:
            super().__init__(env_fns, **arguments)
            return
        self.env_fns = env_fns
        for name, value in arguments.items():
            setattr(self, name, value)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.max_concurrency = _checked_concurrency(max_concurrency)
        self.num_envs = len(env_fns)
        sizes = _sizes(self.num_envs, workers)
        self._take_spaces()
        layout = layout_of(self.single_observation_space, self.single_action_space)
        # Arrays of a dtype or of more dimensions than fields have; or Windows, where workers inherit no channels.
        if layout is None or not INHERITS:
            super().__init__(env_fns, **arguments)
            return
        self.parent_pipes = []
        self._crew = Crew(
            env_fns,
            sizes,
            layout,
            (self.single_observation_space, self.single_action_space),
            context=context,
            daemon=daemon,
            name=f"Worker<{type(self).__name__}>",
            mode=MODES[self.autoreset_mode],
            same=isinstance(observation_mode, str) and observation_mode == "same",
            max_concurrency=self.max_concurrency,
            fixed=not copy,
        )
        self.processes = self._crew.processes
        # When the object is collected, or at the interpreter's exit. After close() there is nothing left to do.
        weakref.finalize(self, self._crew.end, _LAST_GRACE)
        self._is_plain = all(f.kind != _core.OTHER for f in layout.fields if f.role == _core.OBSERVATION)
        self._observations: Any = None if copy else self._crew.observations()
        self._state = AsyncState.DEFAULT
        try:
            self._check_spaces()
        except BaseException:
            self._crew.end(terminate=True)
            self.closed = True
            raise

    def _take_spaces(self) -> None:
        """Learns from an environment of the first row what all are like."""
        dummy = self.env_fns[0]()
        self.metadata = {**dummy.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = dummy.render_mode
        self.single_action_space = dummy.action_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        mode: Any = self.observation_mode
        if isinstance(mode, tuple) and len(mode) == 2:
            if not all(isinstance(space, gymnasium.Space) for space in mode):
                raise TypeError(
                    f"Expected both elements of observation_mode to be Spaces, got {type(mode[0])} and {type(mode[1])}"
                )
            self.observation_space, self.single_observation_space = mode
        elif mode == "same":
            self.single_observation_space = dummy.observation_space
            self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        elif mode == "different":
            each = [make().observation_space for make in self.env_fns]
            self.single_observation_space = each[0]
            self.observation_space = batch_differing_spaces(each)
        else:
            raise ValueError(
                "Invalid `observation_mode`, expected: 'same' or 'different' or tuple of single and batch observation "
                f"space, actual got {mode}"
            )
        dummy.close()
        if self.shared_memory and not _is_known(self.single_observation_space):
            raise ValueError(
                "Using `AsyncVector(..., shared_memory=True)` caused an error, you can disable this feature with "
                "`shared_memory=False` however this is slower."
            )

    @property
    def observations(self) -> Any:
        """The last observations: with `copy=False` the arrays themselves."""
        if self._crew is None or self.closed or not self.copy:
            return self._observations
        return self._crew.observations()

    @observations.setter
    def observations(self, value: Any) -> None:
        self._observations = value

    # ---- Resets ----

    def reset_async(self, seed: Any = None, options: dict[str, Any] | None = None) -> None:
        """Sends a reset to every row; `reset_wait` gets what follows.

        Args:
            seed: Of row 0, and row i has seed + i; or a list with one for each row.
            options: For the environments. "reset_mask", a bool array of shape (num_envs,), is taken out: only these
                rows are reset, and the others' observations come as they were.

        Raises:
            ClosedEnvironmentError: After `close`.
            ValueError: Not one seed for each row, or a mask of another shape or without a True.
            TypeError: A mask that is no bool array.
            AlreadyPendingCallError: Another call is waited for.
            PeerGoneError: A worker is gone.
        """
        if self._crew is None:
            super().reset_async(seed, options)
            return
        self._assert_is_running()
        if isinstance(seed, int):
            seed = [seed + row for row in range(self.num_envs)]
        if seed is not None:
            check_number_of_seeds(seed, self.num_envs)
        if self._state != AsyncState.DEFAULT:
            self._refuse_while_pending("reset_async", "")
        mask = None
        if options is not None and "reset_mask" in options:
            mask = checked_mask(options.pop("reset_mask"), self.num_envs)
        self._crew.reset(None if seed is None else list(seed), options, mask)
        self._state = AsyncState.WAITING_RESET

    def reset_wait(self, timeout: float | None = None) -> tuple[Any, dict[str, Any]]:
        """What follows `reset_async`: (observations, infos).

        Args:
            timeout: Seconds, None for ever. Whoever is late is waited for by the next call, and its answer dropped.

        Raises:
            ClosedEnvironmentError: After `close`.
            NoAsyncCallError: Nothing was sent.
            multiprocessing.TimeoutError: Not all have answered in time.
            PeerGoneError: A worker is gone.
            Exception: What an environment raised; its worker is shut down.
        """
        if self._crew is None:
            return super().reset_wait(timeout)
        observations, told = self._collected(AsyncState.WAITING_RESET, timeout)
        return self._seen(observations), self._merged(told)

    # ---- Steps ----

    def step_async(self, actions: Any) -> None:
        """Sends an action to every row; `step_wait` gets what follows.

        Args:
            actions: As of the batched action space; nothing is checked but their number. Arrays of just its dtype and
                shape are quickest.

        Raises:
            ClosedEnvironmentError: After `close`.
            AlreadyPendingCallError: Another call is waited for.
            ValueError: There are not as many as rows; nothing was sent.
            TypeError: They cannot be iterated over; nothing was sent.
            PeerGoneError: A worker is gone.
        """
        if self._crew is None:
            super().step_async(actions)
            return
        self._assert_is_running()
        if self._state != AsyncState.DEFAULT:
            self._refuse_while_pending("step_async")
        if not self._crew.step(actions):
            pairs = zip(range(self.num_envs), iterate(self.action_space, actions), strict=True)
            self._crew.step_each([action for _, action in pairs])
        self._state = AsyncState.WAITING_STEP

    def step_wait(
        self, timeout: float | None = None
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """What follows `step_async`: (observations, rewards, terminations, truncations, infos).

        Arguments and errors as for `reset_wait`.
        """
        if self._crew is None:
            return super().step_wait(timeout)
        observations, rewards, terminations, truncations, told = self._collected(AsyncState.WAITING_STEP, timeout)
        return self._seen(observations), rewards, terminations, truncations, self._merged(told)

    # ---- Calls ----

    def call_async(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """Calls a method of every environment, or reads an attribute of theirs; `call_wait` gets what they return.

        Raises:
            ClosedEnvironmentError: After `close`.
            AlreadyPendingCallError: Another call is waited for.
            PeerGoneError: A worker is gone.
        """
        if self._crew is None:
            super().call_async(name, *args, **kwargs)
            return
        self._assert_is_running()
        if self._state != AsyncState.DEFAULT:
            self._refuse_while_pending("call_async")
        self._crew.call("call", name, args, kwargs)
        self._state = AsyncState.WAITING_CALL

    def call_wait(self, timeout: float | None = None) -> tuple[Any, ...]:
        """What follows `call_async`: a value for each row. Arguments and errors as for `reset_wait`."""
        if self._crew is None:
            return super().call_wait(timeout)
        parts = self._collected(AsyncState.WAITING_CALL, timeout)
        return tuple(value for part in parts for value in part)

    def set_attr(self, name: str, values: Any) -> None:
        """Sets an attribute of every environment.

        Args:
            name: Of the attribute.
            values: A list or tuple with one for each row; anything else is for all.

        Raises:
            ClosedEnvironmentError: After `close`.
            ValueError: Not one value for each row.
            AlreadyPendingCallError: Another call is waited for.
            PeerGoneError: A worker is gone.
            Exception: What an environment raised; its worker is shut down.
        """
        if self._crew is None:
            super().set_attr(name, values)
            return
        self._assert_is_running()
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(
                "Values must be a list or tuple with length equal to the number of environments. Got "
                f"`{len(values)}` values for {self.num_envs} environments."
            )
        if self._state != AsyncState.DEFAULT:
            self._refuse_while_pending("set_attr")
        self._crew.set(name, values)
        self._crew.collect(None)

    def _check_spaces(self) -> None:
        if self._crew is None:
            super()._check_spaces()  # type: ignore[no-untyped-call]
            return
        self._crew.call("spaces")
        results = [pair for part in self._crew.collect(None) for pair in part]
        if not all(observation for observation, _ in results):
            if self.observation_mode == "same":
                raise RuntimeError(
                    "AsyncVectorEnv(..., observation_mode='same') however some of the sub-environments observation "
                    "spaces are not equivalent. If this is intentional, use `observation_mode='different'` instead."
                )
            raise RuntimeError(
                "AsyncVectorEnv(..., observation_mode='different' or custom space) however the sub-environment's "
                "observation spaces do not share a common shape and dtype."
            )
        if not all(action for _, action in results):
            raise RuntimeError(
                f"Some environments have an action space different from `{self.single_action_space}`. In order to "
                "batch actions, the action spaces from all environments must be equal."
            )

    # ---- The end ----

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Ends the workers; `close` calls it.

        Args:
            timeout: Seconds for a call that is under way, and then for the workers, before they are terminated.
                None: as long as it takes.
            terminate: Whether they are terminated at once; their environments are not closed then.
        """
        if self._crew is None:
            super().close_extras(timeout, terminate)
            return
        try:
            if self._state != AsyncState.DEFAULT:
                pending = self._state.value
                logger.warn(f"Calling `close` while waiting for a pending call to `{pending}` to complete.")
                with contextlib.suppress(PeerGoneError):
                    getattr(self, f"{pending}_wait")(0 if terminate else timeout)
        except FerryTimeoutError:
            terminate = True
        finally:
            if self.copy:
                with contextlib.suppress(Exception):
                    self._observations = self._crew.observations()
            self._crew.end(timeout, terminate)

    def __del__(self) -> None:
        """Leaves nothing behind: what is Ferry's has a finalizer."""
        if getattr(self, "_crew", None) is None:
            super().__del__()

    # ---- Small things ----

    def _refuse_while_pending(self, what: str, end: str = ".") -> NoReturn:
        pending = str(self._state.value)
        raise AlreadyPendingCallError(
            f"Calling `{what}` while waiting for a pending call to `{pending}` to complete{end}", pending
        )

    def _collected(self, state: AsyncState, timeout: float | None) -> Any:
        """The answers to the call of this kind."""
        self._assert_is_running()
        what = state.value
        if self._state != state:
            raise NoAsyncCallError(f"Calling `{what}_wait` without any prior call to `{what}_async`.", what)
        assert self._crew is not None
        try:
            result = self._crew.collect(timeout)
        except FerryTimeoutError as error:
            self._state = AsyncState.DEFAULT
            raise FerryTimeoutError(
                f"The call to `{what}_wait` has timed out after {timeout} second(s). {error}"
            ) from None
        except Exception:
            self._state = AsyncState.DEFAULT
            raise
        self._state = AsyncState.DEFAULT
        return result

    def _seen(self, observations: Any) -> Any:
        if self.copy:
            return observations
        if not self._is_plain:
            self._observations = observations
        return self._observations

    def _merged(self, told: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for row, info in told:
            infos = self._add_info(infos, info, row)
        return infos


def _checked_concurrency(limit: Any) -> int | None:
    if limit is None:
        return None
    if not isinstance(limit, (int, np.integer)):
        raise ValueError(f"`max_concurrency` must be an integer or None, got {type(limit)}.")
    if limit < 1:
        raise ValueError(f"`max_concurrency` must be a positive or None, got {limit}.")
    return limit  # type: ignore[return-value]


def _sizes(num_envs: int, workers: int | str | None) -> list[int]:
    """How many rows each worker has: no two differ by more than one."""
    if workers == "auto":
        count = processors()
    elif workers is None:
        count = num_envs
    elif isinstance(workers, (int, np.integer)) and not isinstance(workers, bool) and workers >= 1:
        count = int(workers)
    else:
        raise ValueError(f"workers is {workers!r}; it may be None, 'auto', or 1 or more")
    count = min(count, num_envs)
    return [num_envs // count + (index < num_envs % count) for index in range(count)] if count else []


def _is_known(space: gymnasium.Space[Any]) -> bool:
    """Whether Gymnasium knows how to put values of the space into shared memory, or that it cannot."""
    if isinstance(space, (spaces.Dict, spaces.Tuple, spaces.OneOf)):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return all(map(_is_known, parts))
    return create_shared_memory.dispatch(type(space)) is not create_shared_memory.dispatch(object)
