"""The Python environment at the other end: ``contenders.Trivial`` behind the backend that FERRY_ADDRESS asks for."""

from __future__ import annotations

import os

import ferry
from contenders import Trivial


def main() -> None:
    """Runs until told to end."""
    serve = os.environ["FERRY_ADDRESS"].startswith("serve:")
    backend = ferry.ServerBackend if serve else ferry.ClientBackend
    backend(Trivial(), os.environ["FERRY_ADDRESS"].partition(":")[2]).run()


if __name__ == "__main__":
    main()
