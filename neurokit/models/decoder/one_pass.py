"""A whole text through a decoder in one pass, with the attention of every layer in the caller's hands."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.models.decoder.attention import Attention
from neurokit.models.decoder.net import Decoder, Layer
from neurokit.models.decoder.tokens import Tokens, locate

# Takes the number of a layer, q [B, H, S, D], k and v [B, Hk, S, D] and where the tokens stand; returns [B, H, S, D].
Attend = Callable[[int, Tensor, Tensor, Tensor, Tokens], Tensor]


def decoder_of(module: nn.Module, name: str) -> Decoder:
    """Returns a module that is a decoder with softmax attention in all its layers.

    Raises:
        UnsupportedError: If it is something else; names every layer that mixes tokens otherwise.
    """
    if not isinstance(module, Decoder):
        raise UnsupportedError(
            f"model {name!r} has no query heads to choose from",
            [Unsupported("", type(module).__name__, "it is no decoder language model", "tiny_lm, or a checkpoint")],
        )
    others = [
        Unsupported(
            f"model.layers.{at}.self_attn",
            type(layer.self_attn).__name__,
            "it is no dense softmax attention, and its heads have no row of weights",
            "leave transforms away, or take another model",
        )
        for at, layer in enumerate(module.model.layers)
        if type(layer.self_attn) is not Attention
    ]
    if others:
        raise UnsupportedError(f"the heads of model {name!r} cannot be told apart", others)
    return module


def in_float64(net: Decoder) -> Decoder:
    """Returns a copy that computes in float64; its rotary frequencies keep their float32 values."""
    wide = copy.deepcopy(net)
    return wide if wide.model.norm.weight.dtype == torch.float64 else wide.double()


def tokens_of(net: Decoder, ids: Tensor) -> Tokens:
    """Returns where the tokens of whole texts `[B, S]` stand; below 0 is padding, left of a text."""
    return locate(ids, (ids < 0).sum(1), net.inverse_frequencies, 0, None, None)


def plain(at: int, q: Tensor, k: Tensor, v: Tensor, tokens: Tokens) -> Tensor:
    """The attention that a decoder has by itself, `[B, H, S, D]`."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=tokens.visible, enable_gqa=k.shape[1] != q.shape[1])


def through(layer: Layer, at: int, x: Tensor, tokens: Tokens, attend: Attend = plain) -> Tensor:
    """Returns the stream `[B, S, width]` behind a layer."""
    attention: Any = layer.self_attn
    q, k, v = attention.project(layer.input_layernorm(x), tokens)
    mixed = attention.joined(attend(at, q, k, v, tokens))
    x = (x * layer.input_residual if layer.weighted else x) + mixed
    added = layer.mlp(layer.post_attention_layernorm(x))
    return (x * layer.post_attention_residual if layer.weighted else x) + added


def embedded(net: Decoder, ids: Tensor) -> Tensor:
    """Returns the stream `[B, S, width]` in front of the first layer."""
    return net.model.embed_tokens(ids.clamp_min(0))


def streams(net: Decoder, ids: Tensor, attend: Attend = plain) -> Iterator[Tensor]:
    """Yields the stream in front of each layer, and behind the last one."""
    x, tokens = embedded(net, ids), tokens_of(net, ids)
    yield x
    for at, layer in enumerate(net.model.layers):
        x = through(layer, at, x, tokens, attend)
        yield x


def logits_of(net: Decoder, x: Tensor) -> Tensor:
    """Returns the logits `[..., vocabulary]` of a stream behind the last layer."""
    x = net.model.norm(x)
    return F.linear(x, net.model.embed_tokens.weight) if net.config.tied else net.lm_head(x)


def token_losses(net: Decoder, x: Tensor, ids: Tensor) -> Tensor:
    """Returns the cross-entropy of each token given those before it, `[B, S]` in nats.

    The loss of token t is -log p(ids[t]) by the logits of token t - 1. The first token of a text and padding have none;
    there it is 0. The last token's logits decide nothing and are not computed.

    Args:
        net: The decoder.
        x: The stream behind its last layer, `[B, S, width]`.
        ids: The tokens `[B, S]`; below 0 is padding, left of a text.
    """
    # A log-softmax, not a log-sum-exp: runtimes have a quick one, and a reduction over the vocabulary is slow in them.
    likely = logits_of(net, x[:, :-1]).log_softmax(-1)
    losses = -likely.gather(-1, ids[:, 1:].clamp_min(0)[..., None])[..., 0]
    behind = torch.logical_and(ids[:, :-1] >= 0, ids[:, 1:] >= 0)
    # The first column is kept as a product by 0, so that a graph has no constant of the batch's size.
    return torch.cat([losses[:, :1] * 0.0, torch.where(behind, losses, torch.zeros_like(losses))], 1)
