"""Where bounds are far above anything that was seen: results and currents are limited, so that grids can stay fine.

The bound of a sum assumes that every input comes at once, and bounds add up along shortcuts. Real values stay far
below. A limit at several times the largest value seen in calibration hardly ever acts, and saves bits everywhere
behind it.
"""

from __future__ import annotations

import math

from neurokit.exact.bounds import Finding
from neurokit.exact.dyadic import ANY, log2
from neurokit.exact.observe import Calibration
from neurokit.exact.rewrite import Rounding

# A limit is so many times what was seen, at least; a bound so many times that asks for one by itself.
_ROOM, _SLACK = 4.0, 16.0
# A sum whose grid would be coarser than its largest seen term / 2**this asks for limits on its terms.
_FINE_ENOUGH = 8.0
# A rounding that leaves fewer bits of the largest value than this is told.
_TOO_COARSE = 5.0


def of_shortcuts(
    largest: dict[int, float], found: list[Finding], seen: Calibration, present: dict[int, float]
) -> dict[int, float]:
    """Returns limits for the results of linear maps whose bound is very far above anything that was seen.

    Args:
        largest: Bound of each linear map's result, by number.
        found: What the walk found; not looked at here.
        seen: What was seen in calibration.
        present: Limits that there are already.
    """
    made = {index: _level(seen.linears[index].result) for index in largest if index in seen.linears}
    return {index: limit for index, limit in made.items() if largest[index] > _SLACK * limit and index not in present}


def of_coarse_sums(
    largest: dict[int, float], found: list[Finding], seen: Calibration, present: dict[int, float]
) -> dict[int, float]:
    """Returns limits for the terms of sums whose bound would force them onto a grid that loses them.

    Arguments as for `of_shortcuts`.
    """
    floors: dict[int, float] = {}
    for finding in found:
        if finding.kind != "neuron" and not (finding.kind == "sum" and finding.index is not None):
            for source in finding.sources:
                floors[source] = max(floors.get(source, -ANY), finding.floor)
    coarse = {
        i for i, floor in floors.items() if i in seen.linears and floor > log2(seen.linears[i].result) - _FINE_ENOUGH
    }
    made = {index: _level(seen.linears[index].result) for index in coarse if index in largest}
    return {index: limit for index, limit in made.items() if largest[index] > limit and index not in present}


def of_current(finding: Finding, seen: Calibration) -> tuple[float | None, float]:
    """Returns the limit of a neuron's input and the bits that it saves, or (None, 0) where it would save none."""
    index = finding.index or 0
    if index >= len(seen.currents):
        return None, 0.0
    limit = _level(max(seen.currents[index], finding.threshold))
    saved = log2(finding.size / limit)
    return (limit, saved) if saved >= 1.0 else (None, 0.0)


def lost(roundings: dict[int, Rounding], names: list[str], largest: dict[int, float]) -> list[str]:
    """Returns a line for each rounding that leaves little of what was seen: weights of very different sizes meet there.

    Args:
        roundings: By number of the linear map or neuron.
        names: Of all of them.
        largest: Largest magnitude that was seen at each.
    """
    return [
        f"{names[index]}: rounded to 2**{rounding.exponent}, coarse for values of at most {largest[index]:.3g}"
        for index, rounding in roundings.items()
        if largest.get(index, 0.0) > 0 and rounding.exponent > log2(largest[index]) - _TOO_COARSE
    ]


def _level(seen: float) -> float:
    return 2.0 ** math.ceil(log2(_ROOM * max(seen, 2.0**-20)))
