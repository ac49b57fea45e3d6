"""Over more steps than T: an output that is no mean, sum, last or largest of the steps need not repeat."""

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.parity.vectors import FILE, Vectors
from neurokit.spec import ModelSpec, TensorSpec
from tests.neurokit.parity.test_check import planted

T = 6


class FirstSpikes(nn.Module):
    """Steps before the first spike, as many as there are for a neuron that is silent; then the first to fire."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.n = nn.Linear(6, 8), neuron.LIFNode(step_mode="m")
        self.b, self.m = nn.Linear(8, 5), neuron.IFNode(step_mode="m")
        self.a.weight.data.mul_(4.0), self.b.weight.data.mul_(4.0)

    def forward(self, x):
        waits = (self.m(self.b(self.n(self.a(x)))).cumsum(0) == 0).to(x.dtype).sum(0)
        return waits, waits.argmin(-1)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    spec = ModelSpec("net", lambda: FirstSpikes().eval(), (TensorSpec("x", (6,)),), time_steps=T)
    return nk.lower(nk.capture(spec), "onnx-scan", tmp_path_factory.mktemp("longer") / "a")


def test_the_wait_of_a_silent_neuron_grows_with_the_steps(artifact):
    """It was held to repeat as the spikes do, and a right graph failed."""
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    x, net = torch.rand(2 * T, 3, 6, generator=torch.Generator().manual_seed(1)), FirstSpikes().eval()
    with torch.no_grad():
        waits, first = net(x)
    assert waits.max() == 2 * T > waits.min()  # one is silent and one fires
    with nk.open(artifact) as runner:
        found = list(runner({artifact.manifest.inputs[0].name: x.numpy()}).values())
    np.testing.assert_array_equal(found[0], waits.numpy())
    np.testing.assert_array_equal(found[1], first.numpy())


def test_the_reference_over_twice_the_steps_is_that_of_the_module(artifact):
    """Its record is made under given spikes: the module's own neurons are given them here."""
    vectors = Vectors.load(artifact.file(FILE))
    spikes = torch.from_numpy(vectors.layers[-1].spikes).float()
    net = FirstSpikes().eval()
    net.m.forward = lambda _: torch.cat((spikes, spikes))
    with torch.no_grad():
        waits, first = net(torch.from_numpy(np.concatenate((vectors.x, vectors.x))))
    functional.reset_net(net)
    kept = list(vectors.longer.values())
    np.testing.assert_array_equal(kept[0], waits.numpy())
    np.testing.assert_array_equal(kept[1], first.numpy())


def test_a_readout_of_the_first_steps_alone_fails(artifact, tmp_path):
    def plant(model):
        node = next(n for n in model.graph.node if n.op_type == "CumSum")
        named = {"begin": [0], "end": [T], "axis": [0]}
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in named.items())
        at = list(model.graph.node).index(node)
        model.graph.node.insert(at, helper.make_node("Slice", [node.input[0], *named], ["first steps"]))
        node.input[0] = "first steps"

    report = nk.verify(planted(artifact, tmp_path, plant), record=False)
    assert report.verdict == "failed"
    assert any(note.startswith(f"over {2 * T} steps, output") for note in report.notes)
