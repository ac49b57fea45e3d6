"""Shortcuts of spikes or counts behind a block's last neurons: the kernel of these adds them to what it puts out."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti.build import rewritten
from neurokit.export.aoti.programs import Network, twin_of
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.common import fusion as common
from neurokit.kernels.spike_conv_lif import fusion as convolutions
from neurokit.kernels.spike_linear_lif import fusion as products
from neurokit.program.fusions import BEHIND, most_of
from neurokit.program.passes import PassError
from neurokit.program.passes.whole import read_whole
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

from . import eager

PICTURE = TensorSpec("x", (3, 8, 8), low=0.0, high=2.0)
OPTIONS = {"kernels": "all"}
ADDED = ("sn2", "sn4", "sn6")  # whose kernels add the shortcut


class Net(nn.Module):
    """An identity, a block of 1x1 convolutions, one that halves the picture, and three ways that stay apart."""

    def __init__(self):
        super().__init__()
        sizes = {"1": (3, 3), "2": (3, 1), "3": (1, 1), "4": (1, 1), "5": (3, 3), "6": (3, 1), "7": (1, 1), "8": (3, 1)}
        self.stem, self.sn0 = layer.Conv2d(3, 16, 3, padding=1, bias=False), neuron.IFNode()
        for name, (kernel, _) in sizes.items():
            stride = 2 if name in "57" else 1
            conv = layer.Conv2d(16, 16, kernel, stride=stride, padding=kernel // 2, bias=False)
            setattr(self, f"conv{name}", conv)
            setattr(self, f"sn{name}", neuron.LIFNode(tau=2.0) if name in "14" else neuron.IFNode())
        self.head = layer.Linear(16, 5)
        functional.set_step_mode(self, "m")

    def spikes(self, x, name):
        return getattr(self, f"sn{name}")(getattr(self, f"conv{name}")(x))

    def forward(self, x):
        x = self.sn0(self.stem(x))
        x = self.spikes(self.spikes(x, "1"), "2") + x
        x = x + self.spikes(self.spikes(x, "3"), "4")
        x = self.spikes(self.spikes(x, "5"), "6") + self.spikes(x, "7")
        y = self.spikes(x, "8")
        x = (x + y) * y  # something else reads these spikes alone
        return self.head(x.flatten(3).mean(3)).mean(0)


def build():
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.startswith(("conv", "stem")):
                weight.mul_(3.0)
    return net


@pytest.fixture(scope="module")
def exact():
    return nk.exact(nk.capture(ModelSpec("net", build, (PICTURE,), time_steps=4)))


def settings(numerics="exact", **more):
    return Settings.of(LowerOptions(numerics, extra={**OPTIONS, **more}))


def body_of(exact):
    return rewritten(exact.captured, settings(), True)


def picture():
    return torch.rand(4, 3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2


def layers_that_add(rows):
    return [row["layer"] for row in rows if row["with"][-1:] == ["add"]]


def test_kernels_add_the_shortcut_and_give_the_programs_bits(exact):
    body, rows = body_of(exact)
    assert tuple(layers_that_add(rows)) == ADDED
    kernels = {row["layer"]: row["kernel"] for row in rows}
    assert [kernels[name] for name in ADDED] == ["spike_conv_lif", "spike_linear_lif", "spike_conv_lif"]
    sums = [node for node in body.graph.nodes if node.op == "call_function" and node.args[1:2] == (BEHIND,)]
    assert [most_of(node) for node in sums] == [2, 3, 2]
    assert all(node.meta["val"].dtype == torch.int8 for node in sums)
    body.graph.lint()
    x = picture()
    with torch.no_grad():
        found = Network(read_whole(body), exact.captured)(x)[0]
        wanted = exact.captured.program.module(check_guards=False)(x, *exact.captured.initial_states(3))[0]
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=0.0)
    assert wanted.std() > 0
    fired = dict(zip((neuron.path for neuron in exact.captured.neurons), exact.rates, strict=True))
    assert all(0.02 < fired[name] < 0.98 for name in ADDED), "a layer that is silent shows nothing"


def test_sums_that_int8_does_not_hold_stay_apart(exact, monkeypatch):
    monkeypatch.setattr(common, "COUNTS", 2)
    assert layers_that_add(body_of(exact)[1]) == ["sn2", "sn6"]


@pytest.mark.parametrize("precision", ["float16", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_16_bits_take_it_too(precision, exact):
    assert tuple(layers_that_add(rewritten(exact.source, settings("float", precision=precision), False)[1])) == ADDED


def test_a_twin_adds_to_its_forced_spikes(exact):
    """Where other spikes stand for a block's last ones, the next block sees their sum with the shortcut."""
    body, rows = body_of(exact)
    network = Network(twin_of(body), exact.captured)
    shapes = [tuple(node.meta["val"].shape) for node in network.body.graph.nodes if node.name.startswith("forced_")]
    names = [row["layer"] for row in rows if row["neurons"]]
    weight = dict(exact.captured.program.module(check_guards=False).named_parameters())["net.conv3.weight"]
    sums = weight.detach().sum((1, 2, 3))
    for own in (0, 1):
        spikes = [
            torch.ones([size if isinstance(size, int) else 3 for size in one], dtype=torch.int8) for one in shapes
        ]
        spikes[names.index("sn2")] *= own
        with torch.no_grad():
            currents = network(picture(), torch.tensor(True), *spikes)[1:]
        seen = currents[names.index("conv3") if "conv3" in names else names.index("sn3")]
        wanted = (sums * (1 + own))[:, None, None].expand_as(seen)
        torch.testing.assert_close(seen, wanted, rtol=0.0, atol=2.0**-6)  # the exact form rounds currents


def _without(true):
    """A kernel that leaves the shortcut out."""
    return lambda *given, beside=None, **more: true(*given, **more)


def _twice(true):
    """One that adds it twice."""
    return lambda *given, beside=None, **more: true(*given, beside=None if beside is None else beside + beside, **more)


def _turned(true):
    """One that reads it in another order."""
    return lambda *given, beside=None, **more: true(*given, beside=None if beside is None else beside.flip(1), **more)


PLANTS = [_without, _twice, _turned]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_wrong_sum_is_caught_where_it_is_put(plant, exact, monkeypatch):
    monkeypatch.setattr(convolutions, "spike_conv_lif", plant(convolutions.spike_conv_lif))
    with pytest.raises(PassError, match="do not follow from its current"):
        body_of(exact)


@pytest.mark.slow
def test_packages_are_verified_exact(exact, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    artifact = nk.lower(exact, "aoti", tmp_path / "a", **OPTIONS)
    parity = artifact.manifest.parity
    assert (parity["verdict"], parity["spikes_flipped"]) == ("exact", 0)
    assert tuple(layers_that_add(artifact.manifest.target_info["kernels"])) == ADDED


@pytest.mark.slow  # in every run it is caught where it is put
@pytest.mark.parametrize("plant", PLANTS)
def test_a_wrong_sum_that_slipped_in_fails_verification(plant, exact, tmp_path, monkeypatch):
    from neurokit.program.passes import fuse

    eager.install(monkeypatch)
    monkeypatch.setattr(fuse, "_check", lambda *given: None)
    monkeypatch.setattr(products, "spike_linear_lif", plant(products.spike_linear_lif))
    artifact = nk.lower(exact, "aoti", tmp_path / "a", **OPTIONS, verified=False)
    assert nk.verify(artifact).verdict == "failed"
