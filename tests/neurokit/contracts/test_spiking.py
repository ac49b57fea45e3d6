"""Spiking networks with two inputs and two outputs, in every form; SpikingJelly's own steps are the judge."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec

T = 4


class Two(nn.Module):
    def __init__(self, reduced=False):
        super().__init__()
        self.left, self.right, self.out = nn.Linear(6, 8), nn.Linear(4, 8), nn.Linear(8, 3)
        self.fire = neuron.LIFNode(step_mode="m", v_threshold=0.3)
        self.reduced = reduced

    def forward(self, left, right):
        spikes = self.fire(self.left(left) + self.right(right))
        return {"spikes": spikes.mean(0) if self.reduced else spikes, "out": self.out(spikes)}


def build(reduced=False):
    torch.manual_seed(0)
    return Two(reduced).eval()


def spec(reduced=False):
    ports = (TensorSpec("left", (6,), layout="F"), TensorSpec("right", (4,), layout="F"))
    return ModelSpec("two", lambda: build(reduced), ports, time_steps=T)


@pytest.fixture(scope="module")
def captured():
    return nk.capture(spec())


@pytest.mark.parametrize("form", ["onnx", "onnx-scan", "onnx-step"])
def test_two_inputs_and_two_outputs_over_time(form, captured, tmp_path):
    artifact = nk.lower(captured, form, tmp_path / form)
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    rng = np.random.default_rng(3)
    feeds = {"left": rng.random((T, 2, 6), np.float32), "right": rng.random((T, 2, 4), np.float32)}
    net = build()
    with torch.no_grad():
        wanted = net(*(torch.from_numpy(value) for value in feeds.values()))
    functional.reset_net(net)
    with nk.open(artifact) as runner:
        found = runner(feeds)
    assert 0.05 < float(wanted["spikes"].mean()) < 0.95
    np.testing.assert_array_equal(found["spikes"], wanted["spikes"])
    np.testing.assert_allclose(found["out"], wanted["out"], rtol=1e-4, atol=1e-5)
    if form != "onnx-step":
        session = ort.InferenceSession(str(artifact.path / "model.onnx"))
        np.testing.assert_array_equal(session.run(["spikes"], feeds)[0], wanted["spikes"])


def test_outputs_may_differ_over_time():
    captured = nk.capture(spec(reduced=True))
    kinds = dict(zip(captured.output_names, captured.output_kinds, strict=True))
    assert kinds["out"] == "sequence"
    assert kinds["spikes"] in ("mean", "sum", "last")
    assert {port.name: port.time_axis for port in captured.outputs} == {"out": 0, "spikes": None}
