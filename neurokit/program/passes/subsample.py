"""Writes 1x1 convolutions of a stride as those of every stride-th pixel, which compilers make products of rows."""

from __future__ import annotations

import sys
from typing import Any

from torch.fx import GraphModule, Node

from neurokit.program.nodes import aten, convolution_settings, pair
from neurokit.program.passes.base import Pass


def _strided(module: GraphModule) -> list[tuple[Node, tuple[int, int]]]:
    """Returns plain 1x1 convolutions of pictures with their stride, where it is more than one pixel."""
    found = []
    for node in module.graph.nodes:
        if node.op != "call_function" or node.target is not aten.conv2d.default or node.kwargs:
            continue
        weight, (stride, padding, _, groups) = node.args[1].meta["val"], convolution_settings(node)
        if len(node.meta["val"].shape) != 4 or groups != 1 or any(pair(padding)):
            continue
        if tuple(weight.shape[2:]) == (1, 1) and any(step > 1 for step in pair(stride)):
            found.append((node, pair(stride)))
    return found


def _rewrite(module: GraphModule) -> None:
    for node, stride in _strided(module):
        seen: Any = node.args[0]
        for axis, step in zip((2, 3), stride, strict=True):
            if step > 1:
                with module.graph.inserting_before(node):
                    part = module.graph.call_function(aten.slice.Tensor, (seen, axis, 0, sys.maxsize, step))
                part.meta["val"] = aten.slice.Tensor(seen.meta["val"], axis, 0, sys.maxsize, step)
                seen = part
        bias = node.args[2] if len(node.args) > 2 else None
        node.args = (seen, node.args[1], bias)


def _left(module: GraphModule) -> list[str]:
    return [f"{node.name} has a stride of {stride}" for node, stride in _strided(module)]


#: cuDNN's own took 65 us, and what turned the image around for it 55, at 64 channels of 32 x 112 x 112 pixels in
#: float16; every second pixel and its product take 17 (`ms_resnet18` on an H200; benchmarks/gpu.py).
SUBSAMPLE = Pass("write 1x1 convolutions of a stride as those of every stride-th pixel", _rewrite, after=_left)
