"""A proxy between agent and environment: what it leaves alone is as in process, and what it does, an agent can tell."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import ferry
import row_envs
import same
import test_trajectories
import test_vector
from conftest import PATIENCE, Serve, Start, children, is_alive, line_of, wait_until
from ferry import paths
from ferry.__main__ import main
from ferry.backend import make
from ferry.testing import ChaosProxy, Fault

SCRIPTED = "sample_envs:Scripted"
FINE = dict.fromkeys(["delay", "stall", "drop", "fail", "nan", "outside", "reward"], 0)


T = TypeVar("T", ferry.ServerBackend, ferry.ClientBackend, ChaosProxy)


class Between:
    """What stands between this test and an environment, all of it in threads of this process."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()

    def serve(self, env: str, address: str = "real", num_envs: int = 1) -> ferry.ServerBackend:
        """An environment that serves."""
        return self._started(ferry.ServerBackend(env, address, num_envs=num_envs))

    def bring(self, env: str, address: str) -> ferry.ClientBackend:
        """An environment that connects."""
        return self._started(ferry.ClientBackend(env, address))

    def proxy(self, env_address: str = "real", address: str = "bad", **faults: Any) -> ChaosProxy:
        """The proxy."""
        return self._started(ChaosProxy(env_address, address, **faults))

    def env(self, address: str = "bad", **options: Any) -> ferry.ClientEnv:
        """The agent's side."""
        env = ferry.ClientEnv(address, **{"timeout": PATIENCE, **options})
        self._undo.callback(env.close)
        return env

    def end(self) -> None:
        """Closes everything, the last that was made first."""
        self._undo.close()

    def _started(self, what: T) -> T:
        thread = threading.Thread(target=what.run, name=str(what))
        thread.start()
        self._undo.callback(thread.join, PATIENCE)
        self._undo.callback(what.close)
        return what


@pytest.fixture
def between() -> Iterator[Between]:
    made = Between()
    yield made
    made.end()


# ---- What it leaves alone ----


@pytest.mark.parametrize("env_id", ["CartPole-v1", "sample_envs:Nested", "sample_envs:Wordy", "sample_envs:Pixels"])
def test_trajectories_are_as_in_process(serve: Serve, between: Between, env_id: str) -> None:
    serve(env_id, "real")
    proxy = between.proxy()
    test_trajectories.play(between.env(), make(env_id), 100)
    assert proxy.counts == FINE
    assert proxy.turns > 100


def test_it_works_where_the_environment_connects_and_the_agent_listens(between: Between) -> None:
    between.bring("sample_envs:Nested", "arena")
    between.proxy("serve:arena", "connect:training")
    with ferry.ServerEnv("training", timeout=PATIENCE) as env:
        test_trajectories.play(env, make("sample_envs:Nested"), 50)


@contextlib.contextmanager
def example(name: str, *arguments: str) -> Iterator[None]:
    """A compiled environment that serves."""
    with subprocess.Popen([str(Path(paths.pole()).with_name(name)), *arguments]) as process:
        try:
            yield
        finally:
            process.kill()


def test_typed_infos_of_c_pass(between: Between) -> None:
    with example("gameloop", "--hz", "5000", "real"), example("gameloop", "--hz", "5000", "twin"):
        between.proxy()
        env = between.env()
        test_trajectories.play(env, between.env("twin"), 300)
        assert "score" in env.step(0)[4]


def test_rows_whose_steps_the_library_counts_pass(between: Between) -> None:
    with example("pendulums", "real", "4"), example("pendulums", "twin", "4"):
        between.proxy()
        envs, twin = (ferry.ClientVectorEnv(name, autoreset_mode="same_step") for name in ("bad", "twin"))
        with envs, twin:
            same.assert_same(envs.reset(seed=1), twin.reset(seed=1))
            ended = False
            for _ in range(1100):  # an episode has 500
                actions = twin.action_space.sample()
                mine = envs.step(actions)
                same.assert_same(mine, twin.step(actions))
                ended = ended or bool(mine[3].all())
            assert ended


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("Told", mode) for mode in test_vector.MODES),
        ("Nested", "disabled"),
        ("Wordy", "next_step"),
        ("Wordy", "same_step"),
    ],
)
def test_rows_are_as_in_process(between: Between, name: str, mode: str) -> None:
    for number, rows in enumerate([3, 1]):
        between.serve(f"row_envs:{name}", f"real{number}", rows)
        between.proxy(f"real{number}", f"bad{number}")
    envs = ferry.ClientVectorEnv(["bad0", "bad1"], autoreset_mode=mode, timeout=PATIENCE)
    with (
        envs,
        contextlib.closing(
            SyncVectorEnv([getattr(row_envs, name)] * 4, autoreset_mode=AutoresetMode[mode.upper()])
        ) as twin,
    ):
        test_vector.play(envs, twin, mode, 40)


def test_what_is_beyond_step_and_reset_passes(between: Between) -> None:
    between.serve("sample_envs:Drawn")
    proxy = between.proxy()
    env = between.env(render_mode="rgb_array")
    env.reset(seed=0)
    env.step(0)
    np.testing.assert_array_equal(env.render(), np.full((30, 40, 3), 1, np.uint8))
    assert env.call("add", 1, 2.5, times=2) == 7.0
    with pytest.raises(ferry.BackendError, match="on purpose") as caught:
        env.call("fail")
    assert caught.value.remote_type == "KeyError"
    env.set_attr("level", 3)
    assert env.get_attr("level") == 3
    assert proxy.turns == 2, "calls are no turns"


def test_an_environment_that_raises_is_told_as_without(between: Between) -> None:
    between.serve(SCRIPTED)
    between.proxy(share={"nan": 1, "reward": 1})
    env = between.env()
    env.reset(options={"do": "fail"})
    with pytest.raises(ferry.BackendError, match="as scripted") as caught:
        env.step(1)
    assert caught.value.remote_type == "ZeroDivisionError"
    assert "in fail" in caught.value.remote_traceback
    assert env.reset(seed=5, options={"do": "large_info"})[1]["seed"] == 5
    np.testing.assert_array_equal(env.step(1)[4]["large"], np.arange(1_000_000))


def test_the_environment_leaves_with_the_agent(between: Between) -> None:
    between.serve(SCRIPTED)
    between.proxy()
    for resets in range(1, 4):
        env = between.env()
        assert env.reset()[0].tolist() == [0, resets]
        env.close()


def test_an_environment_that_connects_is_told_goodbye(between: Between) -> None:
    between.proxy("serve:arena", "bad")
    for _ in range(2):
        backend = ferry.ClientBackend(SCRIPTED, "arena")
        thread = threading.Thread(target=backend.run)
        thread.start()
        env = between.env()
        env.reset()
        env.close()
        thread.join(PATIENCE)  # as without a proxy
        assert not thread.is_alive()


# ---- What it does ----


def played(env: gymnasium.Env[Any, Any], steps: int) -> list[Any]:
    """Steps whatever comes, with a reset where one is needed; what came."""
    came: list[Any] = []
    for step in range(steps):
        try:
            came.append(env.step(step % 2))
        except (ferry.FerryError, gymnasium.error.ResetNeeded) as error:
            came.append(error)
            with contextlib.suppress(ferry.FerryError):
                env.reset()
    return came


def test_a_delay_takes_time_and_changes_nothing(between: Between) -> None:
    between.serve("CartPole-v1")
    proxy = between.proxy(share={"delay": 0.3}, delay_s=0.001)
    test_trajectories.play(between.env(), make("CartPole-v1"), 100)
    assert proxy.counts == {**FINE, "delay": len(proxy.faults)}
    assert 10 < len(proxy.faults) < 60


def test_a_stall_is_a_timeout_that_ends_by_itself(between: Between) -> None:
    between.serve(SCRIPTED)
    proxy = between.proxy(at={1: "stall"}, stall_s=0.5)
    env = between.env(timeout=0.1)
    env.reset()
    with pytest.raises(ferry.FerryTimeoutError, match="has held the turn"):
        env.step(0)
    assert proxy.faults == [Fault(1, "stall", "step", None, "0.5 s")]
    while True:
        with contextlib.suppress(ferry.FerryTimeoutError):
            assert env.wait()[0].tolist() == [1, 1]
            break


def test_a_stall_for_ever_ends_with_its_agent(between: Between) -> None:
    between.serve(SCRIPTED)
    between.proxy(at={1: "stall"})
    env = between.env(timeout=0.1)
    env.reset()
    for call in (lambda: env.step(0), env.wait, env.reset):
        with pytest.raises(ferry.FerryTimeoutError):
            call()
    env.close()
    other = between.env()
    assert other.reset()[0].tolist() == [0, 2], "the environment has not seen the step"


def test_a_drop_is_a_peer_that_is_gone(between: Between) -> None:
    between.serve(SCRIPTED)
    proxy = between.proxy(at={2: "drop", 4: "drop"})
    env = between.env()
    env.reset()
    env.step(0)
    with pytest.raises(ferry.PeerGoneError):
        env.step(0)
    assert env.reset()[0].tolist() == [0, 2]
    with pytest.raises(ferry.PeerGoneError):
        env.step(0)
    assert proxy.counts == {**FINE, "drop": 2}


def test_a_drop_truncates_where_crashes_are_outlived(between: Between) -> None:
    between.serve(SCRIPTED)
    between.proxy(at={2: "drop", 3: "drop"})
    with ferry.launch(address="bad", on_crash="restart", timeout=PATIENCE) as env:
        env.reset()
        last = env.step(0)[0]
        observation, reward, terminated, truncated, info = env.step(0)
        np.testing.assert_array_equal(observation, last)
        assert (reward, terminated, truncated) == (0, False, True)
        assert info["ferry"]["restarts"] == 1
        assert env.reset()[0].tolist() == [0, 2], "the second drop was of the first reset"


def test_a_failure_is_that_of_an_environment(between: Between) -> None:
    between.serve(SCRIPTED)
    between.proxy(at={0: "fail", 2: "fail"})
    env = between.env()
    with pytest.raises(ferry.BackendError, match="raised ChaosError: on purpose, by the proxy at turn 0"):
        env.reset()
    env.reset()
    with pytest.raises(ferry.BackendError) as caught:
        env.step(0)
    assert caught.value.remote_type == "ChaosError"
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_numbers_are_wrong_where_it_says(between: Between) -> None:
    between.serve("CartPole-v1")
    proxy = between.proxy(share={"nan": 0.3, "outside": 0.3, "reward": 0.3})
    env, twin = between.env(), make("CartPole-v1")
    mine: list[tuple[Any, float]] = [(env.reset(seed=1)[0], 0.0)]
    theirs = [twin.reset(seed=1)[0]]
    for step in range(8):
        mine.append(env.step(step % 2)[:2])
        theirs.append(twin.step(step % 2)[0])
    for turn, ((observation, reward), right) in enumerate(zip(mine, theirs, strict=True)):
        told = {fault.name for fault in proxy.faults if fault.turn == turn}
        assert np.isnan(observation).sum() <= ("nan" in told)
        assert ("nan" in told) == np.isnan(observation).any() or "outside" in told
        differ = (observation != right).sum()
        assert differ <= ("nan" in told) + ("outside" in told)
        assert (differ > 0) == bool(told & {"nan", "outside"})
        assert ("reward" in told) == (turn > 0 and not (math.isfinite(reward) and abs(reward) < 1e29))
        if "outside" in told and "nan" not in told:
            assert not env.observation_space.contains(observation)
    assert all(proxy.counts[name] for name in ("nan", "outside", "reward"))


@pytest.mark.parametrize("name", ["outside", "nan"])
@pytest.mark.parametrize("env_id", ["row_envs:Nested", "row_envs:Numbers"])
def test_one_part_of_an_observation_is_wrong(between: Between, env_id: str, name: Any) -> None:
    between.serve(env_id)
    if name == "nan" and env_id == "row_envs:Numbers":
        with pytest.raises(ValueError, match=r"the fault 'nan' is not possible: the observation of .* has no float"):
            ChaosProxy("real", "bad", share={"nan": 1}).run()
        return
    proxy = between.proxy(share={name: 1})
    env, twin = between.env(), make(env_id)
    twin.action_space.seed(1)
    for turn in range(20):
        if turn % 4 == 0:
            (observation, _), (right, _) = env.reset(seed=turn), twin.reset(seed=turn)
        else:
            action = twin.action_space.sample()
            observation, right = env.step(action)[0], twin.step(action)[0]
        flat, correct = flattened(observation), flattened(right)
        (place,) = [i for i, (a, b) in enumerate(zip(flat, correct, strict=True)) if not same.same(a, b)]
        np.testing.assert_allclose(float(proxy.faults[-1].detail.split()[-1]), float(flat[place]), rtol=1e-5)
        assert math.isnan(flat[place]) == (name == "nan")
        assert not env.observation_space.contains(observation) or name == "nan"
    assert proxy.counts == {**FINE, name: 20}


def flattened(value: Any) -> list[Any]:
    """The numbers of an observation."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in flattened(part)]
    if isinstance(value, tuple):
        return [number for part in value for number in flattened(part)]
    return list(np.asarray(value).ravel())


def test_one_row_of_many_is_wrong(between: Between) -> None:
    between.serve("row_envs:Numbers", num_envs=3)
    proxy = between.proxy(share={"outside": 1, "reward": 1})
    with ferry.ClientVectorEnv("bad", autoreset_mode="same_step", timeout=PATIENCE) as envs:
        rows = set()
        observations, _ = envs.reset(seed=1)
        for _ in range(30):
            fault = next(fault for fault in reversed(proxy.faults) if fault.name == "outside")
            wrong = [row for row in range(3) if not envs.single_observation_space.contains(observations[row])]
            assert wrong == [fault.row]
            rows.add(fault.row)
            observations, rewards, *_ = envs.step(np.zeros(3, int))
            (reward,) = [fault for fault in proxy.faults[-2:] if fault.name == "reward"]
            large = [row for row in range(3) if not abs(rewards[row]) < 1e29]
            assert large == [reward.row]
        assert rows == {0, 1, 2}


def test_a_batch_has_one_turn_where_the_library_resets_rows(between: Between) -> None:
    between.serve("row_envs:Told", num_envs=2)
    proxy = between.proxy(at={3: "fail"})
    with ferry.ClientVectorEnv("bad", autoreset_mode="same_step", timeout=PATIENCE) as envs:
        envs.reset(seed=1)
        for _ in range(2):
            envs.step(np.array([row_envs.TERMINATE, row_envs.GO_ON]))
        assert proxy.turns == 3
        with pytest.raises(ferry.BackendError, match="turn 3"):
            envs.step(np.zeros(2, int))
        envs.reset()
        envs.step(np.zeros(2, int))


def test_equal_seeds_do_equal_things(between: Between) -> None:
    between.serve("CartPole-v1", "real0")
    between.serve("CartPole-v1", "real1")
    between.serve("CartPole-v1", "real2")
    share = {"delay": 0.2, "drop": 0.1, "fail": 0.1, "nan": 0.1, "outside": 0.1, "reward": 0.2}
    runs = []
    for number, seed in enumerate([3, 3, 4]):
        proxy = between.proxy(
            f"real{number}", f"bad{number}", seed=seed, share=share, at={20: ("nan", "drop")}, delay_s=0
        )
        with ferry.launch(address=f"bad{number}", on_crash="restart", timeout=PATIENCE) as env:
            env.reset(seed=1)
            runs.append((played(env, 100), proxy.faults, proxy.counts))
    assert str(runs[0]) == str(runs[1]).replace("real1", "real0").replace("bad1", "bad0")
    assert runs[0][1] != runs[2][1]
    assert Fault(20, "drop", "step", None, "") in runs[0][1] or Fault(20, "drop", "reset", None, "") in runs[0][1]
    assert all(count for name, count in runs[0][2].items() if name != "stall")


def test_another_fault_leaves_the_others_where_they_were(between: Between) -> None:
    between.serve("CartPole-v1")
    told = []
    for number, share in enumerate([{"delay": 0.2}, {"delay": 0.2, "reward": 0.5}, {"delay": 0.4}]):
        proxy = between.proxy(address=f"bad{number}", share=share, delay_s=0)
        with between.env(f"bad{number}") as env:
            env.reset()
            played(env, 50)
        told.append({fault.turn for fault in proxy.faults if fault.name == "delay"})
        proxy.close()
    assert told[0] == told[1] < told[2]


# ---- A training loop ----


def test_a_training_loop_outlives_all_of_it(serve: Serve) -> None:
    """The loop of docs/reliability.md: what it does about each is what the errors say."""
    serve("CartPole-v1", "pole")
    share: Any = {"delay": 0.05, "drop": 0.02, "fail": 0.02, "nan": 0.02, "reward": 0.02}
    with ChaosProxy("pole", "bad-pole", seed=1, share=share, at={30: "stall", 60: "drop"}, delay_s=0.001) as proxy:
        learned = timeouts = failures = crashes = refused = 0
        env = ferry.launch(
            address="bad-pole", on_crash="restart", max_restarts=1000, timeout=0.5, start_timeout=PATIENCE
        )
        over = True
        while learned < 300:
            try:
                if over:
                    observation, _ = env.reset()
                observation, reward, terminated, truncated, info = env.step(0 if observation[2] < 0 else 1)
                over = terminated or truncated
            except ferry.FerryTimeoutError:
                timeouts, over = timeouts + 1, True
                env.close()
                env = ferry.launch(
                    address="bad-pole", on_crash="restart", max_restarts=1000, timeout=0.5, start_timeout=PATIENCE
                )
                continue
            except ferry.BackendError:
                failures, over = failures + 1, True
                continue
            crashes += "ferry" in info
            if np.isfinite(observation).all() and abs(reward) < 1e6:
                learned += 1
            else:
                refused, over = refused + 1, True
        env.close()
        counts = proxy.counts
    assert timeouts == counts["stall"] == 1
    assert failures == counts["fail"] > 0
    assert 0 < crashes <= counts["drop"], "those of a reset are not noticed"
    assert refused > 0
    assert proxy.counts == counts, "it is known afterwards too"


# ---- Its process ----


def test_its_process_is_gone_with_it(serve: Serve, runtime_dir: Path) -> None:
    backend = serve(SCRIPTED, "real")
    before = children(), len(os.listdir("/proc/self/fd"))
    proxy = ChaosProxy("real", "bad", timeout=PATIENCE)
    assert proxy.counts == FINE
    with proxy:
        assert is_alive(proxy.process.pid)
        with ferry.ClientEnv("bad", timeout=PATIENCE) as env:
            env.reset()
            with pytest.raises(ferry.FerryError, match="has been started already"):
                proxy.start()
    proxy.close()
    assert proxy.process.returncode == 0
    assert (children(), len(os.listdir("/proc/self/fd"))) == before
    backend.terminate()
    assert os.listdir(runtime_dir) == []


def test_its_process_dies_with_a_parent_that_is_killed(start: Start, serve: Serve) -> None:
    serve(SCRIPTED, "real")
    code = """
import ferry.testing
with ferry.testing.ChaosProxy("real", "bad") as proxy:
    print(proxy.process.pid, flush=True)
    input()
"""
    parent = start("-c", code, stdin=subprocess.PIPE)
    pid = int(line_of(parent))
    with ferry.ClientEnv("bad", timeout=PATIENCE) as env:
        env.reset()
        parent.kill()
        wait_until(lambda: not is_alive(pid))
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
    with ferry.ClientEnv("real", timeout=PATIENCE) as env:  # the environment goes on
        env.reset()


def test_a_forked_copy_does_not_end_it(start: Start, serve: Serve) -> None:
    serve(SCRIPTED, "real")
    code = """
import os, ferry, ferry.testing
proxy = ferry.testing.ChaosProxy("real", "bad").start()
child = os.fork()
if child == 0:
    raise SystemExit(0)
assert os.waitpid(child, 0)[1] == 0
with ferry.ClientEnv("bad") as env:
    env.reset()
print(proxy.turns, flush=True)
"""
    assert line_of(start("-W", "ignore", "-c", code)) == "1\n"


def test_its_own_end_is_told(serve: Serve) -> None:
    serve(SCRIPTED, "real")
    with ChaosProxy("real", "bad", timeout=PATIENCE) as proxy:
        proxy.process.kill()
        with pytest.raises(ferry.FerryError, match=r"<ChaosProxy 'real' 'bad'> has ended: .* was killed by SIGKILL"):
            _ = proxy.counts


def test_an_environment_that_dies_is_gone_and_the_next_is_met(serve: Serve) -> None:
    backend = serve(SCRIPTED, "real")
    with ChaosProxy("real", "bad", timeout=PATIENCE) as proxy, ferry.ClientEnv("bad", timeout=PATIENCE) as env:
        env.reset()
        backend.kill()
        with pytest.raises(ferry.PeerGoneError):
            env.step(0)
        serve("sample_envs:OtherScripted", "real")
        with pytest.raises(ferry.LayoutMismatchError):
            env.reset()
        assert proxy.turns == 2


def test_an_environment_that_dies_unused_is_met_anew(serve: Serve) -> None:
    backend = serve(SCRIPTED, "real")
    with ChaosProxy("real", "bad", timeout=PATIENCE):
        backend.kill()
        serve(SCRIPTED, "real")
        with ferry.launch(address="bad", on_crash="restart", timeout=PATIENCE) as env:
            assert env.reset()[0].tolist() == [0, 1]


def test_it_can_be_launched_as_an_engine(serve: Serve) -> None:
    """Then what is dropped is a process that has ended, and another takes its place."""
    serve(SCRIPTED, "real")
    words = ["-m", "ferry", "chaos", "real", "bad", "--at", "2=drop"]
    with ferry.launch([sys.executable, *words], on_crash="restart", timeout=PATIENCE) as env:
        env.reset()
        env.step(0)
        assert "exited with code 0" in env.step(0)[4]["ferry"]["crash"]
        env.reset()
        env.step(0)


# ---- What cannot be ----


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"share": {"dropp": 0.1}},
            ValueError,
            "share names the fault 'dropp'; there are delay, .*did you mean 'drop'?",
        ),
        ({"share": {"drop": 1.5}}, ValueError, "the share of 'drop' is 1.5; it may be 0 to 1"),
        ({"share": {"drop": "often"}}, ValueError, "the share of 'drop' is 'often'"),
        ({"at": {-1: "drop"}}, ValueError, "at names the turn -1; turns are numbered from 0"),
        ({"at": {"3": "drop"}}, ValueError, "at names the turn '3'"),
        ({"at": {3: "raise"}}, ValueError, "at names the fault 'raise'; there are"),
        ({"at": {3: ["drop", "nann"]}}, ValueError, "did you mean 'nan'?"),
        ({"seed": -1}, ValueError, "seed is -1; it is a whole number, 0 or more"),
        ({"delay_s": -1}, ValueError, "delay_s is -1; it takes seconds"),
        ({"stall_s": float("inf")}, ValueError, "stall_s is inf; it takes seconds, or None: until the agent leaves"),
        ({"timeout": 0}, ValueError, "timeout is 0"),
        ({"address": "real"}, ValueError, "the proxy would meet itself: both addresses are 'real'"),
        ({"address": "serve:real"}, ValueError, "the proxy would meet itself"),
        ({"address": Path("bad")}, TypeError, "an address is a str"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ChaosProxy(**{"env_address": "real", "address": "bad", **arguments})


def test_what_keeps_it_from_starting_is_raised(serve: Serve) -> None:
    before = children()
    with pytest.raises(ferry.FerryTimeoutError, match=r"no environment has served 'real' for 0\.1 s"):
        ChaosProxy("real", "bad", timeout=0.1).start()
    serve("row_envs:Numbers", "real")
    with pytest.raises(ValueError, match="the fault 'nan' is not possible"):
        ChaosProxy("real", "bad", at={2: "nan"}, timeout=PATIENCE).start()
    serve(SCRIPTED, "bad")
    with ferry.ClientEnv("bad", timeout=PATIENCE), pytest.raises(ferry.AddressError, match="is already served by"):
        ChaosProxy("real", "bad", timeout=PATIENCE).start()
    assert len(children() - before) == 2, "these two environments"


def test_an_environment_in_real_time_is_refused(between: Between) -> None:
    backend = ferry.ServerBackend("CartPole-v1", "real", realtime_hz=100)
    thread = threading.Thread(target=backend.run)
    thread.start()
    try:
        with pytest.raises(ValueError, match="the environment runs in real time"):
            ChaosProxy("real", "bad").run()
    finally:
        backend.close()
        thread.join(PATIENCE)


# ---- The command ----


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command(start: Start, serve: Serve, how: signal.Signals) -> None:
    serve(SCRIPTED, "real")
    words = "chaos real bad --seed 1 --share delay=0.5 --at 1=fail --at 1=delay --delay-s 0.001 --verbose"
    process = start("-m", "ferry", *words.split())
    with ferry.ClientEnv("bad", timeout=PATIENCE) as env:
        env.reset()
        with pytest.raises(ferry.BackendError, match="ChaosError"):
            env.step(0)
    process.send_signal(how)
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (0, "")
    assert "ferry: chaos between 'real' and 'bad'; Ctrl-C ends it\n" in errors
    assert "turn 1, a step: fail\n" in errors
    assert errors.endswith(("ferry: 2 turns: 2 delay, 1 fail\n", "ferry: 2 turns: 1 delay, 1 fail\n"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--share drop", "'drop' is not FAULT=SHARE, such as drop=0.01"),
        ("--at x=drop", "'x=drop' is not TURN=FAULT, such as 300=drop"),
        ("--share dropp=0.1", "did you mean 'drop'?"),
    ],
)
def test_the_command_names_what_it_cannot_read(words: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        assert main(["chaos", "real", "bad", *words.split()]) == 1
    assert text in capsys.readouterr().err
