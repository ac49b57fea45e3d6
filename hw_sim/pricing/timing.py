"""The time of each step: the slowest core or the busiest link, then the barrier, and at least one tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.chips.profile import Constant, HardwareProfile
from neurokit.hw_sim.chips.terms import KIND_OF_BASIS
from neurokit.hw_sim.pricing.mapped_counts import MappedCounts
from neurokit.quantity import Kind, worst_kind

Floats = NDArray[np.float64]

# Ends of an interval and its best estimate; everything is computed three times, once for each.
ENDS = ("value", "low", "high")


# Who sets the time of a step: the chip alone, as fast as it can, or the host that streams its inputs.
PACES = ("chip", "host")


@dataclass(frozen=True)
class Timing:
    """Time of each step at the best estimate and at both ends of the interval (`[T]` each).

    Attributes:
        seconds: Step time by end ("value", "low", "high").
        cores: Time that each core takes at the best estimate, `[T, cores]`.
        bound_by: What sets each step.
        kind: Least trustworthy kind of the times used.
        sources: Where they are from.
    """

    seconds: dict[str, Floats]
    cores: Floats
    bound_by: tuple[str, ...]
    kind: Kind
    sources: tuple[str, ...]


def step_times(
    counts: MappedCounts,
    profile: HardwareProfile,
    step_seconds: float | None,
    pace: str | None = None,
    queued: Floats | None = None,
) -> Timing | None:
    """Returns the time of each step: the slowest core or link, then the barrier, and at least what sets the pace.

    A core takes the longer of receiving (packets and synaptic events) and of updating and sending; the step waits
    for the slowest of them all (the bound model of SANA-FE's `simple` schedule and of Yik et al., arXiv:2511.21549).

    Args:
        counts: What each core and link does.
        profile: Times.
        step_seconds: Time between two inputs of a sensor; it replaces the host's.
        pace: "chip": as fast as the cores go; "host": a host that streams inputs; None: the host's where the chip's
            file states one, with the chip's own pace as the low end of the interval, since either can be true.
        queued: Time of each step with queues, `[T]` (`hw_sim.pricing.queueing`), in the place of the slowest core's.

    Returns:
        None where the chip has no published times and nothing sets a pace.

    Raises:
        InputError: If the pace is unknown, or is a host's that the chip's file does not state.
    """
    host = _host_step(profile, step_seconds, pace)
    if not profile.times and step_seconds is None:
        return None
    seconds: dict[str, Floats] = {}
    waits = 1.0 if queued is None else queued / np.maximum(_busy(counts, profile, "value")[0], 1e-300)
    for end in ENDS:
        busy, cores, parts = _busy(counts, profile, end)
        busy = busy * waits
        tick = profile.times.get("tick")
        clock = max(getattr(tick, end) if tick else 0.0, step_seconds or 0.0)
        streamed = 0.0 if host is None or (pace is None and end == "low") else float(getattr(host, end))
        error = {"value": 1.0, "low": 1 - profile.time_error, "high": 1 + profile.time_error}[end]
        seconds[end] = np.maximum(busy * error, max(clock, streamed))
        if end == "value":
            shown = cores
            bound = _bound_by(busy, parts, clock, streamed)
    used = {term: c for term, c in profile.times.items() if term != "host_step" or host is not None}
    kinds = [KIND_OF_BASIS[constant.basis] for constant in used.values()] or ["assumed"]
    sources = tuple(dict.fromkeys(constant.source for constant in used.values()))
    return Timing(seconds, shown, bound, worst_kind("simulated", *kinds), sources)


def _host_step(profile: HardwareProfile, step_seconds: float | None, pace: str | None) -> Constant | None:
    """Returns the host's time of a step where it counts."""
    if pace is not None and pace not in PACES:
        raise InputError(f"unknown pace {pace!r}", expected="one of " + ", ".join(PACES))
    host = profile.times.get("host_step")
    if pace == "host" and host is None:
        raise InputError(
            f"{profile.title} states no time of a step at a host's pace",
            expected="a chip whose file has times.host_step",
            fix="give the time of a step: --step-seconds",
        )
    if pace == "host" and step_seconds is not None:
        raise InputError("both a host's pace and a time of a step are given", expected="one of the two")
    return None if pace == "chip" or step_seconds is not None else host


def _busy(counts: MappedCounts, profile: HardwareProfile, end: str) -> tuple[Floats, Floats, Floats]:
    """Returns the time that cores, links and barrier take, `[T]`, that of each core, and what sets a step, `[3, T]`."""
    receive, update = _receive_time(counts, profile, end), _update_time(counts, profile, end)
    cores = np.maximum(receive, update)
    links = _link_time(counts, profile, end)
    busy = np.maximum(cores.max(axis=1, initial=0.0), links) + barrier_seconds(profile, counts.mapping.tiles_in_use())
    return busy, cores, np.stack([receive.max(axis=1, initial=0.0), update.max(axis=1, initial=0.0), links])


def _bound_by(busy: Floats, parts: Floats, clock: float, streamed: float) -> tuple[str, ...]:
    names = np.array(["synapses", "neurons", "links"])[parts.argmax(axis=0)]
    waits = "host" if streamed > clock else "clock"
    return tuple(waits if max(clock, streamed) > t else str(name) for t, name in zip(busy, names, strict=True))


def time_of(profile: HardwareProfile, term: str, end: str) -> float:
    """Returns the time of a term at the best estimate or an end; 0 where the chip states none."""
    constant = profile.times.get(term)
    if constant is None and term.startswith("synaptic_event_"):
        constant = profile.times.get("synaptic_event")
    return 0.0 if constant is None else float(getattr(constant, end))


def _receive_time(counts: MappedCounts, profile: HardwareProfile, end: str) -> Floats:
    each = time_of(profile, "packet_in", end) + time_of(profile, "local_delivery", end)
    total = np.asarray(counts.packets_in * each, np.float64)
    for term in ("synaptic_event_dense", "synaptic_event_conv", "synaptic_event_sparse"):
        total += counts.by_core(term) * time_of(profile, term, end)
    for term in ("graded_event", "shortcut_add", "product_operation"):
        total += counts.by_core(term) * time_of(profile, "synaptic_event_dense", end)
    return total


def _update_time(counts: MappedCounts, profile: HardwareProfile, end: str) -> Floats:
    total = np.asarray(counts.by_core("packet") * time_of(profile, "packet_out", end), np.float64)
    for term in ("neuron_access", "neuron_update", "neuron_idle", "spike"):
        total += counts.by_core(term) * time_of(profile, term, end)
    return total


def _link_time(counts: MappedCounts, profile: HardwareProfile, end: str) -> Floats:
    """Returns the time of the busiest link: its packets pass one after the other."""
    slowest = np.zeros(counts.time_steps)
    for way, load in counts.links.items():
        hop = time_of(profile, "hop_x" if way in ("east", "west") else "hop_y", end)
        slowest = np.maximum(slowest, load.reshape(counts.time_steps, -1).max(axis=1) * hop)
    return slowest


def barrier_seconds(profile: HardwareProfile, tiles: int) -> float:
    """Returns the time of the barrier that ends a step, by the tiles in use."""
    if not profile.barrier:
        return 0.0
    known = sorted(profile.barrier)
    if profile.barrier_rule == "linear":
        return float(np.interp(tiles, known, [profile.barrier[key] for key in known]))
    return profile.barrier[max((key for key in known if key <= tiles), default=known[0])]
