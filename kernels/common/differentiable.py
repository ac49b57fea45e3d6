"""The neuron in differentiable PyTorch, in any precision: what the kernels' gradients are compared with.

Written apart from the kernels and their definitions: the gradient comes from automatic differentiation of one step
function with a surrogate derivative, not from equations worked out by hand.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class SurrogateStep(torch.autograd.Function):
    """The step function, with a surrogate's derivative."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, surrogate: str, alpha: float) -> Tensor:
        """Returns 1 where z >= 0."""
        ctx.save_for_backward(z)
        ctx.surrogate, ctx.alpha = surrogate, alpha
        return (z >= 0).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Multiplies by the surrogate's derivative (SpikingJelly 2.0, `surrogate`)."""
        (z,), a = ctx.saved_tensors, ctx.alpha
        if ctx.surrogate == "sigmoid":
            slope = a * torch.sigmoid(a * z) * torch.sigmoid(-a * z)
        elif ctx.surrogate == "atan":
            slope = a / 2 / (1 + (math.pi / 2 * a * z) ** 2)
        else:
            slope = torch.relu(a - a * a * z.abs())
        return grads[0] * slope, None, None


def neuron(
    x: Tensor,
    v: Tensor,
    rate: Tensor | float | None,
    *,
    threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    surrogate: str = "sigmoid",
    alpha: float = 4.0,
    detach_reset: bool = False,
) -> tuple[Tensor, Tensor]:
    """Runs an IF (`rate` None), LIF or PLIF (`rate` = 1 / tau) neuron over x `[T, ...]`.

    Returns:
        Spikes `[T, ...]` and the last membrane.
    """
    rest = 0.0 if v_reset is None else v_reset
    out = []
    for now in x:
        h = v + now
        if rate is not None:
            h = v + (now - (v - rest)) * rate if decay_input else v - (v - rest) * rate + now
        spike = SurrogateStep.apply(h - threshold, surrogate, alpha)
        out.append(spike)
        held = spike.detach() if detach_reset else spike
        v = h - held * threshold if v_reset is None else held * v_reset + (1 - held) * h
    return torch.stack(out), v
