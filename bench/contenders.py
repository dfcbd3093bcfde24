"""What takes a step: environments made for measuring, the ways of stepping them, and the peers beside Ferry."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import mmap
import multiprocessing as mp
import os
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from time import perf_counter_ns
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from blocks import Block
from child import end_with_parent
from processes import CAgent

Observation = NDArray[Any]
Info = dict[str, Any]
Make = Callable[[], "gym.Env[Observation, Any]"]
PEER_TIMEOUT_S = 20.0


class Trivial(gym.Env[Observation, Any]):
    """CartPole's spaces and no physics: the observation is (steps in the episode, last action, 0, 0), the reward 1."""

    observation_space = Box(-np.inf, np.inf, (4,), np.float32)
    action_space = Discrete(2)

    def __init__(self) -> None:
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Begins an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Counts."""
        self._steps += 1
        return np.array((self._steps, action, 0, 0), np.float32), 1.0, False, False, {}


class Empty(gym.Env[Observation, Any]):
    """The least that an in-process Env can do and still return a fresh observation."""

    observation_space = Trivial.observation_space
    action_space = Trivial.action_space

    def __init__(self) -> None:
        self._observation = np.zeros(4, np.float32)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Returns zeros."""
        return self._observation.copy(), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Returns zeros."""
        return self._observation.copy(), 1.0, False, False, {}


gym.register("FerryBench/Trivial-v0", f"{__name__}:Trivial", disable_env_checker=True, order_enforce=False)
gym.register("FerryBench/Empty-v0", f"{__name__}:Empty", disable_env_checker=True, order_enforce=False)


@dataclass(frozen=True)
class Episode:
    """Actions to replay from a seed, and what must come out of them."""

    seed: int
    actions: list[int]
    last_observation: Observation
    last_reward: float
    total: float

    def check(self, observation: Observation, reward: float, over: bool) -> None:
        """Raises if the last step of a replay was not what it must be."""
        if over or reward != self.last_reward or not np.array_equal(observation, self.last_observation):
            raise AssertionError(
                f"a replay went astray: {observation}, reward {reward}, over {over}; "
                f"expected {self.last_observation}, {self.last_reward}, False"
            )


def balance(env: gym.Env[Any, Any], steps: int, seed: int = 1) -> Episode:
    """Records an episode of a pole that does not fall, with a hand-made controller."""
    observation, _ = env.reset(seed=seed)
    actions: list[int] = []
    total = 0.0
    for _ in range(steps):
        x, x_dot, theta, theta_dot = map(float, observation)
        actions.append(int(0.05 * x + 0.1 * x_dot + theta + 0.3 * theta_dot > 0))
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        total += float(reward)
        if terminated or truncated:
            raise AssertionError(f"the pole fell after {len(actions)} steps")
    return Episode(seed, actions, np.array(observation), 1.0, total)


def trivial_episode(steps: int) -> Episode:
    """What :class:`Trivial` must answer to alternating actions."""
    actions = [i % 2 for i in range(steps)]
    return Episode(1, actions, np.array((steps, actions[-1], 0, 0), np.float32), 1.0, float(steps))


def pixel_episode(shape: tuple[int, int, int], steps: int) -> Episode:
    """What examples/c/pixel answers: step k lights pixel k * 7919, counted in reading order, and rewards k."""
    height, width, channels = shape
    last = np.zeros((height * width, channels), np.uint8)
    last[steps * 7919 % (height * width)] = 255
    actions = [i % 2 for i in range(steps)]
    return Episode(1, actions, last.reshape(shape), float(steps), steps * (steps + 1) / 2)


def stepping(env: gym.Env[Any, Any], episode: Episode) -> Block:
    """Replays the episode as a training loop would: the last observation is held until the next one is there."""

    def block() -> float:
        env.reset(seed=episode.seed)
        step, actions = env.step, episode.actions
        start = perf_counter_ns()
        for action in actions:
            observation, reward, terminated, truncated, _ = step(action)
        elapsed_ns = perf_counter_ns() - start
        episode.check(observation, float(reward), terminated or truncated)
        return elapsed_ns / len(actions)

    return block


def single_steps(env: gym.Env[Any, Any], episode: Episode, repeats: int) -> NDArray[np.float64]:
    """Times every step by itself, in nanoseconds; a reading of the clock is part of each."""
    samples: list[int] = []
    for _ in range(repeats):
        env.reset(seed=episode.seed)
        for action in episode.actions:
            start = perf_counter_ns()
            observation, reward, terminated, truncated, _ = env.step(action)
            samples.append(perf_counter_ns() - start)
        episode.check(observation, float(reward), terminated or truncated)
    return np.array(samples, np.float64)


def replaying(agent: CAgent, episode: Episode) -> Block:
    """Has an agent written in C replay the episode."""

    def block() -> float:
        elapsed_ns, total = agent.replay(episode.seed, episode.actions)
        if total != episode.total:
            raise AssertionError(f"a replay in C returned {total}, not {episode.total}")
        return elapsed_ns / len(episode.actions)

    return block


def copying(size_bytes: int, repeats: int, buffers: int = 2) -> Block:
    """A memcpy from warm shared memory into warm private memory: what a fresh observation is compared with.

    Args:
        size_bytes: How much is copied at a time.
        repeats: Copies in a block.
        buffers: From so many sources into so many targets in turn. Observations alternate between two buffers, and so
            do the arrays of an agent that holds one while it gets the next.
    """
    # Anonymous shared memory has the same small pages as a region.
    sources = [np.frombuffer(mmap.mmap(-1, size_bytes), np.uint8) for _ in range(buffers)]
    pairs = [(np.ones(size_bytes, np.uint8), source) for source in sources]
    for source in sources:
        source.fill(0)

    def block() -> float:
        copy = np.copyto
        start = perf_counter_ns()
        for target, source in itertools.islice(itertools.cycle(pairs), repeats):
            copy(target, source)
        elapsed_ns = perf_counter_ns() - start
        if any(target.any() for target, _ in pairs):
            raise AssertionError("the copy differs")
        return elapsed_ns / repeats

    return block


def _pin(process: BaseProcess, cpu: int) -> None:
    assert process.pid is not None  # it has been started
    os.sched_setaffinity(process.pid, {cpu})


def _serve_pipe(pipe: Connection, make: Make) -> None:
    env = make()
    try:
        while (request := pipe.recv()) is not None:
            pipe.send(env.reset(seed=request[1]) if request[0] == "reset" else env.step(request[1]))
    except EOFError:
        pass  # the other side has gone


class PipeEnv(gym.Env[Observation, Any]):
    """An env behind ``multiprocessing.Pipe`` with pickle: what one writes without a library.

    Args:
        cpu: Where the env's process runs; None: wherever.
        make: Makes the env there.
    """

    observation_space = Trivial.observation_space
    action_space = Trivial.action_space

    def __init__(self, cpu: int | None, make: Make = Trivial) -> None:
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve_pipe, args=(theirs, make), daemon=True)
        self._process.start()
        if cpu is not None:
            _pin(self._process, cpu)
        theirs.close()

    def _ask(self, *request: Any) -> Any:
        self._pipe.send(request)
        return self._pipe.recv()

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Begins an episode."""
        return self._ask("reset", seed)  # type: ignore[no-any-return]

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Steps the other process."""
        return self._ask("step", action)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Ends the other process."""
        if self._process.is_alive():
            self._pipe.send(None)
            self._process.join(PEER_TIMEOUT_S)
        self._pipe.close()


_ANSWER = struct.Struct("d??")


def _serve_socket(address: str, make: Make) -> None:
    end_with_parent()
    zmq = importlib.import_module("zmq")
    env = make()
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(address)
        while request := socket.recv():
            (number,) = struct.unpack("<q", request[1:])
            if request[:1] == b"r":
                observation, answer = env.reset(seed=number)[0], (0.0, False, False)
            else:
                observation, *answer, _ = env.step(number)  # type: ignore[assignment]
            parts: list[Any] = [_ANSWER.pack(*answer), np.ascontiguousarray(observation)]
            socket.send_multipart(parts, copy=False)
        socket.send(b"")


class SocketEnv(gym.Env[Observation, Any]):
    """An env behind a pyzmq REQ/REP socket of this machine; the bytes of the observation go over as they are.

    Args:
        cpu: Where the env's process runs.
        make: Makes the env there, and here, for its spaces.
        address: Where to meet, a path.
    """

    action_space = Trivial.action_space

    def __init__(self, cpu: int, make: Make, address: str) -> None:
        zmq = importlib.import_module("zmq")
        self.observation_space = make().observation_space
        context = mp.get_context("spawn")
        self._process = context.Process(target=_serve_socket, args=(f"ipc://{address}", make), daemon=True)
        self._process.start()
        _pin(self._process, cpu)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, int(1000 * PEER_TIMEOUT_S))
        self._socket.connect(f"ipc://{address}")
        self._shape, self._dtype = self.observation_space.shape, self.observation_space.dtype

    def _ask(self, kind: bytes, number: int) -> tuple[Observation, tuple[Any, ...]]:
        self._socket.send(kind + struct.pack("<q", number))
        answer, observation = self._socket.recv_multipart(copy=False)
        array: Observation = np.frombuffer(observation.buffer, self._dtype).reshape(self._shape)
        return array, _ANSWER.unpack(answer.buffer)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Begins an episode."""
        return self._ask(b"r", seed or 0)[0], {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Steps the other process."""
        observation, (reward, terminated, truncated) = self._ask(b"s", action)
        return observation, reward, terminated, truncated, {}

    def close(self) -> None:
        """Ends the other process."""
        if self._process.is_alive():
            self._socket.send(b"")
            self._process.join(PEER_TIMEOUT_S)
        self._socket.close()
        self._context.term()


def _serve_rlay() -> None:
    end_with_parent()
    rlay = importlib.import_module("rlay")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        rlay.ServerBackend("FerryBench/Trivial-v0").run()


class RlayEnv(gym.Env[Observation, Any]):
    """:class:`Trivial` behind rlay 0.0.1: protobuf in a file that both sides map, and neither ever sleeps.

    Args:
        cpu: Where the env's process runs.
    """

    PLACE = "/tmp/rlay"  # of every rlay on the machine
    observation_space = Trivial.observation_space
    action_space = Trivial.action_space

    def __init__(self, cpu: int) -> None:
        rlay = importlib.import_module("rlay")
        self._process = mp.get_context("spawn").Process(target=_serve_rlay, daemon=True)
        self._process.start()
        _pin(self._process, cpu)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            self._env = rlay.ClientEnv()

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Begins an episode."""
        return self._env.reset(seed)  # type: ignore[no-any-return]

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Steps the other process."""
        return self._env.step(action)  # type: ignore[no-any-return]

    def awake(self, block: Block) -> Block:
        """The block; outside of it the other process is stopped, which would else keep its CPU from everybody."""
        pid = self._process.pid
        assert pid is not None  # it has been started

        def whole() -> float:
            os.kill(pid, signal.SIGCONT)
            try:
                return block()
            finally:
                os.kill(pid, signal.SIGSTOP)

        return whole

    def close(self) -> None:
        """Ends the other process."""
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGCONT)
            self._env.close()
            self._process.join(PEER_TIMEOUT_S)


def missing(package: str) -> str:
    """Why a peer is skipped; empty if it is here."""
    if package == "rlay" and os.path.exists(RlayEnv.PLACE):
        return f"{RlayEnv.PLACE} is in use"
    try:
        importlib.import_module(package)
    except ImportError as error:
        return str(error)
    return ""


class Vector1(gym.Env[Observation, Any]):
    """One :class:`Trivial` in Gymnasium's ``AsyncVectorEnv`` (shared memory for observations), stepped as a single env.

    Args:
        cpu: Where the env's process runs.
    """

    observation_space = Trivial.observation_space
    action_space = Trivial.action_space

    def __init__(self, cpu: int) -> None:
        self._envs = gym.vector.AsyncVectorEnv([Trivial], context="spawn")
        for worker in self._envs.processes:
            _pin(worker, cpu)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Begins an episode."""
        observations, info = self._envs.reset(seed=seed)
        return observations[0], info

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Steps the other process."""
        observations, rewards, terminated, truncated, info = self._envs.step(np.array([action]))
        return observations[0], rewards[0], terminated[0], truncated[0], info

    def close(self) -> None:
        """Ends the other process."""
        self._envs.close()
