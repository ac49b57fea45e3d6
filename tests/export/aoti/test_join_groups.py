"""Products of the parts of one value are one product of the whole where there are few rows, with the same answers."""

from __future__ import annotations

import copy

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti import build
from neurokit.export.aoti.programs import Network, twin_of
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.sdsa_lif.fusion import AttentionLayer
from neurokit.kernels.spike_linear_lif.fusion import LinearLayer
from neurokit.program.nodes import aten, is_op
from neurokit.program.passes import join_groups
from neurokit.program.passes.base import Pass, PassError
from neurokit.program.passes.join import Joined
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

STEPS, BATCH = 4, 3


class Block(nn.Module):
    """Query, key and value of two 1x1 convolutions each, of one input; weights are whole numbers of 1/8."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = layer.Conv2d(3, 32, 3, padding=1), neuron.LIFNode(tau=2.0)
        for name in "qkv":
            setattr(self, f"{name}_in", layer.Conv2d(32, 32, 1, bias=False))
            setattr(self, f"{name}_out", layer.Conv2d(32, 32, 1))
            setattr(self, f"{name}_lif", neuron.LIFNode(tau=2.0))
        self.attended = neuron.LIFNode(tau=2.0, v_threshold=0.125)
        self.head = layer.Linear(32, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.first(self.stem(x))
        steps, batch, channels, *_ = x.shape
        currents = (getattr(self, f"{name}_out")(getattr(self, f"{name}_in")(x)) for name in "qkv")
        fired = [getattr(self, f"{name}_lif")(y) for name, y in zip("qkv", currents, strict=True)]
        q, k, v = (y.flatten(3).transpose(2, 3).reshape(steps, batch, -1, 2, channels // 2) for y in fired)
        q, k, v = (y.transpose(2, 3) for y in (q, k, v))
        x = self.attended((q @ (k.transpose(-1, -2) @ v) * 0.125).transpose(3, 4).flatten(2, 3))
        return self.head(x.transpose(2, 3)).mean(2)


def block():
    draw = torch.Generator().manual_seed(0)
    net = Block().eval()
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.randint(-2, 4, value.shape, generator=draw) / 8)
    return net


def picture():
    return torch.randint(0, 4, (STEPS, BATCH, 3, 4, 4), generator=torch.Generator().manual_seed(1)) / 2


@pytest.fixture(scope="module")
def captured():
    picture = TensorSpec("x", (3, 4, 4), low=0.0, high=2.0)
    return nk.capture(ModelSpec("block", block, (picture,), time_steps=STEPS))


def planned(captured):
    options = LowerOptions("float", extra={"device": "cuda", "precision": "float16"})
    return build.rewritten(captured.graphs[0], Settings.of(options), False)[0]


@pytest.fixture(scope="module")
def joined(captured):
    return planned(captured)


@pytest.fixture(scope="module")
def apart(captured):
    """The program without the pass."""
    nothing = Pass("nothing", lambda module: None, after=lambda module: [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "join_groups", lambda device: nothing)
        return planned(captured)


def products(module):
    """Returns the nodes of products with a neuron that are given a part of a value."""
    found = [(node, module.get_submodule(node.target)) for node in module.graph.nodes if node.op == "call_module"]
    return [
        node
        for node, one in found
        if isinstance(one, LinearLayer) and is_op(node.args[0], {aten.narrow.default}) and len(node.args) >= 2
    ]


def wholes(module):
    return [one for one in module.modules() if isinstance(one, Joined)]


def answers(body, captured):
    with torch.no_grad():
        return Network(body, captured.graphs[0])(picture())[0]


def test_three_products_are_one_with_the_answers_of_the_network_itself(joined, apart, captured):
    """Sums of whole numbers are the same in every order, and in float16."""
    assert (len(products(apart)), len(wholes(apart))) == (3, 0)
    (whole,) = wholes(joined)
    assert whole.whole.weight.shape == (96, 32)
    net = block()
    with torch.no_grad():
        wanted = net(picture())
    found = answers(joined, captured)
    assert torch.equal(found, answers(apart, captured))
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=2e-3)  # the head's own sums are rounded
    assert wanted.std() > 0.01


def test_attention_is_given_one_tensor(joined, captured):
    whole = build.read_whole(joined)
    (node,) = [
        one
        for one in whole.graph.nodes
        if one.op == "call_module" and isinstance(whole.get_submodule(one.target), AttentionLayer)
    ]
    assert len(node.args) == 2
    assert str(node.args[0].target).startswith("joined")
    assert sorted(whole.get_submodule(node.target).columns) == [0, 32, 64]
    assert torch.equal(answers(whole, captured), answers(joined, captured))


def test_the_twin_shows_the_current_of_every_layer(joined, apart):
    """And takes the spikes that it is given in the place of each one's own."""
    draw = torch.Generator().manual_seed(2)
    shown = []
    for body in (joined, apart):
        twin = twin_of(body)
        places = [node for node in twin.graph.nodes if node.op == "placeholder"]
        draw.manual_seed(2)
        given = [picture()]
        for node in places[1:]:
            value = node.meta["val"]
            shape = [size if isinstance(size, int) else BATCH for size in value.shape]
            forced = "forced" in node.name
            drawn = torch.rand(shape, generator=draw) < 0.3 if forced else torch.zeros(shape)
            given.append(torch.ones((), dtype=torch.bool) if node.name == "force" else drawn.to(value.dtype))
        with torch.no_grad():
            shown.append(twin(*given))
    assert len(shown[0]) == len(shown[1]) > 15
    for found, wanted in zip(*shown, strict=True):
        assert torch.equal(found, wanted)
    by_layer = [value for value in shown[0] if value.shape == (STEPS, BATCH, 32, 4, 4)]
    assert len({float(value.float().sum()) for value in by_layer}) > 6


def rewired(module, change):
    """Returns a copy of a program whose products a change was made to, after the pass."""
    made = copy.deepcopy(module)
    change(made, products(made))
    join_groups.join_groups("cpu")(made)
    return made


def another_neuron(module, nodes):
    one = module.get_submodule(nodes[1].target)
    one.keywords = {**one.keywords, "threshold": 2.0}


def a_part_is_nobodys(module, nodes):
    part = nodes[2].args[0]
    part.args = (*part.args[:3], 16)


def a_part_twice(module, nodes):
    nodes[2].args = (nodes[1].args[0], nodes[2].args[1])


def a_residual(module, nodes):
    nodes[0].args = (*nodes[0].args, nodes[0].args[0])


def a_current_that_is_read(module, nodes):
    module.get_submodule(nodes[0].target).want_current = True


def many_rows(module, nodes):
    for node in nodes:
        node.args[0].meta["val"] = torch.empty(4, 32, 32, 33, device="meta")


def whole_weights(module, nodes):
    for node in nodes:
        one = module.get_submodule(node.target)
        one.weight = one.weight.to(torch.int8)


@pytest.mark.parametrize(
    "change",
    [
        another_neuron,
        a_part_is_nobodys,
        a_part_twice,
        a_residual,
        a_current_that_is_read,
        many_rows,
        whole_weights,
    ],
)
def test_others_stay_apart(change, apart):
    assert not wholes(rewired(apart, change))


def test_up_to_4096_rows_are_few(apart):
    made = copy.deepcopy(apart)
    node = products(made)[0]
    node.args[0].meta["val"] = torch.empty(4, 32, 32, 32, device="meta")
    assert join_groups._key(made, node) is not None
    node.args[0].meta["val"] = torch.empty(1, 32, 4097, device="meta")
    assert join_groups._key(made, node) is None


def test_parts_may_stand_in_another_order_than_their_channels(apart, captured):
    """The product stands before the first of them, and is given a membrane that is there."""

    def reversed_parts(module, nodes):
        first, last = (node.args[0] for node in (nodes[0], nodes[2]))
        first.args, last.args = last.args, first.args

    changed = copy.deepcopy(apart)
    reversed_parts(changed, products(changed))
    changed.graph.lint()
    changed.recompile()
    made = rewired(apart, reversed_parts)
    assert len(wholes(made)) == 1
    assert torch.equal(answers(made, captured), answers(changed, captured))


def test_blocks_in_a_wrong_order_are_found(apart, monkeypatch):
    right = LinearLayer.of_parts

    def wrong(self, others):
        made = right(self, others)
        made.weight = made.weight.roll(32, 0)
        return made

    monkeypatch.setattr(LinearLayer, "of_parts", wrong)
    with pytest.raises(PassError, match="other spikes when they are joined"):
        rewired(apart, lambda module, nodes: None)
