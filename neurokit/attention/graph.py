"""Patterns as graphs: what has no graph is said before any work; two forms, masked and gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.attention.definition import attend
from neurokit.attention.pattern import Call
from neurokit.errors import InputError, Unsupported, UnsupportedError

if TYPE_CHECKING:
    from neurokit.attention.pattern import AttentionPattern, Form


def obstacles(
    pattern: AttentionPattern, form: Form, longest: int | None = None, cap: int | None = None
) -> list[Unsupported]:
    """Returns every reason why a pattern has no graph in a form.

    Args:
        pattern: The pattern with its settings.
        form: "masked" (the dense product under a mask: exact, no gain) or "gathered" (selected keys only).
        longest: Largest number of tokens that the graph is for, if it is bound.
        cap: Blocks that a gathered graph of a threshold takes at most.
    """
    name, traits = pattern.card.name, pattern.traits
    found = []
    if traits.longest and longest is None:
        found.append(Unsupported("", name, "it is unrolled for a largest number of tokens", "say the longest"))
    if form == "gathered" and not traits.fixed_count and cap is None:
        fix = "use masked, or set a cap of blocks; a flag then says when it overflows"
        found.append(Unsupported("", name, "a threshold selects: the number of keys is not fixed", fix))
    if form == "gathered" and not pattern.one_softmax:
        found.append(Unsupported("", name, "its output is a mean of several softmaxes", "use masked"))
    return found


class Masked(nn.Module):
    """Attention by a pattern as the dense product under its mask: exact, and no faster than dense.

    Args:
        pattern: The pattern.
        longest: Number of tokens, for a pattern that is unrolled.

    Raises:
        UnsupportedError: Lists every reason why there is no such graph.
    """

    def __init__(self, pattern: AttentionPattern, longest: int | None = None) -> None:
        super().__init__()
        _refuse(pattern, "masked", obstacles(pattern, "masked", longest))
        self.pattern = pattern

    def forward(self, q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None = None) -> Tensor:
        """Returns the output `[B, H, S, Dv]`; arguments as `Call`."""
        return self.pattern.attend(Call(q, k, v, key_bias))


class Gathered(nn.Module):
    """Attention by a pattern over its blocks alone, a fixed number of them a row.

    Args:
        pattern: The pattern.
        length: Number of keys that the graph is for.
        cap: Blocks a row at most, for a pattern that selects by a threshold. The output is then a pair: a second one,
            `[B]`, says which samples asked for more.

    Raises:
        UnsupportedError: Lists every reason why there is no such graph.
        InputError: If it is called with more keys.
    """

    def __init__(self, pattern: AttentionPattern, length: int, cap: int | None = None) -> None:
        super().__init__()
        _refuse(pattern, "gathered", obstacles(pattern, "gathered", length, cap))
        self.pattern, self.flag, self.length = pattern, cap is not None, length
        self.slots = min(pattern.slots(length) if cap is None else cap, -(-length // pattern.tile[1]))

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the output `[B, H, S, Dv]`, and where there is a cap, which samples asked for more; as `Call`."""
        if k.shape[2] > self.length:
            raise InputError(f"{k.shape[2]} keys for a graph of {self.length}", expected=f"at most {self.length}")
        call = Call(q, k, v, key_bias)
        table = self.pattern.blocks(call)
        if table.shape[1] == 1:
            table = table.expand(-1, k.shape[1], -1, -1)
        by_position = self.pattern.traits.unit == "blocks"
        out = gathered(call, table, self.slots, *self.pattern.tile, by_position=by_position)
        return (out, (table.sum(-1) > self.slots).flatten(1).any(1)) if self.flag else out


def gathered(call: Call, table: Tensor, slots: int, block_q: int, block_k: int, *, by_position: bool = True) -> Tensor:
    """Attends to the first `slots` blocks of each row of a table.

    What is listed is gathered as rows of one matrix, a block a row, or a token where rows begin elsewhere: an index of
    elements would be as large as what it gathers.

    Args:
        call: The call.
        table: Bool `[B, Hk or H, Q, K]`.
        slots: Blocks a row.
        block_q: Queries a block.
        block_k: Keys a block.
        by_position: Whether blocks begin with the first token of a row, and not with its padding.
    """
    batch, listed, rows, _ = table.shape
    heads, groups, new, length = call.q.shape[1], call.k.shape[1], call.new, call.length
    device, share = table.device, heads // listed
    order, live = _first_blocks(table, slots)
    entry = order[..., None] * block_k + torch.arange(block_k, device=device)
    if by_position and call.first is not None:
        entry = entry + call.first[:, None, None, None, None]
    seen = torch.logical_and(live[..., None], entry < length).flatten(3)
    head = torch.arange(listed, device=device) // (listed // groups)
    group = (torch.arange(batch, device=device)[:, None] * groups + head)[..., None, None]
    entry = entry.flatten(3).clamp(max=length - 1)  # [B, listed, Q, slots x block_k]
    visible = seen[:, :, :, None, None]
    if call.causal:
        place = call.entries()
        if block_q > 1:
            place = F.pad(place, (0, rows * block_q - new), mode="constant", value=0)
        place = place.view(place.shape[0], 1, rows, 1, block_q, 1)
        visible = torch.logical_and(visible, entry[:, :, :, None, None] <= place)
    q = call.q if block_q == 1 else F.pad(call.q, (0, 0, 0, rows * block_q - new))
    q = q.reshape(batch, listed, share, rows, block_q, q.shape[-1]).transpose(2, 3)
    count, width = batch * listed * rows, slots * block_k
    whole = block_k > 1 and call.first is None

    def picked(x: Tensor) -> Tensor:
        rows = _rows(x, group, order, block_k) if whole else x.flatten(0, 2)[(entry + group * length).flatten()]
        return rows.view(count, 1, width, x.shape[3])

    out, _ = attend(
        q.reshape(count, 1, share * block_q, q.shape[-1]),
        picked(call.k),
        picked(call.v),
        visible.expand(-1, -1, -1, share, block_q, -1).reshape(count, 1, share * block_q, width),
        None if call.key_bias is None else picked(call.key_bias[..., None])[..., 0],
        call.factor,
    )
    out = out.view(batch, listed, rows, share, block_q, -1).transpose(2, 3)
    return out.reshape(batch, heads, rows * block_q, -1)[:, :, :new]


def _rows(x: Tensor, group: Tensor, order: Tensor, block: int) -> Tensor:
    """Returns the blocks `order` `[B, heads, Q, slots]` of `[B, Hk, T, D]`, each copied whole."""
    batch, groups, length, width = x.shape
    columns = -(-length // block)
    padded = F.pad(x, (0, 0, 0, columns * block - length))
    blocks = padded.reshape(batch * groups * columns, block * width)
    return blocks[(order + group * columns).flatten()]


def _first_blocks(table: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Returns the first `slots` true columns of each row in rising order, and which of them there are."""
    # As many columns more, so that there are `slots` of them whatever the number of keys.
    wide = torch.cat([table, table.new_zeros(*table.shape[:-1], slots)], -1)
    order = torch.sort((~wide).to(torch.int32), dim=-1, stable=True).indices[..., :slots]
    live = wide.gather(-1, order)
    return order * live.to(order.dtype), live


def _refuse(pattern: AttentionPattern, form: Form, found: list[Unsupported]) -> None:
    if found:
        raise UnsupportedError(f"pattern {pattern.card.name!r} has no {form} graph", found)
