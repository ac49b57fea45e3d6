"""An estimate in the style of Dampfhoffer et al. 2023: event-based integrate-and-fire with every memory access."""

from __future__ import annotations

from neurokit.hw_sim.estimators._base import register_estimator, report
from neurokit.hw_sim.graph.counts import Workload
from neurokit.reports.energy import EstimatorReport

# M. Horowitz, ISSCC 2014, 45 nm: a 64-bit access to a 32 KiB SRAM is 20 pJ; int16 addition 0.05 pJ, int32
# multiplication 3.1 pJ scaled to 16 bits by the square of the width.
E_SRAM_BIT = 20e-12 / 64
E_ADD = 0.05e-12
E_MUL = 3.1e-12 / 4
WEIGHT_BITS, STATE_BITS, ADDRESS_BITS = 8, 16, 32


@register_estimator("dampfhoffer2023", "in the style of Dampfhoffer et al. 2023 (equations not checked)")
def dampfhoffer2023(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates `E = events (E_read,w + E_read,V + E_add + E_write,V) + spikes E_event + T N E_leak`.

    The structure follows what the paper's abstract describes; its equations were not available, so the name says
    "style". Events are exact counts, not rates.
    """
    totals = workload.totals()
    events = totals["synaptic_events"] + totals["graded_events"]
    leaky = sum(p.size for p in workload.network.neurons if p.model is not None and p.model.kind == "lif")
    leak = workload.time_steps * leaky * (2 * STATE_BITS * E_SRAM_BIT + E_MUL)
    parts = {
        "weights read": events * WEIGHT_BITS * E_SRAM_BIT,
        "potentials read and written": 2 * events * STATE_BITS * E_SRAM_BIT,
        "additions": events * E_ADD,
        "events queued": 2 * totals["spikes"] * ADDRESS_BITS * E_SRAM_BIT,
        "leak": leak,
    }
    return report(
        "dampfhoffer2023",
        "Dampfhoffer et al. 2023 style: integrate-and-fire with all memory accesses, 45 nm",
        parts,
        "style: M. Dampfhoffer et al., Are SNNs Really More Energy-Efficient Than ANNs?, IEEE TETCI 7(3), 2023 "
        "(abstract); prices: M. Horowitz, ISSCC 2014",
        (
            "the paper's equations were not read: only the structure its abstract describes",
            "the paper finds that integrate-and-fire beats an ANN below 0.15 to 1.38 spikes a synapse and inference",
        ),
        kind="assumed",
    )
