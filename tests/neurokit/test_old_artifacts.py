"""Artifacts that neurokit 0.1 wrote, committed as they were: they open, run, verify, and are measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import neurokit as nk
from neurokit.bench.folder import Folder, read_vectors
from neurokit.bench.job import Job, Rules
from neurokit.bench.measure import measure
from neurokit.bench.subjects import find_subject
from neurokit.errors import ArtifactError
from neurokit.parity.vectors import Vectors

FIXTURE = Path(__file__).parents[1] / "fixtures" / "artifact-0.1"
FORMS = ("onnx", "onnx-step")


@pytest.fixture
def old(tmp_path, request):
    return Path(shutil.copytree(FIXTURE / request.param, tmp_path / request.param))


def test_the_fixture_is_of_version_1():
    for form in FORMS:
        data = json.loads((FIXTURE / form / "manifest.json").read_text())
        assert (data["schema_version"], "graphs" in data) == (1, False)


@pytest.mark.parametrize("old", FORMS, indirect=True)
def test_it_opens_runs_and_verifies(old):
    artifact = nk.Artifact.load(old)
    (graph,) = artifact.manifest.graphs
    assert (graph.name, graph.file, artifact.manifest.runtime) == ("model", "model.onnx", "onnxruntime")
    assert graph.inputs[0].shape == (*([4] if artifact.manifest.form == "sequence" else []), "B", 1, 8, 8)
    with np.load(old / "vectors.npz") as kept:
        x, wanted = kept["x"], kept["y0"]
    with nk.open(artifact) as runner:
        np.testing.assert_array_equal(runner(x), wanted)
        np.testing.assert_array_equal(runner({"x": x})["y"], wanted)
    assert nk.verify(artifact).verdict == "benign rounding"  # and writes the verdict down, in the present form
    again = nk.Artifact.load(old)
    assert again.manifest.schema_version == 2
    assert nk.verify(again).verdict == "benign rounding"
    assert list(Vectors.of(again).feeds) == ["x"]


def test_its_file_alone_in_onnxruntime_agrees_with_its_vectors():
    with np.load(FIXTURE / "onnx" / "vectors.npz") as kept:
        (y,) = ort.InferenceSession(str(FIXTURE / "onnx" / "model.onnx")).run(None, {"x": kept["x"]})
        np.testing.assert_array_equal(y, kept["y0"])


@pytest.mark.parametrize("old", FORMS, indirect=True)
def test_a_device_reads_it_without_pydantic(old):
    folder = Folder.load(old)
    assert [port.name for port in folder.manifest.inputs] == ["x"]
    assert folder.manifest.runtime == "onnxruntime"
    assert bool(folder.manifest.states) == (folder.manifest.form == "step")
    assert list(read_vectors(old / "vectors.npz", "x").feeds) == ["x"]


@pytest.mark.parametrize("old", ["onnx"], indirect=True)
def test_it_is_measured(old):
    rules = Rules(seconds=0.01, samples=1, warm_up_runs=1, warm_up_s=0.01)
    job = Job("artifact", str(old), rules=rules, meter="none")
    row = measure(find_subject(job), job)
    assert row["output_error"] == 0.0
    assert row["samples_s"]


@pytest.mark.parametrize("old", ["onnx"], indirect=True)
def test_what_was_changed_in_it_is_noticed_by_its_own_digest(old):
    text = (old / "manifest.json").read_text()
    (old / "manifest.json").write_text(text.replace('"time_steps": 4', '"time_steps": 5'))
    with pytest.raises(ArtifactError, match="digest mismatch"):
        nk.Artifact.load(old)
