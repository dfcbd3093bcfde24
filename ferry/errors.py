"""What can go wrong, as exceptions.

Bad arguments are ValueError or TypeError; where Gymnasium has a word of its own, that one is raised, so that code
written for any environment keeps working.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

from gymnasium.error import InvalidAction, ResetNeeded

__all__ = [
    "AddressError",
    "BackendError",
    "BusyError",
    "FerryError",
    "FerryTimeoutError",
    "InvalidAction",
    "LayoutMismatchError",
    "PeerGoneError",
    "ProtocolError",
    "ResetNeeded",
]


class FerryError(Exception):
    """Base of all errors that Ferry adds."""


class FerryTimeoutError(FerryError, TimeoutError, multiprocessing.TimeoutError):
    """The other side is silent, but alive. The turn stands: ``wait()`` goes on waiting, ``reset()`` starts afresh."""


class PeerGoneError(FerryError, ConnectionError):
    """The other side said goodbye or died. The next ``reset()`` of an adapter connects again."""


class AddressError(FerryError):
    """The address is taken, or its folder cannot be used."""


class BusyError(FerryError):
    """The environment is held by another agent."""


class ProtocolError(FerryError):
    """The other side speaks another version, or not Ferry, or has scribbled over the shared memory."""


class LayoutMismatchError(FerryError):
    """The environment that was met again is not shaped like the one before; the text names each difference."""


class BackendError(FerryError):
    """The environment raised, or answered with what its spaces do not allow. The next call must be ``reset()``.

    Attributes:
        remote_type: Name of the exception's class on the environment's side, "" if there was none.
        remote_traceback: Its traceback, formatted, "" if there was none.
        row: In a batch, the row whose environment it was, if that is known; else None.
    """

    def __init__(self, text: str, remote_type: str = "", remote_traceback: str = "", row: int | None = None) -> None:
        super().__init__(text, remote_type, remote_traceback, row)
        self.remote_type = remote_type
        self.remote_traceback = remote_traceback
        self.row = row

    def __str__(self) -> str:
        return str(self.args[0])

    @classmethod
    def of_report(cls, channel: str, report: Any, remedy: str = "; the next call must be reset()") -> BackendError:
        """Makes the error from what a backend reported.

        Args:
            channel: What the text calls the environment, in quotes where it has a name.
            report: Plain text, or a mapping with "type", "text" and "traceback".
            remedy: What the text ends with.
        """
        if not isinstance(report, dict):
            return cls(f"the environment {channel} failed: {words(report)}{remedy}")
        kind, text, traceback = (words(report.get(key, "")) for key in ("type", "text", "traceback"))
        raised = f"{kind}: {text}" if text else kind
        message = f"the environment {channel} raised {raised}{remedy}"
        if traceback:
            message += f"\n\nOn the environment's side:\n{traceback.rstrip()}"
        row = report.get("row")
        return cls(message, kind, traceback, row if type(row) is int else None)


def words(told: Any) -> str:
    """What a peer said, as text, whatever it is: Python refuses to write numbers of thousands of digits."""
    try:
        return str(told)
    except ValueError:
        return f"(a value of type {type(told).__name__} that cannot be written)"
