"""How a public `config.json` says the sizes of a decoder, and `generation_config.json` where its texts end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurokit.errors import InputError
from neurokit.models.decoder.config import DecoderConfig, LinearScaling, RopeScaling
from neurokit.plain import json_of

FAMILIES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "doge": "Doge"}  # `model_type` of config.json
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
# Where a file says neither, the reference implementation's classes of these families take these.
_WINDOW, _FULL_LAYERS = 4096, 28


def read_config(path: Path) -> DecoderConfig:
    """Reads the config.json of a public checkpoint of Llama, Qwen2, Qwen3 or Doge.

    Raises:
        InputError: If it is of another architecture, or asks for something that this decoder does not compute.
    """
    return parse_config(_object(path, "a config.json"), str(path))


def read_stop(path: Path) -> tuple[int, ...]:
    """Reads the tokens that end a text from a generation_config.json; none where there is no file.

    Raises:
        InputError: If the file cannot be read, or names something else than tokens.
    """
    return _stop(_object(path, "a generation_config.json"), str(path)) if path.is_file() else ()


def _object(path: Path, expected: str) -> Mapping[str, Any]:
    try:
        data = json_of(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}", expected=expected) from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no JSON object", expected=expected)
    return data


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
    vocabulary, width, inner, layers, heads = (_number(data, name, where, whole=True) for name in _SIZES)
    longest = _number(data, "max_position_embeddings", where, 2048, whole=True)
    _refuse_unknown(data, family, where, layers, longest)
    biased = bool(data.get("attention_bias", False))
    rope = _rope(data, where)
    return DecoderConfig(
        vocabulary=vocabulary,
        width=width,
        inner=inner,
        layers=layers,
        heads=heads,
        kv_heads=_number(data, "num_key_value_heads", where, heads, whole=True),
        head_size=_number(data, "head_dim", where, 128 if family == "qwen3" else width // max(heads, 1), whole=True),
        longest=longest,
        eps=_number(data, "rms_norm_eps", where, 1e-6),
        theta=_number(data, "rope_theta", where, _number(rope, "rope_theta", where, 10000.0)),
        scaling=_scaling(rope, where),
        qk_norm=family in ("qwen3", "doge"),
        qkv_bias=family == "qwen2" or biased,
        out_bias=family != "qwen2" and biased,  # Qwen2 does not ask; its o_proj has none
        mlp_bias=bool(data.get("mlp_bias", False)),
        tied=bool(data.get("tie_word_embeddings", False)),
        stop=_stop(data, where),
        **(_doge(data, where, layers) if family == "doge" else {}),
    )


def _doge(data: Mapping[str, Any], where: str, layers: int) -> dict[str, Any]:
    """Returns what Doge has beside Qwen3's form."""
    keep = _number(data, "keep_window_size", where, 2048, whole=True)
    return {"mixers": ("dynamic_mask",) * layers, "residual_weight": True, "keep": keep}


def _number(data: Mapping[str, Any], name: str, where: str, default: Any = None, whole: bool = False) -> Any:
    """Returns a number of the file, or the default where it is absent or null."""
    value = data.get(name)
    if value is None:
        value = default
    if value is None or isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        said = f"says no {name}" if value is None else f"says no {name}, but {value!r}"
        raise InputError(f"{where} {said}", expected="a whole number" if whole else "a number")
    return value if whole else float(value)


def _stop(data: Mapping[str, Any], where: str) -> tuple[int, ...]:
    given = data.get("eos_token_id")
    tokens = given if isinstance(given, list) else [] if given is None else [given]
    if any(isinstance(token, bool) or not isinstance(token, int) or token < 0 for token in tokens):
        raise InputError(f"{where} has eos_token_id={given!r}", expected="a token number, or a list of them")
    return tuple(tokens)


def _refuse_unknown(data: Mapping[str, Any], family: str, where: str, layers: int, longest: int) -> None:
    """Refuses fields that change what is computed into something else than the README's equations."""
    other = {
        "hidden_act": data.get("hidden_act", "silu") not in ("silu", "swish"),
        "sliding_window": _slides(data, family, layers, longest),
        "is_moe": bool(data.get("is_moe", False)),
        "mlp_bias": family in ("qwen2", "qwen3") and bool(data.get("mlp_bias", False)),  # it has none
        "partial_rotary_factor": data.get("partial_rotary_factor", 1) not in (None, 1),
        "quantization_config": data.get("quantization_config") is not None,
    }
    for name, wrong in other.items():
        if wrong:
            raise InputError(
                f"{where} has {name}={data.get(name)!r}", expected="a plain decoder (models/decoder/README.md)"
            )


def _slides(data: Mapping[str, Any], family: str, layers: int, longest: int) -> bool:
    """Returns whether a window hides a key of any text that the model takes."""
    window = data.get("sliding_window")
    if family == "doge":
        used = window is not None
    elif isinstance(kinds := data.get("layer_types"), list):
        used = any(kind != "full_attention" for kind in kinds)
    else:
        full = _FULL_LAYERS if data.get("max_window_layers") is None else data["max_window_layers"]
        used = bool(data.get("use_sliding_window", False)) and (not isinstance(full, int) or full < layers)
    size = _WINDOW if window is None else window
    return used and not (isinstance(size, int) and size >= longest)


def _rope(data: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Returns base and scaling of the rotation; newer files keep both in `rope_parameters`."""
    found: dict[str, Any] = {}
    for name in ("rope_parameters", "rope_scaling"):
        given = data.get(name) or {}
        if not isinstance(given, dict) or any(isinstance(value, dict) for value in given.values()):
            raise InputError(f"{where} has {name}={given!r}", expected="one rotation for all layers")
        found.update(given)
    if found.get("partial_rotary_factor", 1) not in (None, 1):
        raise InputError(f"{where} rotates a part of each head", expected="partial_rotary_factor 1")
    return found


def _scaling(rope: Mapping[str, Any], where: str) -> RopeScaling | LinearScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind not in ("llama3", "linear"):
        raise InputError(
            f"{where} scales its rotary frequencies by {kind!r}", expected="llama3, linear, or none (default)"
        )
    names = ["factor"]
    if kind == "llama3":
        names += ["low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]
    numbers = [_number(rope, name, f"{where}: its rotary scaling") for name in names]
    if kind == "linear":
        return LinearScaling(*numbers)
    return RopeScaling(*numbers[:3], original=int(numbers[3]))
