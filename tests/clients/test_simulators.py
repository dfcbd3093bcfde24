"""MuJoCo, the Arcade Learning Environment and ViZDoom behave through Ferry as they do in process."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Connect
from ferry.backend import make
from test_trajectories import play

# Enough for several episodes of each, the second and every other one of which has no seed of its own.
STEPS = 1200


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulators leave logs and settings in the working folder, the backend's among them."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Ant-v5", "Hopper-v5", "Humanoid-v5"])
def test_mujoco(connect: Connect, env_id: str) -> None:
    pytest.importorskip("mujoco", reason="needs gymnasium[mujoco]")
    assert play(connect(env_id), make(env_id), STEPS) >= 2


@pytest.mark.parametrize(
    "env_id",
    [
        "ale_py:ALE/Pong-v5",
        "ale_py:ALE/Breakout-v5",
        "clients.served:breakout_ram",
        "clients.served:breakout_joystick",
        "clients.served:breakout_stacked",
    ],
)
def test_ale(connect: Connect, env_id: str) -> None:
    pytest.importorskip("ale_py", reason="needs ale-py")
    if env_id.endswith("stacked"):
        pytest.importorskip("cv2", reason="needs opencv-python-headless")
    assert play(connect(env_id), make(env_id), STEPS) >= 2


@pytest.mark.parametrize(
    "env_id",
    [
        "vizdoom.gymnasium_wrapper:VizdoomBasic-v1",
        "vizdoom.gymnasium_wrapper:VizdoomBasicAudio-v1",
        "vizdoom.gymnasium_wrapper:VizdoomBasicNotifications-v1",
        "vizdoom.gymnasium_wrapper:VizdoomDefendCenter-MultiBinary-v1",
        "vizdoom.gymnasium_wrapper:VizdoomDeathmatch-v1",
        "clients.served:doom_with_buffers",
    ],
)
def test_vizdoom(connect: Connect, env_id: str) -> None:
    pytest.importorskip("vizdoom", reason="needs vizdoom")
    assert play(connect(env_id), make(env_id), STEPS) >= 2


@pytest.mark.parametrize("env_id", ["ale_py:ALE/Pong-v5", "vizdoom.gymnasium_wrapper:VizdoomBasicAudio-v1"])
def test_views_without_copies(connect: Connect, env_id: str) -> None:
    pytest.importorskip(env_id.partition(":")[0], reason="needs ale-py and vizdoom")
    assert play(connect(env_id, copy=False), make(env_id), STEPS) >= 2
