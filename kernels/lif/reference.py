"""The definition of `lif`: affine, residual and neuron over time, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.kernels.common.neuron import charge, encode, fire, run, surrogate_derivative


def current(x: Tensor, scale: Tensor | None, bias: Tensor | None, residual: Tensor | None) -> Tensor:
    """Returns the input current `x * scale + bias + residual` in float32 (float64 for float64 input)."""
    y = x if x.dtype == torch.float64 else x.float()
    if scale is not None:
        y = y * scale
    if bias is not None:
        y = y + bias
    return y if residual is None else y + residual.to(y.dtype)


def forward(
    x: Tensor,
    v0: Tensor | None,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    decay: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns spikes `[T, ..., C]`, the last membrane `[..., C]` and the current `[T, ..., C]` (see `lif`)."""
    y = current(x, scale, bias, residual)
    dtype = x.dtype if x.is_floating_point() else torch.float32
    if y.shape[0] == 0:
        v = y.new_zeros(y.shape[1:]) if v0 is None else v0.clone()
        return encode(y >= 0, form, dtype), v, y.to(dtype)
    spikes, v = run(y, v0, tau, decay, threshold, v_reset, decay_input)
    return encode(spikes, form, dtype), v, y.to(dtype)


def backward(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    grad_current: Tensor | None,
    y: Tensor,
    v0: Tensor | None,
    decay: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the current `[T, ...]`, of `v0` and of `decay` (a 0-dim sum).

    With s' the surrogate derivative at h - threshold, back through time:
    gh = gs s' + gv dv/dh, where dv/dh = (1 - s) + (r - h) s' (hard reset), 1 - threshold s' (soft), each without
    its s' term if the reset is detached; then gx = gh dh/dx, gv = gh dh/dv, gdecay = gh dh/ddecay.
    """
    rest = 0.0 if v_reset is None else v_reset
    factor = decay.to(y.dtype) if decay is not None else None
    v = torch.full_like(y[0], rest) if v0 is None else v0.to(y.dtype)
    charged, before = [], []
    for x in y:
        before.append(v)
        h = charge(x, v, tau, factor, v_reset, decay_input)
        charged.append(h)
        _, v = fire(h, threshold, v_reset)
    rate = factor if factor is not None else (None if tau is None else 1.0 / tau)
    carry = torch.zeros_like(y[0]) if grad_v is None else grad_v.to(y.dtype)
    grads = []
    grad_decay = y.new_zeros(())
    for t in reversed(range(y.shape[0])):
        h = charged[t]
        spike = (h >= threshold).to(y.dtype)
        derivative = surrogate_derivative(h - threshold, surrogate, alpha)
        if v_reset is None:
            through = torch.ones_like(h) if detach_reset else 1.0 - threshold * derivative
        else:
            through = (1.0 - spike) if detach_reset else (1.0 - spike) + (rest - h) * derivative
        grad_h = grad_spikes[t].to(y.dtype) * derivative + carry * through
        if rate is None:
            grad_x, carry = grad_h, grad_h
        else:
            grad_x = grad_h * rate if decay_input else grad_h
            carry = grad_h * (1.0 - rate)
            if factor is not None:
                slope = (y[t] if decay_input else 0.0) - (before[t] - rest)
                grad_decay = grad_decay + (grad_h * slope).sum()
        grads.append(grad_x if grad_current is None else grad_x + grad_current[t].to(y.dtype))
    return torch.stack(grads[::-1]), carry, grad_decay
