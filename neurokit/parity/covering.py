"""The covering run: with every layer firing at random, weights that no spike of the test vectors reads have a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.parity.stimuli import Kind, paired_spikes, random_spikes, stimulus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neurokit.parity.vectors import Vectors
    from neurokit.target import Probe

# Reference and target may each be off by the bound, on opposite sides.
SIDES = 2.0
# Each may be off by twice what one run of the reference in float32 was: another order of sums is another draw of it.
OWN = 2.0 * SIDES
UNBOUNDED = float(np.finfo(np.float32).max)  # a bound that is none
# A network without neurons in float32: relative error of outputs that another order of summation stays far below.
TOLERANCE = 1e-4
WHERE = {
    "vectors": "on the test vectors' input",
    "range": "on inputs over the declared range",
    "beyond": "on inputs beyond the declared range",
}


@dataclass(frozen=True)
class Cover:
    """One neuron layer's input current where every layer before it fires at random, one spike in two.

    A weight whose input never fires in the test vectors has no part in any spike of theirs. Here it has.

    Attributes:
        seed: What the layer's own random spikes are drawn from.
        at: Flat indices into `[T, B, ...]` of the currents that were kept.
        current: The reference's currents at those places.
        bound: Rounding bound of each.
        shape: Shape of the layer's spikes, `[T, B, ...]`.
    """

    seed: int
    at: np.ndarray
    current: np.ndarray
    bound: np.ndarray
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Output:
    """One output of the reference in a covering run.

    Attributes:
        value: The output.
        bound: Rounding bound of each of its elements; one 0 in models without neurons, where it is not read.
        rounding: Relative L2 distance of the reference from itself in float64, the largest of the samples that were run
            so; 0 where it was not run. Kept in models without neurons: where a network amplifies what it is given,
            every implementation is off by about as much, and the proven bound is far beyond any fault.
    """

    value: np.ndarray
    bound: np.ndarray
    rounding: float = 0.0

    @property
    def allowed(self) -> float:
        """Relative L2 error of a sample that the reference's own distance from float64 allows."""
        return OWN * self.rounding


@dataclass(frozen=True)
class Covering:
    """What the reference made of one set of coverage stimuli (neurokit/parity/stimuli.py).

    Attributes:
        kind: "range" or "beyond"; "vectors" in files of version 0.1, which ran on the test vectors' own input.
        seed: Seed of the inputs.
        batch: Number of samples.
        layers: One entry a layer.
        outputs: Outputs by name.
    """

    kind: Kind
    seed: int
    batch: int
    layers: tuple[Cover, ...]
    outputs: dict[str, Output]

    def head(self) -> dict[str, Any]:
        """Returns what is not an array."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "batch": self.batch,
            "outputs": list(self.outputs),
            "roundings": [output.rounding for output in self.outputs.values()],
            "layers": [{"seed": layer.seed, "shape": list(layer.shape)} for layer in self.layers],
        }

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the arrays by their names in the file."""
        found: dict[str, np.ndarray] = {}
        for index, layer in enumerate(self.layers):
            kept = (layer.at.astype(np.int64), layer.current, layer.bound)
            found |= {f"{prefix}{key}{index}": value for key, value in zip(("at", "c", "b"), kept, strict=True)}
        for index, output in enumerate(self.outputs.values()):
            found |= {f"{prefix}y{index}": output.value, f"{prefix}e{index}": output.bound}
        return found

    @classmethod
    def read(cls, head: Mapping[str, Any], data: Mapping[str, np.ndarray], prefix: str) -> Covering:
        """Returns what `head` and `arrays` hold."""
        layers = tuple(
            Cover(
                int(entry["seed"]),
                data[f"{prefix}at{index}"],
                data[f"{prefix}c{index}"],
                data[f"{prefix}b{index}"],
                tuple(entry["shape"]),
            )
            for index, entry in enumerate(head["layers"])
        )
        roundings = head.get("roundings", [0.0] * len(head["outputs"]))  # older files do not say
        outputs = {
            name: Output(data[f"{prefix}y{index}"], data[f"{prefix}e{index}"], float(rounding))
            for index, (name, rounding) in enumerate(zip(head["outputs"], roundings, strict=True))
        }
        return cls(head["kind"], int(head["seed"]), int(head["batch"]), layers, outputs)


@dataclass(frozen=True)
class CoveringRun:
    """What the covering runs found.

    Attributes:
        errors: Largest error of each layer's current in units of what is allowed; None where it was not run.
        ran: Which inputs were drawn: of the declared "range", "beyond" it.
        unequal: Those of them on which anything differs by a bit.
        faults: One line each.
    """

    errors: tuple[float | None, ...]
    ran: frozenset[str] = frozenset()
    unequal: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()


def judge_covering(probe: Probe, vectors: Vectors, tolerance: float) -> CoveringRun:
    """Runs the artifact on all coverage stimuli, with random spikes in place of every layer's own.

    Args:
        probe: The artifact.
        vectors: Its test vectors.
        tolerance: Relative L2 error of a sample's outputs that is allowed in a model without layers.
    """
    if not vectors.coverings or (any(run.layers for run in vectors.coverings) and not probe.can_force()):
        return CoveringRun((None,) * len(vectors.layers))
    worst, unequal, faults = [0.0] * len(vectors.layers), set[str](), []
    axis = 0 if vectors.time_input == "image" else 1
    for run in vectors.coverings:
        feeds, given = _drawn(vectors, run, axis)
        try:
            outputs, currents = probe.currents(feeds, given) if vectors.layers else probe.free(feeds)
        except ArtifactError as error:
            faults.append(f"{WHERE[run.kind]}, {run.batch} samples, it does not run: {error.what}")
            continue
        errors = [excess(cover, current) for cover, current in zip(run.layers, currents, strict=True)]
        worst = [max(pair) for pair in zip(worst, errors, strict=True)]
        if any(errors) or not _equal(outputs, run):
            unequal.add("beyond" if run.kind == "beyond" else "range")
        faults += _faults(vectors, run, errors, outputs, tolerance)
    ran = frozenset("beyond" if run.kind == "beyond" else "range" for run in vectors.coverings)
    return CoveringRun(tuple(worst), ran, frozenset(unequal), tuple(faults))


def _drawn(vectors: Vectors, run: Covering, axis: int) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Returns the inputs and spikes of a covering run."""
    if run.kind == "vectors":
        return vectors.feeds, [random_spikes(cover.seed, cover.shape) for cover in run.layers]
    feeds = stimulus(vectors.feeds, vectors.ranges, run.kind, run.seed, run.batch, axis)
    return feeds, [
        layer.drawn(paired_spikes(cover.seed, cover.shape))
        for layer, cover in zip(vectors.layers, run.layers, strict=True)
    ]


def _faults(
    vectors: Vectors, run: Covering, errors: Sequence[float], outputs: Sequence[np.ndarray], tolerance: float
) -> list[str]:
    faults = [
        f"{layer.path}: under random spikes its current is off by {error:.2g} times its rounding bound, "
        f"{WHERE[run.kind]}"
        for layer, error in zip(vectors.layers, errors, strict=True)
        if error > 1.0
    ]
    for y, (name, wanted) in zip(outputs, run.outputs.items(), strict=True):
        if vectors.layers:
            off = y.shape != wanted.value.shape or ratio(y, wanted.value, wanted.bound) > 1.0
        else:
            off = y.shape != wanted.value.shape or _far(y, wanted.value, max(tolerance, wanted.allowed))
        if off:
            under = "under random spikes and " if vectors.layers else ""
            faults.append(f"output {name!r} is beyond rounding {under}{WHERE[run.kind]}")
    return faults


def _equal(outputs: Sequence[np.ndarray], run: Covering) -> bool:
    wanted = [output.value for output in run.outputs.values()]
    return all(np.array_equal(y, r, equal_nan=r.dtype.kind == "f") for y, r in zip(outputs, wanted, strict=True))


def _far(y: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    """Whether some sample's output is off by more than a relative tolerance."""
    if wanted.dtype.kind != "f":
        return not np.array_equal(y, wanted)
    known = np.isfinite(wanted)
    if not np.array_equal(np.isfinite(y), known):
        return True
    a = np.where(known, y, 0.0).astype(np.float64).reshape(len(y), -1)
    b = np.where(known, wanted, 0.0).astype(np.float64).reshape(len(y), -1)
    distance, norm = np.linalg.norm(a - b, axis=1), np.linalg.norm(b, axis=1)
    return bool((distance > tolerance * np.where(norm > 0, norm, 1.0)).any())


def excess(cover: Cover, current: np.ndarray) -> float:
    """Returns the largest error of a current under random spikes, in units of what is allowed."""
    if current.size <= int(cover.at.max(initial=0)):
        return float("inf")
    return ratio(current.reshape(-1)[cover.at], cover.current, cover.bound)


def ratio(value: np.ndarray, wanted: np.ndarray, bound: np.ndarray) -> float:
    """Returns the largest error in units of what is allowed; what is not finite must be alike.

    Rounding may lead anywhere where there is no bound, also to what is not finite: 0 over 0 for a tiny quotient.
    """
    if bound.size == wanted.size:
        held = bound.reshape(wanted.shape) < UNBOUNDED
        value, wanted, bound = value.reshape(wanted.shape)[held], wanted[held], bound.reshape(wanted.shape)[held]
    known = np.isfinite(wanted)
    if not np.array_equal(value[~known], wanted[~known], equal_nan=wanted.dtype.kind == "f"):
        return float("inf")
    off = np.abs(value[known].astype(np.float64) - wanted[known].astype(np.float64))
    allowed = SIDES * bound[known].astype(np.float64)
    found = np.divide(off, allowed, out=np.where(off > 0, np.inf, 0.0), where=allowed > 0)
    return float(found.max(initial=0.0)) if not np.isnan(found).any() else float("inf")
