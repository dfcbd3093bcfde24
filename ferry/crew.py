"""The parent's side of worker processes: starting them, asking them, hearing what became of them, ending them."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from gymnasium import logger
from gymnasium.vector.utils import CloudpickleWrapper, clear_mpi_env_vars
from numpy.typing import NDArray

from ferry import _core
from ferry.asyncworker import Layout, Space, Task, WorkerError, codecs, decode, dumps, encode, work
from ferry.errors import BackendError, FerryError, FerryTimeoutError, PeerGoneError

__all__ = ["Crew"]

# Seconds in which who was told to go should be gone: first by goodbye, then by SIGTERM.
_GRACE = 2.0
# Seconds between looks whether somebody who is dead still holds a permit.
_LOOK = 0.5


class Crew:
    """Worker processes, each with a block of the rows.

    Args:
        makers: Functions that make the environments, by row.
        sizes: How many rows each worker has.
        layout: Where observations and actions lie.
        single_spaces: The single observation space and the single action space.
        context: Of multiprocessing, by name; None: its default.
        daemon: As of a multiprocessing.Process.
        name: What processes are called, but for their number.
        mode: What becomes of rows whose episode has ended.
        same: Whether observation spaces must be equal, or only of one dtype and shape.
        max_concurrency: How many workers may reset or step at the same time; None: all.
        fixed: Whether observations lie in the same arrays each time.

    Raises:
        Exception: What an environment raised when it was made.
        PeerGoneError: A worker died before it was ready.

    Attributes:
        processes: By number of the worker.
    """

    def __init__(
        self,
        makers: Sequence[Callable[[], Any]],
        sizes: Sequence[int],
        layout: Layout,
        single_spaces: tuple[Space, Space],
        *,
        context: str | None,
        daemon: bool,
        name: str,
        mode: int,
        same: bool,
        max_concurrency: int | None,
        fixed: bool,
    ) -> None:
        self._owner = os.getpid()
        self._ended = False
        self._first = [0, *itertools.accumulate(sizes)]
        self.processes: list[Any] = []
        self._agents: list[_core.Agent] = []
        self._gone: dict[int, PeerGoneError] = {}
        self._asked: list[int] | None = None  # whom the last message went to; None: everybody
        self._late = False
        ctx: Any = multiprocessing.get_context(context)
        self._permits: Any = None if max_concurrency is None else ctx.BoundedSemaphore(int(max_concurrency))
        self._freed: set[int] = set()
        ends: list[socket.socket] = []
        try:
            with clear_mpi_env_vars():
                for index in range(len(sizes)):
                    given = (list(makers[self._first[index] : self._first[index + 1]]), *single_spaces)
                    ours, theirs = socket.socketpair()
                    ends.append(ours)
                    with theirs:
                        inherited = tuple(ends) if ctx.get_start_method() == "fork" else ()
                        wrapper: Any = CloudpickleWrapper(given)  # type: ignore[arg-type]
                        task = Task(index, wrapper, theirs, inherited, layout, mode, same, self._permits)
                        process = ctx.Process(target=work, name=f"{name}-{index}", args=(task,), daemon=daemon)
                        process.start()
                        self.processes.append(process)
            self._join(ends, layout)
            self._workers = _core.Workers(self._agents, sizes, self._bell, None)
            if fixed:
                self._workers.fix()
            self._begin()
        except BaseException:
            self.end(terminate=True)
            raise
        finally:
            for end in ends:
                end.close()

    def _join(self, ends: Sequence[socket.socket], layout: Layout) -> None:
        """Connects to every worker."""
        self._bell = _core.Bell()
        for index, end in enumerate(ends):
            agent = _core.Agent(
                f"fd:{end.fileno()}",
                timeout=None,
                decode=decode,
                encode=encode,
                max_bytes=_core.UNLIMITED,
                bell=self._bell,
                trusted=True,
            )
            self._agents.append(agent)
            end.detach()  # connecting takes it over
            try:
                agent.connect(None)
            except PeerGoneError:
                raise self._ended_by(index) from None
            agent.describe()
            agent.bind(layout.fields, layout.observation, layout.action, codecs(layout))

    def _begin(self) -> None:
        """Has the environments made."""
        self._send(_core.RESET, [dumps(None)] * len(self._agents))
        self.collect(None)

    # ---- Asking ----

    def step(self, actions: Any) -> bool:
        """Sends actions to all rows, if they are arrays just like those of the batched action space.

        Returns:
            Whether they are. If not, nothing was sent.
        """
        self._make_sure_all_are_here()
        self._asked = None
        return self._workers.send_typed(actions)

    def step_each(self, actions: Sequence[Any]) -> None:
        """Sends an action to each row."""
        self._send(_core.STEP, [dumps(list(actions[rows])) for rows in self._blocks()])

    def reset(self, seeds: Sequence[Any] | None, options: Any, mask: NDArray[np.bool_] | None) -> None:
        """Sends a reset to all rows.

        Args:
            seeds: One for each row; None: none for anybody.
            options: The same for all.
            mask: Of the rows that are meant; None: all.
        """
        if seeds is None and options is None:
            contents: list[bytes | None] = [None] * len(self._agents)
        else:
            contents = [dumps((None if seeds is None else seeds[rows], options)) for rows in self._blocks()]
        if mask is None:
            self._send(_core.RESET, contents)
            return
        chosen = [np.flatnonzero(mask[rows]).astype(np.uint32) for rows in self._blocks()]
        members = [index for index, rows in enumerate(chosen) if len(rows)]
        self._send(_core.RESET, [contents[i] for i in members], members, [chosen[i] for i in members])

    def call(self, *request: Any) -> None:
        """Sends a request to all workers."""
        content = dumps(request)
        self._send(_core.CALL, [content] * len(self._agents))

    def set(self, name: str, values: Sequence[Any]) -> None:
        """Sends to each row the value of an attribute."""
        self._send(_core.CALL, [dumps(("set", name, list(values[rows]))) for rows in self._blocks()])

    def _blocks(self) -> list[slice]:
        return [slice(first, last) for first, last in itertools.pairwise(self._first)]

    def _send(
        self,
        kind: int,
        contents: Sequence[bytes | None],
        members: list[int] | None = None,
        rows: Sequence[NDArray[np.uint32]] | None = None,
    ) -> None:
        self._make_sure_all_are_here()
        self._workers.send_blobs(kind, contents, members, rows)
        self._asked = members

    def _make_sure_all_are_here(self) -> None:
        if self._late:
            # Nobody waits for these answers any more, but they come before the next.
            _, errors, _ = self._wait(self._workers.owing(), None)
            self._late = False
            if errors:
                self._fail(errors)
        if self._gone:
            raise next(iter(self._gone.values())).with_traceback(None)

    # ---- Hearing ----

    def collect(self, timeout: float | None) -> Any:
        """What followed the last message: as `_core.Workers.collect` says.

        Args:
            timeout: Seconds, None for ever.

        Raises:
            FerryTimeoutError: Not all have answered; the text says who has not.
            PeerGoneError: A worker is gone.
            Exception: What an environment raised.
        """
        late, errors, result = self._wait(self._asked, timeout)
        if late is not None:
            self._late = True
            raise FerryTimeoutError(f"No answer yet from {' and '.join(map(self._name, late))}.")
        if errors is not None:
            self._fail(errors)
        return result

    def observations(self) -> Any:
        """The last observations of all rows."""
        return self._workers.observations()

    def _wait(
        self, members: Sequence[int] | None, timeout: float | None
    ) -> tuple[list[int] | None, dict[int, FerryError] | None, Any]:
        limit = None if timeout is None else max(timeout, 0.0)
        if self._permits is None:
            return self._workers.collect(members, limit)
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            left = _LOOK if deadline is None else max(min(_LOOK, deadline - time.monotonic()), 0.0)
            heard = self._workers.collect(members, left)
            if heard[0] is None or left == 0.0:
                return heard
            self._free_permits()

    def _free_permits(self) -> None:
        """Gives back what workers may have held when they died, so that the others need not wait for it for ever."""
        for index, process in enumerate(self.processes):
            if index not in self._freed and not process.is_alive():
                self._freed.add(index)
                with contextlib.suppress(ValueError):  # it held none
                    self._permits.release()

    def _fail(self, errors: Mapping[int, FerryError]) -> NoReturn:
        """Tells every error, as Gymnasium does, and raises the last that an environment raised."""
        last: Exception | None = None
        failed = False
        for index, error in errors.items():
            if isinstance(error, WorkerError):
                where = f" (row {self._first[index] + error.row})" if self._size(index) > 1 else ""
                logger.error("Received the following error from Worker-%d%s - Shutting it down", index, where)
                logger.error("%s", error.trace)
                self._gone[index] = PeerGoneError(
                    f"{self._name(index)} was shut down after {error.text}; close() and make a new one"
                )
                last, failed = self._raisable(index, error), True
            else:
                self._gone[index] = self._ended_by(index, error)
                last = last or self._gone[index]
            self._agents[index].close()
        assert last is not None
        if failed:
            logger.error("Raising the last exception back to the main process.")
        raise last

    def _raisable(self, index: int, failure: WorkerError) -> Exception:
        if failure.exception is not None:
            kind, value = failure.exception
            with contextlib.suppress(Exception):
                raised: Any = kind(value)
                return raised  # type: ignore[no-any-return]
            if isinstance(value, Exception):
                return value
        kind_name = failure.text.partition(":")[0]
        return BackendError(
            f"{self._name(index)} raised {failure.text}, which cannot be pickled",
            kind_name,
            failure.trace,
            self._first[index] + failure.row,
        )

    def _size(self, index: int) -> int:
        return self._first[index + 1] - self._first[index]

    def _name(self, index: int) -> str:
        first, last = self._first[index], self._first[index + 1] - 1
        return f"worker {index} ({f'row {first}' if first == last else f'rows {first} to {last}'})"

    def _ended_by(self, index: int, error: FerryError | None = None) -> PeerGoneError:
        """What to raise for a worker that is gone, or of no use any more after another error of its channel."""
        gone = error is None or isinstance(error, PeerGoneError)
        told = self.fate(index) if gone else f"is of no use any more: {error}"
        return PeerGoneError(
            f"{self._name(index)}, pid {self.processes[index].pid}, {told}; close() and make a new one"
        )

    def fate(self, index: int) -> str:
        """How a worker ended, in words."""
        process = self.processes[index]
        process.join(_GRACE)  # its channel goes a moment before itself
        code = process.exitcode
        if code is None:
            return "has left its channel"
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was killed by {signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'}"

    # ---- Ending ----

    def end(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Says goodbye to every worker and waits until all are gone. May be called again, and does nothing in a fork.

        Args:
            timeout: Seconds after which who is still there is terminated; None: never, unless its answer is late.
            terminate: Whether they are terminated at once.
        """
        if self._ended or os.getpid() != self._owner:
            return
        self._ended = True
        if self._late and timeout is None:
            timeout = _GRACE
        for agent in self._agents:
            agent.close()
        if not terminate:
            self._outlast(timeout)
        self._each_alive("terminate")
        self._outlast(_GRACE)
        self._each_alive("kill")
        self._outlast(None)

    def _outlast(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        for process in self.processes:
            process.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))

    def _each_alive(self, do: str) -> None:
        for process in self.processes:
            if process.is_alive():
                getattr(process, do)()
