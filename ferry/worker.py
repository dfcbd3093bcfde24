"""The process of an environment that a function makes: what `launch` gives to it, and what it does with that.

It is run by its path, ``python .../ferry/worker.py FD NAME NUM``, and not as ``-m ferry.worker``: the list of folders
that modules are imported from arrives behind FD with the function, and nothing but the standard library is imported
before it has taken the place of this process's own. So Ferry, too, is found where the launcher has found it.
"""

from __future__ import annotations

import faulthandler
import functools
import inspect
import io
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["command"]


def command(make: Callable[..., Any], kwargs: Mapping[str, Any], num_envs: int = 1) -> tuple[list[str], bytes]:
    """The command of a process that serves what a function makes, and the bytes to give to it.

    Args:
        make: Makes a gymnasium.Env. Lambdas, closures and what stands in __main__ go over by value, what a module of
            another name holds by this name.
        kwargs: Its arguments.
        num_envs: How many environments it shall make there, which are stepped together.

    Raises:
        TypeError: It cannot be called so, or cannot be pickled.
    """
    import cloudpickle  # which nothing else here needs

    name = _name(make)
    kwargs = _arguments(make, name, kwargs)
    try:
        pickled = cloudpickle.dumps(functools.partial(make, **kwargs) if kwargs else make)
    except Exception as error:
        raise TypeError(
            f"{name} cannot be taken to another process: {error}; let it make within itself what cannot be pickled "
            "(locks, open files, connections, environments)"
        ) from error
    return [sys.executable, os.path.abspath(__file__), "{given}", name, str(num_envs)], pickle.dumps(
        _module_path()
    ) + pickled


def _name(make: Callable[..., Any]) -> str:
    while isinstance(make, functools.partial):
        make = make.func
    named = make if hasattr(make, "__qualname__") else type(make)
    return f"{named.__module__}:{named.__qualname__}"


def _arguments(make: Callable[..., Any], name: str, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of its first call, which it must be able to take. A render mode is asked for afterwards."""
    try:
        signature = inspect.signature(make)
    except (ValueError, TypeError):  # a callable that does not tell
        return kwargs
    drawing = signature.parameters.get("render_mode")
    if drawing is not None and drawing.default is drawing.empty:
        kwargs = {"render_mode": None, **kwargs}
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        given = f"with the arguments {', '.join(kwargs)}" if kwargs else "without arguments"
        raise TypeError(
            f"{name} cannot be called {given}: {error}; launch passes on what it is given by name, beside its own "
            "options: give it what is missing, or wrap it in a lambda"
        ) from None
    return kwargs


def _module_path() -> list[str]:
    """The folders that modules are imported from, as a process in another folder has to write them."""
    texts = [entry for entry in sys.path if isinstance(entry, str)]
    return [os.path.abspath(entry) if os.path.exists(entry or os.curdir) else entry for entry in texts]


def _received(given: io.BufferedIOBase) -> Callable[..., Any]:
    try:
        made: Callable[..., Any] = pickle.load(given)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"what was given to launch needs what cannot be imported in its own process: {error}; put it where import "
            "finds it, or have it taken along: cloudpickle.register_pickle_by_value(module)"
        ) from error
    return made


def main() -> None:
    """Serves the environment at FERRY_ADDRESS until its agent has gone."""
    faulthandler.enable()  # the launcher tells the last that was printed
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    # These bytes are the parent's own, and came through no address: only such bytes does Ferry unpickle.
    with open(int(sys.argv[1]), "rb") as given:
        sys.path[:] = pickle.load(given)
        import ferry

        make = _received(given)
    ferry.ServerBackend(make, num_envs=int(sys.argv[3])).run()


if __name__ == "__main__":
    main()
