"""Stable-Baselines3's vectorised environment, over any of Gymnasium's; it needs the extra "sb3"."""

from __future__ import annotations

import contextlib
import copy
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from ferry.errors import BackendError, FerryError

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as _error:
    raise ImportError(
        f'ferry.sb3 needs Stable-Baselines3 ({_error}); install it: pip install "ferry-fast[sb3]"'
    ) from _error

__all__ = ["FerryVecEnv"]

# What a vector environment says, beside the infos of the new episodes, of those that a step has ended.
_FINAL = frozenset(["final_obs", "_final_obs", "final_info", "_final_info"])
_IMMUTABLE = (str, bytes, int, float, complex, type(None))

_Rows = int | Iterable[int] | None


class FerryVecEnv(VecEnv):  # type: ignore[misc] # is Any where Stable-Baselines3 is not installed
    """A Stable-Baselines3 VecEnv of a gymnasium.vector.VectorEnv, whose rows play on as one batch.

    What it gives is what DummyVecEnv gives of the same environments: rewards as float32, an info of its own for each
    row with "TimeLimit.truncated", and at an episode's end "terminal_observation". As with VecMonitor, the info has
    "episode" there, {"r": return, "l": steps, "t": seconds}, unless the environment reports one itself.

    Args:
        envs: The environments; with autoreset_mode "same_step". They are closed with this one.

    Raises:
        TypeError: It is not a VectorEnv.
        ValueError: It resets in another step, or not at all.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(envs, VectorEnv):
            raise TypeError(
                f"FerryVecEnv takes a gymnasium.vector.VectorEnv, not {type(envs).__name__}; a single environment goes "
                "to Stable-Baselines3 as it is"
            )
        mode = envs.metadata.get("autoreset_mode")
        mode = mode.value if isinstance(mode, AutoresetMode) else str(mode)
        if mode.replace("_", "").lower() != "samestep":
            raise ValueError(
                f"the autoreset mode of {envs} is {mode}, and Stable-Baselines3 knows only environments that reset in "
                'the step that ends their episode; make them with autoreset_mode="same_step" (what Gymnasium makes: '
                "AutoresetMode.SAME_STEP)"
            )
        self._envs = envs
        # What says so gives observations that are the caller's; others may be views of what the next step overwrites.
        self._gives_views = getattr(envs, "copy", False) is not True
        # Looked for in the class that was given: a wrapper around it has a step, and no two halves of one.
        self._halves = all(hasattr(type(envs), name) for name in ("step_async", "step_wait"))
        self._actions: Any = None
        self._begun = False
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, np.int64)
        self._start = time.monotonic()
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self.metadata: dict[str, Any] = {"render_modes": [], **envs.metadata}

    # ---- Playing ----

    def reset(self) -> Any:
        """Begins an episode in every row and returns the observations; a step that was begun is dropped.

        The seeds and options of `seed` and `set_options` are used, once. What the environments say of the new episodes
        is in `reset_infos`, here and after the steps that end one.
        """
        if self._begun and self._halves:
            with contextlib.suppress(Exception):  # nobody asks what became of it
                self._envs.step_wait()  # type: ignore[attr-defined]
        self._begun = False
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        options = self._options[0] or None
        observations, info = self._envs.reset(seed=seeds, options=options)  # type: ignore[arg-type] # a list as well
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        self.reset_infos = _by_row(info, self.num_envs)
        return self._owned(observations)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Gives each row its action; `step_wait` has what follows.

        The rows begin at once if `envs` itself has step_async and step_wait; if not, in `step_wait`.
        """
        actions = np.asarray(actions)
        if self._halves:
            self._envs.step_async(actions)  # type: ignore[attr-defined]
        else:
            self._actions = actions
        self._begun = True

    def step_wait(self) -> tuple[Any, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """What followed in each row: (observations, rewards, dones, infos).

        Raises:
            FerryError: No step has been begun, or the environments do not tell how an episode ended.
        """
        if not self._begun:
            raise FerryError("there is no step to wait for; call step_async(actions) first, or step(actions)")
        self._begun = False
        observations, rewards, terminated, truncated, info = (
            self._envs.step_wait() if self._halves else self._envs.step(self._actions)  # type: ignore[attr-defined]
        )
        dones = np.logical_or(terminated, truncated)
        self._returns += rewards
        self._lengths += 1
        if info or dones.any():
            infos = self._infos(info, dones, np.logical_and(truncated, np.logical_not(terminated)))
        else:
            infos = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        return self._owned(observations), np.array(rewards, np.float32), dones, infos

    def _infos(
        self, info: dict[str, Any], dones: npt.NDArray[np.bool_], cut: npt.NDArray[np.bool_]
    ) -> list[dict[str, Any]]:
        infos = _by_row({key: value for key, value in info.items() if key not in _FINAL}, self.num_envs)
        ended = np.flatnonzero(dones)
        if ended.size:
            final = info.get("final_obs")
            if final is None or not np.all(info.get("_final_obs", dones)[ended]):
                raise FerryError(
                    f"an episode of {self._envs} has ended, and infos lacks its final_obs; a VectorEnv of "
                    'autoreset_mode="same_step" has to put it there, so does every wrapper around it'
                )
            last = _by_row(info.get("final_info", {}), self.num_envs)
            now = round(time.monotonic() - self._start, 6)
            for row in ended.tolist():
                told = last[row]
                # A vector wrapper that keeps statistics writes them beside what belongs to the next episode.
                if "episode" in infos[row]:
                    told.setdefault("episode", infos[row].pop("episode"))
                told.setdefault(
                    "episode", {"r": round(float(self._returns[row]), 6), "l": int(self._lengths[row]), "t": now}
                )
                told["terminal_observation"] = _row_of(final, row)
                self.reset_infos[row], infos[row] = infos[row], told
            self._returns[ended] = 0
            self._lengths[ended] = 0
        for told, was_cut in zip(infos, cut.tolist(), strict=True):
            told["TimeLimit.truncated"] = was_cut
        return infos

    def _owned(self, observations: Any) -> Any:
        """Observations that stay what they are: Stable-Baselines3 stores the last ones after the next step."""
        if not self._gives_views:
            return observations
        return observations.copy() if isinstance(observations, np.ndarray) else copy.deepcopy(observations)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Sets the options of the next `reset`.

        Raises:
            ValueError: Rows have different ones; the resets of a VectorEnv have one dict of options for all.
        """
        if isinstance(options, list):
            if len(options) != self.num_envs or not all(data_equivalence(options[0], other) for other in options):
                raise ValueError(
                    f"all {self.num_envs} rows reset with the same options; give one dict, which is for all of them"
                )
            options = options[0]
        super().set_options(options)

    def close(self) -> None:
        """Closes the environments."""
        self._envs.close()

    # ---- Rendering ----

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """A picture of each row; None for each, and a warning, if the render mode is not "rgb_array"."""
        if self.render_mode != "rgb_array":
            warnings.warn(
                f'the render mode is {self.render_mode}, and pictures need "rgb_array"; make the environments with '
                'render_mode="rgb_array"',
                stacklevel=2,
            )
            return [None] * self.num_envs
        images: Any = self._envs.render()
        return list(images)

    # ---- What the environments have beside step and reset ----

    def has_attr(self, attr_name: str) -> bool:
        """Whether each row's environment, or a wrapper around it, has an attribute or method of the name."""
        if attr_name == "render_mode":
            return True
        try:
            return self._can("call") and all(self._reach("call")("has_wrapper_attr", attr_name))
        except (AttributeError, BackendError):  # such as of environments that take no calls
            return False

    def get_attr(self, attr_name: str, indices: _Rows = None) -> list[Any]:
        """The attribute's value in each row of `indices`; None: in all."""
        rows = self._rows(indices)
        # Not every environment can be asked, and Stable-Baselines3 asks this of each.
        every = [self._envs.render_mode] * self.num_envs if attr_name == "render_mode" else None
        if every is None:
            every = self._reach("get_attr")(attr_name)
        return [every[row] for row in rows]

    def set_attr(self, attr_name: str, value: Any, indices: _Rows = None) -> None:
        """Sets the attribute in each row of `indices`; None: in all.

        Of a part of the rows it can set what all have: the others are given again what they have.
        """
        rows = self._rows(indices)
        values = [value] * self.num_envs
        if len(set(rows)) < self.num_envs:
            values = list(self._reach("get_attr")(attr_name))
            for row in rows:
                values[row] = value
        self._reach("set_attr")(attr_name, values)

    def env_method(self, method_name: str, *method_args: Any, indices: _Rows = None, **method_kwargs: Any) -> list[Any]:
        """Calls a method in each row of `indices`, None: in all, and returns what it returned in each.

        Raises:
            FerryError: `indices` are a part of the rows, and `envs` has no call_rows(rows, name, *args, **kwargs).
        """
        rows = self._rows(indices)
        if len(set(rows)) == self.num_envs == len(rows):
            every = self._reach("call")(method_name, *method_args, **method_kwargs)
            return [every[row] for row in rows]
        if not self._can("call_rows"):
            raise FerryError(
                f"{self._envs} calls methods of all its rows or of none, and {method_name}() was asked of {rows}; "
                "leave indices out, and take the rows you want from what comes back"
            )
        return list(self._reach("call_rows")(rows, method_name, *method_args, **method_kwargs))

    def env_is_wrapped(self, wrapper_class: type[Any], indices: _Rows = None) -> list[bool]:
        """Whether the rows do what a wrapper does: True of Monitor, since infos have "episode"; False of all others.

        The environments may be in other processes, and a class cannot be looked for there.
        """
        return [issubclass(Monitor, wrapper_class)] * len(self._rows(indices))

    def _rows(self, indices: _Rows) -> list[int]:
        """The numbers of the rows that are meant; negative ones count from the end."""
        if indices is None:
            return list(range(self.num_envs))
        meant = [indices] if isinstance(indices, (int, np.integer)) else indices
        return [range(self.num_envs)[row] for row in meant]

    def _holder(self, name: str) -> Any:
        """The VectorEnv that has the method: VectorWrappers pass on no more than what every VectorEnv has."""
        holder = self._envs
        while not hasattr(holder, name) and isinstance(holder, VectorWrapper):
            holder = holder.env
        return holder

    def _can(self, name: str) -> bool:
        return hasattr(self._holder(name), name)

    def _reach(self, name: str) -> Callable[..., Any]:
        if not self._can(name):
            raise FerryError(
                f"{self._envs} has no {name}(), so that its environments cannot be asked; use a VectorEnv that has "
                "call, get_attr and set_attr, as SyncVectorEnv has"
            )
        method: Callable[..., Any] = getattr(self._holder(name), name)
        return method


# ---- Infos -----------------------------------------------------------------------------------------------------------


def _by_row(info: Mapping[str, Any], rows: int, present: npt.NDArray[np.bool_] | None = None) -> list[dict[str, Any]]:
    """A dict of plain values for each row, of the dict of columns that Gymnasium's vector environments give.

    Args:
        info: Columns, and under "_key" a mask that says which rows have a key; dicts of columns may be in it.
        rows: How many there are.
        present: Which rows have keys without a mask; None: all.
    """
    found: list[dict[str, Any]] = [{} for _ in range(rows)]
    for key, column in info.items():
        if isinstance(key, str) and key.startswith("_") and key[1:] in info:
            continue
        mask = info.get(f"_{key}", present)
        values = _values(column, rows, mask)
        for row in range(rows) if mask is None else np.flatnonzero(mask).tolist():
            found[row][key] = values[row]
    return found


def _values(column: Any, rows: int, mask: npt.NDArray[np.bool_] | None) -> Sequence[Any]:
    """The value of each row, that nobody else holds; those of rows that are not in the mask mean nothing."""
    if isinstance(column, Mapping):
        return _by_row(column, rows, mask)
    if isinstance(column, np.ndarray) and column.shape[:1] == (rows,):
        if column.ndim == 1 and column.dtype.kind in "biufcSU":
            return column.tolist()  # type: ignore[no-any-return]
        return [_plain(value) for value in column]
    if isinstance(column, (list, tuple)) and len(column) == rows:
        return [_plain(value) for value in column]
    return [_plain(column) for _ in range(rows)]  # of all rows together


def _plain(value: Any) -> Any:
    """A value of the caller's own, and of Python's own where it is one of NumPy's scalars."""
    if isinstance(value, np.generic):
        return value.item() if value.dtype.kind in "biufcSU" else value
    return value if isinstance(value, _IMMUTABLE) else copy.deepcopy(value)


def _row_of(observations: Any, row: int) -> Any:
    """One row of final observations: of an array of objects, or of a batch."""
    if isinstance(observations, Mapping):
        return {key: _row_of(value, row) for key, value in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_row_of(value, row) for value in observations)
    return copy.deepcopy(observations[row])
