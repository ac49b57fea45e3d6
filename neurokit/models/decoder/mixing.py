"""The token mixers of a decoder's layers, by name: what they keep from call to call, and how they are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.errors import InputError, UnknownNameError
from neurokit.registry import Registry
from neurokit.spec import StateSpec, TokenWork

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.decoder.config import DecoderConfig


@dataclass(frozen=True)
class LayerMixer:
    """How the tokens of a layer are mixed.

    Attributes:
        name: What `DecoderConfig.mixers` calls it.
        summary: One line.
        states: Returns what a layer keeps from call to call, `(config, layer, entries)`, without the layer's number in
            the names; `entries` is the free axis "P" of caches that grow, or the number of entries of a fixed one.
        build: Returns the layer's module, `(config, layer)`. Its forward takes the normalised stream
            `[B, S, width]`, the call's `Tokens`, and the states in order; it returns what is added to the stream
            and the new states.
        work: Returns what the token behind so many others costs, `(config, layer, before)`.
        block: Returns how many keys in a row a layer looks at as one, `(config)`.
    """

    name: str
    summary: str
    states: Callable[[DecoderConfig, int, Dim | int], tuple[StateSpec, ...]]
    build: Callable[[DecoderConfig, int], nn.Module]
    work: Callable[[DecoderConfig, int, int], TokenWork]
    block: Callable[[DecoderConfig], int] = lambda config: 1


FLOAT = 4  # bytes of an element of a cache

LAYER_MIXERS: Registry[LayerMixer] = Registry("layer mixer", "neurokit.models.decoder.mixers", "neurokit.layer_mixers")


def register_layer_mixer(mixer: LayerMixer) -> LayerMixer:
    """Registers a mixer under its name; `DecoderConfig.mixers` may then name it."""
    return LAYER_MIXERS.add(mixer.name, mixer)


def mixer_named(name: str) -> LayerMixer:
    """Returns a layer mixer by name, or the layer that a registered pattern of attention makes.

    Raises:
        UnknownNameError: If there is neither.
    """
    if name not in LAYER_MIXERS.names():
        from neurokit.attention.pattern import PATTERNS
        from neurokit.models.decoder.sparse import pattern_mixer

        if name in PATTERNS.names():
            return pattern_mixer(name)
        known = sorted({*LAYER_MIXERS.names(), *PATTERNS.names()})
        raise UnknownNameError(f"unknown layer mixer or pattern {name!r}", expected="one of " + ", ".join(known))
    return LAYER_MIXERS.get(name)


def cache(name: str, config: DecoderConfig, entries: Dim | int, width: int | None = None) -> StateSpec:
    """Returns a cache `[B, Hk, P, width]`, or `[B, Hk, P]` for width 0; default is the width of a head."""
    width = config.head_size if width is None else width
    shape = (config.kv_heads, entries, *([width] if width else []))
    grows = {"P": "P+S"} if isinstance(entries, Dim) else {}
    return StateSpec(name, shape, layout="HLF"[: len(shape)], grows=grows)


def layer_states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    """Returns what a layer keeps, named with its number: "k0", "v0"."""
    states = mixer_named(config.mixer(layer)).states(config, layer, entries)
    return tuple(replace(state, name=f"{state.name}{layer}") for state in states)


def states_of(config: DecoderConfig) -> tuple[StateSpec, ...]:
    """Returns what a decoder keeps from call to call.

    First "padding", how many of a row's entries are padding; then, unless caches that grow tell it, "length", the
    number of entries; then what layers remember together; then the states of each layer in turn.
    """
    entries: Dim | int = Dim("P", min=0, max=config.longest) if config.cache is None else config.cache
    kept = [state for at in range(config.layers) for state in layer_states(config, at, entries)]
    counts = [StateSpec("padding", (), "int64", "")]
    if not any(state.grows for state in kept):
        counts.append(StateSpec("length", (), "int64", ""))
    return (*counts, *shared_memories(config, entries), *kept)


def largest_block(config: DecoderConfig) -> int:
    """Returns the most keys in a row that a layer looks at as one.

    Raises:
        InputError: If no text has so many.
    """
    blocks = {name: mixer_named(name).block(config) for name in {config.mixer(at) for at in range(config.layers)}}
    name = max(blocks, key=lambda name: blocks[name])
    if blocks[name] > config.longest:
        raise InputError(
            f"blocks of {blocks[name]} keys in layers of {name!r}, and texts of {config.longest} tokens at most",
            expected="blocks that a text can fill",
        )
    return blocks[name]


def shared_memories(config: DecoderConfig, entries: Dim | int) -> tuple[StateSpec, ...]:
    """Returns what calibrated layers remember together, and which tokens so far are visual."""
    marks = [memory("image", "1 where a visual token stands", 1, entries)] if config.image_token is not None else []
    together = {m.name: m for method in config.calibrations for m in method.memories if m.shared}
    heads = config.heads
    return (*marks, *(memory(m.name, m.meaning, heads if m.by_head else 1, entries) for m in together.values()))


def memory(name: str, meaning: str, heads: int, entries: Dim | int) -> StateSpec:
    """Returns a number an entry of the caches, `[B, heads, P]`."""
    grows = {"P": "P+S"} if isinstance(entries, Dim) else {}
    return StateSpec(name, (heads, entries), layout="HL", meaning=meaning, grows=grows)


def token_work(config: DecoderConfig, before: int) -> tuple[TokenWork, ...]:
    """Returns what the token behind `before` others costs, part by part; caches are float32.

    Multiply-adds are those of the projections and of the mixer's two products; norms, rotations, softmax and gates,
    which are a few operations a channel, are not among them.
    """
    parts = [
        replace(mixer_named(config.mixer(at)).work(config, at, before), part=f"mixer {at}")
        for at in range(config.layers)
    ]
    mlp = TokenWork("mlp", weighted=3 * config.width * config.inner * config.layers)
    return (*parts, mlp, TokenWork("head", weighted=config.width * config.vocabulary))


def projections(config: DecoderConfig) -> int:
    """Returns the multiply-adds of a token's query, key, value and output projections."""
    return config.width * config.head_size * 2 * (config.heads + config.kv_heads)
