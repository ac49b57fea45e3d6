"""The same network without spikes: one dense pass with int8 or fp32 numbers, the baseline that spikes must beat."""

from __future__ import annotations

from neurokit.hw_sim.estimators._base import dense_macs, layers_of, register_estimator, report
from neurokit.hw_sim.graph.counts import Workload
from neurokit.reports.energy import EstimatorReport

# M. Horowitz, ISSCC 2014, 45 nm, 0.9 V: multiplication and addition; SRAM per 64-bit access.
MAC = {"int8": (0.2 + 0.03) * 1e-12, "fp32": (3.7 + 0.9) * 1e-12}
WIDTH = {"int8": 8, "fp32": 32}
E_SMALL_BIT = 20e-12 / 64  # 32 KiB: activations
E_LARGE_BIT = 100e-12 / 64  # 1 MiB: weights


def dense_pass(workload: Workload, precision: str) -> EstimatorReport:
    """Estimates `MAC (E_mul + E_add) + W b E_1MiB + 2 A b E_32KiB`: each weight read once, each activation twice.

    This is an accelerator that reuses everything perfectly, so it is a low estimate of a real one: a spiking network
    that costs more than this is not shown to be worse than every ANN, but one that costs less is better than all.
    """
    network, layers = workload.network, layers_of(workload)
    macs = dense_macs(workload)
    inner = network.neuron_count or sum(layer.outputs for layer in layers)  # a model without spikes has no neurons
    activations = inner + sum(p.size for p in network.inputs)
    bits = WIDTH[precision]
    parts = {
        "multiply-accumulate": macs * MAC[precision],
        "weights": sum(layer.weights for layer in layers) * bits * E_LARGE_BIT,
        "activations": 2 * activations * bits * E_SMALL_BIT,
    }
    return report(
        f"ann-{precision}",
        f"an accelerator that nobody sells: the same shape without spikes, {precision}, one pass, 45 nm, perfect reuse",
        parts,
        "M. Horowitz, ISSCC 2014, energy table at 45 nm and 0.9 V",
        (f"{macs} multiply-accumulates; every weight read once, every activation written and read once",),
    )


@register_estimator("ann-int8", "the same shape as an int8 ANN, one pass (45 nm)")
def ann_int8(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates one dense pass with 8-bit integers."""
    return dense_pass(workload, "int8")


@register_estimator("ann-fp32", "the same shape as an fp32 ANN, one pass (45 nm)")
def ann_fp32(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates one dense pass with 32-bit floats."""
    return dense_pass(workload, "fp32")
