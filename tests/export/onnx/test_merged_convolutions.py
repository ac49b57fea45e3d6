"""Convolutions that become one answer as they did, by the module in float64; what is not one map stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokit.export.onnx.merged_convolutions import merge
from tests.export.onnx.rewritten import rewritten


class Sums(nn.Module):
    """The sum of convolutions of one input, and of that input where `added`."""

    def __init__(self, parts, added=False, then=None):
        super().__init__()
        self.parts, self.added, self.then = nn.ModuleList(parts), added, then or nn.Identity()

    def forward(self, x):
        y = sum((part(x) for part in self.parts[1:]), self.parts[0](x))
        return self.then(y + x if self.added else y)


class Tokens(nn.Module):
    """`[B, N, C]`: a depthwise convolution of tokens on a grid, and the tokens, as in Mix-FFN."""

    def __init__(self, flat):
        super().__init__()
        self.flat, self.depthwise = flat, nn.Conv2d(6, 6, 3, padding=1, groups=6)

    def forward(self, x):
        if self.flat:
            grid = x.transpose(1, 2).unflatten(2, (4, 5))
            return self.depthwise(grid).flatten(2).transpose(1, 2) + x
        return x + self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def depthwise(side, **settings):
    return nn.Conv2d(6, 6, side, padding=side // 2, groups=6, **settings)


GAINED = {  # module, sizes, convolutions before and after, sums after
    "three scales": (lambda: Sums([depthwise(s, bias=s != 5) for s in (3, 5, 7)]), (6, 9, 8), 3, 1, 0),
    "other borders": (
        lambda: Sums([nn.Conv2d(6, 4, (3, 1), stride=2, padding=(1, 0)), nn.Conv2d(6, 4, 1, stride=2)]),
        (6, 9, 8),
        2,
        1,
        0,
    ),
    "scales and the input": (
        lambda: Sums([depthwise(3), nn.Conv2d(6, 6, 1, groups=6)], True, nn.ReLU()),
        (6, 9, 8),
        2,
        1,
        0,
    ),
    "grouped and its input": (lambda: Sums([nn.Conv2d(6, 6, 3, padding=1, groups=2)], True), (6, 7, 7), 1, 1, 0),
    "tokens on a grid": (lambda: Tokens(True), (20, 6), 1, 1, 0),
    "tokens in rows": (lambda: Tokens(False), (4, 5, 6), 1, 1, 0),
    "in a row": (
        lambda: nn.Sequential(nn.Conv2d(6, 24, 2, stride=2, groups=6), nn.Conv2d(24, 24, 1, groups=6)),
        (6, 8, 8),
        2,
        1,
        0,
    ),
}


@pytest.mark.parametrize("name", GAINED)
def test_they_answer_as_before(name, tmp_path):
    torch.manual_seed(0)
    make, sizes, convolutions, left, sums = GAINED[name]
    before, after, error = rewritten(make(), sizes, merge, tmp_path)
    assert (before["Conv"], after["Conv"], after["Add"]) == (convolutions, left, sums)
    assert error < 2e-6


class Twice(nn.Module):
    """A convolution that is added and read once more."""

    def __init__(self):
        super().__init__()
        self.a, self.b = depthwise(3), depthwise(3)

    def forward(self, x):
        y = self.a(x)
        return (y + self.b(x)) * y


class Turned(nn.Module):
    """Rows and columns change places before the sum with the input."""

    def __init__(self):
        super().__init__()
        self.depthwise = depthwise(3)

    def forward(self, x):
        return x + self.depthwise(x).transpose(2, 3)


LEFT = {
    "read once more": (Twice, (6, 8, 8)),
    "other groups": (lambda: Sums([depthwise(3), nn.Conv2d(6, 6, 3, padding=1, groups=2)]), (6, 9, 9)),
    "more work": (  # a row and a column: the square that holds both is larger than the two
        lambda: Sums([nn.Conv2d(6, 6, (1, 7), padding=(0, 3)), nn.Conv2d(6, 6, (7, 1), padding=(3, 0))]),
        (6, 8, 8),
    ),
    "half steps": (lambda: Sums([nn.Conv2d(6, 6, 3, padding=2, dilation=2), depthwise(3)]), (6, 8, 8)),
    "turned": (Turned, (6, 8, 8)),
    "an even window": (lambda: Sums([nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(6, 6, 2))], True), (6, 8, 8)),
    "a pointwise one between": (lambda: nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 1)), (6, 8, 8)),
    "fewer in the middle": (lambda: nn.Sequential(nn.Conv2d(32, 2, 3), nn.Conv2d(2, 32, 1)), (32, 8, 8)),
    "a border behind": (lambda: nn.Sequential(depthwise(3), nn.Conv2d(6, 6, 1, groups=6, padding=1)), (6, 8, 8)),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_one_map_or_more_work_stays(name, tmp_path):
    torch.manual_seed(0)
    make, sizes = LEFT[name]
    before, after, error = rewritten(make(), sizes, merge, tmp_path)
    assert after == before
    assert error < 2e-6
