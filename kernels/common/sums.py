"""Products of spikes that no neuron follows, in exact numerics: the sums of the int8 kernels, their spikes unread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.kernels.common.fusion import COUNTS, Product
from neurokit.kernels.common.product import LEVELS
from neurokit.program.fusions import Taken, most_of
from neurokit.program.grids import Grid, Held, Levels, grid_at, levels_at, levels_behind
from neurokit.program.nodes import hints, is_weighted
from neurokit.program.ops import is_named
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
        self.rounding = {} if grid is None else {**grid.keywords, "rounds": True}
        self.form, self.less = "int8", product.less
        self.handed = True

    def ending(self, product: Product, ending: Ending) -> Taken:
        """Has the kernel round its sums to the numbers that the next product takes; returns what is taken with that."""
        kinds = (form for form, kind in LEVELS.items() if kind == ending.levels.kind)
        self.form = "bytes" if ending.levels.less else next(kinds)
        self.rounding = {**ending.levels.grid.keywords, "least": ending.least}
        self.handed = ending.handed is not None
        beside = () if ending.residual is None else (ending.residual,)
        operand = [node for node in product.inside if node is not product.node]
        inside = (*ending.inside, *operand)
        return Taken(ending.levels.node, product.data, self, inside, beside, ending.handed)

    @property
    def asked(self) -> dict[str, Any]:
        """What the kernel is given beside spikes and weight: the neuron is the cheapest, its spikes are not read."""
        given = {"scale": self.scale, "bias": self.bias, "tau": None, "form": self.form, "want_current": self.handed}
        return {**given, **self.rounding}

    def answer(self, found: Tensor, current: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Returns what is wanted of what a kernel gave: levels, the current, or both."""
        if self.form not in LEVELS:
            return current
        return (found, current) if self.handed else found


@dataclass(frozen=True)
class Ending:
    """What becomes of a product's sums, as far as its kernel does it.

    Attributes:
        residual: What is added to it, or None.
        levels: The rounding behind, to numbers that a product takes, or None.
        handed: The value on the way that something else reads, too: the sum, or what a ReLU leaves of it; or None.
        least: What that value is limited to from below, or None.
        inside: The nodes between the product and its levels.
    """

    residual: Node | None
    levels: Levels
    handed: Node | None
    least: float | None
    inside: tuple[Node, ...]


def sums(module: GraphModule, layer_of: Callable[[Product], Sums | None]) -> list[Taken]:
    """Returns the products of a program that a kernel takes: int8 weights, with spikes or whole numbers for an input.

    Args:
        module: The program.
        layer_of: Returns what stands for a product, or None where the kernel does not take it.
    """
    found: list[Taken] = []
    added: set[Node] = set()
    for product in _products(module):
        layer = layer_of(product)
        ending = _ending(product.node, added) if layer is not None else None
        if layer is not None and ending is not None:
            added.update(ending.inside)
            found.append(layer.ending(product, ending))
        elif layer is not None:
            last = product.node if product.grid is None else product.grid.nodes[0]
            found.append(Taken(last, product.data, layer, product.inside))
    return found


def _ending(product: Node, added: set[Node]) -> Ending | None:
    """Returns what a kernel does behind a product's sum, up to the next product's numbers, or None.

    Args:
        product: The product.
        added: Sums that another product's kernel computes.
    """
    last, residual, inside = product, None, [product]
    only = next(iter(product.users)) if len(product.users) == 1 else None
    if only is not None and is_named(only, ("add",)) and only not in added:
        residual = _other(only, product)
        if residual is None:
            return None
        last = only
        inside.insert(0, only)
    levels = levels_behind(last)
    if levels is None:
        return None
    others = [user for user in last.users if user is not levels.nodes[-1]]
    relu = others[0] if len(others) == 1 and is_named(others[0], ("relu",)) else None
    least = None if relu is None else 0.0
    handed = relu or (last if others else None)
    inside = [*levels.nodes, *([relu] if relu is not None else []), *inside]
    return Ending(residual, levels, handed, least, tuple(inside))


def _other(add: Node, product: Node) -> Node | None:
    """Returns the other summand, of the same shape, or None."""
    if len(add.args) != 2 or add.kwargs or not all(isinstance(one, Node) for one in add.args):
        return None
    other: Any = add.args[1 - add.args.index(product)]
    same = other is not product and hints(other) == hints(product) and other.meta["val"].dtype == torch.float32
    return other if same else None


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
        data, unit, less = levels or Held(data, 1.0)
        inside = (node,) if levels is None else (node, *between(node.args[0], data))
        grid = _rounding_of(node)
        inside = inside if grid is None else (*grid.nodes, *inside)
        yield Product(node, data, unit, weight, bias, None, grid, inside, (), less)


def _rounding_of(product: Node) -> Grid | None:
    """Returns the rounding of a sum that nothing else reads, or None."""
    node = product
    while len(node.users) == 1:
        node = next(iter(node.users))
        grid = grid_at(node)
        if grid is not None:
            return grid if grid.source is product else None
    return None


def between(node: Any, data: Node) -> list[Node]:
    """Returns the nodes from a product's operand down to the numbers that it is a multiple of."""
    found = []
    while node is not data:
        found.append(node)
        node = node.args[0]
    return found
