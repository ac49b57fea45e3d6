"""Small models with several inputs, outputs, states and graphs, each also in float64 by plain torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from neurokit.dims import Dim
from neurokit.spec import GraphSpec, ModelSpec, StateSpec, TensorSpec

WORDS, WIDTH, HEADS = 17, 8, 2
S, P, L = Dim("S", max=64), Dim("P", min=0, max=64), Dim("L", min=2)


class TokenModel(nn.Module):
    """An embedding and one attention block over a cache that the caller keeps."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, ids, mask, k, v):
        batch, length = ids.shape
        x = self.embed(ids)
        q, new_k, new_v = self.qkv(x).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        k, v = torch.cat([k, new_k], 2), torch.cat([v, new_v], 2)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~mask[:, None], float("-inf")).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, -1))
        return {"logits": self.head(x), "k": k, "v": v}


def causal(batch, new, past=0):
    """Returns which of past and new tokens each new token may see, `[B, S, P+S]`."""
    return torch.ones(new, past + new, dtype=torch.bool).tril(past).expand(batch, -1, -1).clone()


def token_example(batch, time_steps, seed, sizes=None):
    sizes = {"S": 5, "P": 0, **(sizes or {})}
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, WORDS, (batch, sizes["S"]), generator=generator)
    return {"ids": ids, "mask": causal(batch, sizes["S"], sizes["P"])}


def build_token():
    torch.manual_seed(0)
    return TokenModel().eval()


def token_model() -> ModelSpec:
    cache = (HEADS, P, WIDTH // HEADS)
    return ModelSpec(
        "token",
        build_token,
        (TensorSpec("ids", (S,), "int64", "L", high=WORDS - 1), TensorSpec("mask", (S, P + S), "bool", "QK")),
        states=tuple(StateSpec(name, cache, layout="HLF", grows={"P": "P+S"}) for name in "kv"),
        example=token_example,
    )


@dataclass
class Decoded:
    scores: torch.Tensor
    attention: torch.Tensor
    best: torch.Tensor
    hidden: torch.Tensor


class Pair(nn.Module):
    """An encoder of frames, and a step that reads what it gave and keeps a hidden state."""

    def __init__(self):
        super().__init__()
        self.frames, self.embed = nn.Linear(3, WIDTH), nn.Embedding(WORDS, WIDTH)
        self.cell, self.head = nn.GRUCell(2 * WIDTH, WIDTH), nn.Linear(WIDTH, WORDS)

    def encode(self, frames, valid):
        memory = torch.tanh(self.frames(frames)) * valid[..., None]
        return {"memory": memory, "pooled": memory.sum(1) / valid.sum(1, keepdim=True)}

    def decode(self, batch, hidden):
        memory, valid = batch["memory"], batch["valid"]
        scores = (memory @ hidden[..., None])[..., 0].masked_fill(~valid, -1e4)
        attention = scores.softmax(-1)
        context = (attention[..., None] * memory).sum(1)
        hidden = self.cell(torch.cat([self.embed(batch["token"]), context], -1), hidden)
        logits = self.head(hidden)
        return Decoded(logits, attention, logits.argmax(-1), hidden)


def build_pair():
    torch.manual_seed(1)
    return Pair().eval()


def pair() -> ModelSpec:
    valid = TensorSpec("valid", (L,), "bool", "L", low=1.0)
    encoder = GraphSpec("encoder", (TensorSpec("frames", (L, 3), layout="LF"), valid), method="encode")
    step = GraphSpec(
        "step",
        (
            TensorSpec("token", (), "int64", "", high=WORDS - 1),
            TensorSpec("memory", (L, WIDTH), layout="LF", source="encoder.memory"),
            valid,
        ),
        states=(StateSpec("hidden", (WIDTH,), layout="F", init=0.25),),
        method="decode",
        arguments=({"token": "token", "memory": "memory", "valid": "valid"}, "hidden"),
    )
    return ModelSpec("pair", build_pair, graphs=(encoder, step))
