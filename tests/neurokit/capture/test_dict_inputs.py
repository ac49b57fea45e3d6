"""Modules whose forward takes a dict of tensors: ports by the names that it asks for."""

from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.errors import InputError, UnsupportedError
from neurokit.export.onnx.convert import onnx_from_captured
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


class Nested(nn.Module):
    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.how, self.left, self.right = how, nn.Linear(10, 3), nn.Linear(4, 3)

    def add(self, left, right):
        return self.left(left) + self.right(right)

    def forward(self, batch):
        if self.how == "nested":
            return self.add(batch["events"]["left"], batch["meta"][0])
        if self.how == "object":
            return self.add(batch.left, batch.right)
        if self.how == "keywords":
            return self.add(**batch)
        left, right = batch
        return self.add(left, right["right"] if self.how == "tuple" else right)


ARGUMENTS = {
    "nested": (("left", "meta.0"), lambda a, b: {"events": {"left": a}, "meta": [b]}),
    "object": (("left", "right"), lambda a, b: SimpleNamespace(left=a, right=b)),
    "keywords": (("left", "right"), lambda a, b: {"left": a, "right": b}),
    "list": (("first", "second"), lambda a, b: [a, b]),
    "tuple": (("first", "second.right"), lambda a, b: (a, {"right": b})),
}


class Some(nn.Module):
    """Reads some of its dict."""

    def __init__(self, *read):
        super().__init__()
        self.read, self.fc = read, nn.Linear(10, 3)

    def forward(self, batch):
        return sum(self.fc(batch[name]) for name in self.read) if self.read else self.fc.weight.sum(0, keepdim=True)


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


@pytest.mark.parametrize("how", ARGUMENTS)
def test_parts_of_nested_arguments_are_inputs(how):
    names, argument = ARGUMENTS[how]
    shapes = dict(zip(names, (("float32", (10,)), ("float32", (4,))), strict=True))
    captured = capture(spec_of_module(Nested(how).eval(), "net", shapes), compare=True)
    assert tuple(port.name for port in captured.inputs) == names
    given = torch.randn(3, 10), torch.randn(3, 4)
    session = onnxruntime.InferenceSession(ir.to_proto(onnx_from_captured(captured)).SerializeToString())
    (found,) = session.run(None, {name: value.numpy() for name, value in zip(names, given, strict=True)})
    with torch.no_grad():
        wanted = Nested(how).double()(argument(*(value.double() for value in given)))
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("read", "names", "line"),
    [
        (("x",), "xy", "reads x of what it is given, and not y.*fix: leave y away"),
        ((), "xy", "reads nothing of what it is given, and not x, y"),
        ((), "x", r"its outputs depend on none of its inputs \(x\)"),
    ],
)
def test_what_is_not_read_is_no_input(read, names, line):
    with pytest.raises((InputError, UnsupportedError), match=line):
        capture(spec_of_module(Some(*read).eval(), "net", dict.fromkeys(names, ("float32", (10,)))))


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
