"""Calibration of trained attention: disjoint sets of keys and one factor for every row and set, in two forms.

A method names sets of keys and decides factors, from constants or from the masses of the sets. `weigh` is the
definition: weights after the softmax are multiplied and each row is divided by its sum. `added` and `merged` are the
forms that are deployed: what is added to the scores in front of the softmax, and attention a set at a time, joined by
log-sum-exps, for which no matrix of weights exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from neurokit.attention.definition import attend, merge

Decision = tuple[Tensor, "Tensor | None"]


@dataclass(frozen=True)
class View:
    """What a method sees of one call of attention in one layer.

    Attributes:
        heads: Query heads H.
        key: Position of each key among the tokens of its row, int64 `[B, T]`; below 0 at padding.
        query: Position of each new token `[B, S]`; below 0 at padding.
        begins: Whether the call is the first of its text, bool `[B or 1]`.
        visible: Which keys a query sees, bool `[B, 1, S, T]`.
        stream: What enters the layer, before its norm `[B, S, width]`, for methods that look at it.
        image: Which keys are visual tokens, bool `[B, T]`, where the model has them.
        ids: The new tokens `[B, S]`, for methods that tell them apart.
        memory: What methods remember of the layer, by name `[B, H or 1, T]`; entries of new tokens are 0 until set.
        shared: What all layers remember together, and what a call's layers hand on to later ones.
        extend: Returns a memory, by name, with the entries of the new tokens `[B, heads, S]`; None where those are the
            last ones of `memory`.
    """

    heads: int
    key: Tensor
    query: Tensor
    begins: Tensor
    visible: Tensor
    stream: Tensor | None = None
    image: Tensor | None = None
    ids: Tensor | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, Tensor] = field(default_factory=dict)
    extend: Callable[[str, Tensor], Tensor] | None = None

    def entered(self, name: str, new: Tensor) -> Tensor:
        """Returns what is remembered `[B, heads, T]` with the entries of the new tokens `[B, heads, S]` set."""
        if self.extend is not None:
            return self.extend(name, new)
        held = self.memory[name]
        return torch.cat([held[..., : held.shape[-1] - new.shape[-1]], new], -1)


class Memory(Protocol):
    """What a method must remember of the tokens so far: a state of the artifact.

    Attributes:
        name: Name of the state; one of a layer gets the layer's number.
        meaning: One line.
        by_head: Whether it has an entry a query head, `[B, H, P]`, or one for all, `[B, 1, P]`.
        shared: Whether all layers have one together.
    """

    @property
    def name(self) -> str:
        """Name of the state."""
        ...

    @property
    def meaning(self) -> str:
        """One line."""
        ...

    @property
    def by_head(self) -> bool:
        """Whether it has an entry a query head."""
        ...

    @property
    def shared(self) -> bool:
        """Whether all layers have one together."""
        ...


class Method(Protocol):
    """What calibrates attention. Everything is a mask or a number a row, so that texts of a batch may differ."""

    name: str
    needs_weights: bool  # whether a decision or what is remembered takes the weights
    looks_at_stream: bool  # whether it looks at `View.stream`
    whole_prompt: bool  # whether a text's prompt must be one call
    memories: tuple[Memory, ...]

    @property
    def looks_at_image(self) -> bool:
        """Whether a prompt must have visual tokens that the model marks."""
        ...

    @property
    def least(self) -> int:
        """Smallest number of tokens of a prompt."""
        ...

    def heads_in(self, layer: int) -> tuple[int, ...] | None:
        """Returns the query heads that a layer changes; None for all, () for none."""
        ...

    def touches(self, layer: int) -> bool:
        """Whether the method changes a layer, or remembers something of it."""
        ...

    def remember(self, view: View, weights: Tensor | None, layer: int) -> None:
        """Sets entries of `view.memory` and `view.shared`; weights are `[B, H, S, T]`."""
        ...

    def sets(self, view: View) -> Tensor:
        """Returns disjoint sets of keys, bool `[B or 1, H or 1, n, T]`."""
        ...

    def key_bias(self, view: View) -> Tensor | None:
        """Returns what may be added to the scores of single keys `[B or 1, 1, T]`, beside the factors of the sets."""
        ...

    def decide(self, view: View, masses: Tensor | None, biased: Tensor | None) -> Decision:
        """Returns the factor of every row and set, and the rows' gain of the key bias.

        Args:
            view: The call.
            masses: Mass of each set in each row `[B, H, S, n]`, of a method that needs weights.
            biased: The same with the key bias as a factor exp(bias), where there is one.

        Returns:
            Factors `[B or 1, H or 1, S or 1, n]`, and gains `[B or 1, H or 1, S or 1]` or None for none.
        """
        ...


@dataclass(frozen=True)
class Change:
    """What one method does to the rows of one call.

    Attributes:
        sets: Disjoint sets of keys, bool `[B or 1, H or 1, n, T]`.
        factors: Factor of each row and set `[B or 1, H or 1, S or 1, n]`, at least 0; 1 outside of the scope.
        bias: What is added to the scores of keys `[B or 1, 1, T]`, or None.
        gain: How much of it a row gets `[B or 1, H or 1, S or 1]`.
    """

    sets: Tensor
    factors: Tensor
    bias: Tensor | None = None
    gain: Tensor | None = None


def masses_of(weights: Tensor, sets: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns the mass of each set in each row, `[B, H, S, n]`.

    A product with the sets' columns; a log-sum-exp a set gives the same number.

    Args:
        weights: Weights `[B, H, S, T]`.
        sets: Sets `[B or 1, H or 1, n, T]`.
        bias: What is added to the scores of keys before `[B or 1, 1, T]`.
    """
    one = weights.new_ones(()) if bias is None else bias.exp()[:, :, None]
    return weights @ torch.where(sets, one, weights.new_zeros(())).transpose(-1, -2)


def change_of(method: Method, view: View, weights: Tensor | None, layer: int) -> Change:
    """Returns what a method does to a layer, heads outside of its scope left alone.

    Args:
        method: The method.
        view: The call; what the method remembers is set in it.
        weights: Weights before the change `[B, H, S, T]`; None where the method does not need them.
        layer: Number of the layer.
    """
    method.remember(view, weights, layer)
    sets, bias = method.sets(view), method.key_bias(view)
    masses = biased = None
    if weights is not None:
        masses = masses_of(weights, sets)
        biased = None if bias is None else masses_of(weights, sets, bias)
    factors, gain = _decided(method, view, layer, masses, biased)
    return Change(sets, factors, bias, gain)


def _decided(method: Method, view: View, layer: int, masses: Tensor | None, biased: Tensor | None) -> Decision:
    """Returns what a method decides: factors 1 and gains 0 in heads outside of its scope."""
    factors, gain = method.decide(view, masses, biased)
    heads = method.heads_in(layer)
    if heads is None:
        return factors, gain
    scope = torch.tensor([head in heads for head in range(view.heads)], device=view.key.device)
    factors = torch.where(scope[None, :, None, None], factors, 1.0)
    return factors, None if gain is None else torch.where(scope[None, :, None], gain, 0.0)


def weigh(weights: Tensor, change: Change) -> Tensor:
    """The definition: returns weights `[B, H, S, T]` multiplied and every row divided by its sum.

    A row without mass, such as one of padding, stays as it is.
    """
    factor = torch.ones_like(weights)
    for at in range(change.sets.shape[-2]):
        inside = change.sets[..., at, :][:, :, None]
        factor = torch.where(inside, factor * change.factors[..., at : at + 1], factor)
    if change.bias is not None and change.gain is not None:
        factor = factor * (change.gain[..., None] * change.bias[:, :, None]).exp()
    changed = weights * factor
    total = changed.sum(-1, keepdim=True)
    untouched = (factor == 1).all(-1, keepdim=True) | (total == 0)
    return torch.where(untouched, weights, changed / total.masked_fill(total == 0, 1.0))


def added(change: Change) -> Tensor:
    """The deployed form: returns what is added to the scores `[B or 1, H or 1, S or 1, T]`.

    A factor of 0 becomes the smallest number of float32, whose logarithm can be multiplied by 0.
    """
    logs = change.factors.clamp_min(torch.finfo(torch.float32).tiny).log()
    if change.sets.shape[-2] == 1:
        total = torch.where(change.sets, logs, 0.0)
    else:
        total = logs @ torch.where(change.sets, logs.new_ones(()), logs.new_zeros(()))
    if change.bias is not None and change.gain is not None:
        total = total + change.gain[..., None] * change.bias[:, :, None]
    return total


def merged(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    method: Method,
    view: View,
    layer: int,
    attention: Callable[..., tuple[Tensor, Tensor]] = attend,
) -> Tensor:
    """The deployed form without a matrix: attention to each set, joined with the sets' factors `[B, H, S, Dv]`.

    Masses are exp(lse of a set - lse of all), so `attention` may be any kernel that gives outputs and log-sum-exps.
    What is remembered must be in `view.memory`: a method that looks at the weights of a prompt does so on its own.
    Gains of a key bias are 0 or 1.

    Args:
        q: Queries `[B, H, S, D]`.
        k: Keys `[B, Hk, T, D]`.
        v: Values `[B, Hk, T, Dv]`.
        method: The method.
        view: The call.
        layer: Number of the layer.
        attention: As `neurokit.attention.attend`.
    """
    sets, bias = method.sets(view), method.key_bias(view)
    count = sets.shape[-2]
    sets = torch.cat([sets, sets.any(-2, keepdim=True).logical_not()], -2)
    masks = [sets[..., at, :][:, :, None] & view.visible for at in range(count + 1)]
    parts = [attention(q, k, v, mask) for mask in masks]
    whole = merge(parts)[1]

    def shares(some: list[tuple[Tensor, Tensor]]) -> Tensor:
        return torch.stack([(lse - whole).exp() for _, lse in some], -1)

    turned: list[tuple[Tensor, Tensor]] = []
    if bias is not None:
        shared = bias.expand(k.shape[0], k.shape[1], -1)
        turned = [attention(q, k, v, mask, shared) for mask in masks[:-1]]
    factors, gain = _decided(method, view, layer, shares(parts[:-1]), shares(turned) if turned else None)
    factors = factors.expand(*parts[0][1].shape, count)
    if turned and gain is not None:
        parts[:-1] = [
            (torch.where(gain[..., None] > 0, new[0], old[0]), torch.where(gain > 0, new[1], old[1]))
            for new, old in zip(turned, parts, strict=False)
        ]
    changed = [(out, lse + factors[..., at].log()) for at, (out, lse) in enumerate(parts[:-1])]
    return merge([*changed, parts[-1]])[0]


def calibrated(scores: Callable[[], Tensor], methods: Sequence[Method], view: View, layer: int, like: Tensor) -> Tensor:
    """Returns what is added to a layer's scores: minus infinity where a query does not see, and every method's part.

    Methods are applied in order; one that needs weights sees those that the methods before it have made.

    Args:
        scores: Returns the scores `[B, H, S, T]`, which are not computed unless a method needs them.
        methods: The methods of the layer.
        view: The call.
        layer: Number of the layer.
        like: A tensor of the computation's type.
    """
    total = torch.where(view.visible, like.new_zeros(()), like.new_full((), float("-inf")))
    known: Tensor | None = None
    for method in methods:
        weights = None
        if method.needs_weights:
            known = scores() if known is None else known
            weights = (known + total).softmax(-1)
        if method.heads_in(layer) == ():  # it only remembers
            method.remember(view, weights, layer)
        else:
            total = total + added(change_of(method, view, weights, layer))
    return total


def plain_view(heads: int, new: int, length: int, batch: int = 1, **more: Any) -> View:
    """Returns the view of a call without padding: `new` queries at the last of `length` positions."""
    key = torch.arange(length)[None].expand(batch, -1)
    query = key[:, length - new :]
    visible = (key[:, None, None] <= query[:, None, :, None]).expand(batch, 1, new, length)
    begins = torch.tensor([new == length])
    return View(heads, key, query, begins, visible, **more)
