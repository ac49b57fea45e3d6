"""What the fusions of kernels with a product before the neuron share: the pattern, and weights as integers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from neurokit.kernels.common.neuron import on_grid
from neurokit.kernels.common.product import WEIGHTS
from neurokit.program.fusions import RESHAPES, Behind, FusedNeuron, Match, Site, most_of, shape_of, through_reshapes
from neurokit.program.grids import Grid, Held, grid_at, levels_at
from neurokit.program.nodes import ancestors, convolution_settings, is_weighted
from neurokit.program.ops import is_named
from neurokit.program.walk import fetch

COUNTS = 127  # what int8 holds: sums of spikes, as behind spike-element-wise shortcuts
_LARGEST = 127  # of an int8 weight, in both directions


@dataclass(frozen=True)
class Product:
    """A product of spikes, or of numbers on a grid, in front of a neuron.

    Attributes:
        node: The convolution or linear map.
        data: Its input: spikes, or int8 or float16 numbers.
        unit: What the input's numbers are multiples of: 1 of spikes.
        weight: `[N, ...]`.
        bias: `[N]` or None.
        residual: What is added to it, or None.
        grid: How the current is rounded, or None.
        inside: It, and the nodes between it and the neuron.
        handed: Those of them that something else reads, all with one value: the sum, or what it is rounded to.
        less: What was subtracted of the numbers in its input: 128 of those from 0 to 255 as int8, else 0.
    """

    node: Node
    data: Node
    unit: float
    weight: Tensor
    bias: Tensor | None
    residual: Node | None
    grid: Grid | None
    inside: tuple[Node, ...]
    handed: tuple[Node, ...]
    less: int = 0

    @property
    def in_halves(self) -> bool:
        """Whether its input are whole numbers as float16; the weight must be, too."""
        return bool(self.data.meta["val"].dtype == torch.float16)

    @property
    def settings(self) -> tuple[list[int], list[int], list[int], int]:
        """Stride, padding, dilation and groups of a convolution."""
        return convolution_settings(self.node)


def product_before(site: Site, counts: int = 1, halves: bool = False) -> Product | str:
    """Returns the product in front of a neuron, behind reshapes and one sum, or why a kernel takes none.

    Args:
        site: The neuron.
        counts: The largest whole number that the kernel takes in the place of a spike, beside int8 weights.
        halves: Whether it takes whole numbers as float16, in exact numerics.
    """
    if not site.at_rest:
        return "its membrane comes from outside, and the kernel starts from rest"
    top, moved = through_reshapes(site.current)
    currents = (site.current, top)
    grid = grid_at(top) if site.exact else None
    if grid is not None:
        top, between = through_reshapes(grid.source)
        moved = [*moved, *grid.nodes, *between]
    sums = currents if grid is None else (grid.source, top)
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
    most, levels = most_of(data), levels_at(data) if site.exact else None
    if levels is not None and not halves and (levels.less or levels.node.meta["val"].dtype == torch.float16):
        return "its input is no int8"
    half = not site.exact and weight_type(site, given) in WEIGHTS  # which hold any numbers as the weight's own type
    if not half and levels is None and (most is None or most > (counts if site.exact else 1)):
        return "its input is not known to be spikes"
    own = {*inside, node, site.node}
    read = [group for group in (sums, currents) if any(user not in own for one in group for user in one.users)]
    if len(read) == 2 and sums is not currents:
        return "both its sum and what that is rounded to are read elsewhere"
    if read and not site.exact and weight_type(site, given) not in WEIGHTS:
        return "its current is read elsewhere, and the kernel rounds it to 16 bits"
    handed = tuple(one for one in dict.fromkeys(read[0] if read else ()) if one in own)
    weight, bias = (None if value is None else fetch(site.module, str(value.target)).detach() for value in given)
    assert weight is not None
    data, unit, less = levels or Held(data, 1.0)
    return Product(node, data, unit, weight, bias, residual, grid, (*inside, node), handed, less)


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

    Attributes:
        shaped: Sizes of what is added to the spikes, the last that it is given, with -1 for the batch; None where
            nothing is.
    """

    int8_places = (0, 2, 3)

    def __init__(self, site: Site, product: Product, weight: Tensor, scale: Tensor | None) -> None:
        super().__init__(site.neuron)
        self.steps, *self.rest = (size for at, size in enumerate(shape_of(site.current)) if at != 1)
        self.shaped: list[int] | None = None
        self.product_of, self.arguments = product.node.target, product.node.args[3:]
        self.keywords = site.keywords
        self.rounding: dict[str, Any] = {}
        if (grid := product.grid) is not None:
            rounds = bool(product.handed) and product.handed[0] is site.current
            self.rounding = {**grid.keywords, "rounds": rounds}
        self.channels, self.channel_axis = len(weight), 2
        self.unit, self.less, self.kind = product.unit, product.less, site.node.meta["val"][0].dtype
        self.exact = site.exact
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("scale", None if scale is None else scale * self.unit)
        bias = product.bias
        self.register_buffer("bias", None if bias is None else bias.float().contiguous())
        self.register_buffer("plain_weight", product.weight)
        self.register_buffer("plain_bias", bias)

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the current by the operations that the program had."""
        return self._rounded(self._sum(*given))

    def current_of(self, handed: Tensor) -> Tensor:
        """Returns the current: what is handed on is it, or the sum that it is rounded from."""
        return handed if self.rounding.get("rounds") else self._rounded(handed)

    def _rounded(self, value: Tensor) -> Tensor:
        return on_grid(value, *(self.rounding.get(name) for name in ("grid", "low", "high")))

    def parts(self, given: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Returns, of what it is given, the product's input, what is added to the sum, and what to the spikes."""
        first, _, *more = given
        beside = None if self.shaped is None else more.pop()
        return first, *(more or [None]), beside  # type: ignore[return-value]

    def behind(self, spikes: Tensor, *given: Tensor) -> Tensor:
        """Returns the spikes with what stands beside them added."""
        beside = given[-1].to(self.kind)
        return spikes.to(self.kind).reshape(beside.shape) + beside

    def _sum(self, *given: Tensor) -> Tensor:
        x, residual, _ = self.parts(given)
        data = x.to(self.plain_weight.dtype) + self.less if self.less else x.to(self.plain_weight.dtype)
        data = data if self.unit == 1.0 else data * self.unit
        y = self.product_of(data, self.plain_weight, self.plain_bias, *self.arguments)
        y = y.reshape(self.steps, -1, *self.rest)
        return y if residual is None else residual.reshape(y.shape) + y

    @property
    def joins_with(self) -> Any:
        """The same kernel, neuron, rounding and shape of the weight's rows."""
        same = (
            self.keywords,
            self.rounding,
            self.unit,
            self.arguments,
            self.bias is None,
            self.rest[self._place + 1 :],
        )
        return (type(self).__name__, str(self.product_of), str(self.weight.dtype), self.weight.shape[1:], str(same))

    @property
    def _place(self) -> int:
        """Where channels are among the sizes without time and batch."""
        return self.channel_axis - 2

    def beside(self, others: Sequence[FusedNeuron]) -> FusedNeuron:
        """Returns one layer with the rows of all weights, one below the other."""
        made = copy.deepcopy(self)
        for name in ("weight", "scale", "bias", "plain_weight", "plain_bias"):
            held = [getattr(layer, name) for layer in (self, *others)]
            if held[0] is not None:
                setattr(made, name, torch.cat(held))
        made.channels = sum(layer.channels for layer in (self, *others))
        made.rest = [*self.rest]
        made.rest[self._place] = made.channels
        if made.exact:
            made.kind = torch.int8
        return made

    @property
    def form(self) -> str:
        """In what form the kernel gives the spikes: what the next one takes."""
        return "int8" if self.exact else "same"

    @property
    def numbers(self) -> torch.dtype:
        """Type of the spikes that the kernel gives, and takes beside them."""
        return torch.int8 if self.exact else self.weight.dtype

    def answer(self, fired: Tensor, current: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns what a kernel gave, `[T, B, N, ...]` or `[T, B, ..., N]` as in the program, as the layer's.

        Where something is added to the spikes, that sum is the fifth result, and the spikes are what is left without.
        """
        spikes = fired.to(self.kind).reshape(self.steps, -1, *self.rest)
        handed = current.reshape(spikes.shape) if self.want_current else None
        if self.shaped is None:
            return self.results(spikes, given[1].clone(), handed, given)
        alone = spikes - given[-1].to(self.kind).reshape(spikes.shape)
        return (*self.results(alone, given[1].clone(), handed, given), spikes.reshape(self.shaped))


def weights_of(site: Site, product: Product) -> tuple[Tensor, Tensor | None] | str:
    """Returns a weight as a kernel takes it, and its factor a row; or why it takes none."""
    if site.exact:
        return whole_rows(product)
    if product.weight.dtype in WEIGHTS:
        return product.weight, None
    kind = str(product.weight.dtype).removeprefix("torch.")
    return f"the kernel multiplies int8 (--numerics exact), float16 or bfloat16, and the weight is {kind}"


def whole_rows(product: Product) -> tuple[Tensor, Tensor] | str:
    """Returns a product's weight as int8 (float16 beside such numbers) and a power of two a row; or why it is none."""
    rows = integer_rows(product.weight)
    return rows if isinstance(rows, str) or not product.in_halves else (rows[0].half(), rows[1])


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
    """Returns the match of a product and its neuron, and of the shortcut that is added to the spikes alone."""
    residual = () if product.residual is None else (product.residual,)
    behind = None if product.handed else _sum_behind(site)
    beside: tuple[Node, ...] = ()
    if behind is not None:
        beside = (behind.source,)
        layer.shaped = [size if isinstance(size, int) else -1 for size in behind.source.meta["val"].shape]
    given: Any = (product.data, site.node.args[1], *residual, *beside)
    return Match(layer, given, product.inside, product.handed, behind)


def _sum_behind(site: Site) -> Behind | None:
    """Returns the sum of a layer's spikes with whole numbers from 0 on, where int8 holds it and it alone reads them."""
    fired = [user for user in site.node.users if is_named(user, ("getitem",)) and user.args[1] == 0]
    if len(fired) != 1:
        return None
    value = fired[0]
    while len(value.users) == 1:
        (user,) = value.users
        if is_named(user, ("add",)) and len(user.args) == 2 and not user.kwargs:
            other: Any = user.args[1] if user.args[0] is value else user.args[0]
            most = most_of(user)
            if most is None or most > COUNTS or other is value or shape_of(other) != shape_of(user):
                return None
            if {one.meta["val"].dtype for one in (fired[0], other)} != {user.meta["val"].dtype}:
                return None
            return None if site.node in ancestors([other]) else Behind(user, other, (), fired[0], most)
        if not is_named(user, RESHAPES):
            return None
        value = user
    return None
