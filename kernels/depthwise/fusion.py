"""`depthwise` in a program: a depthwise convolution, and the rounding to int8 that exact numerics put behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.kernels.common.fusion import COUNTS, integer_rows
from neurokit.kernels.common.sums import between
from neurokit.kernels.depthwise.op import depthwise
from neurokit.program.fusions import Rewrite, Taken, most_of, register_rewrite
from neurokit.program.grids import Held, levels_at, levels_behind
from neurokit.program.nodes import convolution_settings
from neurokit.program.ops import is_named
from neurokit.program.walk import fetch

_HALVES = (torch.float16, torch.bfloat16)


class DepthwiseLayer(nn.Module):
    """A depthwise convolution of `[B, C, H, W]`, channels last in memory.

    Args:
        weight: `[C, 1, k, k]`, float16 or bfloat16, or int8 beside `scale`.
        scale: What the rows of an int8 weight are multiplied by, or None.
        bias: `[C]` or None.
        padding: Zeros around the input.
        rounding: grid, low and high of a rounding to int8 or float16, of which the numbers come out; or nothing.
        stride: Step of the kernel.
    """

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor | None,
        bias: Tensor | None,
        padding: int,
        rounding: dict[str, Any],
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.padding, self.rounding, self.stride = padding, rounding, stride
        self.register_buffer("weight", weight[:, 0].permute(1, 2, 0).contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.float().contiguous())

    @property
    def channels(self) -> int:
        """Channels, in and out."""
        return int(self.weight.shape[2])

    @property
    def channelwise(self) -> tuple[Any, ...] | None:
        """What layers of parts of one value must have in common to be one layer, or None of one that rounds."""
        if self.rounding or self.stride > 1:
            return None
        return self.padding, self.weight.shape[0], self.weight.dtype, self.scale is None, self.bias is None

    def beside(self, others: Sequence[DepthwiseLayer]) -> DepthwiseLayer:
        """Returns this layer and others of the same kind as one, their channels side by side."""
        weights, scales, biases = zip(*((one.weight, one.scale, one.bias) for one in (self, *others)), strict=True)
        scale, bias = (None if rows[0] is None else torch.cat(rows) for rows in (scales, biases))
        return DepthwiseLayer(torch.cat(weights, -1).permute(2, 0, 1)[:, None], scale, bias, self.padding, {})

    def forward(self, x: Tensor) -> Tensor:
        """Runs the kernel."""
        given: dict[str, Any] = {"padding": self.padding, "scale": self.scale, "stride": self.stride, **self.rounding}
        data = x.permute(0, 2, 3, 1)
        whole = self.weight.dtype == torch.int8 and x.dtype == torch.float16
        found = depthwise(data if whole else data.to(self.weight.dtype), self.weight, self.bias, **given)
        return found.permute(0, 3, 1, 2)


def _take(module: GraphModule, exact: bool) -> list[Taken]:
    """Returns every depthwise convolution that the kernel takes."""
    found = []
    for node in module.graph.nodes:
        taken = _taken(module, node, exact) if is_named(node, ("conv2d",)) else None
        if taken is not None:
            found.append(taken)
    return found


def _taken(module: GraphModule, node: Node, exact: bool) -> Taken | None:
    data, given = node.args[0], [*node.args[1:3], None][:2]
    if any(value is not None and getattr(value, "op", "") != "get_attr" for value in given):
        return None
    weight, bias = (None if value is None else fetch(module, str(value.target)).detach() for value in given)
    assert weight is not None
    place = _place(node, weight)
    if place is None:
        return None
    stride, padding = place
    if not exact:
        fits = stride == 1 and weight.dtype in _HALVES and data.meta["val"].dtype == weight.dtype  # type: ignore[union-attr]
        return Taken(node, data, DepthwiseLayer(weight, None, bias, padding, {}), (node,)) if fits else None  # type: ignore[arg-type]
    most, levels, rows = most_of(data), levels_at(data), integer_rows(weight)
    unknown = levels.less > 0 if levels is not None else most is None or most > COUNTS
    if unknown or isinstance(rows, str):
        return None
    held = levels_behind(node)
    held = held if held is not None and len(node.users) == 1 and not held.less else None
    if levels is None and (stride > 1 or (held is not None and held.kind != torch.int8)):
        return None
    rounding: dict[str, Any] = {}
    if held is not None:
        halves = {"halves": True} if held.kind == torch.float16 else {}
        rounding = {**held.grid.keywords, **halves}
    operand = [] if levels is None else between(data, levels.node)
    data, unit, _ = levels or Held(data, 1.0)  # type: ignore[arg-type]
    layer = DepthwiseLayer(rows[0], rows[1] * unit, bias, padding, rounding, stride)
    last, behind = (node, ()) if held is None else (held.node, held.nodes)
    return Taken(last, data, layer, (*behind, node, *operand))  # type: ignore[arg-type]


def _place(node: Node, weight: Tensor) -> tuple[int, int] | None:
    """Returns stride and padding of a depthwise convolution with a square kernel, or None of any other."""
    stride, padding, dilation, groups = convolution_settings(node)
    if isinstance(padding, str) or groups != weight.shape[0] or weight.shape[1] != 1 or groups == 1:
        return None
    square = len(set(stride)) == len(set(padding)) == len(set(weight.shape[2:])) == 1
    return (int(stride[0]), int(padding[0])) if square and set(dilation) == {1} else None


register_rewrite(Rewrite("depthwise", _take))
