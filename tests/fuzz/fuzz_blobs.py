"""Blobs, as either side reads them: nothing but ValueError comes of foreign bytes, and what is read can be written.

The first byte chooses the format. If its highest bit is set, pieces follow that are put together to a blob: how often
(two bytes), how long (one byte) and the bytes, so that a few of them make large blobs.
"""

from __future__ import annotations

from ferry import blobs

MOST_BYTES = 64 << 10


def lower_limits() -> None:
    """Makes blobs of a few hundred bytes as suspect as large ones are, so that there are many runs a second."""
    vars(blobs).update(_SMALL=256, _MOST_ODD=16, MAX_VALUES=256)
    globals()["MOST_BYTES"] = 1 << 10


def put_together(data: bytes) -> bytes:
    """The blob that pieces make."""
    made = bytearray()
    at = 0
    while at + 3 < len(data):
        count, length = int.from_bytes(data[at : at + 2], "little"), data[at + 2]
        piece = data[at + 3 : at + 3 + length]
        made += piece * min(count, (MOST_BYTES - len(made)) // max(len(piece), 1))
        at += 3 + length
    return bytes(made)


def one_input(data: bytes) -> None:
    """Reads one, and writes what was read."""
    if not data:
        return
    which = data[0]
    format, content = 1 + which % 4, put_together(data[1:]) if which >= 128 else data[1:]
    try:
        value = blobs.decode(content, format)
    except ValueError:
        return
    try:
        written = blobs.pack(value)
    except TypeError:  # JSON has lone surrogates, as "\ud800", and MessagePack has none
        if format != blobs.JSON:
            raise
        return
    try:
        again = blobs.unpack(written)
    except ValueError as error:  # JSON counts its values in another way
        if format != blobs.JSON or "more than" not in str(error):
            raise
        return
    assert len(blobs.pack(again)) == len(written)
