"""Chooses every number of the exact form: grids from static bounds, weights from calibration data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from neurokit.exact import limits
from neurokit.exact.bounds import CONSTANT, Finding, Nominal, Range
from neurokit.exact.dyadic import ANY, log2, lowest_bit, top_exponent
from neurokit.exact.folded import Folded
from neurokit.exact.observe import Calibration, Observed
from neurokit.exact.quantise import Quantised, choose_exponents, levels, on_grid, with_bias
from neurokit.exact.ranges import Ranges
from neurokit.exact.rewrite import Plan, Rounding
from neurokit.exact.search import round_jointly
from neurokit.program import nodes

INPUT_BITS = 10  # of a real-valued input's magnitude
# Weights give up to so many bits for a common grid; beyond, sums are rounded to it instead.
_COARSEST = 1.0
_SCALE_BITS = 10  # of a sum behind a constant factor: with the factor's eight, a product of it stays exact
_LIMIT = 24
_ROUNDS = 4


@dataclass
class Draft:
    """A plan in the making.

    Attributes:
        inputs: Rounding of every input, in order.
        floors: Finest grid that each linear map's weights and bias may make, by number.
        results: Exponent that each linear map's result is rounded to, by number.
        currents: Exponent that each neuron's input is rounded to, by number.
        limits: Largest magnitude of a linear map's result, where it is limited.
        current_limits: Largest magnitude of a neuron's input, where it is limited.
        operands: Roundings of operands.
        operand_grids: Exponent of each operand's grid.
        scales: Exponent that what a constant factor makes is rounded to, by number.
    """

    inputs: list[Rounding]
    floors: dict[int, float] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)
    currents: dict[int, int] = field(default_factory=dict)
    limits: dict[int, float] = field(default_factory=dict)
    current_limits: dict[int, float] = field(default_factory=dict)
    operands: dict[int, Rounding] = field(default_factory=dict)
    operand_grids: dict[int, float] = field(default_factory=dict)
    scales: dict[int, int] = field(default_factory=dict)

    def coarsen(self, source: int, bits: float, own: bool) -> None:
        """Makes one source's grid coarser, because a bound was missed by `bits`."""
        step = max(1, math.ceil(bits))
        if source == CONSTANT:
            return
        if source < 0:
            old = self.inputs[_place_of(source)]
            self.inputs[_place_of(source)] = input_rounding_at(old.exponent + step, old.low, old.high)
        elif source in self.results and not own:
            self.results[source] += step
        else:
            self.floors[source] += step


def input_rounding(x: Tensor, low: float, high: float) -> Rounding:
    """Returns the rounding of an input: the grid that given data lie on, or one of `INPUT_BITS` bits.

    Args:
        x: Calibration data.
        low: Smallest value that the model declares.
        high: Largest value that the model declares.
    """
    low, high = min(low, float(x.min())), max(high, float(x.max()))
    finest = int(top_exponent(torch.tensor(max(abs(low), abs(high))), 2**INPUT_BITS - 1).clamp_min(-30))
    own = float(lowest_bit(x).min())
    exponent = int(own) if finest <= own < ANY else finest
    return input_rounding_at(min(exponent, finest + INPUT_BITS), low, high)


def input_rounding_at(exponent: int, low: float | None, high: float | None) -> Rounding:
    """Returns a rounding whose limits lie on its grid."""
    unit = 2.0**exponent
    return Rounding(
        exponent,
        None if low is None else math.floor(low / unit) * unit,
        None if high is None else math.ceil(high / unit) * unit,
    )


def _source_of(place: int) -> int:
    """Returns the number under which bounds know an input as their source; linear maps have those from 0."""
    return -1 - place


_place_of = _source_of  # its own inverse


def input_range(shape: tuple[int, ...], rounding: Rounding, place: int) -> Range:
    """Returns the range of a rounded input."""
    low, high = rounding.low or 0.0, rounding.high or 0.0
    return Range(
        torch.full(shape, max(high, 0.0)),
        torch.full(shape, max(-low, 0.0)),
        torch.full(shape, float(rounding.exponent), dtype=torch.float64),
        frozenset({_source_of(place)}),
    )


def draft(
    folded: Folded,
    seen: Calibration,
    roundings: Sequence[Rounding],
    shapes: Sequence[tuple[int, ...]],
    states: tuple[Tensor, ...],
    steps: int,
    bits: int,
    by_step: bool = False,
) -> Draft:
    """Finds the grids that the bounds allow.

    Args:
        folded: The network.
        seen: What its linear maps saw.
        roundings: Of every input.
        shapes: Of every input, for one sample.
        states: Initial states.
        steps: T.
        bits: Bits of a weight.
        by_step: Whether the network is a single step, run T times.
    """
    nominal = Nominal(levels(bits), {i: s.largest for i, s in seen.linears.items()})
    scales = {i: _fine_enough(seen.scales.get(i, 0.0)) for i in range(len(folded.scales))}
    nominal.scales = {folded.scales[i].name: exponent for i, exponent in scales.items()}

    def walk() -> tuple[Ranges, list[Finding]]:
        nominal.operands.clear()
        names = [n.name for n in folded.linears], [n.name for n in folded.neurons]
        run = Ranges(folded.module, *names, nominal, steps)
        given = [input_range(*each, place) for place, each in enumerate(zip(shapes, roundings, strict=True))]
        return run, run.start_steps(given, states, steps, further=False) if by_step else run.start(*given, *states)

    run, found = walk()
    for _ in range(_ROUNDS if by_step else 0):  # a factor of a state meets its own rounding again
        if not (missed := _too_fine(found, nominal.scales)):
            break
        nominal.scales |= {name: nominal.scales[name] + math.ceil(bits) for name, bits in missed.items()}
        run, found = walk()
    scales = {index: nominal.scales[folded.scales[index].name] for index in scales}
    for choose in (limits.of_shortcuts, limits.of_coarse_sums):
        more = choose(run.largest, found, seen, nominal.limits)
        more = {i: limit for i, limit in more.items() if nodes.time_mean(folded.linears[i].args[0]) is None}
        if more:
            nominal.limits |= more
            run, found = walk()
    made = Draft(list(roundings), operand_grids=run.operand_grids, limits=dict(nominal.limits), scales=scales)
    made.operands = {i: Rounding(e, -limit, limit) for i, (e, limit) in nominal.operands.items()}
    _round_currents(made, found, seen)
    own, common = _floors(found, made.currents)
    for place, rounding in enumerate(roundings):
        wanted = common.get(_source_of(place), -ANY)
        if wanted > rounding.exponent:
            made.inputs[place] = input_rounding_at(math.ceil(wanted), rounding.low, rounding.high)
    for index in range(len(folded.linears)):
        weight = folded.weight(index)
        natural = choose_exponents(weight, bits, -ANY).double() + run.operand_grids.get(index, 0.0)
        wanted = math.ceil(max(common.get(index, -ANY), -ANY))
        floor = math.ceil(own.get(index, -ANY))
        alive = weight.reshape(len(weight), -1).abs().amax(1) > 0
        top = float(natural[alive].max()) if bool(alive.any()) else ANY
        rounded = wanted - top > _COARSEST or index in made.limits
        if rounded and nodes.time_mean(folded.linears[index].args[0]) is None:
            made.results[index] = int(max(wanted, floor))
            made.floors[index] = floor
        else:
            made.floors[index] = max(floor, wanted)
    return made


def _too_fine(found: list[Finding], scales: dict[str, int]) -> dict[str, float]:
    """Returns the bits by which products with constant factors are too wide, with one to spare, by name."""
    wide = {finding.node: finding.bits - _LIMIT + 1.5 for finding in found if finding.node in scales}
    return {name: bits for name, bits in wide.items() if 0.0 < bits < _LIMIT}


def _fine_enough(seen: float) -> int:
    """Returns the exponent of a grid on which the largest value that was seen has `_SCALE_BITS` bits."""
    return math.ceil(log2(max(seen, 2.0**-20))) - _SCALE_BITS


def _round_currents(made: Draft, found: list[Finding], seen: Calibration) -> None:
    """Lets neurons round their own input whose membranes ask for a coarser grid than the shortcuts that feed them.

    The alternative is to coarsen every map that flows into them. A limit comes first: it costs nothing in practice.
    """
    for finding in found:
        shared = len(finding.sources) > 1 or finding.gain != 0.0
        if finding.kind == "neuron" and shared and finding.membrane is not None and finding.membrane.bits >= _LIMIT:
            limit, saved = limits.of_current(finding, seen)
            if limit is not None:
                made.current_limits[finding.index or 0] = limit
            exponent = max(finding.membrane.floor - saved, finding.sum_floor + finding.gain)
            made.currents[finding.index or 0] = math.ceil(min(exponent, finding.cap))


def _floors(found: list[Finding], currents: dict[int, int]) -> tuple[dict[int, float], dict[int, float]]:
    """Returns the floors that each linear map's own sums ask for, and those of all that they flow into."""
    own: dict[int, float] = {}
    common: dict[int, float] = {}
    for finding in found:
        rounded = finding.kind == "neuron" and finding.index in currents
        for source in finding.sources:
            table = own if finding.kind == "sum" and finding.index == source else common
            table[source] = max(table.get(source, -ANY), finding.sum_floor if rounded else finding.floor)
    return own, common


def fill(folded: Folded, seen: Calibration, made: Draft, bits: int, search: bool) -> Plan:
    """Puts every weight and bias on its grid."""
    plan = Plan(inputs=tuple(made.inputs), operands=dict(made.operands))
    plan.scales = {index: Rounding(exponent) for index, exponent in made.scales.items()}
    for index, exponent in made.currents.items():
        limit = made.current_limits.get(index)
        plan.currents[index] = Rounding(exponent, None if limit is None else -limit, limit)
    for index, exponent in made.results.items():
        limit = made.limits.get(index)
        plan.results[index] = Rounding(exponent, None if limit is None else -limit, limit)
    for index in range(len(folded.linears)):
        grid = made.operand_grids.get(index, 0.0)
        plan.linears[index] = quantise(
            folded.weight(index),
            folded.bias(index),
            seen.linears.get(index, Observed()),
            bits,
            made.floors[index],
            grid,
            search,
        )
    return plan


def quantise(
    weight: Tensor, bias: Tensor, seen: Observed, bits: int, floor: float, operand_grid: float, search: bool
) -> Quantised:
    """Puts one linear map on its grid; the bias makes up for what the rounding does to the mean of the sums."""
    made = on_grid(weight, bias, bits, floor, operand_grid)
    if search and seen.moments is not None:
        integers = round_jointly(weight, made.exponent, bits, seen.moments)
        made = with_bias(integers, made.exponent, bias, floor, operand_grid)
    if seen.mean is None:
        return made
    lost = (weight.double() - made.weight.double()).reshape(len(weight), -1) @ seen.mean
    return with_bias(made.integers, made.exponent, bias.double() + lost, floor, operand_grid)


def raise_floors(made: Draft, found: list[Finding], seen: Calibration, limit: float) -> bool:
    """Limits or coarsens what is behind every bound that was missed; returns whether there was anything to change."""
    changed = False
    missed: dict[tuple[int, bool], float] = {}
    for finding in found:
        bits = max(finding.bits, finding.membrane.bits if finding.membrane is not None else -ANY)
        if not limit <= bits < math.inf:
            continue
        if finding.kind == "neuron" and finding.bits < limit:
            changed |= _round_current(made, finding, seen, bits - limit + 1e-6)
            continue
        for source in finding.sources:
            own = finding.kind == "sum" and finding.index == source
            missed[source, own] = max(missed.get((source, own), 0.0), bits - limit + 1e-6)
    for (source, own), bits in missed.items():
        made.coarsen(source, bits, own)
        changed = True
    return changed


def _round_current(made: Draft, finding: Finding, seen: Calibration, bits: float) -> bool:
    """Limits a neuron's input or rounds it more coarsely, as its threshold allows; returns whether it could."""
    index = finding.index or 0
    before = made.currents.get(index)
    limit, saved = (None, 0.0) if index in made.current_limits else limits.of_current(finding, seen)
    if limit is not None:
        made.current_limits[index] = limit
    first = math.ceil(finding.membrane.floor - saved if finding.membrane is not None else finding.floor + finding.gain)
    exponent = first if before is None else before + max(0 if saved else 1, math.ceil(bits - saved))
    exponent = min(exponent, math.floor(finding.cap))
    if before is not None and exponent <= before and limit is None:
        return False
    made.currents[index] = exponent if before is None else max(exponent, before)
    return True


def as_json(plan: Plan) -> dict[str, Any]:
    """Returns what a manifest says of a plan."""
    first = plan.inputs[0] if plan.inputs else None
    return {
        "input_exponent": first.exponent if first else None,
        "input_low": first.low if first else None,
        "input_high": first.high if first else None,
        "input_grids": [{"exponent": each.exponent, "low": each.low, "high": each.high} for each in plan.inputs],
        "operand_roundings": len(plan.operands),
        "result_roundings": len(plan.results),
        "results_limited": sum(rounding.high is not None for rounding in plan.results.values()),
        "current_roundings": len(plan.currents),
        "scale_roundings": len(plan.scales),
        "currents_limited": sum(rounding.high is not None for rounding in plan.currents.values()),
    }
