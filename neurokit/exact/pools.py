"""Averages over windows that are no pooling of pictures: as sums of windows, divided by how many they add."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from neurokit.program.nodes import CONVOLUTIONS, aten, hints, window_count
from neurokit.program.ops import is_named
from neurokit.program.walk import store

_AXES = {f"{kind}avg_pool{axes}d": axes for kind in ("", "adaptive_") for axes in CONVOLUTIONS}


@dataclass(frozen=True)
class _Windows:
    size: list[int]
    stride: list[int]
    padding: list[int]
    divisor: int


def as_sums(module: Any, graph: Graph) -> None:
    """Rewrites every such average whose windows have one size, in place."""
    for node in list(graph.nodes):
        name = next((name for name in _AXES if is_named(node, {name})), None)
        if name is None or (_AXES[name] == 2 and window_count(node)[1] is not None):
            continue
        axes, data = _AXES[name], node.args[0]
        shape = hints(data)
        if len(shape) != axes + 2:
            continue
        windows = _adaptive(node, axes) if name.startswith("adaptive") else _given(node, axes)
        if windows is None:
            continue
        with graph.inserting_before(node):
            if list(shape[-axes:]) == windows.size and not any(windows.padding):
                made = graph.call_function(aten.sum.dim_IntList, (data, list(range(-axes, 0)), True))
            else:
                made = _convolved(module, graph, node, windows)
            made.meta["val"] = node.meta["val"]
            mean = graph.call_function(aten.div.Tensor, (made, windows.divisor))
        mean.meta = dict(node.meta)
        node.replace_all_uses_with(mean)
        graph.erase_node(node)


def _convolved(module: Any, graph: Graph, node: Node, windows: _Windows) -> Node:
    axes, channels = len(windows.size), hints(node.args[0])[1]  # type: ignore[arg-type]
    path = f"pool_{node.name}"
    store(module, path, torch.ones(channels, 1, *windows.size))
    settings = (windows.stride, windows.padding, [1] * axes, channels)
    made: Node = graph.call_function(CONVOLUTIONS[axes], (node.args[0], graph.get_attr(path), None, *settings))
    return made


def _adaptive(node: Node, axes: int) -> _Windows | None:
    """Returns the windows of an adaptive average, where all have one size and one distance."""
    sizes: list[int] = []
    strides: list[int] = []
    for size, count in zip(hints(node.args[0])[-axes:], hints(node)[-axes:], strict=True):  # type: ignore[arg-type]
        starts = [place * size // count for place in range(count)]
        widths = {-(-(place + 1) * size // count) - start for place, start in enumerate(starts)}
        steps = {b - a for a, b in itertools.pairwise(starts)} or {size}
        if len(widths) > 1 or len(steps) > 1:
            return None
        sizes += widths
        strides += steps
    return _Windows(sizes, strides, [0] * axes, math.prod(sizes))


def _given(node: Node, axes: int) -> _Windows | None:
    """Returns the windows of an average, where every one is divided by the same number."""
    given: list[Any] = [*node.args[1:], *(None,) * 6]
    kernel, stride, padding, ceil, counts_padding, divisor = given[:6]
    size = _each(kernel, axes)
    around = _each(padding or 0, axes)
    if ceil or (any(around) and counts_padding is False and not divisor):
        return None
    return _Windows(size, _each(stride or kernel, axes), around, int(divisor or math.prod(size)))


def _each(value: Any, axes: int) -> list[int]:
    given = list(value) if isinstance(value, list | tuple) else [value]
    return [int(part) for part in (given if len(given) == axes else given * axes)]
