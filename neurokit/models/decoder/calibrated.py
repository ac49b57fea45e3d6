"""Dense attention whose weights calibrations change; what they remember are states of the layer or of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from neurokit.attention.calibration import Memory, View, calibrated
from neurokit.dims import Dim
from neurokit.models.decoder.attention import Attention
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.mixing import memory
from neurokit.models.decoder.tokens import Tokens
from neurokit.spec import StateSpec


def methods_in(config: DecoderConfig, layer: int) -> tuple[Any, ...]:
    """Returns the calibrations that change a layer or remember something of it, in order."""
    return tuple(method for method in config.calibrations if method.touches(layer))


def memories_in(config: DecoderConfig, layer: int) -> list[Memory]:
    """Returns what the calibrations of a layer remember of it alone."""
    return [held for method in methods_in(config, layer) for held in method.memories if not held.shared]


def layer_memories(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    """Returns the states that a layer's calibrations keep, without the layer's number in their names."""
    return tuple(
        memory(held.name, held.meaning, config.heads if held.by_head else 1, entries)
        for held in memories_in(config, layer)
    )


class CalibratedAttention(Attention):
    """Causal attention with grouped heads, under a mask that calibrations add to.

    Args:
        config: The model's sizes.
        layer: Number of the layer.
    """

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config)
        self.layer = layer
        self.methods = methods_in(config, layer)
        self.memories = [held.name for held in memories_in(config, layer)]
        self.looks_at_stream = any(method.looks_at_stream for method in self.methods)

    def forward(  # type: ignore[override]
        self, x: Tensor, tokens: Tokens, k: Tensor, v: Tensor, *kept: Tensor, stream: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Attends from the new tokens to all.

        Args:
            x: Normalised stream `[B, S, width]`.
            tokens: Where the new tokens stand.
            k: Rotated keys of the past `[B, Hk, P, D]`.
            v: Values of the past, of the same shape.
            kept: What calibrations remember of this layer `[B, H or 1, P]`.
            stream: What enters the layer `[B, S, width]`, where a calibration looks at it.

        Returns:
            The output `[B, S, width]`, keys and values `[B, Hk, P + S, D]`, and what is remembered now.
        """
        q, new_k, new_v = self.project(x, tokens)
        k, v = tokens.extend(k, new_k), tokens.extend(v, new_v)
        view = view_of(tokens, self.config.heads, k.shape[2], stream, dict(zip(self.memories, kept, strict=True)))
        out = self.attend(q, k, v, self.mask(q, k, tokens, view))
        return out, k, v, *(view.memory[name] for name in self.memories)

    def mask(self, q: Tensor, k: Tensor, tokens: Tokens, view: View) -> Tensor:
        """Returns what is added to the scores; layers with the same constants share one mask."""
        constant = not any(method.needs_weights or method.memories for method in self.methods)
        key = tuple((replace(method, scope=()), method.heads_in(self.layer)) for method in self.methods)
        if constant and key in tokens.masks:
            return tokens.masks[key]
        made = calibrated(lambda: self.scores(q, k), self.methods, view, self.layer, q)
        if constant:
            tokens.masks[key] = made
        return made

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Returns scaled products `[B, H, S, T]`; the queries of a group are rows of one product."""
        c = self.config
        rows = (q * c.head_size**-0.5).reshape(q.shape[0], c.kv_heads, -1, c.head_size)
        return (rows @ k.transpose(-1, -2)).reshape(q.shape[0], c.heads, -1, k.shape[2])


def view_of(
    tokens: Tokens,
    heads: int,
    length: int,
    stream: Tensor | None = None,
    kept: Mapping[str, Tensor] = MappingProxyType({}),
) -> View:
    """Returns what calibrations see of a call with `length` entries of caches; `kept` is from the calls before it."""

    def extend(name: str, new: Tensor) -> Tensor:
        return tokens.extend(kept[name], new)

    assert tokens.visible is not None
    key = torch.arange(length, device=tokens.ids.device) - tokens.first[:, None]
    image = tokens.shared.get("image")
    return View(
        heads,
        key,
        tokens.position,
        tokens.place[:, 0] == 0,
        tokens.visible,
        stream,
        None if image is None else image[:, 0] > 0,
        tokens.ids,
        {name: tokens.extended(old) for name, old in kept.items()},
        tokens.shared,
        extend if kept else None,
    )
