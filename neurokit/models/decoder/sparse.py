"""A registered pattern of attention as a decoder's layer: under a mask, or over the selected keys alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

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
    known = PATTERNS.get(name).card.settings
    # Texts come in any parts: one query a block, means that no prompt decides, rounds for the longest text.
    by_token = {"block_q": 1, "longest": config.longest, "mean": "frozen"}
    settings = {key: value for key, value in by_token.items() if key in known} | settings
    if "means" in known:
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

    What a pattern keeps, as centroids `means` `[H, C, D]`, is a parameter; nothing moves it in a deployed model. Where
    a gathered threshold has a cap, a state `over` `[B]` counts the blocks that queries asked for beyond it.
    """

    def __init__(self, config: DecoderConfig, name: str) -> None:
        super().__init__(config)
        self.pattern = layer_pattern(config, name)
        self.kept = self.pattern.parameter(config.heads, config.kv_heads, config.head_size)
        if self.kept is not None:
            self.register_parameter(self.kept[0], nn.Parameter(self.kept[1]))

    def forward(self, x: Tensor, tokens: Tokens, k: Tensor, v: Tensor, *over: Tensor) -> tuple[Tensor, ...]:
        """Attends from the new tokens to those that are selected; as `Attention.forward`."""
        q, new_k, new_v = self.project(x, tokens)
        k, v = tokens.extend(k, new_k), tokens.extend(v, new_v)
        chosen = self.pattern
        if self.kept is not None:
            chosen = replace(chosen, **{self.kept[0]: getattr(self, self.kept[0])})  # type: ignore[type-var]
        call = Call(q, k, v, at=tokens.place, first=tokens.first)
        if not chosen.by_row:
            return self.joined(chosen.attend(call)), k, v
        if self.config.gathered:
            by_position = chosen.traits.unit == "blocks"
            table, more = chosen.capped(call)
            out = gathered(call, table, _slots(chosen), *chosen.tile, by_position=by_position)
            if not over:
                return self.joined(out), k, v
            assert more is not None
            return self.joined(out), k, v, over[0] + (more * tokens.real[:, None].to(more.dtype)).sum((1, 2))
        visible = chosen.visible(call)
        visible = visible.repeat_interleave(self.config.heads // visible.shape[1], 1)
        # A softmax over nothing would be no number: such a query sees everything, and its output is taken out.
        some = visible.any(-1, keepdim=True)
        seen = torch.logical_or(visible, some.logical_not())
        return self.attend(q, k, v, seen, some), k, v


def _slots(chosen: AttentionPattern) -> int:
    """Returns the blocks a row of a graph whose number of tokens is free."""
    return chosen.slots(1 << 40)


def cap_of(chosen: AttentionPattern) -> int | None:
    """Returns the blocks a query at most of a pattern that selects by a threshold, or None without a cap."""
    return getattr(chosen, "cap", 0) or None


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
        made = layer_pattern(config, name)  # wrong settings are told before any work
        over = (StateSpec("over", (), "int64", ""),) if config.gathered and cap_of(made) else ()
        return cache("k", config, entries), cache("v", config, entries), *over

    return LayerMixer(
        name,
        PATTERNS.get(name).card.summary,
        states,
        lambda config, layer: PatternAttention(config, name),
        work,
        lambda config: layer_pattern(config, name).tile[1],
    )


def freeze_means(module: nn.Module, *texts: Tensor) -> int:
    """Sets the means that "sale" layers keep to those of texts, layer by layer; calibration runs on the host.

    Args:
        module: A decoder, in place.
        texts: Tokens `[B, N]` without padding; every token of all of them counts once.

    Returns:
        The number of layers that were set.

    Raises:
        InputError: If no layer keeps means, there is no token, or there is padding.
    """
    kept = [part for part in module.modules() if isinstance(part, PatternAttention) and "centre" in part._parameters]
    count = sum(ids.numel() for ids in texts)
    if not kept or not count or any(bool((ids < 0).any()) for ids in texts):
        raise InputError(
            f"{len(kept)} layers keep means, {count} tokens", expected="a sale layer, and tokens without padding"
        )
    with torch.no_grad():
        for part in kept:  # a layer's input is that of the layers before with their means
            sums = torch.zeros_like(part.get_parameter("centre"), dtype=torch.float64)
            for ids in texts:
                q, k = _projected(part, functools.partial(module, ids, *_empty(module, len(ids))))
                sums += torch.cat([q.double().sum((0, 2)), k.double().sum((0, 2))])
            part.get_parameter("centre").copy_(sums / count)
    return len(kept)


def frozen(
    build: Callable[[DecoderConfig], nn.Module], texts: Sequence[Tensor]
) -> Callable[[DecoderConfig], nn.Module]:
    """Returns what builds a decoder whose means are those of texts, in every form of its caches."""

    def made(config: DecoderConfig) -> nn.Module:
        growing = build(replace(config, cache=None, gathered=False))
        freeze_means(growing, *texts)
        module = build(config)
        module.load_state_dict(growing.state_dict())
        return module

    return made


def _empty(module: nn.Module, batch: int) -> list[Tensor]:
    """Returns the states before a text."""
    return [
        torch.zeros(batch, *(n if isinstance(n, int) else 0 for n in state.sizes), dtype=getattr(torch, state.dtype))
        for state in module.states  # type: ignore[union-attr]
    ]


def _projected(layer: PatternAttention, run: Callable[[], Any]) -> tuple[Tensor, Tensor]:
    """Returns the queries and keys that a layer makes in a run."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    before = layer.project

    def noted(x: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(before(x, tokens))
        return seen[-1]

    layer.project = noted  # type: ignore[method-assign]
    try:
        run()
    finally:
        del layer.project
    return seen[0][0], seen[0][1]


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
        asked = chosen.in_layers
        fix = f"settings {asked}" if asked else "use ssa, routing or dynamic_mask, or run the model in torch"
        if not chosen.step_safe:
            why = "what it selects depends on how a text is cut into calls: a prompt, chunks and steps would differ"
            yield Unsupported(where, name, why, fix)
        if not chosen.by_row:
            why = "it is unrolled for a largest number of tokens and one length of all rows; caches here are free"
            yield Unsupported(where, name, why, fix)
        kind = "gathered" if form == "gathered" else "masked"
        for reason in chosen.obstacles(kind, longest=config.longest, cap=cap_of(chosen)):
            yield replace(reason, path=where)
