"""Several outputs, each with its own shape, time axis and reduction over the steps, in every ONNX form."""

import json

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.loading import spec_of_module


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = layer.Linear(6, 8, step_mode="m"), neuron.LIFNode(v_threshold=0.5, step_mode="m")
        self.out = layer.Linear(8, 3, step_mode="m")
        with torch.no_grad():
            self.fc.weight.mul_(4)

    def forward(self, x):
        spikes = self.lif(self.fc(x))
        y = self.out(spikes)
        return {"rate": y.mean(0), "steps": spikes, "count": spikes.sum(0), "end": y[-1], "peak": y.max(0).values}


KINDS = {"rate": "mean", "steps": "sequence", "count": "sum", "end": "last", "peak": "max"}
X = torch.rand(5, 3, 6, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def captured():
    return nk.capture(spec_of_module(Heads().eval(), "heads", (6,), 5))


def test_each_output_is_told_apart(captured):
    assert dict(zip(captured.output_names, captured.output_kinds, strict=True)) == KINDS
    assert [port.time_axis for port in captured.outputs] == [None, 0, None, None, None]


@pytest.mark.parametrize("form", ["onnx", "onnx-step"])
def test_an_artifact_of_it(captured, form, tmp_path):
    pytest.importorskip("onnxruntime")
    artifact = nk.lower(captured, form, tmp_path / "a")
    said = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert said["target_info"]["time_output"] == ",".join(KINDS.values())
    assert [port["time_axis"] for port in said["graphs"][0]["outputs"]][1] == (0 if form == "onnx" else None)
    with nk.open(artifact) as run:
        found = run({said["graphs"][0]["inputs"][0]["name"]: X.numpy()})
    with torch.no_grad():
        wanted = Heads().eval()(X)
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    for name, value in wanted.items():
        assert found[name].shape == tuple(value.shape)
        assert np.abs(found[name] - value.numpy()).max() <= 1e-5
