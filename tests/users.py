"""Processes of several users of the machine, which do as they are told.

`User(uid, ...)` starts this file as a program, which becomes that user and calls the functions that it is sent.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np

import ferry.__main__
import ferry.commands
import ferry.engine
import ferry.survey
import ferry.top

__all__ = ["RefusedError", "User", "ferry_says"]

TESTS = Path(__file__).resolve().parent
_PR_SET_DUMPABLE = 4


class RefusedError(Exception):
    """What a user was told to do raised an exception: "Class: text"."""


class User:
    """A process of a user.

    Args:
        uid: The user, who needs no account. Only root may be somebody else.
        module: The name of one that it imports first: what is called must need no more.
        variables: Of its environment, beside those of this process.
    """

    def __init__(self, uid: int, module: str, **variables: str) -> None:
        self.uid = uid
        # Whoever changes its user is not ended with its parent any more; it ends when nobody can tell it anything.
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(uid), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), **variables},
            start_new_session=True,
        )
        self.pid = self._process.pid

    def does(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function there, with a dict that the process keeps and the arguments.

        Returns:
            Its result, which JSON carries.

        Raises:
            RefusedError: It raised.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        cloudpickle.dump((function, arguments), self._process.stdin)
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process of user {self.uid} has ended"
        result, error = json.loads(answer)
        if error is not None:
            raise RefusedError(error)
        return result

    def end(self) -> None:
        """Kills it, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate(timeout=30)


def ferry_says(_: Any, *words: str) -> tuple[int, str]:
    """What the command `ferry` returns, and prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = ferry.__main__.main(words)
    return code, out.getvalue()


def _become(uid: int) -> None:
    if uid != os.geteuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        # What has changed its user is closed to its own user, too; what a user starts is not.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def _main(uid: int, module: str) -> None:
    # Python and the checkout may be where only root may read: so first all is imported.
    importlib.import_module(module)
    gymnasium.make("CartPole-v1").close()
    np.testing.assert_array_equal(0, 0)
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), 0)
    os.dup2(2, 1)
    _become(uid)
    kept: dict[str, Any] = {}
    while True:
        try:
            function, arguments = pickle.load(orders)
        except EOFError:
            return
        try:
            answer = [function(kept, *arguments), None]
        except Exception as error:
            answer = [None, f"{type(error).__name__}: {error}"]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2])
    os._exit(0)  # whatever threads may do
