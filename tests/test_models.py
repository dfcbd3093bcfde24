"""The models of the protocols are checked, as `make model` does."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

import legs

PATIENCE = 100
MODELS = legs.ROOT / "models"


@pytest.mark.timeout(PATIENCE + 20)
@pytest.mark.parametrize("model", sorted(path.stem for path in MODELS.glob("*.pml")))
def test_model_is_proved_and_its_mutants_fail(model: str) -> None:
    legs.need("spin", "cc")
    environment = {**os.environ, "MODELS": model, "MODEL_TIMEOUT_S": "30"}
    done = subprocess.run(
        [MODELS / "run.sh"], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, verdict = done.stdout.splitlines()
    assert any("proved: " in line for line in lines), "the script checks no model of this name"
    assert any("fails, as it must" in line for line in lines), "no mutant shows that the check can fail"
    assert all(line.startswith(f"{model} ") for line in lines)
    assert verdict == "every model holds, and every mutant fails"


def test_every_mutant_that_a_model_names_is_run() -> None:
    script = (MODELS / "run.sh").read_text()
    for path in MODELS.glob("*.pml"):
        comment = path.read_text().split("*/", 1)[0]
        named = {word.strip("(),.") for word in comment.split("Mutants", 1)[1].split() if word.startswith("-D")}
        run = {
            word
            for line in script.splitlines()
            if line.startswith(f"refutes {path.stem} ")
            for word in line.split()[2:]
        }
        assert named == run, path.name


def test_the_functions_that_a_model_stands_for_are_there() -> None:
    sources = "".join(path.read_text() for path in (legs.ROOT / "csrc").glob("*.[ch]"))
    for path in MODELS.glob("*.pml"):
        named = set(re.findall(r"ferry__\w+", path.read_text().split("*/", 1)[0]))
        assert named, path.name
        missing = {name for name in named if not re.search(rf"\b{name}\(", sources)}
        assert not missing, path.name
