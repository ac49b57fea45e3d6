"""What a pattern is: from queries, keys and values to the set of keys that each query attends to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from neurokit.attention.definition import attend, causal_mask, check_shapes
from neurokit.attention.index import BlockIndex
from neurokit.attention.tokens import TokenSet
from neurokit.errors import InputError, Unsupported
from neurokit.registry import Registry

Selection = BlockIndex | TokenSet
Form = Literal["masked", "gathered"]


@dataclass(frozen=True)
class Call:
    """One call of attention, seen by a pattern.

    Attributes:
        q: Queries `[B, H, S, D]`, at the last S of T positions.
        k: Keys `[B, Hk, T, D]`.
        v: Values `[B, Hk, T, Dv]`.
        key_bias: What is added to scores, `[B, Hk, T]`, or none.
        scale: Factor of the products; default is D^-0.5.
        causal: Whether keys after a query are out.
        at: Entry of each query among the keys, int64 `[B or 1, S]`, where it is not the last S: a cache of fixed size.
        first: The first entry of each row that is a token, int64 `[B]`; what is before is padding, which no query
            sees, and positions count from there. Queries of padding see nothing.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    key_bias: Tensor | None = None
    scale: float | None = None
    causal: bool = True
    at: Tensor | None = None
    first: Tensor | None = None

    def __post_init__(self) -> None:
        check_shapes(self.q, self.k, self.v)
        batch = self.q.shape[0]
        if self.first is not None and tuple(self.first.shape) != (batch,):
            raise InputError(f"first is {list(self.first.shape)}", expected=f"one entry a row, [{batch}]")
        if self.at is not None and (self.at.dim() != 2 or self.at.shape[1] != self.q.shape[2]):
            raise InputError(f"at is {list(self.at.shape)}", expected=f"[{batch} or 1, {self.q.shape[2]}]")

    @property
    def new(self) -> int:
        """Number of queries S."""
        return self.q.shape[2]

    @property
    def length(self) -> int:
        """Number of keys T."""
        return self.k.shape[2]

    @property
    def factor(self) -> float:
        """Factor of the products."""
        return self.q.shape[-1] ** -0.5 if self.scale is None else self.scale

    def grouped_q(self) -> Tensor:
        """Returns the queries by key head, `[B, Hk, H / Hk, S, D]`."""
        batch, heads, new, width = self.q.shape
        return self.q.reshape(batch, self.k.shape[1], heads // self.k.shape[1], new, width)

    @property
    def plain(self) -> bool:
        """Whether queries are the last S of T entries, and every entry is a token."""
        return self.at is None and self.first is None

    def entries(self) -> Tensor:
        """Returns the entry of each query among the keys, int64 `[B or 1, S]`."""
        if self.at is not None:
            return self.at
        return (torch.arange(self.new, device=self.q.device) + (self.length - self.new))[None]

    def places(self) -> Tensor:
        """Returns the position of each query among the tokens of its row, `[B or 1, S]`; below 0 at padding."""
        return self.entries() if self.first is None else self.entries() - self.first[:, None]

    def seen(self) -> Tensor:
        """Returns what causality and padding leave, bool `[S, T]`, or `[B or 1, 1, S, T]` for a call not `plain`."""
        if self.plain:
            mask = causal_mask(self.new, self.length, self.q.device)
            return mask if self.causal else torch.ones_like(mask)
        key, entry = torch.arange(self.length, device=self.q.device), self.entries()[:, None, :, None]
        mask = key <= entry if self.causal else torch.ones_like(key <= entry)
        if self.first is None:
            return mask
        first = self.first[:, None, None, None]
        return torch.logical_and(mask, torch.logical_and(key >= first, entry >= first))

    def row(self, at: int) -> Call:
        """Returns one row of the batch without its padding, as a plain call."""
        first = 0 if self.first is None else int(self.first[at])
        entries = self.entries()[at if self.entries().shape[0] > 1 else 0]
        real, last = entries >= first, int(entries[-1]) + 1 if self.causal else self.length
        k, v = self.k[at : at + 1, :, first:last], self.v[at : at + 1, :, first:last]
        bias = None if self.key_bias is None else self.key_bias[at : at + 1, ..., first:last]
        return Call(self.q[at : at + 1, :, real], k, v, bias, self.scale, self.causal)

    def part(self, first: int, last: int) -> Call:
        """Returns the call that a decoder makes for the queries first to last - 1: keys after them do not exist."""
        past = self.length - self.new
        bias = None if self.key_bias is None else self.key_bias[..., : past + last]
        k, v = self.k[:, :, : past + last], self.v[:, :, : past + last]
        return replace(self, q=self.q[:, :, first:last], k=k, v=v, key_bias=bias)


@dataclass(frozen=True)
class Traits:
    """What is true of every selection of a pattern.

    Attributes:
        unit: What is selected: key "blocks" or "tokens".
        static: Whether the set depends on positions alone.
        per_query: Whether every query has its own set; otherwise a block of queries, or all of them, share one.
        needs_scores: Whether products of queries and keys, or an estimate of them, decide.
        causal_safe: Whether no later token can change the set of a query.
        fixed_count: Whether the largest number of keys a query is known before any input is.
        needs_bias: Whether the call must bring a bias of the keys, which decides.
        longest: Whether a graph of it has to be made for a largest number of tokens.
        by_row: Whether `visible` takes rows that begin with padding (`Call.first`) and queries that stand elsewhere
            (`Call.at`) at once; others are called row by row, which no graph can do.
    """

    unit: Literal["blocks", "tokens"]
    static: bool = False
    per_query: bool = False
    needs_scores: bool = False
    causal_safe: bool = False
    fixed_count: bool = True
    needs_bias: bool = False
    longest: bool = False
    by_row: bool = False


@dataclass(frozen=True)
class Card:
    """What the documentation says of a method.

    Attributes:
        name: Name in the registry.
        summary: One line.
        equation: What is computed, in plain text, one line an equation.
        source: Paper, with its number, and released code.
        licence: Licence of the released code, and what follows from it.
        sound: Which form is built here, and why it is the sound one.
        released: What the released code does differently.
        cost: Work and bytes a token.
        settings: Meaning of each setting, by name.
    """

    name: str
    summary: str
    equation: str
    source: str
    licence: str
    sound: str
    released: str
    cost: str
    settings: dict[str, str] = field(default_factory=dict)


class AttentionPattern:
    """A rule that selects keys; a subclass is a frozen dataclass of its settings, registered under its card's name.

    A subclass overrides `visible`, in operations that can be traced, or `select`; the other one follows.
    """

    card: ClassVar[Card]
    traits: ClassVar[Traits]

    @property
    def tile(self) -> tuple[int, int]:
        """Queries and keys of a block of the table that `blocks` returns; (1, 1) for tokens."""
        return 1, 1

    @property
    def one_softmax(self) -> bool:
        """Whether the output is one softmax over the selected keys."""
        return True

    @property
    def step_safe(self) -> bool:
        """Whether a text in one pass, in chunks and token by token selects the same."""
        return self.traits.causal_safe and self.traits.per_query

    @property
    def by_row(self) -> bool:
        """Whether rows with padding are taken at once, in operations that can be traced; see `Traits.by_row`."""
        return self.traits.by_row

    @property
    def in_layers(self) -> str:
        """The settings with which a layer of a decoder, whose texts come in any parts, can have it; "" for none."""
        return ""

    def parameter(self, heads: int, groups: int, width: int) -> tuple[str, Tensor] | None:
        """Returns the setting that a layer keeps as a parameter, and its value before training or calibration."""
        return None

    def capped(self, call: Call) -> tuple[Tensor, Tensor | None]:
        """Returns `blocks` for a fixed number of slots, and how many more each query asked for, if there is a cap."""
        return self.blocks(call), None

    def slots(self, length: int) -> int:
        """Returns the largest number of blocks that a row of the table lists, for `length` keys."""
        return -(-length // self.tile[1])

    @classmethod
    def samples(cls) -> list[AttentionPattern]:
        """Returns small instances for the contract tests."""
        raise NotImplementedError

    def whole(self, length: int) -> AttentionPattern:
        """Returns the same pattern with a budget that holds `length` keys: it must be dense attention."""
        raise NotImplementedError

    def blocks(self, call: Call) -> Tensor:
        """Returns the table of blocks, bool `[B, 1 or Hk or H, Q, K]`, in operations that can be traced."""
        return self.visible(call)

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that count, bool `[B, 1 or Hk or H, S, T]`, causality included."""
        return self.select(call).to_dense()

    def select(self, call: Call) -> Selection:
        """Returns the set of keys of every query."""
        return TokenSet.from_dense(self.visible(call), call.new, call.causal)

    def attend(self, call: Call) -> Tensor:
        """Returns the output `[B, H, S, Dv]`; the definition, from the set. What sees nothing, as padding, gives 0."""
        if not call.plain and not self.by_row:
            return self._row_by_row(call)
        return attend(call.q, call.k, call.v, self.visible(call), call.key_bias, call.scale)[0]

    def _row_by_row(self, call: Call) -> Tensor:
        out = call.v.new_zeros(*call.q.shape[:3], call.v.shape[3])
        for at in range(call.q.shape[0]):
            alone = call.row(at)
            if alone.new:
                out[at, :, call.new - alone.new :] = self.attend(alone)[0]
        return out

    def keys(self, length: int) -> int:
        """Returns the keys that a new query of `length` attends to at most, its own included."""
        return min(length, self.slots(length) * self.tile[1])

    def scored(self, length: int) -> int:
        """Returns the products with keys, or with what stands for several, that select for one query of a head."""
        return 0

    @property
    def scans(self) -> bool:
        """Whether selecting for a new query reads every key."""
        return self.traits.needs_scores

    def obstacles(self, form: Form, longest: int | None = None, cap: int | None = None) -> list[Unsupported]:
        """Returns why a graph of the pattern cannot be made in a form, before any work; as `graph.obstacles`."""
        from neurokit.attention.graph import obstacles

        return obstacles(self, form, longest, cap)


_P = TypeVar("_P", bound=type[AttentionPattern])

PATTERNS: Registry[type[AttentionPattern]] = Registry(
    "pattern", "neurokit.attention.patterns", "neurokit.patterns", command="neurokit list patterns"
)


def register_pattern(cls: _P) -> _P:
    """Registers a pattern class under its card's name: contract tests and documents follow."""
    PATTERNS.add(cls.card.name, cls)
    return cls


def pattern(name: str, **settings: Any) -> AttentionPattern:
    """Returns a pattern by name.

    Raises:
        UnknownNameError: If there is none.
        InputError: If a setting is unknown or does not fit.
    """
    found: Callable[..., AttentionPattern] = PATTERNS.get(name)
    known = PATTERNS.get(name).card.settings
    for key in settings:
        if key not in known:
            raise InputError(f"pattern {name!r} has no setting {key!r}", expected=", ".join(known) or "no settings")
    return found(**settings)
