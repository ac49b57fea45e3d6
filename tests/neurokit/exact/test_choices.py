"""Choices, places, casts and windows in the exact form: on weights that lie on a grid, eager float64 bit for bit."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module
from neurokit.spec import ModelSpec, TensorSpec

T = 4


def on_grid(module, unit=0.125):
    """Weights that are whole numbers of one unit, so that the exact form has nothing to round."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randint(-12, 13, value.shape, generator=generator) * unit)
    return module.eval()


class Net(nn.Module):
    """Layers in front of one end each; an output by name."""

    def __init__(self, names):
        super().__init__()
        self.a, self.o, self.rest = nn.Linear(6, 8), nn.Linear(8, 3), nn.Parameter(torch.zeros(8))
        self.neurons = nn.ModuleDict({name: neuron.LIFNode(step_mode="m", v_threshold=0.5) for name in names})

    def forward(self, x):
        return {name: ENDS[name](self, n, x) for name, n in self.neurons.items()}


def _readout(net, n, x):
    return net.o(n(net.a(x)))


def _windows(net, n, x):
    h = n(net.a(x)).unflatten(-1, (1, 2, 4)).flatten(0, 1)
    return net.o(F.unfold(h, 3, padding=1).flatten(1)[:, 12:20].unflatten(0, x.shape[:2]))


def _gathered(net, n, x):
    y = _readout(net, n, x)
    return y.gather(-1, y.argmax(-1, keepdim=True))


def _logic(net, n, x):
    h = n(net.a(x))
    return net.o(torch.where(h.bool() & ~(net.a(x) > 1.0), h, -h))


def _chosen(net, n, x, other):
    return net.o(n(torch.where(net.a(x) > 0.25, net.a(x), other)))


ENDS = {
    "argmax": lambda net, n, x: _readout(net, n, x).argmax(-1),
    "argmin": lambda net, n, x: _readout(net, n, x).argmin(-1),
    "one_hot": lambda net, n, x: F.one_hot(_readout(net, n, x).argmax(-1), 3).to(x.dtype),
    "largest_over_time": lambda net, n, x: _readout(net, n, x).max(0)[0],
    "place_of_largest": lambda net, n, x: _readout(net, n, x).max(-1)[1],
    "gathered": _gathered,
    "where": lambda net, n, x: _chosen(net, n, x, -0.5),
    "where_parameter": lambda net, n, x: _chosen(net, n, x, net.rest),
    "where_full": lambda net, n, x: _chosen(net, n, x, torch.full_like(net.rest, -0.5)),
    "logic": _logic,
    "masked_fill": lambda net, n, x: net.o(n(net.a(x).masked_fill(net.a(x) < 0, -0.5))),
    "whole_numbers": lambda net, n, x: net.o(n((net.a(x) * 2).long().to(x.dtype))),
    "counts": lambda net, n, x: n(net.a(x)).sum(0).int(),
    "number_added": lambda net, n, x: net.o(n(net.a(x) + 0.375)),
    "unfold": lambda net, n, x: net.o(n(net.a(x)).unfold(-1, 4, 2).flatten(-2)[..., 2:10]),
    "windows": _windows,
    "too_wide": lambda net, n, x: net.o(n((net.a(x) * 64).to(torch.int8).to(x.dtype))),
}
GO = tuple(name for name in ENDS if name != "too_wide")
IN_C = tuple(name for name in GO if name not in ("gathered", "windows"))


def lowered(names, target, folder):
    captured = nk.capture(spec_of_module(on_grid(Net(names)), "net", (6,), T))
    return nk.lower(captured, target, folder, numerics="exact", calibration=given(16))


def given(batch):
    return torch.randint(0, 17, (T, batch, 6), generator=torch.Generator().manual_seed(1)) / 16


def wanted(names, x):
    with torch.no_grad():
        return {name: y.numpy() for name, y in on_grid(Net(names)).double()(x.double()).items()}


def test_onnx_gives_what_eager_float64_gives(tmp_path):
    artifact = lowered(GO, "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] == "exact"
    x = given(5)
    session = onnxruntime.InferenceSession(str(tmp_path / "a" / "model.onnx"))
    (port,) = session.get_inputs()
    found = session.run(None, {port.name: x.numpy()})
    for (name, want), ours in zip(wanted(GO, x).items(), found, strict=False):
        assert want.std() > 0, name
        np.testing.assert_array_equal(ours, want, name)


@pytest.mark.slow
def test_c_gives_what_eager_float64_gives(tmp_path):
    artifact = lowered(IN_C, "c", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] == "exact"
    x = given(5)
    with nk.open(artifact) as runner:
        found = runner({artifact.manifest.inputs[0].name: x.numpy()})
    for port, (name, want) in zip(artifact.manifest.outputs, wanted(IN_C, x).items(), strict=True):
        assert found[port.name].dtype == port.dtype
        np.testing.assert_array_equal(found[port.name], want, name)


def test_what_a_type_does_not_hold_is_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedError, match=r"to: sum: .*is no sum of products"):
        lowered(["too_wide"], "onnx", tmp_path / "a")
    assert not (tmp_path / "a").exists()


class Ties(nn.Module):
    """Equal sums: the same weights for several classes."""

    def __init__(self):
        super().__init__()
        self.o = nn.Linear(6, 4, bias=False)
        with torch.no_grad():
            self.o.weight.copy_(torch.tensor([[-1.0], [0.5], [0.5], [0.5]]).expand(4, 6))

    def forward(self, x):
        return self.o(x).argmax(-1)


@pytest.mark.parametrize("target", ["onnx", "c"])
def test_of_equal_sums_the_first_is_taken(target, tmp_path):
    spec = nk.ModelSpec("ties", lambda: Ties().eval(), (nk.TensorSpec("x", (6,)),))
    x = torch.randint(0, 3, (7, 6), generator=torch.Generator().manual_seed(2)).float()
    x[0] = 0
    artifact = nk.lower(nk.capture(spec), target, tmp_path / "a", numerics="exact", calibration=x / 2)
    with nk.open(artifact) as runner:
        np.testing.assert_array_equal(runner((x / 2).numpy()), [0, *[1] * 6])


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.places = nn.Embedding(20, 12), nn.Parameter(torch.randn(6, 12))
        self.fc, self.lif, self.out = nn.Linear(12, 16), neuron.LIFNode(step_mode="m"), nn.Linear(16, 3)

    def forward(self, ids):
        h = 2 * (self.rows(ids) + self.places)
        return self.out(self.lif(self.fc(h[None].repeat(4, 1, 1, 1))).sum(2)).mean(0)


def test_rows_that_token_ids_choose_are_constants_on_a_grid(tmp_path):
    ports = (TensorSpec("ids", (6,), "int64", low=0, high=19),)
    ids = torch.randint(0, 20, (8, 6), generator=torch.Generator().manual_seed(1))
    spec = ModelSpec("words", lambda: on_grid(Words()), ports, time_steps=4, time_input="image")
    form = nk.exact(nk.capture(spec), ids)
    assert form.proof.status == "exact"
    artifact = nk.lower(form, "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] == "exact"
    found = onnxruntime.InferenceSession(artifact.path / "model.onnx").run(None, {"ids": ids.numpy()})[0]
    with torch.no_grad():
        wanted = on_grid(Words()).double()(ids).numpy()
    assert wanted.std() > 0
    np.testing.assert_array_equal(found, wanted)
