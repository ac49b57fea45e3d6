"""Attention among channels reads its tokens last from the start, and answers as before, by the module in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokit.export.onnx.tokens_last import keep_tokens_last
from tests.export.onnx.rewritten import rewritten


class ChannelAttention(nn.Module):
    """Takes `[B, H, W, width]` or `[B, N, width]`."""

    def __init__(self, width=12, heads=3, bias=False):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width)

    def forward(self, x):
        tokens = self.qkv(x).flatten(1, -2)
        q, k, v = tokens.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)
        y = (q @ k.transpose(2, 3)).softmax(3) @ v
        return self.proj(y.permute(0, 3, 1, 2).flatten(2))


class PlaceAttention(nn.Module):
    """Attention over places: its tokens are brought to the axis before the last."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        return self.proj(((q @ k.transpose(2, 3)).softmax(3) @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("sizes", [(4, 5, 12), (7, 12)], ids=["a grid", "in a row"])
@pytest.mark.parametrize("bias", [True, False])
def test_it_answers_as_before(sizes, bias, tmp_path):
    torch.manual_seed(0)
    before, after, error = rewritten(ChannelAttention(bias=bias), sizes, keep_tokens_last, tmp_path)
    assert error < 2e-6
    assert after["Transpose"] == before["Transpose"] + 1  # of what the product reads, and of views of its result
    assert (after["MatMul"], after["Add"]) == (before["MatMul"], before["Add"])


def test_onnx_runtime_is_left_with_no_tokens_to_bring_to_the_end(tmp_path):
    import onnx
    import onnxruntime

    torch.manual_seed(0)
    rewritten(ChannelAttention(), (4, 5, 12), keep_tokens_last, tmp_path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "left.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "after.onnx", options, providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape[1:] == [20, 12]
    left = [node for node in onnx.load(tmp_path / "left.onnx").graph.node if node.op_type == "Transpose"]
    perms = [list(node.attribute[0].ints) for node in left]
    assert all(perm[-1] == len(perm) - 1 for perm in perms)  # whole rows of tokens are moved, if any


def test_attention_over_places_stays(tmp_path):
    torch.manual_seed(0)
    before, after, error = rewritten(PlaceAttention(), (7, 12), keep_tokens_last, tmp_path)
    assert after == before
    assert error < 2e-6
