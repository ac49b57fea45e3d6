"""The operator `spike_conv_lif` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.common.layout import steps_of
from neurokit.kernels.common.neuron import check_neuron
from neurokit.kernels.common.product import (
    LESS,
    LEVELS,
    WEIGHTS,
    activation,
    added,
    check_beside,
    check_grid,
    check_product_form,
    check_rows,
    current_type,
    empty_result,
    tail,
    tiles,
)
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.lif.op import lif
from neurokit.kernels.spike_conv_lif import boxes, reference, rows
from neurokit.kernels.spike_conv_lif.borders import check_corrections

NAME = "spike_conv_lif"
_BY_BOXES = {"boxes": boxes.obstacle, "rows": rows.obstacle}
DEFAULT = {"path": "auto", "rows": 128, "cols": 128, "block_k": 64, "chunk": 1, "num_warps": 8, "num_stages": 3}


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Returns the height or width of a convolution's output."""
    return (size + 2 * padding - kernel) // stride + 1


def _outputs(
    spikes: Tensor, weight: Tensor, stride: int, padding: int, form: str, want_current: bool, whole: bool
) -> tuple[Tensor, Tensor]:
    steps, batch, height, width, _ = spikes.shape
    kernel = weight.shape[1]
    shape = (
        steps,
        batch,
        output_size(height, kernel, stride, padding),
        output_size(width, kernel, stride, padding),
        weight.shape[0],
    )
    dtype = activation(weight)
    return (
        empty_result(shape, form, dtype, spikes.device),
        weight.new_empty(shape if want_current else 0, dtype=torch.float32 if whole else current_type(weight)),
    )


def _fake(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_current: bool,
    path: str,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    whole: bool = False,
    least: float | None = None,
    corrections: Tensor | None = None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    return _outputs(spikes, weight, stride, padding, form, want_current, whole)


def _forward(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_current: bool,
    path: str,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    whole: bool = False,
    least: float | None = None,
    corrections: Tensor | None = None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    outputs = _outputs(spikes, weight, stride, padding, form, want_current, whole)
    rounding = (grid, low, high, rounds)
    if outputs[0].numel() == 0:
        return outputs
    if not use_triton(NAME, spikes):
        fired, y = reference.forward(
            spikes,
            weight,
            scale,
            bias,
            residual,
            stride,
            padding,
            tau,
            threshold,
            v_reset,
            decay_input,
            form,
            activation(weight),
            *rounding,
            decay,
            least,
            corrections,
            beside,
        )
        outputs[0].copy_(fired)
        if want_current:
            outputs[1].copy_(y)
        return outputs
    if path in ("auto", "kernel") and not boxes.obstacle(spikes, weight, stride, padding, form):
        key = boxes.key_of(spikes, weight, stride, outputs[0])
        # In 16 bits the vendor may be faster, where it may be taken. Without, windows go by boxes, which took 0.49 to
        # 0.95 of the time by pointers at 19 of the 21 shapes where both were measured; of 48 channels they took more
        # (an H200, benchmarks/results/float16-rows-h200.md).
        alone = path == "kernel" and weight.shape[1] > 1 and weight.shape[3] >= 64
        ours = weight.dtype == torch.int8 or boxes.folds(weight, stride, padding)
        path = boxes.preferred(key, spikes.device, "boxes" if ours or alone else path)
    if path in _BY_BOXES:
        residual = steps_of(residual)
        neuron = (tau, threshold, v_reset, decay_input)
        given = (spikes, weight, scale, bias, residual, stride, padding, *neuron, outputs)
        (rows if path == "rows" else boxes).run(*given, *rounding, decay, form, least, corrections, beside)
        return outputs
    chosen = parameters_of(spikes, weight, stride, outputs[0])
    if _choose_path("kernel" if path == "auto" and (whole or form in LEVELS) else path, chosen, weight) == "conv":
        return _conv_then_lif(
            spikes,
            weight,
            scale,
            bias,
            residual,
            stride,
            padding,
            tau,
            threshold,
            v_reset,
            decay_input,
            form,
            want_current,
            decay,
            beside,
        )
    _launch(
        spikes.contiguous(),
        weight.contiguous(),
        scale,
        bias,
        residual,
        stride,
        padding,
        tau,
        threshold,
        v_reset,
        decay_input,
        form,
        chosen,
        outputs,
        (*rounding, decay, least),
        corrections,
        beside,
    )
    return outputs


def key_of(spikes: Tensor, weight: Tensor, stride: int) -> tuple[object, ...]:
    """Returns what the best launch parameters depend on."""
    cols, kernel, _, channels = weight.shape
    return (
        spikes.shape[0],
        spikes.shape[2],
        channels,
        cols,
        kernel,
        stride,
        spikes.dtype.itemsize,
        weight.dtype.itemsize,
    )


def parameters_of(spikes: Tensor, weight: Tensor, stride: int, out: Tensor) -> config.Config:
    """Returns the launch parameters: those measured with as many neurons, else those of the shape."""
    key = key_of(spikes, weight, stride)
    plain = config.lookup(NAME, key, spikes.device, DEFAULT)
    return config.lookup(NAME, (*key, boxes.crowd(boxes.hint(out[0].numel()))), spikes.device, plain)


def _choose_path(path: str, chosen: config.Config, weight: Tensor) -> str:
    """Returns "fused" or "conv" (the vendor's convolution, then `lif`): by shape, where a measurement says so."""
    if path == "kernel":
        return "fused"
    if path == "auto":
        path = "fused" if INTERPRET or weight.dtype == torch.int8 else chosen["path"]
    if path == "auto":
        log_once(NAME, "vendor's convolution, then lif: no measurement says that the fused kernel wins at this shape")
        return "conv"
    return path


def _conv_then_lif(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_current: bool,
    decay: float | None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same with the vendor's convolution: its output is rounded to 16 bits before the neuron."""
    x = spikes.to(weight.dtype).flatten(0, 1).permute(0, 3, 1, 2)
    y = functional.conv2d(x, weight.permute(0, 3, 1, 2), stride=stride, padding=padding)
    y = y.permute(0, 2, 3, 1).unflatten(0, spikes.shape[:2])
    fired, _, current = lif(
        y,
        scale=scale,
        bias=bias,
        residual=residual,
        decay=None if decay is None else torch.full((), decay, device=y.device),
        tau=tau,
        threshold=threshold,
        v_reset=v_reset,
        decay_input=decay_input,
        spikes=form,
        want_v=False,
        want_current=want_current,
    )
    return added(fired, beside), current


def _launch(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    chosen: config.Config,
    outputs: tuple[Tensor, Tensor],
    rounding: tuple[float | None, float | None, float | None, bool, float | None, float | None],
    corrections: Tensor | None,
    beside: Tensor | None = None,
) -> None:
    from neurokit.kernels.spike_conv_lif.triton import spike_conv_lif_kernel

    out, y = outputs
    steps, batch, height, width, channels = spikes.shape
    cols, kernel = weight.shape[:2]
    out_height, out_width = out.shape[2:4]
    pixels = batch * out_height * out_width
    smallest = 32 if weight.dtype == torch.int8 else 16
    block_k = min(chosen["block_k"], max(smallest, 1 << (channels - 1).bit_length()))
    launch(spike_conv_lif_kernel)[(tiles(pixels, cols, chosen),)](
        x=spikes,
        weight=weight,
        pixels=pixels,
        height=height,
        width=width,
        out_height=out_height,
        out_width=out_width,
        step_stride=batch * height * width * channels,
        CHANNELS=channels,
        KERNEL=kernel,
        STRIDE=stride,
        PAD=padding,
        BLOCK_K=block_k,
        corrections=out if corrections is None else corrections,
        OUTSIDE=0 if corrections is None else -LESS,
        **tail(
            weight,
            scale,
            bias,
            steps_of(residual),
            out,
            y,
            steps,
            pixels,
            tau,
            threshold,
            v_reset,
            decay_input,
            form,
            chosen,
            *rounding,
            beside=beside,
        ),
    )


spike_conv_lif_op = register_op(NAME, _fake)(_forward)


def spike_conv_lif(
    spikes: Tensor,
    weight: Tensor,
    *,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    tau: float | None = 2.0,
    threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    form: str = "packed",
    want_current: bool = False,
    path: str = "auto",
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    whole: bool = False,
    least: float | None = None,
    corrections: Tensor | None = None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Convolves channels-last spikes and runs the neuron on the accumulators, without storing the convolution.

    Inference only; square kernels, one group, no dilation.

    Args:
        spikes: `[T, B, H, W, C]` int8 (0 or 1; beside an int8 weight any counts), or in the weight's dtype.
        weight: `[N, k, k, C]` bfloat16, float16 or int8 (then the spikes are int8).
        scale: A factor an output channel, `[N]` float32.
        bias: A summand an output channel, `[N]` float32.
        residual: Added to the current, `[T, B, H', W', N]`.
        stride: Step of the kernel.
        padding: Zeros around the input.
        tau: Time constant in steps, > 1; None for an IF neuron.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        form: Form of the output spikes: "packed", "int8" or "same" (the weight's dtype; float16 for int8). "levels8"
            and "levels16" put out the rounded current itself, without a neuron: int8 or float16, times `grid`; "bytes"
            are such numbers from 0 to 255, less 128, as int8.
        want_current: Whether the current is returned.
        path: "fused" (spikes by pointers), "boxes" (spikes of the weight's type, by tensor descriptors), "rows" (as
            "boxes", by descriptors of rows that taps above each other share; by boxes where a tile has no room for what
            goes beside), "conv" (the vendor's convolution, then `lif`; float weights only), "kernel" (one
            of the first three), or "auto": by shape. The int8 paths give the same bits.
        grid: With an int8 weight, or whole numbers: the power of two to whose multiples the current is rounded, halves
            to even, before it reaches the neuron; None for a current as it is.
        low: Least current in front of the rounding, or None.
        high: Largest, or None.
        rounds: Whether the current that is returned is the rounded one.
        decay: A learnt leak: what the membrane's distance from rest is multiplied by, in place of a division by `tau`,
            which is None then.
        whole: Whether a weight in 16 bits and what it is multiplied with are whole numbers whose sums have at most 24
            bits: nothing is rounded then, and the current is returned as float32.
        least: With levels: what the current that is returned is limited to from below (0 of a ReLU), or None.
        corrections: Where the spikes are numbers from 0 to 255, less 128: `borders.corrections` of the weight, by which
            the sums are the numbers'. Padding is number 0.
        beside: What is added to the spikes as they are put out, `[T, B, H', W', N]` of the type that "int8" or "same"
            has: the spikes or counts of a shortcut. The sums must fit that type.

    Returns:
        Spikes `[T, B, H', W', N]` (packed: `[..., ceil(N / 32)]`), and the current in the weight's dtype (float32 for
        int8; no elements if not wanted).

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    check_neuron(tau, threshold, v_reset, decay)
    check_product_form(form, grid, low, high, least)
    if weight.dim() != 4 or weight.dtype not in WEIGHTS:
        raise InputError(
            f"weight is {weight.dtype} {tuple(weight.shape)}",
            expected="bfloat16, float16 or int8 of shape [N, k, k, C]",
        )
    if weight.shape[1] != weight.shape[2] or stride < 1 or padding < 0:
        raise InputError(
            f"kernel {tuple(weight.shape[1:3])}, stride {stride}, padding {padding}",
            expected="a square kernel, stride >= 1, padding >= 0",
        )
    if spikes.dim() != 5 or spikes.shape[0] == 0 or spikes.shape[-1] != weight.shape[-1]:
        raise InputError(f"spikes have shape {tuple(spikes.shape)}", expected=f"[T, B, H, W, {weight.shape[-1]}]")
    if spikes.dtype not in (torch.int8, weight.dtype):
        raise InputError(f"spikes are {spikes.dtype}", expected=f"int8 or {weight.dtype}")
    if path not in ("auto", "kernel", "fused", "boxes", "rows", "conv") or (
        path == "conv" and weight.dtype == torch.int8
    ):
        raise InputError(
            f"path={path!r} is unknown here", expected="auto, kernel, fused, boxes, rows or (float weights) conv"
        )
    if path == "conv" and form in LEVELS:
        raise InputError(f"path='conv' has no form={form!r}", fix="path='auto'")
    asked = path in _BY_BOXES and use_triton(NAME, spikes)
    if asked and (why := _BY_BOXES[path](spikes, weight, stride, padding, form)):
        raise InputError(f"path={path!r} cannot take this: {why}", fix="path='auto'")
    if whole and path == "conv":
        raise InputError("path='conv' rounds sums to 16 bits; whole=True keeps their 24 bits", fix="path='auto'")
    check_grid(weight, grid, low, high, rounds, whole)
    cols = weight.shape[0]
    check_rows(cols, scale, bias)
    kernel = weight.shape[1]
    if corrections is not None:
        check_corrections(corrections, spikes, weight, stride, padding)
    shape = (
        *spikes.shape[:2],
        output_size(spikes.shape[2], kernel, stride, padding),
        output_size(spikes.shape[3], kernel, stride, padding),
        cols,
    )
    if residual is not None and residual.shape != shape:
        raise InputError(f"residual has shape {tuple(residual.shape)}", expected=f"{shape}")
    check_beside(beside, shape, form, weight)
    return torch.ops.neurokit_kernels.spike_conv_lif(
        spikes,
        weight,
        scale,
        bias,
        residual,
        stride,
        padding,
        tau,
        threshold,
        v_reset,
        decay_input,
        form,
        want_current,
        path,
        grid,
        low,
        high,
        rounds,
        decay,
        whole,
        least,
        corrections,
        beside,
    )
