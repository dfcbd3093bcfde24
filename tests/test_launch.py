"""Processes that are started with their environment, and end with it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
from conftest import PATIENCE, Start, children, is_alive, line_of, program, wait_until

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
    with pytest.raises(TypeError, match="map_name: only an environment's id takes arguments by name"):
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
    assert os.getpgid(env.process.pid) != os.getpgid(0)


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
