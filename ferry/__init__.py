"""Ferry: the Gymnasium API across a process boundary, at close to the speed of the memory bus.

One process holds an environment, another the agent that plays it; they meet at an address and take turns::

    ferry.ServerBackend("CartPole-v1", "pole").run()  # one process

    env = ferry.ClientEnv("pole")  # another: a gymnasium.Env
"""

from __future__ import annotations

from gymnasium.envs.registration import register as _register
from gymnasium.envs.registration import registry as _registry

try:
    from ferry import _core
except ImportError as _error:
    raise ImportError(
        f"Ferry's compiled part is missing ({_error}). If this is Ferry's source folder, run `make build` and use "
        ".venv/bin/python, or start Python elsewhere; if it is installed, install it again: "
        "pip install --force-reinstall ferry-fast"
    ) from _error
from ferry.asyncvectorenv import AsyncVectorEnv
from ferry.clientbackend import ClientBackend
from ferry.clientenv import ClientEnv
from ferry.clientvectorenv import ClientVectorEnv
from ferry.errors import (
    AddressError,
    BackendError,
    BusyError,
    FerryError,
    FerryTimeoutError,
    LayoutMismatchError,
    PeerGoneError,
    ProtocolError,
)
from ferry.launch import AttachedEnv, LaunchedEnv, LaunchedVectorEnv, launch
from ferry.observer import Observer
from ferry.paths import cmake as get_cmake_dir
from ferry.paths import include as get_include
from ferry.paths import library as get_library_dir
from ferry.paths import pkgconfig as get_pkgconfig_dir
from ferry.realtimeenv import RealtimeEnv, RealtimeVectorEnv
from ferry.recentactions import RecentActions
from ferry.serverbackend import ServerBackend
from ferry.serverenv import ServerEnv
from ferry.servervectorenv import ServerVectorEnv

__all__ = [
    "AddressError",
    "AsyncVectorEnv",
    "AttachedEnv",
    "BackendError",
    "BusyError",
    "ClientBackend",
    "ClientEnv",
    "ClientVectorEnv",
    "FerryError",
    "FerryTimeoutError",
    "LaunchedEnv",
    "LaunchedVectorEnv",
    "LayoutMismatchError",
    "Observer",
    "PeerGoneError",
    "ProtocolError",
    "RealtimeEnv",
    "RealtimeVectorEnv",
    "RecentActions",
    "ServerBackend",
    "ServerEnv",
    "ServerVectorEnv",
    "get_cmake_dir",
    "get_include",
    "get_library_dir",
    "get_pkgconfig_dir",
    "launch",
]

__version__: str = _core.version()

# Ferry checks actions and the order of calls itself, so that Gymnasium's wrappers for it would only cost time.
for _name, _vector in (("Client", "ferry:ClientVectorEnv"), ("Server", None), ("Realtime", None)):
    if f"ferry/{_name}-v0" not in _registry:
        _register(
            f"ferry/{_name}-v0",
            f"ferry:{_name}Env",
            order_enforce=False,
            disable_env_checker=True,
            vector_entry_point=_vector,
        )
if "ferry/Launch-v0" not in _registry:
    _register("ferry/Launch-v0", "ferry:launch", order_enforce=False, disable_env_checker=True)
