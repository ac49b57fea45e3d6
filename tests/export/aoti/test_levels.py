"""Exact convolutional networks: rounding goes into the kernels, to the numbers that the next product takes."""

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.export.aoti.build import rewritten
from neurokit.export.aoti.programs import Network
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.common.sums import Sums
from neurokit.kernels.depthwise.fusion import DepthwiseLayer
from neurokit.kernels.spike_conv_lif import fusion
from neurokit.kernels.spike_conv_lif.fusion import ConvSums
from neurokit.program.ops import is_named
from neurokit.program.passes import PassError
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

PICTURE = TensorSpec("x", (3, 12, 12), low=-1.0, high=1.0)


class Bottlenecks(nn.Module):
    """MobileNet's block with and without a shortcut, then ResNet's with two convolutions of one input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.wide, self.deep, self.thin = (
            nn.Conv2d(16, 32, 1),
            nn.Conv2d(32, 32, 3, 1, 1, groups=32),
            nn.Conv2d(32, 16, 1),
        )
        self.halved = nn.Conv2d(16, 16, 3, 2, 1, groups=16)
        self.first, self.second = nn.Conv2d(16, 32, 3, 1, 1), nn.Conv2d(32, 32, 3, 1, 1)
        self.beside = nn.Conv2d(16, 32, 1)
        self.third, self.head = nn.Conv2d(32, 32, 3, 1, 1), nn.Linear(32, 5)
        self.six = nn.ReLU6()

    def forward(self, x):
        x = self.six(self.stem(x))
        y = x + self.thin(self.six(self.deep(self.six(self.wide(x)))))
        y = self.six(self.halved(y))
        z = torch.relu(self.second(torch.relu(self.first(y))) + self.beside(y))
        z = torch.relu(self.third(z) + z)
        return self.head(z.mean((2, 3)))


def bottlenecks():
    torch.manual_seed(0)
    return Bottlenecks().eval()


@pytest.fixture(scope="module")
def exact():
    return nk.exact(nk.capture(ModelSpec("bottlenecks", bottlenecks, (PICTURE,))))


def placed(exact):
    settings = Settings.of(LowerOptions("exact", extra={"kernels": "all"}))
    return rewritten(exact.captured, settings, True)


def pictures(count):
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_levels_go_from_kernel_to_kernel(exact):
    body, rows = placed(exact)
    kernels = {row["layer"]: row["kernel"] for row in rows}
    convolutions = ("stem", "wide", "deep", "thin", "halved", "first", "second", "beside", "third")
    assert {name: kernels.get(name) for name in convolutions} == {
        **dict.fromkeys(convolutions, "spike_conv_lif"),
        "deep": "depthwise",
        "halved": "depthwise",
    } | {name: kernels[name] for name in ("wide", "thin", "beside") if kernels[name] == "spike_linear_lif"}
    rounds = [node for node in body.graph.nodes if is_named(node, ("round",))]
    assert len(rounds) <= 3  # of the image, of the head's operand, of one value that two grids round
    taken = [node for node in body.graph.nodes if node.meta.get("taken")]
    kinds = {value.dtype for node in taken for value in _values(node)}
    assert kinds & {torch.int8, torch.float16}


def test_what_only_convolutions_read_behind_a_relu_is_held_less_128(exact):
    body, rows = placed(exact)
    layers = [body.get_submodule(str(node.target)) for node in body.graph.nodes if node.meta.get("taken")]
    convolutions = [layer for layer in layers if isinstance(layer, ConvSums)]
    shifted = {tuple(layer.weight.shape): layer for layer in convolutions if layer.less}
    assert set(shifted) == {(32, 3, 3, 32), (32, 1, 1, 16)}
    assert all(layer.weight.dtype == torch.int8 for layer in shifted.values())
    assert shifted[32, 3, 3, 32].corrections.shape == (1 + 9, 32)
    assert shifted[32, 1, 1, 16].corrections.shape == (1 + 1, 32)
    assert "bytes" in {layer.form for layer in layers if isinstance(layer, Sums)}
    said = {row["layer"] for row in rows if "numbers less 128 as int8" in row["with"]}
    assert said == {"wide", "second", "third"}  # `first` and `beside` read what the depthwise kernel puts out


def _values(node):
    value = node.meta["val"]
    return value if isinstance(value, tuple) else (value,)


def test_an_exact_image_network_in_kernels_has_the_bits_of_its_program(exact):
    body, _ = placed(exact)
    x = pictures(4)
    with torch.no_grad():
        wanted = exact.captured.program.module(check_guards=False)(x)[0]
        found = Network(body, exact.captured)(x)[0]
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=0.0)
    assert wanted.std() > 0


def _changed(monkeypatch, owner, name, change):
    true = getattr(owner, name).fget
    monkeypatch.setattr(owner, name, property(lambda self: change(self, true(self))))


def _coarser(monkeypatch):
    _changed(
        monkeypatch,
        Sums,
        "asked",
        lambda layer, given: given | ({"grid": given["grid"] * 2} if layer.form != "int8" else {}),
    )


def _no_relu(monkeypatch):
    _changed(
        monkeypatch, Sums, "asked", lambda _, given: given | ({"least": None} if given.get("least") == 0.0 else {})
    )


def _no_shortcut(monkeypatch):
    true = Sums.ending

    def ending(self, product, found):
        taken = true(self, product, found)
        forward = self.forward
        if taken.beside:
            self.forward = lambda x, beside: forward(x, torch.zeros_like(beside))
        return taken

    monkeypatch.setattr(Sums, "ending", ending)


def _limits_lost(monkeypatch):
    true = DepthwiseLayer.forward

    def forward(self, x):
        kept, self.rounding = (
            self.rounding,
            self.rounding | ({"high": self.rounding["high"] / 2} if self.rounding else {}),
        )
        found = true(self, x)
        self.rounding = kept
        return found

    monkeypatch.setattr(DepthwiseLayer, "forward", forward)


def _borders_forgotten(monkeypatch):
    true = fusion.corrections

    def of_all_taps(*given):
        table = true(*given)
        return table[:1].expand_as(table).contiguous()

    monkeypatch.setattr(fusion, "corrections", of_all_taps)


@pytest.mark.parametrize("plant", [_coarser, _no_relu, _no_shortcut, _limits_lost, _borders_forgotten])
def test_a_wrong_rounding_is_caught_where_it_is_put(plant, exact, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(PassError, match="at "):
        placed(exact)
