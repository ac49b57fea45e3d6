"""SpikingJelly's neurons on the fused kernel: same spikes, same gradients, and back again."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from neurokit.kernels import patch, unpatch
from neurokit.kernels._compat import INTERPRET

ON_GPU = torch.cuda.is_available() and not INTERPRET

NODES = {
    "if": lambda: neuron.IFNode(step_mode="m"),
    "if soft": lambda: neuron.IFNode(v_reset=None, step_mode="m", surrogate_function=surrogate.ATan()),
    "lif": lambda: neuron.LIFNode(tau=2.0, step_mode="m", detach_reset=True),
    "lif tau 3": lambda: neuron.LIFNode(tau=3.0, decay_input=False, step_mode="m"),
    "plif": lambda: neuron.ParametricLIFNode(2.5, step_mode="m", surrogate_function=surrogate.PiecewiseQuadratic()),
}


@pytest.mark.parametrize("name", NODES)
def test_patched_neuron_equals_spikingjelly(name, device):
    node = NODES[name]().to(device)
    x = (torch.randn(4, 3, 10, device=device) + 0.5).requires_grad_()
    wanted = [node(x), node(x * 0.5)]
    grads = torch.autograd.grad(sum(y.square().sum() for y in wanted), [x, *node.parameters()])
    state = node.v.clone()
    functional.reset_net(node)
    patch(node)
    assert type(node).__name__.startswith("Fused")
    got = [node(x), node(x * 0.5)]
    for ours, theirs in zip(got, wanted, strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(node.v, state, rtol=0, atol=0 if not ON_GPU else 1e-6)
    again = torch.autograd.grad(sum(y.square().sum() for y in got), [x, *node.parameters()])
    for ours, theirs in zip(again, grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_patch_keeps_the_model_and_can_be_undone():
    net = nn.Sequential(nn.Linear(6, 6), neuron.LIFNode(step_mode="m"), neuron.PSN(T=4))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    node = net[1]
    assert patch(net) is net
    assert net[1] is node
    assert isinstance(node, neuron.LIFNode)
    assert type(net[2]) is neuron.PSN
    assert net.state_dict().keys() == before.keys()
    unpatch(net)
    assert type(net[1]) is neuron.LIFNode


def test_what_the_kernel_cannot_do_takes_spikingjellys_path():
    node = patch(neuron.LIFNode(step_mode="m", surrogate_function=surrogate.Erf()))
    x = torch.randn(4, 3, 10)
    expected = neuron.LIFNode(step_mode="m", surrogate_function=surrogate.Erf())(x)
    assert torch.equal(node(x), expected)
    node = patch(neuron.LIFNode(step_mode="m", store_v_seq=True))
    node(x)
    assert node.v_seq.shape == x.shape
