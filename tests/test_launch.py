"""Processes that are started with their environment, and end with it."""

from __future__ import annotations

import fcntl
import functools
import gc
import importlib
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import termios
import threading
import time
import types
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
from conftest import PATIENCE, TESTS, Start, children, is_alive, line_of, program, wait_until

SCRIPTED = "sample_envs:Scripted"


@pytest.fixture
def env() -> Iterator[ferry.LaunchedEnv]:
    with ferry.launch(SCRIPTED, timeout=PATIENCE) as env:
        yield env


# ---- Beginning ----


def test_an_id_is_served_by_a_process_of_its_own(env: ferry.LaunchedEnv) -> None:
    _, info = env.reset(seed=5)
    assert info["pid"] == env.process.pid
    assert info["seed"] == 5
    assert env.step(0)[1] == 1.0
    assert isinstance(env, gymnasium.Env)


def test_arguments_reach_the_environment() -> None:
    with ferry.launch("FrozenLake-v1", timeout=PATIENCE, map_name="8x8", is_slippery=False) as env:
        assert env.observation_space == gymnasium.spaces.Discrete(64)
        assert env.remote_spec is not None
        assert env.remote_spec.kwargs["map_name"] == "8x8"


@pytest.mark.parametrize("as_line", [False, True])
def test_a_program_finds_its_channel_in_the_process_environment(as_line: bool, tmp_path: Path) -> None:
    script = tmp_path / "engine.py"
    script.write_text("import sys, ferry; ferry.ServerBackend(sys.argv[1], 'whatever').run()")
    command = [sys.executable, str(script), "CartPole-v1"]
    with ferry.launch(" ".join(command) if as_line else command, timeout=PATIENCE) as env:
        env.reset(seed=1)
        env.step(1)


def test_client_backends_are_launched_too() -> None:
    code = "import ferry; ferry.ClientBackend('CartPole-v1').run()"
    with ferry.launch(program(code), timeout=PATIENCE) as env:
        env.reset(seed=1)
    assert env.process.returncode == 0


def test_options_of_adapters_are_passed_on() -> None:
    with ferry.launch("MountainCarContinuous-v0", timeout=PATIENCE, copy=False, check_actions="bounds") as env:
        assert not env.reset(seed=1)[0].flags.owndata
        with pytest.raises(gymnasium.error.InvalidAction):
            env.step(np.array([2.0], np.float32))


def test_folder_and_variables_are_set(tmp_path: Path) -> None:
    code = "import os; open('told', 'w').write(os.environ['TELL']); os._exit(0)"
    with pytest.raises(ferry.PeerGoneError, match="exited with code 0"):
        ferry.launch(program(code), timeout=PATIENCE, cwd=tmp_path, env={"TELL": "something"})
    assert (tmp_path / "told").read_text() == "something"


@pytest.mark.parametrize("command", ["no-such-program-here", ["./missing"], "/missing/at/all --flag"])
def test_a_missing_program_is_named(command: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such-program-here|missing"):
        ferry.launch(command)


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a program")
    with pytest.raises(ferry.PeerGoneError, match=r"file exited with code 127|file' exited with code 127"):
        ferry.launch([str(tmp_path / "file")], timeout=PATIENCE)
    assert "Permission denied" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["", []])
def test_an_empty_command_is_refused(command: Any) -> None:
    with pytest.raises(ValueError, match="empty"):
        ferry.launch(command)


def test_a_program_takes_no_arguments_by_name() -> None:
    with pytest.raises(TypeError, match="map_name: only an environment's id or function takes arguments"):
        ferry.launch(["true"], map_name="8x8")


@pytest.mark.parametrize(
    ("code", "fate"),
    [("exit(5)", "exited with code 5"), ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL")],
)
def test_a_process_that_ends_before_it_connects_is_told_at_once(code: str, fate: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ferry.PeerGoneError, match=fate):
        ferry.launch(program(code), timeout=None)
    assert time.monotonic() - begin < 10
    assert children() == set()


def test_an_id_that_nobody_knows_is_told() -> None:
    with pytest.raises(ferry.PeerGoneError, match=r"serve NoSuchGame-v7.* exited with code 1"):
        ferry.launch("NoSuchGame-v7", timeout=PATIENCE)


def test_a_process_that_never_connects_is_ended_at_the_time_out() -> None:
    with pytest.raises(ferry.FerryTimeoutError):
        ferry.launch(program("import time; time.sleep(600)"), timeout=0.5)
    assert children() == set()


# ---- Functions ----


def corridor() -> Any:
    """A class that no module holds."""

    class Corridor(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Discrete(100)
        action_space = gymnasium.spaces.Discrete(2)
        metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012 - Gymnasium's own declaration

        def __init__(self, goal: int = 3, render_mode: str | None = None) -> None:
            self.goal, self.render_mode, self.place = goal, render_mode, 0

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            super().reset(seed=seed)
            self.place = 0
            return 0, {"pid": os.getpid()}

        def step(self, action: Any) -> Any:
            self.place += int(action)
            return self.place, 1.0, self.place == self.goal, False, {}

        def render(self) -> Any:
            return f"at {self.place} of {self.goal}"

    return Corridor


def test_a_function_makes_the_environment_in_a_process_of_its_own() -> None:
    made, goal = corridor(), 5
    with ferry.launch(lambda: made(goal=goal), timeout=PATIENCE) as env:
        assert env.reset()[1]["pid"] == env.process.pid != os.getpid()
        assert env.step(1)[:2] == (1, 1.0)
        assert env.get_attr("goal") == 5
    assert env.process.returncode == 0


def test_a_local_class_takes_arguments_and_a_render_mode() -> None:
    with ferry.launch(corridor(), timeout=PATIENCE, render_mode="ansi", goal=7) as env:
        env.reset()
        env.step(1)
        assert env.render() == "at 1 of 7"


def test_a_render_mode_needs_no_default() -> None:
    made = corridor()

    def make(render_mode: str | None, goal: int) -> Any:
        return made(goal=goal, render_mode=render_mode)

    with ferry.launch(make, timeout=PATIENCE, goal=2) as env:
        assert env.render_mode is None
    with ferry.launch(functools.partial(make, goal=2), timeout=PATIENCE, render_mode="ansi_list") as env:
        env.reset()
        assert env.render() == ["at 0 of 2"]


def test_megabytes_go_over() -> None:
    """A pipe would hold 64 KiB of them."""
    large = np.random.default_rng(1).bytes(8 << 20)
    made = corridor()
    with ferry.launch(lambda: made(goal=zlib.crc32(large)), timeout=PATIENCE) as env:
        assert env.get_attr("goal") == zlib.crc32(large)


def test_the_next_process_is_given_the_same_function() -> None:
    made = corridor()
    with ferry.launch(lambda: made(goal=6), timeout=PATIENCE, on_crash="restart") as env:
        for _ in range(3):
            pid = env.reset()[1]["pid"]
            env.process.kill()
            env.process.wait(PATIENCE)
            assert env.step(1)[3]
            assert env.reset()[1]["pid"] == env.process.pid != pid
            assert env.get_attr("goal") == 6


def test_functions_and_classes_of_the_main_module_go_over(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("""
import beside, ferry, sample_envs

GREETING = "hello"

class Mine(sample_envs.Scripted):
    def reset(self, **kwargs):
        observation, info = super().reset(**kwargs)
        return observation, {**info, "said": GREETING, "level": self.level, "beside": beside.VALUE}

def make(level=0):
    env = Mine()
    env.level = level
    return env

if __name__ == "__main__":
    for what in (Mine, make, lambda level: make(level)):
        options = {} if what is Mine else {"level": 4}
        Mine.level = 4
        with ferry.launch(what, timeout=30, cwd="/", **options) as env:
            info = env.reset()[1]
            print(info["said"], info["level"], info["beside"], info["pid"] == env.process.pid, flush=True)
""")
    (tmp_path / "beside.py").write_text("VALUE = 8")
    agent = start(str(script))
    assert agent.communicate(timeout=PATIENCE) == ("hello 4 8 True\n" * 3, "")


def test_modules_are_imported_from_where_the_launcher_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ferry itself too: neither PYTHONPATH nor the folder in which the process starts lead to anything."""
    for folder in ("modules", "decoys"):
        (tmp_path / folder).mkdir()
    (tmp_path / "modules" / "only_here.py").write_text("from sample_envs import Scripted as Found")
    for name in ("ferry", "random", "numpy"):
        (tmp_path / "decoys" / f"{name}.py").write_text("raise ImportError('not this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("modules")
    monkeypatch.delenv("PYTHONPATH")
    only_here = importlib.import_module("only_here")
    for cwd in ("/", tmp_path / "decoys"):
        with ferry.launch(only_here.Found, timeout=PATIENCE, cwd=cwd) as env:
            assert env.reset()[1]["pid"] == env.process.pid


def test_what_cannot_be_imported_there_is_told() -> None:
    module = types.ModuleType("made_up")
    exec("def make(): pass", module.__dict__)
    sys.modules["made_up"] = module
    try:
        with pytest.raises(
            ferry.PeerGoneError,
            match=r"needs what cannot be imported in its own process: No module named 'made_up'; put it where import "
            r"finds it, or have it taken along: cloudpickle\.register_pickle_by_value",
        ):
            ferry.launch(module.make, timeout=PATIENCE)
    finally:
        del sys.modules["made_up"]


def test_a_function_that_cannot_be_pickled_is_told() -> None:
    lock: Any = threading.Lock()
    with pytest.raises(
        TypeError,
        match=r"<lambda> cannot be taken to another process: cannot pickle '_thread\.lock'.*; let it make within",
    ):
        ferry.launch(lambda: lock)
    with ferry.launch(SCRIPTED, timeout=PATIENCE) as env, pytest.raises(TypeError, match="holds a live connection"):
        ferry.launch(lambda: gymnasium.wrappers.TimeLimit(env, 5))


@pytest.mark.parametrize(
    ("what", "arguments", "text"),
    [
        (
            lambda level: None,
            {},
            r"cannot be called without arguments: missing a required argument: 'level'; launch passes",
        ),
        (lambda: None, {"depth": 3, "size": 4}, r"with the arguments depth, size: got an unexpected keyword argument"),
        (gymnasium.Env(), {}, r"in another process, and .* is made already; pass a function that makes it"),
    ],
)
def test_functions_that_cannot_be_called_are_told(what: Any, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        ferry.launch(what, **arguments)
    assert children() == set()


def test_a_function_that_raises_is_told_with_its_traceback() -> None:
    levels = {"first": corridor()}

    def load_level() -> Any:
        print("loading")
        return levels["second"]()

    with pytest.raises(ferry.PeerGoneError, match="exited with code 1 before it spoke Ferry") as raised:
        ferry.launch(load_level, timeout=PATIENCE)
    text = str(raised.value)
    assert "load_level" in text.splitlines()[0]
    assert "\n  loading\n" in text
    assert 'return levels["second"]()' in text
    assert text.endswith("KeyError: 'second'")


@pytest.mark.parametrize("made", [None, "CartPole-v1", gymnasium.Env])
def test_a_function_that_makes_no_environment_is_told(made: Any) -> None:
    with pytest.raises(ferry.PeerGoneError, match=r"made a \w+, not a gymnasium\.Env; let it return one"):
        ferry.launch(lambda: made, timeout=PATIENCE)


def test_a_fault_in_compiled_code_leaves_its_traceback() -> None:
    def fall() -> Any:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(ferry.PeerGoneError, match=r"was killed by SIGSEGV(.|\n)*Segmentation fault(.|\n)* in fall"):
        ferry.launch(fall, timeout=PATIENCE)


def test_gymnasium_launches_a_function() -> None:
    made = corridor()
    with gymnasium.make("ferry/Launch-v0", command=lambda: made(goal=9), timeout=PATIENCE) as env:
        assert env.reset()[0] == 0
        assert env.get_wrapper_attr("goal") == 9


# ---- Failing to start ----


def greeter(*arguments: str) -> list[str]:
    return [sys.executable, str(TESTS / "greeter.py"), *arguments]


def test_an_engine_of_another_version_is_told() -> None:
    with pytest.raises(ferry.ProtocolError) as raised:
        ferry.launch(greeter("2"), timeout=PATIENCE)
    assert re.fullmatch(
        r"'\S+ \S+greeter.py 2' cannot be played: the environment \(pid [1-9]\d*\) speaks Ferry's protocol 2\.0 "
        r"\(library 2\.0\.0\), the agent \(pid \d+\) 1\.\d+ \(library \d+\.\d+\.\d+\); "
        r"build or install both with the same version(\nThe last that it printed:\n  greeted)?",
        str(raised.value),
    )
    assert f"agent (pid {os.getpid()})" in str(raised.value)
    assert children() == set()


def test_an_engine_that_is_an_agent_itself_is_told() -> None:
    with pytest.raises(
        ferry.ProtocolError, match=r"greeter.py 1 2' cannot be played: both sides of .* are agents \(pids"
    ):
        ferry.launch(greeter("1", "2"), timeout=PATIENCE)


def test_an_engine_that_stays_in_the_handshake_is_told() -> None:
    with pytest.raises(ferry.FerryTimeoutError) as raised:
        ferry.launch(greeter(), timeout=PATIENCE, start_timeout=1)
    assert re.fullmatch(
        r"'\S+ \S+greeter.py' \(pid (\d+)\) is in the handshake: the peer \(pid \1\) at 'fd:\d+' has not gone on with "
        r"the handshake for [\d.]+ s: it may be busy in its own code, or stopped; it has to call ferry_env_wait again "
        r"and again, or to run its backend\. A longer start_timeout gives it more time"
        r"\nThe last that it printed:\n  greeted",
        str(raised.value),
    )
    assert children() == set()


def test_an_engine_that_has_not_greeted_is_not_in_the_handshake() -> None:
    code = "import signal; print('loading', flush=True); signal.pause()"
    with pytest.raises(ferry.FerryTimeoutError, match=r"has not spoken Ferry for 1 s; does it") as raised:
        ferry.launch(program(code), timeout=PATIENCE, start_timeout=1)
    assert "handshake" not in str(raised.value)


def test_an_engine_that_ends_in_the_handshake_is_told() -> None:
    leave = (
        "import os, socket, struct, greeter\n"
        "channel = socket.socket(fileno=int(os.environ['FERRY_ADDRESS'][3:]))\n"
        "channel.sendall(greeter.hello(1, 1) + struct.pack('=IHHII', 0x59525246, 5, 0, 0, 0))\n"
        "channel.recv(4096)\n"
        "raise SystemExit('the level is missing')"
    )
    with pytest.raises(
        ferry.PeerGoneError, match=r"exited with code 1 in the middle of the handshake(.|\n)*the level is missing"
    ):
        ferry.launch(program(leave), timeout=PATIENCE)


# ---- Ending ----


def test_closing_ends_the_process_normally(env: ferry.LaunchedEnv) -> None:
    env.reset()
    env.close()
    assert env.process.returncode == 0
    env.close()
    with pytest.raises(ferry.FerryError, match="closed"):
        env.reset()


def test_a_process_that_does_not_hear_is_killed() -> None:
    code = (
        "import ferry, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "ferry.ServerBackend('CartPole-v1').run(); time.sleep(600)"
    )
    env = ferry.launch(program(code), timeout=PATIENCE)
    env.reset(seed=1)
    env.close()
    assert env.process.returncode == -signal.SIGKILL


def test_forgetting_the_environment_ends_its_process() -> None:
    env = ferry.launch(SCRIPTED, timeout=PATIENCE)
    env.reset()
    process = env.process
    del env
    gc.collect()
    assert process.returncode == 0


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "1 / 0"])
def test_the_interpreters_end_ends_the_process(start: Start, ending: str) -> None:
    agent = start(
        "-c",
        f"import ferry; env = ferry.launch({SCRIPTED!r}, timeout=30); print(env.process.pid, flush=True)\n{ending}",
    )
    pid = int(line_of(agent))
    agent.wait(PATIENCE)
    assert not is_alive(pid)


@pytest.mark.parametrize("where", ["in the main thread", "in a thread that ends"])
def test_the_process_dies_with_a_parent_that_is_killed(start: Start, where: str) -> None:
    launch = f"env = ferry.launch({SCRIPTED!r}, timeout=30); env.reset(options={{'do': 'sleep'}})"
    if where != "in the main thread":
        launch = f"""
def work():
    global env
    {launch}
thread = threading.Thread(target=work)
thread.start()
thread.join()"""
    agent = start("-c", f"import ferry, threading\n{launch}\nprint(env.process.pid, flush=True)\nenv.step(1)")
    pid = int(line_of(agent))
    assert is_alive(pid)
    agent.kill()
    wait_until(lambda: not is_alive(pid), timeout=5)


def test_the_process_outlives_the_thread_that_launched_it() -> None:
    made: list[ferry.LaunchedEnv] = []
    thread = threading.Thread(target=lambda: made.append(ferry.launch(SCRIPTED, timeout=PATIENCE)))
    thread.start()
    thread.join(PATIENCE)
    with made[0] as env:
        env.reset()
        env.step(0)


def test_a_forked_copy_does_not_end_the_process(start: Start) -> None:
    code = f"""
import os, ferry
env = ferry.launch({SCRIPTED!r}, timeout=30)
env.reset()
child = os.fork()
if child == 0:
    env.close()
    raise SystemExit(0)
assert os.waitpid(child, 0)[1] == 0
print(env.step(0)[0][0], flush=True)
"""
    assert line_of(start("-c", code)) == "1.0\n"


@pytest.mark.parametrize(
    ("way", "fate"), [("exit", "exited with code 3"), ("die", "was killed by SIGKILL"), ("quit", "exited with code 0")]
)
def test_errors_name_how_the_process_ended(env: ferry.LaunchedEnv, way: str, fate: str) -> None:
    env.reset(options={"do": way})
    with pytest.raises(ferry.PeerGoneError, match=f"{fate}.*launch it again"):
        env.step(1)


def test_it_does_not_connect_again(env: ferry.LaunchedEnv) -> None:
    env.reset(options={"do": "exit"})
    with pytest.raises(ferry.PeerGoneError):
        env.step(1)
    for _ in range(2):
        with pytest.raises(ferry.PeerGoneError, match=r"exited with code 3.*launch it again"):
            env.reset()


def test_ctrl_c_in_the_terminal_reaches_the_agent_alone(env: ferry.LaunchedEnv) -> None:
    assert os.getpgid(env.process.pid) == env.process.pid


def test_engines_are_scheduled_beside_their_agent(env: ferry.LaunchedEnv) -> None:
    """A session of its own would be a group of its own to the scheduler, and a yield would reach nobody else."""
    assert os.getsid(env.process.pid) == os.getsid(0)
    for autogroup in Path("/proc/self/autogroup"), Path(f"/proc/{env.process.pid}/autogroup"):
        if autogroup.exists():
            assert autogroup.read_text() == Path("/proc/self/autogroup").read_text()


ON_A_TERMINAL = """
import ferry, os, sys
def terminal_of(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[4])
with ferry.launch("CartPole-v1", timeout=30) as env:
    env.reset(seed=1)
    sys.exit(f"mine {terminal_of('self')}, the engine's {terminal_of(env.process.pid)}")
"""


def test_an_engine_has_no_terminal_that_could_stop_it() -> None:
    ours, theirs = pty.openpty()
    with open(ours, "rb"), open(theirs, "rb"):
        done = subprocess.run(
            [sys.executable, "-c", ON_A_TERMINAL],
            stdin=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert re.fullmatch(r"mine [1-9]\d*, the engine's 0\n", done.stderr)


def test_many_one_after_another_leave_nothing_behind() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with ferry.launch("CartPole-v1", timeout=PATIENCE) as env:
            env.reset(seed=1)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert children() == set()


def test_several_side_by_side() -> None:
    envs = [ferry.launch("CartPole-v1", timeout=PATIENCE) for _ in range(3)]
    for env in envs:
        env.reset(seed=1)
        env.step(0)
    for env in envs:
        env.close()
    assert [env.process.returncode for env in envs] == [0, 0, 0]


def test_nothing_is_said_when_all_goes_well(start: Start) -> None:
    agent = start(
        "-c", "import ferry; env = ferry.launch('CartPole-v1', timeout=30); env.reset(); env.step(0); env.close()"
    )
    assert agent.communicate(timeout=PATIENCE) == ("", "")
    assert agent.returncode == 0


def test_copies_are_refused_with_a_remedy_that_fits(env: ferry.LaunchedEnv) -> None:
    import pickle

    with pytest.raises(TypeError, match=r"lambda: ferry\.launch\(\.\.\.\)"):
        pickle.dumps(env)


def test_the_program_is_the_child_itself(tmp_path: Path) -> None:
    with ferry.launch("CartPole-v1", timeout=PATIENCE) as env:
        arguments = Path(f"/proc/{env.process.pid}/cmdline").read_bytes().split(b"\0")
        assert arguments[1:5] == [b"-m", b"ferry", b"serve", b"CartPole-v1"]
        assert subprocess.Popen is type(env.process)


def test_a_launched_environment_draws_and_is_called() -> None:
    with ferry.launch("sample_envs:Drawn", render_mode="ansi", level=7) as env:
        env.reset()
        assert env.render_mode == "ansi"
        assert env.render() == "time 0"
        assert env.get_attr("level") == 7
        env.process.kill()
        with pytest.raises(ferry.PeerGoneError, match="launch it again"):
            env.call("add", 1)
