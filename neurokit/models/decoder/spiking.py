"""A language model of spikes and whole numbers: linear attention whose state counts coincidences of spikes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurokit.attention.linear import linear_attention
from neurokit.errors import InputError
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.drawn import draw
from neurokit.program.spiking_text import SpikingText, SpikingTextLayer

GRID = 16  # weights are multiples of 1 / GRID: sums of them are exact in float32 in every order


def spikes(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Returns 1 where x reaches the threshold, else 0."""
    return (x >= threshold).to(x.dtype)


class SpikingMixer(nn.Module):
    """Linear attention of spikes without decay (after TransNormerLLM, Qin et al., 2023; design of its own).

    q, k, v = spikes(s Wq), spikes(s Wk), spikes(s Wv); S_t = S_(t-1) + k_t^T v_t counts how often two spikes came
    together; o_t = q_t S_t; a channel spikes where its count exceeds its neighbour's, whatever the length of the text.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width = config.heads * config.head_size
        self.heads = config.heads
        self.qkv_proj = nn.Linear(config.width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, config.width, bias=False)
        self.compute()

    def compute(self) -> None:
        """Sets the decay of each head: 1 a token."""
        self.register_buffer("decay", torch.zeros(self.heads), persistent=False)

    def forward(self, s: Tensor, real: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes spikes `[B, S, width]` with counts `[B, H, D, D]`; padding counts nothing."""
        batch, new = s.shape[:2]
        q, k, v = spikes(self.qkv_proj(s)).view(batch, new, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out, counts = linear_attention(q, k * real[:, None, :, None].to(k.dtype), v, self.decay, counts)
        won = (out > out.roll(1, -1)).to(out.dtype)
        return self.out_proj(won.transpose(1, 2).reshape(batch, new, -1)), counts


class SpikingLayer(nn.Module):
    """A mixer and an MLP of spikes, each beside a membrane that both add to."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = SpikingMixer(config)
        self.up_proj = nn.Linear(config.width, config.inner, bias=False)
        self.down_proj = nn.Linear(config.inner, config.width, bias=False)

    def forward(self, x: Tensor, real: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the membrane `[B, S, width]` and the counts."""
        mixed, counts = self.self_attn(spikes(x), real, counts)
        x = x + mixed
        return x + self.down_proj(spikes(self.up_proj(spikes(x)))), counts


class SpikingDecoder(nn.Module):
    """A decoder in which only spikes meet weights, and weights are multiples of 1 / 16.

    Every sum is a whole number of sixteenths far below 2^24, so it is the same in every order and on every machine:
    the same spikes and the same counts, bit for bit.

    Args:
        config: Its sizes; the head is a matrix of its own.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(SpikingLayer(config) for _ in range(config.layers))
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, ids: Tensor, *counts: Tensor) -> dict[str, Tensor]:
        """Computes the logits of the token after each new token.

        Args:
            ids: New tokens `[B, S]`; -1 is padding.
            counts: The counts of each layer `[B, H, D, D]`.

        Returns:
            "logits" `[B, S, vocabulary]`, and "kv0" and so on.
        """
        x, real, after = self.embed_tokens(ids.clamp_min(0)), ids >= 0, {}
        for at, layer in enumerate(self.layers):
            x, after[f"kv{at}"] = layer(x, real, counts[at])
        return {"logits": self.lm_head(spikes(x)), **after}


def in_whole_numbers(module: SpikingDecoder) -> SpikingText:
    """Returns the decoder in multiples of 1 / GRID.

    Raises:
        InputError: If a weight is none.
    """

    def whole(weight: Tensor) -> Any:
        scaled = weight.detach().double() * GRID
        if not torch.equal(scaled, scaled.round()):
            raise InputError("a weight is no multiple of 1 / 16", expected="weights on the grid of the model")
        return scaled.numpy().astype("int64")

    layers = tuple(
        SpikingTextLayer(
            whole(layer.self_attn.qkv_proj.weight),
            whole(layer.self_attn.out_proj.weight),
            whole(layer.up_proj.weight),
            whole(layer.down_proj.weight),
        )
        for layer in module.layers
    )
    heads = module.layers[0].self_attn.heads
    embed, head = whole(module.embed_tokens.weight), whole(module.lm_head.weight)
    return SpikingText(embed, layers, head, int(heads), GRID // 2, GRID)


def drawn(config: DecoderConfig) -> SpikingDecoder:
    """Returns a decoder whose weights are drawn by name and rounded to multiples of 1 / 16."""
    with torch.random.fork_rng(devices=[]):  # what the layers draw is overwritten, and the caller's numbers stay
        module = SpikingDecoder(config)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            gain = {"embed_tokens.weight": 8.0}.get(name, 2.0)
            values = draw(name, tuple(parameter.shape), {name: gain})
            parameter.copy_(torch.from_numpy(values).mul(GRID).round().div(GRID))
    return module.eval()
