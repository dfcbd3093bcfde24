"""What all agent sides have in common: a gymnasium.Env whose environment lives in another process."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NoReturn

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ferry import _core, blobs, spaces
from ferry.errors import BackendError, FerryTimeoutError, LayoutMismatchError, ProtocolError

__all__ = ["Adapter", "public", "with_role"]

_ROLES = ((_core.OBSERVATION, "observation"), (_core.ACTION, "action"))


class Adapter(gymnasium.Env[Any, Any]):
    """A gymnasium.Env that steps an environment in another process.

    Args:
        address: Where to meet; None: FERRY_ADDRESS in the process environment.
        timeout: Seconds to wait for the environment, when connecting and for each answer; None for ever. FERRY_TIMEOUT
            in the process environment takes precedence (0: for ever).
        copy: True: observations are arrays of the caller's own. False: read-only views of the shared memory, which stay
            right until the step after the next.
        check_actions: "range": the range of Discrete, MultiDiscrete and MultiBinary, and the shape and kind of all;
            "bounds": the bounds of Box besides.
        max_bytes: An environment that needs more shared memory is refused; None: 1 GiB.
        render_mode: How the environment shall draw: one of `metadata["render_modes"]`, which it tells. An environment
            that its backend makes itself is made anew where it was made for another mode. "human" draws where the
            environment lives.

    Raises:
        FerryTimeoutError: Nobody was met in time.
        AddressError: The address is taken, or its folder cannot be used.
        ValueError: The address is malformed.
        BusyError: The environment is held by another agent.
        ProtocolError: Whoever was met speaks another version, or not Ferry.
    """

    # What may be; an instance lists what its environment offers.
    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's own declaration
        "render_modes": ["human", "rgb_array", "depth_array", "ansi", "rgb_array_list", "depth_array_list", "ansi_list"]
    }

    _role: ClassVar[Literal["serve", "connect"]] = "connect"
    # The function of this package that makes one, if it is not the class.
    _maker: ClassVar[str | None] = None
    _after_loss = "; reset() meets the next one"

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float | None = 60.0,
        copy: bool = True,
        check_actions: Literal["range", "bounds"] = "range",
        max_bytes: int | None = None,
        render_mode: str | None = None,
        _of: Mapping[str, Any] | None = None,
    ) -> None:
        # _of: for a channel of a vector environment, what its agents have besides.
        self._is_single = _of is None
        if check_actions not in ("range", "bounds"):
            raise ValueError(f"check_actions is 'range' or 'bounds', not {check_actions!r}")
        if not isinstance(copy, bool):
            raise TypeError(f"copy is True or False, not {copy!r}")
        self._timeout = effective_timeout(timeout)
        if self._role == "serve":
            address = with_role("serve", address if address is not None else os.environ.get("FERRY_ADDRESS"))
        self._address = address
        self._make_agent: Callable[[str | None], _core.Agent] = lambda place: _core.Agent(
            place,
            timeout=self._timeout,
            decode=blobs.decode,
            encode=blobs.encode,
            copy=copy,
            bounds=check_actions == "bounds",
            max_bytes=max_bytes or 0,
            after_loss=self._after_loss,
            **(_of or {}),
        )
        self._open(address, self._farewell_of())
        self._fields: tuple[_core.Field, ...] | None = None
        self._described: dict[str, spaces.Descriptions] = {}
        self._takes_calls = False
        self._num_rows = 1
        self._copies = copy
        self._index = -1
        self.render_mode = render_mode
        self._options_format = blobs.JSON
        self._remote_spec: EnvSpec | None = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def __init_subclass__(cls) -> None:
        """Says in every adapter's own documentation what its arguments are."""
        super().__init_subclass__()
        own, arguments = (
            inspect.cleandoc(cls.__doc__ or ""),
            inspect.cleandoc(Adapter.__doc__ or "").partition("\n\n")[2],
        )
        if not cls.__name__.startswith("_") and "Args:" not in own and "__init__" not in vars(cls):
            cls.__doc__ = f"{own}\n\n{arguments}"

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes an action and returns what followed: (observation, reward, terminated, truncated, info).

        Raises:
            ResetNeeded: No episode has been begun on this connection, or the last call failed.
            InvalidAction: The action is not one of the action space; the environment has not seen it.
            BackendError: The environment raised.
            PeerGoneError: The environment is gone; `reset` connects again.
            FerryTimeoutError: No answer in time; `wait` goes on waiting.
        """
        return self._agent.step(action)

    def reset(
        self, *, seed: int | np.integer[Any] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode and returns (observation, info); connects again if the environment was lost.

        Args:
            seed: 0 to 2**63 - 1, for this object's `np_random` and the environment's; None leaves both as they are.
            options: Plain data for the environment; None is not {}.

        Raises:
            BackendError: The environment raised.
            LayoutMismatchError: Another environment than before was met.
            PeerGoneError: The environment is gone; the next call connects again.
            FerryTimeoutError: No answer in time; `wait` goes on waiting.
        """
        if isinstance(seed, np.integer):
            seed = int(seed)
        if isinstance(seed, int) and seed >= 2**63:
            raise ValueError(f"the seed {seed} is too large to travel; it may be 0 to 2**63 - 1")
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"options are a dict or None, not {type(options).__name__}")
        super().reset(seed=seed)
        if not self._agent.connected:
            self._connect()
        blob = None if options is None else (self._options_format, blobs.encode(options, self._options_format))
        return self._agent.reset(self._fresh_seed() if seed is None else seed, blob)

    def wait(self) -> tuple[Any, ...]:
        """Waits again for the answer that a time-out or Ctrl-C left owed, and returns it as `step` or `reset` would."""
        return self._agent.resume()

    def render(self) -> Any:
        """Has the environment draw, as the `render_mode` says.

        Returns:
            For "rgb_array" a uint8 array of shape (height, width, 3), for "ansi" a str, for modes that end in "_list" a
            list of them, for "human" None.

        Raises:
            BackendError: The environment raised.
        """
        if self.render_mode is None:
            offered = self.metadata["render_modes"]
            remedy = (
                f"make it with one: render_mode={offered[0]!r}, say" if offered else "and its environment offers none"
            )
            gymnasium.logger.warn(f"{self} was made without a render mode; {remedy}")
            return None
        return self._request(op="render")

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a method of the environment, or of a wrapper around it, and returns what it returns.

        Args:
            name: Of the method; public, which names with a leading underscore are not.
            args: Plain data: numbers, text, bytes, arrays, lists, tuples, dicts.
            kwargs: Plain data.

        Raises:
            BackendError: The environment raised, has no such method, or returned what cannot travel. The episode goes
                on.
            TypeError: An argument cannot travel.
        """
        return self._request(op="call", name=public(name), args=list(args), kwargs=kwargs)

    def get_attr(self, name: str) -> Any:
        """The value of a public attribute of the environment, or of a wrapper around it. Raises as `call` does."""
        return self._request(op="get", name=public(name))

    def set_attr(self, name: str, value: Any) -> None:
        """Sets a public attribute where the environment or a wrapper has it; else on the outermost wrapper.

        It stays set for the agents that come after.
        """
        self._request(op="set", name=public(name), value=value)

    def has_wrapper_attr(self, name: str) -> bool:
        """Whether this object, or the environment on the other side, has the attribute."""
        return hasattr(self, name) or (self._asks_for(name) and bool(self._request(op="has", name=name)))

    def get_wrapper_attr(self, name: str) -> Any:
        """The attribute of this object; if it has none of the name, that of the environment on the other side.

        A method of the environment comes as a function that calls it.
        """
        if hasattr(self, name) or not self._asks_for(name):
            return getattr(self, name)
        kind = self._request(op="has", name=name)
        if not kind:
            raise AttributeError(f"neither {self} nor its environment has the attribute {name!r}")
        return functools.partial(self.call, name) if kind == "method" else self.get_attr(name)

    def set_wrapper_attr(self, name: str, value: Any, *, force: bool = True) -> bool:
        """Sets the attribute of this object; if it has none of the name, that of the environment on the other side."""
        if not hasattr(self, name) and self._asks_for(name) and self._request(op="has", name=name):
            self.set_attr(name, value)
            return True
        if hasattr(self, name) or force:
            setattr(self, name, value)
            return True
        return False

    def _asks_for(self, name: str) -> bool:
        return self._takes_calls and not name.startswith("_")

    def _make_sure_it_is_connected(self) -> None:
        if not self._agent.connected:
            self._connect()

    def _request(self, **request: Any) -> Any:
        self._make_sure_it_is_connected()
        if not self._takes_calls:
            raise BackendError(f"the environment at {self} takes no calls")
        return self._agent.call((self._options_format, blobs.encode(request, self._options_format)))

    def __str__(self) -> str:
        address = "FERRY_ADDRESS" if self._address is None else self._address
        return f"<{type(self).__name__} {address!r}>"

    def close(self) -> None:
        """Says goodbye; the environment of a server goes on. May be called again."""
        self._farewell()

    @property
    def remote_spec(self) -> EnvSpec | None:
        """The environment's own spec, as plain data: its id, reward threshold, time limit; None if it told none."""
        return self._remote_spec

    def _open(self, address: str | None, afterwards: Callable[[], None] | None) -> None:
        """Makes the agent that everything is asked of."""
        self._agent = self._make_agent(address)
        # Runs once: in close(), when the adapter is collected, or at the interpreter's exit.
        self._farewell = weakref.finalize(self, _farewell, self._agent, afterwards)

    def _farewell_of(self) -> Callable[[], None] | None:
        """What else is to be done after the goodbye; it must not refer to this object."""
        return None

    def _fresh_seed(self) -> int | None:
        """The seed that a reset without one gives to the environment."""
        return None

    def _connect(self) -> None:
        """Waits for an environment, and makes sure that it is the one that was here before, if any."""
        if not self._met():
            raise FerryTimeoutError(self._agent.why)
        name, fields, self._options_format, about, self._takes_calls, num_rows, self._index = self._agent.describe()
        try:
            if self._is_single and num_rows > 1:
                raise LayoutMismatchError(
                    f"the environment {name} has {num_rows} rows, and this object is for one; "
                    f"ferry.{'Client' if self._role == 'connect' else 'Server'}VectorEnv steps them all"
                )
            described = self._tell(name, about)
            if self._fields is None:
                observation_space, action_space = (
                    spaces.compose(fields, role, described.get(key, {})) for role, key in _ROLES
                )
                self.observation_space, self.action_space = observation_space, action_space
            elif num_rows != self._num_rows:
                raise LayoutMismatchError(
                    f"the environment {name} has {num_rows} rows; the one before had {self._num_rows}"
                )
            elif fields != self._fields or not _equal(described, self._described):
                lines = "\n  ".join(["", *spaces.differences(self._fields, fields)])
                remedy = f"make a new {type(self).__name__} for it"
                raise LayoutMismatchError(f"the environment {name} is not shaped as the one before; {remedy}:{lines}")
            self._agent.bind(
                fields,
                spaces.template(fields, _core.OBSERVATION),
                spaces.template(fields, _core.ACTION),
                spaces.codecs(fields, self.observation_space, self.action_space),
            )
            if self.render_mode is not None:
                self._ask_to_draw(name)
        except BaseException:
            self._agent.disconnect()
            raise
        self._fields, self._described, self._num_rows = fields, described, num_rows

    def _ask_to_draw(self, name: str) -> None:
        offered = self.metadata["render_modes"]
        if self.render_mode not in offered:
            raise ValueError(
                f"the environment {name} does not offer the render mode {self.render_mode!r}; it offers {offered}. A "
                "backend offers all modes if it makes its environment itself: of an id, or of a callable that takes "
                "render_mode"
            )
        self._request(op="render_mode", mode=self.render_mode)

    def _met(self) -> bool:
        """Waits for an environment; False if none came in time."""
        return self._agent.connect(self._timeout)

    def _tell(self, name: str, about: tuple[int, bytes] | None) -> dict[str, spaces.Descriptions]:
        """Takes over what the environment says of itself; only plain data, nothing of it is imported or run.

        Returns:
            What it says of its spaces: by "observation" and "action", then by path.
        """
        try:
            told = blobs.decode(about[1], about[0]) if about is not None else {}
            told = told if isinstance(told, dict) else {}
            metadata, described = told.get("metadata"), spaces.described(told)
            metadata = {"render_modes": [], **(metadata if isinstance(metadata, dict) else {})}
            metadata["render_modes"] = list(metadata["render_modes"] or [])
            self._remote_spec = _spec(told.get("spec"))
        except Exception as error:  # foreign data in Gymnasium's hands: it may stumble in any way
            raise ProtocolError(f"what the environment {name} says of itself cannot be read: {error}") from error
        self.metadata = {**type(self).metadata, **metadata}
        return described

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"a {name} holds a live connection and can be neither pickled nor copied; pass a function that makes one, "
            f"such as lambda: ferry.{self._maker or name}(...), and call it where the environment is needed"
        )


def public(name: str) -> str:
    """The name, if it is that of a public attribute."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    if name.startswith("_") or not name.isidentifier():
        raise ValueError(f"{name!r} is not the name of a public attribute")
    return name


def _equal(one: Any, other: Any) -> bool:
    """Whether two plain values are the same, arrays among them."""
    return blobs.pack(one) == blobs.pack(other)


def with_role(role: Literal["serve", "connect"], address: str | None) -> str | None:
    """Gives a bare name or path a role that is not its side's usual one; None, and what says more, stay as they are."""
    if isinstance(address, str) and not address.startswith(("serve:", "connect:", "fd:")):
        return f"{role}:{address}"
    return address


def _farewell(agent: _core.Agent, afterwards: Callable[[], None] | None) -> None:
    agent.close()
    if afterwards is not None:
        afterwards()


def _spec(told: Any) -> EnvSpec | None:
    """The spec in JSON text, as of EnvSpec.to_json or shorter, or in a map."""
    if isinstance(told, str):
        told = json.loads(told)
    return EnvSpec.from_json(json.dumps({"additional_wrappers": [], **told})) if isinstance(told, dict) else None


def effective_timeout(timeout: float | None) -> float | None:
    """Seconds, None for ever; FERRY_TIMEOUT has the last word."""
    text = os.environ.get("FERRY_TIMEOUT")
    if text:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < math.inf:
            raise ValueError(f"FERRY_TIMEOUT is {text!r}; it takes seconds, 0 for ever")
        return seconds or None
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float, np.integer, np.floating)) or not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}; it takes seconds, or None for ever")
    return None if math.isinf(timeout) else float(timeout)
