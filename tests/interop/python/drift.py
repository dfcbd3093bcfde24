"""The scenario of tests/interop/README.md in Python, and what all others are compared with."""

from __future__ import annotations

import math
import os
import signal
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

import ferry


class Drift(gymnasium.Env[Any, Any]):
    observation_space = Dict({"position": Box(-10, 10, (2,), np.float32), "ticks": Discrete(101)})
    action_space = Dict({"move": Discrete(3, start=-1), "push": Box(-1, 1, (2,), np.float32)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if options:
            raise ValueError("drift takes no options")
        self.x, self.y = (0.0, 0.0) if seed is None else (float(seed % 7 - 3), float(seed % 5 - 2))
        self.ticks = 0
        return self._observation(), {"language": "python", "energy": self._energy()}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        push = action["push"].astype(np.float64)
        self.x += 0.5 * float(action["move"]) + push[0]
        self.y += push[1]
        self.ticks += 1
        out = max(abs(self.x), abs(self.y)) > 8
        return self._observation(), -(abs(self.x) + abs(self.y)), out, self.ticks == 100, {"energy": self._energy()}

    def _observation(self) -> dict[str, Any]:
        return {"position": np.array([self.x, self.y], np.float32), "ticks": np.int64(self.ticks)}

    def _energy(self) -> float:
        return math.fsum((self.x * self.x, self.y * self.y))


if __name__ == "__main__":
    if os.environ["FERRY_ADDRESS"].startswith("connect:"):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # else a backend would end its run, and the next begin
        while True:
            ferry.ClientBackend(Drift).run()
    else:
        ferry.ServerBackend(Drift).run()
