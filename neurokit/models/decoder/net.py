"""A plain decoder language model over caches that the caller keeps; its parameters carry their public names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.rotary import frequencies, rotate


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised x, of the same shape."""
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    """Causal attention with grouped heads, query head h reads key and value head h // (H / Hk)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        q, kv = config.heads * config.head_size, config.kv_heads * config.head_size
        self.q_proj = nn.Linear(config.width, q, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.width, kv, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.width, kv, bias=config.qkv_bias)
        self.o_proj = nn.Linear(q, config.width, bias=False)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_size, config.eps)
            self.k_norm = RMSNorm(config.head_size, config.eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, hidden: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attends from the new tokens to all.

        Args:
            x: Normalised stream `[B, S, width]`.
            cos: Cosines of the new positions `[B, 1, S, D / 2]`.
            sin: Their sines.
            hidden: Which keys a query must not see `[B, 1, 1, S, P + S]`.
            k: Rotated keys of the past `[B, Hk, P, D]`.
            v: Values of the past, of the same shape.

        Returns:
            The output `[B, S, width]`, and keys and values `[B, Hk, P + S, D]`.
        """
        c = self.config
        batch, new = x.shape[:2]
        q = self.q_proj(x).view(batch, new, c.heads, c.head_size)
        new_k = self.k_proj(x).view(batch, new, c.kv_heads, c.head_size)
        new_v = self.v_proj(x).view(batch, new, c.kv_heads, c.head_size)
        if c.qk_norm:
            q, new_k = self.q_norm(q), self.k_norm(new_k)
        q = rotate(q.transpose(1, 2), cos, sin)
        k = torch.cat([k, rotate(new_k.transpose(1, 2), cos, sin)], 2)
        v = torch.cat([v, new_v.transpose(1, 2)], 2)
        group = c.heads // c.kv_heads
        # The queries of a group are rows of one product: keys and values are never repeated.
        q = q.reshape(batch, c.kv_heads, group * new, c.head_size) * c.head_size**-0.5
        scores = (q @ k.transpose(-1, -2)).view(batch, c.kv_heads, group, new, k.shape[2])
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        out = weights.view(batch, c.kv_heads, group * new, k.shape[2]) @ v
        out = out.view(batch, c.heads, new, c.head_size).transpose(1, 2)
        return self.o_proj(out.reshape(batch, new, c.heads * c.head_size)), k, v


class MLP(nn.Module):
    """The gated MLP, down(silu(gate(x)) * up(x)) (Shazeer, GLU Variants, 2020)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.inner, bias=False)
        self.up_proj = nn.Linear(config.width, config.inner, bias=False)
        self.down_proj = nn.Linear(config.inner, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, S, width]`."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and beside the residual stream."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.width, config.eps)
        self.post_attention_layernorm = RMSNorm(config.width, config.eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, hidden: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the stream and the caches; arguments as `Attention.forward`."""
        attended, k, v = self.self_attn(self.input_layernorm(x), cos, sin, hidden, k, v)
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x)), k, v


class Trunk(nn.Module):
    """Embedding, layers and last norm; a module of its own for the sake of the public names."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.eps)


class Decoder(nn.Module):
    """A decoder whose caches are arguments and results; the equations are in the README beside this file.

    Args:
        config: Its sizes.
    """

    inverse_frequencies: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.register_buffer("inverse_frequencies", frequencies(config), persistent=False)

    def forward(self, ids: Tensor, padding: Tensor, *caches: Tensor) -> dict[str, Tensor]:
        """Computes the logits of the token after each new token.

        Args:
            ids: New tokens `[B, S]`; -1 is padding, which only stands to the left of a row's tokens.
            padding: How many of a row's past entries are padding `[B]`.
            caches: Keys and values of each layer in turn, `[B, Hk, P, D]`.

        Returns:
            "logits" `[B, S, vocabulary]`, "padding" `[B]`, and "k0", "v0" and so on, `[B, Hk, P + S, D]`.
        """
        new, past = ids.shape[1], caches[0].shape[2]
        padding = padding + (ids < 0).sum(1)
        place = torch.arange(new, device=ids.device) + past
        key = torch.arange(past + new, device=ids.device)
        # A row of padding sees itself: a softmax over nothing would be no number.
        first = torch.minimum(padding[:, None], place)
        hidden = ((key > place[:, None]) | (key < first[..., None]))[:, None, None]
        angle = (place - padding[:, None]).to(self.inverse_frequencies.dtype)[..., None] * self.inverse_frequencies
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        x = self.model.embed_tokens(ids.clamp_min(0))
        states = {"padding": padding}
        for at, layer in enumerate(self.model.layers):
            x, states[f"k{at}"], states[f"v{at}"] = layer(x, cos, sin, hidden, caches[2 * at], caches[2 * at + 1])
        x = self.model.norm(x)
        logits = F.linear(x, self.model.embed_tokens.weight) if self.config.tied else self.lm_head(x)
        return {"logits": logits, **states}


def blank(config: DecoderConfig) -> Decoder:
    """Returns a decoder whose parameters are all zero, in memory that is taken only as it is written."""
    with torch.device("meta"):
        module = Decoder(config)
    module.load_state_dict({name: torch.zeros(x.shape) for name, x in module.state_dict().items()}, assign=True)
    module.inverse_frequencies = frequencies(config)
    return module.eval()
