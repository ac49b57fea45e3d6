"""How far an exact form is from the float network it was made from: equal to itself is not enough to ship."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurokit.capture.reference import record
from neurokit.errors import Unsupported
from neurokit.exact.dyadic import log2
from neurokit.over_time import first_is_a_sequence
from neurokit.program.readable import readable
from neurokit.tasks.choice import top1_agreement

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.exact.folded import Folded
    from neurokit.exact.observe import Calibration
    from neurokit.exact.rewrite import Plan, Rounding


def erased(folded: Folded, plan: Plan, seen: Calibration, calls: Sequence[str]) -> list[Unsupported]:
    """Returns a reason for every layer that the exact form leaves nothing of.

    Args:
        folded: The network with its weights in float.
        plan: The numbers of the exact form.
        seen: What calibration saw.
        calls: Module path of every neuron.
    """
    fix = "more bits, calibration data of the task, fewer time steps, or --numerics float"
    found = [
        Unsupported(folded.names[index], "weights", "all of them would be rounded to 0", fix)
        for index, numbers in plan.linears.items()
        if bool(folded.weight(index).any()) and not bool(numbers.integers.any())
    ]
    results = {index: one.result for index, one in seen.linears.items()}
    scales = {index: f"factor {index}" for index in plan.scales}
    groups: list[tuple[dict[int, Rounding], dict[int, str], dict[int, float]]] = [
        (plan.results, dict(enumerate(folded.names)), results),
        (plan.currents, dict(enumerate(calls)), dict(enumerate(seen.currents))),
        (plan.scales, scales, seen.scales),
    ]
    for roundings, names, largest in groups:
        for index, rounding in roundings.items():
            if largest.get(index, 0.0) > 0 and rounding.exponent > log2(largest[index]):
                why = (
                    f"it would be rounded to multiples of 2**{rounding.exponent}: at most {largest[index]:.3g} was seen"
                )
                found.append(Unsupported(names[index], "rounding", why, fix))
    return found


def against_float(source: Captured, made: Captured, x: tuple[Tensor, ...], data: str) -> dict[str, Any]:
    """Returns how far an exact form is from its source on given inputs.

    Args:
        source: The network in float numerics, as a sequence.
        made: Its exact form, as a sequence of as many steps.
        x: Every input, `[T, B, *shape]` or `[B, *shape]`.
        data: What they are.

    Returns:
        Relative L2 error of the outputs, share of samples with the same strongest output, and of spike decisions that
        differ.
    """
    before, after = (_run(captured, x) for captured in (source, made))
    samples = _samples(source, x)
    error = 0.0
    for a, b in zip(before[0], after[0], strict=True):
        norm = float(a.double().norm())
        error = max(error, float((a.double() - b.double()).norm()) / (norm or 1.0))
    decisions = sum(spikes.numel() for spikes in before[1].values())
    differ = sum(int((spikes != after[1][path]).sum()) for path, spikes in before[1].items())
    return {
        "data": data,
        "samples": samples,
        "output_relative_l2": error,
        "top1_agreement": _agreement(source, before[0][0], after[0][0], samples),
        "spikes_compared": decisions,
        "spikes_differ": differ,
    }


def _samples(captured: Captured, x: tuple[Tensor, ...]) -> int:
    return int(x[0].shape[x[0].dim() - len(captured.spec.inputs[0].shape) - 1])


def _run(captured: Captured, x: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Returns outputs, and the spikes of every layer over time, whether it is one node or one a step."""
    states = captured.initial_states(_samples(captured, x))
    with torch.no_grad():
        outputs, records = record(readable(captured.program), (*x, *states))
    calls: dict[str, list[Tensor]] = {}
    for path, entry in zip(captured.calls, records, strict=True):
        calls.setdefault(path, []).append(entry.spikes)
    return outputs[: len(captured.output_names)], {path: torch.cat(spikes) for path, spikes in calls.items()}


def _agreement(captured: Captured, a: Tensor, b: Tensor, samples: int) -> float | None:
    """Returns the share of samples with the same strongest output (mean of the steps), where there are classes."""
    if captured.spiking and first_is_a_sequence(captured.time_output):
        a, b = a.double().mean(0), b.double().mean(0)  # a chosen class is a whole number
    if a.dim() != 2 or a.shape[0] != samples or a.shape[1] < 2:
        return None
    return top1_agreement(a.numpy(), b.numpy())
