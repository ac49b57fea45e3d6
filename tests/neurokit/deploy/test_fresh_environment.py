"""A new environment with the built wheel and the extras of the Dockerfile, nothing of this tree: one `deploy` each."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(command, place):
    """Runs a command outside of the tree, with nothing in its environment that shows the way into it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([str(word) for word in command], cwd=place, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The folder of the commands of a new environment: the wheel, what the Dockerfile asks for, and no more."""
    place = tmp_path_factory.mktemp("fresh")
    source = place / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "build", "node_modules", "*.egg-info")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", place, source]
    run(wheel, place)
    shutil.rmtree(source)
    (built,) = place.glob("neurokit_edge-*.whl")
    extras = re.search(r"/opt/neurokit(\[.+?\])", (ROOT / "Dockerfile").read_text())[1]
    venv.create(place / "venv", with_pip=True)
    commands = place / "venv" / "bin"
    run([commands / "python", "-m", "pip", "install", "--quiet", f"{built}{extras}"], place)
    where = run([commands / "python", "-c", "import neurokit; print(neurokit.__file__)"], place).strip()
    assert Path(where).is_relative_to(place / "venv")
    return commands


@pytest.mark.slow  # installs PyTorch and what belongs to it
@pytest.mark.parametrize("kind", ["cnn", "snn"])
def test_one_command_in_a_new_environment(kind, fresh, trained, read, tmp_path):
    model = {"cnn": f"{trained}/cnn.py:net", "snn": "spiking_cnn"}[kind]
    words = [fresh / "neurokit", "deploy", model, "--weights", trained / f"{kind}.pt", "--data", trained / "digits"]
    words += ["--preprocess", trained / "prep.toml", "--out", tmp_path / "out", "--seconds", "0.1", "--json"]
    made = json.loads(run(words, tmp_path))
    verified = {row["form"].split()[0] for row in made["rows"] if row["parity"] not in ("", "failed")}
    assert {"onnx", "onnx-int8" if kind == "cnn" else "nir"} <= verified
    assert all(row["reason"] for row in made["rows"] if row["status"] in ("failed", "invalid"))
    assert any(row["simulated"] for row in made["rows"])
    read(made["page"], made["answer"])


@pytest.mark.slow  # as above
def test_every_command_of_the_readme_is_there(fresh, tmp_path):
    for words in (["doctor"], ["models"], ["targets"], ["chips"]):
        assert run([fresh / "neurokit", *words], tmp_path).strip()
