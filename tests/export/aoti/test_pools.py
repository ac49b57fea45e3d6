"""Pooling between convolution and neuron in one kernel: the definition to the bit, its sums handed on, its limits."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti.build import rewritten
from neurokit.export.aoti.programs import Network
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.pool_lif import fusion
from neurokit.program.passes import PassError
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

from . import eager
from .traffic import Traffic

PICTURE = TensorSpec("x", (3, 16, 16), low=0.0, high=2.0)
OPTIONS = {"kernels": "all"}


class Net(nn.Module):
    """The largest of windows, with a shortcut of it as in patch embeddings, means of windows, and adaptive ones."""

    def __init__(self):
        super().__init__()
        self.stem, self.sn0 = layer.Conv2d(3, 8, 3, padding=1, bias=False), neuron.IFNode()
        self.a, self.bn, self.max = layer.Conv2d(8, 16, 3, padding=1), layer.BatchNorm2d(16), layer.MaxPool2d(3, 2, 1)
        self.sn1, self.rpe = neuron.LIFNode(tau=2.0, v_reset=None), layer.Conv2d(16, 16, 3, padding=1)
        self.sn2, self.b = neuron.LIFNode(tau=2.0), layer.Conv2d(16, 8, 3, padding=1)
        self.mean, self.sn3 = layer.AvgPool2d(2), neuron.LIFNode(tau=2.0, v_threshold=0.25)
        self.c, self.adaptive = layer.Conv2d(8, 8, 3, padding=1), layer.AdaptiveAvgPool2d((2, 2))
        self.sn4, self.head = neuron.IFNode(v_threshold=0.25), layer.Linear(32, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.max(self.bn(self.a(self.sn0(self.stem(x)))))
        x = x + self.rpe(self.sn1(x))
        x = self.sn3(self.mean(self.b(self.sn2(x))))
        x = self.sn4(self.adaptive(self.c(x)))
        return self.head(x.flatten(2))


def net():
    torch.manual_seed(0)
    made = Net().eval()
    with torch.no_grad():
        for part, factor in ((made.a, 4.0), (made.rpe, 4.0), (made.b, 6.0), (made.c, 6.0)):
            part.weight.mul_(factor)
        made.bn.running_mean.uniform_(-0.5, 1.0)
    return made


@pytest.fixture(scope="module")
def captured():
    return nk.capture(ModelSpec("pools", net, (PICTURE,), time_steps=4))


@pytest.fixture(scope="module")
def exact(captured):
    return nk.exact(captured)


def placed(part, numerics="exact", **options):
    settings = Settings.of(LowerOptions(numerics, extra={**OPTIONS, **options}))
    body, rows = rewritten(part, settings, numerics == "exact")
    return body, {row["layer"]: row for row in rows if row["neurons"]}


def test_pooled_currents_in_a_kernel_are_the_definition(exact):
    body, rows = placed(exact.captured)
    assert [rows[f"sn{at}"]["kernel"] for at in (1, 3, 4)] == ["pool_lif"] * 3
    assert "max_pool2d" in rows["sn1"]["with"]
    assert any(word.endswith("avg_pool2d") for word in rows["sn4"]["with"])
    assert not any("pool2d" in str(node.target) for node in body.graph.nodes)
    x = torch.rand(4, 3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2
    with Traffic() as traffic, torch.no_grad():
        found = Network(body, exact.captured)(x)[0]
    assert [given for name, given in traffic.kernels if name == "pool_lif"] == [[(torch.float32, True)]] * 3
    with torch.no_grad():
        wanted = exact.captured.program.module(check_guards=False)(x, *exact.captured.initial_states(3))[0]
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=0.0)
    assert wanted.std() > 0
    assert all(0.0 < rate < 1.0 for rate in exact.rates), f"{exact.rates}: a layer that is silent shows nothing"


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_16_bits_take_it_too(precision, captured):
    _, rows = placed(captured, "float", precision=precision)
    assert [rows[f"sn{at}"]["kernel"] for at in (1, 3, 4)] == ["pool_lif"] * 3


@pytest.mark.slow
def test_a_package_with_pools_is_verified_exact(exact, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    parity = nk.lower(exact, "aoti", tmp_path / "a", **OPTIONS).manifest.parity
    assert (parity["verdict"], parity["spikes_flipped"]) == ("exact", 0)


def _padded_with_zeros(true):
    """Where all of a window is negative, a zero beside the image is larger."""

    def call(x, kernel, *, padding, **given):
        wide = nn.functional.pad(x, (0, 0, padding[1], padding[1], padding[0], padding[0]))
        return true(wide, kernel, padding=(0, 0), **given)

    return call


def _mean_for_max(true):
    return lambda *given, how, **more: true(*given, how="mean", **more)


def _hands_on_the_spikes(true):
    """A kernel whose spikes are right, and that hands on another sum."""

    def call(*given, **more):
        spikes, current = true(*given, **more)
        return spikes, spikes.to(current.dtype) if current.numel() else current

    return call


@pytest.mark.parametrize("plant", [_padded_with_zeros, _mean_for_max, _hands_on_the_spikes])
def test_a_wrong_pooling_is_caught_where_it_is_put(plant, exact, monkeypatch):
    monkeypatch.setattr(fusion, "pool_lif", plant(fusion.pool_lif))
    with pytest.raises(PassError, match="at "):
        placed(exact.captured)


class Outside(nn.Module):
    """What the kernel does not pool: windows with holes, and windows of a whole picture."""

    def __init__(self):
        super().__init__()
        self.a, self.holes = layer.Conv2d(3, 4, 3), layer.MaxPool2d(2, 1, dilation=2)
        self.b, self.all = layer.Conv2d(4, 4, 3), layer.AdaptiveAvgPool2d(1)
        self.sn1, self.sn2 = neuron.LIFNode(), neuron.LIFNode()
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.sn2(self.all(self.b(self.sn1(self.holes(self.a(x))))))


def test_what_it_does_not_pool_is_named():
    part = nk.capture(ModelSpec("outside", lambda: Outside().eval(), (PICTURE,), time_steps=2))
    rows = {row.layer: row for row in nk.plan(part, "aoti", **OPTIONS).layers}
    assert [rows[name].kernel for name in ("sn1", "sn2")] == ["lif", "lif"]
    assert rows["sn1"].reasons["pool_lif"] == "its windows have holes, or hang over the edge"
    assert rows["sn2"].reasons["pool_lif"] == "its windows have more than 64 pixels"
    step = {row.layer: row for row in nk.plan(part, "aoti", form="step", **OPTIONS).layers}
    assert "membrane comes from outside" in step["sn1"].reasons["pool_lif"]
