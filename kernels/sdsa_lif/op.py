"""The operator `sdsa_lif` and its public function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.common.layout import tokens_apart
from neurokit.kernels.common.neuron import (
    FORMS,
    check_form,
    check_neuron,
    empty_spikes,
    leak_arguments,
    reset_kind,
    surrogate_id,
)
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.gate_lif.op import gate_lif
from neurokit.kernels.pack.op import pack
from neurokit.kernels.sdsa_lif import reference

NAME = "sdsa_lif"
DEFAULT = {"rows": 128, "cols": 32, "inner": 64, "num_warps": 4, "num_stages": 2, "whole": False}
# Where samples and heads are few, a sample's tokens are spread over more programs.
DEFAULT_FEW = {"rows": 64, "cols": 32, "inner": 64, "num_warps": 4, "num_stages": 2, "whole": False}
MODES = ("qkv", "hadamard")
_EXACT_BELOW = 2**24
# The counts that 8 and 11 bits hold.
_BFLOAT16_COUNTS, _FLOAT16_COUNTS = 2**8, 2**11


def _like(q: Tensor) -> torch.dtype:
    return q.dtype if q.is_floating_point() else torch.float16


def _output(q: Tensor, channels: int, form: str) -> Tensor:
    return empty_spikes((*q.shape[:-1], channels), form, _like(q), q.device)


def _fake(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    channels: int,
    heads: int,
    scale: float,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    decay: float | None = None,
    columns: Sequence[int] | None = None,
) -> Tensor:
    return _output(q, channels, form)


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    channels: int,
    heads: int,
    scale: float,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    surrogate: str,
    alpha: float,
    detach_reset: bool,
    decay: float | None = None,
    columns: Sequence[int] | None = None,
) -> Tensor:
    out = _output(q, channels, form)
    if out.numel() == 0:
        return out
    dim = channels // heads
    fused = use_triton(NAME, q)
    if fused and q.shape[2] * dim >= _EXACT_BELOW:
        log_once(NAME, "reference path: counts of 2^24 and more are not exact in float32")
        fused = False
    if not fused:
        if columns is not None:
            q, k, v = (x.narrow(3, first, channels) for x, first in zip((q, k, v), columns, strict=True))
        return out.copy_(
            reference.forward(
                q, k, v, channels, heads, scale, tau, threshold, v_reset, decay_input, form, _like(q), decay
            )
        )
    straddles = form == "packed" and dim % 32 != 0
    target = _output(q, channels, "int8") if straddles else out
    # One tensor that holds all three is read where it is; its columns are numbers in the kernel.
    one = None if columns is None else q.contiguous()
    _launch(
        *(tokens_apart(q, k, v) if one is None else (one, one, one)),
        (0, 0, 0) if columns is None else columns,
        channels,
        heads,
        scale,
        tau,
        threshold,
        v_reset,
        decay_input,
        "int8" if straddles else form,
        target,
        decay,
    )
    # A head whose width is no multiple of 32 shares words with its neighbours: packed afterwards.
    return pack(target) if straddles else out


def _few(batch: int, heads: int) -> bool:
    return batch * heads < 64


def _kind(q: Tensor) -> str:
    return "packed" if q.dtype == torch.int32 else str(q.dtype.itemsize)


def key_of(q: Tensor, channels: int, heads: int) -> tuple[object, ...]:
    """Returns what the launch parameters of "qkv" are chosen by: T, tokens, width of a head, spikes, few programs."""
    steps, batch, tokens, _ = q.shape
    key = (steps, tokens, channels // heads, _kind(q))
    return (*key, "few") if _few(batch, heads) else key


def _launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    columns: Sequence[int],
    channels: int,
    heads: int,
    scale: float,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    out: Tensor,
    decay: float | None,
) -> None:
    from neurokit.kernels.sdsa_lif.triton import sdsa_qkv_kernel

    steps, batch, tokens, _ = q.shape
    width = q.stride(2)
    leak, factor = leak_arguments(tau, decay is not None, decay or 0.0, steps)
    common = (factor, scale, threshold, 0.0 if v_reset is None else v_reset)
    dim = channels // heads
    chosen = config.lookup(NAME, key_of(q, channels, heads), q.device, DEFAULT_FEW if _few(batch, heads) else DEFAULT)
    main, rest, unit = tiles_of(dim, channels, q.dtype)
    least = main if q.dtype == torch.int32 and dim % 32 else (32 if form == "packed" else 16)
    cols = min(main, max(chosen["cols"], least))
    # With a group, one program computes all of the head, in parts: it then reads Q and K once.
    pieces = -(-(main if unit else dim) // cols)
    group, parts = (pieces, 1) if chosen["whole"] else (1, pieces)
    # Spikes that lie in a type which holds every count go to the product as they are.
    brain = q.dtype == torch.bfloat16 and tokens <= _BFLOAT16_COUNTS
    launch(sdsa_qkv_kernel)[(batch * heads * parts, -(-tokens // chosen["rows"]))](
        q,
        k,
        v,
        out,
        *common,
        batch,
        T=steps,
        Q_AT=columns[0],
        K_AT=columns[1],
        V_AT=columns[2],
        TOKENS=tokens,
        HEADS=heads,
        DIM=dim,
        WIDTH=width,
        OUT_WIDTH=out.shape[-1],
        LEAK=leak,
        DECAY_INPUT=decay_input,
        HARD=reset_kind(v_reset),
        PACKED=q.dtype == torch.int32,
        OUT=FORMS.index(form),
        BRAIN=brain,
        UPCAST=INTERPRET and brain,
        SPLIT=tokens > _FLOAT16_COUNTS,
        UNIT=unit,
        MAIN=main,
        REST=rest,
        ROWS=chosen["rows"],
        COLS=cols,
        GROUP=group,
        PARTS=parts,
        INNER=chosen["inner"],
        num_warps=chosen["num_warps"],
        num_stages=chosen["num_stages"],
    )


def tiles_of(dim: int, channels: int, dtype: torch.dtype) -> tuple[int, int, int]:
    """Returns how the columns of a head are read: the widths of one or two tiles, and the unit of aligned reads or 0.

    Heads whose rows do not begin where 16 bytes do are read in whole units that lie aligned, with what of their
    neighbours falls into them: 45 channels of 16 bits at any offset lie in 64 columns of units of 8.

    Args:
        dim: Channels of a head.
        channels: Channels of all heads.
        dtype: Type of the spikes; packed words are read one by one where a head does not begin with one.
    """
    pad = max(32, 1 << (dim - 1).bit_length())
    if dtype != torch.int32 and dim * dtype.itemsize % 16:
        unit = math.gcd(channels * dtype.itemsize, 16) // dtype.itemsize or 1
        while dim + unit - math.gcd(dim, unit) > pad:
            unit //= 2
        return pad, 0, unit
    rest = max(16, 1 << max(0, dim - pad // 2 - 1).bit_length())
    return (pad // 2, rest, 0) if dim > 64 and rest < pad // 2 else (pad, 0, 0)


sdsa_lif_op = register_op(NAME, _fake)(_forward)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.heads, ctx.scale, *ctx.neuron = inputs[4:10]
    ctx.surrogate, ctx.decay = inputs[11:14], inputs[14]


def _autograd(ctx: Any, grad: Tensor) -> Any:
    """Recomputes the neuron's input, then goes back through the neuron and the two products."""
    q, k, v = (x.float() for x in ctx.saved_tensors)
    x = reference.attention(q, k, v, ctx.heads, ctx.scale)
    decay = None if ctx.decay is None else x.new_full((), ctx.decay)
    gx, _, _ = torch.ops.neurokit_kernels.lif_backward(
        grad.float().contiguous(),
        None,
        None,
        x.contiguous(),
        None,
        None,
        None,
        None,
        decay,
        *ctx.neuron,
        *ctx.surrogate,
    )
    gx, q, k, v = (reference.split_heads(y, ctx.heads) for y in (gx * ctx.scale, q, k, v))
    pairs = k.transpose(-1, -2) @ v
    grad_pairs = q.transpose(-1, -2) @ gx
    grads = (gx @ pairs.transpose(-1, -2), v @ grad_pairs.transpose(-1, -2), k @ grad_pairs)
    merged = (reference.merge_heads(y) for y in grads)
    return (*(g.to(x.dtype) for g, x in zip(merged, ctx.saved_tensors, strict=True)), *[None] * 13)


torch.library.register_autograd("neurokit_kernels::sdsa_lif", _autograd, setup_context=_setup_context)


def sdsa_lif(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    *,
    channels: int | None = None,
    scale: float = 0.125,
    tau: float | None = 2.0,
    threshold: float = 0.5,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    mode: str = "qkv",
    form: str = "same",
    surrogate: str = "sigmoid",
    alpha: float = 4.0,
    detach_reset: bool = False,
    decay: float | None = None,
    columns: Sequence[int] | None = None,
) -> Tensor:
    """Spike-driven self-attention and its neuron: `LIF(scale * Q (K^T V))`, or `Q * LIF(scale * sum_n K * V)`.

    Integer-exact: the products count spikes, and every count is below 2^24, so that the order of the additions
    does not matter. With a power of two for `tau` and a dyadic `scale` the whole operation is exact.

    Args:
        q: Query spikes (0 or 1), `[T, B, N, C]` token-major: float32, float16, bfloat16, int8, or packed int32
            `[T, B, N, ceil(C / 32)]`.
        k: Key spikes, as q.
        v: Value spikes, as q.
        heads: Number of heads; "hadamard" does not depend on it.
        channels: C, needed where the spikes are packed.
        scale: Factor on the counts.
        tau: Time constant of the neuron in steps, > 1; None for an IF neuron.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        mode: "qkv" (SDSA-3) or "hadamard" (SDSA-1), which is `gate_lif` over tokens.
        form: Form of the spikes: "same" dtype as q (float16 if q is no float), "int8" or "packed".
        surrogate: "sigmoid", "atan" or "triangle", for the gradient of floating-point inputs.
        alpha: Slope of the surrogate.
        detach_reset: Whether the gradient stops at the reset.
        decay: A learnt leak: what the membrane's distance from rest is multiplied by, in place of a division by `tau`,
            which is None then. It gets no gradient here.
        columns: Of "qkv" where q, k and v are one wider tensor, unpacked: the first channel of each in it; `channels`
            says how many each has. It is read without a copy, inside a compiled program, too. Inference only.

    Returns:
        Spikes `[T, B, N, C]`, or `[T, B, N, ceil(C / 32)]` packed.

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    check_neuron(tau, threshold, v_reset, decay)
    check_form(form)
    surrogate_id(surrogate)
    packed = q.dtype == torch.int32
    if mode not in MODES:
        raise InputError(f"mode={mode!r} is unknown", expected=" or ".join(MODES))
    if packed and channels is None:
        raise InputError("packed spikes do not say how many channels they have", fix="pass channels=")
    count = q.shape[-1] if channels is None else channels
    if columns is not None:
        _check_columns(q, columns, channels, mode)
    if q.dim() != 4 or q.shape[0] == 0 or q.shape != k.shape or q.shape != v.shape or not q.dtype == k.dtype == v.dtype:
        raise InputError(
            f"q, k, v are {q.dtype} {tuple(q.shape)}, {k.dtype} {tuple(k.shape)}, {v.dtype} {tuple(v.shape)}",
            expected="one dtype and one shape [T, B, N, C], T >= 1",
        )
    if q.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int32):
        raise InputError(f"sdsa_lif takes no {q.dtype}", expected="float32, float16, bfloat16, int8 or packed int32")
    width = q.shape[-1] if columns is not None else -(-count // 32) if packed else count
    if q.shape[-1] != width or heads < 1 or count % heads:
        raise InputError(f"{count} channels in {heads} heads do not fit a last axis of {q.shape[-1]}")
    if mode == "hadamard":
        return gate_lif(
            q,
            k,
            v,
            channels=count,
            scale=scale,
            tau=tau,
            threshold=threshold,
            v_reset=v_reset,
            decay_input=decay_input,
            form=form,
            surrogate=surrogate,
            alpha=alpha,
            detach_reset=detach_reset,
            decay=decay,
        )[0]
    neuron = (tau, threshold, v_reset, decay_input)
    return torch.ops.neurokit_kernels.sdsa_lif(
        q, k, v, count, heads, scale, *neuron, form, surrogate, alpha, detach_reset, decay, columns
    )


def _check_columns(q: Tensor, columns: Sequence[int], channels: int | None, mode: str) -> None:
    """Checks where query, key and value begin in one tensor."""
    aligned = 16 // q.itemsize
    inside = channels is not None and len(columns) == 3 and all(0 <= at <= q.shape[-1] - channels for at in columns)
    if not inside or mode != "qkv" or q.dtype == torch.int32 or any(at % aligned for at in (*columns, q.shape[-1])):
        raise InputError(
            f"columns={list(columns)} of {q.shape[-1]} channels of {q.dtype}, mode={mode!r}, channels={channels}",
            expected=f'three multiples of {aligned} inside one unpacked tensor, channels=, and mode="qkv"',
        )
