"""Which keys are attended to, one by one: a fixed number of slots a query, or one set for all queries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurokit.attention.definition import causal_mask
from neurokit.errors import InputError


@dataclass(frozen=True)
class TokenSet:
    """A set of keys for every query, or one for all.

    Attributes:
        idx: Keys int64 `[B, heads, n, K]`, rising, with n = S, or n = 1 for one set that serves all queries; what lies
            behind a row's count is 0.
        num: How many count, int32 `[B, heads, n]`.
        q_len: Number of queries S, at the last S of the positions.
        kv_len: Number of keys T.
        causal: Whether keys after a query are out, too.
    """

    idx: Tensor
    num: Tensor
    q_len: int
    kv_len: int
    causal: bool = True

    @classmethod
    def from_dense(cls, chosen: Tensor, q_len: int, causal: bool = True, slots: int | None = None) -> TokenSet:
        """Returns the set of a mask.

        Args:
            chosen: Bool `[B, heads, S or 1, T]`.
            q_len: Number of queries S.
            causal: Whether keys after a query are out, too.
            slots: Width K of the table; default is the largest count.

        Raises:
            InputError: If a row has more keys than slots, or the mask has another number of rows.
        """
        if chosen.shape[2] not in (1, q_len):
            raise InputError(f"a mask has {chosen.shape[2]} rows", expected=f"1 or {q_len}")
        num = chosen.sum(-1).to(torch.int32)
        most = max(int(num.max()) if num.numel() else 0, 1)
        if slots is not None and most > slots:
            raise InputError(f"a query has {most} keys", expected=f"at most {slots}")
        idx = torch.sort(~chosen, dim=-1, stable=True).indices[..., : slots or most]
        live = torch.arange(idx.shape[-1], device=idx.device) < num[..., None]
        return cls(idx * live, num, q_len, chosen.shape[-1], causal)

    def live(self) -> Tensor:
        """Returns which slots count, bool `[B, heads, n, K]`."""
        return torch.arange(self.idx.shape[-1], device=self.idx.device) < self.num[..., None]

    def to_dense(self) -> Tensor:
        """Returns the pairs that count, bool `[B, heads, S, T]`."""
        table = torch.zeros(*self.num.shape, self.kv_len + 1, dtype=torch.bool, device=self.idx.device)
        chosen = table.scatter(-1, torch.where(self.live(), self.idx, self.kv_len), True)[..., : self.kv_len]
        chosen = chosen.expand(-1, -1, self.q_len, -1)
        return chosen & causal_mask(self.q_len, self.kv_len, chosen.device) if self.causal else chosen

    def density(self) -> float:
        """Returns the visible pairs as a share of all pairs that a dense (causal) attention computes, 0 to 1."""
        dense = self.to_dense()
        every = causal_mask(self.q_len, self.kv_len) if self.causal else torch.ones(self.q_len, self.kv_len)
        return float(dense.sum()) / max(int(every.sum()) * dense.shape[0] * dense.shape[1], 1)

    def validate(self) -> None:
        """Checks counts, ranges and order.

        Raises:
            InputError: Says what is wrong.
        """
        live = self.live()
        if bool((self.num < 0).any()) or bool((self.num > self.idx.shape[-1]).any()):
            raise InputError("a count is outside of its table", expected=f"0 to {self.idx.shape[-1]}")
        if bool((((self.idx < 0) | (self.idx >= self.kv_len)) & live).any()):
            raise InputError("a key is out of range", expected=f"0 to {self.kv_len - 1}")
        if bool(((self.idx[..., 1:] <= self.idx[..., :-1]) & live[..., 1:]).any()):
            raise InputError("keys are not in rising order", expected="each key once, rising")
