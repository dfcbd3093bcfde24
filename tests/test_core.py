"""Arrays that are recycled or lie in the region, threads, signals and forks: what the compiled module promises."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
from conftest import PATIENCE, Connect, Serve, Start, line_of
from ferry import _core, blobs

Client = Callable[..., ferry.ClientEnv]


def place_of(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


# ---- Copies ----


def test_observations_that_are_held_stay_as_they_were(client: Client) -> None:
    env = client()
    held = [env.reset()[0], *(env.step(0)[0] for _ in range(100))]
    assert [int(array[0]) for array in held] == list(range(101))
    assert len({place_of(array) for array in held}) == 101


@pytest.mark.parametrize("env_id", ["sample_envs:Scripted", "sample_envs:large_pixels"])
def test_memory_of_observations_that_nobody_holds_is_used_again(client: Client, env_id: str) -> None:
    env = client(env_id)
    env.reset(seed=1)
    places = set()
    for _ in range(40):
        observation = env.step(0)[0]
        places.add(place_of(observation))
    assert len(places) <= 8


@pytest.mark.parametrize(
    "keep",
    [
        lambda array: array[:1],
        lambda array: array.reshape(1, -1),
        lambda array: memoryview(array),
        lambda array: np.frombuffer(array, np.uint8),
        weakref.ref,
        lambda array: [array],
    ],
    ids=["view", "reshaped", "memoryview", "buffer", "weak reference", "list"],
)
def test_whatever_refers_to_an_observation_keeps_it(client: Client, keep: Callable[[Any], Any]) -> None:
    env = client()
    env.reset()
    observation = env.step(0)[0]
    place, kept = place_of(observation), keep(observation)
    del observation
    places = {place_of(env.step(0)[0]) for _ in range(40)}
    assert place not in places
    del kept


@pytest.mark.parametrize(
    "spoil",
    [
        lambda array: array.setflags(write=False),
        lambda array: setattr(array, "shape", (1, 2)),
        lambda array: setattr(array, "dtype", np.int32),
    ],
    ids=["flags", "shape", "dtype"],
)
@pytest.mark.filterwarnings("ignore:Setting the (shape|dtype):DeprecationWarning")
def test_an_array_that_was_changed_is_not_used_again(client: Client, spoil: Callable[[Any], Any]) -> None:
    env = client()
    env.reset()
    observation = env.step(0)[0]
    spoil(observation)
    del observation
    for _ in range(40):
        observation = env.step(0)[0]
        assert observation.flags.writeable
        assert observation.flags.owndata
        assert observation.shape == (2,)
        assert observation.dtype == np.float32


def test_observations_are_the_callers_to_write(client: Client) -> None:
    env = client()
    observation, _ = env.reset()
    observation[:] = 77
    assert tuple(env.step(0)[0]) == (1, 1)


def test_memory_does_not_grow(client: Client) -> None:
    env = client("sample_envs:Pixels")

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    env.reset(seed=1)
    for _ in range(200):
        env.step(1)
    before = resident_bytes()
    for _ in range(5000):
        env.step(1)
    assert resident_bytes() - before < 8 << 20


# ---- Views ----


def test_views_are_read_only_and_right_until_the_step_after_the_next(connect: Connect) -> None:
    env = connect("sample_envs:Scripted", copy=False)
    previous, _ = env.reset()
    for step in range(1, 50):
        observation = env.step(0)[0]
        assert not observation.flags.writeable
        assert not observation.flags.owndata
        assert (int(previous[0]), int(observation[0])) == (step - 1, step)
        with pytest.raises(ValueError, match="read-only"):
            observation[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            observation.setflags(write=True)
        previous = observation


def test_views_lie_in_two_places(client: Client) -> None:
    env = client(copy=False)
    env.reset()
    places = [place_of(env.step(0)[0]) for _ in range(10)]
    assert len(set(places)) == 2
    assert places[0::2] == places[:1] * 5


def test_views_outlive_their_environment(client: Client) -> None:
    env = client(copy=False)
    env.reset()
    observation = env.step(0)[0]
    tail = observation[1:]
    env.close()
    del env
    gc.collect()
    assert tuple(observation) == (1, 1)
    del observation
    gc.collect()
    assert tuple(tail) == (1,)


def test_views_outlive_a_reconnection(serve: Serve) -> None:
    first = serve("sample_envs:Scripted")
    with ferry.ClientEnv("test", timeout=PATIENCE, copy=False) as env:
        env.reset()
        observation = env.step(0)[0]
        first.kill()
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
        serve("sample_envs:Scripted")
        again, _ = env.reset()
        for _ in range(10):
            env.step(0)
        assert tuple(observation) == (1, 1)
        assert place_of(again) != place_of(observation)


def test_a_view_that_was_reshaped_is_not_given_again(client: Client) -> None:
    env = client("sample_envs:Pixels", copy=False)
    env.reset(seed=1)
    for _ in range(4):
        observation = env.step(0)[0]
        assert observation.shape == (84, 84, 4)
        observation = observation.view()
        observation.resize(4, 84, 84, refcheck=False)


# ---- Dtypes ----


@pytest.mark.parametrize("dtype", [code for code, name in _core.DTYPES.items() if "int" in name])
def test_integers_of_every_dtype_go_both_ways(dtype: int) -> None:
    """A backend that returns what it is given, one more."""
    kind = np.dtype(_core.DTYPES[dtype])
    info = np.iinfo(kind)
    start = int(info.min) if kind.kind == "i" else min(int(info.max), 2**63 - 1) - 50
    last = start + 50
    fields = [
        _core.Field("", _core.OBSERVATION, _core.DISCRETE, dtype, n=last - start + 1, start=start),
        _core.Field("", _core.ACTION, _core.DISCRETE, dtype, n=last - start, start=start),
    ]
    env = _core.Env("test", fields, 0, 1, codecs={}, decode=blobs.decode, encode=blobs.encode)

    def serve() -> None:
        while kind_of_turn := env.next(PATIENCE):
            if kind_of_turn == _core.LEFT:
                return
            action = env.action() if kind_of_turn == _core.STEP else start
            assert action == start or type(action) is kind.type
            env.put(0, int(action) + 1, 0.0, False, False)
            env.reply(None)

    thread = threading.Thread(target=serve)
    thread.start()
    with ferry.ClientEnv("test", timeout=PATIENCE) as agent:
        assert agent.reset()[0] == start + 1
        for action in (start, last - 1):
            observation = agent.step(action)[0]
            assert observation == action + 1
            assert type(observation) is kind.type
        with pytest.raises(gymnasium.error.InvalidAction):
            agent.step(last)
    thread.join(PATIENCE)
    env.close()


def test_an_action_that_the_library_refuses_leaves_the_episode_standing(serve: Serve) -> None:
    """Of an agent that does not check: here because it was told of a larger space."""
    serve("sample_envs:Scripted")
    agent = _core.Agent("test", timeout=PATIENCE, decode=blobs.decode, encode=blobs.encode)
    assert agent.connect(PATIENCE)
    _, fields, *_ = agent.describe()
    agent.bind([field._replace(n=100) for field in fields], 0, 1, {})
    agent.reset(None, None)
    with pytest.raises(gymnasium.error.InvalidAction, match="50"):
        agent.step(50)
    assert agent.step(0)[0][0] == 1
    agent.close()


@pytest.mark.parametrize("report", [1 << 20000, {"type": -(1 << 20000), "traceback": [1 << 20000]}], ids=["one", "map"])
def test_a_report_of_numbers_that_python_does_not_write_is_one(report: Any) -> None:
    assert "a value of type" in str(ferry.BackendError.of_report("'pole'", report))


# ---- Waiting ----


class Hanging:
    """A scripted environment whose action 1 hangs until it is released.

    Attributes:
        env: The adapter, after a reset.
    """

    def __init__(self, folder: Path, env: ferry.ClientEnv) -> None:
        self._fifo = folder / "fifo"
        os.mkfifo(self._fifo)
        self.env = env
        env.reset(options={"do": "hang", "fifo": str(self._fifo)})

    def wait(self) -> int:
        """Returns once the environment hangs: the descriptor that releases it when it is closed."""
        return os.open(self._fifo, os.O_WRONLY)

    def release(self) -> None:
        os.close(self.wait())


@pytest.fixture
def hanging(client: Client, tmp_path: Path) -> Hanging:
    return Hanging(tmp_path, client())


@pytest.fixture
def impatient(serve: Serve, tmp_path: Path) -> Iterator[Hanging]:
    """One whose agent does not wait long for it."""
    serve("sample_envs:Scripted")
    ferry.ClientEnv("test", timeout=PATIENCE).close()
    with ferry.ClientEnv("test", timeout=0.5) as env:
        yield Hanging(tmp_path, env)


def patiently(call: Callable[[], Any]) -> Any:
    """The result of a call that may time out on a busy machine."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except ferry.FerryTimeoutError:
            assert time.monotonic() < deadline


def test_a_time_out_says_who_holds_the_turn_and_leaves_it_standing(impatient: Hanging) -> None:
    env = impatient.env
    begin = time.monotonic()
    with pytest.raises(ferry.FerryTimeoutError, match=r"pid \d+.* has held the turn for 0\.\d+ s.*turn 2") as caught:
        env.step(1)
    assert 0.5 <= time.monotonic() - begin < 5
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(ferry.FerryError, match=r"wait\(\) goes on waiting for it, reset\(\) starts afresh"):
        env.step(0)
    with pytest.raises(ferry.FerryTimeoutError):
        env.wait()
    impatient.release()
    observation, reward, _, _, info = patiently(env.wait)
    assert (int(observation[0]), reward, info) == (1, 5.0, {"hung": True})
    with pytest.raises(ferry.FerryError, match="nothing to wait for"):
        env.wait()
    assert patiently(lambda: env.step(0))[0][0] == 2


def test_reset_drains_the_answer_that_is_owed(impatient: Hanging) -> None:
    with pytest.raises(ferry.FerryTimeoutError):
        impatient.env.step(1)
    with pytest.raises(ferry.FerryTimeoutError):
        impatient.env.reset()
    impatient.release()
    observation, _ = patiently(impatient.env.reset)
    assert tuple(observation) == (0, 2)


def test_ctrl_c_returns_soon_and_leaves_the_turn_standing(hanging: Hanging) -> None:
    moments: list[float] = []

    def interrupt() -> None:
        writer = hanging.wait()
        moments.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(PATIENCE)
        os.close(writer)

    released = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        hanging.env.step(1)
    assert time.monotonic() - moments[0] < 1
    released.set()
    assert hanging.env.wait()[1] == 5.0
    hanging.env.step(0)
    thread.join(PATIENCE)


def test_ctrl_c_ends_the_wait_for_an_environment(start: Start) -> None:
    process = start("-c", "import ferry; print('ready', flush=True); ferry.ClientEnv('nobody', timeout=None)")
    assert line_of(process) == "ready\n"
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - begin < 2
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


def test_other_threads_run_while_one_waits(hanging: Hanging) -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(hanging.env.step(1)))
    thread.start()
    hanging.release()
    thread.join(PATIENCE)
    assert results[0][1] == 5.0


def test_a_second_thread_on_a_handle_is_told(hanging: Hanging) -> None:
    thread = threading.Thread(target=lambda: hanging.env.step(1))
    thread.start()
    writer = hanging.wait()
    for call in (hanging.env.reset, hanging.env.wait, lambda: hanging.env.step(0)):
        with pytest.raises(ferry.FerryError, match="in use by another thread"):
            call()
    os.close(writer)
    thread.join(PATIENCE)
    hanging.env.step(0)


def test_closing_ends_the_wait_of_another_thread(hanging: Hanging) -> None:
    caught: list[str] = []

    def step() -> None:
        try:
            hanging.env.step(1)
        except ferry.FerryError as error:
            caught.append(str(error))

    thread = threading.Thread(target=step)
    thread.start()
    writer = hanging.wait()
    begin = time.monotonic()
    hanging.env.close()
    thread.join(PATIENCE)
    assert time.monotonic() - begin < 5
    assert "was closed while it waited" in caught[0]
    os.close(writer)


# ---- Processes ----


def test_a_forked_child_cannot_use_the_handle_and_does_no_harm(serve: Serve, start: Start) -> None:
    serve("sample_envs:Scripted")
    code = """
import os, ferry
env = ferry.ClientEnv("test", timeout=30)
env.reset()
child = os.fork()
if child == 0:
    try:
        env.step(0)
    except ferry.FerryError as error:
        print(type(error).__name__, error, flush=True)
    env.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(env.step(0)[0][0], flush=True)
"""
    process = start("-c", code)
    told = line_of(process)
    assert told.startswith("FerryError")
    assert "fork" in told
    assert line_of(process) == "1.0\n"


@pytest.mark.parametrize("way", ["exit", "die"])
def test_the_death_of_the_environment_is_noticed(connect: Connect, way: str) -> None:
    env = connect("sample_envs:Scripted")
    env.reset(options={"do": way})
    with pytest.raises(ferry.PeerGoneError):
        env.step(1)


def test_the_death_of_an_idle_environment_is_noticed_at_the_next_step(serve: Serve) -> None:
    backend = serve("sample_envs:Scripted")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        backend.kill()
        begin = time.monotonic()
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
        assert time.monotonic() - begin < 1


def test_the_log_of_the_library_is_pythons(caplog: pytest.LogCaptureFixture, client: Client) -> None:
    caplog.set_level("INFO", logger="ferry")
    client()
    assert any("connected" in message for message in caplog.messages)


def test_a_logging_handler_may_raise_without_harm(start: Start, serve: Serve) -> None:
    serve("sample_envs:Scripted")
    code = """
import logging, ferry
class Handler(logging.Handler):
    def emit(self, record):
        raise RuntimeError("handler")
logging.getLogger("ferry").addHandler(Handler())
logging.getLogger("ferry").setLevel("DEBUG")
try:
    ferry.ClientEnv("test", timeout=30)
except RuntimeError as error:
    print(error, flush=True)
env = None
logging.getLogger("ferry").handlers.clear()
env = ferry.ClientEnv("test", timeout=30)
print(env.reset()[0][0], flush=True)
"""
    process = start("-c", code)
    assert line_of(process) == "handler\n"
    assert line_of(process) == "0.0\n"


def test_version_is_that_of_the_header() -> None:
    header = (Path(ferry.__file__).parent.parent / "include" / "libferry.h").read_text()
    numbers = [
        line.split()[2]
        for line in header.splitlines()
        if line.startswith("#define FERRY_VERSION_M") or "VERSION_PATCH " in line
    ]
    assert ferry.__version__ == ".".join(numbers[:3])


@pytest.mark.parametrize("address", ["a b", "-x", "", "x" * 60, "relative/path", "fd:x", "\0"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        ferry.ClientEnv(address, timeout=1)


def test_an_address_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="an address is a str"):
        ferry.ClientEnv(5)  # type: ignore[arg-type]


def test_a_close_from_within_a_call_waits_for_its_end(client: Callable[..., ferry.ClientEnv]) -> None:
    env = client("Pendulum-v1")
    env.reset(seed=0)

    class Closing:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
            env.close()
            return np.zeros(1, np.float32)

    with contextlib.suppress(ferry.FerryError):  # unless the answer was quicker than the farewell
        env.step(Closing())
    with pytest.raises(ferry.FerryError, match="closed"):
        env.step(Closing())


def test_an_interrupt_while_an_answer_is_read_leaves_it_owed(
    client: Callable[..., ferry.ClientEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts: list[type[BaseException]] = []
    decode = blobs.decode

    def interrupted(data: bytes, format: int) -> Any:
        if interrupts:
            raise interrupts.pop()
        return decode(data, format)

    monkeypatch.setattr(blobs, "decode", interrupted)
    env = client()
    env.reset()
    interrupts.append(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        env.reset()
    observation, info = env.wait()
    assert observation.tolist() == [0, 2]
    assert info["seed"] is None
