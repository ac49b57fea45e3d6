"""Figures of the released functions of attention calibration, and the calls that they were made with."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from neurokit.attention.calibration import View, plain_view
from neurokit.spec import AttentionHost

DATA = Path(__file__).parents[2] / "data" / "attention"


def read(name: str) -> dict:
    return json.loads((DATA / f"{name}.json").read_text())


def draw(method: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(zlib.crc32((method + name).encode("ascii"))).standard_normal(shape)


def single(x: np.ndarray) -> np.ndarray:
    """Rounded to float32, which the released float32 functions were given."""
    return x.astype(np.float32).astype(np.float64)


def causal(logits: np.ndarray) -> torch.Tensor:
    """Weights of a causal softmax in float64."""
    x = torch.from_numpy(logits)
    new, length = x.shape[-2:]
    hidden = torch.arange(length) > (torch.arange(new) + length - new)[:, None]
    return x.masked_fill(hidden, float("-inf")).softmax(-1)


def host(layers: int, heads: int, **more) -> AttentionHost:
    """A model of which only the sizes matter."""
    sizes = {"kv_heads": heads, "width": 4096, "longest": 512, "vocabulary": 256, "image": True, **more}
    return AttentionHost(layers, heads, dense=tuple(range(layers)), calibrate=lambda method: method, **sizes)


def view(weights: torch.Tensor, **more) -> View:
    batch, heads, new, length = weights.shape
    return plain_view(heads, new, length, batch, **more)


def agrees(found: torch.Tensor, stored: dict, within: float) -> bool:
    """Whether a tensor has the stored values, whole or in samples."""
    flat = found.detach().double().numpy()
    if "full" in stored:
        return bool(np.abs(flat - np.array(stored["full"])).max() < within)
    sampled = flat.ravel()[np.array(stored["sample_flat_index"])]
    return bool(np.abs(sampled - np.array(stored["sample_value"])).max() < within)
