"""Products of spikes that no neuron follows, in exact numerics: the sums of the int8 kernels, their spikes unread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.kernels.common.fusion import COUNTS, Product
from neurokit.program.fusions import Taken, most_of
from neurokit.program.grids import Grid, grid_at, levels_at
from neurokit.program.nodes import is_weighted
from neurokit.program.walk import fetch


class Sums(nn.Module):
    """A product whose kernel is asked for its sums alone.

    Args:
        product: The product.
        weight: Its weight as the kernel takes it: int8, or whole numbers as float16.
        scale: `[N]`, powers of two.
    """

    def __init__(self, product: Product, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("scale", scale * product.unit)
        self.register_buffer("bias", None if product.bias is None else product.bias.float().contiguous())
        grid = product.grid
        self.rounding = {} if grid is None else {"grid": grid.unit, "low": grid.low, "high": grid.high, "rounds": True}

    @property
    def asked(self) -> dict[str, Any]:
        """What the kernel is given beside spikes and weight: the neuron is the cheapest, its spikes are not read."""
        given = {"scale": self.scale, "bias": self.bias, "tau": None, "form": "int8", "want_current": True}
        return {**given, **self.rounding}


def sums(module: GraphModule, layer_of: Callable[[Product], Sums | None]) -> list[Taken]:
    """Returns the products of a program that a kernel takes: int8 weights, with spikes or whole numbers for an input.

    Args:
        module: The program.
        layer_of: Returns what stands for a product, or None where the kernel does not take it.
    """
    found = []
    for product in _products(module):
        layer = layer_of(product)
        if layer is not None:
            last = product.node if product.grid is None else product.grid.nodes[0]
            found.append(Taken(last, product.data, layer, product.inside))
    return found


def _products(module: GraphModule) -> Iterator[Product]:
    for node in module.graph.nodes:
        if not is_weighted(node) or node.kwargs or node.meta["val"].dtype != torch.float32:
            continue
        data, given = node.args[0], [*node.args[1:3], None][:2]
        most, levels = most_of(data), levels_at(data)
        held = all(value is None or (isinstance(value, Node) and value.op == "get_attr") for value in given)
        if not held or (levels is None and (most is None or most > COUNTS)):
            continue
        weight, bias = (None if value is None else fetch(module, str(value.target)).detach() for value in given)
        assert weight is not None
        data, unit = levels or (data, 1.0)
        inside = (node,) if levels is None else (node, *_between(node.args[0], data))
        grid = _rounding_of(node)
        inside = inside if grid is None else (*grid.nodes, *inside)
        yield Product(node, data, unit, weight, bias, None, grid, inside, ())


def _rounding_of(product: Node) -> Grid | None:
    """Returns the rounding of a sum that nothing else reads, or None."""
    node = product
    while len(node.users) == 1:
        node = next(iter(node.users))
        grid = grid_at(node)
        if grid is not None:
            return grid if grid.source is product else None
    return None


def _between(node: Any, data: Node) -> list[Node]:
    """Returns the nodes from a product's operand down to the numbers that it is a multiple of."""
    found = []
    while node is not data:
        found.append(node)
        node = node.args[0]
    return found
