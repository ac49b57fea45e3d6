"""The calibration table: twenty published points or more, nine of ten inside, and the page as the script makes it."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_nine_of_ten_published_points_are_inside_and_the_page_is_current():
    script = runpy.run_path(str(ROOT / "benchmarks" / "calibration.py"))
    points = script["points"]()
    assert len(points) >= 20
    assert sum(point.inside for point in points) / len(points) >= 0.9
    assert script["table"](points) == (ROOT / "docs" / "calibration.md").read_text()
