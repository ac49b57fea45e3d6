"""The covering run: with every layer firing at random, weights that no spike of the test vectors reads have a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurokit.parity.forcing import excess, in_bounds
from neurokit.parity.vectors import covering_spikes

if TYPE_CHECKING:
    from neurokit.parity.vectors import Vectors
    from neurokit.target import Probe


@dataclass(frozen=True)
class Covering:
    """What the covering run found.

    Attributes:
        errors: Largest error of each layer's current in units of what is allowed; None where it was not run.
        faults: One line each.
    """

    errors: tuple[float | None, ...]
    faults: tuple[str, ...] = ()


def judge_covering(probe: Probe, vectors: Vectors) -> Covering:
    """Runs the artifact with random spikes in place of every layer's own."""
    covers = [layer.cover for layer in vectors.layers if layer.cover]
    if not probe.can_force() or len(covers) < len(vectors.layers):
        return Covering((None,) * len(vectors.layers))
    shapes = [layer.spikes.shape for layer in vectors.layers]
    given = [covering_spikes(cover.seed, shape) for cover, shape in zip(covers, shapes, strict=True)]
    outputs, currents = probe.currents(vectors.feeds, given)
    computed = dict(zip(vectors.outputs, outputs, strict=True))
    off = [
        name
        for name, wanted in vectors.covering_outputs.items()
        if not in_bounds(computed[name], wanted, vectors.covering_bounds[name])
    ]
    errors = tuple(excess(cover, current) for cover, current in zip(covers, currents, strict=True))
    faults = [
        f"{layer.path}: under random spikes its current is off by {error:.2g} times its rounding bound"
        for layer, error in zip(vectors.layers, errors, strict=True)
        if error > 1.0
    ]
    faults += [f"output {name!r} is beyond its rounding bound under random spikes" for name in off]
    return Covering(errors, tuple(faults))
