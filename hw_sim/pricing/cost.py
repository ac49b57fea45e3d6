"""Prices counts: energy by component, layer, core and time step as intervals, and the time of each step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.chips.profile import Constant, HardwareProfile
from neurokit.hw_sim.chips.terms import ALL_COMPONENTS, KIND_OF_BASIS, TERMS, TIMED_COMPONENTS, Component
from neurokit.hw_sim.pricing.mapped_counts import PIECE_TERMS, MappedCounts
from neurokit.hw_sim.pricing.timing import ENDS, Timing, step_times
from neurokit.quantity import Kind, Quantity, worst_kind
from neurokit.reports.energy import ChipReport, LatencyReport, Status

Floats = NDArray[np.float64]


# Events that carry a value: a chip of spikes has no such operation, so no price of a spike covers them.
_NO_SPIKES = ("graded_event", "shortcut_add", "product_operation")


def price(
    counts: MappedCounts,
    profile: HardwareProfile,
    step_seconds: float | None = None,
    pace: str | None = None,
    queued: Floats | None = None,
) -> ChipReport:
    """Prices what was counted on a mapping.

    Energy is counts times prices, `E = sum over terms of n_i e_i + P_static t`. Nothing is counted here, so another
    set of prices (a voltage, a user's own) costs milliseconds.

    Args:
        counts: Counts of a mapped workload.
        profile: Prices; usually, but not necessarily, those of the chip that it was mapped on.
        step_seconds: Time between two inputs of a sensor that sets the pace, if longer than the chip needs.
        pace: Who sets it otherwise: "chip", "host" or None (`step_times`).
        queued: Time of each step with queues, `[T]`, in the place of the slowest core's.

    Raises:
        InputError: If the pace is unknown, or is a host's that the chip's file does not state.
    """
    timing = step_times(counts, profile, step_seconds, pace, queued)
    priced, unpriced = _priced_terms(counts, profile)
    static, more = _static(counts, profile, timing)
    unpriced += more + ([profile.lower_bound] if profile.lower_bound else [])
    refused = profile.pricing == "none" or not _synapse_priced(profile)
    part_only = bool(unpriced or counts.mapping.network.uncounted)
    status: Status = "refused" if refused else "lower-bound" if part_only else "priced"
    energy = {term: _energy(counts, term, constant) for term, constant in priced.items()} if not refused else {}
    components = {} if refused else _components(energy, priced, static, timing, profile)
    return ChipReport(
        chip=profile.name,
        title=profile.title,
        status=status,
        fits=counts.mapping.fits,
        violations=tuple(map(str, counts.mapping.violations)),
        strategy=counts.mapping.strategy,
        chips=counts.mapping.chips,
        cores=len(counts.mapping.cores),
        total=None if refused else _sum(components.values()),
        components=components,
        layers={} if refused else _by_layer(counts, energy),
        steps=() if refused else _by_step(counts, energy, static["value"] if static else {}),
        core_map=counts.core_rows,
        core_energy=() if refused else _core_energy(counts, energy),
        links=counts.link_rows,
        latency=_latency(timing),
        counts={term: counts.total(term) for term in PIECE_TERMS},
        unpriced=tuple(unpriced),
        assumptions=_assumptions(counts, profile),
        warnings=profile.warnings,
        sources=tuple(dict.fromkeys(_source_line(term, c) for term, c in {**priced, **_timed_prices(profile)}.items())),
    )


def step_figures(
    counts: MappedCounts,
    profile: HardwareProfile,
    step_seconds: float | None = None,
    pace: str | None = None,
    queued: Floats | None = None,
) -> tuple[Floats | None, Floats | None]:
    """Returns the best estimates of energy and time of each step, `[T]`, and nothing else of what `price` reports.

    Args and errors are those of `price`; None where there is no price of a synapse, or no time.
    """
    timing = step_times(counts, profile, step_seconds, pace, queued)
    seconds = None if timing is None else timing.seconds["value"]
    if profile.pricing == "none" or not _synapse_priced(profile):
        return None, seconds
    priced, _ = _priced_terms(counts, profile)
    static, _ = _static(counts, profile, timing)
    joules = np.zeros(counts.time_steps)
    for term, constant in priced.items():
        joules += _count(counts, term).sum(axis=1) * constant.value
    return sum(static["value"].values(), joules) if static else joules, seconds


def price_of(profile: HardwareProfile, term: str) -> Constant | None:
    """Returns the price of a term; kinds of synaptic events fall back on the general one."""
    if term.startswith("synaptic_event_"):
        return profile.prices.get(term, profile.prices.get("synaptic_event"))
    return profile.prices.get(term)


def _synapse_priced(profile: HardwareProfile) -> bool:
    return "synapse" in profile.priced_components()


def _covered(profile: HardwareProfile, component: Component) -> bool:
    """Whether another component's price, or the chip's build, accounts for this one."""
    covers = any(component in constant.covers for constant in profile.prices.values())
    return covers or component in profile.absent or profile.pricing == "all-in"


def _covered_for(profile: HardwareProfile, term: str) -> bool:
    """Whether a term is accounted for by another price; what is no spike is in no price of spikes."""
    if term in _NO_SPIKES:
        return profile.pricing == "all-in"
    return _covered(profile, TERMS[term].component)


def _priced_terms(counts: MappedCounts, profile: HardwareProfile) -> tuple[dict[str, Constant], list[str]]:
    """Returns the price of each term in use, and what is in use without one."""
    priced: dict[str, Constant] = {}
    missing: dict[str, list[str]] = {}
    own = {TERMS[term].component for term in profile.prices}
    for term in PIECE_TERMS:
        constant, used = price_of(profile, term), counts.total(term)
        component = TERMS[term].component
        if constant is not None:
            priced[term] = constant
        elif used and not _covered_for(profile, term) and (component not in own or _stands_alone(term)):
            missing.setdefault(component, []).append(f"{term} x {used}")
    delivery = profile.prices.get("local_delivery")
    if delivery is not None:
        priced["local_delivery"] = delivery
    return priced, [f"{component}: {', '.join(terms)}" for component, terms in missing.items()]


def _stands_alone(term: str) -> bool:
    """Whether a component's other prices say nothing about this term.

    A chip that publishes a price of an update has no separate one of a spike; but no price of a spike through a
    synapse tells what a multiplication or a crossing between chips costs.
    """
    return term.startswith("synaptic_event") or term in (
        "graded_event",
        "shortcut_add",
        "product_operation",
        "chip_hop",
    )


def _count(counts: MappedCounts, term: str) -> NDArray[np.int64]:
    """Returns the count behind a price; every packet is handed over once at its end."""
    return counts.terms["packet" if term == "local_delivery" else term]


def _energy(counts: MappedCounts, term: str, constant: Constant) -> Quantity:
    total = int(_count(counts, term).sum())
    return constant.quantity().scaled(total, kind="simulated")  # a measured price, but a count of the simulator's


def _timed_prices(profile: HardwareProfile) -> dict[str, Constant]:
    """Returns the prices that are charged by time or by run, not by event."""
    return {term: constant for term, constant in profile.prices.items() if TERMS[term].component in TIMED_COMPONENTS}


# Energy of each step, `[T]`, by end of the interval and component.
_Timed = dict[str, dict[str, Floats]]


def _static(counts: MappedCounts, profile: HardwareProfile, timing: Timing | None) -> tuple[_Timed | None, list[str]]:
    """Returns the static (and host) energy of each step at each end, and what of it has no price."""
    found = _timed_prices(profile)
    missing = [] if "static" in profile.priced_components() else ["static: power while the chip is on"]
    if not found:
        return None, missing
    timed = {term: constant for term, constant in found.items() if term != "reset_chip"}
    if timed and timing is None:
        return None, ["static: its power is known but the time of a step is not (give the time between inputs)"]
    chips = counts.mapping.chips
    many = {"static_core": len(counts.mapping.cores), "clock_cycle": chips * (profile.clock_hz or 0)}
    steps: _Timed = {end: {} for end in ENDS}
    for end in ENDS:
        for term, constant in found.items():
            component = TERMS[term].component
            each = steps[end].setdefault(component, np.zeros(counts.time_steps))
            if term == "reset_chip":  # once a run, before its first step
                each[0] += constant.at(end) * chips
            elif timing is not None:
                each += constant.at(end) * many.get(term, chips) * timing.seconds[end]
    return steps, missing


def _components(
    energy: dict[str, Quantity],
    priced: dict[str, Constant],
    static: _Timed | None,
    timing: Timing | None,
    profile: HardwareProfile,
) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for term in priced:
        component = TERMS[term].component
        found[component] = found[component] + energy[term] if component in found else energy[term]
    # The model's own error comes on top of that of its prices, component by component.
    found = {name: quantity.widened(profile.energy_error) for name, quantity in found.items()}
    for name in static["value"] if static is not None else ():
        prices = [c for term, c in _timed_prices(profile).items() if TERMS[term].component == name]
        kinds: list[Kind] = ["simulated", *(KIND_OF_BASIS[constant.basis] for constant in prices)]
        kinds += [timing.kind] if timing is not None else []
        source = "; ".join(dict.fromkeys(constant.source for constant in prices))
        value, low, high = (float(static[end][name].sum()) for end in ENDS)  # type: ignore[index]
        # A wider power may come with a shorter time: the ends are put in order around the best estimate.
        power = Quantity(value, min(low, value), max(high, value), "J", worst_kind(*kinds), source)
        found[name] = power.widened(profile.energy_error)
    return {name: found[name] for name in ALL_COMPONENTS if name in found}


def _sum(parts: Iterable[Quantity]) -> Quantity:
    total: Quantity | None = None
    sources: dict[str, None] = {}
    for part in parts:
        total = part if total is None else total + part
        sources |= dict.fromkeys(part.source.split("; "))
    if total is None:
        return Quantity.exact(0.0, "J", "analytic", "nothing was counted")
    return Quantity(total.value, total.low, total.high, "J", total.kind, "; ".join(sources))


def _priced_array(counts: MappedCounts, energy: dict[str, Quantity], component: str | None = None) -> Floats:
    """Returns the best estimate of energy for each step and piece, `[T, pieces]`."""
    out = np.zeros((counts.time_steps, len(counts.mapping.pieces)))
    for term, total in energy.items():
        if component is None or TERMS[term].component == component:
            count = _count(counts, term)
            used = int(count.sum())
            # Shares of the priced total, so that steps and layers add up to it to the last digit.
            out += count * (total.value / used) if used else 0.0
    return out


def _by_layer(counts: MappedCounts, energy: dict[str, Quantity]) -> dict[str, dict[str, float]]:
    names, layer = counts.layer_of_piece
    layers: dict[str, dict[str, float]] = {name: {} for name in names}
    for component in ALL_COMPONENTS:  # those of time are of no layer, and come out empty
        each = np.bincount(layer, _priced_array(counts, energy, component).sum(axis=0), len(names))
        if each.any():
            for name, joules in zip(names, each.tolist(), strict=True):
                layers[name][component] = joules
    return layers


def _by_step(counts: MappedCounts, energy: dict[str, Quantity], timed: dict[str, Floats]) -> tuple[float, ...]:
    return tuple(float(joules) for joules in sum(timed.values(), _priced_array(counts, energy).sum(axis=1)))


def _core_energy(counts: MappedCounts, energy: dict[str, Quantity]) -> tuple[float, ...]:
    each = _priced_array(counts, energy).sum(axis=0)
    inside = counts.core_of_piece >= 0
    return tuple(np.bincount(counts.core_of_piece[inside], each[inside], len(counts.mapping.cores)).tolist())


def _latency(timing: Timing | None) -> LatencyReport | None:
    if timing is None:
        return None
    value, low, high = (float(timing.seconds[end].sum()) for end in ENDS)
    source = "; ".join(timing.sources) or "time between inputs, given by the user"
    inference = Quantity(value, min(low, value), max(high, value), "s", timing.kind, source)
    steps = timing.seconds["value"]
    return LatencyReport(
        tuple(float(s) for s in steps),
        inference,
        float(np.percentile(steps, 50)),
        float(np.percentile(steps, 99)),
        timing.bound_by,
        timing.sources,
    )


def _assumptions(counts: MappedCounts, profile: HardwareProfile) -> tuple[str, ...]:
    notes = []
    if profile.limits.assumed:
        notes.append(f"limits recalled or inferred, not read: {', '.join(profile.limits.assumed)}")
    assumed = [term for term, constant in {**profile.prices, **profile.times}.items() if constant.basis == "assumed"]
    if assumed:
        notes.append(f"prices or times that are assumed: {', '.join(assumed)}")
    if "host_chip" not in profile.prices:
        notes.append("the chip alone: a host processor, its memory and its links are in no figure")
    if not counts.mapping.fits:
        notes.append("the network does not fit: every figure supposes a chip with larger cores")
    if "neuron_idle" in profile.prices or "neuron_update" in profile.prices:
        notes.append("a neuron counts as active in a step in which an event reaches it")
    if counts.total("shortcut_add"):
        notes.append("real-valued shortcuts between cores travel as one packet a value and step")
    sizes = profile.limits.pool_sizes
    pools = [p for p in counts.mapping.network.projections if p.kind in ("pool", "maxpool") and sizes]
    if any(side not in sizes for p in pools for side in (*p.kernel, *p.stride)):
        notes.append(
            f"pooling by another size than {sizes} is mapped by the vendor's tool and not in its documentation"
        )
    if profile.topology.kind == "mesh":
        notes.append(
            "a spike is one packet for each core that holds any of its targets; XY routing; inputs enter at tile 0"
        )
    return tuple(notes)


def _source_line(term: str, constant: Constant) -> str:
    return f"{term}: {constant.quantity().text()} ({constant.basis}, {constant.scope}): {constant.source}"
