"""What is known before a call is computed before it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import neurokit as nk
from neurokit.export.onnx.passes import by_operator, node_count
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


@pytest.mark.parametrize("halves", [True, False])
def test_a_pattern_of_two_slices_is_tried_where_one_value_has_two(halves, monkeypatch):
    """onnxscript tries it with every pair of slices; slices of several values are many, and it fits none of them."""
    from onnxscript import rewriter
    from onnxscript.rewriter._matcher import SimplePatternMatcher

    numbers = {"zero": [0], "four": [4], "eight": [8], "last": [1]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    nodes = [
        helper.make_node("Slice", ["x", "zero", "four", "last"], ["a"]),
        helper.make_node("Slice", ["x" if halves else "other", "four", "eight", "last"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 8]) for name in ("x", "other")]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])
    graph = helper.make_graph(nodes, "g", ports, [made], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    tried, match = [], SimplePatternMatcher.match

    def counted(self, model, graph, node, **options):
        tried.append(self.pattern.has_single_output_node)
        return match(self, model, graph, node, **options)

    monkeypatch.setattr(SimplePatternMatcher, "match", counted)
    default, found = rewriter._DEFAULT_REWRITE_RULES, []
    for rules in (rewriter.RewriteRuleSet(default), by_operator(default)):
        model = ir.from_proto(proto)
        tried.clear()
        rewriter.RewritePass(rules)(model)
        found.append([node.op_type for node in model.graph])
    assert found[0] == found[1]
    assert tried.count(False) == (2 if halves else 0)
