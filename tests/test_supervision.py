"""Environments whose processes crash, and agents that go on."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
from conftest import PATIENCE, Serve, Start, children, is_alive, line_of, program, wait_until
from ferry import paths

SCRIPTED = "sample_envs:Scripted"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def crash(env: ferry.LaunchedEnv) -> None:
    env.process.kill()
    env.process.wait(PATIENCE)


# ---- What a crash does ----


def test_a_crash_is_raised_unless_told_otherwise() -> None:
    with ferry.launch(SCRIPTED, timeout=PATIENCE) as env:
        env.reset()
        crash(env)
        with pytest.raises(ferry.PeerGoneError, match="killed by SIGKILL"):
            env.step(0)


def test_a_crash_truncates_and_the_same_env_goes_on() -> None:
    with ferry.launch(SCRIPTED, timeout=PATIENCE, on_crash="restart") as env:
        env.reset(seed=3)
        last = env.step(0)[0]
        first = env.process.pid
        crash(env)
        observation, reward, terminated, truncated, info = env.step(0)
        np.testing.assert_array_equal(observation, last)
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert type(reward) is float
        assert "was killed by SIGKILL" in info["ferry"]["crash"]
        assert info["ferry"]["restarts"] == 1
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(0)
        _, info = env.reset()
        assert info["pid"] == env.process.pid != first
        assert env.step(0)[1] == 1.0
    assert not is_alive(env.process.pid)


def test_truncate_ends_the_episode_and_replaces_nothing() -> None:
    with ferry.launch(SCRIPTED, timeout=PATIENCE, on_crash="truncate") as env:
        env.reset()
        crash(env)
        assert env.step(0)[3]
        with pytest.raises(ferry.PeerGoneError, match=r"killed by SIGKILL.*on_crash='restart' would replace it"):
            env.reset()


def test_a_crash_between_episodes_is_not_noticed() -> None:
    with ferry.launch(SCRIPTED, timeout=PATIENCE, on_crash="restart") as env:
        env.reset()
        crash(env)
        _, info = env.reset(seed=4)
        assert (info["pid"], info["seed"]) == (env.process.pid, 4)


def test_a_restarted_environment_gets_a_fresh_derived_seed() -> None:
    seeds = []
    for _ in range(2):
        with ferry.launch(SCRIPTED, timeout=PATIENCE, on_crash="restart") as env:
            told = [env.reset(seed=7)[1]["seed"], env.reset()[1]["seed"]]
            for _ in range(2):
                crash(env)
                env.step(0)
                told += [env.reset()[1]["seed"], env.reset()[1]["seed"]]
            seeds.append(told)
    assert seeds[0] == seeds[1], "the same run again"
    assert seeds[0][:2] == [7, None]
    assert seeds[0][3] is None
    assert len({7, seeds[0][2], seeds[0][4]}) == 3


def test_views_of_a_lost_environment_are_copied() -> None:
    with ferry.launch("sample_envs:Pixels", timeout=PATIENCE, on_crash="restart", copy=False) as env:
        env.reset(seed=1)
        last = env.step(1)[0].copy()
        crash(env)
        observation = env.step(1)[0]
        env.reset()
        for _ in range(4):
            env.step(2)
        np.testing.assert_array_equal(observation, last)


def test_a_hundred_kills_at_random_steps() -> None:
    """One run: every kill ends one episode, truncated; nothing is raised, and nothing is left."""
    chance = random.Random(5)
    with ferry.launch([paths.pole()], timeout=PATIENCE, on_crash="restart", max_restarts=1000) as env:
        env.reset(seed=1)
        before = descriptors()
        kills = truncations = 0
        while kills < 100:
            env.reset()
            for step in range(chance.randrange(20)):
                _, _, terminated, truncated, _ = env.step(step % 2)
                if terminated or truncated:
                    break
            else:
                env.process.kill()
                kills += 1
                for _ in range(2000):  # it may take some more steps until it dies
                    _, _, terminated, truncated, info = env.step(0)
                    if truncated:
                        assert "was killed by SIGKILL" in info["ferry"]["crash"]
                        truncations += 1
                    if terminated or truncated:
                        break
        env.reset()
        assert descriptors() <= before + 1
    assert truncations <= kills
    assert truncations > 80, "most die under way; some between two episodes"
    assert children() == set()


def test_too_many_restarts_are_an_error() -> None:
    with ferry.launch(SCRIPTED, timeout=PATIENCE, on_crash="restart", max_restarts=2) as env:
        for _ in range(3):
            env.reset()
            env.step(0)
            crash(env)
            assert env.step(0)[3], "the episode ends truncated all the same"
        with pytest.raises(
            ferry.PeerGoneError, match="replaced 2 times within a minute, and max_restarts allows no more"
        ):
            env.reset()


def test_an_engine_that_dies_at_once_is_not_replaced_for_ever(tmp_path: Path) -> None:
    """It plays once; afterwards its program is broken."""
    script = tmp_path / "engine.py"
    script.write_text("import ferry; ferry.ServerBackend('sample_envs:Scripted').run()")
    with ferry.launch([sys.executable, str(script)], timeout=PATIENCE, on_crash="restart", max_restarts=3) as env:
        env.reset()
        script.write_text("print('no such level'); exit(9)")
        crash(env)
        env.step(0)
        with pytest.raises(ferry.PeerGoneError, match=r"exited with code 9(.|\n)*no such level"):
            env.reset()


def test_an_environment_that_dies_in_every_reset_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doomed(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Discrete(2)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, **_: Any) -> Any:
            os._exit(3)

    monkeypatch.setattr(sys.modules["ferry.launch"], "_BACK_OFF", (0.0,))
    monkeypatch.setattr(sys.modules["ferry.launch"], "_MOST_FUTILE", 3)
    text = r"lost 3 times without having taken a step: .*exited with code 3"
    with (
        ferry.launch(Doomed, on_crash="restart", timeout=PATIENCE) as env,
        pytest.raises(ferry.PeerGoneError, match=text),
    ):
        env.reset()


def test_an_environment_of_another_shape_is_told(tmp_path: Path) -> None:
    script = tmp_path / "engine.py"
    script.write_text("import ferry; ferry.ServerBackend('sample_envs:Scripted').run()")
    with ferry.launch([sys.executable, str(script)], timeout=PATIENCE, on_crash="restart") as env:
        env.reset()
        script.write_text("import ferry; ferry.ServerBackend('sample_envs:Pixels').run()")
        crash(env)
        env.step(0)
        with pytest.raises(ferry.LayoutMismatchError, match="is not shaped as the one before"):
            env.reset()


def test_a_run_goes_on_at_an_address(serve: Serve) -> None:
    """As with a game in its editor: stopped, and played again."""
    backend = serve(SCRIPTED)
    with (
        ferry.launch(address="test", timeout=PATIENCE, on_crash="restart") as env,
        ThreadPoolExecutor(1) as agent,
    ):
        env.reset()
        backend.kill()
        assert env.step(0)[3]
        reset = agent.submit(env.reset)
        time.sleep(0.3)
        serve(SCRIPTED)
        reset.result(PATIENCE)
        assert env.step(0)[1] == 1.0


def test_gymnasium_launches() -> None:
    with gymnasium.make("ferry/Launch-v0", command=[str(paths.pole())], on_crash="restart", timeout=PATIENCE) as env:
        assert env.spec is not None
        assert gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()).kwargs["on_crash"] == "restart"
        env.reset(seed=1)
        env.step(0)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, TypeError, "a command to start, or the address"),
        ({"command": "CartPole-v1", "address": "x"}, TypeError, "not both"),
        ({"address": "x", "cwd": "/"}, TypeError, "cwd: nothing is started at an address"),
        ({"command": "CartPole-v1", "on_crash": "explode"}, ValueError, "'raise', 'truncate' or 'restart'"),
    ],
)
def test_wrong_arguments_are_explained(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ferry.launch(**options)


# ---- Errors that explain ----


def test_the_last_lines_of_an_engine_that_ended_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    code = "for i in range(30): print('line', i)\nraise SystemExit(3)"
    with pytest.raises(ferry.PeerGoneError, match="exited with code 3 before it spoke Ferry") as raised:
        ferry.launch(program(code), timeout=PATIENCE)
    lines = [line.strip() for line in str(raised.value).splitlines()]
    assert lines[-21:] == ["The last that it printed:", *(f"line {i}" for i in range(10, 30))]
    assert "line 0\n" in capfd.readouterr().err, "what it prints is passed on"


def test_the_last_lines_of_a_log_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        ferry.PeerGoneError, match=r"The last that it printed; all of it is in .*engine-0\.log:\n  hello"
    ):
        ferry.launch(program("print('hello'); exit(1)"), timeout=PATIENCE, log_dir=tmp_path / "logs")
    assert (tmp_path / "logs" / "engine-0.log").read_text() == "hello\n"
    assert "hello" not in capfd.readouterr().err


def test_an_engine_that_never_speaks_is_told_with_its_last_lines() -> None:
    code = "import time; print('loading', flush=True); time.sleep(60)"
    with pytest.raises(ferry.FerryTimeoutError, match=r"runs, but has not spoken Ferry for 1 s(.|\n)*loading"):
        ferry.launch(program(code), timeout=PATIENCE, start_timeout=1)
    assert children() == set()


def test_the_address_stands_where_the_command_wants_it(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['FERRY_ADDRESS']); exit(1)"
    with pytest.raises(ferry.PeerGoneError, match=r"\['--ferry=(fd:\d+)', '0'\] \1"):
        ferry.launch(program(code, "--ferry={address}", "{index}"), timeout=PATIENCE)


def test_a_child_that_keeps_the_pipe_does_not_keep_the_launcher() -> None:
    code = "import subprocess; print('left', subprocess.Popen(['sleep', '60']).pid, flush=True); exit(2)"
    with pytest.raises(ferry.PeerGoneError, match=r"exited with code 2(.|\n)*left") as raised:
        ferry.launch(program(code), timeout=PATIENCE)
    left = int(str(raised.value).split()[-1])
    assert is_alive(left), "nobody waited for it"
    os.kill(left, signal.SIGKILL)


# ---- Ends ----


def test_engines_end_with_a_trainer_that_is_killed(start: Start) -> None:
    code = (
        "import ferry, sys, time\n"
        "envs = [ferry.launch([sys.argv[1]], on_crash='restart') for _ in range(3)]\n"
        "print(*[env.process.pid for env in envs], flush=True)\n"
        "for env in envs: env.reset()\n"
        "while True: [env.step(0) for env in envs if not env._agent.needs_reset]\n"
    )
    for _ in range(5):
        trainer = start("-c", code, str(paths.pole()))
        pids = [int(word) for word in line_of(trainer).split()]
        trainer.kill()
        trainer.wait(PATIENCE)
        wait_until(lambda pids=pids: not any(map(is_alive, pids)))  # type: ignore[misc]


def test_engines_that_will_not_go_are_made_to() -> None:
    """Of eight two ignore SIGTERM and one is stopped: all are reaped."""
    stubborn = (
        "import signal, time, ferry, threading\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\nferry.ServerBackend('CartPole-v1').run()"
    )
    commands = [program(stubborn)] * 2 + [[str(paths.pole())]] * 6
    envs = [ferry.launch(command, timeout=PATIENCE) for command in commands]
    for env in envs:
        env.reset()
    envs[-1].process.send_signal(signal.SIGSTOP)
    for env in envs:
        env.close()
    assert children() == set()
