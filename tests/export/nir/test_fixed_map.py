"""A fixed map of attention as a matrix of synapses: the module's output, its events, and a NIR file of it."""

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.attention.deconstructed import Deconstructed
from neurokit.errors import InputError

LENGTH, WIDTH, STEPS = 6, 4, 3


def mixer():
    generator = torch.Generator().manual_seed(2)
    net = Deconstructed("fixed_seq_qk", WIDTH, 2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net.freeze(torch.randn(LENGTH, WIDTH, generator=generator))


class Fires(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.spike = mixer().synapses(LENGTH), neuron.IFNode(step_mode="m", v_threshold=0.5)

    def forward(self, x):
        return self.spike(self.mix(x))


@pytest.fixture(scope="module")
def captured():
    ports = (nk.TensorSpec("x", (LENGTH * WIDTH,), layout="F"),)
    return nk.capture(nk.ModelSpec("fixed_map", lambda: Fires().eval(), ports, time_steps=STEPS))


def test_the_matrix_is_the_module_and_causal():
    net, x = mixer(), torch.randn(5, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))
    for length in (LENGTH, 4):
        layer = net.synapses(length)
        found = layer(x[:, :length].flatten(1)).view(5, length, WIDTH)
        assert (found - net(x[:, :length])).abs().max() < 1e-5
        place = torch.arange(length).repeat_interleave(WIDTH)
        assert (layer.weight[place[None] > place[:, None]] == 0).all()
    for wrong in (lambda: net.synapses(LENGTH + 1), lambda: Deconstructed("standard", 4, 2).synapses(2)):
        with pytest.raises(InputError, match="as synapses of"):
            wrong()


def test_events_are_spikes_times_synapses(captured):
    x = (torch.rand(STEPS, 1, LENGTH * WIDTH, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    wanted = int(x.sum()) * LENGTH * WIDTH  # a layer is stored whole, its zeros too
    assert nk.simulate(captured, x, ["loihi1"]).totals["synaptic_events"] == wanted


def test_it_leaves_as_nir(captured, tmp_path):
    artifact = nk.lower(captured, "nir", tmp_path / "map")
    assert artifact.manifest.parity["verdict"] in ("exact", "within tolerance")
    graph = nir.read(str(next(artifact.path.glob("*.nir"))))
    (weight,) = [np.asarray(node.weight) for node in graph.nodes.values() if hasattr(node, "weight")]
    np.testing.assert_array_equal(weight, mixer().synapses(LENGTH).weight.detach().numpy())
