"""Environments of other projects, made as their users make them; for backends, as ``clients.served:name``."""

from __future__ import annotations

from typing import Any

import gymnasium


def breakout_ram() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("ale_py:ALE/Breakout-v5", obs_type="ram")


def breakout_joystick() -> gymnasium.Env[Any, Any]:
    """The action is where the stick points, and whether the button is down."""
    return gymnasium.make("ale_py:ALE/Breakout-v5", continuous=True)


def breakout_stacked() -> gymnasium.Env[Any, Any]:
    """As agents are trained on it: small grey frames, four at a time; the wrappers need the emulator itself."""
    env = gymnasium.make("ale_py:ALE/Breakout-v5", frameskip=1)
    return gymnasium.wrappers.FrameStackObservation(gymnasium.wrappers.AtariPreprocessing(env, noop_max=30), 4)


def doom_with_buffers() -> gymnasium.Env[Any, Any]:
    """Depth, labels and a map beside the screen."""
    return gymnasium.make(
        "vizdoom.gymnasium_wrapper:VizdoomDefendCenter-v1",
        depth_buffer_enabled=True,
        labels_buffer_enabled=True,
        automap_buffer_enabled=True,
        frame_skip=4,
    )
