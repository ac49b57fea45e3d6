"""`pool_lif` in a program: the largest or the mean of windows of currents, a rounding, and the neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from neurokit.kernels.common.neuron import on_grid
from neurokit.kernels.pool_lif.op import LARGEST, pool_lif
from neurokit.program.fusions import FusedNeuron, Fusion, Match, Site, register_fusion, shape_of, through_reshapes
from neurokit.program.grids import Grid, grid_at
from neurokit.program.nodes import is_average_pool, is_max_pool, pair, window_count
from neurokit.program.ops import is_named

_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Windows of pictures.

    Attributes:
        kernel: Height and width.
        stride: Down and across.
        padding: Rows and columns around the picture.
        how: "max" or "mean".
    """

    kernel: _Pair
    stride: _Pair
    padding: _Pair
    how: str


class PoolLayer(FusedNeuron):
    """Pooling, rounding and neuron of currents `[T * B, C, H, W]`.

    Args:
        site: Where it is.
        windows: What is pooled.
        grid: How that is rounded, or None.
    """

    def __init__(self, site: Site, windows: Windows, grid: Grid | None) -> None:
        super().__init__(site.neuron)
        self.kind, self.windows = site.node.meta["val"][0].dtype, windows
        self.steps, *self.rest = (size for at, size in enumerate(shape_of(site.current)) if at != 1)
        self.rounding = (None, None, None) if grid is None else (grid.unit, grid.low, grid.high)
        self.keywords = site.keywords

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Runs the kernel with channels last, or with every channel as a picture of its own where they lie so."""
        x = given[0].unflatten(0, (self.steps, -1))
        first = given[0].is_contiguous()
        unit, low, high = self.rounding
        spikes, current = pool_lif(
            x.flatten(1, 2).unsqueeze(-1) if first else x.movedim(2, -1),
            self.windows.kernel,
            stride=self.windows.stride,
            padding=self.windows.padding,
            how=self.windows.how,
            grid=unit,
            low=low,
            high=high,
            form="int8" if self.kind == torch.int8 else "same",
            want_current=self.want_current,
            **self.keywords,
        )

        def back(value: Tensor) -> Tensor:
            moved = value.squeeze(-1).unflatten(1, (-1, x.shape[2])) if first else value.movedim(-1, 2)
            return moved.reshape(self.steps, -1, *self.rest)

        handed = back(current) if self.want_current else None
        return self.results(back(spikes), given[1].clone(), handed, given)

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the pooled, rounded current by PyTorch's own operations."""
        pool, w = F.max_pool2d if self.windows.how == "max" else F.avg_pool2d, self.windows
        pooled = pool(given[0], w.kernel, w.stride, w.padding)
        return on_grid(pooled, *self.rounding).reshape(self.steps, -1, *self.rest)


def _match(site: Site) -> Match | str:
    if not site.at_rest:
        return "its membrane comes from outside, and the kernel starts from rest"
    top, inside = through_reshapes(site.current)
    grid = grid_at(top) if site.exact else None
    if grid is not None:
        top, between = through_reshapes(grid.source)
        inside = [*inside, *grid.nodes, *between]
    windows = _windows(top)
    if isinstance(windows, str):
        return windows
    data: Any = top.args[0]
    if data.meta["val"].dtype not in _TYPES:
        return f"what is pooled is {str(data.meta['val'].dtype).removeprefix('torch.')}"
    # The rounded current is handed on; who reads what it is rounded from keeps the layer outside.
    handed = (
        (site.current, *inside, top) if grid is None else (site.current, *inside[: inside.index(grid.nodes[0]) + 1])
    )
    known = tuple(dict.fromkeys(handed))
    return Match(PoolLayer(site, windows, grid), (data, site.node.args[1]), (*inside, top), known)  # type: ignore[arg-type]


def _windows(node: Any) -> Windows | str:
    """Returns what a pooling of pictures pools, or why the kernel does not."""
    if not (is_max_pool(node) or is_average_pool(node)):
        what = str(node.target).removeprefix("aten.").partition(".")[0] if isinstance(node, Node) else "a number"
        return f"before it stands no pooling but {what}"
    if node.kwargs or len(shape_of(node)) != 4:
        return "its pooling is of no pictures"
    found = _largest(node) if is_max_pool(node) else _mean(node)
    if isinstance(found, str):
        return found
    if found.kernel[0] * found.kernel[1] > LARGEST:
        return f"its windows have more than {LARGEST} pixels"
    return found


def _largest(node: Node) -> Windows | str:
    kernel, stride, padding, dilation, ceil = [*node.args[1:], *[None] * 5][:5]
    if pair(dilation or 1) != (1, 1) or ceil:
        return "its windows have holes, or hang over the edge"
    return Windows(pair(kernel), pair(stride or kernel), pair(padding or 0), "max")


def _mean(node: Node) -> Windows | str:
    count, kernel = window_count(node)
    if kernel is None or count != kernel[0] * kernel[1]:
        return "its means are of different numbers of pixels"
    if is_named(node, ("avg_pool2d",)):
        _, stride, padding, *_ = [*node.args[1:], *[None] * 3]
        return Windows(kernel, pair(stride or kernel), pair(padding or 0), "mean")
    whole = [size // out for size, out in zip(shape_of(node.args[0]), shape_of(node), strict=True)][2:]  # type: ignore[arg-type]
    return Windows(kernel, kernel, (0, 0), "mean") if tuple(whole) == kernel else "its windows overlap"


register_fusion(Fusion("pool_lif", 35, _match))
