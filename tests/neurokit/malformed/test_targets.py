"""Artifacts of other targets with something changed in one of their files: a verdict or one clear line."""

import contextlib
import random
import shutil

import pytest

import neurokit as nk
from neurokit.errors import NeurokitError
from neurokit.loading import load
from neurokit.target import TARGETS

from . import generated
from .conftest import LIMIT_S, MODEL
from .test_doors import _spoken, _there

FORMS = ("openvino", "openvino-step", "nir", "onnx-scan", "litert", "litert-step", "aoti", "c")
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
            numerics = TARGETS.get(form).info.numerics[0]
            found[form] = nk.lower(captured, form, folder / form, numerics=numerics, verified=False).path
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
        _trusted(tmp_path / "a", place.name, form)
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


def _trusted(folder, name, form):
    """Lets the checks behind trust see a change: but in what C runs by, which is run in this process and may end it."""
    if form == "c" and name != "vectors.npz":
        return
    with contextlib.suppress(NeurokitError):
        nk.trust(folder)


@pytest.mark.slow
def test_compiled_code_with_a_byte_turned_is_not_run(made, tmp_path, monkeypatch):
    """A package's own sums hold where the manifest's were made right again."""
    sound = made("aoti")
    for name in ("model.pt2", "probe.pt2"):
        folder = tmp_path / name
        shutil.copytree(sound, folder)
        content = bytearray((folder / name).read_bytes())
        for at in range(len(content) // 4, len(content) // 2, 997):
            content[at] ^= 0xFF
        (folder / name).write_bytes(content)
        generated.sealed_again(folder)
        status, said, _, _ = _spoken(("verify", str(folder)))
        assert status == 2
        assert "neurokit trust" in said
        nk.trust(folder)
        status, said, _, _ = _spoken(("verify", str(folder)))
        assert status == 2
        assert f"{name}: " in said
        assert "damaged" in said or "no whole package" in said
