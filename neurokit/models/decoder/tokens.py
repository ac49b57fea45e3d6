"""Where the new tokens of a call stand: entries, positions, what they see, and the caches that they are put into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """What every layer of a call needs to know of the new tokens.

    Attributes:
        place: Entry of each token in a cache, padding counted, `[B or 1, S]`.
        position: Number of real tokens before each in its row `[B, S]`; below 0 at padding.
        real: Which are tokens and not padding, bool `[B, S]`.
        cos: Cosines of the positions' angles `[B, 1, S, D / 2]`.
        sin: Their sines.
        visible: Which entries a token sees, bool `[B, 1, S, P + S]`, or `[B, 1, S, N]` for caches of N entries; None
            where no layer has a cache.
        fixed: Whether caches are of a fixed size.
        first: The first entry of each row that is a token `[B]`.
        ids: The new tokens `[B, S]`; below 0 is padding.
        shared: What layers remember together, by name, those of this call's tokens included; calibrations set it.
        masks: Masks that several layers share, by what they are made of.
    """

    place: Tensor
    position: Tensor
    real: Tensor
    cos: Tensor
    sin: Tensor
    visible: Tensor | None
    fixed: bool
    first: Tensor
    ids: Tensor
    shared: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[Any, Tensor] = field(default_factory=dict)

    def extend(self, cache: Tensor, new: Tensor) -> Tensor:
        """Returns a cache `[B, Hk, P or N, ...]` with what the new tokens `[B, Hk, S, ...]` add to it."""
        if not self.fixed:
            return torch.cat([cache, new], 2)
        place = self.place.view(self.place.shape[0], 1, -1, *[1] * (new.dim() - 3))
        return cache.scatter(2, place.expand_as(new), new)

    def extended(self, memory: Tensor) -> Tensor:
        """Returns a number an entry `[B, heads, P or N]` with 0 for the new tokens."""
        return self.extend(memory, memory.new_zeros(memory.shape[0], memory.shape[1], self.ids.shape[1]))


def locate(
    ids: Tensor, padding: Tensor, inverse_frequencies: Tensor, past: int | None, length: Tensor | None, size: int | None
) -> Tokens:
    """Returns where the new tokens stand.

    Args:
        ids: New tokens `[B, S]`; below 0 is padding.
        padding: How many of a row's entries are padding, those of this call counted `[B]`.
        inverse_frequencies: Radians a position turns each pair by `[D / 2]`.
        past: Entries P of growing caches; None where there are none.
        length: Entries so far `[B]`, of a model without growing caches.
        size: Entries N of caches of fixed size; None where there are none.
    """
    place = torch.arange(ids.shape[1], device=ids.device)[None]
    if past is not None:
        place = place + past
    elif length is not None:
        place = place + length[:, None]
    position = place - padding[:, None]
    visible = None
    entries = size if size is not None else None if past is None else past + ids.shape[1]
    if entries is not None:
        key = torch.arange(entries, device=ids.device)
        # A row of padding sees itself: a softmax over nothing would be no number.
        first = torch.minimum(padding[:, None], place)
        visible = ((key <= place[..., None]) & (key >= first[..., None]))[:, None]
    angle = position.to(inverse_frequencies.dtype)[..., None] * inverse_frequencies
    return Tokens(
        place,
        position,
        ids >= 0,
        angle.cos()[:, None],
        angle.sin()[:, None],
        visible,
        fixed=size is not None,
        first=padding,
        ids=ids,
    )
