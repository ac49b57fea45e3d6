"""The time of each step: the slowest core or the busiest link, then the barrier, and at least one tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.chips.terms import KIND_OF_BASIS
from neurokit.hw_sim.pricing.mapped_counts import MappedCounts
from neurokit.quantity import Kind, worst_kind

Floats = NDArray[np.float64]

# Ends of an interval and its best estimate; everything is computed three times, once for each.
ENDS = ("value", "low", "high")


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


def step_times(counts: MappedCounts, profile: HardwareProfile, step_seconds: float | None) -> Timing | None:
    """Returns the time of each step: the slowest core or link, then the barrier, at least one tick.

    A core takes the longer of receiving (packets and synaptic events) and of updating and sending; the step waits
    for the slowest of them all (the bound model of SANA-FE's `simple` schedule and of Yik et al., arXiv:2511.21549).

    Returns:
        None where the chip has no published times and the sensor sets no pace.
    """
    if not profile.times and step_seconds is None:
        return None
    seconds: dict[str, Floats] = {}
    for end in ENDS:
        receive, update = _receive_time(counts, profile, end), _update_time(counts, profile, end)
        cores = np.maximum(receive, update)
        slowest = cores.max(axis=1, initial=0.0)
        links = _link_time(counts, profile, end)
        busy = np.maximum(slowest, links) + _barrier(profile, counts.mapping.tiles_in_use())
        tick = profile.times.get("tick")
        clock = max(getattr(tick, end) if tick else 0.0, step_seconds or 0.0)
        seconds[end] = np.maximum(busy, clock)
        if end == "value":
            shown = cores
            stacked = np.stack([receive.max(axis=1, initial=0.0), update.max(axis=1, initial=0.0), links])
            names = np.array(["synapses", "neurons", "links"])[stacked.argmax(axis=0)]
            bound = tuple("clock" if clock > t else str(name) for t, name in zip(busy, names, strict=True))
    kinds = [KIND_OF_BASIS[constant.basis] for constant in profile.times.values()] or ["assumed"]
    sources = tuple(dict.fromkeys(constant.source for constant in profile.times.values()))
    return Timing(seconds, shown, bound, worst_kind("simulated", *kinds), sources)


def _time(profile: HardwareProfile, term: str, end: str) -> float:
    constant = profile.times.get(term)
    if constant is None and term.startswith("synaptic_event_"):
        constant = profile.times.get("synaptic_event")
    return 0.0 if constant is None else float(getattr(constant, end))


def _receive_time(counts: MappedCounts, profile: HardwareProfile, end: str) -> Floats:
    each = _time(profile, "packet_in", end) + _time(profile, "local_delivery", end)
    total = counts.packets_in * each
    for term in ("synaptic_event_dense", "synaptic_event_conv", "synaptic_event_sparse"):
        total = total + counts.by_core(term) * _time(profile, term, end)
    for term in ("graded_event", "shortcut_add", "product_operation"):
        total = total + counts.by_core(term) * _time(profile, "synaptic_event_dense", end)
    return total


def _update_time(counts: MappedCounts, profile: HardwareProfile, end: str) -> Floats:
    total = counts.by_core("packet") * _time(profile, "packet_out", end)
    for term in ("neuron_access", "neuron_update", "neuron_idle", "spike"):
        total = total + counts.by_core(term) * _time(profile, term, end)
    return total


def _link_time(counts: MappedCounts, profile: HardwareProfile, end: str) -> Floats:
    """Returns the time of the busiest link: its packets pass one after the other."""
    slowest = np.zeros(counts.time_steps)
    for way, load in counts.links.items():
        hop = _time(profile, "hop_x" if way in ("east", "west") else "hop_y", end)
        slowest = np.maximum(slowest, load.reshape(counts.time_steps, -1).max(axis=1) * hop)
    return slowest


def _barrier(profile: HardwareProfile, tiles: int) -> float:
    if not profile.barrier:
        return 0.0
    known = sorted(profile.barrier)
    if profile.barrier_rule == "linear":
        return float(np.interp(tiles, known, [profile.barrier[key] for key in known]))
    return profile.barrier[max((key for key in known if key <= tiles), default=known[0])]
