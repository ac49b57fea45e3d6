"""Models of the registry and the target `aoti`: the rewritten program, with kernels, is verified without a compiler."""

import pytest

import neurokit as nk
from neurokit.spec import MODELS

from . import eager

# The second, which has no neurons, is compiled as it is; larger ones: test_kernels_in_packages.py.
SMALL = ("spiking_cnn", "ngram_encoder", pytest.param("sew_resnet18", marks=pytest.mark.slow))


@pytest.mark.parametrize("name", SMALL)
def test_the_rewritten_program_of_a_model_is_verified(name, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    captured = nk.capture(MODELS.get(name)().in_small())
    artifact = nk.lower(captured, "aoti", tmp_path / "a", verified=False, kernels="all")
    report = nk.verify(artifact)
    assert report.passed, report.notes
    rows = artifact.manifest.target_info["kernels"]
    assert all(row["kernel"] or row["reasons"] for row in rows), "a layer stays outside without a word"
    assert sum(row["neurons"] for row in rows) == len(artifact.manifest.neurons)
