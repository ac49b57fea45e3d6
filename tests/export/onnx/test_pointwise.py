"""Products before convolutions become convolutions and answer as before, by the module in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokit.export.onnx.pointwise import convolve_tokens
from tests.export.onnx.rewritten import rewritten


class FeedForward(nn.Module):
    """`[B, H, W, C]` or, flat, `[B, N, C]`: widened, convolved on a 3 x 4 grid, narrowed."""

    def __init__(self, how, width=16, inner=48, bias=True):
        super().__init__()
        self.how = how
        self.wide, self.narrow = nn.Linear(width, inner, bias=bias), nn.Linear(inner, width)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)

    def forward(self, x):
        y = self.wide(x)
        if self.how == "channels, then a grid":
            grid = y.transpose(1, 2).unflatten(2, (3, 4))
        elif self.how == "a grid, then channels":
            grid = y.unflatten(1, (3, 4)).permute(0, 3, 1, 2)
        elif self.how == "columns first":
            grid = y.permute(0, 3, 2, 1)
        else:
            grid = y.permute(0, 3, 1, 2)
        z = self.depthwise(grid).permute(0, 2, 3, 1)
        z = z + y if self.how == "read once more" else z
        return self.narrow(nn.functional.gelu(z))


@pytest.mark.parametrize("how", ["a grid", "channels, then a grid", "a grid, then channels"])
@pytest.mark.parametrize("bias", [True, False])
def test_they_answer_as_before(how, bias, tmp_path):
    torch.manual_seed(0)
    sizes = (3, 4, 16) if how == "a grid" else (12, 16)
    before, after, error = rewritten(FeedForward(how, bias=bias), sizes, convolve_tokens, tmp_path)
    assert (before["MatMul"], before["Conv"], after["MatMul"], after["Conv"]) == (2, 1, 1, 2)
    assert after["Add"] == before["Add"] - bias
    assert after["Transpose"] == before["Transpose"]
    assert error < 2e-6


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        ("read once more", {}),
        ("columns first", {}),
        ("narrower", {"width": 32, "inner": 16}),  # more to bring over
        ("no whole blocks", {"width": 16, "inner": 40}),
    ],
)
def test_anything_else_stays(how, settings, tmp_path):
    torch.manual_seed(0)
    module = FeedForward(how, **settings)
    before, after, error = rewritten(module, (3, 4, settings.get("width", 16)), convolve_tokens, tmp_path)
    assert after == before
    assert error < 2e-6
