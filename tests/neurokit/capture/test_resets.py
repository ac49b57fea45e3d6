"""snnTorch's `utils.reset` inside of a forward acts on what is captured, and leaves the user's neurons alone."""

import pytest
import torch
from torch import nn

import neurokit as nk

X = torch.rand(6, 3, 6, generator=torch.Generator().manual_seed(1)) * 3.0


def network(reset):
    snn = pytest.importorskip("snntorch")
    utils = pytest.importorskip("snntorch.utils")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9, init_hidden=True)
            self.out, self.last = nn.Linear(8, 4), snn.Leaky(beta=0.8, init_hidden=True, reset_mechanism="zero")

        def steps(self, x):
            return torch.stack([self.last(self.out(self.lif(self.fc(x_t)))) for x_t in x])

        def forward(self, x):
            first = self.steps(x)
            reset(utils, self)  # the second pass starts from rest, or goes on
            return torch.cat([first, self.steps(x)])

    return Net().eval()


@pytest.mark.parametrize(
    ("reset", "again"),
    [
        (lambda utils, net: utils.reset(net), True),
        (lambda _, net: (net.lif.reset_mem(), net.last.reset_mem()), True),
        (lambda utils, net: utils.reset(net.lif), False),  # has no children: the library resets nothing
    ],
    ids=["utils.reset(net)", "reset_mem", "utils.reset(layer)"],
)
def test_a_reset_between_two_passes(reset, again):
    net = network(reset)
    captured = nk.capture(net, X)
    with torch.no_grad():
        found = captured.program.module()(X, *captured.initial_states(3))[0]
        wanted = net(X)
    assert wanted.any()
    assert torch.equal(wanted[:6], wanted[6:]) == again
    assert torch.equal(found, wanted)


def test_the_users_neurons_are_not_touched():
    utils = pytest.importorskip("snntorch.utils")
    before = utils._layer_check, utils._layer_reset
    net = network(lambda utils, net: utils.reset(net))
    net.lif.mem = torch.full((3, 8), 0.5)
    nk.capture(net, X)
    assert torch.equal(net.lif.mem, torch.full((3, 8), 0.5))
    assert (utils._layer_check, utils._layer_reset) == before
