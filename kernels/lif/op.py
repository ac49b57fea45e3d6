"""The operator `lif_forward` and the public function `lif`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.common.layout import like, one_step, repeats_one_step, steps_of
from neurokit.kernels.common.neuron import (
    FORMS,
    check_form,
    check_neuron,
    divisor,
    leak_arguments,
    reset_kind,
    surrogate_id,
)
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.lif import reference
from neurokit.kernels.lif.grad import autograd, setup_context
from neurokit.kernels.lif.shapes import allocate, arrange

NAME = "lif"
DEFAULT = {"block": 1024, "num_warps": 4}


def _forward_fake(
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
    want_v: bool,
    want_current: bool,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return allocate(arrange(x, scale, bias, form), form, want_v, want_current)


def _forward(
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
    want_v: bool,
    want_current: bool,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    x = arrange(x, scale, bias, form)
    outputs = allocate(x, form, want_v, want_current)
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
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
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
    if residual is not None:  # a step that it repeats lies as those of the input
        residual = steps_of(residual) if x.is_contiguous() or repeats_one_step(x) else like(residual, model)
    residual_step = 0 if residual is None or repeats_one_step(residual) else per_step
    added = None if residual is None else one_step(residual)
    leak, factor = leak_arguments(tau, decay is not None, steps_from_rest=steps if v0 is None else 0)
    chosen = config.lookup(NAME, (steps, x.dtype.itemsize, form), x.device, DEFAULT)
    block = chosen["block"]
    launch(lif_forward_kernel)[((limit + block - 1) // block,)](
        one_step(x),
        # What is not given is stood for by the output: of a view, as `x` may be, a compiler makes a copy an argument.
        *(spikes if one is None else one for one in (v0, scale, bias, added, decay)),
        spikes,
        v if v.numel() else spikes,
        current if current.numel() else spikes,
        limit,
        words,
        channels,
        0 if repeats_one_step(x) else per_step,
        residual_step,
        per_step,
        factor,
        threshold,
        0.0 if v_reset is None else v_reset,
        T=steps,
        CHUNK=divisor(steps, 8),
        LEAK=leak,
        DECAY_INPUT=decay_input,
        HARD=reset_kind(v_reset),
        HAS_V0=v0 is not None,
        SCALE=scale is not None,
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        WANT_V=v.numel() > 0,
        WANT_CURRENT=current.numel() > 0,
        OUT=FORMS.index(form),
        PADDED=padded,
        BLOCK=block,
        num_warps=chosen["num_warps"],
    )


lif_forward = register_op("lif_forward", _forward_fake)(_forward)


torch.library.register_autograd("neurokit_kernels::lif_forward", autograd, setup_context=setup_context)


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
        spikes,
        want_v,
        want_current,
        surrogate,
        alpha,
        detach_reset,
    )


def _check_shapes(
    x: Tensor,
    v0: Tensor | None,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    decay: Tensor | None,
) -> None:
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.int32):
        raise InputError(f"lif takes no {x.dtype}", expected="float32, float16, bfloat16 or int32")
    if x.dim() < 2 or x.shape[0] == 0:
        raise InputError(f"lif got an input of shape {tuple(x.shape)}", expected="[T, ..., C] with T >= 1")
    if v0 is not None and (v0.shape != x.shape[1:] or v0.dtype != torch.float32):
        raise InputError(f"v0 is {v0.dtype} {tuple(v0.shape)}", expected=f"float32 {tuple(x.shape[1:])}")
    for name, row in (("scale", scale), ("bias", bias)):
        if row is not None and (row.shape != x.shape[-1:] or row.dtype != torch.float32 or not row.is_contiguous()):
            raise InputError(
                f"{name} is {row.dtype} {tuple(row.shape)}", expected=f"contiguous float32 ({x.shape[-1]},)"
            )
    if residual is not None and residual.shape != x.shape:
        raise InputError(f"residual has shape {tuple(residual.shape)}", expected=f"the input's, {tuple(x.shape)}")
    if decay is not None and decay.numel() != 1:
        raise InputError(f"decay has shape {tuple(decay.shape)}", expected="a 0-dim tensor")
