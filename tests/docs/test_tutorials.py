"""Each tutorial runs as it stands, from an empty folder: its files are written, its commands run in their order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What must be there afterwards.
LEAVES = {
    "cnn-to-a-board": ("build/int8/manifest.json", "pack/bench.py", "page.html"),
    "joules-for-a-paper": ("energy.json", "compared.json", "energy.html"),
    "spiking-model-to-a-chip": ("build/exact-step/manifest.json", "chips.json", "build/nir/manifest.json"),
    "language-model": ("build/lm-fixed/manifest.json", "build/lm-python/manifest.json"),
}


def test_every_tutorial_is_run():
    assert {page.stem for page in (ROOT / "docs/tutorials").glob("*.md")} == set(LEAVES)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAVES)
def test_tutorial(name, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool, command in (("neurokit", f"{sys.executable} -m neurokit"), ("python", sys.executable)):
        (tools / tool).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tools / tool).chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for kind, body in FENCE.findall((ROOT / f"docs/tutorials/{name}.md").read_text()):
        file = re.match(r"# file: (\S+)\n", body)
        if file:
            (folder / file[1]).write_text(body)
            continue
        command = ["sh", "-e", "-c", body] if kind == "sh" else [sys.executable, "-c", body]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"
    assert [path for path in LEAVES[name] if not (folder / path).exists()] == []
