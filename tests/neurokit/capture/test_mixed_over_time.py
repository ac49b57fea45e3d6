"""Several outputs, each with its own shape, time axis and reduction over the steps, in every ONNX form."""

import json

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
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


class Quiet(nn.Module):
    """Outputs of a layer that no input wakes; what they are over time is the same."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = layer.Linear(6, 8, step_mode="m"), neuron.LIFNode(v_threshold=1e4, step_mode="m")

    def forward(self, x):
        spikes = self.lif(self.fc(x))
        return {"rate": spikes.mean(0), "count": spikes.sum(0), "end": spikes[-1], "any": spikes.amax(0)}


def test_outputs_of_a_silent_layer_are_told_apart():
    captured = nk.capture(spec_of_module(Quiet().eval(), "quiet", (6,), 5))
    assert captured.output_kinds == ("mean", "sum", "last", "max")


class Classes(Quiet):
    def forward(self, x):
        return super().forward(x)["count"].argmax(-1)


class FewClasses(Heads):
    """One class of three fires, seldom: the class of the sum is mostly the largest class of the steps."""

    def __init__(self):
        super().__init__()
        self.lif.v_threshold = 2.0

    def forward(self, x):
        return self.lif(self.fc(x))[..., :3].sum(0).argmax(-1)


@pytest.mark.parametrize("kind", [Classes, FewClasses])
def test_the_class_of_a_sum_is_none_of_its_steps_however_quiet(kind, tmp_path):
    captured = nk.capture(spec_of_module(kind().eval(), "classes", (6,), 5))
    assert captured.output_kinds == ("auto",)
    with pytest.raises(UnsupportedError, match="neither one per step nor the mean, sum, last or maximum"):
        nk.lower(captured, "onnx-step", tmp_path / "a")


class LargestSoFar(nn.Module):
    """A leaky readout by hand that only grows on inputs of its range: its largest value is its last one there."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(6, 3), neuron.LIFNode(v_threshold=1e-3, step_mode="m")
        with torch.no_grad():
            self.fc.weight.abs_()

    def forward(self, x):
        v, seen, spikes = torch.zeros_like(x[0, :, :3]), [], self.lif(x)
        for t in range(len(x)):
            v = 0.9 * v + self.fc(spikes[t])
            seen.append(v)
        return torch.log_softmax(torch.stack(seen).amax(0), -1)


def test_what_is_the_last_step_within_the_range_alone_is_not_the_last_step(tmp_path):
    captured = nk.capture(spec_of_module(LargestSoFar().eval(), "largest", (6,), 5))
    with pytest.raises(UnsupportedError, match="neither one per step nor the mean"):
        nk.lower(captured, "onnx-step", tmp_path / "a")


class HalfAndSingle(Heads):
    """Two element types in one network, which float64 throughout does not fit."""

    def __init__(self):
        super().__init__()
        self.fc.half()

    def forward(self, x):
        return self.out(self.lif(self.fc(x.half()).float())).mean(0)


def test_an_output_of_a_network_of_two_types_is_told(tmp_path):
    captured = nk.capture(spec_of_module(HalfAndSingle().eval(), "two", (6,), 5))
    assert captured.output_kinds == ("mean",)
    assert nk.lower(captured, "onnx-step", tmp_path / "a").manifest.parity["verdict"] != "failed"
