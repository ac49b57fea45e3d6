"""The operator `lif_backward`, and how autograd reaches it from `lif_forward`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.common.layout import like, one_step, power_of_two, repeats_one_step, steps_of
from neurokit.kernels.common.neuron import MAX_STEPS, leak_arguments, reset_kind, surrogate_id
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.lif import reference
from neurokit.kernels.lif.shapes import allocate, arrange

NAME = "lif_backward"
DEFAULT = {"block": 1024, "num_warps": 4}


def _backward_fake(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    grad_current: Tensor | None,
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
    surrogate: str,
    alpha: float,
    detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    x = arrange(x, scale, bias, "same")
    grad_y, grad_v0, _ = allocate(x, "same", True, False)
    return grad_y, grad_v0, x.new_empty((), dtype=torch.float32)


def _backward(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    grad_current: Tensor | None,
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
    surrogate: str,
    alpha: float,
    detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    x = arrange(x, scale, bias, "same")
    grad_y, grad_v0, _ = allocate(x, "same", True, False)
    if x.numel() == 0:
        grad_v0.copy_(torch.zeros_like(grad_v0) if grad_v is None else grad_v)
        return grad_y, grad_v0, x.new_zeros((), dtype=torch.float32)
    fused = use_triton(NAME, x)
    if fused and x.shape[0] > MAX_STEPS:
        log_once(
            NAME, f"reference path for T > {MAX_STEPS}: the charged membranes of all steps no longer fit into registers"
        )
        fused = False
    if not fused:
        y = reference.current(x, scale, bias, residual)
        results = reference.backward(
            grad_spikes,
            grad_v,
            grad_current,
            y,
            v0,
            decay,
            tau,
            threshold,
            v_reset,
            decay_input,
            surrogate,
            alpha,
            detach_reset,
        )
        grad_y.copy_(results[0])
        grad_v0.copy_(results[1])
        return grad_y, grad_v0, results[2].float()
    partial = _launch_backward(
        grad_spikes,
        grad_v,
        grad_current,
        x,
        v0,
        scale,
        bias,
        residual,
        decay,
        tau,
        threshold,
        v_reset,
        decay_input,
        surrogate,
        alpha,
        detach_reset,
        grad_y,
        grad_v0,
    )
    return grad_y, grad_v0, partial.sum()


def _launch_backward(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    grad_current: Tensor | None,
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
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    grad_y: Tensor,
    grad_v0: Tensor,
) -> Tensor:
    """Launches the backward kernel; returns the programs' partial sums of the decay's gradient."""
    from neurokit.kernels.lif.triton import lif_backward_kernel

    steps, channels, per_step = x.shape[0], x.shape[-1] if x.dim() > 1 else 1, x[0].numel()
    # Registers hold two values a step and element: the more steps, the smaller the block.
    default = {**DEFAULT, "block": max(128, DEFAULT["block"] * 4 // power_of_two(max(4, steps)))}
    chosen = config.lookup(NAME, (steps, x.dtype.itemsize), x.device, default)
    block = chosen["block"]
    grid = (per_step + block - 1) // block
    partial = x.new_zeros(grid if decay is not None else 1, dtype=torch.float32)
    if residual is not None:
        residual = steps_of(residual) if grad_y.is_contiguous() else like(residual, grad_y)
    added = None if residual is None else one_step(residual)
    leak, factor = leak_arguments(tau, decay is not None)
    launch(lif_backward_kernel)[(grid,)](
        like(grad_spikes, grad_y),
        grad_spikes if grad_v is None else like(grad_v, grad_v0),
        grad_spikes if grad_current is None else like(grad_current, grad_y),
        one_step(x),
        grad_y if v0 is None else like(v0, grad_v0),
        *(grad_y if one is None else one for one in (scale, bias, added, decay)),
        grad_y,
        grad_v0,
        partial,
        per_step,
        channels,
        0 if repeats_one_step(x) else per_step,
        0 if residual is None or repeats_one_step(residual) else per_step,
        per_step,
        factor,
        0.0 if tau is None else 1.0 / tau,
        threshold,
        0.0 if v_reset is None else v_reset,
        alpha,
        T=steps,
        LEAK=leak,
        DECAY_INPUT=decay_input,
        HARD=reset_kind(v_reset),
        HAS_V0=v0 is not None,
        SCALE=scale is not None,
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        HAS_GV=grad_v is not None,
        HAS_GCURRENT=grad_current is not None,
        SURROGATE=surrogate_id(surrogate),
        DETACH=detach_reset,
        BLOCK=block,
        num_warps=chosen["num_warps"],
    )
    return partial


lif_backward = register_op(NAME, _backward_fake)(_backward)


def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keeps the inputs: the backward pass computes the membranes from them again."""
    ctx.save_for_backward(*inputs[:6])
    ctx.neuron = inputs[6:10]
    ctx.form, ctx.want_v, ctx.want_current = inputs[10:13]
    ctx.surrogate = inputs[13:]
    ctx.set_materialize_grads(False)


def autograd(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None, grad_current: Tensor | None) -> Any:
    """Returns the gradients of the inputs of `lif_forward`."""
    x, v0, scale, bias, residual, decay = ctx.saved_tensors
    if ctx.form != "same":
        grad_spikes = None
    if grad_spikes is None:
        grad_spikes = torch.zeros_like(x, memory_format=torch.contiguous_format)
    grad_y, grad_v0, grad_decay = torch.ops.neurokit_kernels.lif_backward(
        grad_spikes,
        grad_v if ctx.want_v else None,
        grad_current if ctx.want_current else None,
        x,
        v0,
        scale,
        bias,
        residual,
        decay,
        *ctx.neuron,
        *ctx.surrogate,
    )
    needs = ctx.needs_input_grad
    over = tuple(range(grad_y.dim() - 1))
    grad_x = (grad_y if scale is None else (grad_y.float() * scale).to(x.dtype)) if needs[0] else None
    grad_scale = (grad_y.float() * x.float()).sum(over) if scale is not None and needs[2] else None
    grad_bias = grad_y.float().sum(over) if bias is not None and needs[3] else None
    grad_residual = grad_y.to(residual.dtype) if residual is not None and needs[4] else None
    grad_decay = grad_decay.reshape(decay.shape).to(decay.dtype) if decay is not None and needs[5] else None
    return (
        grad_x,
        grad_v0 if v0 is not None and needs[1] else None,
        grad_scale,
        grad_bias,
        grad_residual,
        grad_decay,
        *[None] * 10,
    )
