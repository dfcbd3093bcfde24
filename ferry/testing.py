"""Does an environment keep what a Gymnasium user may rely on? For the authors of engines: ``ferry check``, and pytest.

Each check meets the environment anew, plays it, and says in words what was not as it should be, and what to look at::

    import ferry.testing

    def test_my_game():
        ferry.testing.assert_conforms(["./my_game", "--headless"])
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

import ferry
from ferry import survey
from ferry.chaos import ChaosProxy, Fault
from ferry.engine import GRACE

__all__ = ["ChaosProxy", "Fault", "Result", "Subject", "assert_conforms", "check"]

Verdict: TypeAlias = Literal["pass", "fail", "skip"]
Env: TypeAlias = "ferry.ClientEnv | ferry.LaunchedEnv"

STEPS = 300
# Within so many steps some episode must have ended.
LONGEST_EPISODE = 10_000
# What may grow a little before it counts as a leak.
_FEW_DESCRIPTORS, _FEW_BYTES = 8, 16 << 20


class Result(NamedTuple):
    """What a check found.

    Attributes:
        name: Of the check.
        verdict: "pass"; "fail"; "skip": it does not concern this environment, or cannot be looked at.
        detail: What was seen.
        advice: What to look at; "" where nothing is wrong.
    """

    name: str
    verdict: Verdict
    detail: str
    advice: str = ""


class _FaultError(Exception):
    """What a check found wrong: a text, and an advice."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


class _NotConcernedError(Exception):
    """Why a check does not apply."""


class Subject:
    """An environment that is checked: a program to start, an id, or the address of one that runs.

    Args:
        what: A command as a list, or as one line; an id; with `attach` an address.
        attach: The environment runs already, and is met at an address.
        timeout: Seconds that an answer may take.
    """

    def __init__(
        self, what: str | Sequence[str | os.PathLike[str]], *, attach: bool = False, timeout: float = 20
    ) -> None:
        self.what, self.attach, self.timeout = what, attach, timeout

    def open(self, **options: Any) -> Env:
        """Meets it."""
        if self.attach:
            assert isinstance(self.what, str)
            return ferry.ClientEnv(self.what, timeout=self.timeout, **options)
        env: ferry.LaunchedEnv = ferry.launch(self.what, timeout=self.timeout, **options)
        return env

    def pid(self, env: Env) -> int:
        """The process that holds the environment."""
        if isinstance(env, ferry.LaunchedEnv):
            return int(env.process.pid)
        assert isinstance(self.what, str)
        seen = survey.visit(survey.path_of(self.what))
        if seen is None:
            raise _NotConcernedError("the process cannot be told")
        return seen.pid


def check(subject: Subject) -> Iterator[Result]:
    """Runs every check, one after another."""
    for name, run in _CHECKS.items():
        try:
            yield Result(name, "pass", run(subject))
        except _NotConcernedError as reason:
            yield Result(name, "skip", str(reason))
        except _FaultError as fault:
            yield Result(name, "fail", str(fault), fault.advice)
        except ferry.FerryTimeoutError as error:
            yield Result(
                name, "fail", str(error), "does the environment answer every turn, also while it loads a level?"
            )
        except ferry.PeerGoneError as error:
            yield Result(name, "fail", str(error), "the process has gone: run it under a debugger, or read its log")
        except ferry.BackendError as error:
            yield Result(name, "fail", str(error), "the environment raised: mend what its traceback shows")
        except (ferry.FerryError, OSError) as error:
            yield Result(name, "fail", str(error), "see docs/errors.md")


def assert_conforms(what: str | Sequence[str | os.PathLike[str]], **options: Any) -> None:
    """Fails, naming each fault and an advice, unless every check passes.

    Args:
        what: As of `Subject`.
        **options: As of `Subject`.
    """
    faults = [result for result in check(Subject(what, **options)) if result.verdict == "fail"]
    lines = [f"{fault.name}: {fault.detail}\n    {fault.advice}" for fault in faults]
    assert not faults, "\n".join(["the environment does not conform:", *lines])


# ---- The checks ------------------------------------------------------------------------------------------------------


def _spaces(subject: Subject) -> str:
    with subject.open() as env:
        for name, space in (("observation", env.observation_space), ("action", env.action_space)):
            for path, leaf in _leaves(space, name):
                if isinstance(leaf, spaces.Box):
                    if np.isnan(leaf.low).any() or np.isnan(leaf.high).any():
                        raise _FaultError(
                            f"the bounds of the {path} are NaN", "set low and high, or leave both 0 for none"
                        )
                    if leaf.shape and 0 in leaf.shape:
                        raise _FaultError(
                            f"the {path} has no elements: its shape is {leaf.shape}", "set ndim and shape"
                        )
                    if (leaf.low == leaf.high).all():
                        raise _FaultError(f"the {path} can have one value alone: {leaf}", "are low and high as meant?")
    return f"observations {env.observation_space}, actions {env.action_space}"


def _observations(subject: Subject) -> str:
    with subject.open() as env:
        first, info = env.reset(seed=1)
        changed = False
        _look_at(env, first, info, "reset")
        for step, (observation, _, _, _, info) in enumerate(_played(env, STEPS)):
            _look_at(env, observation, info, f"step {step + 1}")
            changed = changed or not _same(observation, first)
        if not changed:
            raise _FaultError(
                f"none of {STEPS} steps changed the observation",
                "is it written anew for each answer? The two buffers alternate",
            )
    return f"{STEPS} steps inside the space, of its dtype and shape"


def _rewards(subject: Subject) -> str:
    with subject.open() as env:
        env.reset(seed=2)
        for step, (_, reward, _, _, _) in enumerate(_played(env, STEPS)):
            if not math.isfinite(reward):
                raise _FaultError(
                    f"the reward of step {step + 1} is {reward}", "a division by zero, or memory never written?"
                )
    return f"{STEPS} finite rewards"


def _endings(subject: Subject) -> str:
    with subject.open() as env:
        env.reset(seed=3)
        for step, (_, _, terminated, truncated, _) in enumerate(_played(env, LONGEST_EPISODE)):
            if terminated or truncated:
                return f"an episode {'terminated' if terminated else 'was truncated'} after {step + 1} steps"
    raise _FaultError(
        f"no episode ended within {LONGEST_EPISODE:,} random steps",
        "set terminated where the task ends, or truncated at a time limit; algorithms wait for one of them",
    )


def _seeds(subject: Subject) -> str:
    with subject.open() as env:
        runs = [_episode(env, seed=4) for _ in range(2)]
    difference = _difference(*runs)
    if difference is not None:
        raise _FaultError(
            f"the same seed and actions gave another episode: {difference}",
            "seed every source of chance from turn->seed at a reset; is time, or a thread, among them?",
        )
    return f"the same seed gave the same episode of {len(runs[0])} steps, in one process"


def _resets(subject: Subject) -> str:
    with subject.open() as env:
        fresh = env.reset(seed=5)[0]
        for _ in _played(env, 20):
            pass
        again = env.reset(seed=5)[0]
        if not _same(fresh, again):
            raise _FaultError(
                "a reset in mid-episode with the same seed began elsewhere",
                "does a reset put back everything that a step changes?",
            )
        for seed in range(20):
            env.reset(seed=seed)
            env.step(env.action_space.sample())
    return "21 episodes begun, one in mid-episode"


def _processes(subject: Subject) -> str:
    if subject.attach:
        raise _NotConcernedError("processes that run already start and end by themselves")
    with subject.open() as env:
        first = _episode(env, seed=6)
    with subject.open() as env:
        second = _episode(env, seed=6)
    difference = _difference(first, second)
    if difference is not None:
        raise _FaultError(
            f"the same seed gave another episode in another process: {difference}",
            "is something read that differs by process: an address, a hash, the clock?",
        )
    return "two processes gave the same episode"


def _closing(subject: Subject) -> str:
    env = subject.open()
    env.reset(seed=7)
    env.step(env.action_space.sample())
    begin = time.monotonic()
    env.close()
    seconds = time.monotonic() - begin
    if isinstance(env, ferry.LaunchedEnv):
        code = env.process.returncode
        if code is None or code < 0 or seconds >= GRACE:
            raise _FaultError(
                f"the process did not end by itself within {GRACE:g} s of the goodbye, and had to be made to",
                "after FERRY_LEFT an inherited channel is over (ferry_env_wait says FERRY_ECLOSED): leave the loop",
            )
        return f"the process ended {seconds * 1e3:.0f} ms after the goodbye, with code {code}"
    with subject.open() as env:
        env.reset(seed=7)
        env.step(env.action_space.sample())
    return "closed, and met again"


def _second_agent(subject: Subject) -> str:
    if not subject.attach:
        raise _NotConcernedError("what is launched belongs to one agent")
    with subject.open() as env:
        env.reset(seed=8)
        with contextlib.suppress(ferry.BusyError):
            subject.open().close()
            raise _FaultError("a second agent was let in", "one environment per agent: is the library's own door used?")
        env.step(env.action_space.sample())
    return "a second agent is told that the first is there"


def _kill(subject: Subject) -> str:
    if subject.attach:
        raise _NotConcernedError("what runs already is not killed")
    with subject.open(on_crash="restart") as env:
        assert isinstance(env, ferry.LaunchedEnv)
        env.reset(seed=9)
        env.process.kill()
        begin = time.monotonic()
        for _ in range(1_000_000):
            if env.step(env.action_space.sample())[3]:
                break
        env.reset(seed=9)
        env.step(env.action_space.sample())
        seconds = time.monotonic() - begin
    return f"killed, started again, and stepped {seconds * 1e3:.0f} ms later"


def _leaks(subject: Subject) -> str:
    with subject.open() as env:
        env.reset(seed=10)
        pid = subject.pid(env)
        before = _use(pid)
        for seed in range(30):
            env.reset(seed=seed)
            for _ in _played(env, 100):
                pass
        after = _use(pid)
    if after[0] > before[0] + _FEW_DESCRIPTORS:
        raise _FaultError(
            f"30 episodes took the process from {before[0]} to {after[0]} open files",
            "what does a reset open that nothing closes?",
        )
    if after[1] > before[1] + _FEW_BYTES and after[1] > before[1] * 1.1:
        raise _FaultError(
            f"30 episodes took the process from {before[1] >> 20} to {after[1] >> 20} MiB",
            "what does a reset or a step allocate that nothing frees?",
        )
    return f"30 episodes: {after[0]} open files, {after[1] >> 20} MiB"


def _rendering(subject: Subject) -> str:
    with subject.open() as env:
        modes = list(env.metadata.get("render_modes") or [])
    if not modes:
        raise _NotConcernedError("no render mode is offered")
    drawn = []
    for mode in modes:
        if mode == "human":  # would open a window
            continue
        try:
            with subject.open(render_mode=mode) as env:
                env.reset(seed=11)
                env.step(env.action_space.sample())
                frame = env.render()
        except ferry.BackendError as error:
            if "DependencyNotInstalled" in error.remote_type:
                continue
            raise
        _look_at_frame(mode, frame)
        drawn.append(mode)
    return f"drawn: {', '.join(drawn) or 'none, for want of what draws'}"


def _calls(subject: Subject) -> str:
    with subject.open() as env:
        env.reset(seed=12)
        try:
            env.call("ferry_check_no_such_method")
        except ferry.BackendError as error:
            if "takes no calls" in str(error):
                raise _NotConcernedError("the environment takes no calls") from None
        else:
            raise _FaultError(
                "a method that does not exist was called", "answer what you do not know by ferry_env_fail"
            )
        env.step(env.action_space.sample())
    return "what does not exist is refused, and the episode goes on"


def _times(subject: Subject) -> str:
    with subject.open() as env:
        env.reset(seed=13)
        seconds = []
        for _ in range(STEPS):
            begin = time.perf_counter()
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seconds.append(time.perf_counter() - begin)
            if terminated or truncated:
                env.reset()
    median, longest = float(np.median(seconds)), max(seconds)
    if longest > 1 and longest > 20 * median:
        raise _FaultError(
            f"a step took {longest:.1f} s, where half of them take less than {median * 1e3:.1f} ms",
            "is something loaded, or collected, in mid-episode? Let the reset take the time",
        )
    return f"a step takes {median * 1e6:,.0f} us (median), {longest * 1e3:,.1f} ms at most"


_CHECKS: dict[str, Callable[[Subject], str]] = {
    "spaces": _spaces,
    "observations": _observations,
    "rewards": _rewards,
    "endings": _endings,
    "seeds": _seeds,
    "resets": _resets,
    "processes": _processes,
    "closing": _closing,
    "second agent": _second_agent,
    "kill and restart": _kill,
    "leaks": _leaks,
    "rendering": _rendering,
    "calls": _calls,
    "times": _times,
}


# ---- What they share -------------------------------------------------------------------------------------------------


def _played(env: Env, steps: int) -> Iterator[tuple[Any, float, bool, bool, dict[str, Any]]]:
    """Random steps from where the env is, with resets where episodes end."""
    env.action_space.seed(steps)
    for _ in range(steps):
        result = env.step(env.action_space.sample())
        yield result
        if result[2] or result[3]:
            env.reset()


def _episode(env: Env, seed: int) -> list[tuple[Any, float, bool, bool]]:
    """The beginning of an episode: at most 100 steps, with the same actions each time."""
    env.action_space.seed(seed)
    episode: list[tuple[Any, float, bool, bool]] = [(env.reset(seed=seed)[0], 0.0, False, False)]
    while len(episode) <= 100 and not (episode[-1][2] or episode[-1][3]):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        episode.append((observation, float(reward), terminated, truncated))
    return episode


def _difference(one: list[Any], other: list[Any]) -> str | None:
    for step, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if not _same(mine[0], theirs[0]):
            return f"the observation of step {step} differs"
        if mine[1:] != theirs[1:]:
            return f"reward or flags of step {step} differ: {mine[1:]} and {theirs[1:]}"
    return None if len(one) == len(other) else f"it has {len(one) - 1} and {len(other) - 1} steps"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    return bool(one == other)


def _leaves(space: gymnasium.Space[Any], name: str) -> Iterator[tuple[str, gymnasium.Space[Any]]]:
    parts: Any = ()
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
    for key, part in parts:
        yield from _leaves(part, f"{name} {key!r}")
    if not isinstance(space, (spaces.Dict, spaces.Tuple)):
        yield name, space


def _look_at(env: Env, observation: Any, info: Any, when: str) -> None:
    for name, value, leaf in _parts(env.observation_space, observation, "observation"):
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isnan(value).any():
            raise _FaultError(f"the {name} of {when} has NaN", "a division by zero, or memory that was never written?")
        if not leaf.contains(value):
            raise _FaultError(
                f"the {name} of {when} is outside its space: {_shortened(value)} is not in {leaf}",
                "widen the bounds, or clip; and is the dtype that is written the one of the field?",
            )
    if not isinstance(info, dict) or not all(isinstance(key, str) for key in info):
        raise _FaultError(
            f"the info of {when} is no map with texts as keys", "write a JSON object, or a MessagePack map"
        )


def _parts(space: gymnasium.Space[Any], value: Any, name: str) -> Iterator[tuple[str, Any, gymnasium.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, value[key], f"{name} {key!r}")
    elif isinstance(space, spaces.Tuple):
        for place, part in enumerate(space.spaces):
            yield from _parts(part, value[place], f"{name} {place}")
    else:
        yield name, value, space


def _shortened(value: Any) -> str:
    text = np.array2string(value, threshold=8) if isinstance(value, np.ndarray) else repr(value)
    return text if len(text) < 120 else text[:117] + "..."


def _look_at_frame(mode: str, frame: Any) -> None:
    if mode.endswith("_list"):
        if not isinstance(frame, list) or not frame:
            raise _FaultError(
                f"the mode {mode} gave {type(frame).__name__}", "a list of the frames since the last call is wanted"
            )
        mode, frame = mode.removesuffix("_list"), frame[0]
    if mode == "rgb_array" and not (
        isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    ):
        shape = getattr(frame, "shape", "")
        raise _FaultError(
            f"the mode rgb_array gave {type(frame).__name__} {getattr(frame, 'dtype', '')} {shape}",
            "a uint8 array of shape (height, width, 3) is wanted",
        )
    if mode == "ansi" and not isinstance(frame, str):
        raise _FaultError(f"the mode ansi gave {type(frame).__name__}", "a text is wanted")


def _use(pid: int) -> tuple[int, int]:
    """(open files, bytes in memory) of a process."""
    try:
        files = len(os.listdir(f"/proc/{pid}/fd"))
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        raise _NotConcernedError(f"the process {pid} cannot be looked at") from None
    return files, pages * os.sysconf("SC_PAGE_SIZE")
