"""Attention reads query, key and value where the one product of all three put them, and gives the same bits."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti.build import rewritten
from neurokit.export.aoti.programs import Network, twin_of
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.sdsa_lif.fusion import AttentionLayer
from neurokit.program.passes.whole import read_whole
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions


class Block(nn.Module):
    """Query, key and value by three convolutions of one input, of 32 channels in two heads."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = layer.Conv2d(3, 32, 3, padding=1), neuron.LIFNode(tau=2.0)
        for name in "qkv":
            setattr(self, name, layer.Conv2d(32, 32, 3, padding=1))
            setattr(self, f"{name}_lif", neuron.LIFNode(tau=2.0))
        self.attended = neuron.LIFNode(tau=2.0, v_threshold=0.125)
        self.head = layer.Linear(32, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.first(self.stem(x))
        steps, batch, channels, *_ = x.shape
        q, k, v = (getattr(self, f"{name}_lif")(getattr(self, name)(x)).flatten(3).transpose(2, 3) for name in "qkv")
        q, k, v = (y.reshape(steps, batch, -1, 2, channels // 2).transpose(2, 3) for y in (q, k, v))
        x = q @ (k.transpose(-1, -2) @ v) * 0.125
        x = self.attended(x.transpose(3, 4).flatten(2, 3))
        return self.head(x.transpose(2, 3)).mean(2)


def block():
    torch.manual_seed(0)
    net = Block().eval()
    with torch.no_grad():
        for name, factor in (("stem", 8.0), ("q", 8.0), ("k", 9.0), ("v", 10.0)):
            getattr(net, name).weight.mul_(factor)
    return net


@pytest.fixture(scope="module")
def exact():
    picture = TensorSpec("x", (3, 4, 4), low=0.0, high=2.0)
    return nk.exact(nk.capture(ModelSpec("block", block, (picture,), time_steps=4)))


@pytest.fixture(scope="module")
def body(exact):
    return rewritten(exact.captured, Settings.of(LowerOptions("exact", extra={"kernels": "all"})), True)[0]


def attention(module):
    """Returns the attention's node and layer."""
    (found,) = [
        (node, module.get_submodule(node.target))
        for node in module.graph.nodes
        if node.op == "call_module" and isinstance(module.get_submodule(node.target), AttentionLayer)
    ]
    return found


def answers(body, exact):
    x = torch.rand(4, 3, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2
    with torch.no_grad():
        return Network(body, exact.captured)(x)[0]


def test_it_is_given_one_tensor_and_gives_the_same_bits(exact, body):
    whole = read_whole(body)
    node, layer = attention(whole)
    assert str(node.args[0].target).startswith("joined")
    assert sorted(layer.columns) == [0, 32, 64]
    assert len(node.args) == 2
    wanted = answers(body, exact)
    torch.testing.assert_close(answers(whole, exact), wanted, rtol=0.0, atol=0.0)
    assert wanted.std() > 0


def test_columns_in_another_order_give_other_answers(exact, body):
    whole = read_whole(body)
    _, layer = attention(whole)
    layer.columns = layer.columns[1:] + layer.columns[:1]
    assert not torch.equal(answers(whole, exact), answers(body, exact))


def test_the_program_itself_and_its_twin_keep_the_parts(body):
    read_whole(body)
    assert attention(body)[1].columns is None
    assert len(attention(twin_of(body))[0].args) == 4
