"""Attention of few queries without keys and values of its tokens answers as before, by the module in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokit.export.onnx.few_queries import read_tokens
from tests.export.onnx.rewritten import rewritten


class ClassAttention(nn.Module):
    """`[B, N, 12]`: one token a sample, or `rows` of them, attends to all."""

    def __init__(self, how="joined", rows=1, heads=3, bias=False):
        super().__init__()
        self.how, self.rows, self.heads = how, rows, heads
        self.q, self.out = nn.Linear(12, 48, bias=False), nn.Linear(48, 12)
        self.kv = nn.Linear(12, 96, bias=bias)

    def forward(self, x):
        q = self.q(x[:, : self.rows]).unflatten(2, (self.heads, -1)).transpose(1, 2)
        y = self.kv(x)
        if self.how == "heads first":
            k, v = y.unflatten(2, (self.heads, 2, -1)).permute(3, 0, 2, 1, 4)
        elif self.how == "apart":
            k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in y.chunk(2, 2))
        else:
            k, v = y.unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.how == "every second":
            k, v = k[:, :, ::2], v[:, :, ::2]
        weights = (q @ k.transpose(2, 3) / 4).softmax(3)
        y = self.out((weights @ v).transpose(1, 2).flatten(2))
        return y + k.mean() if self.how == "read once more" else y


@pytest.mark.parametrize("how", ["joined", "apart", "heads first"])
@pytest.mark.parametrize("rows", [1, 2])
def test_it_answers_as_before(how, rows, tmp_path):
    torch.manual_seed(0)
    before, after, error = rewritten(ClassAttention(how, rows), (200, 12), read_tokens, tmp_path)
    assert (before["MatMul"], after["MatMul"]) == (5, 6)  # two for each of two, without the keys and values
    assert error < 2e-6


@pytest.mark.parametrize(
    "module",
    [
        ClassAttention(bias=True),
        ClassAttention(rows=150),  # as much work as keys and values
        ClassAttention("read once more"),
        ClassAttention("every second"),
    ],
    ids=["bias", "many queries", "read once more", "every second token"],
)
def test_anything_else_stays(module, tmp_path):
    before, after, error = rewritten(module, (200, 12), read_tokens, tmp_path)
    assert after == before
    assert error < 2e-6
