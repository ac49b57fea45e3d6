"""Neurons that fire on a sum of spikes and let others through: SDSA-1, SDSA-2 and QKFormer's two, in one kernel."""

import functools

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti.build import rewritten
from neurokit.export.aoti.programs import Network, twin_of
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.gate_lif import fusion
from neurokit.kernels.gate_lif.fusion import GateLayer
from neurokit.program.passes import PassError, fuse
from neurokit.program.passes.whole import read_whole
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

from . import eager
from .traffic import Traffic

PICTURE = TensorSpec("x", (3, 4, 4), low=0.0, high=2.0)


def lif(threshold=1.0):
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, v_reset=None)


class Block(nn.Module):
    """Two heads of eight channels; how they attend to each other is a subclass's."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = layer.Conv2d(3, 16, 3, padding=1), lif()
        for name in "qkv":
            setattr(self, name, layer.Conv2d(16, 16, 1))
            setattr(self, f"{name}_lif", lif())
        self.qk, self.qk_lif = layer.Conv1d(16, 32, 1), lif()
        self.gate, self.last = lif(0.5), layer.Conv1d(16, 16, 1)
        self.last_lif, self.head = lif(), layer.Linear(16, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.attend(self.first(self.stem(x)))
        return self.head(self.last_lif(self.last(x)).transpose(2, 3)).mean(2)

    def spikes(self, x, name):
        return getattr(self, f"{name}_lif")(getattr(self, name)(x))

    def both(self, x):
        x = self.qk_lif(self.qk(x.flatten(3)))
        return x.reshape(*x.shape[:2], 2, 2, 8, -1).flatten(2, 3).chunk(2, 2)


class Sdsa1(Block):
    """Spike-driven Transformer V1: `Q * SN(sum over tokens of K * V)`, by heads `[T, B, H, N, D]`."""

    def attend(self, x):
        q, k, v = (self.spikes(x, name).flatten(3).transpose(2, 3) for name in "qkv")
        q, k, v = (y.reshape(*y.shape[:3], 2, 8).permute(0, 1, 3, 2, 4) for y in (q, k, v))
        x = q * self.gate((k * v).sum(-2, keepdim=True) * 0.25)
        return x.transpose(3, 4).flatten(2, 3)


class Sdsa2(Block):
    """Only two operands: `SN(sum over tokens of Q) * K`, whose keys come after the neurons; channels are last."""

    def attend(self, x):
        gate = self.gate(self.spikes(x, "q").flatten(3).transpose(2, 3).sum(2, keepdim=True) * 0.25)
        return (self.spikes(x, "k").flatten(3).transpose(2, 3) * gate).transpose(2, 3)


class Tokens(Block):
    """QKFormer's attention of tokens, of one product: a gate for each token of a head."""

    def attend(self, x):
        q, k = self.both(x)
        return (self.gate(q.sum(3, keepdim=True) * 0.25) * k).flatten(2, 3)


class Channels(Block):
    """QKFormer's attention of channels."""

    def attend(self, x):
        q, k = self.both(x)
        return (self.gate(q.sum(4, keepdim=True) * 0.25) * k).flatten(2, 3)


class OneHead(Block):
    """A gate for each token, of all channels, of what is itself counted."""

    def attend(self, x):
        k = self.spikes(x, "k").flatten(3)
        return k * self.gate((self.spikes(x, "q").flatten(3) * k).sum(2, keepdim=True) * 0.25)


STYLES = {one.__name__: one for one in (Sdsa1, Sdsa2, Tokens, Channels, OneHead)}
OPTIONS = {"kernels": "all"}


@pytest.fixture(scope="module")
def exact_of():
    """Makes the exact form of each style once."""
    known = {}

    def build(name):
        torch.manual_seed(0)
        net = STYLES[name]().eval()
        with torch.no_grad():
            for part, factor in (("stem", 8.0), ("q", 12.0), ("k", 12.0), ("v", 12.0), ("qk", 12.0), ("last", 16.0)):
                getattr(net, part).weight.mul_(factor)
        return net

    def get(name):
        if name not in known:
            spec = ModelSpec(name, functools.partial(build, name), (PICTURE,), time_steps=4)
            known[name] = nk.exact(nk.capture(spec))
        return known[name]

    return get


@pytest.fixture(params=STYLES)
def exact(request, exact_of):
    return exact_of(request.param)


@pytest.fixture
def sdsa_1(exact_of):
    return exact_of("Sdsa1")


def body_of(exact):
    return rewritten(exact.captured, Settings.of(LowerOptions("exact", extra=OPTIONS)), True)


def picture():
    return torch.rand(4, 3, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2


def gates(module):
    return [
        (node, module.get_submodule(node.target))
        for node in module.graph.nodes
        if node.op == "call_module" and isinstance(module.get_submodule(node.target), GateLayer)
    ]


def test_a_gate_and_what_it_lets_through_are_the_definition(exact):
    body, rows = body_of(exact)
    row = {row["layer"]: row for row in rows}["gate"]
    assert row["kernel"] == "gate_lif"
    assert row["with"][-2:] == ["mul", "mul"]  # a factor, and the product behind the neurons
    assert "lif" not in {row["kernel"] for row in rows}
    ((_, one),) = gates(body)
    assert one.form.over == ("tokens" if exact.captured.spec.name in ("Sdsa1", "Sdsa2", "Channels") else "channels")
    body.graph.lint()
    x = picture()
    with Traffic() as traffic, torch.no_grad():
        found = Network(read_whole(body), exact.captured)(x)[0]
    ((dtype, _),) = {given[0] for name, given in traffic.kernels if name == "gate_lif"}
    assert dtype == torch.int8
    with torch.no_grad():
        wanted = exact.captured.program.module(check_guards=False)(x, *exact.captured.initial_states(3))[0]
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=0.0)
    assert wanted.std() > 0
    fired = dict(zip((neuron.path for neuron in exact.captured.neurons), exact.rates, strict=True))
    assert 0.05 < fired["gate"] < 0.95, "a gate that is always shut or open shows nothing"


def test_parts_of_one_product_are_read_where_they_are(exact):
    whole = read_whole(body_of(exact)[0])
    ((node, one),) = gates(whole)
    assert len(node.args) == 2
    assert len(set(one.form.columns)) == (3 if exact.captured.spec.name == "Sdsa1" else 2)


@pytest.mark.parametrize("precision", ["float16", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_16_bits_take_it_too(precision, exact):
    settings = Settings.of(LowerOptions("float", extra={**OPTIONS, "precision": precision}))
    _, rows = rewritten(exact.source, settings, False)
    assert {row["layer"]: row["kernel"] for row in rows}["gate"] == "gate_lif"


def test_a_twin_lets_through_what_its_forced_spikes_do(sdsa_1):
    """Where other spikes stand for a gate's own, the layers behind it see what these let through."""
    body, _ = body_of(sdsa_1)
    network = Network(twin_of(body), sdsa_1.captured)
    x, outputs = picture(), []
    shapes = [tuple(node.meta["val"].shape) for node in network.body.graph.nodes if node.name.startswith("forced_")]
    for value in (0, 1):
        forced = [torch.full([size if isinstance(size, int) else 3 for size in one], value) for one in shapes]
        with torch.no_grad():
            outputs.append(network(x, torch.tensor(True), *(one.to(torch.int8) for one in forced)))
    names = [row["layer"] for row in body_of(sdsa_1)[1] if row["neurons"]]
    shut, opened = (found[1:][names.index("last_lif")] for found in outputs)
    bias = sdsa_1.captured.program.module(check_guards=False).get_parameter("net.last.bias").detach()
    assert torch.equal(shut, bias[:, None].expand_as(shut)), "nothing is let through"
    assert not torch.equal(shut, opened)


@pytest.mark.slow
def test_packages_are_verified_exact(exact, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    parity = nk.lower(exact, "aoti", tmp_path / "a", **OPTIONS).manifest.parity
    assert (parity["verdict"], parity["spikes_flipped"]) == ("exact", 0)


def _other_mask(true):
    """A kernel that lets through what it counts."""
    return lambda mask, a, *more, **given: true(a, mask, *more, **given)


def _other_axis(true):
    """One whose first sum misses a token."""
    return lambda mask, a, *more, **given: true(mask, torch.cat([a[:, :, 1:], a[:, :, :1] * 0], 2), *more, **given)


def _all_through(true):
    """One whose neurons are right, and that gives ones whatever they let through."""

    def gate(*operands, **given):
        through, fired = true(*operands, **given)
        return torch.ones_like(through), fired

    return gate


@pytest.mark.parametrize("plant", [_other_mask, _other_axis, _all_through])
def test_a_wrong_gate_is_caught_where_it_is_put(plant, sdsa_1, monkeypatch):
    monkeypatch.setattr(fusion, "gate_lif", plant(fusion.gate_lif))
    with pytest.raises(PassError, match=r"what it computes behind its spikes|do not follow from its current"):
        body_of(sdsa_1)


@pytest.mark.slow  # in every run it is caught where it is put
def test_a_wrong_gate_that_slipped_in_fails_verification(sdsa_1, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    monkeypatch.setattr(fuse, "_check", lambda *given: None)
    monkeypatch.setattr(fusion, "gate_lif", _all_through(fusion.gate_lif))
    artifact = nk.lower(sdsa_1, "aoti", tmp_path / "a", **OPTIONS, verified=False)
    assert nk.verify(artifact).verdict == "failed"


class Others(Block):
    """A sum whose neurons let through what is no spikes, and one whose spikes multiply nothing."""

    def attend(self, x):
        q = self.spikes(x, "q").flatten(3)
        aside = self.v_lif(q.sum(2, keepdim=True) * 0.25)
        return self.gate(q.sum(3, keepdim=True) * 0.25) * self.last(q) + aside


def test_what_is_no_gate_is_left_and_named():
    torch.manual_seed(0)
    part = nk.capture(ModelSpec("others", lambda: Others().eval(), (PICTURE,), time_steps=4))
    rows = {row.layer: row for row in nk.plan(part, "aoti", **OPTIONS).layers}
    assert rows["gate"].kernel == rows["v_lif"].kernel == "lif"
    assert rows["gate"].reasons["gate_lif"] == "its operands are not known to be spikes"
    assert rows["v_lif"].reasons["gate_lif"] == "behind it stands no product of its spikes"
    assert rows["last_lif"].reasons["gate_lif"] == "before it stands no sum of spikes"
    step = {row.layer: row for row in nk.plan(part, "aoti", form="step", **OPTIONS).layers}
    assert "membrane comes from outside" in step["gate"].reasons["gate_lif"]
