"""The comparison of Yan et al. 2024: a spiking network against a quantised one of equal precision, with memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurokit.hw_sim.estimators._base import layers_of, register_estimator, report
from neurokit.hw_sim.graph.counts import Workload
from neurokit.reports.energy import EstimatorReport

# 22 nm, joules (accumulate, compare, subtract) and joules a bit; as used by the spyx project's re-derivation.
E_OP = 0.05448e-12
E_DRAM_BIT = 20.0e-12
E_ON_CHIP_BIT = 0.25e-12
# 45 nm fp32 add and multiply (Horowitz), scaled by width and by its square for the quantised network's MAC.
E_ADD32, E_MUL32 = 0.9e-12, 3.7e-12
WEIGHT_BITS = STATE_BITS = 8

SOURCE = "Z. Yan et al., Reconsidering the energy efficiency of spiking neural networks, arXiv:2409.08290"


@dataclass(frozen=True)
class Counts:
    """What both sides of the comparison need.

    Attributes:
        events: Synaptic events over the run.
        spikes: Spikes of neurons over the run.
        neurons: Neurons that compare with a threshold.
        states: Neurons (and read-outs) that keep a potential.
        activations: Values that move between layers, inputs included.
        macs: Multiply-accumulates of one dense pass.
        time_steps: T.
    """

    events: float
    spikes: float
    neurons: int
    states: int
    activations: int
    macs: int
    time_steps: int


def equal_bits(time_steps: int) -> int:
    """Returns `ceil(log2(T + 1))`, the width of an activation that holds as much as T spikes counted."""
    return math.ceil(math.log2(time_steps + 1))


def spiking(counts: Counts) -> dict[str, float]:
    """Returns the spiking network's energy: operations, a weight fetched an event, potentials read and written."""
    steps = counts.time_steps
    compute = counts.events * E_OP + steps * counts.neurons * E_OP + counts.spikes * E_OP
    return {
        "compute": compute,
        "weights": counts.events * WEIGHT_BITS * E_DRAM_BIT,
        "state": 2 * steps * counts.states * STATE_BITS * E_ON_CHIP_BIT,
    }


def quantised(counts: Counts) -> float:
    """Returns the quantised network's energy for one pass: MACs, a weight fetched a MAC, activations moved."""
    bits = equal_bits(counts.time_steps)
    mac = E_MUL32 * (bits / 32) ** 2 + E_ADD32 * bits / 32
    return (
        counts.macs * (mac + bits * E_DRAM_BIT) + 2 * counts.states * E_OP + counts.activations * bits * E_ON_CHIP_BIT
    )


def counts_of(workload: Workload) -> Counts:
    """Returns the counts of a workload; graded events count as events."""
    network, totals = workload.network, workload.totals()
    return Counts(
        events=totals["synaptic_events"] + totals["graded_events"],
        spikes=totals["spikes"],
        neurons=network.neuron_count,
        states=network.neuron_count,
        activations=network.neuron_count + sum(p.size for p in network.inputs),
        macs=sum(layer.macs for layer in layers_of(workload)),
        time_steps=workload.time_steps,
    )


@register_estimator("yan2024", "with memory, against a quantised network of equal precision (Yan et al. 2024)")
def yan2024(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates `E = SOP (E_ACC + b_w E_w) + T N E_CMP + spikes E_SUB + 2 T N b_s e_on`.

    The first note gives the energy of the quantised network of the same shape with `ceil(log2(T + 1))` bits.
    """
    counts = counts_of(workload)
    parts = spiking(counts)
    other = quantised(counts)
    ratio = sum(parts.values()) / other if other else math.inf
    bits = equal_bits(counts.time_steps)
    return report(
        "yan2024",
        "Yan et al. 2024 style: 22 nm operations, weights from DRAM, potentials on the chip",
        parts,
        f"{SOURCE}; constants and form as re-derived by the spyx project (research/new/honest_energy_accounting)",
        (
            f"a {bits}-bit network of the same shape needs {other:.4g} J: this one takes {ratio:.3g} times as much",
            "8-bit weights and potentials here, equal-precision weights there; event routing is left out on both sides",
            "the paper's own equations could not be read in full: this follows a re-derivation",
        ),
    )
