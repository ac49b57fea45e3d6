"""Oracles of the decoder: figures of a public library in float64, and the equations once more in plain numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[3] / "data" / "decoder"
NAMES = ("lm_llama", "lm_llama3_rope", "lm_qwen3")
PARTS = ((37,), (8, 13, 16), (1,) * 37)
OWN = {"dma_doge_lm": "tiny_doge", "tnl_nano": "tiny_tnl"}  # oracles of logits alone, without a continuation


def read(name: str) -> dict:
    return json.loads((DATA / f"{name}.json").read_text())


def padded(name: str) -> np.ndarray:
    """The batch of the padded run: the whole prompt, and its first 20 tokens behind padding."""
    ids = np.array([read(name)["prompt"]] * 2, np.int64)
    ids[1] = [-1] * 17 + ids[0, :20].tolist()
    return ids


def worst(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, in parts of the largest wanted value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def plain(weights: dict[str, np.ndarray], config, ids: list[int]) -> np.ndarray:
    """Logits of a text `[N, vocabulary]`, head by head and token by token, float64."""

    def norm(x, weight):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.eps) * weight

    def turned(x, place):
        out = x.copy()
        for i in range(config.head_size // 2):
            angle = place * config.theta ** (-2 * i / config.head_size)
            a, b = x[i], x[i + config.head_size // 2]
            out[i] = a * np.cos(angle) - b * np.sin(angle)
            out[i + config.head_size // 2] = b * np.cos(angle) + a * np.sin(angle)
        return out

    x = weights["model.embed_tokens.weight"][ids]
    for layer in range(config.layers):
        w = {k.split(f"layers.{layer}.")[1]: v for k, v in weights.items() if f"layers.{layer}." in k}
        y = norm(x, w["input_layernorm.weight"])
        q, k, v = (
            y @ w[f"self_attn.{p}_proj.weight"].T + w.get(f"self_attn.{p}_proj.bias", 0.0) for p in ("q", "k", "v")
        )
        heads = np.zeros_like(q)
        for h in range(config.heads):
            own = slice(h * config.head_size, (h + 1) * config.head_size)
            group = h // (config.heads // config.kv_heads)
            shared = slice(group * config.head_size, (group + 1) * config.head_size)
            for t in range(len(ids)):
                row = np.array([turned(q[t, own], t) @ turned(k[s, shared], s) for s in range(t + 1)])
                p = np.exp(row / np.sqrt(config.head_size))
                heads[t, own] = (p / p.sum()) @ v[: t + 1, shared]
        x = x + heads @ w["self_attn.o_proj.weight"].T
        y = norm(x, w["post_attention_layernorm.weight"])
        gate = y @ w["mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["mlp.up_proj.weight"].T)) @ w["mlp.down_proj.weight"].T
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return norm(x, weights["model.norm.weight"]) @ head.T


#: Drawn texts with repeated tokens (seed, vocabulary) of which a pass and steps chose differently at equal biases.
REPEATING = [(15, 64), (17, 64), (20, 8), (25, 8), (41, 8)]


def repeating(seed, vocabulary):
    """A text of 17 tokens, drawn from few."""
    return np.random.default_rng([seed, vocabulary]).integers(0, vocabulary, (1, 17))
