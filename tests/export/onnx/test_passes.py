"""What is known before a call is computed before it."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import Tensor, nn

import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec

SIDE = 128  # 16,384 numbers: more than onnxscript folds by itself


class Regions(nn.Module):
    """Draws a mask in every call, region by region, as windows that are shifted do; and has a weight as large."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(SIDE, SIDE)
        for number, region in enumerate((slice(0, 64), slice(64, 100), slice(100, None))):
            mask[region, :] += number
            mask[:, region] = number
        return x @ self.weight.T * mask


def test_a_mask_that_is_drawn_in_every_call_is_a_constant(tmp_path):
    spec = ModelSpec("regions", Regions, (TensorSpec("x", (SIDE, SIDE)),))
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "m")
    assert artifact.manifest.parity["verdict"] != "failed"
    graph = onnx.load(artifact.file("model.onnx")).graph
    assert not {node.op_type for node in graph.node} & {"ScatterND", "Slice", "Expand", "Where"}
    x = np.random.default_rng(0).random((2, SIDE, SIDE), dtype=np.float32)
    with nk.open(artifact) as runner, torch.no_grad():
        np.testing.assert_allclose(runner(x), Regions()(torch.from_numpy(x)).numpy(), rtol=1e-5)
