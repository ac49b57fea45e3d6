"""Judging decisions whose sums were ordered freely: every spike against float64, within its own rounding bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels.common.neuron import charge, unpack_words

# Unit roundoff of float32 (Higham, Accuracy and Stability of Numerical Algorithms, section 2.1).
UNIT = 2.0**-24
# Roundings of one current outside of its sum: scale, bias, residual.
_EPILOGUE = 3
# Roundings of one step of the neuron: difference, leak, sum, and the subtraction of a soft reset.
_NEURON = 4


@dataclass(frozen=True)
class Current:
    """A neuron's input in float64 and how far float32 may be from it.

    Attributes:
        value: `[T, ...]`, float64.
        bound: Largest error of each, float64.
    """

    value: Tensor
    bound: Tensor


def current(value: Tensor, magnitude: Tensor, terms: int) -> Current:
    """Returns a current with the bound of a float32 sum in any order.

    |error| <= gamma(n) sum |x_i w_i|, gamma(n) = n u / (1 - n u) (Higham, section 3.1), for n roundings. Tensor cores
    cut a sum off where an adder rounds it, so that a rounding within the sum counts twice.

    Args:
        value: The current in float64.
        magnitude: The same of absolute values: sum |x_i| |w_i| |scale| + |bias| + |residual|.
        terms: Roundings within the sum; 0 where it is exact (whole numbers below 2^24).
    """
    count = (2 * terms + _EPILOGUE) * UNIT
    return Current(value, magnitude * (count / (1.0 - count)))


def judge_neuron(
    spikes: Tensor,
    given: Current,
    v0: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    last: Tensor | None = None,
    decay: float | None = None,
) -> str:
    """Returns what is wrong with a neuron's spikes and last membrane, or "".

    The neuron is replayed in float64 with the kernel's own spikes, so that one decision within rounding of the
    threshold does not hide the next; every other decision must be the replay's.

    Args:
        spikes: The kernel's decisions, bool, `[T, ...]`.
        given: Its currents.
        v0: Membrane before the first step, or None for the reset potential.
        tau: Time constant, or None for an IF neuron.
        threshold: Firing threshold.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        last: The kernel's last membrane, if it returned one.
        decay: What the leak multiplies by in place of a division by `tau`, or None.
    """
    rest = 0.0 if v_reset is None else v_reset
    v = torch.full_like(given.value[0], rest) if v0 is None else v0.to(torch.float64)
    error = torch.zeros_like(v)
    rate = decay if decay is not None else None if tau is None else 1.0 / tau
    factor = None if decay is None else torch.tensor(decay, dtype=torch.float64)
    keep = 1.0 if rate is None else 1.0 - rate
    gain = rate if rate is not None and decay_input else 1.0
    wrong = near = 0
    for fired, x, bound in zip(spikes, given.value, given.bound, strict=True):
        h = charge(x, v, tau, factor, v_reset, decay_input)
        size = torch.maximum(h.abs(), torch.maximum(v.abs(), x.abs())) + abs(threshold) + abs(rest)
        error = error * keep + bound * gain + _NEURON * UNIT * size
        differs = (h >= threshold) != fired
        near += int(differs.sum())
        wrong += int((differs & ((h - threshold).abs() > error)).sum())
        after = h - threshold if v_reset is None else torch.full_like(h, v_reset)
        v = torch.where(fired, after, h)
        if v_reset is not None:
            error = torch.where(fired, torch.zeros_like(error), error)
    if wrong:
        return f"{wrong} of {spikes.numel()} decisions are wrong ({near - wrong} more are near misses)"
    if last is not None and last.numel():
        off = int(((last.to(torch.float64) - v).abs() > error).sum())
        if off:
            return f"{off} of {last.numel()} membranes are off by more than their rounding bound"
    return ""


def judge_call(spikes: Tensor, given: Current, call: Mapping[str, Any], last: Tensor | None = None) -> str:
    """Judges a kernel's neuron by the keyword arguments of the call (the defaults are those of every kernel).

    Args:
        spikes: The kernel's decisions, bool, `[T, ...]`.
        given: Its currents.
        call: Keyword arguments that the kernel was called with.
        last: The kernel's last membrane, if it returned one.
    """
    neuron = (call.get("tau", 2.0), call.get("threshold", 1.0), call.get("v_reset", 0.0))
    leak = (call.get("decay_input", True), last, call.get("decay"))
    return judge_neuron(spikes, given, call.get("v0"), *neuron, *leak)


def judge_current(actual: Tensor, given: Current) -> str:
    """Returns what is wrong with the current that a kernel returned in 16 or 32 bits, or ""."""
    if not actual.numel():
        return ""
    # One rounding to the returned type; a whole unit, since the interpreter truncates to bfloat16.
    unit = torch.finfo(actual.dtype).eps
    far = (actual.to(torch.float64) - given.value).abs() > given.bound + unit * (given.value.abs() + given.bound)
    count = int(far.sum())
    return f"{count} of {actual.numel()} currents are off by more than their rounding bound" if count else ""


def decode(spikes: Tensor, form: str, channels: int, beside: Tensor | None = None) -> Tensor:
    """Returns spikes of any output form, or what is left of such sums without what was beside them, as bool."""
    spikes = spikes if beside is None else spikes - beside
    return unpack_words(spikes, channels, torch.int8).bool() if form == "packed" else spikes != 0


def different(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> str:
    """Returns where two results differ in any bit, or ""."""
    for index, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        if not torch.equal(ours, theirs):
            return f"output {index}: {int((ours != theirs).sum())} of {ours.numel()} values differ"
    return ""
