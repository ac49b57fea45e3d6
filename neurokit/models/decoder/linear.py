"""Linear attention as a decoder's layer: projections, positions, decay, norm and gate of TransNormerLLM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.attention.linear import linear_attention
from neurokit.attention.mixers.lightning import transnormer_decay
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.layers import RMSNorm
from neurokit.models.decoder.tokens import Tokens


class LinearPosition(nn.Module):
    """Linearised relative position: x becomes (x cos(n theta), x sin(n theta)) (Qin et al., 2023).

    theta_(h, i) = 10000^(-2 (h D + i) / (H D)), a parameter.
    """

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.empty(heads, 1, width))
        self.compute()

    def compute(self) -> None:
        """Sets theta to what it is before training."""
        heads, _, width = self.theta.shape
        index = torch.arange(heads * width, dtype=torch.float64)
        theta = 10000.0 ** (-2 / (heads * width) * index)
        self.theta = nn.Parameter(theta.float().view(heads, 1, width))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Returns `[B, H, S, 2 D]` for x `[B, H, S, D]` at positions `[B, S]`."""
        angle = self.theta * position.to(x.dtype)[:, None, :, None]
        return torch.cat([x * angle.cos(), x * angle.sin()], -1)


class LinearMixer(nn.Module):
    """Token mixer of TransNormerLLM (Qin et al., 2023, released port nanoTransNormer).

    q, k = silu(x Wq), silu(x Wk), with positions on every layer but the first; v, u = x Wv, x Wu;
    S_t = e^-s S_(t-1) + k_t v_t^T; o_t = q_t S_t; the output is (u * norm(o)) Wo. Padding adds nothing to the state.

    Args:
        config: The decoder's sizes.
        layer: Which layer this is; the decay s falls from the slope of the head to nearly 0 over the layers.
    """

    decay: Tensor

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        width = config.heads * config.head_size
        self.config = config
        self.qkvu_proj = nn.Linear(config.width, 4 * width, bias=False)
        self.out_proj = nn.Linear(width, config.width, bias=False)
        if layer:
            self.lrpe = LinearPosition(config.heads, config.head_size)
        self.norm = RMSNorm(width, config.eps, weight=False)
        self.layer = layer
        self.compute()

    def compute(self) -> None:
        """Sets what follows from the configuration."""
        decay = transnormer_decay(self.config.heads, self.layer, self.config.layers)
        self.register_buffer("decay", torch.tensor(decay), persistent=False)

    def forward(self, x: Tensor, tokens: Tokens, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes the new tokens `[B, S, width]` with the state `[B, H, Dk, D]`; returns output and new state."""
        c = self.config
        batch, new = x.shape[:2]
        q, k, v, u = self.qkvu_proj(x).chunk(4, -1)
        q, k, v = (part.view(batch, new, c.heads, c.head_size).transpose(1, 2) for part in (q, k, v))
        q, k = F.silu(q), F.silu(k)
        if hasattr(self, "lrpe"):
            q, k = self.lrpe(q, tokens.position), self.lrpe(k, tokens.position)
        v = v * tokens.real[:, None, :, None].to(v.dtype)
        out, kv = linear_attention(q, k, v, self.decay, kv)
        out = self.norm(out.transpose(1, 2).reshape(batch, new, c.heads * c.head_size))
        return self.out_proj(u * out), kv
