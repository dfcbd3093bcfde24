"""An engine that greets and does no more: ``python greeter.py [MAJOR [SIDE]]``, with FERRY_ADDRESS=fd:N.

It knows the bytes of docs/protocol.md and nothing of this library, so that it can speak other versions.
"""

from __future__ import annotations

import os
import socket
import struct
import sys


def hello(major: int, side: int) -> bytes:
    """The frame of a HELLO."""
    payload = struct.pack(
        "=8sIHHQIIiIQI12x", b"FERRYhi\n", 0x01020304, major, 0, 0, side, os.getpid(), -1, 0, 0, major << 16
    )
    assert len(payload) == 64
    return struct.pack("=IHHII", 0x59525246, 1, 0, len(payload), 0) + payload


if __name__ == "__main__":
    major, side = (int(word) for word in [*sys.argv[1:], *["1", "1"][len(sys.argv) - 1 :]])
    channel = socket.socket(fileno=int(os.environ["FERRY_ADDRESS"].removeprefix("fd:")))
    channel.sendall(hello(major, side))
    print("greeted", flush=True)
    while channel.recv(4096):  # hears, and says nothing
        pass
