"""The sizes of a decoder language model, and how a public `config.json` says them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurokit.errors import InputError
from neurokit.plain import json_of

FAMILIES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "doge": "Doge"}  # `model_type` of config.json


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
    scaling: RopeScaling | None = None
    qk_norm: bool = False
    qkv_bias: bool = False
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
        if self.heads % self.kv_heads:
            raise InputError(
                f"{self.heads} query heads do not divide among {self.kv_heads} key and value heads",
                expected="a multiple",
            )
        if self.head_size % 2:
            raise InputError(f"heads of width {self.head_size} cannot be rotated", expected="an even width")
        if not (self.eps > 0 and math.isfinite(self.theta) and self.theta > 0):
            raise InputError(f"decoder has eps={self.eps}, theta={self.theta}", expected="positive numbers")
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


def read_config(path: Path) -> DecoderConfig:
    """Reads the config.json of a public checkpoint of Llama, Qwen2, Qwen3 or Doge.

    Raises:
        InputError: If it is of another architecture, or asks for something that this decoder does not compute.
    """
    try:
        data = json_of(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}", expected="a config.json") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no JSON object", expected="a config.json")
    return parse_config(data, str(path))


def parse_config(data: Mapping[str, Any], where: str) -> DecoderConfig:
    """Returns the sizes that the fields of a public config.json say.

    Args:
        data: The fields.
        where: What to call it in messages.

    Raises:
        InputError: As `read_config`.
    """
    family = data.get("model_type")
    if family not in FAMILIES:
        raise InputError(
            f"{where} is of architecture {family!r}", expected="one of " + ", ".join(FAMILIES), fix="another checkpoint"
        )
    _refuse_unknown(data, family, where)
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    absent = [name for name in names if not isinstance(data.get(name), int)]
    if absent:
        raise InputError(f"{where} says no {absent[0]}", expected="a whole number")
    vocabulary, width, inner, layers, heads = (data[name] for name in names)
    stop = data.get("eos_token_id")
    rope = data.get("rope_parameters") or {}  # newer files keep base and scaling together
    return DecoderConfig(
        vocabulary=vocabulary,
        width=width,
        inner=inner,
        layers=layers,
        heads=heads,
        kv_heads=data.get("num_key_value_heads") or heads,
        head_size=data.get("head_dim") or (128 if family == "qwen3" else width // max(heads, 1)),
        longest=data.get("max_position_embeddings", 2048),
        eps=float(data.get("rms_norm_eps", 1e-6)),
        theta=float(data.get("rope_theta", rope.get("rope_theta", 10000.0))),
        scaling=_scaling(data.get("rope_scaling") or rope, where),
        qk_norm=family in ("qwen3", "doge"),
        qkv_bias=family == "qwen2" or bool(data.get("attention_bias", False)),
        tied=bool(data.get("tie_word_embeddings", False)),
        stop=tuple(stop) if isinstance(stop, list) else () if stop is None else (stop,),
        **(_doge(data) if family == "doge" else {}),
    )


def _doge(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what Doge has beside Qwen3's form."""
    layers, keep = data["num_hidden_layers"], data.get("keep_window_size", 2048)
    return {"mixers": ("dynamic_mask",) * layers, "residual_weight": True, "keep": keep}


def _refuse_unknown(data: Mapping[str, Any], family: str, where: str) -> None:
    """Refuses fields that change what is computed into something else than the README's equations."""
    other = {
        "hidden_act": data.get("hidden_act", "silu") != "silu",
        "use_sliding_window": bool(data.get("use_sliding_window", False)),
        "sliding_window": family == "doge" and data.get("sliding_window") is not None,
        "is_moe": bool(data.get("is_moe", False)),
        "mlp_bias": bool(data.get("mlp_bias", False)),
        "attention_bias": family != "qwen2" and bool(data.get("attention_bias", False)),  # it has one on o_proj, too
        "quantization_config": data.get("quantization_config") is not None,
    }
    for name, wrong in other.items():
        if wrong:
            raise InputError(
                f"{where} has {name}={data[name]!r}", expected="a plain decoder (models/decoder/README.md)"
            )


def _scaling(data: Mapping[str, Any], where: str) -> RopeScaling | None:
    kind = data.get("rope_type", data.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise InputError(f"{where} scales its rotary frequencies by {kind!r}", expected="llama3, or none")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    absent = [name for name in names if not isinstance(data.get(name), int | float)]
    if absent:
        raise InputError(f"{where} says no {absent[0]} of its rotary scaling", expected="a number")
    factor, low, high, original = (data[name] for name in names)
    return RopeScaling(float(factor), float(low), float(high), int(original))
