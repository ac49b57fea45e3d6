"""Reports for a page: eight measured rows and one priced network."""

import numpy as np

from neurokit.quantity import Quantity
from neurokit.reports import LatencyReport
from neurokit.reports import energy as chips

CASES = (  # target, numerics, parity, median in seconds, right answers of 500, T
    ("onnx", "float", "benign rounding", 1.0e-3, 480, 4),
    ("onnx", "exact", "exact", 1.3e-3, 481, 4),
    ("onnx-step", "float", "benign rounding", 2.0e-3, 479, 4),
    ("onnx-int8", "int8", "failed", 0.5e-3, 440, 4),
    ("onnx", "float", "exact", 0.6e-3, 455, 2),
    ("torch-eager", "float", "", 12e-3, 480, 4),
)
MACHINE = {
    "machine": {"cpu": "Test CPU", "governor": "performance"},
    "versions": {"onnxruntime": "1.2.3"},
    "time": "2030-01-01T00:00:00+00:00",
    "during": {"competing_cpus": 0.01},
}


def latency(number, target, numerics, parity, median, correct, steps):
    times = (median * np.random.default_rng(number).lognormal(0, 0.05, 3000)).tolist()
    joules = Quantity.exact(10 * median, "J", "measured", "RAPL package-0") if number != 5 else None
    return LatencyReport.judged(
        "tiny",
        target,
        "single",
        times,
        environment=MACHINE,
        numerics=numerics,
        time_steps=steps,
        elapsed_s=12.0,
        variant="1 thread",
        bytes_on_disk=150_000,
        memory={"cpu_added": 3.2e7},
        load_s=0.1,
        first_s=0.01,
        parity=parity,
        parity_overridden=parity == "failed",
        energy=joules,
        energy_note="" if joules else "absent: no",
        accuracy={"correct": correct, "total": 500, "data": "digits.npz"},
    )


def chip(name, total, status="priced", fits=True):
    timing = chips.LatencyReport((1e-3,), Quantity(4e-3, 3e-3, 5e-3, "s", "simulated", "x"), 1e-3, 1e-3, ("clock",), ())
    return chips.ChipReport(
        chip=name,
        title=name.title(),
        status=status,
        fits=fits,
        violations=(),
        strategy="annealed",
        chips=1,
        cores=4,
        core_energy=(),
        total=total,
        components={},
        layers={},
        steps=(),
        core_map=(),
        links=(),
        latency=timing if fits else None,
        counts={},
        unpriced=("leak",) if status != "priced" else (),
        assumptions=(),
        warnings=(),
        sources=("synapse 23.6 pJ: table 2",),
    )


def energy():
    """A report as hw_sim writes it."""
    found = [
        chip("alpha", Quantity(1e-5, 8e-6, 1.5e-5, "J", "simulated", "engine")),
        chip("beta", Quantity(3e-6, 2e-6, 5e-6, "J", "simulated", "engine"), "lower-bound", False),
        chip("gamma", None, "refused"),
    ]
    ann = [
        chips.EstimatorReport(f"ann-{p}", f"{p} ANN", Quantity(j, j, j, "J", "analytic", "paper"), {}, "paper")
        for p, j in (("int8", 2e-5), ("fp32", 9e-5))
    ]
    return chips.EnergyReport(
        "tiny",
        "digits",
        1,
        4,
        10,
        20,
        30,
        {},
        (),
        tuple(found),
        tuple(ann),
        None,
        ("alpha: 0.5 x ann-int8",),
        {},
        ("borders clipped",),
        (),
        "neurokit",
    )
