"""Every test and network that the page of reported cases names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cases.md").read_text()


def test_every_named_test_exists():
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE))
    assert len(named) > 40
    missing = []
    for path, test in named:
        file = ROOT / path
        if not file.exists() or (test and not re.search(rf"^def {test}\(", file.read_text(), re.MULTILINE)):
            missing.append(f"{path}::{test}")
    assert not missing


def test_every_named_network_is_one_of_the_set():
    folder = ROOT / "tests/neurokit/capture/networks"
    defined = set(re.findall(r"^def (\w+)\(", "\n".join(f.read_text() for f in folder.glob("*.py")), re.MULTILINE))
    named = set(re.findall(r"network `(\w+)`", PAGE))
    assert len(named) > 40
    assert not named - defined


def test_every_row_names_a_test():
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| situation", "| network |", "| case"))
    ]
    assert len(rows) > 90
    assert not [row for row in rows if "`tests/" not in row and "network `" not in row]
