"""Blind runs: free runs of many samples, for forms that hide layers; what follows these is all that is compared.

A form that cannot be given spikes is not run under the reference's, so that a weight or threshold of a hidden layer
shows only where it changes a spike. One sample changes few; many change some. Where no decision of a sample is near its
threshold, rounding changes none of its spikes, and its outputs are the reference's within their bounds.

Of neurons that are no common ones nobody knows which decisions are near. There the reference in float64 shows which
samples rounding moves, and a few more may be moved in an artifact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.over_time import batch_axes, of_each
from neurokit.parity.covering import WHERE, Output, ratio
from neurokit.parity.stimuli import Kind, stimulus, varied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neurokit.parity.vectors import Vectors
    from neurokit.target import Probe


@dataclass(frozen=True)
class Blind:
    """What the reference made of many samples, running freely.

    Attributes:
        kind: "range" or "beyond" (neurokit/parity/stimuli.py).
        seed: Seed of the inputs.
        steps: Time steps T.
        until: Of every sample the first step at which rounding may decide in some layer; T where it may at none.
        outputs: Outputs by name, with their bounds where no spike differs.
        spare: How many samples may be off all the same, of a network whose near decisions are not known.
    """

    kind: Kind
    seed: int
    steps: int
    until: np.ndarray
    outputs: dict[str, Output]
    spare: int = 0

    def head(self) -> dict[str, Any]:
        """Returns what is not an array."""
        found = {"kind": self.kind, "seed": self.seed, "steps": self.steps, "outputs": list(self.outputs)}
        return {**found, "spare": self.spare}

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the arrays by their names in the file."""
        found = {f"{prefix}until": self.until}
        for index, output in enumerate(self.outputs.values()):
            found |= {f"{prefix}y{index}": output.value, f"{prefix}e{index}": output.bound}
        return found

    @classmethod
    def read(cls, head: Mapping[str, Any], data: Mapping[str, np.ndarray], prefix: str) -> Blind:
        """Returns what `head` and `arrays` hold."""
        outputs = {
            name: Output(data[f"{prefix}y{index}"], data[f"{prefix}e{index}"])
            for index, name in enumerate(head["outputs"])
        }
        steps, spare = int(head["steps"]), int(head["spare"])
        return cls(head["kind"], int(head["seed"]), steps, data[f"{prefix}until"], outputs, spare)

    def fault(self) -> str:
        """Returns what does not fit each other, or ""."""
        if self.until.ndim != 1 or self.until.dtype.kind not in "iu" or self.steps < 1:
            return "give no step for every sample of a blind run"
        if not 0 <= self.spare <= len(self.until) // 4:
            return f"let {self.spare} samples of a blind run be off"
        if any(output.bound.dtype.kind != "f" for output in self.outputs.values()):
            return "give no bounds of a blind run"
        return ""


@dataclass(frozen=True)
class BlindRuns:
    """What blind runs found.

    Attributes:
        samples: Samples of which some output was compared.
        faults: One line each.
    """

    samples: int = 0
    faults: tuple[str, ...] = ()


def judge_blind(probe: Probe, vectors: Vectors) -> BlindRuns:
    """Runs an artifact that hides layers on many samples, and compares its outputs where rounding decides nothing.

    Args:
        probe: The artifact.
        vectors: Its test vectors.
    """
    samples, faults = 0, []
    kinds = of_each(vectors.time_output, len(vectors.outputs))
    for run in vectors.blind:
        feeds = feeds_of(vectors, run.kind, run.seed, len(run.until))
        try:
            outputs, _ = probe.free(feeds)
        except ArtifactError as error:
            faults.append(f"{WHERE[run.kind]}, {len(run.until)} samples, it does not run: {error.what}")
            continue
        axes = batch_axes(vectors.time_output, len(run.outputs), [y.value.shape for y in run.outputs.values()])
        for y, kind, at, (name, wanted) in zip(outputs, kinds, axes, run.outputs.items(), strict=True):
            off = _off(run, kind, at, y, wanted)
            if off > run.spare:
                said = f"of {off} of {len(run.until)} samples, without a membrane near a threshold"
                faults.append(f"output {name!r} is beyond rounding {said}, {WHERE[run.kind]}")
        samples += int((run.until >= (1 if "sequence" in kinds else run.steps)).sum())
    return BlindRuns(samples, tuple(faults))


def feeds_of(vectors: Vectors, kind: Kind, seed: int, batch: int) -> dict[str, np.ndarray]:
    """Returns the inputs of a blind run."""
    axis = 0 if vectors.time_input == "image" else 1
    feeds = stimulus(vectors.feeds, vectors.ranges, kind, seed, batch, axis)
    return varied(feeds, vectors.ranges, axis) if kind == "range" else feeds


def _off(run: Blind, kind: str, axis: int, y: np.ndarray, wanted: Output) -> int:
    """Returns how many samples have an output beyond rounding where rounding decides nothing."""
    if y.shape != wanted.value.shape:
        return len(run.until)
    known, bound = _known(run, kind, axis, y.shape), np.broadcast_to(wanted.bound, y.shape)
    if ratio(y[known], wanted.value[known], bound[known]) <= 1.0:
        return 0
    each = (np.moveaxis(value, axis, 0) for value in (known, y, wanted.value, bound))
    return sum(ratio(a[k], b[k], e[k]) > 1.0 for k, a, b, e in zip(*each, strict=True))


def _known(run: Blind, kind: str, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns which elements of an output rounding decides nothing of, as a mask of its shape."""
    known = np.zeros(shape, bool)
    if kind == "sequence" and shape[0] == run.steps:
        known[np.arange(run.steps)[:, None] < run.until[None, :]] = True
    elif len(shape) > axis and shape[axis] == len(run.until):
        np.moveaxis(known, axis, 0)[run.until >= run.steps] = True
    return known
