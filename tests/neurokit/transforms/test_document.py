"""The page on calibration is what the registry says."""

from pathlib import Path

from neurokit.transforms.document import page

ROOT = Path(__file__).parents[3]


def test_the_page_is_written_from_the_registry():
    written = (ROOT / "docs" / "attention-calibration.md").read_text(encoding="utf-8")
    assert written == page(), "run: make catalogue"
