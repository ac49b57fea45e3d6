"""What the fusions of kernels with a product before the neuron share: the pattern, and weights as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from neurokit.kernels.common.product import WEIGHTS
from neurokit.program.fusions import FusedNeuron, Match, Site, most_of, shape_of, through_reshapes
from neurokit.program.nodes import is_weighted
from neurokit.program.ops import is_named
from neurokit.program.walk import fetch

_LARGEST = 127  # of an int8 weight, in both directions


@dataclass(frozen=True)
class Product:
    """A product of spikes in front of a neuron.

    Attributes:
        node: The convolution or linear map.
        data: Its input: spikes.
        weight: `[N, ...]`.
        bias: `[N]` or None.
        residual: What is added to it, or None.
        inside: It, and the nodes between it and the neuron.
    """

    node: Node
    data: Node
    weight: Tensor
    bias: Tensor | None
    residual: Node | None
    inside: tuple[Node, ...]

    @property
    def settings(self) -> tuple[list[int], list[int], list[int], int]:
        """Stride, padding, dilation and groups of a convolution."""
        given = [*self.node.args[3:], *[None] * 4][:4]
        defaults: list[Any] = [[1], [0], [1], 1]
        found = [default if value is None else value for value, default in zip(given, defaults, strict=True)]
        return tuple(found)  # type: ignore[return-value]


def product_before(site: Site, counts: int = 1) -> Product | str:
    """Returns the product in front of a neuron, behind reshapes and one sum, or why a kernel takes none.

    Args:
        site: The neuron.
        counts: The largest whole number that the kernel takes in the place of a spike, beside int8 weights.
    """
    if not site.at_rest:
        return "its membrane comes from outside, and the kernel starts from rest"
    top, moved = through_reshapes(site.current)
    found = _summed(top, moved) if is_named(top, ("add",)) else (top, moved, None)
    if found is None:
        return "neither summand is a convolution or a product"
    node, inside, residual = found
    if not is_weighted(node):
        what = str(node.target).removeprefix("aten.").partition(".")[0] if isinstance(node, Node) else "a number"
        return f"before it stands no convolution or product but {what}"
    data, given = node.args[0], [*node.args[1:3], None][:2]
    if any(value is not None and getattr(value, "op", "") != "get_attr" for value in given):
        return "its weight is computed"
    most = most_of(data)
    if most is None or most > (counts if site.exact else 1):
        return "its input is not known to be spikes"
    read = {user for one in (site.current, top) for user in one.users} - {*inside, node, site.node}
    if read and not site.exact and weight_type(site, given) not in WEIGHTS:
        return "its current is read elsewhere, and the kernel rounds it to 16 bits"
    weight, bias = (None if value is None else fetch(site.module, str(value.target)).detach() for value in given)
    assert weight is not None
    return Product(node, data, weight, bias, residual, (*inside, node))


def weight_type(site: Site, given: list[Any]) -> torch.dtype:
    """Returns the type of a product's weight."""
    found: torch.dtype = fetch(site.module, str(given[0].target)).dtype
    return found


def _summed(node: Node, moved: list[Node]) -> tuple[Any, list[Node], Node | None] | None:
    """Returns the product behind a sum, the nodes between, and the other summand."""
    if len(node.args) != 2 or node.kwargs or not all(isinstance(one, Node) for one in node.args):
        return None
    for at, one in enumerate(node.args):
        below, between = through_reshapes(one)
        other: Any = node.args[1 - at]
        alone = all(len(each.users) == 1 for each in (*between, below))
        if is_weighted(below) and alone and shape_of(other) == shape_of(node):
            return below, [*moved, node, *between], other
    return None


class ProductNeuron(FusedNeuron):
    """A product and its neuron in one kernel; weights are int8 with a power of two a row, or 16 bits.

    Args:
        site: Where it is.
        product: What stands before the neuron.
        weight: The weight as the kernel takes it.
        scale: A factor a row, or None.
    """

    def __init__(self, site: Site, product: Product, weight: Tensor, scale: Tensor | None) -> None:
        super().__init__(site.neuron)
        parameters: Any = site.parameters
        self.steps, *self.rest = (size for at, size in enumerate(shape_of(site.current)) if at != 1)
        self.product_of, self.arguments = product.node.target, product.node.args[3:]
        self.keywords = {
            "tau": parameters.leak if parameters.op == "lif" else None,
            "threshold": parameters.v_threshold,
            "v_reset": parameters.v_reset,
            "decay_input": parameters.decay_input,
        }
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("scale", scale)
        bias = product.bias
        self.register_buffer("bias", None if bias is None else bias.float().contiguous())
        self.register_buffer("plain_weight", product.weight)
        self.register_buffer("plain_bias", bias)

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the current by the operations that the program had."""
        x, _, *residual = given
        y = self.product_of(x, self.plain_weight, self.plain_bias, *self.arguments)
        y = y.reshape(self.steps, -1, *self.rest)
        return y if not residual else residual[0].reshape(y.shape) + y

    @property
    def own_current(self) -> bool:
        """Whether the kernel is to give its current."""
        return self.want_current and not self.watched

    def answer(self, fired: Tensor, current: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what a kernel gave, `[T, B, N, ...]` or `[T, B, ..., N]` as in the program, as the layer's."""
        x, v0 = given[:2]
        spikes = fired.to(x.dtype).reshape(self.steps, -1, *self.rest)
        if self.watched:
            return spikes, v0.clone(), self.plain(*given)
        return spikes, v0.clone(), current.reshape(spikes.shape) if self.own_current else x.new_empty(0)


def weights_of(site: Site, product: Product) -> tuple[Tensor, Tensor | None] | str:
    """Returns a weight as a kernel takes it, and its factor a row; or why it takes none."""
    if site.exact:
        return integer_rows(product.weight)
    if product.weight.dtype in WEIGHTS:
        return product.weight, None
    kind = str(product.weight.dtype).removeprefix("torch.")
    return f"the kernel multiplies int8 (--numerics exact), float16 or bfloat16, and the weight is {kind}"


def integer_rows(weight: Tensor) -> tuple[Tensor, Tensor] | str:
    """Returns a weight as int8 and a power of two a row, whose product it is exactly; or why it is none."""
    rows = weight.double().reshape(len(weight), -1)
    most = rows.abs().amax(1).clamp_min(2.0**-100)
    unit = torch.exp2(torch.ceil(torch.log2(most / _LARGEST)))
    whole = rows / unit[:, None]
    if not torch.equal(whole, whole.round()):
        return "a row of its weight is no int8 times a power of two"
    return whole.to(torch.int8).reshape(weight.shape), unit.float()


def matched(site: Site, product: Product, layer: ProductNeuron) -> Match:
    """Returns the match of a product and its neuron."""
    residual = () if product.residual is None else (product.residual,)
    return Match(layer, (product.data, site.node.args[1], *residual), product.inside)  # type: ignore[arg-type]
