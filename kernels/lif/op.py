"""The operators `lif_forward` and `lif_backward`, and the public function `lif`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.common.layout import is_time_major, like, repeats_one_step
from neurokit.kernels.common.neuron import (
    FORMS,
    MAX_STEPS,
    check_form,
    check_neuron,
    empty_spikes,
    leak_arguments,
    reset_kind,
    surrogate_id,
)
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.lif import reference

NAME = "lif"
DEFAULT = {"block": 1024, "num_warps": 4}
DEFAULT_BACKWARD = {"block": 1024, "num_warps": 4}


def _arrange(x: Tensor, scale: Tensor | None, bias: Tensor | None, form: str) -> Tensor:
    """Returns `x` as a tensor whose memory the kernels can walk, with a copy only where they cannot."""
    if x.is_contiguous() or repeats_one_step(x):
        return x
    by_row = scale is not None or bias is not None or form == "packed"
    return x if not by_row and is_time_major(x) else x.contiguous()


def _outputs(
    x: Tensor, form: str, want_v: bool, want_current: bool
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Allocates spikes, last membrane and current for an arranged `x`; what is not wanted is empty."""
    dtype = x.dtype if x.is_floating_point() else torch.float32
    dense = x.new_empty(x.shape, dtype=dtype) if repeats_one_step(x) else torch.empty_like(x, dtype=dtype)
    if form == "packed":
        spikes = empty_spikes(tuple(x.shape), form, dtype, x.device)
    else:
        spikes = torch.empty_like(dense, dtype=torch.int8 if form == "int8" else dtype)
    v = x.new_empty(0, dtype=torch.float32)
    if want_v:
        v = x.new_empty_strided(x.shape[1:], dense.stride()[1:], dtype=torch.float32)
    return spikes, v, torch.empty_like(dense) if want_current else x.new_empty(0, dtype=dtype)


def _forward_fake(
    x: Tensor, v0: Tensor | None, scale: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    decay: Tensor | None, tau: float | None, threshold: float, v_reset: float | None, decay_input: bool,
    form: str, want_v: bool, want_current: bool, surrogate: str, alpha: float, detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return _outputs(_arrange(x, scale, bias, form), form, want_v, want_current)


def _chunk(steps: int) -> int:
    """Returns how many steps are loaded together: the largest divisor of T up to 8."""
    return max(size for size in range(1, 9) if steps % size == 0)


def _forward(
    x: Tensor, v0: Tensor | None, scale: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    decay: Tensor | None, tau: float | None, threshold: float, v_reset: float | None, decay_input: bool,
    form: str, want_v: bool, want_current: bool, surrogate: str, alpha: float, detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    x = _arrange(x, scale, bias, form)
    outputs = _outputs(x, form, want_v, want_current)
    if x.numel() == 0:
        if want_v:
            outputs[1].copy_(torch.full_like(outputs[1], v_reset or 0.0) if v0 is None else v0)
        return outputs
    if not use_triton(NAME, x):
        spikes, v, current = reference.forward(
            x, v0, scale, bias, residual, decay, tau, threshold, v_reset, decay_input, form
        )
        outputs[0].copy_(spikes)
        if want_v:
            outputs[1].copy_(v)
        if want_current:
            outputs[2].copy_(current)
        return outputs
    _launch_forward(x, v0, scale, bias, residual, decay, tau, threshold, v_reset, decay_input, form, outputs)
    return outputs


def _launch_forward(
    x: Tensor, v0: Tensor | None, scale: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    decay: Tensor | None, tau: float | None, threshold: float, v_reset: float | None, decay_input: bool,
    form: str, outputs: tuple[Tensor, Tensor, Tensor],
) -> None:  # fmt: skip
    from neurokit.kernels.lif.triton import lif_forward_kernel

    spikes, v, current = outputs
    steps, channels = x.shape[0], x.shape[-1] if x.dim() > 1 else 1
    per_step = x[0].numel()
    model = current if current.numel() else (spikes if form != "packed" else x)
    padded = form == "packed" and channels % 32 != 0
    words = (per_step // channels) * ((channels + 31) // 32)
    limit = words * 32 if padded else per_step
    if v0 is not None:
        v0 = like(v0, v) if v.numel() else (v0.contiguous() if x.is_contiguous() else like(v0, x[0]))
    if residual is not None and not repeats_one_step(residual):
        residual = like(residual, model) if not repeats_one_step(x) else residual.contiguous()
    leak, factor = leak_arguments(tau, decay is not None)
    chosen = config.lookup(NAME, (steps, x.dtype.itemsize, form), x.device, DEFAULT)
    block = chosen["block"]
    launch(lif_forward_kernel)[((limit + block - 1) // block,)](
        x, x if v0 is None else v0, x if scale is None else scale, x if bias is None else bias,
        x if residual is None else residual, x if decay is None else decay,
        spikes, v if v.numel() else spikes, current if current.numel() else spikes,
        limit, words, channels, 0 if repeats_one_step(x) else per_step,
        0 if residual is None or repeats_one_step(residual) else per_step, per_step,
        factor, threshold, 0.0 if v_reset is None else v_reset,
        T=steps, CHUNK=_chunk(steps), LEAK=leak, DECAY_INPUT=decay_input, HARD=reset_kind(v_reset),
        HAS_V0=v0 is not None, SCALE=scale is not None, BIAS=bias is not None, RESIDUAL=residual is not None,
        WANT_V=v.numel() > 0, WANT_CURRENT=current.numel() > 0, OUT=FORMS.index(form), PADDED=padded,
        BLOCK=block, num_warps=chosen["num_warps"],
    )  # fmt: skip


def _backward_fake(
    grad_spikes: Tensor, grad_v: Tensor | None, grad_current: Tensor | None, x: Tensor, v0: Tensor | None,
    scale: Tensor | None, bias: Tensor | None, residual: Tensor | None, decay: Tensor | None, tau: float | None,
    threshold: float, v_reset: float | None, decay_input: bool, surrogate: str, alpha: float, detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    x = _arrange(x, scale, bias, "same")
    grad_y, grad_v0, _ = _outputs(x, "same", True, False)
    return grad_y, grad_v0, x.new_empty((), dtype=torch.float32)


def _backward(
    grad_spikes: Tensor, grad_v: Tensor | None, grad_current: Tensor | None, x: Tensor, v0: Tensor | None,
    scale: Tensor | None, bias: Tensor | None, residual: Tensor | None, decay: Tensor | None, tau: float | None,
    threshold: float, v_reset: float | None, decay_input: bool, surrogate: str, alpha: float, detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    x = _arrange(x, scale, bias, "same")
    grad_y, grad_v0, _ = _outputs(x, "same", True, False)
    if x.numel() == 0:
        grad_v0.copy_(torch.zeros_like(grad_v0) if grad_v is None else grad_v)
        return grad_y, grad_v0, x.new_zeros((), dtype=torch.float32)
    fused = use_triton("lif_backward", x)
    if fused and x.shape[0] > MAX_STEPS:
        log_once("lif_backward", f"reference path for T > {MAX_STEPS}: the charged membranes of all steps no longer "
                 "fit into registers")  # fmt: skip
        fused = False
    if not fused:
        y = reference.current(x, scale, bias, residual)
        results = reference.backward(
            grad_spikes, grad_v, grad_current, y, v0, decay, tau, threshold, v_reset, decay_input, surrogate, alpha,
            detach_reset,
        )  # fmt: skip
        grad_y.copy_(results[0])
        grad_v0.copy_(results[1])
        return grad_y, grad_v0, results[2].float()
    partial = _launch_backward(
        grad_spikes, grad_v, grad_current, x, v0, scale, bias, residual, decay, tau, threshold, v_reset,
        decay_input, surrogate, alpha, detach_reset, grad_y, grad_v0,
    )  # fmt: skip
    return grad_y, grad_v0, partial.sum()


def _launch_backward(
    grad_spikes: Tensor, grad_v: Tensor | None, grad_current: Tensor | None, x: Tensor, v0: Tensor | None,
    scale: Tensor | None, bias: Tensor | None, residual: Tensor | None, decay: Tensor | None, tau: float | None,
    threshold: float, v_reset: float | None, decay_input: bool, surrogate: str, alpha: float, detach_reset: bool,
    grad_y: Tensor, grad_v0: Tensor,
) -> Tensor:  # fmt: skip
    """Launches the backward kernel; returns the programs' partial sums of the decay's gradient."""
    from neurokit.kernels.lif.triton import lif_backward_kernel

    steps, channels, per_step = x.shape[0], x.shape[-1] if x.dim() > 1 else 1, x[0].numel()
    # Registers hold two values a step and element: the more steps, the smaller the block.
    default = {**DEFAULT_BACKWARD, "block": max(128, DEFAULT_BACKWARD["block"] * 4 // max(4, steps))}
    chosen = config.lookup("lif_backward", (steps, x.dtype.itemsize), x.device, default)
    block = chosen["block"]
    grid = (per_step + block - 1) // block
    partial = x.new_zeros(grid if decay is not None else 1, dtype=torch.float32)
    if residual is not None and not repeats_one_step(residual):
        residual = like(residual, grad_y)
    leak, factor = leak_arguments(tau, decay is not None)
    launch(lif_backward_kernel)[(grid,)](
        like(grad_spikes, grad_y), grad_spikes if grad_v is None else like(grad_v, grad_v0),
        grad_spikes if grad_current is None else like(grad_current, grad_y),
        x, x if v0 is None else like(v0, grad_v0), x if scale is None else scale, x if bias is None else bias,
        x if residual is None else residual, x if decay is None else decay, grad_y, grad_v0, partial,
        per_step, channels, 0 if repeats_one_step(x) else per_step,
        0 if residual is None or repeats_one_step(residual) else per_step, per_step,
        factor, 0.0 if tau is None else 1.0 / tau, threshold, 0.0 if v_reset is None else v_reset, alpha,
        T=steps, LEAK=leak, DECAY_INPUT=decay_input, HARD=reset_kind(v_reset), HAS_V0=v0 is not None,
        SCALE=scale is not None, BIAS=bias is not None, RESIDUAL=residual is not None, HAS_GV=grad_v is not None,
        HAS_GCURRENT=grad_current is not None, SURROGATE=surrogate_id(surrogate), DETACH=detach_reset,
        BLOCK=block, num_warps=chosen["num_warps"],
    )  # fmt: skip
    return partial


lif_forward = register_op("lif_forward", _forward_fake)(_forward)
lif_backward = register_op("lif_backward", _backward_fake)(_backward)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.neuron = inputs[6:10]
    ctx.form, ctx.want_v, ctx.want_current = inputs[10:13]
    ctx.surrogate = inputs[13:]
    ctx.set_materialize_grads(False)


def _autograd(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None, grad_current: Tensor | None) -> Any:
    x, v0, scale, bias, residual, decay = ctx.saved_tensors
    if ctx.form != "same":
        grad_spikes = None
    if grad_spikes is None:
        grad_spikes = torch.zeros_like(x, memory_format=torch.contiguous_format)
    grad_y, grad_v0, grad_decay = torch.ops.neurokit_kernels.lif_backward(
        grad_spikes, grad_v if ctx.want_v else None, grad_current if ctx.want_current else None,
        x, v0, scale, bias, residual, decay, *ctx.neuron, *ctx.surrogate,
    )  # fmt: skip
    needs = ctx.needs_input_grad
    over = tuple(range(grad_y.dim() - 1))
    grad_x = (grad_y if scale is None else (grad_y.float() * scale).to(x.dtype)) if needs[0] else None
    grad_scale = (grad_y.float() * x.float()).sum(over) if scale is not None and needs[2] else None
    grad_bias = grad_y.float().sum(over) if bias is not None and needs[3] else None
    grad_residual = grad_y.to(residual.dtype) if residual is not None and needs[4] else None
    grad_decay = grad_decay.reshape(decay.shape).to(decay.dtype) if decay is not None and needs[5] else None
    return (grad_x, grad_v0 if v0 is not None and needs[1] else None, grad_scale, grad_bias, grad_residual,
            grad_decay, *[None] * 10)  # fmt: skip


torch.library.register_autograd("neurokit_kernels::lif_forward", _autograd, setup_context=_setup_context)


def lif(
    x: Tensor,
    v0: Tensor | None = None,
    *,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    tau: float | None = 2.0,
    decay: Tensor | None = None,
    threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    spikes: str = "same",
    want_v: bool = True,
    want_current: bool = False,
    surrogate: str = "sigmoid",
    alpha: float = 4.0,
    detach_reset: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs affine, residual and an IF, LIF or PLIF neuron over T in one pass over memory.

    Args:
        x: `[T, ..., C]`, float32, float16, bfloat16, or int32 (the counts of an integer product).
        v0: Membrane before the first step, `[..., C]` float32; the reset potential (or 0) if None.
        scale: A factor a channel, `[C]` float32 (a folded batch normalisation).
        bias: A summand a channel, `[C]` float32.
        residual: Added to the current, `[T, ..., C]`.
        tau: Time constant in steps, > 1; None for an IF neuron.
        decay: 0-dim tensor 1/tau of a PLIF neuron; `tau` is then not used.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        spikes: Form of the spikes: "same" dtype as x, "int8", or "packed" int32 words along C.
        want_v: Whether the last membrane is returned (4 bytes a neuron).
        want_current: Whether the current `x * scale + bias + residual` is returned, in the dtype of x.
        surrogate: "sigmoid", "atan" or "triangle", for the gradient.
        alpha: Slope of the surrogate.
        detach_reset: Whether the gradient stops at the reset.

    Returns:
        Spikes `[T, ..., C]` (packed: `[T, ..., ceil(C / 32)]`), the last membrane `[..., C]` float32, and the
        current `[T, ..., C]`; what is not wanted has no elements. The gradient flows to x, v0, scale, bias,
        residual and decay; second derivatives do not exist.

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    if decay is not None:
        tau = None
    check_neuron(tau, threshold, v_reset)
    check_form(spikes)
    surrogate_id(surrogate)
    _check_shapes(x, v0, scale, bias, residual, decay)
    if not math.isfinite(alpha) or alpha <= 0.0:
        raise InputError(f"alpha={alpha!r} is no slope of a surrogate", expected="a finite number > 0")
    return torch.ops.neurokit_kernels.lif_forward(
        x, v0, scale, bias, residual, decay, tau, threshold, v_reset, decay_input, spikes, want_v, want_current,
        surrogate, alpha, detach_reset,
    )  # fmt: skip


def _check_shapes(
    x: Tensor, v0: Tensor | None, scale: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    decay: Tensor | None,
) -> None:  # fmt: skip
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.int32):
        raise InputError(f"lif takes no {x.dtype}", expected="float32, float16, bfloat16 or int32")
    if x.dim() < 2 or x.shape[0] == 0:
        raise InputError(f"lif got an input of shape {tuple(x.shape)}", expected="[T, ..., C] with T >= 1")
    if v0 is not None and (v0.shape != x.shape[1:] or v0.dtype != torch.float32):
        raise InputError(f"v0 is {v0.dtype} {tuple(v0.shape)}", expected=f"float32 {tuple(x.shape[1:])}")
    for name, row in (("scale", scale), ("bias", bias)):
        if row is not None and (row.shape != x.shape[-1:] or row.dtype != torch.float32 or not row.is_contiguous()):
            raise InputError(f"{name} is {row.dtype} {tuple(row.shape)}",
                             expected=f"contiguous float32 ({x.shape[-1]},)")  # fmt: skip
    if residual is not None and residual.shape != x.shape:
        raise InputError(f"residual has shape {tuple(residual.shape)}", expected=f"the input's, {tuple(x.shape)}")
    if decay is not None and decay.numel() != 1:
        raise InputError(f"decay has shape {tuple(decay.shape)}", expected="a 0-dim tensor")
