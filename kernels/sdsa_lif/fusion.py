"""`sdsa_lif` in a program: two products of three layers' spikes by heads, a factor, and the neuron."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import Node

from neurokit.kernels.common.tokens import (
    LAYOUTS,
    as_tokens,
    first_channels,
    fits,
    from_tokens,
    moved_from,
    part_of,
    scaled_from,
)
from neurokit.kernels.sdsa_lif.op import sdsa_lif
from neurokit.program.fusions import (
    FusedNeuron,
    Fusion,
    Match,
    Site,
    is_spikes,
    register_fusion,
    shape_of,
)
from neurokit.program.ops import is_named

_PRODUCTS = ("matmul", "bmm")
_ALIGNED = 16  # bytes, of int8


class AttentionLayer(FusedNeuron):
    """Attention over tokens `[T, B, N, C]`, to which what is given is moved, and back.

    Args:
        site: Where it is.
        heads: Number of heads.
        scale: Factor on the counts.
        layout: Where channels are: "last" `[T, B, N, C]`, "first" `[T, B, C, ...]`, or "heads" `[T, B, heads, D, N]`.
        order: Places of query, key and value among what it is given.
        lies: Where channels are in what it is given, if that is one tensor that lies otherwise.
    """

    int8_places = (0, 2, 3)
    # Of query, key and value in one tensor: the first channel of each, and how many each has.
    columns: tuple[int, ...] | None = None
    count = 0

    def __init__(
        self, site: Site, heads: int, scale: float, layout: str, order: tuple[int, ...], lies: str = ""
    ) -> None:
        super().__init__(site.neuron)
        self.kind, self.wide = site.node.meta["val"][0].dtype, site.current.meta["val"].dtype
        self.heads, self.scale, self.layout, self.order = heads, scale, layout, order
        self.lies = lies or layout
        self.steps, *self.rest = (size for at, size in enumerate(shape_of(site.current)) if at != 1)
        self.keywords = site.keywords

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Runs the kernel on the spikes of three layers."""
        q, k, v = (x.char() if x.dtype == torch.float32 else x for x in self._tokens(given))
        form = "int8" if q.dtype == torch.int8 else "same"
        place = {} if self.columns is None else {"columns": self.columns, "channels": self.count}
        found = sdsa_lif(q, k, v, heads=self.heads, scale=self.scale, form=form, **place, **self.keywords)
        return self.results(self._back(found).to(self.kind), given[1].clone(), None, given)

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the scaled counts by plain products."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(2, 3).to(self.wide) for x in self._operands(given))
        counts = (q @ (k.transpose(-1, -2) @ v)).transpose(2, 3).flatten(3)
        return self._back(counts * self.scale)

    def of_one(self, firsts: Sequence[int], count: int) -> FusedNeuron | None:
        """Reads the parts where they are, if each begins where the kernel's reads may."""
        if self.layout == "heads" or self.columns is not None or any(first % _ALIGNED for first in (*firsts, count)):
            return None
        made = copy.copy(self)
        made.columns, made.count = tuple(firsts[at] for at in self.order), count
        made.order = (0, 0, 0)
        return made

    def _tokens(self, given: tuple[Tensor, ...]) -> list[Tensor]:
        spikes = (given[0], *given[2:])
        return [as_tokens(spikes[at], self.steps, self.lies) for at in self.order]

    def _operands(self, given: tuple[Tensor, ...]) -> list[Tensor]:
        """Returns query, key and value, each with its own channels alone."""
        taken = self._tokens(given)
        if self.columns is None:
            return taken
        return [x.narrow(3, first, self.count) for x, first in zip(taken, self.columns, strict=True)]

    def _back(self, tokens: Tensor) -> Tensor:
        return from_tokens(tokens, self.layout, self.rest)


def _match(site: Site) -> Match | str:
    if not site.at_rest:
        return "its membrane comes from outside, and the kernel starts from rest"
    top, scale, inside = scaled_from(site.current)
    if not is_named(top, _PRODUCTS):
        return "before it stands no product of spikes"
    leaves, products = _leaves(top)
    if len(leaves) != 3:
        return "before it stand no two products of three layers' spikes"
    if any(user not in {*inside, site.node} for user in site.current.users):
        return "its counts are read elsewhere"
    sources = [moved_from(leaf) for leaf in leaves]
    if not all(is_spikes(source) for source, _ in sources):
        return "its operands are not known to be spikes"
    inside = [*inside, *products, *(node for _, moves in sources for node in moves)]
    given = (sources[0][0], site.node.args[1], *(source for source, _ in sources[1:]))
    one = _of_one(site, [source for source, _ in sources], shape_of(leaves[0]), scale)
    if one is not None:
        layer, whole = one
        return Match(layer, (whole, site.node.args[1]), tuple(dict.fromkeys(inside)))  # type: ignore[arg-type]
    apart = _fitting(site, given, shape_of(leaves[0]), scale)  # type: ignore[arg-type]
    if apart is None:
        return "its products are in no order that the kernel has"
    return Match(apart, given, tuple(dict.fromkeys(inside)))  # type: ignore[arg-type]


def _leaves(product: Node) -> tuple[list[Node], list[Node]]:
    """Returns the three operands of two nested products, and the products with the moves between them."""
    for at in (0, 1):
        below, between = moved_from(product.args[at])
        if is_named(below, _PRODUCTS):
            leaves = [*below.args[:2]]
            leaves.insert(2 * (1 - at), product.args[1 - at])
            return leaves, [product, *between, below]  # type: ignore[return-value]
    return [], []


def _fitting(site: Site, given: tuple[Node, ...], operand: tuple[int, ...], scale: float) -> AttentionLayer | None:
    """Returns the layer whose order of operands and axes computes the same counts, found by trying all of them."""
    shapes = [shape_of(node) for node in (given[0], *given[2:])]
    if len(set(shapes)) != 1 or len(operand) != 5 or len(shapes[0]) < 4:
        return None
    generator = torch.Generator().manual_seed(1)
    known = {node: (torch.rand(shapes[0], generator=generator) < 0.3).float() for node in dict.fromkeys(given)}
    known[given[1]] = torch.zeros(shape_of(given[1]))
    wanted = site.value(known, site.current)
    for layout, order in itertools.product(("first", "last", "heads"), itertools.permutations(range(3))):
        if len(shapes[0]) != {"first": len(shapes[0]), "last": 4, "heads": 5}[layout]:
            continue
        layer = AttentionLayer(site, operand[2], scale, layout, order)
        channels = {"first": shapes[0][2], "last": shapes[0][-1], "heads": shapes[0][2]}[layout]
        if channels % layer.heads == 0 and torch.equal(layer.plain(*(known[node] for node in given)), wanted):
            return layer
    return None


def _of_one(
    site: Site, parts: list[Node], operand: tuple[int, ...], scale: float
) -> tuple[AttentionLayer, Node] | None:
    """Returns the layer that reads its operands in the one tensor that they are parts of, and that; or None."""
    whole = part_of(parts[0])
    shape = shape_of(parts[0])
    alike = all(part_of(part) is whole and shape_of(part) == shape for part in parts)
    if not alike or len(set(parts)) != 3 or whole in parts or not is_spikes(whole) or len(operand) != 5:
        return None
    generator = torch.Generator().manual_seed(1)
    known = {whole: (torch.rand(shape_of(whole), generator=generator) < 0.3).float()}
    wanted = site.value(known, site.current)
    for lies, layout in itertools.product(("first", "last"), LAYOUTS):
        if not fits(lies, len(shape_of(whole))) or not fits(layout, len(shape)):
            continue
        count = as_tokens(torch.zeros(shape), shape[0], layout).shape[3]
        firsts = first_channels(site, whole, parts, lies, layout)
        width = shape_of(whole)[2 if lies == "first" else -1]
        if firsts is None or count % operand[2] or any(size % _ALIGNED for size in (*firsts, count, width)):
            continue
        for order in itertools.permutations(range(3)):
            layer = AttentionLayer(site, operand[2], scale, layout, (0, 0, 0), lies)
            layer.columns, layer.count = tuple(firsts[at] for at in order), count
            if torch.equal(layer.plain(known[whole], known[whole]), wanted):
                return layer, whole
    return None


register_fusion(Fusion("sdsa_lif", 10, _match))
