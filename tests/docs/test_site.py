"""The site builds without a network, every link leads somewhere, and nothing is fetched when it is read."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a link that leads nowhere, or a name that mkdocstrings does not find, fails the build."""
    folder = tmp_path_factory.mktemp("site")
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nobody listens there
    env = {**os.environ, **proxy, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_every_public_name_and_command_has_an_entry(site):
    import neurokit
    from neurokit.cli import COMMANDS

    api = (site / "reference/python.html").read_text()
    missing = [name for name, module in neurokit._PUBLIC.items() if f'id="{module}.{name}"' not in api]
    assert missing == []
    commands = (site / "reference/command-line.html").read_text()
    assert [name for name, _ in COMMANDS if f'id="{name}"' not in commands] == []


def test_every_chip_has_a_card(site):
    from neurokit.hw_sim.chips.file import chip_names

    cards = (site / "reference/chips.html").read_text()
    assert [name for name in chip_names() if f'id="{name}"' not in cards] == []


def test_a_reader_needs_no_network(site):
    loads = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\" >]+)")
    fetched = {url for page in site.rglob("*.html") for url in loads.findall(page.read_text())}
    assert fetched == set()


def test_every_page_of_the_folder_is_in_the_navigation():
    named = re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert pages - set(named) == set()


@pytest.mark.parametrize(
    "path",
    ["action.yml", "CITATION.cff", *(f".github/ISSUE_TEMPLATE/{n}.yml" for n in ("wrong-answer", "refused", "figure"))],
)
def test_what_other_tools_read_is_yaml(path):
    assert yaml.safe_load((ROOT / path).read_text())


def test_the_action_calls_commands_as_they_are():
    """Every option that the composite action gives is one of the command's."""
    from typer.main import get_command

    from neurokit.cli import build_app

    commands = get_command(build_app()).commands
    lines = [step["run"] for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]]
    calls = re.findall(r"neurokit (\w+)([^\n;]*)", "\n".join(lines))
    assert {name for name, _ in calls} == {"export", "verify", "bench"}
    for name, rest in calls:
        known = {flag for parameter in commands[name].params for flag in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known, name
