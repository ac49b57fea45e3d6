"""What `doctor` and `targets` say of an option whose libraries are not all there."""

from __future__ import annotations

import json
import sys
import types

import pytest

from neurokit import cli, doctor, listing


@pytest.mark.parametrize(
    ("installed", "state", "detail"),
    [
        (None, "missing", "tensorrt is missing, and tensorrt_rtx takes no plugins"),
        ({}, "missing", "10.9 was the first"),
        ({"QuickPluginCreationRequest": object}, "ok", "Triton"),
    ],
)
def test_doctor_on_the_tensorrt_plugin(installed, state, detail, monkeypatch):
    pytest.importorskip("triton")
    if installed is None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)  # which makes the import fail
    else:
        library = types.ModuleType("tensorrt")
        vars(library).update(installed, __version__="10.8.0")
        monkeypatch.setitem(sys.modules, "tensorrt", library)
    check = next(check for check in doctor.examine() if check.name == "tensorrt plugin")
    assert check.state == state
    assert detail in check.detail
    assert bool(check.install) == (state != "ok")


def test_targets_on_an_option(monkeypatch, capsys):
    monkeypatch.setattr(listing, "_installed", lambda library: library != "tensorrt")
    assert cli.main(["targets", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["targets"]}
    assert rows["tensorrt"]["optional"] == {"lif_plugin": ["tensorrt"]}
    assert rows["tensorrt"]["missing"] == []
    assert rows["onnx"]["optional"] == {}
    assert cli.main(["targets"]) == 0
    assert "lif_plugin lacks" in " ".join(capsys.readouterr().out.split())
