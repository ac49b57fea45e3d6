"""Searches for garbage: none where they are put off, few in a process that runs one command."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from neurokit import garbage


@pytest.fixture
def searches():
    """Returns how many searches making many objects that stay costs; the collector is afterwards as it was."""
    was, on = gc.get_threshold(), gc.isenabled()
    gc.enable()
    gc.set_threshold(700, 10, 10)  # Python's own

    def count():
        before = sum(one["collections"] for one in gc.get_stats())
        kept = [[] for _ in range(200_000)]
        return sum(one["collections"] for one in gc.get_stats()) - before if kept else 0

    yield count
    gc.set_threshold(*was)
    (gc.enable if on else gc.disable)()


def test_none_while_it_is_put_off(searches):
    with garbage.put_off():
        assert searches() == 0
    assert searches() > 0


def test_a_collector_that_was_off_stays_off(searches):
    gc.disable()
    with garbage.put_off():
        pass
    assert not gc.isenabled()


def test_few_in_a_process_that_runs_one_command(searches):
    usual = searches()
    garbage.search_rarely()
    assert 0 < searches() < usual / 20


@pytest.mark.parametrize(("given", "rarely"), [("", True), ("['--version']", False)])
def test_a_command_searches_rarely_and_a_caller_as_it_likes(given, rarely):
    code = f"""
import gc, sys
from neurokit.cli import main
sys.argv[1:] = ["--version"]
was = gc.get_threshold()
main({given})
print(gc.get_threshold() != was)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(rarely)
