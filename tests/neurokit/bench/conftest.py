"""Artifacts of a small network, exported once for all tests of the benchmark."""

import json
import shutil

import pytest

import neurokit as nk


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Folders of the small digits network by target."""
    captured = nk.capture(nk.load("spiking_cnn"), time_steps=4)
    out = tmp_path_factory.mktemp("artifacts")
    return {target: nk.lower(captured, target, out / target).path for target in ("onnx", "onnx-step")}


@pytest.fixture
def mismatched(artifacts, tmp_path):
    """A copy whose verification is on record as failed."""
    folder = tmp_path / "mismatched"
    shutil.copytree(artifacts["onnx"], folder)
    artifact = nk.Artifact.load(folder)
    report = {**artifact.manifest.parity, "verdict": "failed", "passed": False}
    artifact.with_parity(report)
    assert json.loads((folder / "manifest.json").read_text())["parity"]["verdict"] == "failed"
    return folder
