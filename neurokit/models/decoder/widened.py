"""A decoder with more tokens: further rows of the embedding and of the head, the others as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurokit.errors import InputError
from neurokit.models.decoder.net import Decoder


def widen(net: Decoder, count: int, rows: Callable[[Tensor, str], Tensor]) -> Decoder:
    """Gives a decoder `count` tokens more, in place, and returns it.

    Args:
        net: The decoder; its vocabulary grows from V to V + count.
        count: Number of new tokens; the first of them is token V.
        rows: Takes the rows `[V, width]` of a part and which part it is, "embedding", or "head" where that is not tied;
            returns the new ones `[count, width]`.

    Raises:
        InputError: If the new rows have another shape.
    """
    old = net.model.embed_tokens.weight
    embedding = nn.Embedding(old.shape[0] + count, old.shape[1], device="meta")
    embedding.weight = _longer(old, count, rows, "embedding")
    net.model.embed_tokens = embedding
    if not net.config.tied:
        net.lm_head.weight = _longer(net.lm_head.weight, count, rows, "head")
        net.lm_head.out_features += count
    net.config = replace(net.config, vocabulary=net.config.vocabulary + count)
    return net


def _longer(weight: Tensor, count: int, rows: Callable[[Tensor, str], Tensor], part: str) -> nn.Parameter:
    with torch.no_grad():
        new = rows(weight, part).to(weight.dtype)
        if tuple(new.shape) != (count, weight.shape[1]):
            raise InputError(f"new rows are {list(new.shape)}", expected=f"[{count}, {weight.shape[1]}]")
        return nn.Parameter(torch.cat([weight, new]))
