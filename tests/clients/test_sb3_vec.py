"""FerryVecEnv gives Stable-Baselines3 what its own DummyVecEnv gives, of environments that step as one batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import ferry
from conftest import PATIENCE, Serve, newest
from same import assert_same

pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")

import torch
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize

from ferry.sb3 import FerryVecEnv

POLE = Path(__file__).parents[2] / "build/examples/pole"

Make = Callable[[], gymnasium.Env[Any, Any]]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def vectorised() -> Iterator[Callable[..., FerryVecEnv]]:
    """Makes a FerryVecEnv of several environments of one kind."""
    made: list[FerryVecEnv] = []

    def vectorised(make: Make | list[Make], rows: int = 3, kind: Any = SyncVectorEnv, **options: Any) -> FerryVecEnv:
        makes = make if isinstance(make, list) else [make] * rows
        made.append(FerryVecEnv(kind(makes, autoreset_mode=AutoresetMode.SAME_STEP, **options)))
        return made[-1]

    yield vectorised
    for env in made:
        env.close()


def monitored(make: Make, rows: int = 3) -> DummyVecEnv:
    """What a user of Stable-Baselines3 has without Ferry."""
    return DummyVecEnv([lambda: Monitor(make())] * rows)


class Odd(gymnasium.Env[Any, Any]):
    """Observes a dict, and says something of every kind; what is there differs from row to row and from step to step.

    Attributes:
        level: A number that may be set.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 7}  # noqa: RUF012
    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-1, 1, (2,), np.float32),
            "picture": spaces.Box(0, 255, (6, 5), np.uint8),
            "colour": spaces.Discrete(5),
        }
    )
    action_space = spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.level = 1
        self.told: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        self.end = int(self.np_random.integers(1, 20))
        return self._observation(), {"begun": self.end, **({"options": dict(options)} if options else {})}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        self.told.append(self.time)
        over = self.time == self.end
        info: dict[str, Any] = {
            "time": self.time,
            "half": self.time / 2,
            "late": self.time > 4,
            "word": f"at {self.time}",
            "list": self.told,
            "array": np.arange(4, dtype=np.int16) * self.time,
            "number": np.float64(self.time),
            "flag": np.bool_(over),
            "nothing": None,
            "deep": {"deeper": {"time": self.time, "empty": {}}},
        }
        if self.time % 2:
            info["odd"] = self.time
            info["deep"]["odd"] = "yes"
        if self.time % 3 == 0:
            info = {}
        truncated = self.end % 3 > 0 and over
        return self._observation(), float(self.np_random.normal()) + action, over and self.end % 3 < 2, truncated, info

    def action_masks(self) -> Any:
        return np.array([True, self.time % 2 == 0, True])

    def add(self, one: int, *, other: int = 0) -> int:
        return self.level + one + other

    def render(self) -> Any:
        return np.full((4, 6, 3), self.level * 10, np.uint8) if self.render_mode == "rgb_array" else "drawn"

    def _observation(self) -> dict[str, Any]:
        random = self.np_random
        return {
            "place": random.uniform(-1, 1, 2).astype(np.float32),
            "picture": random.integers(0, 256, (6, 5), np.uint8),
            "colour": np.int64(random.integers(5)),
        }


class Columns(VectorEnv[Any, Any, Any]):
    """Two rows, whose infos are those that it is given: one of each step, the first of the reset."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, infos: list[dict[str, Any]], dones: tuple[bool, bool] = (False, False)) -> None:
        self.num_envs = 2
        self.single_observation_space = spaces.Box(0, 1, (1,))
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, 2)
        self.action_space = batch_space(self.single_action_space, 2)
        self._infos = iter(infos)
        self._dones = np.array(dones)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        return np.zeros((2, 1), np.float32), next(self._infos)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        return np.zeros((2, 1), np.float32), np.ones(2), self._dones.copy(), np.zeros(2, bool), next(self._infos)


# ---- The same as in Stable-Baselines3's own ----


def plain(value: Any) -> Any:
    """With floats for all numbers: Gymnasium has one dtype for a key, if one row says 1 and another 0.5."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    value = value.item() if isinstance(value, np.generic) else value
    return float(value) if type(value) is int else value


def assert_same_infos(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(mine) == len(theirs)
    for mine_of_row, theirs_of_row in zip(mine, theirs, strict=True):
        my_info, their_info = dict(mine_of_row), dict(theirs_of_row)
        for part in ("terminal_observation", "episode"):
            assert (part in my_info) == (part in their_info)
        if "episode" in my_info:
            my_episode, their_episode = my_info.pop("episode"), their_info.pop("episode")
            assert my_episode.pop("t") >= 0
            their_episode.pop("t")
            assert_same(my_episode, their_episode)
        assert_same(dict(sorted(plain(my_info).items())), dict(sorted(plain(their_info).items())))


def assert_same_play(mine: Any, theirs: Any, steps: int = 600) -> int:
    """Plays both with the same seed and actions, and returns how many episodes have ended."""
    mine.seed(11)
    theirs.seed(11)
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    assert_same(mine.reset(), dict_of(theirs.reset()))
    assert_same_infos(mine.reset_infos, theirs.reset_infos)
    mine.action_space.seed(12)
    ended = 0
    kept: list[tuple[Any, Any]] = []
    for _ in range(steps):
        actions = np.array([mine.action_space.sample() for _ in range(mine.num_envs)])
        my_step, their_step = mine.step(actions), theirs.step(actions)
        assert_same(my_step[0], dict_of(their_step[0]))
        assert_same(my_step[1:3], their_step[1:3])
        assert_same_infos(my_step[3], their_step[3])
        assert_same_infos(mine.reset_infos, theirs.reset_infos)
        ended += int(my_step[2].sum())
        kept = [*kept[-4:], (my_step[0], dict_of(their_step[0]))]
        for mine_once, theirs_once in kept:
            assert_same(mine_once, theirs_once)
    return ended


def dict_of(observations: Any) -> Any:
    return dict(observations) if isinstance(observations, dict) else observations


@pytest.mark.parametrize(
    ("env_id", "options", "episodes"),
    [
        ("CartPole-v1", {}, 60),
        ("CartPole-v1", {"max_episode_steps": 15}, 100),
        ("Pendulum-v1", {}, 9),
        ("MountainCarContinuous-v0", {"max_episode_steps": 100}, 18),
        ("FrozenLake-v1", {"is_slippery": False}, 100),
        (newest("Taxi"), {}, 9),
    ],
    ids=["CartPole", "CartPole-cut", "Pendulum", "MountainCarContinuous", "FrozenLake", "Taxi"],
)
def test_play_is_the_same_as_in_dummy_vec_env(
    vectorised: Callable[..., FerryVecEnv], env_id: str, options: dict[str, Any], episodes: int
) -> None:
    make = partial(gymnasium.make, env_id, **options)
    assert assert_same_play(vectorised(make), monitored(make)) >= episodes


@pytest.mark.parametrize("kind", [SyncVectorEnv, partial(SyncVectorEnv, copy=False), AsyncVectorEnv])
def test_dicts_and_infos_of_every_kind_are_the_same(vectorised: Callable[..., FerryVecEnv], kind: Any) -> None:
    assert assert_same_play(vectorised(Odd, kind=kind), monitored(Odd)) > 100


def test_environments_in_other_processes_are_the_same(
    vectorised: Callable[..., FerryVecEnv], serve: Serve, runtime_dir: Path
) -> None:
    addresses = [serve("CartPole-v1", str(runtime_dir / f"pole{i}")).address for i in range(3)]
    mine = vectorised([partial(ferry.ClientEnv, address, timeout=PATIENCE) for address in addresses])
    assert assert_same_play(mine, monitored(partial(gymnasium.make, "CartPole-v1"))) > 60


def test_a_lost_engine_ends_its_episode_and_the_others_go_on(vectorised: Callable[..., FerryVecEnv]) -> None:
    engines = [ferry.launch([POLE], on_crash="restart") for _ in range(3)]
    env = vectorised([lambda engine=engine: engine for engine in engines])
    env.reset()
    observations, _, dones, _ = env.step(np.zeros(3, int))
    assert not dones.any()
    engines[1].process.kill()
    _, _, dones, infos = env.step(np.ones(3, int))
    assert dones.tolist() == [False, True, False]
    assert "ferry" in infos[1]
    assert infos[1]["TimeLimit.truncated"]
    assert infos[1]["episode"]["l"] == 2
    assert_same(infos[1]["terminal_observation"], observations[1])
    _, _, dones, infos = env.step(np.zeros(3, int))
    assert not dones.any()
    assert infos == [{"TimeLimit.truncated": False}] * 3


def test_the_wrappers_of_stable_baselines_work_over_it(vectorised: Callable[..., FerryVecEnv]) -> None:
    make = partial(gymnasium.make, "Pendulum-v1", max_episode_steps=30)
    mine, theirs = (VecFrameStack(VecNormalize(env), 3) for env in (vectorised(make), monitored(make)))
    assert assert_same_play(mine, theirs) == 60


def test_one_row_is_a_batch_too(vectorised: Callable[..., FerryVecEnv]) -> None:
    assert assert_same_play(vectorised(Odd, rows=1), monitored(Odd, rows=1)) > 30


# ---- Learning ----


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("algorithm", "env_id", "steps", "options"),
    [
        (PPO, "CartPole-v1", 2_048, {"n_steps": 128, "n_epochs": 4}),
        (SAC, "Pendulum-v1", 600, {"learning_starts": 400}),
        (DQN, "CartPole-v1", 1_000, {"learning_starts": 100}),
    ],
    ids=["PPO", "SAC", "DQN"],
)
def test_learning_is_the_same_as_over_dummy_vec_env(
    vectorised: Callable[..., FerryVecEnv], algorithm: Any, env_id: str, steps: int, options: dict[str, Any]
) -> None:
    make = partial(gymnasium.make, env_id, max_episode_steps=30)  # what is cut off is learnt otherwise
    models = [
        algorithm("MlpPolicy", env, seed=3, device="cpu", **options).learn(steps)
        for env in (vectorised(make), monitored(make))
    ]
    (my_weights, my_episodes), (their_weights, their_episodes) = (
        (
            [value.numpy() for value in model.policy.state_dict().values()],
            [(episode["r"], episode["l"]) for episode in model.ep_info_buffer],
        )
        for model in models
    )
    assert len(my_episodes) >= 15
    assert_same(my_episodes, their_episodes)
    assert_same(my_weights, their_weights)


def test_a_policy_for_dicts_learns_and_is_judged(vectorised: Callable[..., FerryVecEnv]) -> None:
    env = vectorised(partial(Odd))
    model = PPO("MultiInputPolicy", env, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(400)
    assert len(model.ep_info_buffer) > 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # evaluate_policy warns of environments that nobody monitors
        returns, lengths = evaluate_policy(model, env, n_eval_episodes=7, return_episode_rewards=True)
    assert len(returns) == len(lengths) == 7


def test_maskable_ppo_finds_the_masks(vectorised: Callable[..., FerryVecEnv]) -> None:
    contrib = pytest.importorskip("sb3_contrib", reason="needs sb3-contrib")
    env = vectorised(Odd)
    assert contrib.common.maskable.utils.is_masking_supported(env)
    contrib.MaskablePPO("MultiInputPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=1).learn(200)
    np.testing.assert_array_equal(contrib.common.maskable.utils.get_action_masks(env), env.env_method("action_masks"))


# ---- Episodes ----


def test_episodes_that_the_environment_reports_are_kept(vectorised: Callable[..., FerryVecEnv]) -> None:
    class Reports(gymnasium.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            *result, info = super().step(action)
            return *result, ({**info, "episode": {"r": 5.0, "l": 2, "mine": "yes"}} if any(result[2:]) else info)

    env = vectorised(lambda: Reports(gymnasium.make("CartPole-v1")))
    env.reset()
    ended = [info for _ in range(60) for info in env.step(np.ones(3, int))[3] if "terminal_observation" in info]
    assert len(ended) > 10
    assert all(info["episode"] == {"r": 5.0, "l": 2, "mine": "yes"} for info in ended)


def test_statistics_of_a_vector_wrapper_are_kept() -> None:
    # Ones that it alone can have: it has seen the first steps.
    envs = RecordEpisodeStatistics(
        SyncVectorEnv([partial(gymnasium.make, "CartPole-v1")] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    )
    env = FerryVecEnv(envs)
    env.reset()
    for _ in range(3):
        envs.step(np.ones(3, int))
    first: dict[int, Any] = {}
    for _ in range(30):
        _, _, dones, infos = env.step(np.ones(3, int))
        for row in np.flatnonzero(dones).tolist():
            first.setdefault(row, infos[row]["episode"])
            assert "episode" not in env.reset_infos[row]
    assert len(first) == 3
    assert all(episode["l"] == episode["r"] > 7 for episode in first.values())
    env.close()


def test_a_reset_begins_episodes_anew(vectorised: Callable[..., FerryVecEnv]) -> None:
    env = vectorised(partial(gymnasium.make, "CartPole-v1", max_episode_steps=5), rows=1)
    env.reset()
    for _ in range(3):
        env.step(np.array([0]))
    env.reset()
    lengths = [info["episode"]["l"] for _ in range(10) for info in env.step(np.array([0]))[3] if "episode" in info]
    assert lengths == [5, 5]


def test_vec_monitor_counts_the_same(vectorised: Callable[..., FerryVecEnv]) -> None:
    make = partial(gymnasium.make, "CartPole-v1")
    with pytest.warns(UserWarning, match="already wrapped"):
        counted = VecMonitor(vectorised(make))
    for env in (counted, mine := vectorised(make)):
        env.seed(4)
        env.reset()
    ended = 0
    for _ in range(60):
        for theirs, own in zip(*(env.step(np.ones(3, int))[3] for env in (counted, mine)), strict=True):
            assert [theirs.get("episode", {}).get(key) for key in "rl"] == [
                own.get("episode", {}).get(key) for key in "rl"
            ]
            ended += "episode" in own
    assert ended > 10


# ---- Infos ----


def test_infos_of_a_step_belong_to_the_caller(vectorised: Callable[..., FerryVecEnv]) -> None:
    env = vectorised(Odd, rows=2)
    env.reset()
    first = env.step(np.zeros(2, int))[3]
    assert first[0] is not first[1]
    listed = list(first[0]["list"])
    env.step(np.zeros(2, int))
    assert first[0]["list"] == listed


def test_columns_without_masks_are_of_all_rows() -> None:
    env = FerryVecEnv(
        Columns(
            [
                {"seed": np.array([3, 4])},
                {
                    "lives": np.array([3, 2]),
                    "names": ["a", "b"],
                    "shared": "all",
                    "map": np.zeros((3, 3)),
                    "nested": {"x": np.array([1.0, 2.0]), "_x": np.array([False, True])},
                    "some": {"y": np.array([1, 2])},
                    "_some": np.array([True, False]),
                    "_own": np.array([5, 6]),
                    "batch": np.eye(2, dtype=np.float32),
                    "when": np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"),
                },
                {},
            ]
        )
    )
    env.reset()
    assert env.reset_infos == [{"seed": 3}, {"seed": 4}]
    infos = env.step([0, 1])[3]
    for row, info in enumerate(infos):
        np.testing.assert_array_equal(info.pop("map"), np.zeros((3, 3)))
        np.testing.assert_array_equal(info.pop("batch"), np.eye(2)[row])
        assert info.pop("when") == np.datetime64("2020-01-01") + np.timedelta64(row, "D")
    assert infos == [
        {
            "lives": 3,
            "names": "a",
            "shared": "all",
            "nested": {},
            "some": {"y": 1},
            "_own": 5,
            "TimeLimit.truncated": False,
        },
        {
            "lives": 2,
            "names": "b",
            "shared": "all",
            "nested": {"x": 2.0},
            "_own": 6,
            "TimeLimit.truncated": False,
        },
    ]
    assert type(infos[0]["lives"]) is int
    assert env.step([0, 1])[3] == [{"TimeLimit.truncated": False}] * 2


@pytest.mark.parametrize(
    "final", [np.array([[1.0], [2.0]], np.float32), np.array([None, np.array([2.0], np.float32)], object)]
)
def test_final_observations_may_be_a_batch_or_objects(final: Any) -> None:
    env = FerryVecEnv(Columns([{}, {"final_obs": final, "_final_obs": np.array([False, True])}], (False, True)))
    env.reset()
    infos = env.step([0, 0])[3]
    final[1] = 0
    assert "terminal_observation" not in infos[0]
    assert_same(infos[1]["terminal_observation"], np.array([2.0], np.float32))
    assert infos[1]["episode"]["r"] == infos[1]["episode"]["l"] == 1


@pytest.mark.parametrize(
    "info", [{}, {"final_obs": np.array([[1.0], [2.0]]), "_final_obs": np.array([True, False])}], ids=["none", "other"]
)
def test_an_end_without_its_observation_is_an_error(info: dict[str, Any]) -> None:
    env = FerryVecEnv(Columns([{}, info], (False, True)))
    env.reset()
    with pytest.raises(ferry.FerryError, match="lacks its final_obs"):
        env.step([0, 0])


# ---- Resetting ----


def test_seeds_and_options_are_used_once(vectorised: Callable[..., FerryVecEnv]) -> None:
    env = vectorised(Odd, rows=2)
    assert list(env.seed(5)) == [5, 6]
    env.set_options({"map": "small"})
    first = env.reset()
    assert [info.get("options") for info in env.reset_infos] == [{"map": "small"}] * 2
    second = env.reset()
    assert [info.get("options") for info in env.reset_infos] == [None] * 2
    env.set_options([{"map": "small", "at": np.zeros(2)}] * 2)
    env.seed(5)
    third = env.reset()
    np.testing.assert_array_equal(first["place"], third["place"])
    assert not np.array_equal(first["place"], second["place"])
    assert [set(info["options"]) for info in env.reset_infos] == [{"map", "at"}] * 2


@pytest.mark.parametrize("options", [[], [{"map": "small"}], [{"map": "small"}, {"map": "large"}]])
def test_options_that_differ_between_rows_are_refused(
    vectorised: Callable[..., FerryVecEnv], options: list[dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match="give one dict"):
        vectorised(Odd, rows=2).set_options(options)


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_a_reset_drops_a_step_that_was_begun(vectorised: Callable[..., FerryVecEnv], kind: Any) -> None:
    env = vectorised(Odd, kind=kind)
    env.seed(5)
    first = env.reset()
    env.step_async(np.zeros(3, int))
    env.seed(5)
    assert_same(env.reset(), first)
    with pytest.raises(ferry.FerryError, match=r"call step_async\(actions\) first"):
        env.step_wait()
    env.step(np.zeros(3, int))


# ---- Attributes, methods and pictures ----


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_attributes_are_of_rows(vectorised: Callable[..., FerryVecEnv], kind: Any) -> None:
    env = vectorised(Odd, kind=kind)
    assert env.get_attr("level") == [1, 1, 1]
    env.set_attr("level", 5, indices=1)
    env.set_attr("level", 7, indices=[-1])
    assert env.get_attr("level") == [1, 5, 7]
    assert env.get_attr("level", indices=np.int64(2)) == [7]
    assert env.get_attr("level", indices=[2, 0]) == [7, 1]
    env.set_attr("level", [1, 2])
    assert env.get_attr("level") == [[1, 2]] * 3
    assert env.has_attr("level")
    assert env.has_attr("action_masks")
    assert env.has_attr("render_mode")
    assert not env.has_attr("missing")
    with pytest.raises(IndexError):
        env.get_attr("level", indices=3)


def test_an_attribute_that_is_not_there_is_an_error(vectorised: Callable[..., FerryVecEnv]) -> None:
    with pytest.raises(AttributeError, match="missing"):
        vectorised(Odd).get_attr("missing")


def test_methods_are_called_of_all_rows(vectorised: Callable[..., FerryVecEnv]) -> None:
    env = vectorised(Odd)
    env.set_attr("level", 5, indices=1)
    assert env.env_method("add", 1, other=2) == [4, 8, 4]
    assert env.env_method("add", 1, indices=[1, 0, -1]) == [6, 2, 2]
    with pytest.raises(ferry.FerryError, match="leave indices out"):
        env.env_method("add", 1, indices=[0])


def test_methods_are_called_of_some_rows_where_that_can_be() -> None:
    class ByRow(SyncVectorEnv):
        def call_rows(self, rows: list[int], name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
            return tuple(getattr(self.envs[row], name)(*args, **kwargs) for row in rows)

    env = FerryVecEnv(VectorWrapper(ByRow([Odd] * 3, autoreset_mode=AutoresetMode.SAME_STEP)))
    env.set_attr("level", 5, indices=1)
    assert env.env_method("add", 1, indices=1) == [6]
    assert env.env_method("add", 1, indices=[2, 1]) == [2, 6]
    assert env.env_method("add", 1) == [2, 6, 2]
    env.close()


def test_environments_that_cannot_be_asked_say_so() -> None:
    env = FerryVecEnv(Columns([]))
    assert env.get_attr("render_mode") == [None, None]
    assert not env.has_attr("action_masks")
    with pytest.raises(ferry.FerryError, match="use a VectorEnv that has call"):
        env.env_method("action_masks")


def test_wrappers_are_not_looked_for_but_monitor_is_there(vectorised: Callable[..., FerryVecEnv]) -> None:
    env = vectorised(partial(gymnasium.make, "CartPole-v1"))
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit, indices=[0, 1]) == [False] * 2


def test_pictures_are_tiled_as_theirs(vectorised: Callable[..., FerryVecEnv]) -> None:
    make = partial(Odd, "rgb_array")
    mine, theirs = vectorised(make), monitored(make)
    assert mine.render_mode == theirs.render_mode == "rgb_array"
    assert mine.metadata["render_fps"] == 7
    for env in (mine, theirs):
        env.reset()
    mine.set_attr("level", 3, indices=2)
    theirs.envs[2].unwrapped.level = 3
    assert_same(list(mine.get_images()), list(theirs.get_images()))
    assert_same(mine.render(), theirs.render())


def test_without_pictures_there_is_a_warning(vectorised: Callable[..., FerryVecEnv]) -> None:
    env = vectorised(partial(Odd, "ansi"))
    env.reset()
    with pytest.warns(UserWarning, match='render_mode="rgb_array"'):
        assert env.get_images() == [None] * 3


# ---- What is refused ----


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_other_modes_are_refused(mode: AutoresetMode) -> None:
    envs = SyncVectorEnv([Odd], autoreset_mode=mode)
    with pytest.raises(ValueError, match=f'{mode.value}.*autoreset_mode="same_step"'):
        FerryVecEnv(envs)


@pytest.mark.parametrize("mode", ["SameStep", "same_step"])
def test_the_mode_may_be_a_word(mode: str) -> None:
    envs = Columns([])
    envs.metadata = {"autoreset_mode": mode}
    FerryVecEnv(envs)
    envs.metadata = {}
    with pytest.raises(ValueError, match="is None"):
        FerryVecEnv(envs)


def test_a_single_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="as it is"):
        FerryVecEnv(Odd())  # type: ignore[arg-type]
