"""Depthwise convolutions of the parts of one value become one of the whole, with the same bits."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from neurokit.kernels.depthwise.fusion import DepthwiseLayer
from neurokit.program.nodes import aten
from neurokit.program.passes.join_parts import JOIN_PARTS


class Parts(nn.Module):
    """Layers of `[begin, count)` channels of one value."""

    def __init__(self, parts, biases=(True, True), paddings=(1, 1)):
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.parts = parts
        for at, (_, count) in enumerate(parts):
            weight = torch.randn(count, 1, 3, 3, generator=draw).half()
            bias = torch.randn(count, generator=draw) if biases[at] else None
            self.add_module(f"layer_{at}", DepthwiseLayer(weight, None, bias, paddings[at], {}))

    def graph(self) -> fx.GraphModule:
        graph = fx.Graph()
        x = graph.placeholder("x")
        x.meta["val"] = torch.empty(2, 8, 5, 6, dtype=torch.float16, device="meta")
        found = []
        for at, (begin, count) in enumerate(self.parts):
            part = graph.call_function(aten.narrow.default, (x, 1, begin, count))
            found.append(graph.call_module(f"layer_{at}", (part,)))
            found[-1].meta["val"] = torch.empty(2, count, 5, 6, dtype=torch.float16, device="meta")
        graph.output(tuple(found))
        return fx.GraphModule(self, graph)


def calls(module: fx.GraphModule) -> int:
    return sum(node.op == "call_module" for node in module.graph.nodes)


@pytest.mark.parametrize("parts", [((0, 3), (3, 5)), ((3, 5), (0, 3))])
@pytest.mark.parametrize("bias", [True, False])
def test_parts_of_one_value_are_one_call(parts, bias):
    module = Parts(parts, (bias, bias)).graph()
    x = torch.randn(2, 8, 5, 6).half()
    wanted = module(x)
    JOIN_PARTS(module)
    assert calls(module) == 1
    for found, want in zip(module(x), wanted, strict=True):
        assert torch.equal(found, want)


@pytest.mark.parametrize(
    "module",
    [
        Parts(((0, 3), (3, 4))),  # the last channel is nobody's
        Parts(((0, 5), (3, 5))),
        Parts(((0, 3), (3, 5)), biases=(True, False)),
        Parts(((0, 3), (3, 5)), paddings=(1, 2)),
    ],
)
def test_other_layers_stay_apart(module):
    graph = module.graph()
    JOIN_PARTS(graph)
    assert calls(graph) == 2
