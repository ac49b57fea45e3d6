"""Weights that no run of the reference reads are those without a gradient in any run."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.parity.reads import Reads, joined
from neurokit.parity.vectors import FILE, Vectors
from neurokit.spec import ModelSpec, TensorSpec


class Kinds(nn.Module):
    """Every linear operation with a weight, behind a channel that is 0 throughout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.grouped = nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(1, 0), groups=2)
        self.wide = nn.Conv2d(4, 2, 3, padding="same", dilation=2)
        self.turned = nn.ConvTranspose2d(4, 2, 2)
        self.across = nn.Parameter(torch.randn(2, 3))
        self.last = nn.Linear(4, 3)
        with torch.no_grad():
            self.first.bias[1] = -1e6  # its rectified output is 0

    def forward(self, x):
        h = torch.relu(self.first(x))
        kinds = [self.grouped(h), self.wide(h), self.turned(h), self.across.T @ h[:, :2].flatten(2)]
        return [*kinds, self.last(h.movedim(1, -1))]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 3), (9, 8)])
def test_weights_that_are_not_read_have_no_gradient(shape):
    module, reads = Kinds().eval(), Reads()
    x = torch.rand(3, 2, *shape)
    graph = torch.export.export(module, (x,)).module()
    from neurokit.capture.reference import record

    record(graph, (x,), watch=reads)
    torch.manual_seed(2)
    sum((y * torch.rand_like(y)).sum() for y in module(x)).backward()
    found = {entry.weight: entry for entry in reads.unread(joined([reads]))}
    for name, weight in module.named_parameters():
        if "bias" in name or name.startswith("first"):  # what lies before a rectifier is read without a gradient
            continue
        unread = int((weight.grad == 0).sum())
        assert (found[name].in_all if name in found else 0) == unread, name
    assert 1 in found["last.weight"].inputs


@pytest.mark.parametrize("zeros", [(), (0,), (1, 3)])
@pytest.mark.parametrize("at", [0, 1])
def test_inputs_whose_weights_are_all_zero_are_counted(zeros, at):
    """Also where the first output reads all inputs, or none, and the others do otherwise."""
    from neurokit.capture.reference import record

    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(6, 4, 1), nn.Flatten(), nn.Linear(16, 5))
    with torch.no_grad():
        for part in (net[1], net[3]):
            part.weight[:, list(zeros)] = 0.0
            part.weight[at] = 0.0
        net[0].weight[at] = 0.0
    x, reads = torch.rand(2, 4, 4, 4) + 0.1, Reads()
    record(torch.export.export(net.eval(), (x,)).module(), (x,), watch=reads)
    found = {entry.weight: entry.dead for entry in reads.unread(joined([reads]))}
    assert (found.get("1.weight", 0), found.get("3.weight", 0), found.get("0.weight", 0)) == (len(zeros), len(zeros), 0)


def test_rows_that_are_never_looked_up():
    module, reads = nn.Embedding(50, 4), Reads()
    ids = torch.tensor([[3, 7, 3]])
    from neurokit.capture.reference import record

    record(torch.export.export(module, (ids,)).module(), (ids,), watch=reads)
    assert reads.unread(reads)[0].in_all == 48 * 4


def build():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Linear(6, 5), nn.ReLU(), layer.Linear(5, 4), neuron.LIFNode(), layer.Linear(4, 3), neuron.IFNode()
    )
    with torch.no_grad():
        net[0].bias[2] = -1e9  # an input of the next layer that is always 0
        net[4].weight[:, 3] = 0.0  # a column that reads nothing
    functional.set_step_mode(net, "m")
    return net.eval()


def test_one_column_that_reads_nothing_and_one_input_that_is_always_zero_are_listed(tmp_path):
    spec = ModelSpec("column", build, (TensorSpec("x", (6,)),), time_steps=4)
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a", verified=False)
    unread = Vectors.load(artifact.file(FILE)).unread
    report = nk.verify(artifact, record=False)
    assert report.passed
    assert any("4 of 20 weights met nothing but zeros (input 2)" in line for line in report.unseen), (unread, report)
    assert any("all weights of 1 of 4 inputs are 0" in line for line in report.unseen)
