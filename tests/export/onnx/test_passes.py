"""What is known before a call is computed before it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
import onnx_ir as ir
import torch
from torch import Tensor, nn

import neurokit as nk
from neurokit.export.onnx.passes import node_count
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


CALLS = """
<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
whole (float[N] x, bool c) => (float[N] y) {
    a = own.twice (x)
    b = own.once (a)
    y = If (c) <
        then_branch = first () => (float[N] p) { q = own.twice (b)  p = Neg (q) },
        else_branch = second () => (float[N] r) { r = Abs (b) }>
}
<opset_import: ["" : 20], domain: "own"> once (x) => (y) { h = Exp (x)  y = Log (h) }
<opset_import: ["" : 20, "own" : 1], domain: "own"> twice (x) => (y) { h = own.once (x)  y = own.once (h) }
"""


def test_nodes_are_counted_as_inlining_leaves_them():
    model = onnx.parser.parse_model(CALLS)
    inlined = onnx.inliner.inline_local_functions(model).graph
    branches = [a.g.node for node in inlined.node for a in node.attribute]
    expected = len(inlined.node) + sum(len(nodes) for nodes in branches)
    assert node_count(ir.from_proto(model)) == expected == 4 + 2 + 1 + 5 + 1
