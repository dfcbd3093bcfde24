"""`ferry watch`: numbers, returns and pictures of a channel that others use."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
from rich.console import Console

import ferry
from conftest import PATIENCE, Serve, Start, line_of
from ferry.__main__ import main
from ferry.watch import Picture, image_of, sparkline


def test_a_snapshot_is_told_and_drawn(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("sample_envs:Pixels")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)
        env.step(env.action_space.sample())
        assert main(["watch", "test", "--once", "--timeout", str(PATIENCE)]) == 0
    told = capsys.readouterr().out
    assert "turn" in told
    assert "▀" in told


def test_lines_go_into_a_pipe_until_the_channel_ends(serve: Serve, start: Start) -> None:
    serve("CartPole-v1")
    ended = threading.Event()
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)

        def play() -> None:
            while not ended.is_set():
                if any(env.step(0)[2:4]):
                    env.reset()
                time.sleep(0.001)

        thread = threading.Thread(target=play)
        thread.start()
        try:
            process = start("-u", "-m", "ferry", "watch", "test", "--hz", "30")
            lines = [line_of(process)]
            while "returns" not in lines[-1]:
                lines.append(line_of(process))
        finally:
            ended.set()
            thread.join(PATIENCE)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "has gone" in errors
    assert lines[-1].startswith("turn ")


def test_a_key_that_is_none_is_explained(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("sample_envs:Nested")
    with ferry.ClientEnv("test", timeout=PATIENCE) as env:
        env.reset(seed=1)
        assert main(["watch", "test", "--once", "--key", "nowhere", "--timeout", str(PATIENCE)]) == 1
        assert "the observation has no part 'nowhere'; it has '" in capsys.readouterr().err
    assert main(["watch", "test", "--hz", "0"]) == 1
    assert "pictures a second" in capsys.readouterr().err


def test_nobody_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "nobody", "--once", "--timeout", "0.1"]) == 1
    assert "no environment has served 'nobody'" in capsys.readouterr().err


def test_pictures_are_found() -> None:
    colours = np.zeros((8, 10, 3), np.uint8)
    stack = np.stack([np.full((8, 10), i, np.uint8) for i in range(4)], axis=-1)
    assert image_of({"a": np.zeros(3, np.float32), "b": (1, colours)}, None) is not None
    found = image_of(stack, None)
    assert found is not None
    assert found.shape == (8, 10, 3)
    assert (found == 3).all(), "of stacked frames the last"
    assert image_of({"far": {"near": colours}}, "far/near") is not None
    assert image_of(np.zeros((8, 10)), None) is None
    with pytest.raises(ValueError, match="is no picture"):
        image_of({"a": np.zeros(3)}, "a")


def test_a_picture_keeps_its_colours_and_fits() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20] = (255, 0, 0)
    image[20:] = (0, 0, 255)
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=30, height=40)
    console.print(Picture(image))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 10, "half its size, two pixels in a character"
    assert all(line.count("▀") == 30 for line in lines)
    assert "38;2;255;0;0;48;2;255;0;0" in lines[0]
    assert "38;2;0;0;255;48;2;0;0;255" in lines[-1]


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([1, 1]) == "▁▁"
    assert sparkline([0, 7, 14]) == "▁▅█"
