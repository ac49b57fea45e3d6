"""An int8 artifact is held to what export measured against the float model, on samples that it keeps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import neurokit as nk
from neurokit.artifact import write_artifact
from neurokit.export.onnx.calibrated import SAMPLES_FILE, distance
from neurokit.spec import ModelSpec, TensorSpec


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(128, 10)),
    ).eval()


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(64, 1, 8, 8, generator=generator) ** 2


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    captured = nk.capture(ModelSpec("small", build, (TensorSpec("x", (1, 8, 8)),)))
    return nk.lower(captured, "onnx-int8", tmp_path_factory.mktemp("int8") / "a", calibration=data())


def edited(artifact, out, name, change):
    model = onnx.load(str(artifact.file("model.onnx")))
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    kept = {file: artifact.file(file).read_bytes() for file in ("vectors.npz", SAMPLES_FILE)}
    with write_artifact(out) as draft:
        onnx.save(model, str(draft.path / "model.onnx"))
        for file, content in kept.items():
            (draft.path / file).write_bytes(content)
        draft.manifest = artifact.manifest.model_copy(update={"files": {}, "parity": None})
    return draft.artifact


def swapped(w):
    return np.concatenate((w[1:2], w[:1], w[2:]))


def three_bits(w):
    return (np.round(w / 32.0) * 32).clip(-127, 127).astype(w.dtype)


FAULTS = {
    "two channels swapped": ("3.weight_quantized", swapped),
    "three bits": ("6.weight_quantized", three_bits),
    "a scale 20 % larger": ("0.weight_scale", lambda w: w * np.float32(1.2)),
    "a scale 5 % larger": ("6.weight_scale", lambda w: w * np.float32(1.05)),
}


def test_the_sound_artifact_passes_and_says_how_far_it_is_off(artifact):
    report = nk.verify(artifact, record=False)
    assert report.verdict == "within tolerance", report.notes
    assert any("on 16 calibration samples, as export measured" in note for note in report.notes)


def test_the_samples_hold_what_the_float_model_answers(artifact):
    with np.load(artifact.file(SAMPLES_FILE)) as kept:
        with torch.no_grad():
            answers = build()(torch.from_numpy(kept["x0"])).numpy()
        np.testing.assert_array_equal(kept["x0"], data()[:16].numpy())
        np.testing.assert_allclose(kept["float0"], answers, atol=1e-5)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(artifact, tmp_path, fault):
    name, change = FAULTS[fault]
    named = next(t.name for t in onnx.load(str(artifact.file("model.onnx"))).graph.initializer if t.name.endswith(name))
    report = nk.verify(edited(artifact, tmp_path / "broken", named, change), record=False)
    assert report.verdict == "failed"
    assert any("and export measured" in note for note in report.notes)


def test_a_distance_is_infinite_where_numbers_are_lost():
    assert distance(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == float("inf")
    assert distance(np.ones((1, 2)), np.ones(2)) == float("inf")
    assert distance(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == pytest.approx(4.0 / 3.0)
