"""Lightning Attention: linear attention with one decay a head, recurrent, by blocks or by one matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neurokit.attention.mixer import TokenMixer, register_mixer
from neurokit.attention.pattern import Card
from neurokit.errors import InputError


@register_mixer
@dataclass(frozen=True)
class Lightning(TokenMixer):
    """o_t = scale q_t S_t with S_t = exp(g_h) S_(t-1) + k_t^T v_t; the state is `[B, H, D, Dv]`.

    Attributes:
        log_decay: g of each head, 0 or below; `transnormer_decay`, `linear_decay` and `minimax_decay` make it.
        scale: Factor of the outputs; TransNormerLLM and MiniMax have 1, flash-linear-attention D^-0.5.
        size: Tokens a block.
    """

    log_decay: tuple[float, ...]
    scale: float = 1.0
    size: int = 64

    card: ClassVar[Card] = Card(
        "lightning",
        "linear attention with one decay a head and a state of fixed size",
        "S_t = exp(g_h) S_(t-1) + k_t^T v_t;  o_t = scale q_t S_t\n"
        "g_h = -slope_h (1 - l / (L - 1) + 1e-5) in layer l of L, slope_h the ALiBi slopes",
        "Qin et al., TransNormerLLM, arXiv 2307.14995, and Lightning Attention-2, arXiv 2401.04658; "
        "OpenNLPLab/lightning-attention",
        "MIT; equations only, no code taken",
        "decay and scale are arguments: every released form is an instance; exponents are the log decay times whole "
        "distances, never quotients of powers, which overflow",
        "three decays under one name: geometric slopes (OpenNLPLab), linear ones (flash-linear-attention, which also "
        "scales by D^-0.5), and 2^(-8(h+1)/H) with 1e-5 inside of the quotient (MiniMax)",
        "2 D Dv multiply-adds a head; D Dv numbers of state read and written, whatever the length",
        {"log_decay": "g a head, <= 0", "scale": "factor of the outputs", "size": "tokens a block"},
    )

    def __post_init__(self) -> None:
        if self.size < 1 or not self.log_decay or not all(g <= 0 and math.isfinite(g) for g in self.log_decay):
            raise InputError(
                f"block of {self.size} tokens, log decays {list(self.log_decay)[:4]}",
                expected="a block of at least 1, and for each head a finite log decay of 0 or below",
            )

    @classmethod
    def samples(cls) -> list[TokenMixer]:
        """Returns small instances for the contract tests."""
        return [cls(transnormer_decay(4, 1, 4)), cls((0.0, -0.5, -1.0, -30.0), 0.25, 16)]

    def start(self, q: Tensor, v: Tensor) -> Tensor:
        """Returns a state of zeros."""
        return q.new_zeros(q.shape[0], q.shape[1], q.shape[3], v.shape[3])

    def recurrent(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes token by token."""
        decay, out = self.decays(q).exp()[:, None, None], []
        for t in range(q.shape[2]):
            state = decay * state + k[:, :, t, :, None] * v[:, :, t, None, :]
            out.append((q[:, :, t, None] @ state)[:, :, 0] * self.scale)
        return (torch.stack(out, 2) if out else v[:, :, :0]), state

    def block(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes block by block."""
        g, out = self.decays(q), []
        for first in range(0, q.shape[2], self.size):
            a, b, c = (x[:, :, first : first + self.size] for x in (q, k, v))
            place = torch.arange(a.shape[2], device=q.device, dtype=q.dtype)
            inside = ((a @ b.transpose(-1, -2)) * self._powers(g, place)) @ c
            before = (a * _at(g, place + 1)) @ state
            out.append((inside + before) * self.scale)
            left = (b * _at(g, len(place) - 1 - place)).transpose(-1, -2)
            state = (g * len(place)).exp()[:, None, None] * state + left @ c
        return (torch.cat(out, 2) if out else v[:, :, :0]), state

    def quadratic(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixes a whole sequence from rest."""
        place = torch.arange(q.shape[2], device=q.device, dtype=q.dtype)
        return ((q @ k.transpose(-1, -2)) * self._powers(self.decays(q), place)) @ v * self.scale

    def decays(self, q: Tensor) -> Tensor:
        """Returns the log decay of each head in the type of the queries, `[H]`."""
        if len(self.log_decay) != q.shape[1]:
            raise InputError(f"{len(self.log_decay)} decays for {q.shape[1]} heads", expected="one a head")
        return torch.tensor(self.log_decay, dtype=q.dtype, device=q.device)

    @staticmethod
    def _powers(g: Tensor, place: Tensor) -> Tensor:
        """Returns exp(g (i - j)) where j <= i, and 0 after it, `[H, N, N]`."""
        distance = place[:, None] - place
        # A distance below 0 would overflow before the mask takes it out.
        return (g[:, None, None] * distance.clamp_min(0)).exp() * (distance >= 0)


def _at(g: Tensor, steps: Tensor) -> Tensor:
    return (g[:, None] * steps).exp()[..., None]


def alibi_slopes(heads: int) -> list[float]:
    """Returns 2^(-8(h+1)/H) for a power of two, else those of the next lower one and every second of twice as many.

    The rule of Press et al., ALiBi, ICLR 2022, as released.
    """
    low = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * (h + 1) / low) for h in range(low)]
    return slopes + [2.0 ** (-8 * (2 * h + 1) / (2 * low)) for h in range(heads - low)]


def transnormer_decay(heads: int, layer: int, layers: int) -> tuple[float, ...]:
    """Returns the log decays of TransNormerLLM: -slope (1 - l / (L - 1) + 1e-5)."""
    _check_layer(layer, layers, 2)
    return _scaled(alibi_slopes(heads), 1 - layer / (layers - 1) + 1e-5)


def minimax_decay(heads: int, layer: int, layers: int) -> tuple[float, ...]:
    """Returns the log decays of MiniMax: slopes 2^(-8(h+1)/H), factor 1 - l / (L - 1 + 1e-5) + 1e-5."""
    _check_layer(layer, layers, 1)
    return _scaled([2.0 ** (-8 * (h + 1) / heads) for h in range(heads)], 1 - layer / (layers - 1 + 1e-5) + 1e-5)


def linear_decay(heads: int, layer: int, layers: int) -> tuple[float, ...]:
    """Returns the log decays of flash-linear-attention: -(8 / H)(1 - l / L) h, so that head 0 never decays."""
    _check_layer(layer, layers, 1)
    return _scaled([8 / heads * h for h in range(heads)], 1 - layer / layers)


def _scaled(slopes: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple(-slope * factor for slope in slopes)


def _check_layer(layer: int, layers: int, least: int) -> None:
    if not 0 <= layer < layers or layers < least:
        raise InputError(f"layer {layer} of {layers}", expected=f"0 to L - 1 of at least {least}")
