"""The neuron's parameters as the kernels take them, and the neuron in plain PyTorch, which defines every epilogue."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError

SURROGATES = ("sigmoid", "atan", "triangle")
MAX_STEPS = 32
# From rest a membrane gets small by cancellation alone: from currents of 2^-24 it takes three differences in a row that
# keep one bit of 24 to come below 2^-100. Over many steps without input it decays there.
_FEW_STEPS = 8


def check_neuron(tau: float | None, threshold: float, v_reset: float | None, decay: float | None = None) -> None:
    """Checks a neuron's parameters.

    Raises:
        InputError: If the time constant is 1 or less, a decay is no fraction or stands beside a time constant, or a
            number is not finite.
    """
    if decay is not None and (tau is not None or not 0.0 < decay <= 1.0):
        raise InputError(f"decay={decay!r} and tau={tau!r}", expected="0 < decay <= 1 and tau=None, or decay=None")
    if tau is not None and not (math.isfinite(tau) and tau > 1.0):
        raise InputError(f"tau={tau!r} is no time constant of a LIF neuron", expected="a finite number > 1, or None")
    if not math.isfinite(threshold) or (v_reset is not None and not math.isfinite(v_reset)):
        raise InputError(
            f"threshold={threshold!r} and v_reset={v_reset!r} must be finite numbers (v_reset may be None)"
        )


def charge(
    x: Tensor, v: Tensor, tau: float | None, decay: Tensor | None, v_reset: float | None, decay_input: bool
) -> Tensor:
    """Returns the charged membrane h of one step, in the dtype of `v`.

    With rest r (the reset potential, or 0 for a soft reset): IF (no tau, no decay) h = v + x; LIF
    h = v + (x - (v - r)) / tau, or h = v - (v - r) / tau + x where the input does not decay; PLIF multiplies by
    `decay` = 1/tau instead. (SpikingJelly 2.0, `_ops/*/reference.py`, the same order of operations.)
    """
    if tau is None and decay is None:
        return v + x
    rest = v if v_reset is None or v_reset == 0.0 else v - v_reset
    # A 0-dim divisor on the tensor's own device: PyTorch's CUDA division by a Python number multiplies by the
    # reciprocal, which rounds twice.
    leak = (lambda y: y * decay) if decay is not None else (lambda y: y / torch.tensor(tau, dtype=v.dtype).to(v.device))
    return v + leak(x - rest) if decay_input else v - leak(rest) + x


def fire(h: Tensor, threshold: float, v_reset: float | None) -> tuple[Tensor, Tensor]:
    """Returns the spikes (bool; a membrane equal to the threshold fires) and the membrane after the reset."""
    spike = h >= threshold
    after = h - threshold if v_reset is None else torch.full_like(h, v_reset)
    return spike, torch.where(spike, after, h)


def run(
    current: Tensor,
    v0: Tensor | None,
    tau: float | None,
    decay: Tensor | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
) -> tuple[Tensor, Tensor]:
    """Runs the neuron over `current` `[T, ...]`; returns bool spikes `[T, ...]` and the last membrane."""
    v = torch.full_like(current[0], 0.0 if v_reset is None else v_reset) if v0 is None else v0.to(current.dtype)
    spikes = []
    for x in current:
        spike, v = fire(charge(x, v, tau, decay, v_reset, decay_input), threshold, v_reset)
        spikes.append(spike)
    return torch.stack(spikes), v.clone() if v is v0 else v


def decay_of(decay: float | None) -> Tensor | None:
    """Returns a number that the leak multiplies by as `run` takes it."""
    return None if decay is None else torch.tensor(decay, dtype=torch.float32)


def leak_arguments(
    tau: float | None, has_decay: bool, decay: float = 0.0, steps_from_rest: int = 0
) -> tuple[int, float]:
    """Returns how the Triton kernels apply the leak, and the number for it.

    0 none, 1 an exact product, 2 a division, 3 a product, 4 a division by corrections of a product, which rounds as the
    division does unless what is divided is below 2^-100 (`common/triton.py`): few steps from rest do not come near.

    Args:
        tau: Time constant in steps, or None.
        has_decay: Whether the leak is a product with `decay`.
        decay: What the leak multiplies by.
        steps_from_rest: T where every membrane starts at rest, else 0.
    """
    if has_decay:
        return 3, decay
    if tau is None:
        return 0, 0.0
    mantissa, _ = math.frexp(tau)
    # The reciprocal of a power of two is exact, and so is the product with it.
    if mantissa == 0.5:
        return 1, 1.0 / tau
    return (4 if 0 < steps_from_rest <= _FEW_STEPS else 2), tau


def divisor(steps: int, most: int) -> int:
    """Returns the largest divisor of the number of steps that is not above `most`: steps handled together."""
    return max(size for size in range(1, most + 1) if steps % size == 0)


def reset_kind(v_reset: float | None) -> int:
    """Returns how the Triton kernels reset: 0 softly, 1 to a number, 2 to zero (which costs nothing)."""
    return 0 if v_reset is None else (2 if v_reset == 0.0 else 1)


def on_grid(y: Tensor, grid: float | None, low: float | None, high: float | None) -> Tensor:
    """Returns currents limited, where there are limits, and rounded, halves to even, to multiples of a grid."""
    if grid is None:
        return y
    limited = y if low is None and high is None else y.clamp(low, high)
    return torch.round(limited / grid) * grid


def surrogate_derivative(z: Tensor, surrogate: str, alpha: float) -> Tensor:
    """Returns the derivative that stands for the step's at z = h - threshold.

    sigmoid: a s(az) (1 - s(az)); atan: (a / 2) / (1 + (pi a z / 2)^2); triangle: max(0, a - a^2 |z|).
    (SpikingJelly 2.0 `surrogate.Sigmoid`, `ATan`, `PiecewiseQuadratic`.)
    """
    if surrogate == "sigmoid":
        s = torch.sigmoid(alpha * z)
        return alpha * s * (1.0 - s)
    if surrogate == "atan":
        return (alpha / 2.0) / (1.0 + (math.pi / 2.0 * alpha * z) ** 2)
    return torch.clamp(alpha - alpha * alpha * z.abs(), min=0.0)


def surrogate_id(surrogate: str) -> int:
    """Returns the number by which the kernels know a surrogate.

    Raises:
        InputError: If there is none of that name.
    """
    if surrogate not in SURROGATES:
        raise InputError(f"surrogate {surrogate!r} is unknown", expected=" or ".join(SURROGATES))
    return SURROGATES.index(surrogate)


def encode(spikes: Tensor, form: str, dtype: torch.dtype) -> Tensor:
    """Returns bool spikes as `dtype` ("same"), int8 ("int8") or int32 words of 32 spikes ("packed")."""
    if form == "packed":
        return pack_words(spikes)
    return spikes.to(torch.int8 if form == "int8" else dtype)


def pack_words(bits: Tensor) -> Tensor:
    """Packs the last axis, 32 values an int32 word, lowest bit first; the tail of the last word is zero."""
    size = bits.shape[-1]
    words = -(-size // 32)
    padded = torch.nn.functional.pad((bits != 0).to(torch.int64), (0, words * 32 - size))
    lanes = padded.reshape(*bits.shape[:-1], words, 32) << torch.arange(32, device=bits.device)
    total = lanes.sum(-1)
    return torch.where(total >= 2**31, total - 2**32, total).to(torch.int32)


def unpack_words(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Undoes `pack_words`: returns `size` values of 0 or 1 along the last axis."""
    lanes = (words.unsqueeze(-1) >> torch.arange(32, device=words.device, dtype=torch.int32)) & 1
    return lanes.reshape(*words.shape[:-1], words.shape[-1] * 32)[..., :size].to(dtype)


def check_form(form: str) -> None:
    """Checks the name of an output form.

    Raises:
        InputError: If it is none of "same", "int8" and "packed".
    """
    if form not in FORMS:
        raise InputError(f"spikes={form!r} is unknown", expected=" or ".join(FORMS))


FORMS = ("same", "int8", "packed")


def empty_spikes(shape: tuple[Any, ...], form: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Allocates spikes of a logical shape in one of the output forms."""
    if form == "packed":
        return torch.empty((*shape[:-1], (shape[-1] + 31) // 32), dtype=torch.int32, device=device)
    return torch.empty(shape, dtype=torch.int8 if form == "int8" else dtype, device=device)
