"""The operator `gate_lif` and its public function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.common.layout import power_of_two, tokens_apart
from neurokit.kernels.common.neuron import (
    FORMS,
    check_form,
    check_neuron,
    divisor,
    empty_spikes,
    leak_arguments,
    reset_kind,
    surrogate_id,
)
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.gate_lif import reference

NAME = "gate_lif"
OVER = ("tokens", "channels")
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int32)
_EXACT_BELOW = 2**24
_WIDEST = 8192  # channels of a head that one program adds


def _outputs(mask: Tensor, channels: int, heads: int, over: str, form: str, want_gate: bool) -> tuple[Tensor, Tensor]:
    """Allocates spikes and gates; gates that are not wanted have no elements, beside packed spikes they are int8."""
    dtype = mask.dtype if mask.is_floating_point() else torch.float16
    spikes = empty_spikes((*mask.shape[:-1], channels), form, dtype, mask.device)
    steps, batch, tokens, _ = mask.shape
    shape = (steps, batch, *((1, channels) if over == "tokens" else (tokens, heads)))
    kind = torch.int8 if form == "packed" else spikes.dtype
    return spikes, mask.new_empty(shape if want_gate else (0,), dtype=kind)


def _fake(
    mask: Tensor,
    a: Tensor,
    b: Tensor | None,
    channels: int,
    heads: int,
    over: str,
    scale: float,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_gate: bool,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    decay: float | None = None,
    columns: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    return _outputs(mask, channels, heads, over, form, want_gate)


def _forward(
    mask: Tensor,
    a: Tensor,
    b: Tensor | None,
    channels: int,
    heads: int,
    over: str,
    scale: float,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_gate: bool,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    decay: float | None = None,
    columns: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    spikes, gate = _outputs(mask, channels, heads, over, form, want_gate)
    if spikes.numel() == 0:
        return spikes, gate.zero_()
    neuron = (tau, threshold, v_reset, decay_input)
    if not _fused(mask, channels, heads, over):
        if columns is not None:
            parts = zip((mask, a, b), columns, strict=True)
            mask, a, b = (None if x is None else x.narrow(3, at, channels) for x, at in parts)  # type: ignore[assignment]
        dtype = mask.dtype if mask.is_floating_point() else torch.float16
        found = reference.forward(mask, a, b, channels, heads, over, scale, *neuron, form, dtype, decay)
        if want_gate:
            gate.copy_(found[1])
        return spikes.copy_(found[0]), gate
    if columns is None:
        mask, a, b = (*tokens_apart(*(x for x in (mask, a, b) if x is not None)), None)[:3]  # type: ignore[assignment]
    else:
        # One tensor that holds all of them is read where it is; its columns are numbers in the kernel.
        one = mask.contiguous()
        mask, a, b = one, one, None if b is None else one
    _launch(mask, a, b, columns or (0, 0, 0), channels, heads, over, scale, neuron, form, spikes, gate, decay)
    return spikes, gate


def _fused(mask: Tensor, channels: int, heads: int, over: str) -> bool:
    if not use_triton(NAME, mask):
        return False
    if mask.shape[2] >= _EXACT_BELOW or (over == "channels" and channels // heads > _WIDEST):
        log_once(NAME, "reference path: a sum of 2^24 tokens or of more than 8192 channels")
        return False
    return True


def defaults(over: str, tokens: int, dim: int) -> config.Config:
    """Returns launch parameters where none were measured: a sample's tokens, or a head's channels, in one block."""
    if over == "tokens":
        rows = min(256, max(16, power_of_two(tokens)))
        return {"rows": rows, "cols": 32, "num_warps": 8 if rows == 256 else 4}
    cols = max(16, power_of_two(dim))
    return {"rows": max(2, 4096 // cols), "cols": cols, "num_warps": 4}


def _launch(
    mask: Tensor,
    a: Tensor,
    b: Tensor | None,
    columns: Sequence[int],
    channels: int,
    heads: int,
    over: str,
    scale: float,
    neuron: tuple[float | None, float, float | None, bool],
    form: str,
    spikes: Tensor,
    gate: Tensor,
    decay: float | None,
) -> None:
    from neurokit.kernels.gate_lif.triton import gate_channels_kernel, gate_tokens_kernel

    tau, threshold, v_reset, decay_input = neuron
    steps, batch, tokens, _ = mask.shape
    kind = "packed" if mask.dtype == torch.int32 else str(mask.dtype.itemsize)
    key = (over, steps, tokens, channels // heads, kind)
    chosen = config.lookup(NAME, key, mask.device, defaults(over, tokens, channels // heads))
    leak, factor = leak_arguments(tau, decay is not None, decay or 0.0, steps)
    # What is not given, or not wanted, is stood for by what is.
    tensors = (mask, a, a if b is None else b, spikes, gate if gate.numel() else spikes)
    numbers = (factor, scale, threshold, 0.0 if v_reset is None else v_reset)
    common: dict[str, Any] = {
        "T": steps,
        "CHUNK": divisor(steps, 4),
        "MASK_AT": columns[0],
        "A_AT": columns[1],
        "B_AT": columns[2],
        "TOKENS": tokens,
        "WIDTH": mask.stride(2),
        "HAS_B": b is not None,
        "WANT_GATE": gate.numel() > 0,
        "LEAK": leak,
        "DECAY_INPUT": decay_input,
        "HARD": reset_kind(v_reset),
        "ROWS": chosen["rows"],
        "COLS": chosen["cols"],
        "num_warps": chosen["num_warps"],
    }
    if over == "channels":
        grid = (batch * heads, -(-tokens // chosen["rows"]))
        launch(gate_channels_kernel)[grid](*tensors, *numbers, batch, HEADS=heads, DIM=channels // heads, **common)
        return
    launch(gate_tokens_kernel)[(batch, -(-channels // chosen["cols"]))](
        *tensors,
        *numbers,
        batch,
        CHANNELS=channels,
        OUT_WIDTH=spikes.shape[-1],
        PACKED=mask.dtype == torch.int32,
        OUT=FORMS.index(form),
        **common,
    )


gate_lif_op = register_op(NAME, _fake)(_forward)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    mask, a, b = inputs[:3]
    ctx.save_for_backward(mask, a, *(() if b is None else (b,)))
    ctx.channels, ctx.heads, ctx.over, ctx.scale, *ctx.neuron = inputs[3:11]
    ctx.surrogate, ctx.decay = inputs[13:16], inputs[16]


def _autograd(ctx: Any, grad: Tensor, grad_gate: Tensor | None) -> Any:
    """Recomputes the counts, then goes back through the neurons to what is counted, and to what is let through."""
    mask, a, *more = (x.float() for x in ctx.saved_tensors)
    b = more[0] if more else None
    x = (reference.counts(a, b, ctx.over, ctx.heads) * ctx.scale).contiguous()
    neuron = (None if ctx.decay is None else x.new_full((), ctx.decay), *ctx.neuron)
    direct = reference.counts(grad.float(), mask, ctx.over, ctx.heads)
    if grad_gate is not None and grad_gate.numel():
        direct = direct + grad_gate.float()
    given = (None, None, None, None)
    gx, _, _ = torch.ops.neurokit_kernels.lif_backward(
        direct.contiguous(), None, None, x, *given, *neuron, *ctx.surrogate
    )
    fired, _, _ = torch.ops.neurokit_kernels.lif_forward(x, *given, *neuron, "same", False, False, *ctx.surrogate)
    gx, gate = (reference.spread(y, ctx.channels, ctx.over) for y in (gx * ctx.scale, fired))
    grads = (grad.float() * gate, gx.expand_as(a) if b is None else gx * b, None if b is None else gx * a)
    kinds = [*(one.dtype for one in ctx.saved_tensors), None][:3]
    return (*(None if g is None else g.to(kind) for g, kind in zip(grads, kinds, strict=True)), *[None] * 15)


torch.library.register_autograd("neurokit_kernels::gate_lif", _autograd, setup_context=_setup_context)


def gate_lif(
    mask: Tensor,
    a: Tensor,
    b: Tensor | None = None,
    *,
    over: str = "tokens",
    heads: int = 1,
    channels: int | None = None,
    scale: float = 1.0,
    tau: float | None = 2.0,
    threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    form: str = "same",
    want_gate: bool = False,
    surrogate: str = "sigmoid",
    alpha: float = 4.0,
    detach_reset: bool = False,
    decay: float | None = None,
    columns: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Spikes that a neuron lets through, which fires on a sum of spikes: `mask * LIF(scale * sum of a * b)`.

    The sum counts spikes, so that its order does not matter; with a power of two for `tau` and a dyadic `scale` the
    whole operation is exact.

    Args:
        mask: Spikes (0 or 1) that are let through or not, `[T, B, N, C]` token-major: float32, float16, bfloat16,
            int8, or over tokens packed int32 `[T, B, N, ceil(C / 32)]`.
        a: Spikes that are added, as mask.
        b: What they are multiplied by first, as mask; None for nothing.
        over: What is added: "tokens", one gate a channel, or "channels" of a head, one gate a token and head.
        heads: Number of heads of "channels".
        channels: C, needed where the spikes are packed.
        scale: Factor on the counts.
        tau: Time constant of the neurons in steps, > 1; None for IF neurons.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        form: Form of the spikes: "same" dtype as mask (float16 if that is no float), "int8" or, over tokens, "packed".
        want_gate: Whether the gates are returned, too.
        surrogate: "sigmoid", "atan" or "triangle", for the gradient of floating-point inputs.
        alpha: Slope of the surrogate.
        detach_reset: Whether the gradient stops at the reset.
        decay: A learnt leak: what the membrane's distance from rest is multiplied by, in place of a division by `tau`,
            which is None then. It gets no gradient here.
        columns: Where mask, a and b are one wider tensor, unpacked: the first channel of each in it (of b any number
            where there is none); `channels` says how many each has. It is read without a copy. Inference only.

    Returns:
        Spikes `[T, B, N, C]`, or `[T, B, N, ceil(C / 32)]` packed; and the gates `[T, B, 1, C]` or
        `[T, B, N, heads]` in the same type (int8 beside packed spikes), or no elements.

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    check_neuron(tau, threshold, v_reset, decay)
    check_form(form)
    surrogate_id(surrogate)
    _check(mask, a, b, over, heads, channels, form, columns)
    count = mask.shape[-1] if channels is None else channels
    return torch.ops.neurokit_kernels.gate_lif(  # type: ignore[no-any-return]
        mask,
        a,
        b,
        count,
        heads,
        over,
        scale,
        tau,
        threshold,
        v_reset,
        decay_input,
        form,
        want_gate,
        surrogate,
        alpha,
        detach_reset,
        decay,
        columns,
    )


def _check(
    mask: Tensor,
    a: Tensor,
    b: Tensor | None,
    over: str,
    heads: int,
    channels: int | None,
    form: str,
    columns: Sequence[int] | None,
) -> None:
    if over not in OVER:
        raise InputError(f"over={over!r} is unknown", expected=" or ".join(OVER))
    given = [x for x in (mask, a, b) if x is not None]
    if mask.dim() != 4 or mask.shape[0] == 0 or any(x.shape != mask.shape or x.dtype != mask.dtype for x in given):
        shapes = ", ".join(f"{x.dtype} {tuple(x.shape)}" for x in given)
        raise InputError(f"gate_lif got {shapes}", expected="one dtype and one shape [T, B, N, C], T >= 1")
    if mask.dtype not in TYPES:
        raise InputError(f"gate_lif takes no {mask.dtype}", expected="float32, float16, bfloat16, int8 or packed int32")
    packed = mask.dtype == torch.int32
    if packed and channels is None:
        raise InputError("packed spikes do not say how many channels they have", fix="pass channels=")
    if over == "channels" and (packed or form == "packed"):
        raise InputError("sums over channels are of unpacked spikes", fix='pass them as int8, and form="int8"')
    width, count = mask.shape[-1], mask.shape[-1] if channels is None else channels
    if columns is not None:
        inside = len(columns) == 3 and all(0 <= at <= width - count for at in columns[: len(given)])
        if packed or channels is None or not inside:
            raise InputError(
                f"columns={list(columns)} of {width} channels of {mask.dtype}, channels={channels}",
                expected="three places inside one unpacked tensor, and channels=",
            )
    if (columns is None and width != (-(-count // 32) if packed else count)) or heads < 1 or count % heads:
        raise InputError(f"{count} channels in {heads} heads do not fit a last axis of {width}")
