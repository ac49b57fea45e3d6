"""Carries spikes as int8 between the kernels that give and take them, in the order of axes that they lie in memory."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn import functional
from torch.utils._pytree import tree_map

from neurokit.program.fusions import FusedNeuron, is_fired, most_of
from neurokit.program.nodes import aten, pair
from neurokit.program.ops import Kind, is_kind, is_named, operation
from neurokit.program.passes.base import Pass
from neurokit.program.walk import fetch, store

_MOST = 127
_IN_ONE = 16  # pixels of a window that are compared in one pass; of larger ones, first those of a column


def max_of_windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """Returns the largest of each window of numbers that are not negative; PyTorch's own takes no int8.

    Args:
        x: `[B, C, H, W]`.
        kernel: Height and width of a window.
        stride: Of the windows, down and across.
        padding: Zeros around the input, which no number here is below.
    """
    (tall, wide), (down, across), (top, left) = kernel, stride, padding
    x = functional.pad(x, (left, left, top, top)) if top or left else x
    rows, columns = (x.shape[2] - tall) // down + 1, (x.shape[3] - wide) // across + 1
    if tall * wide <= _IN_ONE:
        places = [(i, j) for i in range(tall) for j in range(wide)]
        return _largest(x[:, :, i::down, j::across][:, :, :rows, :columns] for i, j in places)
    x = _largest(x[:, :, i::down][:, :, :rows] for i in range(tall))
    return _largest(x[..., i::across][..., :columns] for i in range(wide))


def _largest(parts: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.maximum, parts)


def repeat_nearest(x: Tensor, down: int, across: int) -> Tensor:
    """Returns pixels repeated whole times, as upsampling to the nearest does; PyTorch's own takes no int8.

    Args:
        x: `[B, C, H, W]`.
        down: How often each row is repeated.
        across: How often each column is.
    """
    last = x.permute(0, 2, 3, 1)[:, :, None, :, None]
    batch, height, _, width, _, channels = last.shape
    spread = last.expand(batch, height, down, width, across, channels)
    return spread.reshape(batch, height * down, width * across, channels).permute(0, 3, 1, 2)


def _carry(module: GraphModule) -> None:
    graph = module.graph
    most = {node: most_of(node) for node in graph.nodes}
    types = {node: node.meta["val"].dtype for node in graph.nodes if isinstance(node.meta.get("val"), Tensor)}
    carried: set[Node] = set()
    for node, layer in list(fused_nodes(module)):
        layer.kind = torch.int8
        spikes, *rest = node.meta["val"]
        node.meta["val"] = (spikes.to(torch.int8), *rest)
    for node in list(graph.nodes):
        if is_fired(node):
            carried.add(node)
        elif node.op == "call_function" and node.all_input_nodes and node.all_input_nodes[0] in carried:
            _through(graph, node, carried, most)
        if node in carried:
            node.meta["val"] = tree_map(lambda value: value.to(torch.int8), node.meta["val"])
    _cast_back(module, carried, types)
    graph.eliminate_dead_code()


def fused_nodes(module: GraphModule) -> Iterator[tuple[Node, FusedNeuron]]:
    """Yields the layers of neurons in kernels."""
    for node in module.graph.nodes:
        if node.op == "call_module" and node.meta.get("fused"):
            yield node, module.get_submodule(str(node.target))  # type: ignore[misc]


def _through(graph: Any, node: Node, carried: set[Node], most: dict[Node, int | None]) -> None:
    """Lets a node work on int8, where it moves, adds or maximises spikes."""
    known = operation(node.target)
    if is_named(node, ("add", "mul", "cat")) and len(node.all_input_nodes) > 1:
        if set(node.all_input_nodes) <= carried and (most[node] or _MOST + 1) <= _MOST:
            carried.add(node)
        return
    if _splits(node) or (is_named(node, ("getitem",)) and _splits(node.args[0])):
        carried.add(node)
        return
    if len(_tensors(node)) != 1 or known is None or not isinstance(node.meta.get("val"), Tensor):
        return
    if known.kind in (Kind.MOVE, Kind.KEEP) and not known.floats:
        carried.add(node)
    elif (other := _in_int8(node)) is not None:
        node.target, node.args, node.kwargs = other[0], other[1], {}
        carried.add(node)


def _splits(node: Any) -> bool:
    """Returns whether a node splits one tensor into several."""
    return is_kind(node, Kind.MOVE) and isinstance(node.meta.get("val"), list | tuple)


def _tensors(node: Node) -> list[Node]:
    return [one for one in node.all_input_nodes if isinstance(one.meta.get("val"), Tensor)]


def _in_int8(node: Node) -> tuple[Any, tuple[Any, ...]] | None:
    """Returns the operation on int8 that does what a pooling or upsampling of pictures does, and its arguments."""
    value, data = node.meta["val"], node.args[0].meta["val"]  # type: ignore[union-attr]
    if value.dim() != 4 or node.kwargs:
        return None
    if is_named(node, ("max_pool2d",)):
        kernel, stride, padding, dilation, ceil = [*node.args[1:], *[None] * 5][:5]
        if (dilation not in (None, 1) and set(dilation) != {1}) or ceil:  # type: ignore[arg-type]
            return None
        pairs = [pair(one) for one in (kernel, stride or kernel, padding or 0)]
        return max_of_windows, (node.args[0], *pairs)
    if is_named(node, ("upsample_nearest2d",)):
        sizes = [(value.shape[at], data.shape[at]) for at in (2, 3)]
        if any(not isinstance(size, int) for pair in sizes for size in pair) or any(a % b for a, b in sizes):
            return None
        return repeat_nearest, (node.args[0], *(a // b for a, b in sizes))
    return None


def _takes(module: GraphModule, user: Node, node: Node) -> bool:
    """Returns whether a node's user takes it as int8, or reads its size alone."""
    if is_kind(user, Kind.SIZE):
        return True
    if user.op != "call_module":
        return False
    if user.meta.get("taken"):
        return True
    layer = module.get_submodule(str(user.target))
    return isinstance(layer, FusedNeuron) and all(
        at in layer.int8_places for at, one in enumerate(user.args) if one is node
    )


def _cast_back(module: GraphModule, carried: set[Node], types: dict[Node, torch.dtype]) -> None:
    """Gives whatever takes no int8 the spikes in the type that they had."""
    for node in [node for node in module.graph.nodes if node in carried and not _splits(node)]:
        users = [user for user in node.users if user not in carried and not _takes(module, user, node)]
        if not users:
            continue
        with module.graph.inserting_after(node):
            cast = module.graph.call_function(aten.to.dtype, (node, types[node]))
        cast.meta["val"] = node.meta["val"].to(types[node])
        for user in users:
            user.replace_input_with(node, cast)


def _wide(module: GraphModule) -> list[str]:
    """Returns the kernels whose spikes go to the next kernel as floating-point numbers."""
    found = []
    for node, layer in fused_nodes(module):
        for at in layer.int8_places:
            given: Any = node.args[at] if at < len(node.args) else None
            value = None if given is None else given.meta.get("val")
            if value is not None and value.dtype != torch.int8 and (most_of(given) is not None or _widened(given)):
                found.append(f"{node.name} is given spikes as {value.dtype}")
    return found


def _widened(node: Node) -> bool:
    """Returns whether a node is a cast of int8."""
    return is_kind(node, Kind.CAST) and node.args[0].meta["val"].dtype == torch.int8  # type: ignore[union-attr]


CARRY = Pass("carry spikes as int8 between kernels", _carry, after=_wide)


def _last(module: GraphModule) -> None:
    for node in module.graph.nodes:
        weight: Any = node.args[1] if is_named(node, ("conv2d",)) else None
        if isinstance(weight, Node) and weight.op == "get_attr":
            value = fetch(module, str(weight.target))
            store(module, str(weight.target), value.detach().contiguous(memory_format=torch.channels_last))


def _first(module: GraphModule) -> list[str]:
    weights = [node.args[1] for node in module.graph.nodes if is_named(node, ("conv2d",))]
    known = [fetch(module, str(one.target)) for one in weights if isinstance(one, Node) and one.op == "get_attr"]
    return [
        f"a weight {tuple(one.shape)} is not channels-last"
        for one in known
        if not one.is_contiguous(memory_format=torch.channels_last)
    ]


CHANNELS_LAST = Pass("lay out the weights of plain convolutions channels-last", _last, after=_first)
