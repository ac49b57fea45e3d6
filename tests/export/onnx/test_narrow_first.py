"""Heads of few classes move in front of what lays tokens out, and answer as before, by the module in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokit.export.onnx.narrow_first import classify_first
from tests.export.onnx.rewritten import rewritten


class Decoder(nn.Module):
    """`[B, 3, 5, 6]` to scores of a grid of twice its sides."""

    def __init__(self, how="normalised", classes=5, bias=True, kernel=1):
        super().__init__()
        self.how = how
        self.wide, self.norm = nn.Linear(6, 48), nn.LayerNorm(12)
        self.head = nn.Conv2d(12, classes, kernel, bias=bias)
        with torch.no_grad():
            self.norm.weight.normal_()
            self.norm.bias.normal_()

    def forward(self, x):
        tokens = self.wide(x).unflatten(3, (2, 2, 12))
        grid = tokens.permute(0, 1, 3, 2, 4, 5)
        if self.how == "channels mixed":
            grid = tokens.permute(0, 1, 3, 2, 5, 4)
        grid = grid.reshape(-1, 6, 10, 12)
        y = self.norm(grid) if self.how != "plain" else grid
        scores = self.head(y.permute(0, 3, 1, 2))
        return scores + y.mean((1, 2, 3))[:, None, None, None] if self.how == "read once more" else scores


@pytest.mark.parametrize("how", ["normalised", "plain"])
@pytest.mark.parametrize("bias", [True, False])
def test_it_answers_as_before(how, bias, tmp_path):
    torch.manual_seed(0)
    before, after, error = rewritten(Decoder(how, bias=bias), (3, 5, 6), classify_first, tmp_path)
    assert (before["Conv"], after["Conv"], after["MatMul"] - before["MatMul"]) == (1, 0, 1)
    assert after["Transpose"] == before["Transpose"]
    assert error < 2e-6


@pytest.mark.parametrize(
    "settings",
    [{"how": "read once more"}, {"how": "channels mixed"}, {"classes": 7}, {"kernel": 3}],
    ids=["read once more", "channels mixed", "more than half", "a window"],
)
def test_anything_else_stays(settings, tmp_path):
    torch.manual_seed(0)
    before, after, error = rewritten(Decoder(**settings), (3, 5, 6), classify_first, tmp_path)
    assert after == before
    assert error < 2e-6
