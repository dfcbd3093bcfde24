"""The Python environment at the other end: ``contenders.Trivial`` behind the backend that FERRY_ADDRESS asks for.

With a number it runs in real time, at so many steps a second.
"""

from __future__ import annotations

import os
import sys

import ferry
from contenders import Trivial


def main() -> None:
    """Runs until told to end."""
    serve = os.environ["FERRY_ADDRESS"].startswith("serve:")
    backend = ferry.ServerBackend if serve else ferry.ClientBackend
    realtime_hz = float(sys.argv[1]) if len(sys.argv) > 1 else None
    backend(Trivial(), os.environ["FERRY_ADDRESS"].partition(":")[2], realtime_hz=realtime_hz).run()


if __name__ == "__main__":
    main()
