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
    as the first; a first layer that receives events counts as the others do.

    Args:
        workload: What was run.
        argument: "fp32" (default), "fp16" or "int8".
    """
    precision = option("sop", argument, "fp32", tuple(PRICES))
    mac, add = PRICES[precision]
    first = sum(layer.macs for layer in layers_of(workload) if not layer.binary)
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
            "a direct-coded first layer is charged once, as for an image that does not change",
            "attention products are charged for their non-zero terms",
        ),
    )
