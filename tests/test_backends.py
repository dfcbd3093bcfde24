"""ServerBackend and ClientBackend in this process, with their agent in a thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

import ferry
import sample_envs
from conftest import PATIENCE
from ferry.backend import make


@contextmanager
def running(backend: ferry.ServerBackend | ferry.ClientBackend) -> Iterator[None]:
    """Runs a backend in a thread, and closes it."""
    thread = threading.Thread(target=backend.run)
    thread.start()
    yield
    backend.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


class Recorder(sample_envs.Scripted):
    """Keeps the actions that it is given, and whether it was closed."""

    action_space = gymnasium.spaces.Dict(  # type: ignore[assignment]
        {"box": gymnasium.spaces.Box(-1, 1, (2,)), "number": gymnasium.spaces.Discrete(3)}
    )

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[Any] = []
        self.is_closed = False

    def step(self, action: Any) -> sample_envs.Step:
        self.actions.append(action)
        return self._observation(), 0.0, False, False, {}

    def close(self) -> None:
        self.is_closed = True


def test_actions_are_the_environments_to_keep_and_to_write() -> None:
    recorder = Recorder()
    with running(ferry.ServerBackend(recorder, "test")), ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        for i in range(20):
            env.step({"box": np.full(2, i / 100, np.float32), "number": i % 3})
    assert [float(action["box"][0]) for action in recorder.actions] == [np.float32(i / 100) for i in range(20)]
    assert all(action["box"].flags.writeable and action["box"].flags.owndata for action in recorder.actions)
    assert {type(action["number"]) for action in recorder.actions} == {np.int64}


def test_an_environment_that_was_given_stays_open() -> None:
    recorder = Recorder()
    ferry.ServerBackend(recorder, "test").close()
    assert not recorder.is_closed


def test_an_environment_that_the_backend_made_is_closed_with_it() -> None:
    backend = ferry.ServerBackend(Recorder, "test")
    backend.close()
    backend.close()
    assert backend.env.is_closed  # type: ignore[attr-defined]


def test_an_environment_that_cannot_be_served_is_closed() -> None:
    recorder = Recorder()
    recorder.action_space = gymnasium.Space()  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"action space is of the class gymnasium\.spaces\.space\.Space, which"):
        ferry.ServerBackend(lambda: recorder, "test")
    assert recorder.is_closed


@pytest.mark.parametrize("env", [5, lambda: 5, None])
def test_what_is_no_environment_is_refused(env: Any) -> None:
    with pytest.raises(TypeError, match=r"a gymnasium\.Env"):
        ferry.ServerBackend(env, "test")


def test_closing_from_another_thread_ends_run_and_frees_the_address() -> None:
    for _ in range(3):
        with running(ferry.ServerBackend("CartPole-v1", "test")):
            pass


def test_closing_from_the_environment_ends_run() -> None:
    class Closing(Recorder):
        def step(self, action: Any) -> sample_envs.Step:
            backend.close()
            return super().step(action)

    backend = ferry.ServerBackend(Closing(), "test")
    with running(backend), ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset()
        with pytest.raises(ferry.PeerGoneError):
            env.step({"box": np.zeros(2, np.float32), "number": 0})


def test_run_after_close_returns() -> None:
    with ferry.ServerBackend("CartPole-v1", "test") as backend:
        pass
    backend.run()


def test_a_client_backend_ends_with_its_agent() -> None:
    backend = ferry.ClientBackend("CartPole-v1", "test")
    thread = threading.Thread(target=backend.run)
    thread.start()
    with ferry.ServerEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_sigterm_is_left_as_it_was() -> None:
    backend = ferry.ServerBackend("CartPole-v1", "test")
    handlers: list[Any] = []

    def agent() -> None:
        with ferry.ClientEnv("test", timeout=PATIENCE) as env:
            env.reset()
            handlers.append(signal.getsignal(signal.SIGTERM))
        backend.close()

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=agent)
    thread.start()
    backend.run()
    thread.join(PATIENCE)
    assert signal.getsignal(signal.SIGTERM) is before
    assert handlers[0] is not before


@pytest.mark.parametrize("env_id", ["CartPole-v1", "sample_envs:Pixels", "gymnasium.envs.classic_control:PendulumEnv"])
def test_ids_and_callables_are_made(env_id: str) -> None:
    env = make(env_id)
    assert isinstance(env, gymnasium.Env)
    env.close()


def test_arguments_reach_what_is_made() -> None:
    assert make("sample_envs:Pixels", {"shape": [3, 4, 1]}).observation_space.shape == (3, 4, 1)
    assert make("FrozenLake-v1", {"map_name": "8x8"}).observation_space.n == 64  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"made a .*, not a gymnasium\.Env"):
        make("builtins:dict")


def test_a_spec_that_holds_functions_is_told_without_them() -> None:
    gymnasium.register(
        "ferry-tests/Recorder-v3",
        entry_point=lambda **_: Recorder(),
        reward_threshold=5.0,
        disable_env_checker=True,
        kwargs={"function": len},
    )
    try:
        with (
            running(ferry.ServerBackend("ferry-tests/Recorder-v3", "test")),
            ferry.ClientEnv("test", timeout=PATIENCE) as env,
        ):
            spec = env.remote_spec
    finally:
        del gymnasium.registry["ferry-tests/Recorder-v3"]
    assert spec is not None
    assert (spec.id, spec.reward_threshold, spec.entry_point) == ("ferry-tests/Recorder-v3", 5.0, None)


def test_many_agents_one_after_another() -> None:
    with running(ferry.ServerBackend("CartPole-v1", "test")):
        for _ in range(20):
            with ferry.ClientEnv("test", timeout=PATIENCE) as env:
                env.reset(seed=1)
                env.step(0)


def test_several_backends_side_by_side_in_one_process() -> None:
    with (
        running(ferry.ServerBackend("CartPole-v1", "a")),
        running(ferry.ServerBackend("Pendulum-v1", "b")),
        ferry.ClientEnv("a", timeout=PATIENCE) as a,
        ferry.ClientEnv("b", timeout=PATIENCE) as b,
    ):
        a.reset(seed=1)
        b.reset(seed=1)
        for _ in range(5):
            a.step(a.action_space.sample())
            b.step(b.action_space.sample())


# ---- Made anew to draw ----


class Canvas(sample_envs.Drawn):
    """Its space says how it draws, in what fields leave unsaid; in one mode no agent could have it.

    Attributes:
        open: Those that have been made and not closed.
    """

    open: ClassVar[list[Canvas]] = []

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        known: gymnasium.Space[Any] = gymnasium.spaces.Text(7 if render_mode == "human" else 5)
        self.observation_space = gymnasium.Space() if render_mode == "rgb_array" else known  # type: ignore[assignment]
        self.open.append(self)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return "x", {"mode": self.render_mode}

    def close(self) -> None:
        self.open.remove(self)


def test_what_is_made_anew_and_does_not_fit_is_closed_again() -> None:
    with running(ferry.ServerBackend(Canvas, "test")):
        for mode, text in (("human", "has other spaces"), ("rgb_array", "which Ferry does not know")):
            with pytest.raises(ferry.BackendError, match=text):
                ferry.ClientEnv("test", timeout=PATIENCE, render_mode=mode)
            assert len(Canvas.open) == 1
        with ferry.ClientEnv("test", timeout=PATIENCE, render_mode="ansi") as env:
            assert env.reset()[1] == {"mode": "ansi"}
            assert len(Canvas.open) == 1
    assert Canvas.open == []


def test_an_environment_that_is_made_anew_as_itself_is_closed_once() -> None:
    only = Canvas()

    def make_anew(render_mode: str | None = None) -> Canvas:
        return only

    with (
        running(ferry.ServerBackend(make_anew, "test")),
        ferry.ClientEnv("test", timeout=PATIENCE, render_mode="ansi") as env,
    ):
        env.reset()
        assert Canvas.open == [only]
    assert Canvas.open == []


def test_an_environment_may_change_its_own_render_mode() -> None:
    only = Canvas()
    with running(ferry.ServerBackend(only, "test")), ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.set_attr("render_mode", "ansi")
        assert env.reset()[1] == {"mode": "ansi"}
    only.close()
