"""The neuron as one functional operation: `(x_seq, v0, ...) -> (spikes, v_last)`, known to torch.library.

Three operations carry the neurons that nearly every spiking network is made of; neurokit/neurons/dynamics.py has their
equations. `lif` divides where `plif` multiplies: for a tau that is no power of two they differ in the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.neurons.dynamics import charge_if, charge_lif, charge_plif

NAMESPACE = "neurokit"


def reset(
    h: Tensor, spike: Tensor, v_threshold: float, v_reset: float | None, v_subtract: float | None = None
) -> Tensor:
    """Returns the membrane after firing."""
    if v_reset is None:
        return h - spike * (v_threshold if v_subtract is None else v_subtract)
    return torch.where(spike.bool(), torch.full_like(h, v_reset), h)


def _unroll(
    x_seq: Tensor,
    v0: Tensor,
    charge: Callable[[Tensor, Tensor], Tensor],
    v_threshold: float,
    v_reset: float | None,
    v_subtract: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs the steps one after the other; returns spikes `[T, ...]`, the last membrane and all charged ones."""
    if x_seq.shape[1:] != v0.shape:
        raise InputError(
            f"neuron state has shape {tuple(v0.shape)}, its input {tuple(x_seq.shape)}",
            expected="the input's shape without its first (time) axis",
        )
    v, spikes, charged = v0, [], []
    for x in x_seq.to(v0.dtype):
        h = charge(v, x)
        spike = (h >= v_threshold).to(v0.dtype)
        v = reset(h, spike, v_threshold, v_reset, v_subtract)
        spikes.append(spike.to(x_seq.dtype))
        charged.append(h)
    if not spikes:
        return torch.empty_like(x_seq), v0.clone(), torch.empty_like(x_seq, dtype=v0.dtype)
    return torch.stack(spikes), v if v is not v0 else v0.clone(), torch.stack(charged)


@torch.library.custom_op(f"{NAMESPACE}::if_", mutates_args=())
def if_(
    x_seq: Tensor,
    v0: Tensor,
    v_threshold: float,
    v_reset: float | None,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    v_subtract: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Integrate-and-fire over time.

    Args:
        x_seq: Input current, `[T, ...]`.
        v0: Membrane before the first step, `[...]`; its dtype is the one the membrane is computed in.
        v_threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike (hard reset), or None to subtract (soft reset).
        surrogate: Name of the surrogate gradient ("sigmoid", "atan", "triangle"), or "none".
        alpha: Slope of the surrogate.
        detach_reset: Whether the gradient stops at the reset.
        v_subtract: What a soft reset subtracts; default is the threshold.

    Returns:
        Spikes `[T, ...]` in the dtype of `x_seq`, and the membrane after the last step.
    """
    spikes, v, _ = _unroll(x_seq, v0, charge_if, v_threshold, v_reset, v_subtract)
    return spikes, v


@torch.library.custom_op(f"{NAMESPACE}::lif", mutates_args=())
def lif(
    x_seq: Tensor,
    v0: Tensor,
    tau: float,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    v_subtract: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Leaky integrate-and-fire over time; `tau` in time steps, everything else as in `if_`."""
    charge = partial(charge_lif, tau=tau, v_reset=v_reset, decay_input=decay_input)
    spikes, v, _ = _unroll(x_seq, v0, charge, v_threshold, v_reset, v_subtract)
    return spikes, v


@torch.library.custom_op(f"{NAMESPACE}::plif", mutates_args=())
def plif(
    x_seq: Tensor,
    v0: Tensor,
    decay: Tensor,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    v_subtract: float | None = None,
) -> tuple[Tensor, Tensor]:
    """LIF whose decay 1/tau is a scalar tensor (SpikingJelly's `sigmoid(w)`); else as `lif`."""
    charge = partial(charge_plif, decay=decay, v_reset=v_reset, decay_input=decay_input)
    spikes, v, _ = _unroll(x_seq, v0, charge, v_threshold, v_reset, v_subtract)
    return spikes, v


@if_.register_fake
def _(x_seq: Tensor, v0: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    return _fake(x_seq, v0)


@lif.register_fake
def _(x_seq: Tensor, v0: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    return _fake(x_seq, v0)


@plif.register_fake
def _(x_seq: Tensor, v0: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    return _fake(x_seq, v0)


def _fake(x_seq: Tensor, v0: Tensor) -> tuple[Tensor, Tensor]:
    whole = torch.contiguous_format
    return torch.empty_like(x_seq, memory_format=whole), torch.empty_like(v0, memory_format=whole)


def surrogate_gradient(u: Tensor, surrogate: str, alpha: float) -> Tensor:
    """Returns the derivative that stands in for the step function's at `u = h - threshold`.

    sigmoid: alpha s (1 - s), s = sigmoid(alpha u). atan: (alpha / 2) / (1 + (pi alpha u / 2)^2).
    triangle: max(0, alpha - alpha^2 |u|). (SpikingJelly 2.0 `surrogate.Sigmoid`, `ATan`, `PiecewiseQuadratic`.)

    Raises:
        InputError: If the surrogate has no gradient here.
    """
    if surrogate == "sigmoid":
        s = torch.sigmoid(alpha * u)
        return alpha * s * (1.0 - s)
    if surrogate == "atan":
        return (alpha / 2.0) / (1.0 + (torch.pi / 2.0 * alpha * u) ** 2)
    if surrogate == "triangle":
        return torch.clamp(alpha - alpha * alpha * u.abs(), min=0.0)
    raise InputError(
        f"surrogate {surrogate!r} has no gradient in a captured program",
        expected="sigmoid, atan or triangle",
        fix="train the original module, then capture it",
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
    ctx.settings = tuple(value for value in inputs if not isinstance(value, Tensor))


def _backward_if(ctx: Any, g_spikes: Tensor, g_v: Tensor) -> tuple[Any, ...]:
    x_seq, v0 = ctx.saved_tensors
    gx, gv0 = _through_time(x_seq, v0, g_spikes, g_v, charge_if, (1.0, 1.0), *ctx.settings)[:2]
    return gx, gv0, *[None] * len(ctx.settings)


def _backward_lif(ctx: Any, g_spikes: Tensor, g_v: Tensor) -> tuple[Any, ...]:
    x_seq, v0 = ctx.saved_tensors
    tau, v_threshold, v_reset, decay_input, *rest = ctx.settings

    def charge(v: Tensor, x: Tensor) -> Tensor:
        return charge_lif(v, x, tau, v_reset, decay_input)

    slopes = (1.0 - 1.0 / tau, 1.0 / tau if decay_input else 1.0)
    gx, gv0 = _through_time(x_seq, v0, g_spikes, g_v, charge, slopes, v_threshold, v_reset, *rest)[:2]
    return gx, gv0, *[None] * len(ctx.settings)


def _backward_plif(ctx: Any, g_spikes: Tensor, g_v: Tensor) -> tuple[Any, ...]:
    x_seq, v0, decay = ctx.saved_tensors
    v_threshold, v_reset, decay_input, *settings = ctx.settings
    rest = 0.0 if v_reset is None else v_reset

    def charge(v: Tensor, x: Tensor) -> Tensor:
        return charge_plif(v, x, decay, v_reset, decay_input)

    slopes = (1.0 - decay, decay if decay_input else 1.0)
    gx, gv0, gh, before = _through_time(x_seq, v0, g_spikes, g_v, charge, slopes, v_threshold, v_reset, *settings)
    drive = (x_seq - (before - rest)) if decay_input else -(before - rest)
    g_decay = (gh * drive).sum().reshape(decay.shape).to(decay.dtype)
    return gx, gv0, g_decay, *[None] * len(ctx.settings)


def _through_time(
    x_seq: Tensor,
    v0: Tensor,
    g_spikes: Tensor,
    g_v: Tensor,
    charge: Callable[[Tensor, Tensor], Tensor],
    slopes: tuple[Any, Any],
    v_threshold: float,
    v_reset: float | None,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    v_subtract: float | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Back-propagation through time; recomputes the charged membrane instead of having stored it.

    `slopes` are dh/dv and dh/dx. Returns the gradients of x_seq, v0 and h, and the membrane before each step.
    """
    spikes, _, charged = _unroll(x_seq, v0, charge, v_threshold, v_reset, v_subtract)
    subtract = v_threshold if v_subtract is None else v_subtract
    spikes = spikes.to(v0.dtype)
    after = torch.stack([reset(h, s, v_threshold, v_reset, v_subtract) for h, s in zip(charged, spikes, strict=True)])
    before = torch.cat([v0.unsqueeze(0), after[:-1]])
    gh = torch.empty_like(charged)
    carry = torch.zeros_like(v0) if g_v is None else g_v
    for t in range(x_seq.shape[0] - 1, -1, -1):
        slope = surrogate_gradient(charged[t] - v_threshold, surrogate, alpha)
        dv_dh = torch.ones_like(slope) if v_reset is None else 1.0 - spikes[t]
        if not detach_reset:
            dv_dh = dv_dh + slope * (-subtract if v_reset is None else v_reset - charged[t])
        gh[t] = carry * dv_dh + (0.0 if g_spikes is None else g_spikes[t].to(v0.dtype) * slope)
        carry = gh[t] * slopes[0]
    return (gh * slopes[1]).to(x_seq.dtype), carry, gh, before


if_.register_autograd(_backward_if, setup_context=_setup)
lif.register_autograd(_backward_lif, setup_context=_setup)
plif.register_autograd(_backward_plif, setup_context=_setup)


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Returns each neuron operation with its definition in plain operations, for compilers that know no others."""
    operations = {
        torch.ops.neurokit.if_.default: if_,
        torch.ops.neurokit.lif.default: lif,
        torch.ops.neurokit.plif.default: plif,
    }
    return {overload: definition._init_fn for overload, definition in operations.items()}


def is_neuron(target: Any) -> bool:
    """Returns whether a node's target is one of the neuron operations."""
    return str(target).startswith(("neurokit.if_", "neurokit.lif", "neurokit.plif"))
