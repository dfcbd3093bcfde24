"""Runs a command on one CPU (or, with "any", wherever), and takes it down when the process that started it ends.

Usage: python child.py CPU PARENT_PID COMMAND ...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Has the kernel end this process when the one that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Becomes the command."""
    cpu, parent, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    end_with_parent()
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
    if cpu != "any":
        os.sched_setaffinity(0, {int(cpu)})
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
