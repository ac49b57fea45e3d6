"""A registered pattern of attention as a decoder's layer: under a mask, or over the selected keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurokit.attention.graph import gathered
from neurokit.attention.pattern import PATTERNS, AttentionPattern, Call, pattern
from neurokit.dims import Dim
from neurokit.errors import InputError, Unsupported
from neurokit.models.decoder.attention import Attention
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.mixing import FLOAT, LayerMixer, cache, projections
from neurokit.models.decoder.tokens import Tokens
from neurokit.spec import StateSpec, TokenWork


def layer_pattern(config: DecoderConfig, name: str) -> AttentionPattern:
    """Returns the pattern of a layer with its settings.

    Raises:
        InputError: If a setting is unknown or does not fit, or the pattern asks for what a layer does not have.
    """
    settings = dict(config.patterns.get(name, {}))
    if "means" in PATTERNS.get(name).card.settings:
        clusters = settings.pop("clusters", 8)
        if isinstance(clusters, bool) or not isinstance(clusters, int) or clusters < 1:
            raise InputError(f"pattern {name!r} has clusters={clusters!r}", expected="a whole number >= 1")
        settings["means"] = torch.zeros(1, clusters, config.head_size)
    made = pattern(name, **settings)
    if made.traits.needs_bias:
        raise InputError(f"pattern {name!r} asks for a bias of the keys", expected="a layer mixer that makes one")
    return made


class PatternAttention(Attention):
    """Softmax attention over the keys that a pattern selects; caches, positions and padding as `Attention`.

    Centroids of a pattern are a parameter, `means` `[H, C, D]`; nothing moves them in a deployed model.
    """

    def __init__(self, config: DecoderConfig, name: str) -> None:
        super().__init__(config)
        self.pattern = layer_pattern(config, name)
        if "means" in self.pattern.card.settings:
            held: Tensor = self.pattern.means  # type: ignore[attr-defined]
            self.means = nn.Parameter(torch.zeros(config.heads, *held.shape[1:]))

    def forward(self, x: Tensor, tokens: Tokens, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Attends from the new tokens to those that are selected; as `Attention.forward`."""
        q, new_k, new_v = self.project(x, tokens)
        k, v = tokens.extend(k, new_k), tokens.extend(v, new_v)
        chosen = replace(self.pattern, means=self.means) if hasattr(self, "means") else self.pattern  # type: ignore[call-arg]
        call = Call(q, k, v, at=tokens.place, first=tokens.first)
        if not chosen.traits.by_row:
            return self.joined(chosen.attend(call)), k, v
        if self.config.gathered:
            by_position = chosen.traits.unit == "blocks"
            out = gathered(call, chosen.blocks(call), _slots(chosen), *chosen.tile, by_position=by_position)
            return self.joined(out), k, v
        visible = chosen.visible(call)
        visible = visible.repeat_interleave(self.config.heads // visible.shape[1], 1)
        # A softmax over nothing would be no number: such a query sees everything, and its output is taken out.
        some = visible.any(-1, keepdim=True)
        seen = torch.logical_or(visible, some.logical_not())
        return self.attend(q, k, v, seen, some), k, v


def _slots(chosen: AttentionPattern) -> int:
    """Returns the blocks a row of a graph whose number of tokens is free."""
    return chosen.slots(1 << 40)


def pattern_mixer(name: str) -> LayerMixer:
    """Returns the layer mixer of a registered pattern."""

    def work(config: DecoderConfig, layer: int, before: int) -> TokenWork:
        """Products of the selected pairs and of what selects; every key is read where selecting does."""
        chosen = layer_pattern(config, name)
        kept, scored, width = chosen.keys(before + 1), chosen.scored(before + 1), config.head_size
        products = (2 * kept + scored) * config.heads * width
        row = config.kv_heads * width * FLOAT
        read = row * ((before if chosen.scans else min(before, kept)) + min(before, kept))
        pairs = config.heads * kept
        return TokenWork("", name, pairs, products, projections(config), read, 2 * row)

    def states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
        layer_pattern(config, name)  # wrong settings are told before any work
        return cache("k", config, entries), cache("v", config, entries)

    return LayerMixer(
        name,
        PATTERNS.get(name).card.summary,
        states,
        lambda config, layer: PatternAttention(config, name),
        work,
    )


def layers_of(config: DecoderConfig) -> dict[str, list[int]]:
    """Returns the layers that select keys, by pattern."""
    found: dict[str, list[int]] = {}
    for at in range(config.layers):
        if config.mixer(at) in PATTERNS.names():
            found.setdefault(config.mixer(at), []).append(at)
    return found


def obstacles(config: DecoderConfig, form: str) -> Iterator[Unsupported]:
    """Yields every reason why a decoder's layers have no graph in a form, "masked" or "gathered"."""
    for name, layers in layers_of(config).items():
        where = "layers " + ", ".join(map(str, layers)) if len(layers) > 1 else f"layer {layers[0]}"
        if name == "dynamic_mask":
            continue
        chosen = layer_pattern(config, name)
        fix = "use ssa, routing or dynamic_mask, or run the model in torch"
        if not chosen.step_safe:
            why = "what it selects depends on how a text is cut into calls: a prompt, chunks and steps would differ"
            yield Unsupported(where, name, why, fix)
        if not chosen.traits.by_row:
            why = "it is unrolled for a largest number of tokens and one length of all rows; caches here are free"
            yield Unsupported(where, name, why, fix)
        for reason in chosen.obstacles("gathered" if form == "gathered" else "masked", longest=config.longest):
            yield replace(reason, path=where)
