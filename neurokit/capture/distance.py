"""How far the answers of a module and of what was captured of it are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neurokit.reports.fidelity import Comparison, Side

if TYPE_CHECKING:
    from neurokit.capture.asking import Case
    from neurokit.capture.eager import Run


def compared(side: Side, case: Case, found: Run, precision: str) -> Comparison:
    """Compares one side's spikes and outputs with the module's."""
    decisions = differ = 0
    for path, spikes in found.spikes.items():
        want = case.want.spikes.get(path)
        if want is not None and want.numel() == spikes.numel():
            decisions += want.numel()
            differ += int((want.reshape(spikes.shape) != spikes).sum())
    error = 0.0 if len(found.outputs) == len(case.want.outputs) else float("inf")
    for mine, theirs in zip(found.outputs, case.want.outputs, strict=False):
        error = max(error, distance(mine, theirs))
    return Comparison(side, case.steps, case.batch, precision, decisions, differ, error)


def distance(mine: Tensor, theirs: Tensor) -> float:
    """Returns the relative L2 error; axes of one may be missing on one side."""
    if mine.numel() != theirs.numel() or mine.squeeze().shape != theirs.squeeze().shape:
        return float("inf")
    a, b = mine.double().flatten(), theirs.double().flatten()
    if not torch.equal(a.isfinite(), b.isfinite()):
        return float("inf")
    a, b = a.nan_to_num(), b.nan_to_num()
    norm = float(b.norm())
    return float((a - b).norm()) / (norm or 1.0)


def equal(some: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> bool:
    """Returns whether all outputs are equal, NaN beside NaN."""
    return len(some) == len(others) and all(distance(a, b) == 0.0 for a, b in zip(some, others, strict=True))
