"""One ratio that says whether spiking can pay, and the comparison with devices that run it without spikes."""

from __future__ import annotations

from collections.abc import Iterable

from neurokit.hw_sim.devices.device import Device
from neurokit.hw_sim.estimators import dense_macs
from neurokit.hw_sim.graph.counts import Workload
from neurokit.quantity import Quantity
from neurokit.reports.energy import ChipReport, ComparatorReport, Verdict
from neurokit.reports.latency import LatencyReport

# S. Davidson and S. Furber, Comparison of Artificial and Spiking Neural Networks on Digital Hardware,
# Frontiers in Neuroscience 15, 2021: fewer spikes a synapse and inference than this are needed.
GATE = 1.72
SOURCE = (
    "S. Davidson, S. Furber, Comparison of Artificial and Spiking Neural Networks on Digital Hardware, "
    "Front. Neurosci. 15, 2021"
)

NO_VERDICT = "no comparison: part of the network is in no count, so every total is a lower bound"


def spikes_per_synapse(workload: Workload) -> Verdict:
    """Judges synaptic events for each synapse over the run against Davidson and Furber's 1.72."""
    ratio = workload.spikes_per_synapse()
    passes = ratio < GATE
    can = "can pay" if passes else "does not pay"
    text = f"{ratio:.3g} spikes a synapse and inference (threshold {GATE}): on equal hardware spiking {can}"
    return Verdict(ratio, GATE, passes, text, SOURCE)


def comparators_of(devices: Iterable[Device | LatencyReport], workload: Workload) -> tuple[ComparatorReport, ...]:
    """Returns what each device takes for the same network without spikes, or was measured to take by the user."""
    macs, part_only = dense_macs(workload), bool(workload.network.uncounted)
    return tuple(_comparator(device, macs, part_only) for device in devices)


def _comparator(device: Device | LatencyReport, macs: int, part_only: bool) -> ComparatorReport:
    if isinstance(device, LatencyReport):
        assert device.energy is not None  # `load_comparator` refuses a run without
        title = f"your own measurement ({device.model})"
        return ComparatorReport(device.model, title, device.energy, "as measured", device.energy_note)
    low, high = device.joules_per_mac()
    sizes = [point.macs for point in device.points]
    outside = "" if device.measured(macs) else f"; no network of this size was: {min(sizes):g} to {max(sizes):g} MACs"
    note = f"{macs} MACs at {low * 1e12:.3g} to {high * 1e12:.3g} pJ, as measured on {len(sizes)} networks{outside}"
    return ComparatorReport(device.name, device.title, device.energy(macs), device.precision, note, part_only)


def compare(chips: Iterable[ChipReport], comparators: Iterable[ComparatorReport]) -> tuple[str, ...]:
    """Says for each chip and comparator by how much one takes more than the other, as far as the intervals tell."""
    lines = []
    known = [entry for entry in comparators if entry.total.value]
    for chip in chips:
        for other in known if chip.total is not None and chip.total.value else ():
            assert chip.total is not None
            least = "at least " if chip.status == "lower-bound" else ""
            lines.append(
                f"on {other.title} the {other.precision} network would take {_span(other.total)}; on {chip.title} this "
                f"one takes {least}{_short(chip.total.low if least else chip.total.value)}: {_relation(chip, other)}"
            )
    return tuple(lines)


def _relation(chip: ChipReport, other: ComparatorReport) -> str:
    assert chip.total is not None
    low, high = chip.total.low / other.total.high, chip.total.high / other.total.low
    if chip.status == "lower-bound":
        return f"at least {_times(low)} times as much" if low > 1 else "a lower bound does not tell which is less"
    if low > 1:
        return f"{_times(low)} to {_times(high)} times as much"
    if high < 1:
        most = f" to {_times(1 / low)}" if low > 0 else " or more"
        return f"{_times(1 / high)}{most} times less"
    return f"the intervals overlap ({_times(low)} to {_times(high)} times as much)"


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:,.0f}"


def _short(value: float) -> str:
    return Quantity.exact(value, "J", "analytic", "").text()


def _span(total: Quantity) -> str:
    return _short(total.value) if total.low == total.high else f"{_short(total.low)} to {_short(total.high)}"
