"""What README and CONTRIBUTING show runs as it stands there."""

import json
import os
import re
import shlex
import subprocess
import sys
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


BLOCKS = fences("README.md", "sh")
COMMANDS = [block for block in BLOCKS if all(line.startswith("neurokit ") for line in block.splitlines())]


@pytest.mark.parametrize("body", [b for b in BLOCKS if b not in COMMANDS], ids=lambda body: body.split()[0])
def test_readme_make(shell, body):
    shell("sh", "-e", "-c", body)


@pytest.mark.parametrize("body", COMMANDS)
def test_readme_commands(shell, body, tmp_path, monkeypatch):
    """Every line as it stands, one after the other; the one of models in a shell, as it needs no library, too."""
    from neurokit import cli

    lines = body.splitlines()
    shell("sh", "-e", "-c", next(line for line in lines if line.startswith("neurokit models")))
    monkeypatch.chdir(tmp_path)
    for line in lines:
        _, *arguments = shlex.split(line, comments=True)
        # Latency is measured for a moment only: what is shown is that the command runs.
        assert cli.main([*arguments, *(("--seconds", "0.2") if arguments[0] == "bench" else ())]) == 0, line


@pytest.mark.parametrize("body", fences("README.md", "python"))
def test_readme_python(body, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(body, "README.md", "exec"), {"__name__": "__main__"})


def test_the_readme_shows_commands():
    assert len(COMMANDS) == 1
    assert len(COMMANDS[0].splitlines()) >= 8


def first_name(body):
    """Returns the name of the class or the last function that an example defines, or "example"."""
    defined = re.findall(r"^(?:class|def) (\w+)", body, re.MULTILINE)
    return defined[-1] if defined else "example"


# What must hold after an example of CONTRIBUTING ran, by the name that it defines.
HOLDS = {
    "tiny_net": "from neurokit.spec import MODELS; assert MODELS.get('tiny_net')().build() is not None",
    "Nowhere": "from neurokit.target import TARGETS; assert 'nowhere' in TARGETS.names()",
    "SignCheck": "from neurokit.tasks import TASKS; assert set(TASKS.get('sign_check').info.metrics) == {'right'}",
    "Own": "from dataclasses import replace; from neurokit.models.decoder import TINY_LM; "
    "from neurokit.models.decoder.net import Decoder; Decoder(replace(TINY_LM, mixers=('alone', 'dense') * 2))",
    "FewerSteps": "import neurokit as nk; assert nk.transform(nk.load('spiking_cnn'), ['fewer_steps']).time_steps == 2",
}


# Each example in a namespace of its own; one process for all of them, as PyTorch is imported in it.
EACH = """
import json, sys, traceback
for name, body in json.loads(sys.argv[1]):
    try:
        exec(compile(body, name, "exec"), {"__name__": name})
    except BaseException:
        sys.exit(f"{name}: {traceback.format_exc()}")
    print(name)
"""


def test_contributing_examples_run_as_they_stand(shell):
    bodies = fences("CONTRIBUTING.md", "python")
    examples = [(first_name(body), f"{body}\n{HOLDS.get(first_name(body), '')}") for body in bodies]
    assert shell(sys.executable, "-c", EACH, json.dumps(examples)).split() == [name for name, _ in examples]


def test_every_recipe_is_held():
    assert set(HOLDS) <= {first_name(body) for body in fences("CONTRIBUTING.md", "python")}


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
