"""Draws what `ferry top` and `ferry watch` show of channels that play: docs/top.svg, docs/top-hung.svg, docs/watch.svg.

In the second the process of the pole is stopped.

.venv/bin/python tools/screenshots.py
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console, RenderableType

import ferry
from ferry import paths, top, watch

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("pole", "arena", "camera")
LOOK_S = 4.0


class Camera(gymnasium.Env[Any, Any]):
    """A disc that drifts over a field of colours; an episode ends at the border."""

    observation_space = gymnasium.spaces.Box(0, 255, (24, 48, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Puts the disc back."""
        super().reset(seed=seed)
        self._at, self._drift = 10.0, self.np_random.uniform(0.2, 1.0)
        return self._drawn(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Lets it drift, faster or slower."""
        self._at += self._drift + (action - 1) * 0.3
        return self._drawn(), 1.0, not 5 < self._at < 43, False, {"at": round(self._at, 1)}

    def _drawn(self) -> Any:
        rows, columns = np.mgrid[:24, :48] // 2 * 2
        picture = np.stack([columns * 4, rows * 8, 160 - columns * 2], axis=-1).clip(0, 255).astype(np.uint8)
        picture[(rows - 12) ** 2 + (columns - self._at // 2 * 2) ** 2 < 30] = (250, 220, 90)
        return picture


PLAYS = """
import sys, time, ferry
env = getattr(ferry, sys.argv[1])(sys.argv[2], timeout=30)
env.reset(seed=1)
while True:
    if any(env.step(env.action_space.sample())[2:4]):
        env.reset()
    time.sleep(float(sys.argv[3]))
"""


def main() -> int:
    """Starts the channels, draws them, ends them."""
    sys.path.insert(0, str(ROOT / "tools"))
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        os.environ["FERRY_RUNTIME_DIR"] = folder
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        serve = [sys.executable, "-m", "ferry", "serve"]
        play = [sys.executable, "-c", PLAYS]
        arena = [sys.executable, "-c", "import ferry; ferry.ClientBackend('CartPole-v1', 'arena').run()"]
        commands = [
            [str(paths.pole()), "pole"],
            [*serve, "screenshots:Camera", "--address", "camera"],
            arena,
            [*play, "ClientEnv", "pole", "0.0002"],
            [*play, "ServerEnv", "arena", "0.005"],
            [*play, "ClientEnv", "camera", "0.002"],
        ]
        processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
        try:
            deadline = time.monotonic() + 60
            while not all((Path(folder) / f".{name}.map").is_symlink() for name in NAMES):
                if time.monotonic() > deadline:
                    print("screenshots: the channels do not come up", file=sys.stderr)
                    return 1
                time.sleep(0.1)
            with ferry.Observer("camera", timeout=30) as observer:
                view = watch.View(observer, None)
                until = time.monotonic() + 8
                for snapshot in observer.watch(10):
                    view.take(snapshot)
                    if time.monotonic() > until:
                        break
                save(view.picture(), "watch", 100)
            save(top.picture(top.seen(LOOK_S)), "top", 165)
            processes[0].send_signal(signal.SIGSTOP)
            save(top.picture(top.seen(LOOK_S)), "top-hung", 165, of="top")
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return 0


def save(picture: RenderableType, name: str, width: int, of: str | None = None) -> None:
    """Draws what a command shows, the one of that name or `of`, as a terminal of that width would."""
    console = Console(record=True, width=width, height=40, file=io.StringIO(), force_terminal=True)
    console.print(picture)
    console.save_svg(str(ROOT / "docs" / f"{name}.svg"), title=f"ferry {of or name}")


if __name__ == "__main__":
    sys.exit(main())
