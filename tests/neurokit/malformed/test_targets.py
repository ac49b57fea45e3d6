"""Artifacts of other targets with something changed in one of their files: a verdict or one clear line."""

import random
import shutil

import pytest

import neurokit as nk
from neurokit.loading import load
from neurokit.target import TARGETS

from . import generated
from .conftest import LIMIT_S, MODEL
from .test_doors import _spoken, _there

FORMS = ("openvino", "openvino-step", "nir", "onnx-scan")
EDITS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes an artifact of a target once."""
    folder, found = tmp_path_factory.mktemp("targets"), {}
    (folder / "m.py").write_text(MODEL)

    def make(form):
        if form not in found:
            if TARGETS.get(form).info.missing():
                pytest.skip(f"{form} cannot be made here")
            captured = nk.capture(load(f"{folder}/m.py:net", (6,), 4))
            found[form] = nk.lower(captured, form, folder / form, verified=False).path
        return found[form]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("sealed", [False, True], ids=["as it is", "sealed again"])
@pytest.mark.parametrize("number", range(EDITS))
@pytest.mark.parametrize("form", FORMS)
def test_a_changed_artifact(made, tmp_path, monkeypatch, form, number, sealed):
    drawn = random.Random(f"{form} {number} {sealed}")
    shutil.copytree(made(form), tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    files = sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file())
    place = drawn.choice(files)
    sound = place.read_bytes()
    kind = "json" if place.name == "manifest.json" else "bytes"
    what = f"{place.name}: {generated.changed(place, kind, drawn)}"
    if sealed:
        generated.sealed_again(tmp_path / "a")
    before = _there(tmp_path)
    status, said, spent, out = _spoken(("verify", "a"))
    assert "Traceback" not in said + out, (what, said)
    assert status in (0, 1, 2), (what, status, said[-800:])
    assert sealed or status == 2 or place.read_bytes() == sound, (what, "it was taken")
    if status == 2:
        lines = [line for line in said.splitlines() if not line.startswith(("done ", "  - "))]
        assert [line.split(":")[0] for line in lines] == ["error", "expected", "fix"], (what, said[-800:])
        assert _there(tmp_path) == before
        assert spent < LIMIT_S, what
