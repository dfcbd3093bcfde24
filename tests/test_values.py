"""Values of every space go there and back as they were."""

from __future__ import annotations

import random
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

import ferry
import spaces_to_try
from conftest import PATIENCE, Connect
from ferry import blobs
from ferry import spaces as spaces_of_ferry
from same import assert_same
from values_to_try import random_text, random_value


class Echo(gymnasium.Env[Any, Any]):
    """Observes the action it was given."""

    def __init__(self, space: gymnasium.Space[Any], first: Any = None) -> None:
        self.observation_space = self.action_space = space
        self._first = space.sample() if first is None else first

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._first, {"options": options}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        info = {"big": bytes(100_000_000)} if type(action) is np.int64 and action == 1 else {"echo": True}
        return action, 0.0, False, False, info

    def make(self, size_bytes: int) -> bytes:
        return bytes(size_bytes)

    def names(self, /, **arguments: Any) -> dict[str, Any]:
        return arguments


@contextmanager
def echoing(space: gymnasium.Space[Any], first: Any = None, **options: Any) -> Iterator[ferry.ClientEnv]:
    """An agent whose environment, in another thread, gives its actions back."""
    backend = ferry.ServerBackend(Echo(space, first), "echo")
    thread = threading.Thread(target=backend.run)
    thread.start()
    try:
        with ferry.ClientEnv("echo", timeout=PATIENCE, **options) as env:
            yield env
    finally:
        backend.close()
        thread.join(PATIENCE)


@pytest.mark.filterwarnings("ignore:.*Casting input x to numpy array")  # of spaces without dimensions, by Gymnasium
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(spaces_to_try.SPACES, st.integers(0, 2**31))
def test_samples_of_any_space_go_there_and_back(space: gymnasium.Space[Any], seed: int) -> None:
    space.seed(seed)
    try:
        samples = [space.sample() for _ in range(3)]
    except (ValueError, OverflowError):  # Gymnasium's own, near the ends of 64 bits
        reject()
    assume(all(map(space.contains, samples)))  # there Gymnasium rounds some beyond their bounds
    with echoing(space, samples[0]) as env:
        spaces_to_try.assert_same_space(env.observation_space, space)
        spaces_to_try.assert_same_space(env.action_space, space)
        assert_same(env.reset()[0], samples[0])
        for sample in samples:
            assert_same(env.step(sample)[0], sample)


def test_options_and_infos_go_there_and_back() -> None:
    """Ten thousand of them: what comes back in the info went there as an option."""
    chance = random.Random(1)
    with echoing(spaces.Discrete(2)) as env:
        for _ in range(10_000):
            options = {random_text(chance): random_value(chance) for _ in range(chance.randrange(4))}
            assert_same(env.reset(options=options)[1], {"options": options})


def test_large_options_and_infos_arrive_and_larger_ones_are_refused() -> None:
    with echoing(spaces.Discrete(2)) as env:
        option = np.arange(50_000_000, dtype=np.uint8)
        assert_same(env.reset(options={"x": option})[1]["options"]["x"], option)
        assert_same(env.call("make", 100_000_000), bytes(100_000_000))
        assert len(env.step(1)[4]["big"]) == 100_000_000
        with pytest.raises(ferry.FerryError, match=r"a blob of 300000[0-9]* bytes: at most 268435456 can travel"):
            env.reset(options={"x": bytes(300_000_000)})
        with pytest.raises(ferry.BackendError, match=r"a blob of 300000[0-9]* bytes: at most 268435456 can travel"):
            env.call("make", 300_000_000)
        assert env.reset()[1] == {"options": None}


SENTENCES = spaces.Text(100_000, min_length=0, charset="abc \u00e9\u4e16")


@pytest.mark.parametrize(
    "text", ["", "abc", "\u00e9" * 400, "\u4e16" * 90_000], ids=["none", "short", "beyond", "long"]
)
def test_texts_of_any_length_arrive(text: str) -> None:
    with echoing(SENTENCES, "a") as env:
        env.reset()
        assert env.step(text)[0] == text
        assert env.step("abc")[0] == "abc", "a long text leaves nothing behind"


@pytest.mark.parametrize("action", ["x", 5, "\ud800", None])
def test_what_is_no_text_of_the_space_is_refused(action: Any) -> None:
    with echoing(SENTENCES, "a") as env:
        env.reset()
        with pytest.raises(gymnasium.error.InvalidAction):
            env.step(action)
        assert env.step("abc")[0] == "abc"


@pytest.mark.parametrize("count", [0, 1, 64, 65, 100_000])
@pytest.mark.parametrize("stack", [False, True])
def test_sequences_of_any_length_arrive(count: int, stack: bool) -> None:
    space = spaces.Sequence(spaces.Box(-1, 1, (3,), np.float32), stack=stack)
    numbers = np.linspace(-1, 1, count * 3, dtype=np.float32).reshape(count, 3)
    value = numbers if stack else tuple(numbers)
    with echoing(space) as env:
        env.reset()
        assert_same(env.step(value)[0], value)
        assert_same(env.step(value[:1])[0], value[:1])


@pytest.mark.parametrize("count", [1, 100])
def test_elements_out_of_range_are_refused(count: int) -> None:
    """Within the capacity and beyond it."""
    with echoing(spaces.Sequence(spaces.Discrete(5)), (np.int64(1),)) as env:
        env.reset()
        with pytest.raises(gymnasium.error.InvalidAction, match="is 5 at index 0; 0 to 4 are allowed"):
            env.step((5,) * count)
        assert env.step((4,) * count)[0] == (4,) * count


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "is of type int; a tuple of elements is wanted"),
        ("ab", "is of type str"),
        (((1.0, 2.0),), r"has shape \(1, 2\)"),
        (((1.0, 2.0, 3.0), (1.0,)), "does not make an array"),
        ((("a", "b", "c"),), "is of type tuple and dtype <U1"),
    ],
)
def test_what_is_no_sequence_of_the_space_is_refused(value: Any, text: str) -> None:
    with echoing(spaces.Sequence(spaces.Box(-1, 1, (3,), np.float32))) as env:
        env.reset()
        with pytest.raises(gymnasium.error.InvalidAction, match=text):
            env.step(value)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (spaces.Graph(spaces.Box(-1, 1, (3,)), None), 5),
        (spaces.OneOf([spaces.Discrete(2), spaces.Text(3)]), (2, 0)),
        (spaces.OneOf([spaces.Discrete(2), spaces.Text(3)]), (0, 7)),
        (spaces.OneOf([spaces.Discrete(2), spaces.Text(3)]), None),
        (spaces.Sequence(spaces.Text(3)), ("abcd",)),
    ],
)
def test_what_is_no_value_of_another_space_is_refused(space: gymnasium.Space[Any], value: Any) -> None:
    with echoing(space) as env:
        env.reset()
        with pytest.raises(gymnasium.error.InvalidAction, match="is no value of"):
            env.step(value)
        sample = space.sample()
        assert_same(env.step(sample)[0], sample)


@pytest.mark.parametrize("copy", [True, False])
def test_a_view_outlives_what_travels_in_blobs(copy: bool) -> None:
    space = spaces.Dict({"image": spaces.Box(0, 255, (64,), np.uint8), "graph": spaces.Graph(spaces.Discrete(3), None)})
    with echoing(space, copy=copy) as env:
        env.reset()
        samples = [space.sample() for _ in range(5)]
        before = env.step(samples[0])[0]
        for sample, last in zip(samples[1:], samples[:-1], strict=True):
            now = env.step(sample)[0]
            assert_same(before, last)
            before = now


class Angle(gymnasium.Space[Any]):
    """An angle in a unit; its values are objects of their own."""

    class Value:
        def __init__(self, number: float) -> None:
            self.number = number

        def __eq__(self, other: object) -> bool:
            return type(other) is type(self) and other.number == self.number

        def __hash__(self) -> int:
            return hash(self.number)

    def __init__(self, unit: str) -> None:
        super().__init__((), None)
        self.unit = unit

    def contains(self, x: Any) -> bool:
        return isinstance(x, Angle.Value)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return Angle.Value(float(self.np_random.random()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Angle) and other.unit == self.unit

    def __hash__(self) -> int:
        return hash(self.unit)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferry.descriptions._registry", {})
    ferry.spaces.register(
        Angle,
        lambda space: space.unit,
        Angle,
        encode_value=lambda value: value.number,
        decode_value=Angle.Value,
    )


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("wrap", [lambda space: space, lambda space: spaces.Dict({"a": spaces.Sequence(space)})])
def test_a_registered_space_travels(wrap: Callable[[gymnasium.Space[Any]], gymnasium.Space[Any]]) -> None:
    space = wrap(Angle("degree"))
    with echoing(space) as env:
        assert env.observation_space == space
        env.reset()
        sample = space.sample()
        assert env.step(sample)[0] == sample


def test_an_unknown_space_is_refused_by_its_path() -> None:
    space = spaces.Dict({"x": spaces.Tuple((spaces.Discrete(2), spaces.OneOf([spaces.Discrete(2), Angle("degree")])))})
    with pytest.raises(
        TypeError, match=r"observation space at 'x#1'\[1\] is of the class .*Angle, which Ferry does not know"
    ):
        ferry.ServerBackend(Echo(space, {}), "echo")


@pytest.mark.usefixtures("registered")
def test_a_space_that_only_the_other_side_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with ferry.ServerBackend(Echo(Angle("degree")), "echo") as backend:
        thread = threading.Thread(target=backend.run)
        thread.start()
        monkeypatch.setattr("ferry.descriptions._registry", {})
        with pytest.raises(ferry.ProtocolError, match=r"Angle, which this side does not know; import its module here"):
            ferry.ClientEnv("echo", timeout=PATIENCE)
        backend.close()
        thread.join(PATIENCE)


def test_what_is_no_space_class_is_not_registered() -> None:
    with pytest.raises(TypeError, match=r"derived from gymnasium\.Space"):
        ferry.spaces.register(int, int, int)  # type: ignore[arg-type]


@pytest.mark.parametrize("env_id", ["sample_envs:Wordy"])
def test_observations_that_are_no_values_are_backend_errors(connect: Connect, env_id: str) -> None:
    env = connect(env_id)
    env.reset(seed=1)
    with pytest.raises(ferry.BackendError, match="observation at 'words' is of type int; a str is wanted"):
        env.step({"say": "bad words", "pick": (0,), "choose": (0, 0)})
    env.reset(seed=1)
    with pytest.raises(ferry.BackendError, match="observation at 'graph' is no value of Graph"):
        env.step({"say": "bad graph", "pick": (0,), "choose": (0, 0)})
    env.reset(seed=1)
    env.step({"say": "fine", "pick": (0,), "choose": (0, 0)})


# ---- What a peer says of itself ----


class Saying(ferry.ServerBackend):
    """Tells agents something else of itself than it is."""

    told: ClassVar[dict[str, Any]] = {}

    def _about(self) -> bytes:
        return blobs.pack(self.told)


@contextmanager
def saying(told: dict[str, Any], space: gymnasium.Space[Any], first: Any) -> Iterator[None]:
    """A backend at the name "echo" that says so of itself."""
    backend = type("Told", (Saying,), {"told": told})(Echo(space, first), "echo")
    thread = threading.Thread(target=backend.run)
    thread.start()
    try:
        yield
    finally:
        backend.close()
        thread.join(PATIENCE)


@pytest.mark.parametrize(
    "told",
    [
        {"metadata": {"render_modes": 5}},
        {"spaces": 5},
        {"spaces": {"observation": 5}},
        {"spaces": {"observation": {"": 5}}},
        {"spec": "{"},
        {"spec": {"id": 5}},
    ],
)
def test_nonsense_about_an_environment_is_a_protocol_error(told: dict[str, Any]) -> None:
    with saying(told, spaces.Discrete(2), 0), pytest.raises(ferry.ProtocolError, match="says of itself cannot be read"):
        ferry.ClientEnv("echo", timeout=PATIENCE, render_mode="human")


def test_a_space_of_fields_may_travel_as_a_whole() -> None:
    """Another implementation may describe a Dict, say, where it has but one field, which lies in blobs."""
    described = {
        "type": "Dict",
        "spaces": {"text": {"type": "Text", "max_length": 4, "charset": "ab"}, "box": {"type": "Box", "shape": [2]}},
    }
    value = {"text": "ab", "box": np.zeros(2, np.float32)}
    one = spaces.OneOf([spaces.Discrete(2)])
    parts = {"x/y": described, "x/z": {"type": "Box"}}
    told = {"spaces": {"observation": parts, "action": parts}}
    whole = spaces.Dict({"x": spaces.Dict({"y": one, "z": one})})
    with saying(told, whole, {"x": {"y": value, "z": 1.0}}), ferry.ClientEnv("echo", timeout=PATIENCE) as env:
        assert_same(env.reset()[0], {"x": {"y": value, "z": 1.0}})


@pytest.fixture
def forgetful(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a C program that says of texts that they lie in the blob, and sends it with the first turn alone."""
    source, program = Path(__file__).parent / "c" / "forgetful.c", tmp_path / "forgetful"
    flags = subprocess.run(
        [sys.executable, "-m", "ferry", "--cflags", "--libs"], check=True, capture_output=True, text=True
    ).stdout
    subprocess.run(["cc", str(source), *shlex.split(flags), "-o", str(program)], check=True)
    return lambda *arguments: subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not shutil.which("cc"), reason="install a C compiler")
def test_an_observation_that_is_missing_is_not_the_one_before(forgetful: Callable[..., subprocess.Popen[str]]) -> None:
    process = forgetful("env", "echo")
    try:
        with ferry.ClientEnv("echo", timeout=PATIENCE) as env:
            for _ in range(2):
                assert env.reset()[0] == "first"
                with pytest.raises(ferry.BackendError, match="no text is there"):
                    env.step(0)
                with pytest.raises(gymnasium.error.ResetNeeded):
                    env.step(0)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.mark.skipif(not shutil.which("cc"), reason="install a C compiler")
def test_an_action_that_is_missing_is_not_the_one_before(forgetful: Callable[..., subprocess.Popen[str]]) -> None:
    backend = ferry.ServerBackend(Echo(spaces.Text(1000, charset="first"), "t"), "echo")
    thread = threading.Thread(target=backend.run)
    thread.start()
    try:
        output, _ = forgetful("agent", "echo").communicate(timeout=PATIENCE)
        assert output.split() == ["0", "0", "1"]
    finally:
        backend.close()
        thread.join(PATIENCE)


@pytest.mark.parametrize(
    ("own", "told", "action"),
    [
        (spaces.Text(3, charset="ab"), spaces.Text(9, charset="abc"), "abcabc"),
        (spaces.OneOf([spaces.Discrete(2)]), spaces.OneOf([spaces.Discrete(2)] * 3), (2, np.int64(1))),
        (spaces.Sequence(spaces.Text(3)), spaces.Sequence(spaces.Text(9)), ("longer",)),
    ],
    ids=["text", "choice", "texts"],
)
def test_an_environment_does_not_see_an_action_that_its_space_does_not_contain(
    own: gymnasium.Space[Any], told: gymnasium.Space[Any], action: Any
) -> None:
    """The library checks integers; what else an environment may index with is not taken on a peer's word either."""
    described = {key: spaces_of_ferry.describe(told, role) for role, key in enumerate(("observation", "action"))}
    sample = own.sample()
    with saying({"spaces": described}, own, sample), ferry.ClientEnv("echo", timeout=PATIENCE) as env:
        assert env.action_space == told
        env.reset()
        with pytest.raises(ferry.BackendError, match=r"not in Text|the space does not contain it"):
            env.step(action)
        env.reset()
        assert_same(env.step(sample)[0], sample)


@pytest.mark.parametrize("stack", [False, True])
def test_a_number_is_no_sequence(stack: bool) -> None:
    with echoing(spaces.Sequence(spaces.Discrete(3), stack=stack)) as env:
        env.reset()
        for action in (np.array(1), np.int64(1), 1):
            with pytest.raises(gymnasium.error.InvalidAction, match="elements is wanted"):
                env.step(action)


def test_elements_without_bytes_are_not_multiplied_without_end() -> None:
    """A blob of a few bytes may hold an array of any number of them."""
    with echoing(spaces.Sequence(spaces.Box(0, 1, (0,))), ()) as env:
        env.reset()
        assert len(env.step(np.zeros((60, 0), np.float32))[0]) == 60
        with pytest.raises(gymnasium.error.InvalidAction, match="has 4294967297 elements; there is room for 64"):
            env.step(np.zeros((2**32 + 1, 0), np.float32))


def test_elements_are_not_made_objects_of_without_end() -> None:
    """Of one byte each in a blob, they take a hundred as Python's objects, unless they come as one array."""
    elements = np.zeros(2**23 + 1, np.int8)
    with echoing(spaces.Sequence(spaces.MultiBinary(1)), ()) as env:
        env.reset()
        with pytest.raises(gymnasium.error.InvalidAction, match="has 8388609 elements; there is room for 8388608"):
            env.step(elements.reshape(-1, 1))


def test_arguments_of_any_name_travel() -> None:
    with echoing(spaces.Discrete(2)) as env:
        assert env.call("names", name=1, self=2, op=3) == {"name": 1, "self": 2, "op": 3}
