"""`gate_lif` in a program: a sum of spikes over tokens or channels, the neuron, and a product of its spikes."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
    turned_from,
)
from neurokit.kernels.gate_lif import reference
from neurokit.kernels.gate_lif.op import OVER, gate_lif
from neurokit.program.fusions import Behind, FusedNeuron, Fusion, Match, Site, is_spikes, register_fusion, shape_of
from neurokit.program.ops import Kind, is_kind, is_named

_RATE = 0.3  # of the spikes that a match is tried on


@dataclass(frozen=True)
class Form:
    """How a kernel's call stands for a pattern.

    Attributes:
        over: What is added, "tokens" or "channels".
        heads: Number of heads of "channels".
        scale: Factor on the counts.
        lies: How what the layer is given lies.
        part: How what is let through lies.
        order: Places, among what the layer is given, of what is let through and of what is added.
        columns: Where all that is one tensor, the first channel of each.
        turned: Whether the program has a gate's heads in front of its tokens.
    """

    over: str
    heads: int
    scale: float
    lies: str
    part: str
    order: tuple[int, ...]
    columns: tuple[int, ...] | None
    turned: bool


class GateLayer(FusedNeuron):
    """Neurons that fire on sums of spikes, and the spikes that they let through.

    Args:
        site: Where it is.
        form: How the kernel is called.
        part: Sizes of what is let through, behind time and batch.
    """

    int8_places = (0, 2, 3)

    def __init__(self, site: Site, form: Form, part: Sequence[int]) -> None:
        super().__init__(site.neuron)
        self.kind, self.wide = site.node.meta["val"][0].dtype, site.current.meta["val"].dtype
        self.form, self.part = form, [*part]
        self.count = math.prod(part) // _tokens_of(form.part, part)
        self.steps, *self.rest = (size for at, size in enumerate(shape_of(site.current)) if at != 1)
        self.keywords = site.keywords

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Runs the kernel; the fifth result is what it lets through."""
        form, taken = self.form, [x.char() if x.dtype == torch.float32 else x for x in self._tokens(given)]
        place = {} if form.columns is None else {"columns": (*form.columns, 0)[:3], "channels": self.count}
        through, gate = gate_lif(
            *taken,
            over=form.over,
            heads=form.heads,
            scale=form.scale,
            form="int8" if taken[0].dtype == torch.int8 else "same",
            want_gate=True,
            **place,  # type: ignore[arg-type]
            **self.keywords,
        )
        results = self.results(self._gates(gate).to(self.kind), given[1].clone(), None, given)
        return (*results, from_tokens(through, form.part, self.part).to(self.kind))

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the scaled counts by plain sums."""
        a, b = [*(x.float() for x in self._operands(given)[1:]), None][:2]
        return self._gates(reference.counts(a, b, self.form.over, self.form.heads) * self.form.scale).to(self.wide)

    def behind(self, spikes: Tensor, *given: Tensor) -> Tensor:
        """Returns what spikes let through."""
        mask = self._operands(given)[0]
        if self.form.over == "tokens":
            gate = spikes.reshape(self.steps, -1, 1, self.count)
        elif self.form.turned:
            gate = spikes.reshape(self.steps, -1, self.form.heads, mask.shape[2]).transpose(2, 3)
        else:
            gate = spikes.reshape(self.steps, -1, mask.shape[2], self.form.heads)
        through = mask.to(self.kind) * reference.spread(gate, self.count, self.form.over).to(self.kind)
        return from_tokens(through, self.form.part, self.part)

    def of_one(self, firsts: Sequence[int], count: int) -> FusedNeuron | None:
        """Reads the parts where they are."""
        if self.form.lies == "heads" or self.form.columns is not None:
            return None
        made = copy.copy(self)
        columns = tuple(firsts[at] for at in self.form.order)
        made.form = Form(**{**vars(self.form), "columns": columns, "order": (0,) * len(columns)})
        return made

    def _tokens(self, given: tuple[Tensor, ...]) -> list[Tensor]:
        """Returns what is given as tokens: what is let through, what is added, and what that is multiplied by."""
        spikes = [as_tokens(x, self.steps, self.form.lies) for x in (given[0], *given[2:])]
        return [spikes[at] for at in self.form.order]

    def _operands(self, given: tuple[Tensor, ...]) -> list[Tensor]:
        """Returns the same, each with its own channels alone."""
        taken, columns = self._tokens(given), self.form.columns
        if columns is None:
            return taken
        return [x.narrow(3, first, self.count) for x, first in zip(taken, columns, strict=True)]

    def _gates(self, gate: Tensor) -> Tensor:
        moved = gate.transpose(2, 3) if self.form.turned else gate
        return moved.reshape(self.steps, -1, *self.rest)


def _tokens_of(layout: str, sizes: Sequence[int]) -> int:
    """Returns how many tokens a value of these sizes behind time and batch has."""
    if layout == "heads":
        return sizes[2]
    return math.prod(sizes[1:] if layout == "first" else sizes[:-1])


@dataclass(frozen=True)
class _Pattern:
    """A sum of spikes, and what the neurons behind it let through.

    Attributes:
        scale: Factor on the sum.
        inside: The sum, and what stands between it and the neuron.
        operands: What is let through, then what is added, each with the tensor that it is all elements of.
        behind: The product.
    """

    scale: float
    inside: tuple[Node, ...]
    operands: tuple[tuple[Node, Node], ...]
    behind: Behind


def _pattern(site: Site) -> _Pattern | str:
    top, scale, inside = scaled_from(site.current)
    if not is_named(top, ("sum",)):
        return "before it stands no sum of spikes"
    behind = _product_behind(site.node)
    if behind is None:
        return "behind it stands no product of its spikes"
    inside = [*inside, top]
    below, moves = moved_from(top.args[0])
    leaves = [top.args[0]]
    if is_named(below, ("mul",)) and all(isinstance(one, Node) for one in below.args):
        leaves, inside = [*below.args], [*inside, *moves, below]
    operand = behind.moves[0] if behind.moves else behind.source
    sources = [(operand, behind.source), *((leaf, turned_from(leaf)[0]) for leaf in leaves)]
    if not all(is_spikes(source) for _, source in sources):
        return "its operands are not known to be spikes"
    if len({shape_of(source) for _, source in sources}) != 1 or len(shape_of(behind.source)) < 4:
        return "its operands have different shapes"
    return _Pattern(scale, tuple(inside), tuple(sources), behind)


def _product_behind(neuron: Node) -> Behind | None:
    """Returns the product of a layer's spikes with others that they are the fewer of, or None."""
    fired = [user for user in neuron.users if is_named(user, ("getitem",)) and user.args[1] == 0]
    value = fired[0] if len(fired) == 1 else neuron
    while len(value.users) == 1:
        (user,) = value.users
        if is_named(user, ("mul",)) and len(user.args) == 2 and all(isinstance(one, Node) for one in user.args):
            other: Any = user.args[1] if user.args[0] is value else user.args[0]
            if other is value or shape_of(other) != shape_of(user):
                return None
            source, moves = turned_from(other)
            return Behind(user, source, tuple(moves), fired[0])
        if not is_kind(user, Kind.MOVE, Kind.KEEP):
            return None
        value = user
    return None


def _match(site: Site) -> Match | str:
    if not site.at_rest:
        return "its membrane comes from outside, and the kernel starts from rest"
    found = _pattern(site)
    if isinstance(found, str):
        return found
    whole = {part_of(source) for _, source in found.operands}
    sources = tuple(dict.fromkeys(source for _, source in found.operands))
    choices = [sources]
    if len(whole) == 1 and len(sources) > 1 and is_spikes(*whole):
        choices = [tuple(whole), sources]  # read where the parts are, or else of parts that lie apart
    for given in choices:
        layer = _fitting(site, found, given)
        if layer is not None:
            first, *rest = given
            return Match(layer, (first, site.node.args[1], *rest), found.inside, (), found.behind)  # type: ignore[arg-type]
    return "its sum is in no order that the kernel has"


def _fitting(site: Site, found: _Pattern, given: tuple[Node, ...]) -> GateLayer | None:
    """Returns the layer that computes the same counts and lets the same through, found by trying on random spikes."""
    generator = torch.Generator().manual_seed(1)
    known = {node: (torch.rand(shape_of(node), generator=generator) < _RATE).float() for node in given}
    fired = (torch.rand(shape_of(found.behind.fired), generator=generator) < 0.5).float()
    counts = site.value(known, site.current).float()
    through = site.value({**known, found.behind.fired: fired}, found.behind.node)
    values = [known[node] for node in given]
    operand = found.behind.moves[0] if found.behind.moves else found.behind.source
    for form in _forms(site, found, given):
        layer = GateLayer(site, form, shape_of(found.behind.source)[2:])
        taken = (values[0], values[0], *values[1:])  # the second is a membrane, which is not read
        if not torch.equal(layer.plain(*taken).float(), counts):
            continue
        layer.kind, kind = torch.float32, layer.kind
        kept = site.value({**known, found.behind.source: layer.behind(fired, *taken)}, operand)
        layer.kind = kind
        if torch.equal(kept, through):
            return layer
    return None


def _forms(site: Site, found: _Pattern, given: tuple[Node, ...]) -> Iterator[Form]:
    """Yields the ways in which the kernel may be called that have as many gates as there are neurons."""
    part, gates = shape_of(found.behind.source), math.prod(shape_of(site.current)[2:])
    places = [given.index(source) if source in given else 0 for _, source in found.operands]
    for over, lies, layout in itertools.product(OVER, LAYOUTS, LAYOUTS):
        apart = found.behind.source in given
        if not fits(layout, len(part)) or not fits(lies, len(shape_of(given[0]))) or (apart and lies != layout):
            continue
        tokens = _tokens_of(layout, part[2:])
        channels = math.prod(part[2:]) // tokens
        heads = 1 if over == "tokens" else gates // tokens
        if gates != (channels if over == "tokens" else tokens * heads) or channels % heads:
            continue
        parts = [source for _, source in found.operands]
        columns = None if apart else first_channels(site, given[0], parts, lies, layout)
        if apart or columns is not None:
            for turned in (False,) if over == "tokens" else (False, True):
                yield Form(over, heads, found.scale, lies, layout, tuple(places), columns, turned)


register_fusion(Fusion("gate_lif", 12, _match))
