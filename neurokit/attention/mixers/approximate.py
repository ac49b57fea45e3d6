"""The two forms of Deconstructing Attention that are recurrences: second-order weights, and one score a key."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.definition import causal_mask
from neurokit.attention.mixer import TokenMixer, register_mixer
from neurokit.attention.pattern import Card

_SOURCE = "Deconstructing Attention, arXiv 2510.11602, equations 1 to 13"
_LICENCE = "no code is public; built from the equations"


@register_mixer
@dataclass(frozen=True)
class Approximate(TokenMixer):
    """Weights 1 + s + s^2 / 2 with s = q . k / sqrt(D), divided by their causal sum; state `[B, H, 1+D+D^2, Dv+1]`."""

    card: ClassVar[Card] = Card(
        "approximate",
        "the second-order Taylor polynomial in place of the exponential",
        "o_t = sum_(j<=t) w(s_tj) v_j / sum_(j<=t) w(s_tj),  w(s) = 1 + s + s^2 / 2,  s_tj = q_t . k_j / sqrt(D)\n"
        "w(s_tj) = phi(q_t) . phi(k_j) with phi(x) = [1, x, x x^T / sqrt(2)] for x scaled by D^(-1/4)",
        _SOURCE,
        _LICENCE,
        "w is positive for every s, so the sum never vanishes; matrix form and recurrence are one function",
        "nothing is released",
        "(1 + D + D^2)(Dv + 1) multiply-adds and as many numbers of state a head, whatever the length",
    )

    @classmethod
    def samples(cls) -> list[TokenMixer]:
        """Returns small instances for the contract tests."""
        return [cls()]

    def start(self, q: Tensor, v: Tensor) -> Tensor:
        """Returns a state of zeros."""
        width = q.shape[3]
        return q.new_zeros(q.shape[0], q.shape[1], 1 + width + width * width, v.shape[3] + 1)

    def recurrent(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes token by token."""
        values, out = F.pad(v, (0, 1), value=1.0), []
        for t in range(q.shape[2]):
            state = state + _features(k[:, :, t])[..., None] * values[:, :, t, None]
            out.append((_features(q[:, :, t])[:, :, None] @ state)[:, :, 0])
        summed = torch.stack(out, 2) if out else values[:, :, :0]
        return summed[..., :-1] / summed[..., -1:], state

    def quadratic(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixes a whole sequence from rest."""
        weights = self.weights(q, k)
        return weights @ v

    @staticmethod
    def weights(q: Tensor, k: Tensor) -> Tensor:
        """Returns the weights of the last S queries, `[B, H, S, T]`."""
        s = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        raw = (1 + s + s * s / 2) * causal_mask(q.shape[2], k.shape[2], q.device)
        return raw / raw.sum(-1, keepdim=True)


@register_mixer
@dataclass(frozen=True)
class NonApproximate(TokenMixer):
    """One score a key for all queries, and a causal softmax over them; state `[B, H, Dv + 2]`: maximum, sum, values."""

    card: ClassVar[Card] = Card(
        "non_approximate",
        "a score that each key gives itself, softmax over the past",
        "s_j = sum_d SiLU(q_j)_d k_jd / sqrt(D);  o_t = sum_(j<=t) exp(s_j) v_j / sum_(j<=t) exp(s_j)",
        _SOURCE,
        _LICENCE,
        "the running maximum is part of the state, so that no exponential overflows",
        "nothing is released",
        "D + Dv multiply-adds and Dv + 2 numbers of state a head, whatever the length",
    )

    @classmethod
    def samples(cls) -> list[TokenMixer]:
        """Returns small instances for the contract tests."""
        return [cls()]

    def start(self, q: Tensor, v: Tensor) -> Tensor:
        """Returns the state of no key: a maximum of minus infinity, and zeros."""
        state = q.new_zeros(q.shape[0], q.shape[1], v.shape[3] + 2)
        return torch.cat([torch.full_like(state[..., :1], float("-inf")), state[..., 1:]], -1)

    def recurrent(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes token by token."""
        scores, values, out = self.scores(q, k), F.pad(v, (1, 0), value=1.0), []
        top, kept = state[..., :1], state[..., 1:]
        for t in range(q.shape[2]):
            higher = torch.maximum(top, scores[:, :, t, None])
            kept = (top - higher).exp() * kept + (scores[:, :, t, None] - higher).exp() * values[:, :, t]
            top = higher
            out.append(kept[..., 1:] / kept[..., :1])
        return (torch.stack(out, 2) if out else v[:, :, :0]), torch.cat([top, kept], -1)

    def quadratic(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixes a whole sequence from rest."""
        return self.weights(q, k) @ v

    @staticmethod
    def scores(q: Tensor, k: Tensor) -> Tensor:
        """Returns the score of each key, `[B, H, S]`."""
        return (F.silu(q) * k).sum(-1) * q.shape[-1] ** -0.5

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Returns the weights, `[B, H, S, S]`."""
        scores = self.scores(q, k)[:, :, None].expand(-1, -1, q.shape[2], -1)
        seen = causal_mask(q.shape[2], q.shape[2], q.device)
        return scores.masked_fill(~seen, float("-inf")).softmax(-1)


def _features(x: Tensor) -> Tensor:
    """Returns phi(x) of `[..., D]`, `[..., 1 + D + D^2]`, for which phi(q) . phi(k) = 1 + s + s^2 / 2."""
    x = x * x.shape[-1] ** -0.25
    square = (x[..., :, None] * x[..., None, :]).flatten(-2) * math.sqrt(0.5)
    return torch.cat([torch.ones_like(x[..., :1]), x, square], -1)
