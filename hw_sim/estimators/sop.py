"""The literature's default: multiply-accumulates of the first layer, accumulates of the others, at 45 nm prices."""

from __future__ import annotations

from neurokit.hw_sim.estimators._base import layers_of, option, product_terms, rate_of, register_estimator, report
from neurokit.hw_sim.graph.counts import Workload
from neurokit.reports.energy import EstimatorReport

# (multiply-accumulate, accumulate) in joules: M. Horowitz, ISSCC 2014, 45 nm, 0.9 V.
PRICES = {"fp32": (4.6e-12, 0.9e-12), "fp16": (1.5e-12, 0.4e-12), "int8": (0.23e-12, 0.03e-12)}


@register_estimator("sop", "synaptic operations x 0.9 pJ, first layer x 4.6 pJ (45 nm)")
def sop(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates `E = E_MAC FL_1 + E_AC sum over l >= 2 of FL_l fr_l T`.

    FL is the dense layer's operations with borders, fr the mean firing rate of its input (M. Yao et al.,
    Spike-driven Transformer, NeurIPS 2023, and Meta-SpikeFormer, ICLR 2024). A layer whose input is not spikes counts
    as the first, once for an image that does not change and in each of T steps for event frames and averages, which
    do; a first layer that receives events counts as the others do.

    Args:
        workload: What was run.
        argument: "fp32" (default), "fp16" or "int8".
    """
    precision = option("sop", argument, "fp32", tuple(PRICES))
    mac, add = PRICES[precision]
    first = sum(layer.macs * layer.passes for layer in layers_of(workload) if not layer.binary)
    rest = sum(
        layer.macs * rate_of(layer, workload.time_steps) * workload.time_steps
        for layer in layers_of(workload)
        if layer.binary
    )
    parts = {
        "multiply-accumulate": first * mac,
        "accumulate": rest * add,
        "attention": product_terms(workload) * add,
    }
    return report(
        f"sop:{precision}" if argument else "sop",
        f"synaptic operations at 45 nm, {precision}; no memory, no routing, no leakage",
        parts,
        "rule: M. Yao et al., Spike-driven Transformer, NeurIPS 2023; prices: M. Horowitz, ISSCC 2014, 45 nm",
        (
            "operations are firing rate x dense operations, which overcounts at borders and strides",
            "a direct-coded image that does not change is charged once; event frames and averages in every step",
            "attention products are charged for their non-zero terms",
        ),
    )


@register_estimator("spikingjelly", "operations as SpikingJelly's own counters count them (45 nm)")
def spikingjelly(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates `E = E_MAC MACs + E_AC SynOps` with the counts of SpikingJelly's `MACCounter` and `SynOpCounter`.

    An accumulate is a spike that crosses a connection, borders clipped; a layer whose input is no spikes costs its
    dense multiply-accumulates in each step in which it is computed.
    """
    mac, add = PRICES["fp32"]
    layers = layers_of(workload)
    dense = sum(layer.macs * layer.passes for layer in layers if not layer.binary)
    crossed = sum(layer.events for layer in layers if layer.binary) + product_terms(workload)
    by_rate = sum(
        layer.macs * rate_of(layer, workload.time_steps) * workload.time_steps for layer in layers if layer.binary
    )
    more = by_rate / crossed - 1 if crossed else 0.0
    return report(
        "spikingjelly",
        "operations as SpikingJelly 2.0's own counters count them, fp32, 45 nm; no memory",
        {"multiply-accumulate": dense * mac, "accumulate": crossed * add},
        "rule: SpikingJelly 2.0, op_counter (MACCounter, SynOpCounter); prices: M. Horowitz, ISSCC 2014",
        (
            f"differs from sop by what lies outside the borders: sop's rate x dense operations are {more:+.1%} here",
            "SpikingJelly's estimate_simple_energy adds the traffic of weights and states, 24.96 pJ a byte",
            "its MACCounter also counts pooled averages and batch normalisations that are not folded",
        ),
    )
