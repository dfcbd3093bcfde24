from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferry.descriptions import Codec
from ferry.errors import FerryError
from ferry.spaces import Template

OBSERVATION: Final[int]
ACTION: Final[int]
INFO: Final[int]
BOX: Final[int]
DISCRETE: Final[int]
MULTI_DISCRETE: Final[int]
MULTI_BINARY: Final[int]
DICT: Final[int]
TUPLE: Final[int]
STRING: Final[int]
OTHER: Final[int]
STEP: Final[int]
RESET: Final[int]
LEFT: Final[int]
DISABLED: Final[int]
NEXT_STEP: Final[int]
SAME_STEP: Final[int]
CALL: Final[int]
FRAME: Final[int]
LATEST: Final[int]
MAX_NDIM: Final[int]
UNLIMITED: Final[int]
DTYPES: Final[dict[int, str]]

class Field(NamedTuple):
    path: str
    role: int
    kind: int
    dtype: int
    shape: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 0.0
    low_each: bytes | None = None
    high_each: bytes | None = None
    n: int = 0
    start: int = 0
    capacity: int = 0

def version() -> str: ...
def exception(code: int, text: str) -> Exception: ...
def bounds_of(field: Field) -> tuple[NDArray[Any], NDArray[Any]]: ...

class Handle:
    @property
    def label(self) -> str: ...
    @property
    def why(self) -> str: ...
    def close(self) -> None: ...

class Agent(Handle):
    @property
    def connected(self) -> bool: ...
    @property
    def needs_reset(self) -> bool: ...
    @property
    def owes(self) -> bool: ...
    @property
    def has_reset(self) -> bool: ...
    def __init__(
        self,
        address: str | None,
        *,
        timeout: float | None,
        decode: Callable[[bytes, int], Any],
        encode: Callable[[Any, int], bytes],
        copy: bool = True,
        bounds: bool = False,
        max_bytes: int = 0,
        after_loss: str = "",
        autoreset: int = 0,
        bell: Bell | None = None,
        siblings: list[Agent] | None = None,
        trusted: bool = False,
        realtime: bool = False,
    ) -> None: ...
    def connect(self, timeout: float | None) -> bool: ...
    def disconnect(self) -> None: ...
    def describe(self) -> tuple[str, tuple[Field, ...], int, tuple[int, bytes] | None, bool, int, int]: ...
    def bind(
        self, fields: Sequence[Field], observation: Template, action: Template, codecs: dict[int, Codec]
    ) -> None: ...
    def call(self, request: tuple[int, bytes]) -> Any: ...
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]: ...
    def act(self, action: Any) -> None: ...
    def see(self, pace: int) -> tuple[Any, float, bool, bool, dict[str, Any]]: ...
    def reset(self, seed: int | None, options: tuple[int, bytes] | None) -> tuple[Any, dict[str, Any]]: ...
    def resume(self) -> tuple[Any, ...]: ...

Row: TypeAlias = tuple[Any, Any, float, bool, bool, dict[str, Any], int, float]

class Observer(Handle):
    def __init__(self, address: str | None, *, decode: Callable[[bytes, int], Any], max_bytes: int = 0) -> None: ...
    def attach(self, timeout: float | None) -> tuple[str, tuple[Field, ...], tuple[int, bytes] | None, int] | None: ...
    def bind(
        self, fields: Sequence[Field], observation: Template, action: Template, codecs: dict[int, Codec]
    ) -> None: ...
    def next(self, timeout: float | None) -> tuple[int, int, float, list[int], int, float, list[Row]] | None: ...

class Bell:
    def close(self) -> None: ...

Entry: TypeAlias = tuple[int, dict[str, Any]] | tuple[int, dict[str, Any], Any, dict[str, Any]]

class Agents:
    def __init__(
        self,
        agents: Sequence[Agent],
        rows: Sequence[int],
        bell: Bell,
        merge: Callable[[int, list[Entry], dict[str, Any]], dict[str, Any]],
    ) -> None: ...
    @property
    def busy(self) -> bool: ...
    def replace(self, number: int, agent: Agent) -> None: ...
    def step(
        self, action: Any, fresh: dict[int, list[int | None]] | None = None
    ) -> tuple[dict[int, Exception] | None, Any]: ...
    def send(
        self,
        action: Any,
        members: Sequence[int] | None = None,
        fresh: dict[int, list[int | None]] | None = None,
    ) -> None: ...
    def send_resets(
        self, seeds: Sequence[int | None], options: tuple[int, bytes] | None, mask: NDArray[np.bool_] | None
    ) -> list[int]: ...
    def wait(self, members: Sequence[int] | None, at_least: int, timeout: float | None) -> list[int]: ...
    def receive(
        self, members: Sequence[int] | None = None, timeout: float | None = None, is_reset: bool = False
    ) -> tuple[dict[int, Exception] | None, Any]: ...
    def owing(self) -> list[int]: ...
    def give_back(self, members: Sequence[int], errors: Mapping[int, Exception]) -> list[int]: ...
    def observe(self) -> Any: ...
    def result_of_resets(self, members: Sequence[int] | None) -> Any: ...
    def result_despite(self, members: Sequence[int] | None, lost: dict[int, dict[str, Any]]) -> Any: ...

class Workers(Agents):
    def __init__(self, agents: Sequence[Agent], rows: Sequence[int], bell: Bell, merge: None) -> None: ...
    def fix(self) -> None: ...
    def send_typed(self, actions: Any) -> bool: ...
    def send_blobs(
        self,
        kind: int,
        contents: Sequence[bytes | None],
        members: Sequence[int] | None = None,
        rows: Sequence[NDArray[np.uint32] | None] | None = None,
    ) -> None: ...
    def collect(
        self, members: Sequence[int] | None = None, timeout: float | None = None
    ) -> tuple[list[int] | None, dict[int, FerryError] | None, Any]: ...
    def observations(self) -> Any: ...

class Env(Handle):
    def __init__(
        self,
        address: str | None,
        fields: Sequence[Field],
        observation: Template,
        action: Template,
        *,
        codecs: dict[int, Codec],
        decode: Callable[[bytes, int], Any],
        encode: Callable[[Any, int], bytes],
        about: tuple[int, bytes] | None = None,
        name: str | None = None,
        max_bytes: int = 0,
        num_rows: int = 1,
        trusted: bool = False,
        realtime: bool = False,
    ) -> None: ...
    @property
    def is_at_rest(self) -> bool: ...
    def next(self, timeout: float | None) -> int: ...
    def stop(self) -> None: ...
    def rows(self) -> list[int]: ...
    def action(self, row: int = 0) -> Any: ...
    def seed(self, row: int = 0) -> int | None: ...
    def options(self) -> tuple[int, bytes] | None: ...
    def called(self) -> tuple[int, bytes] | None: ...
    def give(self, value: tuple[int, bytes]) -> None: ...
    def reason(self) -> Exception | None: ...
    def put(self, row: int, observation: Any, reward: float, terminated: bool, truncated: bool) -> None: ...
    def reply(self, info: tuple[int, bytes] | None) -> None: ...
    def refuse(self, report: tuple[int, bytes]) -> None: ...

class WorkerEnv(Env):
    @property
    def row(self) -> int: ...
    def __init__(
        self,
        address: str,
        fields: Sequence[Field],
        observation: Template,
        action: Template,
        *,
        codecs: dict[int, Codec],
        decode: Callable[[bytes, int], Any],
        encode: Callable[[Any, int], bytes],
        name: str,
        num_rows: int,
        conform: Callable[[Any], Any],
        mode: int,
    ) -> None: ...
    def step(self, envs: list[Any]) -> None: ...
    def reset(self, envs: list[Any]) -> None: ...
    def answer(self) -> None: ...
