"""Modules whose forward takes a dict of tensors: ports by the names that it asks for."""

import numpy as np
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import InputError
from neurokit.loading import spec_of_module


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.meta, self.out = nn.Linear(10, 8), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, batch):
        return {"logits": self.out(torch.relu(self.image(batch["image"]) + self.meta(batch["meta"])))}


class Events(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.out = nn.Linear(10, 8), neuron.LIFNode(step_mode="m", v_threshold=0.3), nn.Linear(8, 3)

    def forward(self, batch):
        return self.out(self.lif(self.fc(batch["events"])))


class Either(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10, 3)

    def forward(self, x):
        return self.fc(x["image"] if isinstance(x, dict) else x)


def answers(artifact, feeds):
    session = onnxruntime.InferenceSession(artifact.path / "model.onnx")
    return session.run(None, {name: value.numpy() for name, value in feeds.items()})[0]


def test_ports_are_named_by_the_keys(tmp_path):
    feeds = {"image": torch.randn(3, 10), "meta": torch.randn(3, 4)}
    shapes = {"image": ("float32", (10,)), "meta": ("float32", (4,))}
    artifact = nk.lower(nk.capture(spec_of_module(Pictures().eval(), "net", shapes)), "onnx", tmp_path / "a")
    with torch.no_grad():
        wanted = Pictures().double()({name: value.double() for name, value in feeds.items()})["logits"]
    np.testing.assert_allclose(answers(artifact, feeds), wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_a_dict_of_one_sequence_with_neurons(tmp_path):
    x = torch.rand(4, 3, 10) * 3
    spec = spec_of_module(Events().eval(), "net", {"events": ("float32", (10,))}, 4)
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a")
    with torch.no_grad():
        wanted = Events().double()({"events": x.double()})
    np.testing.assert_allclose(answers(artifact, {"events": x}), wanted.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(10,), {"frames": ("float32", (10,))}])
def test_what_it_asks_for_is_named(shape):
    with pytest.raises(InputError, match=r"takes a dict and asks it for 'events'.*--input-shape events:float32:SIZES"):
        spec_of_module(Events().eval(), "net", shape, 4)


def test_a_forward_that_takes_a_tensor_as_well_is_given_one():
    captured = nk.capture(spec_of_module(Either().eval(), "net", (10,)))
    assert [port.name for port in captured.inputs] == ["input"]
