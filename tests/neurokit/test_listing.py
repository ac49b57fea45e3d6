"""Listings say what is missing, a library of which one of several would do included."""

import pytest

from neurokit import listing, target


@pytest.mark.parametrize(("installed", "missing"), [((), ["tensorrt or tensorrt_rtx"]), (("tensorrt_rtx",), [])])
def test_one_of_several_libraries_is_enough(installed, missing, monkeypatch):
    real, pretended = target.find_spec, ("tensorrt", "tensorrt_rtx")
    found = lambda name: (name if name in installed else None) if name in pretended else real(name)  # noqa: E731
    monkeypatch.setattr(target, "find_spec", found)
    row = next(row for row in listing.targets()[0] if row["name"] == "tensorrt")
    assert [name for name in row["missing"] if "tensorrt" in name] == missing
    assert bool(row["install"]) == bool(row["missing"])


@pytest.mark.parametrize("kind", listing.KINDS)
def test_every_kind_has_rows_with_names_and_a_line(kind):
    rows, broken = listing.KINDS[kind]()
    assert broken == {}
    assert rows
    assert all(row["name"] and (row.get("summary") or row.get("description")) for row in rows)
