"""What README and CONTRIBUTING show runs as it stands there."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(name, language):
    return [body for kind, body in FENCE.findall((ROOT / name).read_text()) if kind == language]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """An empty folder with `neurokit` on the path, and a `make` that only says what it would do."""
    folder = tmp_path_factory.mktemp("readme")
    tools = folder / "bin"
    tools.mkdir()
    for name, command in (
        ("neurokit", f'exec "{sys.executable}" -m neurokit "$@"'),
        ("make", f'exec /usr/bin/env -i PATH="{os.environ["PATH"]}" make -n -C "{ROOT}" "$@"'),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{command}\n")
        (tools / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(*command):
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("body", fences("README.md", "sh"), ids=lambda body: body.split()[0])
def test_readme_commands(shell, body):
    if "neurokit export" in body and not find_spec("neurokit.pipeline"):
        pytest.skip("the pipeline has not landed")
    shell("sh", "-e", "-c", body)


@pytest.mark.parametrize("body", fences("README.md", "python"))
def test_readme_python(shell, body):
    if not find_spec("neurokit.pipeline"):
        pytest.skip("the pipeline has not landed")
    shell(sys.executable, "-c", body)


@pytest.mark.parametrize(
    "body", fences("CONTRIBUTING.md", "python"), ids=lambda body: re.search(r"^(?:class|def) (\w+)", body, re.M)[1]
)
def test_contributing_examples_register_themselves(shell, body):
    check = """
from neurokit.spec import MODELS
from neurokit.target import TARGETS
from neurokit.tasks import TASKS
from neurokit.transforms import TRANSFORMS, transform
from neurokit.loading import load
print(
    ("tiny_net" in MODELS._items and MODELS.get("tiny_net")().build() is not None)
    or "nowhere" in TARGETS._items
    or ("sign_check" in TASKS._items and set(TASKS.get("sign_check").info.metrics) == {"right"})
    or "fewer_steps" in TRANSFORMS._items
    and transform(load("spiking_cnn"), ["fewer_steps:time_steps=3"]).time_steps == 3
)
"""
    assert shell(sys.executable, "-c", body + check).strip() == "True"


def test_the_catalogue_names_what_is_registered():
    from neurokit import catalogue

    written = (ROOT / "docs" / "catalogue.md").read_text()
    assert written == catalogue.page(), "make catalogue"


def test_the_readme_names_every_target():
    from neurokit.target import TARGETS

    text = (ROOT / "README.md").read_text()
    assert [name for name in TARGETS.names() if f"`{name}`" not in text] == []


def test_every_link_leads_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "docs/architecture.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text()):
            assert (ROOT / name).parent.joinpath(link).exists(), f"{name}: {link}"


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80
