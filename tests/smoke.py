"""What an installed Ferry has to do with nothing but its dependencies around: each published wheel is put through this.

Run it outside a checkout's own Python: ``python tests/smoke.py``.
"""

from __future__ import annotations

from pathlib import Path

import ferry
from ferry import paths

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    assert not Path(ferry.__file__).is_relative_to(ROOT), f"{ferry.__file__} is the checkout's, not an installed one"
    for command in ([paths.pole()], "CartPole-v1"):
        with ferry.launch(command) as env:
            env.reset(seed=1)
            rewards = [env.step(1)[1] for _ in range(5)]
        assert rewards == [1.0] * 5, rewards
    for path in (paths.include() / "libferry.h", paths.library() / "libferry.a", paths.library() / "libferry.so"):
        assert path.stat().st_size > 0, path
    print(f"ferry {ferry.__version__} plays, from {paths.PACKAGE}")


if __name__ == "__main__":
    main()
