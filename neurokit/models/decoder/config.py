"""The sizes of a decoder language model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurokit.errors import InputError


@dataclass(frozen=True)
class RopeScaling:
    """The frequency scaling of Llama 3.1 (`rope_type` "llama3").

    Attributes:
        factor: What the lowest frequencies are divided by.
        low: Turns over the original length below which a frequency is divided.
        high: Turns over the original length above which it is kept; between the two it is interpolated.
        original: The original length, in tokens.
    """

    factor: float
    low: float
    high: float
    original: int

    def __post_init__(self) -> None:
        if not (self.factor > 0 and 0 < self.low < self.high and self.original > 0):
            raise InputError(
                f"rope scaling is factor={self.factor}, low={self.low}, high={self.high}, original={self.original}",
                expected="positive numbers, low < high",
            )


# Tens of times what any published decoder has.
_LARGEST = {"layers": 2**13, "heads": 2**14, "kv_heads": 2**14, "head_size": 2**16}
_LARGEST |= dict.fromkeys(("vocabulary", "width", "inner"), 2**24)


@dataclass(frozen=True)
class LinearScaling:
    """Positions divided by a number (`rope_type` "linear"; Chen et al., Position Interpolation, 2023).

    Attributes:
        factor: The number.
    """

    factor: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise InputError(f"rope scaling is factor={self.factor}", expected="a positive number")


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a plain decoder.

    Attributes:
        vocabulary: Number of tokens.
        width: Width of the residual stream.
        inner: Width of the gated MLP.
        layers: Number of layers.
        heads: Query heads.
        kv_heads: Key and value heads; divides `heads`.
        head_size: Width D of a head; even.
        longest: Largest number of tokens, prompt and answer together.
        eps: What RMS norm adds under its root.
        theta: Base of the rotary frequencies.
        scaling: Scaling of the rotary frequencies, if any.
        qk_norm: Whether every head of q and k is RMS-normalised before the rotation (Qwen3).
        qkv_bias: Whether the projections of q, k and v have a bias (Qwen2).
        out_bias: Whether the projection of the heads' outputs has one (`attention_bias` of Llama, Qwen3 and Doge).
        mlp_bias: Whether the MLP's three products have one.
        tied: Whether the head is the embedding.
        stop: Tokens that end an answer.
        mixers: How the tokens of each layer are mixed, by name (`neurokit.models.decoder.mixing`): a layer mixer, or a
            registered pattern of attention; default is "dense" in all.
        patterns: Settings of patterns by their names; of a pattern with centroids, "clusters" is their number.
        gathered: Whether patterns read the selected keys alone, a fixed number of them, in the place of a dense
            product under a mask.
        calibrations: What changes the weights of dense layers, in order (`neurokit.attention.calibration.Method`).
        image_token: Token that stands where a visual token is; None for a model of text alone.
        norm_weight: Whether norms have a weight (TransNormerLLM's have none).
        gate: What is between gate and product of the MLP: "silu", or "linear" (TransNormerLLM).
        residual_weight: Whether the residual stream is scaled, channel by channel, in front of each sum (Doge).
        keep: Keys that a query of a "dynamic_mask" layer keeps.
        cache: Entries of a cache of fixed size; None for caches that grow.
    """

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    longest: int
    eps: float = 1e-5
    theta: float = 10000.0
    scaling: RopeScaling | LinearScaling | None = None
    qk_norm: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    tied: bool = False
    stop: tuple[int, ...] = ()
    mixers: tuple[str, ...] = ()
    norm_weight: bool = True
    gate: str = "silu"
    residual_weight: bool = False
    keep: int = 2048
    cache: int | None = None
    patterns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gathered: bool = False
    calibrations: tuple[Any, ...] = ()
    image_token: int | None = None

    def __post_init__(self) -> None:
        sizes = ["vocabulary", "width", "inner", "layers", "heads", "kv_heads", "head_size", "longest", "keep"]
        for name in sizes if self.cache is None else [*sizes, "cache"]:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"decoder has {name}={value!r}", expected="a whole number >= 1")
            if value > _LARGEST.get(name, value):  # of a damaged file: building it would take hours, or all memory
                raise InputError(f"decoder has {name}={value:,}", expected=f"{_LARGEST[name]:,} at most")
        if self.heads % self.kv_heads:
            raise InputError(
                f"{self.heads} query heads do not divide among {self.kv_heads} key and value heads",
                expected="a multiple",
            )
        if self.head_size % 2:
            raise InputError(f"heads of width {self.head_size} cannot be rotated", expected="an even width")
        if not (self.eps > 0 and math.isfinite(self.theta) and self.theta > 0):
            raise InputError(f"decoder has eps={self.eps}, theta={self.theta}", expected="positive numbers")
        beyond = [token for token in self.stop if not 0 <= token < self.vocabulary]
        if beyond:
            raise InputError(f"token {beyond[0]} ends a text", expected=f"a token below {self.vocabulary}")
        if self.mixers and len(self.mixers) != self.layers:
            raise InputError(f"{len(self.mixers)} mixers are named", expected=f"one for each of {self.layers} layers")
        strange = sorted(set(self.patterns) - set(self.mixers))
        if strange:
            raise InputError(f"settings of {strange[0]!r}, which mixes no layer", expected="one of the mixers")
        for method in self.calibrations:
            for layer in range(self.layers):
                if method.touches(layer) and self.mixer(layer) != "dense":
                    raise InputError(
                        f"{method.name!r} calibrates layer {layer}, which mixes tokens by {self.mixer(layer)!r}",
                        expected="dense attention in the layers that are calibrated",
                    )
        if self.gate not in ("silu", "linear"):
            raise InputError(f"the gate is {self.gate!r}", expected="silu or linear")

    def mixer(self, layer: int) -> str:
        """Returns the name of a layer's token mixer."""
        return self.mixers[layer] if self.mixers else "dense"
