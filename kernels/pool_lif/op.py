"""The operator `pool_lif` and its public function."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.common.neuron import check_neuron, divisor, empty_spikes, leak_arguments, reset_kind
from neurokit.kernels.common.product import rounding
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.pool_lif import reference

NAME = "pool_lif"
DEFAULT = {"block": 512, "num_warps": 4}
HOW = ("max", "mean")
LARGEST = 64  # pixels of a window: a neuron reads them one after another
_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_FORMS = ("same", "int8")


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Returns how many windows there are along an axis."""
    return (size + 2 * padding - kernel) // stride + 1


def _outputs(x: Tensor, windows: Sequence[int], form: str, want_current: bool) -> tuple[Tensor, Tensor]:
    steps, batch, height, width, channels = x.shape
    tall, wide, down, across, top, left = windows
    across_ = output_size(width, wide, across, left)
    shape = (steps, batch, output_size(height, tall, down, top), across_, channels)
    spikes = empty_spikes(shape, form, x.dtype, x.device)
    return spikes, x.new_empty(shape if want_current else (0,))


def _fake(
    x: Tensor,
    windows: Sequence[int],
    how: str,
    grid: float | None,
    low: float | None,
    high: float | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_current: bool,
    decay: float | None = None,
) -> tuple[Tensor, Tensor]:
    return _outputs(x, windows, form, want_current)


def _forward(
    x: Tensor,
    windows: Sequence[int],
    how: str,
    grid: float | None,
    low: float | None,
    high: float | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_current: bool,
    decay: float | None = None,
) -> tuple[Tensor, Tensor]:
    spikes, current = _outputs(x, windows, form, want_current)
    if x.numel() == 0:
        return spikes, current
    tall, wide, down, across, top, left = windows
    if not use_triton(NAME, x):
        place, neuron = ((tall, wide), (down, across), (top, left)), (tau, threshold, v_reset, decay_input)
        found = reference.forward(x, *place, how, grid, low, high, *neuron, form, decay)
        if want_current:
            current.copy_(found[1])
        return spikes.copy_(found[0]), current
    from neurokit.kernels.pool_lif.triton import pool_lif_kernel

    x = x.contiguous()
    leak, factor = leak_arguments(tau, decay is not None, decay or 0.0, x.shape[0])
    chosen = config.lookup(NAME, (x.shape[0], tall, wide, x.itemsize), x.device, DEFAULT)
    limit, numbers = spikes[0].numel(), rounding(grid, low, high, False)
    launch(pool_lif_kernel)[(-(-limit // chosen["block"]),)](
        x,
        spikes,
        current if want_current else spikes,
        limit,
        x[0].numel(),
        factor,
        threshold,
        0.0 if v_reset is None else v_reset,
        *(numbers[name] for name in ("spacing", "inverse", "low", "high")),
        T=x.shape[0],
        CHUNK=divisor(x.shape[0], 4),
        H=x.shape[2],
        W=x.shape[3],
        OUT_H=spikes.shape[2],
        OUT_W=spikes.shape[3],
        CHANNELS=x.shape[4],
        TALL=tall,
        WIDE=wide,
        DOWN=down,
        ACROSS=across,
        TOP=top,
        LEFT=left,
        MEAN=how == "mean",
        ROUND=grid is not None,
        WANT_CURRENT=want_current,
        LEAK=leak,
        DECAY_INPUT=decay_input,
        HARD=reset_kind(v_reset),
        BLOCK=chosen["block"],
        num_warps=chosen["num_warps"],
    )
    return spikes, current


pool_lif_op = register_op(NAME, _fake)(_forward)


def pool_lif(
    x: Tensor,
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int] | None = None,
    padding: tuple[int, int] = (0, 0),
    how: str = "max",
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    tau: float | None = 2.0,
    threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    form: str = "same",
    want_current: bool = False,
    decay: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Pools currents and lets an IF or LIF neuron fire on them, over T in one pass. Inference only.

    Args:
        x: Currents `[T, B, H, W, C]`, float32, float16 or bfloat16.
        kernel: Height and width of a window, of 64 pixels at most.
        stride: Of the windows, down and across; the kernel's if None.
        padding: Rows and columns around the image, at most half a window: never the largest, zeros in a mean.
        how: "max" or "mean"; a mean is rounded to the type of x.
        grid: A power of two to whose multiples the pooled current is rounded, halves to even; None for none.
        low: Least value in front of that rounding, or None.
        high: Largest, or None.
        tau: Time constant in steps, > 1; None for an IF neuron.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        form: Form of the spikes: "same" dtype as x, or "int8".
        want_current: Whether the pooled (and rounded) current is returned, in the dtype of x.
        decay: A learnt leak: what the membrane's distance from rest is multiplied by, in place of a division by `tau`,
            which is None then.

    Returns:
        Spikes `[T, B, H', W', C]` and the current of that shape, or no elements.

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    check_neuron(tau, threshold, v_reset, decay)
    if form not in _FORMS or how not in HOW:
        raise InputError(
            f"form={form!r} and how={how!r}", expected=f"form {' or '.join(_FORMS)}, how {' or '.join(HOW)}"
        )
    if x.dim() != 5 or x.shape[0] == 0 or x.dtype not in _TYPES:
        raise InputError(
            f"pool_lif got {x.dtype} {tuple(x.shape)}", expected="float32, float16 or bfloat16 [T, B, H, W, C], T >= 1"
        )
    if grid is not None and (grid <= 0 or math.frexp(grid)[0] != 0.5):
        raise InputError(f"grid={grid!r} is no power of two")
    steps = kernel if stride is None else stride
    known = kernel[0] * kernel[1] <= LARGEST and min(*kernel, *steps) > 0
    for size, window, around in zip(x.shape[2:4], kernel, padding, strict=True):
        known = known and 0 <= 2 * around <= window <= size + 2 * around
    if not known:
        raise InputError(
            f"windows of {kernel}, stride {steps}, padding {padding} of a {x.shape[2]} x {x.shape[3]} image",
            expected=f"windows of {LARGEST} pixels at most inside the image, padded by half of one at most",
        )
    windows = [*kernel, *steps, *padding]
    neuron = (tau, threshold, v_reset, decay_input)
    return torch.ops.neurokit_kernels.pool_lif(  # type: ignore[no-any-return]
        x, windows, how, grid, low, high, *neuron, form, want_current, decay
    )
