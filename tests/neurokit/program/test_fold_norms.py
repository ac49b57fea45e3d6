"""Normalisations and zeros are folded into the convolutions behind them: the same numbers, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurokit.models.metaspikeformer.net import RepConv
from neurokit.program.passes.fold_norms import FOLD_BEHIND, FOLD_NORMS
from neurokit.program.walk import without_guards


class Padded(nn.Module):
    """Zeros, a normalisation of them, a convolution in groups: the border is what the normalisation makes of zero."""

    def __init__(self, kind=nn.Conv2d, norm=nn.BatchNorm2d, sides=(1, 1, 2, 2), groups=2, bias=True, **words):
        super().__init__()
        self.norm, self.conv = norm(4), kind(4, 6, 3, groups=groups, bias=bias)
        self.sides, self.words = sides, words

    def forward(self, x):
        return self.conv(self.norm(functional.pad(x, self.sides, **self.words)))


class Read(nn.Module):
    """What the normalisation gives is read twice."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        y = self.norm(x)
        return self.conv(y).sum() + y.sum()


class Around(nn.Module):
    """A convolution that pads what is normalised: its border is zero, not what the normalisation makes of zero."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(self.norm(x))


def program(module: nn.Module, x: torch.Tensor):
    """A program in float64 whose normalisations do something."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for value in (part.weight, part.bias, part.running_mean):
                nn.init.normal_(value)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    module.double().eval()
    return without_guards(torch.export.export(module, (x,), strict=False).module()), module


def left(body) -> list[str]:
    called = [str(node.target) for node in body.graph.nodes if node.op == "call_function"]
    return [name for name in called if "norm" in name or "pad" in name]


PICTURES, LINES = (2, 4, 5, 7), (2, 4, 9)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (RepConv(4), PICTURES),
        (Padded(), PICTURES),
        (Padded(groups=1, bias=False), PICTURES),
        (Padded(sides=(2, 2)), PICTURES),
        (Padded(nn.Conv1d, nn.BatchNorm1d, (2, 2)), LINES),
        (Padded(nn.Conv3d, nn.BatchNorm3d, (1, 1, 0, 0, 2, 2)), (2, 4, 3, 4, 5)),
    ],
)
def test_normalised_zeros_are_part_of_the_convolution_behind(module, shape):
    x = torch.randn(shape, dtype=torch.float64)
    body, module = program(module, x)
    FOLD_NORMS(body)
    FOLD_BEHIND(body)
    assert not left(body)
    torch.testing.assert_close(body(x), module(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("module", "kept"),
    [
        (Read(), ["aten.batch_norm.default"]),
        (Around(), ["aten.batch_norm.default"]),
        (Padded(sides=(1, 0, 0, 0)), ["aten.pad.default"]),
        (Padded(sides=(1, 1, 1, 1), value=0.5), ["aten.pad.default"]),
        (Padded(sides=(1, 1, 1, 1), mode="reflect"), ["aten.pad.default"]),
    ],
)
def test_what_is_something_else_stays(module, kept):
    x = torch.randn(PICTURES, dtype=torch.float64)
    body, module = program(module, x)
    FOLD_BEHIND(body)
    assert left(body) == kept
    torch.testing.assert_close(body(x), module(x), rtol=1e-12, atol=1e-12)
