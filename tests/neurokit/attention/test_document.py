"""The page on attention is what the registry says, and other distributions can add to it."""

from pathlib import Path

from neurokit.attention.document import page

ROOT = Path(__file__).parents[3]


def test_the_page_is_written_from_the_registry():
    assert (ROOT / "docs" / "attention.md").read_text(encoding="utf-8") == page(), "run: make catalogue"
