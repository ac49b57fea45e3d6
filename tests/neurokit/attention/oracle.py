"""Reads the oracles of attention: inputs drawn by name, sets as hexadecimal rows, outputs whole or as samples."""

import json
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parents[2] / "data" / "attention"


def load(method):
    return json.loads((HERE / f"{method}.json").read_text())


def draw(method, name, shape, kind=np.float32):
    seed = zlib.crc32((method + name).encode("ascii"))
    return np.random.RandomState(seed).standard_normal(shape).astype(kind)


def draw_all(method, case, kind=np.float32):
    """Inputs of a case by their names without the case's prefix."""
    return {name: draw(method, name, shape, kind) for name, shape in case["shapes"].items()}


def row(text, length):
    """A row of bits as booleans."""
    value = int(text, 16)
    return np.array([value >> at & 1 for at in range(length)], dtype=bool)


def rows(texts, length):
    """Nested lists of rows of bits as one array."""
    return row(texts, length) if isinstance(texts, str) else np.stack([rows(text, length) for text in texts])


def worst(stored, value):
    """Largest difference from a stored output, as a share of its largest value."""
    value = np.asarray(value, dtype=np.float64)
    assert list(value.shape) == stored["shape"], (value.shape, stored["shape"])
    if "full" in stored:
        expected = np.asarray(stored["full"], dtype=np.float64)
        return float(np.abs(value - expected).max() / np.abs(expected).max())
    picked = value.reshape(-1)[np.asarray(stored["sample_flat_index"])]
    stats = stored["stats"]
    top = max(abs(stats["min"]), abs(stats["max"]))
    l2 = abs(np.sqrt((value**2).sum()) - stats["l2"]) / max(stats["l2"], 1e-30)
    return max(float(np.abs(picked - np.asarray(stored["sample_value"])).max() / top), float(l2))
