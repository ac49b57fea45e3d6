"""Patterns as graphs: what has no graph is said before any work; two forms, masked and gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.attention.definition import attend
from neurokit.attention.pattern import Call
from neurokit.errors import Unsupported, UnsupportedError

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
    """

    def __init__(self, pattern: AttentionPattern, length: int, cap: int | None = None) -> None:
        super().__init__()
        _refuse(pattern, "gathered", obstacles(pattern, "gathered", length, cap))
        self.pattern, self.flag = pattern, cap is not None
        self.slots = min(pattern.slots(length) if cap is None else cap, -(-length // pattern.tile[1]))

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the output `[B, H, S, Dv]`, and where there is a cap, which samples asked for more; as `Call`."""
        call = Call(q, k, v, key_bias)
        table = self.pattern.blocks(call)
        if table.shape[1] == 1:
            table = table.expand(-1, k.shape[1], -1, -1)
        out = gathered(call, table, self.slots, *self.pattern.tile)
        return (out, (table.sum(-1) > self.slots).flatten(1).any(1)) if self.flag else out


def gathered(call: Call, table: Tensor, slots: int, block_q: int, block_k: int) -> Tensor:
    """Attends to the first `slots` blocks of each row of a table.

    Blocks are gathered whole, as rows of one matrix: an index of elements would be as large as what it gathers.

    Args:
        call: The call.
        table: Bool `[B, Hk or H, Q, K]`.
        slots: Blocks a row.
        block_q: Queries a block.
        block_k: Keys a block.
    """
    batch, listed, rows, columns = table.shape
    heads, groups, new, length = call.q.shape[1], call.k.shape[1], call.new, call.length
    # In rising order, those that count first.
    order = torch.sort((~table).to(torch.int32), dim=-1, stable=True).indices[..., :slots]
    live = table.gather(-1, order)
    head = torch.arange(listed, device=table.device) // (listed // groups)
    base = (torch.arange(batch, device=table.device)[:, None] * groups + head)[..., None, None] * columns
    flat = (order + base).flatten()
    k, v = (_blocks(x, columns, block_k)[flat] for x in (call.k, call.v))
    key = order[..., None] * block_k + torch.arange(block_k, device=table.device)
    seen = live[..., None] & (key < length)
    place = torch.arange(rows * block_q, device=table.device).view(rows, block_q) + (length - new)
    visible = seen.flatten(3)[:, :, :, None, None]  # [B, listed, Q, 1, 1, slots x block_k]
    if call.causal:
        visible = visible & (key.flatten(3)[:, :, :, None, None] <= place[:, None, :, None])
    share = heads // listed
    q = F.pad(call.q, (0, 0, 0, rows * block_q - new)).view(batch, listed, share, rows, block_q, -1).transpose(2, 3)
    shape = (batch * listed * rows, 1, slots * block_k)
    bias = None
    if call.key_bias is not None:
        picked = _blocks(call.key_bias[..., None], columns, block_k)[flat]
        bias = picked.reshape(shape)
    out, _ = attend(
        q.reshape(batch * listed * rows, 1, share * block_q, q.shape[-1]),
        k.reshape(*shape, k.shape[-1]),
        v.reshape(*shape, v.shape[-1]),
        visible.expand(-1, -1, -1, share, block_q, -1).reshape(batch * listed * rows, 1, share * block_q, shape[2]),
        bias,
        call.factor,
    )
    out = out.view(batch, listed, rows, share, block_q, -1).transpose(2, 3)
    return out.reshape(batch, heads, rows * block_q, -1)[:, :, :new]


def _blocks(x: Tensor, columns: int, block: int) -> Tensor:
    """Returns `[B, Hk, T, D]` as blocks `[B Hk K, block, D]`, the last one padded with zeros."""
    padded = F.pad(x, (0, 0, 0, columns * block - x.shape[2]))
    return padded.reshape(x.shape[0] * x.shape[1] * columns, block, x.shape[3])


def _refuse(pattern: AttentionPattern, form: Form, found: list[Unsupported]) -> None:
    if found:
        raise UnsupportedError(f"pattern {pattern.card.name!r} has no {form} graph", found)
