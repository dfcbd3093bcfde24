"""Writes what the targets of Python begin with into FOLDER/TARGET. The same files every time.

python tests/fuzz/make_python_corpus.py FOLDER
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from gymnasium import spaces

from ferry import _core, blobs, descriptions


def piece(count: int, content: bytes) -> bytes:
    """What fuzz_blobs repeats."""
    return struct.pack("<HB", count, len(content)) + content


def extension(code: int, payload: bytes) -> bytes:
    """One of MessagePack's."""
    return bytes(msgpack.packb(msgpack.ExtType(code, payload)))


def tuples_within(depth: int) -> bytes:
    """A tuple that holds a tuple, and so on."""
    content = b"\x90"
    for _ in range(depth):
        content = b"\x91" + extension(3, content)
    return content


def blob_inputs() -> dict[str, bytes]:
    """Every type, and what has to be refused."""
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    values: dict[str, Any] = {
        "plain": {"a": [1, -1, 2.5, None, True, "text", b"bytes"], 7: {}, None: []},
        "numbers": [2**63, -(2**63), 2**64, -(2**70), 1 + 2j, np.float16(1.5), np.uint8(3), np.bool_(True)],
        "arrays": [array, np.array(["one", "\N{SNOWMAN}"]), np.array([b"xy"]), np.zeros((0, 2)), np.array(True)],
        "times": [np.datetime64("2020-01-01", "ns"), np.array([1, 2], "m8[10ms]")],
        "objects": np.array([[1, "two"], [None, (3,)]], object),
        "containers": [(1, (2, (3,))), {1, 2}, frozenset({3}), {(1, 2): 3}],
    }
    made = {name: b"\1" + blobs.pack(value) for name, value in values.items()}
    made |= {
        "json": b"\0" + rb'{"a": [1, 2.5e3, null, true, "\ud83d\ude00 \ud800"], "b": NaN, "b": -Infinity}',
        "text": b"\2" + "\N{SNOWMAN} text".encode(),
        "values": b"\3" + blobs.pack([{"info": 1}, {0: array, 5: "text"}]),
        "time": b"\1" + bytes(msgpack.packb(msgpack.Timestamp(1, 5))),
        "deep": b"\x81" + piece(70, b"\x91") + piece(1, b"\xc0"),
        "deep_json": b"\x80" + piece(70, b"[") + piece(70, b"]"),
        "too_deep_tuples": b"\1" + tuples_within(70),
        "deep_tuples": b"\1" + blobs.pack(((((((1,),),),),),)),
        "many_claimed": b"\1" + b"\xdd\xff\xff\xff\xff" * 20,
        "many_claimed_in_all": b"\x81" + piece(4000, b"\xdd\x00\x00\x40\x00"),
        "many_lists": b"\x81" + piece(1, b"\xdd\x00\x00\xf0\x00") + piece(0xF00, b"\x90" * 16),
        "many_maps": b"\x81" + piece(1, b"\xdd\x00\x00\xf0\x00") + piece(0xF00, b"\x80" * 16),
        "many_sets": b"\x81" + piece(1, b"\xdd\x00\x00\x40\x00") + piece(0x2000, extension(6, b"\x90") * 2),
        "one_key_again": b"\x81" + piece(1, b"\xde\x10\x00") + piece(4096, b"\x01\x02"),
        "shape_too_large": b"\1" + extension(1, b"\x03<f8\x02" + struct.pack("<2Q", 2**32, 2**32)),
        "shape_of_none": b"\1" + extension(1, b"\x03<f8\x02" + struct.pack("<2Q", 0, 2**60)),
        "code_unknown": b"\1" + extension(2, b"\x05<f8,O\x00"),
        "list_as_key": b"\1" + b"\x81" + extension(1, b"\x03|u1\x00\x01") + b"\xc0",
    }
    return made


def description_inputs() -> dict[str, bytes]:
    """A space of each class, what environments say of themselves, tables; and what has to be refused."""
    box = spaces.Box(-1, 1, (2,), np.float32)
    graph = spaces.Graph(box, spaces.Discrete(3))
    made: dict[str, Any] = {
        "box": spaces.Box(np.array([0, 1], np.int16), np.array([5, 9], np.int16)),
        "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
        "discrete": spaces.Discrete(5, start=-2),
        "multi_discrete": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
        "multi_binary": spaces.MultiBinary([2, 2]),
        "text": spaces.Text(5, charset="abc"),
        "sequence": spaces.Sequence(spaces.Dict(a=box), stack=False),
        "graph": graph,
        "dict": spaces.Dict(a=box, b=spaces.Tuple((graph, spaces.Discrete(2)))),
        "one_of": spaces.OneOf([box, spaces.Text(3)]),
    }
    told: dict[str, Any] = {name: descriptions.describe(space, "it") for name, space in made.items()}
    told |= {
        "about": {
            "metadata": {"render_modes": ["ansi"], "render_fps": 30},
            "spec": '{"id": "It-v0", "entry_point": null, "reward_threshold": 1.0, "kwargs": {}}',
            "spaces": {"observation": {"x": told["graph"]}, "action": {"": told["text"]}},
        },
        "custom": {"type": "custom", "name": "os.system", "data": "true"},
        "text_for_dtype": {"type": "MultiDiscrete", "dtype": "S268435456", "nvec": [2] * 40},
        "many_dimensions": {"type": "Box", "shape": [1] * 100, "low": 0, "high": 1, "dtype": "float32"},
        "large": {"type": "Box", "shape": [2**20, 2**20], "low": 0, "high": 1, "dtype": "float32"},
        "large_binary": {"type": "MultiBinary", "n": [2**30, 2**30]},
        "number_for_type": {"type": 1 << 20000},
        "table": [
            ["a/b", 0, _core.BOX, 11, [3], 0, 0, 0],
            ["a/c#0", 0, _core.DISCRETE, 8, [], 4, 1, 0],
            ["a/c#1", 0, _core.STRING, 3, [], 9, 0, 8],
            ["", 1, _core.MULTI_BINARY, 2, [2], 0, 0, 0],
        ],
        "table_contradicts": [["a", 0, _core.DISCRETE, 8, [], 4, 1, 0], ["a/b", 0, _core.DISCRETE, 8, [], 4, 1, 0]],
    }
    return {name: blobs.pack(value) for name, value in told.items()}


def request_inputs() -> dict[str, bytes]:
    """Every request, names that are not public, and reports."""
    told: dict[str, Any] = {
        "render": {"op": "render"},
        "mode": {"op": "render_mode", "mode": "ansi"},
        "has": {"op": "has", "name": "double"},
        "get": {"op": "get", "name": "width"},
        "set": {"op": "set", "name": "width", "value": 9},
        "call": {"op": "call", "name": "double", "args": [4], "kwargs": {}},
        "call_or_get": {"op": "call_or_get", "name": "width", "rows": [0, 2], "values": [1, 2]},
        "hidden": {"op": "get", "name": "__class__"},
        "reset": {"op": "call", "name": "reset"},
        "report": {"type": "ValueError", "text": "no", "traceback": "at\n", "row": 1},
        "report_of_numbers": {"type": 1 << 20000, "text": -(1 << 20000), "traceback": [1 << 20000]},
        "number_for_report": 1 << 20000,
    }
    return {name: blobs.pack(value) for name, value in told.items()}


def main() -> None:
    """Writes them all."""
    inputs = {
        "fuzz_blobs": blob_inputs(),
        "fuzz_descriptions": description_inputs(),
        "fuzz_requests": request_inputs(),
    }
    for target, contents in inputs.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
