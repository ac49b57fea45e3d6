"""Softmax attention over a cache, dense or over the keys that a dynamic mask keeps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.attention.graph import gathered
from neurokit.attention.pattern import Call
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.layers import RMSNorm
from neurokit.models.decoder.rotary import rotate
from neurokit.models.decoder.tokens import Tokens

SAME = 2.0**-18  # relative difference up to which two biases are one: 32 roundings of float32, in every type


class Attention(nn.Module):
    """Causal attention with grouped heads, query head h reads key and value head h // (H / Hk)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        q, kv = config.heads * config.head_size, config.kv_heads * config.head_size
        self.q_proj = nn.Linear(config.width, q, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.width, kv, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.width, kv, bias=config.qkv_bias)
        self.o_proj = nn.Linear(q, config.width, bias=config.out_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_size, config.eps)
            self.k_norm = RMSNorm(config.head_size, config.eps)

    def forward(self, x: Tensor, tokens: Tokens, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Attends from the new tokens to all.

        Args:
            x: Normalised stream `[B, S, width]`.
            tokens: Where the new tokens stand.
            k: Rotated keys of the past `[B, Hk, P, D]`.
            v: Values of the past, of the same shape.

        Returns:
            The output `[B, S, width]`, and keys and values `[B, Hk, P + S, D]`.
        """
        q, new_k, new_v = self.project(x, tokens)
        k, v = tokens.extend(k, new_k), tokens.extend(v, new_v)
        return self.attend(q, k, v, tokens.visible), k, v

    def project(self, x: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries `[B, H, S, D]`, keys and values `[B, Hk, S, D]`, the first two rotated."""
        c = self.config
        batch, new = x.shape[:2]
        q = self.q_proj(x).view(batch, new, c.heads, c.head_size)
        k = self.k_proj(x).view(batch, new, c.kv_heads, c.head_size)
        v = self.v_proj(x).view(batch, new, c.kv_heads, c.head_size)
        if c.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q.transpose(1, 2), tokens.cos, tokens.sin), rotate(k.transpose(1, 2), tokens.cos, tokens.sin)
        return q, k, v.transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, some: Tensor | None = None) -> Tensor:
        """Returns the output `[B, S, width]` of attention under a mask, bool or added to the scores.

        `some` `[B, H, S, 1]`, where given, says which queries have an output; that of the others is 0.
        """
        c = self.config
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=c.kv_heads != c.heads)
        return self.joined(out if some is None else out * some.to(out.dtype))

    def joined(self, out: Tensor) -> Tensor:
        """Returns the heads' outputs `[B, H, S, D]` as what is added to the stream `[B, S, width]`."""
        return self.o_proj(out.transpose(1, 2).reshape(out.shape[0], out.shape[2], out.shape[1] * out.shape[3]))


class DynamicMaskAttention(Attention):
    """Attention over the `keep` keys of largest bias, which is added to their scores (Shi et al., 2025; Doge).

    The bias is a number a key and key head, so it is cached; of equal ones the earlier keys are kept. A bias that is an
    earlier one but for rounding is that one: products of calls of other sizes round differently, and a token that
    occurs twice would have two biases.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.A = nn.Parameter(torch.zeros(config.kv_heads))
        self.dt_proj = nn.Linear(config.kv_heads * config.head_size, config.kv_heads, bias=config.qkv_bias)

    def forward(self, x: Tensor, tokens: Tokens, k: Tensor, v: Tensor, bias: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Attends from the new tokens to those that are kept; `bias` `[B, Hk, P]`, the rest as `Attention.forward`."""
        c = self.config
        q, new_k, new_v = self.project(x, tokens)
        new_bias = torch.exp(self.A * F.softplus(self.dt_proj(new_v.transpose(1, 2).flatten(2)))).transpose(1, 2)
        assert tokens.visible is not None
        new_bias = first_like(tokens.extend(bias, new_bias), new_bias, tokens.visible, tokens.place)
        k, v, bias = tokens.extend(k, new_k), tokens.extend(v, new_v), tokens.extend(bias, new_bias)
        scores = bias[:, :, None].masked_fill(~tokens.visible, float("-inf"))
        if c.gathered:
            table = torch.logical_and(kept(scores, c.keep), tokens.visible)
            call = Call(q, k, v, bias, at=tokens.place, first=tokens.first)
            return self.joined(gathered(call, table, c.keep, 1, 1, by_position=False)), k, v, bias
        hidden = torch.logical_and(kept(scores, c.keep), tokens.visible).logical_not()
        mask = scores.masked_fill(hidden, float("-inf"))
        return self.attend(q, k, v, mask.repeat_interleave(c.heads // c.kv_heads, 1)), k, v, bias


def first_like(known: Tensor, new: Tensor, visible: Tensor, place: Tensor) -> Tensor:
    """Returns each of the new numbers `[B, H, S]` as the first of those known `[B, H, T]` that it is but for rounding.

    Args:
        known: Numbers of all keys, the new ones among them.
        new: Those of the last keys.
        visible: Keys that each of them may be equal to, bool `[B or 1, 1, S, T]`.
        place: Where each of them is among the keys `[B or 1, S]`.
    """
    old, new = known[:, :, None], new[..., None]
    like = (old - new).abs() <= SAME * torch.minimum(old.abs(), new.abs())
    at = torch.arange(known.shape[-1], device=known.device)
    first = torch.where(torch.logical_and(like, visible), at, place[:, None, :, None]).amin(-1)
    return known.gather(-1, first)


def kept(scores: Tensor, count: int) -> Tensor:
    """Returns which of the scores `[..., T]` are among the `count` largest, of equal ones those of lower index.

    It asks for the smallest score that is kept, not for an order: no runtime promises one among equal scores.
    """
    none = scores.new_full((*scores.shape[:-1], count), float("-inf"))
    least = torch.cat([scores, none], -1).topk(count, -1).values[..., -1:]
    above, equal = scores > least, scores == least
    room = count - above.sum(-1, keepdim=True)
    return torch.logical_or(above, torch.logical_and(equal, equal.to(torch.int64).cumsum(-1) <= room))
