"""Energy of a chip from its event count and time alone: static power plus marginal price, or one all-in price."""

from __future__ import annotations

from neurokit.errors import InputError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.estimators._base import register_estimator
from neurokit.hw_sim.graph.counts import Workload
from neurokit.quantity import Quantity
from neurokit.reports.energy import EstimatorReport


def affine_energy(profile: HardwareProfile, events: float, seconds: float, clock_hz: float | None = None) -> Quantity:
    """Returns `E = P_static t + e_event n` (C. Frenkel et al., IEEE TBioCAS 13(1), 2019, Eq. 2).

    Args:
        profile: A chip whose marginal price of a synaptic event covers its neurons and memory.
        events: Synaptic events.
        seconds: Time the chip is on.
        clock_hz: Clock; the chip's own where None.

    Raises:
        InputError: If the chip has no marginal price of a synaptic event, or only an all-in one.
    """
    marginal = profile.prices.get("synaptic_event")
    if marginal is None or marginal.scope != "marginal":
        raise InputError(f"{profile.title} has no marginal price of a synaptic event", fix="use another estimator")
    total = marginal.quantity().scaled(events)
    static = profile.prices.get("static_chip")
    if static is not None:
        total = total + static.quantity().scaled(seconds, "J")
    cycle = profile.prices.get("clock_cycle")
    if cycle is not None:
        total = total + cycle.quantity().scaled((clock_hz or profile.clock_hz or 0.0) * seconds)
    return total.widened(profile.energy_error)


@register_estimator("affine", "static power x time + marginal price x events (affine:CHIP)")
def affine(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates a chip by its affine law, without a mapping; the time is T ticks of the chip.

    Raises:
        InputError: If no chip is named, or it has no marginal price or no time of a step.
    """
    profile = load_chip(_named(argument, "affine"))
    affine_energy(profile, 0, 0)  # refuses a chip without a marginal price before its times are asked for
    events = workload.totals()["synaptic_events"]
    tick = profile.times.get("tick")
    per_event = profile.times.get("synaptic_event")
    if tick is not None:
        seconds = workload.time_steps * tick.value
    elif per_event is not None and profile.limits.cores == 1:
        seconds = events * per_event.value
    else:
        raise InputError(f"the time of a step of {profile.title} needs a mapping", fix="price it as a chip instead")
    total = affine_energy(profile, events, seconds)
    dynamic = events * profile.prices["synaptic_event"].value
    parts = {"static": total.value - dynamic, "synaptic events": dynamic}
    return EstimatorReport(
        f"affine:{profile.name}",
        f"affine law of {profile.title}",
        total,
        parts,
        total.source,
        ("no mapping: routing, limits and load are not looked at",),
    )


@register_estimator("allin", "one whole-chip price x events (allin:CHIP, chips with nothing else)")
def allin(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates `E = e_all-in n`, for a chip that publishes nothing else; no other term is added.

    Raises:
        InputError: If no chip is named, or it has per-term prices.
    """
    profile = load_chip(_named(argument, "allin"))
    found = [constant for constant in profile.prices.values() if constant.scope == "all-in"]
    if not found:
        raise InputError(
            f"{profile.title} has no all-in price", expected="a chip priced all-in", fix=f"use --chip {profile.name}"
        )
    total = found[0].quantity().scaled(workload.totals()["synaptic_events"])
    return EstimatorReport(
        f"allin:{profile.name}",
        f"whole-chip average of {profile.title}",
        total,
        {"all-in": total.value},
        total.source,
        ("true only near the operating point at which it was measured: static power is in it",),
    )


def _named(argument: str, rule: str) -> str:
    if not argument:
        raise InputError(f"estimator {rule!r} needs a chip", expected=f"{rule}:CHIP, for example {rule}:odin")
    return argument
