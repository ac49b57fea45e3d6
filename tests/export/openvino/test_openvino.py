"""OpenVINO's targets: verified by OpenVINO itself, held against ONNX Runtime, and failing where a fault is planted."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.bench.job import Job
from neurokit.bench.subjects import host_subject
from neurokit.errors import InputError, UnsupportedError
from neurokit.target import LowerOptions, check_request

pytest.importorskip("openvino", reason='needs pip install "neurokit-edge[openvino]"')

from ...neurokit.exact.nets import NEURONS, make_net

X = torch.rand(3, 2, 2, 6, 6, generator=torch.Generator().manual_seed(1))
IMAGES = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def captured():
    return nk.capture(make_net(["residual"], NEURONS["lif"]), X)


@pytest.fixture(scope="module")
def sequence(captured, tmp_path_factory):
    return nk.lower(captured, "openvino", tmp_path_factory.mktemp("ov") / "a", inputs=X[:, :1])


def cnn():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 5)
    return nk.capture(nn.Sequential(*layers).eval(), IMAGES[:2])


def test_a_sequence_is_verified_layer_by_layer_and_answers_as_onnx_runtime(captured, sequence, tmp_path):
    parity = sequence.manifest.parity
    assert parity["verdict"] in ("exact", "benign rounding")
    assert len(parity["layers"]) == len(captured.neurons)
    assert all(layer["covering_error"] is not None for layer in parity["layers"])
    other = nk.lower(captured, "onnx", tmp_path / "o", verified=False)
    with nk.open(sequence) as mine, nk.open(other) as theirs:
        assert np.allclose(mine(X.numpy()), theirs(X.numpy()), atol=1e-5)
    assert "neurokit" not in {node.domain for node in onnx.load(sequence.file("model.flat.onnx")).graph.node}


def test_steps_are_those_of_the_sequence(captured, sequence, tmp_path):
    artifact = nk.lower(captured, "openvino-step", tmp_path / "s", inputs=X[:, :1])
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    with nk.open(artifact) as steps, nk.open(sequence) as whole:
        wanted = whole(X.numpy())
        assert np.allclose(steps(X.numpy()), wanted, atol=1e-5)
        steps.reset(2)
        found = np.stack([steps.step(x) for x in X.numpy()])
        assert np.allclose(found.mean(0), wanted, atol=1e-5)
        with pytest.raises(InputError, match="streams"):
            steps.step(X[0, :1].numpy())


def test_a_planted_fault_fails(sequence, tmp_path):
    import shutil

    from neurokit.artifact import file_info

    folder = tmp_path / "a"
    shutil.copytree(sequence.path, folder)
    changed = {}
    for name in ("model.onnx", "model.flat.onnx"):
        model = onnx.load(folder / name)
        weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
        value = numpy_helper.to_array(weight).copy()
        value[0, 0, 1, 1] += 0.05
        weight.CopyFrom(numpy_helper.from_array(value, weight.name))
        onnx.save(model, folder / name)
        changed[name] = file_info(folder / name)
    manifest = sequence.manifest.model_copy(update={"files": {**sequence.manifest.files, **changed}})
    artifact = dataclasses.replace(sequence, path=folder, manifest=manifest)
    assert nk.verify(artifact, record=False).verdict == "failed"


def test_int8_is_held_to_what_export_measured(tmp_path):
    artifact = nk.lower(cnn(), "openvino-int8", tmp_path / "q", calibration=IMAGES)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert 0 < artifact.manifest.target_info["against_float"]["output_relative_l2"] < 0.1
    with nk.open(artifact) as runner:
        assert runner(IMAGES[:3].numpy()).shape == (3, 5)


def test_nothing_is_reported_to_the_maker(tmp_path):
    """Both libraries count their use in the user's home, and report it, where they find the library for that."""
    code = (
        "from neurokit.export.openvino.session import core, report_nothing; core(); report_nothing(); "
        "import nncf; from nncf.telemetry.wrapper import telemetry; print(type(telemetry).__name__)"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["MagicMock"]
    assert not (tmp_path / "intel").exists()


def test_options_and_models_that_do_not_fit_are_refused(captured, tmp_path):
    with pytest.raises(InputError, match="no option 'speed'"):
        check_request("openvino", LowerOptions(extra={"speed": 1}))
    with pytest.raises(UnsupportedError, match="no step"):
        nk.lower(cnn(), "openvino-step", tmp_path / "a")


class Determinant(nn.Module):
    def forward(self, x):
        return torch.linalg.det(x)


def test_an_operator_that_openvino_lacks_is_refused_and_leaves_nothing(tmp_path):
    captured = nk.capture(Determinant(), IMAGES[:2, 0, :3, :3])
    with pytest.raises(UnsupportedError, match="Det"):
        nk.lower(captured, "openvino", tmp_path / "a", verified=False)
    assert not (tmp_path / "a").exists()


def test_a_rare_neuron_keeps_its_state_in_steps(tmp_path):
    torch.manual_seed(0)
    layers = nn.Linear(6, 10), neuron.QIFNode(step_mode="m"), nn.Linear(10, 4), neuron.IFNode(step_mode="m")
    x = torch.rand(5, 2, 6)
    artifact = nk.lower(nk.capture(nn.Sequential(*layers), x), "openvino-step", tmp_path / "q", inputs=x[:, :1])
    assert artifact.manifest.parity["passed"]


@pytest.mark.slow  # a language model's verification
def test_a_language_model_writes_what_onnx_runtime_writes(tmp_path):
    captured, prompt = nk.capture(nk.load("tiny_lm")), [[5, 3, 7, 1]]
    text = nk.lower(captured, "openvino-step", tmp_path / "t")
    assert text.manifest.parity["passed"]
    other = nk.lower(captured, "onnx-step", tmp_path / "o", verified=False)
    assert nk.generate(text, prompt, tokens=6)[0].tokens == nk.generate(other, prompt, tokens=6)[0].tokens


def test_a_benchmark_runs_it_with_the_threads_that_were_asked_for(sequence):
    job = Job("artifact", str(sequence.path), threads=1)
    subject = host_subject(sequence, job)
    with subject.open() as runner:
        assert runner.providers == ["OpenVINO CPU"]
        assert np.allclose(runner(subject.x), subject.expected, atol=1e-5)
