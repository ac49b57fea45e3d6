"""Patterns that go into kernels of exact numerics: each is the definition to the bit, and a wrong one is caught."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti.build import rewritten
from neurokit.export.aoti.programs import Network
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.common.sums import Sums
from neurokit.kernels.sdsa_lif.fusion import AttentionLayer
from neurokit.kernels.spike_conv_lif import fusion as convolutions
from neurokit.program.passes import PassError
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

from .traffic import Traffic

PICTURE = TensorSpec("x", (3, 8, 8), low=0.0, high=2.0)


class Patterns(nn.Module):
    """Pooling between convolution and neuron, groups, a leak that is no power of two, attention of one product."""

    def __init__(self):
        super().__init__()
        self.stem, self.sn0 = layer.Conv2d(3, 8, 3, padding=1, bias=False), neuron.IFNode()
        self.pooled, self.bn = layer.Conv2d(8, 16, 3, padding=1, bias=False), layer.BatchNorm2d(16)
        self.pool, self.sn1 = layer.MaxPool2d(3, 2, 1), neuron.LIFNode(tau=3.0)
        self.grouped, self.sn2 = layer.Conv2d(16, 16, 3, padding=1, groups=4), neuron.LIFNode(tau=2.0)
        self.leaky, self.sn3 = layer.Conv2d(16, 16, 3, padding=1), neuron.ParametricLIFNode(init_tau=3.0)
        self.qkv, self.sn4 = layer.Conv1d(16, 48, 1), neuron.LIFNode(tau=2.0)
        self.sn5 = neuron.LIFNode(tau=2.0, v_threshold=0.125)
        self.head = layer.Linear(16, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.sn1(self.pool(self.bn(self.pooled(self.sn0(self.stem(x))))))
        x = self.sn3(self.leaky(self.sn2(self.grouped(x)))).flatten(3)
        steps, batch, channels, tokens = x.shape
        q, k, v = self.sn4(self.qkv(x)).reshape(steps, batch, 3, 2, channels // 2, tokens).unbind(2)
        x = self.sn5(v @ (k.transpose(-1, -2) @ q) * 0.125).reshape(steps, batch, channels, tokens)
        return self.head(x.transpose(2, 3)).mean(2)


def patterns():
    torch.manual_seed(0)
    net = Patterns().eval()
    with torch.no_grad():
        for part, factor in ((net.pooled, 8.0), (net.grouped, 8.0), (net.leaky, 16.0), (net.qkv, 32.0)):
            part.weight.mul_(factor)
    return net


@pytest.fixture(scope="module")
def exact():
    return nk.exact(nk.capture(ModelSpec("patterns", patterns, (PICTURE,), time_steps=4)))


def placed(exact):
    settings = Settings.of(LowerOptions("exact", extra={"kernels": "all"}))
    body, rows = rewritten(exact.captured, settings, True)
    return body, {row["layer"]: (row["kernel"], row["with"]) for row in rows}


def test_patterns_in_kernels_are_the_definition(exact):
    body, rows = placed(exact)
    assert {name: kernel for name, (kernel, _) in rows.items()} == {
        "sn0": "spike_conv_lif",  # of a picture, rounded
        "sn1": "pool_lif",
        "sn2": "spike_conv_lif",
        "sn3": "spike_conv_lif",
        "sn4": "spike_linear_lif",
        "sn5": "sdsa_lif",
        "pooled": "spike_conv_lif",
        "head": "spike_linear_lif",
    }
    x = torch.rand(4, 3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2
    with torch.no_grad():
        wanted = exact.captured.program.module(check_guards=False)(x, *exact.captured.initial_states(3))[0]
        found = Network(body, exact.captured)(x)[0]
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=0.0)
    assert wanted.std() > 0
    assert all(0.0 < rate < 1.0 for rate in exact.rates), f"{exact.rates}: a layer that is silent shows nothing"


def test_attention_reads_the_parts_of_one_product_where_they_are(exact):
    body, _ = placed(exact)
    (attention,) = [one for one in body.modules() if isinstance(one, AttentionLayer)]
    calls = [node for node in body.graph.nodes if node.op == "call_module"]
    (node,) = [node for node in calls if body.get_submodule(node.target) is attention]
    assert attention.columns == (0, 16, 32)  # channels are in front: v (k' q) is q' (k v') turned over
    assert len(node.args) == 2
    with Traffic() as traffic, torch.no_grad():
        Network(body, exact.captured)(torch.rand(4, 3, 3, 8, 8))
    ((operand, *_),) = [given for name, given in traffic.kernels if name == "sdsa_lif"]
    assert operand == (torch.int8, True)


def _groups_swapped(monkeypatch):
    true = convolutions.ungrouped
    monkeypatch.setattr(convolutions, "ungrouped", lambda weight, groups: true(weight.flip(0), groups))


def _operands_swapped(monkeypatch):
    true = AttentionLayer.forward

    def forward(self, *given):
        kept, self.columns = self.columns, self.columns[::-1]
        found = true(self, *given)
        self.columns = kept
        return found

    monkeypatch.setattr(AttentionLayer, "forward", forward)


def _bias_left_out(monkeypatch):
    true = Sums.asked
    monkeypatch.setattr(Sums, "asked", property(lambda self: {**true.fget(self), "bias": None}))


def _leak_of_another(monkeypatch):
    true = convolutions.ConvLayer.forward

    def forward(self, *given):
        kept = dict(self.keywords)
        if kept["decay"] is not None:
            self.keywords = {**kept, "decay": None, "tau": 1.0 / kept["decay"] + 1.0}
        found = true(self, *given)
        self.keywords = kept
        return found

    monkeypatch.setattr(convolutions.ConvLayer, "forward", forward)


@pytest.mark.parametrize("plant", [_groups_swapped, _operands_swapped, _bias_left_out, _leak_of_another])
def test_a_wrong_pattern_is_caught_where_it_is_put(plant, exact, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(PassError, match="at "):
        placed(exact)


def test_layers_hold_no_constants_without_axes(exact):
    """AOTInductor makes numbers of them, and a kernel that reads one by its address does not compile."""
    body, _ = placed(exact)
    held = {name: value.dim() for name, value in body.named_buffers() if value is not None}
    layers = {str(node.target) for node in body.graph.nodes if node.op == "call_module"}
    assert [name for name, dims in held.items() if name.partition(".")[0] in layers and dims == 0] == []


def test_a_learnt_leak_in_the_kernel_of_neurons_alone_has_an_axis():
    torch.manual_seed(0)
    net = nn.Sequential(layer.Conv2d(3, 4, 3, dilation=2, padding=2), neuron.ParametricLIFNode(init_tau=3.0)).eval()
    functional.set_step_mode(net, "m")
    made = nk.exact(nk.capture(ModelSpec("leaky", lambda: net, (PICTURE,), time_steps=2)))
    body, rows = placed(made)
    assert {kernel for kernel, _ in rows.values()} == {"lif"}
    (held,) = [module.decay for module in body.modules() if getattr(module, "decay", None) is not None]
    assert held.shape == (1,)
    x = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = made.captured.program.module(check_guards=False)(x, *made.captured.initial_states(1))[0]
        torch.testing.assert_close(Network(body, made.captured)(x)[0], wanted, rtol=0.0, atol=0.0)


class Membranes(nn.Module):
    """A block of MS-ResNet that halves the picture: its shortcut is a 1x1 convolution of membranes."""

    def __init__(self):
        super().__init__()
        self.stem = layer.Conv2d(3, 8, 3, padding=1, bias=False)
        self.sn0, self.conv0 = neuron.LIFNode(tau=2.0), layer.Conv2d(8, 16, 3, stride=2, padding=1)
        self.sn1, self.conv1 = neuron.LIFNode(tau=2.0), layer.Conv2d(16, 16, 3, padding=1)
        self.shortcut, self.sn2 = layer.Conv2d(8, 16, 1, stride=2, bias=False), neuron.LIFNode(tau=2.0)
        self.head = layer.Linear(16, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.stem(x)
        x = self.conv1(self.sn1(self.conv0(self.sn0(x)))) + self.shortcut(x)
        return self.head(self.sn2(x).flatten(3).mean(3)).mean(0)


def test_a_strided_projection_of_membranes_goes_into_a_kernel_that_sums():
    torch.manual_seed(0)
    net = Membranes().eval()
    with torch.no_grad():
        for part in (net.stem, net.conv0, net.conv1, net.shortcut):
            part.weight.mul_(4.0)
    made = nk.exact(nk.capture(ModelSpec("membranes", lambda: net, (PICTURE,), time_steps=4)))
    body, rows = placed(made)
    assert rows["shortcut"][0] == "spike_conv_lif"
    sums = [module for module in body.modules() if isinstance(module, convolutions.ConvSums)]
    assert [(one.weight.dtype, one.stride, tuple(one.weight.shape)) for one in sums] == [(torch.int8, 2, (16, 1, 1, 8))]
    x = torch.rand(4, 3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2
    with torch.no_grad():
        wanted = made.captured.program.module(check_guards=False)(x, *made.captured.initial_states(3))[0]
        torch.testing.assert_close(Network(body, made.captured)(x)[0], wanted, rtol=0.0, atol=0.0)
    assert all(0.0 < rate < 1.0 for rate in made.rates)
