"""How many published measurements lie inside the intervals of hw_sim: writes docs/calibration.md.

No constant of a chip's file was taken from any of these points; where one came from the same paper, the point is
another row of it. `python benchmarks/calibration.py` from the project's root.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurokit.hw_sim import load_chip
from neurokit.hw_sim.estimators.affine import affine_energy
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.pricing.timing import barrier_seconds
from neurokit.hw_sim.simulate import simulate_workload
from neurokit.quantity import Quantity
from neurokit.reports.energy import ChipReport

ROOT = Path(__file__).parents[1]
LOGS = json.loads((ROOT / "tests" / "data" / "loihi_power.json").read_text())
RATES = (0.02, 0.05, 0.1)  # where a paper gives no spikes: the interval is the hull over these rates


@dataclass(frozen=True)
class Point:
    """One published measurement beside what the simulator says.

    Attributes:
        chip: Chip.
        what: What was measured.
        measured: The figure, SI.
        estimate: Best estimate and interval.
        source: Where the figure was read.
    """

    chip: str
    what: str
    measured: float
    estimate: Quantity
    source: str

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the interval."""
        return self.estimate.low <= self.measured <= self.estimate.high


def hull(parts: list[Quantity]) -> Quantity:
    """Returns the middle estimate with the interval around all of them."""
    middle = parts[len(parts) // 2]
    low, high = min(p.low for p in parts), max(p.high for p in parts)
    return Quantity(middle.value, low, high, middle.unit, middle.kind, middle.source)


def truenorth() -> list[Point]:
    """Returns the points of two papers at other rates and voltages than the fitted ones."""
    akopyan, merolla = "Akopyan 2015", "Merolla 2014"
    rows = [
        ("20.07 Hz, 128 synapses, 0.8 V", 0.8, 2**20 * 128 * 20.07, 71e-3, f"{akopyan}, Fig. 17"),
        ("20 Hz, 128 synapses, 0.775 V", 0.775, 2**20 * 128 * 20.0, 72e-3, merolla),
        ("20 Hz, 128 synapses, 0.75 V", 0.75, 2**20 * 128 * 20.0, 65e-3, f"{akopyan}, sec. VII"),
        ("58 GSOPS at 400 GSOPS/W, 0.75 V", 0.75, 58e9, 145e-3, f"{akopyan}, sec. VII"),
        ("no activity, 0.70 V", 0.70, 0.0, 42e-3, f"{akopyan}, sec. VII"),
        ("200 Hz, 256 synapses, 1.05 V", 1.05, 2**20 * 256 * 200.0, 323e-3, f"{akopyan}, sec. VII"),
    ]
    chip = load_chip("truenorth")
    return [
        Point("truenorth", f"power, {what}", watts, affine_energy(chip.at_voltage(volts), events, 1.0), source)
        for what, volts, events, watts, source in rows
    ]


def odin() -> list[Point]:
    """Returns the power at both clocks; the constants are three rows of the specification table."""
    chip, source = load_chip("odin"), "Frenkel 2019, sec. IV-A"
    return [
        Point("odin", "power, 75 MHz, 37.5 MSOP/s", 477e-6, affine_energy(chip, 37.5e6, 1.0, 75e6), source),
        Point("odin", "power, 1.3 MHz, 650 kSOP/s", 35e-6, affine_energy(chip, 650e3, 1.0, 1.3e6), source),
    ]


def stacks(copies: int, sizes: list[int], rate: float) -> Workload:
    """Returns fully connected stacks beside each other on one input, ten steps, spiking at random."""
    populations, projections = [Population("x", (sizes[0],), "input")], []
    for copy in range(copies):
        for depth in range(len(sizes) - 1):
            source, target = f"s{copy}.{depth - 1}" if depth else "x", f"s{copy}.{depth}"
            populations.append(Population(target, (sizes[depth + 1],), model=NeuronModel("lif", tau=20.0)))
            projections.append(Projection.linear(f"fc{target}", source, target, (sizes[depth],), sizes[depth + 1]))
    rng = np.random.default_rng(0)
    rasters = {p.name: SpikeRaster.pack(rng.random((10, p.size)) < rate) for p in populations}
    return Workload(Network("stacks", tuple(populations), tuple(projections)), rasters)


def loihi() -> list[Point]:
    """Returns Loihi's points: the search on 32 chips, the keyword spotter and the scaled networks."""
    source = "power logs of abr/power_benchmarks"
    points = [*_search()]
    spotter = LOGS["keyword_spotter"]
    works = [stacks(1, spotter["layers"], rate) for rate in RATES]
    reports = [simulate_workload(work, ["loihi1"], estimators=(), pace="host").chips[0] for work in works]
    total = spotter["running_watts"] * spotter["seconds"]
    points.append(Point("loihi1", "energy, keyword spotter", total, hull([_total(r) for r in reports]), source))
    idle = load_chip("loihi1").prices["static_chip"].quantity()
    mean = float(np.mean([run["idle_watts"] for run in LOGS["scaled"]]))
    points.append(Point("loihi1", "idle before the scaled runs", mean, idle, source))
    empty = LOGS["empty_chip"]["running_watts"] - LOGS["empty_chip"]["idle_watts"]
    spare = spotter["running_watts"] - spotter["idle_watts"] - empty
    cores = [_sum_of_cores(report).scaled(1 / report.latency.inference.value, "W") for report in reports]
    points.append(Point("loihi1", "power, cores of the keyword spotter", spare, hull(cores), source))
    for run in LOGS["scaled"]:
        reports = [
            simulate_workload(
                stacks(run["copies"], [390, *[256] * 10, 29], rate), ["loihi1"], "in-order", (), run["seconds"] / 10
            ).chips[0]
            for rate in RATES
        ]
        watts = hull([_total(report).scaled(1 / run["seconds"], "W") for report in reports])
        what = f"power, {run['copies']} copies of ten layers"
        points.append(Point("loihi1", what, run["running_watts"], watts, source))
    return points


def _search() -> list[Point]:
    chip, source = load_chip("loihi1"), "Frady 2020, Table 2"
    points = []
    for spikes in (667, 750):
        energy = chip.prices["synaptic_event"].quantity().scaled(spikes * 76_800)
        energy = energy + chip.prices["neuron_idle"].quantity().scaled(76_800 * 60)
        what = f"energy of the cores, search among 76,800, {spikes} spikes"
        points.append(Point("loihi1", what, 1.33e-3, energy.widened(chip.energy_error), source))
    seconds = barrier_seconds(chip, 768 * 32)
    step = Quantity(seconds, seconds, seconds, "s", "measured", "barrier").widened(chip.time_error)
    points.append(Point("loihi1", "step, search on 768 chips", 13e-6, step, "Frady 2020, sec. 5.1"))
    return points


def _sum_of_cores(report: ChipReport) -> Quantity:
    """Returns what the cores and the mesh take, without idle power and host."""
    parts = [quantity for name, quantity in report.components.items() if name not in ("static", "host")]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _total(report: ChipReport) -> Quantity:
    """Returns a total without the reset of a new run: the logs run on."""
    assert report.total is not None
    reset = load_chip("loihi1").prices["reset_chip"].value
    return Quantity(
        report.total.value - reset,
        report.total.low - reset * 1.2,
        report.total.high - reset * 0.8,
        "J",
        report.total.kind,
        report.total.source,
    )


def speck() -> list[Point]:
    """Returns Speck's points of other sources; the six rows of Yao 2024 made its price, so they are no evidence."""
    chip = load_chip("speck2f").prices
    camera = chip["static_chip"].quantity() + chip["host_chip"].quantity()
    points = [Point("speck2f", "smallest power with the camera on", 0.70e-3, camera, "Yao 2024, abstract")]
    seconds, source = 0.3, "Richter 2023, in a quotation"
    works = [nmnist(share) for share in (0.5, 1.0, 2.0)]
    reports = [simulate_workload(work, ["speck2f"], "in-order", (), seconds / 30).chips[0] for work in works]
    # Recorded events were fed in: the camera is off.
    parts = [report.components["synapse"] + report.components["static"] for report in reports]
    for what, joules in (("converted", 141e-6), ("trained", 180e-6)):
        points.append(Point("speck2f", f"energy, N-MNIST, 300 ms, {what} network", joules, hull(parts), source))
    return points


def nmnist(share: float) -> Workload:
    """Returns the N-MNIST network of sinabs' quick start; each layer sends `share` spikes for each of 4,686 events."""
    shapes = {"x": (2, 34, 34), "a": (8, 34, 34), "p": (8, 17, 17), "b": (16, 17, 17), "q": (16, 8, 8), "c": (16, 4, 4)}
    shapes["y"] = (10,)
    roles = {"x": "input", "p": "current", "q": "current"}
    populations = [
        Population(name, shape, roles[name], binary=name == "x")
        if name in roles
        else Population(name, shape, model=NeuronModel("if"))
        for name, shape in shapes.items()
    ]
    projections = [
        Projection.conv("conv1", "x", "a", shapes["x"], 8, (3, 3), 1, 1),
        Projection.pool("pool1", "a", "p", shapes["a"], (2, 2)),
        Projection.conv("conv2", "p", "b", shapes["p"], 16, (3, 3), 1, 1),
        Projection.pool("pool2", "b", "q", shapes["b"], (2, 2)),
        Projection.conv("conv3", "q", "c", shapes["q"], 16, (3, 3), 2, 1),
        Projection.linear("fc", "c", "y", (256,), 10),
    ]
    rng = np.random.default_rng(0)
    rasters = {}
    for p in populations:
        spikes = np.zeros(30 * p.size, np.bool_)
        many = 4686 if p.name == "x" else int(min(share * 4686, 30 * p.size))
        spikes[rng.choice(30 * p.size, many, replace=False)] = p.name not in ("p", "q")
        rasters[p.name] = SpikeRaster.pack(spikes.reshape(30, p.size))
    return Workload(Network("nmnist", tuple(populations), tuple(projections)), rasters)


def table(points: list[Point]) -> str:
    """Returns the page."""
    inside = sum(point.inside for point in points)
    lines = [
        "# Calibration: measurements inside the stated intervals",
        "Made by `benchmarks/calibration.py`. None of these points gave a constant to a chip's file; a point from the",
        "same paper as a constant is another row of it. Where a paper does not give its spikes, the interval is the",
        "hull over firing rates of 2, 5 and 10 %. An interval is that of the constants, wider by the error of the",
        "model that the chip's file states (`energy_error`, `time_error`), with its source there. Two errors were set",
        "in view of points of this table and are no evidence of coverage: TrueNorth's 20 % and Loihi's 20 %.",
        "Loihi's intervals are wide upwards: its idle power was published as 29.7 mW and as at most 104 mW a chip.",
        "Speck on N-MNIST: the network is taken to be that of the vendor's quick start, with 4,686 events as in its",
        "first sample, and each layer to send half as many spikes, as many, or twice as many.",
        "",
        f"**{inside} of {len(points)} inside ({inside / len(points):.0%}).**",
        "",
        "| chip | what | measured | simulator | off by | inside | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in points:
        unit = p.estimate.unit
        shown = Quantity.exact(p.measured, "W" if unit == "J" and p.what.startswith("power") else unit, "measured", "-")
        said = Quantity(p.estimate.value, p.estimate.low, p.estimate.high, shown.unit, p.estimate.kind, "-")
        off = p.estimate.value / p.measured - 1
        lines.append(
            f"| {p.chip} | {p.what} | {shown.text()} | {said.text()} | {off:+.1%} | "
            f"{'yes' if p.inside else '**no**'} | {p.source} |"
        )
    return "\n".join(lines) + "\n"


def points() -> list[Point]:
    """Returns every point."""
    return [*truenorth(), *odin(), *loihi(), *speck()]


if __name__ == "__main__":
    page = table(points())
    (ROOT / "docs" / "calibration.md").write_text(page)
    print(page)
