"""One side of a meeting under Windows: `play.py SIDE ADDRESS`, and what an agent saw as JSON on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

import ferry

STEPS = 5000
TIMEOUT = 60.0


def play(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """Steps a CartPole, and another one in this process: they must not differ."""
    here = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=3)
    expected, _ = here.reset(seed=3)
    episodes = 0
    for step in range(STEPS):
        assert np.array_equal(observation, expected), (step, observation, expected)
        observation, reward, terminated, truncated, _ = env.step(step % 2)
        expected, *rest = here.step(step % 2)
        assert [reward, terminated, truncated] == rest[:3], step
        if terminated or truncated:
            episodes += 1
            observation, _ = env.reset(seed=step)
            expected, _ = here.reset(seed=step)
    return {"episodes": episodes}


def play_in_c(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """Plays examples/c/pole.c, from a state that is the same here; then as fast as it goes."""
    here = gymnasium.make("CartPole-v1", disable_env_checker=True)
    state = [0.01, -0.02, 0.03, 0.04]
    env.reset(options={"state": state})
    here.reset()
    here.unwrapped.state = np.array(state)  # type: ignore[attr-defined]
    over, steps = False, 0
    while not over:
        observation, _, over, _, _ = env.step(steps % 2)
        expected, _, ends, _, _ = here.step(steps % 2)
        assert np.allclose(observation, expected, atol=1e-5), (steps, observation, expected)
        assert over == ends, steps
        steps += 1
    env.reset(seed=1)
    start = time.perf_counter()
    for step in range(STEPS):
        _, _, terminated, truncated, _ = env.step(step % 2)
        if terminated or truncated:
            env.reset()
    return {"steps": steps, "steps_per_s": round(STEPS / (time.perf_counter() - start))}


def make_pole() -> gymnasium.Env[Any, Any]:
    """For workers, which import it."""
    return gymnasium.make("CartPole-v1")


def refusals() -> dict[str, str]:
    """What is said of that which is not on Windows."""
    said = {}
    acts: dict[str, Callable[[], object]] = {
        "launch": lambda: ferry.launch(["pole.exe"]),
        "fd": lambda: ferry.ClientEnv("fd:3"),
    }
    for name, act in acts.items():
        try:
            act()
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said


def main(side: str, address: str) -> None:
    """Does it."""
    if side == "refusals":
        print(json.dumps(refusals()))
    elif side in ("ServerBackend", "ClientBackend"):
        getattr(ferry, side)("CartPole-v1", address).run()
    elif side == "attached":
        with ferry.launch(address=address, timeout=TIMEOUT) as env:
            print(json.dumps(play(env)))
    elif side == "workers":
        async_envs = ferry.AsyncVectorEnv([make_pole] * 2)
        observations, _ = async_envs.reset(seed=1)
        async_envs.close()
        print(json.dumps({"shape": list(observations.shape)}))
    elif side == "vector":
        with ferry.ClientVectorEnv(address, timeout=TIMEOUT) as envs:
            envs.reset(seed=1)
            observations, *_ = envs.step(envs.action_space.sample())
            print(json.dumps({"shape": list(observations.shape)}))
    else:
        with getattr(ferry, side.removesuffix("InC"))(address, timeout=TIMEOUT) as env:
            print(json.dumps(play_in_c(env) if side.endswith("InC") else play(env)))


if __name__ == "__main__":
    main(*sys.argv[1:])
