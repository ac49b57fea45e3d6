"""What the latency harness itself costs, and whether its figures agree with a bare loop on the same session.

The overhead is the time that one turn of the harness takes beyond one turn of a bare loop, on a call that does
nothing, as a share of an inference of 1 ms. The agreement is that of the medians of one ONNX model, measured in turns
so that what else the machine does falls on both alike. Writes benchmarks/results/latency.json.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import neurokit as nk
from neurokit import provenance
from neurokit.bench.compare import hodges_lehmann
from neurokit.bench.job import Rules
from neurokit.bench.measure import _observer
from neurokit.bench.method import back_to_back
from neurokit.target import Runner

RESULT = Path(__file__).parent / "results" / "latency.json"
ROUNDS, TURNS, INFERENCE_S = 40, 5000, 1e-3


def overhead() -> list[float]:
    """Returns, for each round, the seconds that one turn of the harness takes beyond one of a bare loop."""

    def nothing() -> None:
        return

    rules = Rules(seconds=1e-6, samples=TURNS)
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(TURNS):
            nothing()
        bare = time.perf_counter() - start
        start = time.perf_counter()
        back_to_back(nothing, rules, observe=_observer(lambda event: None))
        found.append((time.perf_counter() - start - bare) / TURNS)
    return found


def agreement() -> dict[str, float]:
    """Returns medians by a bare loop and by the harness on one session, and the interval of their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = nk.lower(nk.capture(nk.load("spiking_cnn"), time_steps=4), "onnx", Path(folder) / "m")
        with nk.open(artifact, threads=1) as runner:
            x = _about_1_ms(runner)
            bare, ours = [], []
            for _ in range(ROUNDS):
                bare.append(_bare(runner, x))
                ours.append(statistics.median(back_to_back(lambda: runner(x), Rules(seconds=1e-6, samples=100))[0]))
    logs = [float(np.log(b / a)) for a, b in zip(bare, ours, strict=True)]
    middle, low, high, confidence = hodges_lehmann(logs, 0.95)
    return {
        "bare_median_s": statistics.median(bare),
        "harness_median_s": statistics.median(ours),
        "ratio": float(np.exp(middle)),
        "ratio_low": float(np.exp(low)),
        "ratio_high": float(np.exp(high)),
        "confidence": confidence,
    }


def _bare(runner: Runner, x: np.ndarray) -> float:
    times = []
    for _ in range(100):
        start = time.perf_counter()
        runner(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _about_1_ms(runner: Runner) -> np.ndarray:
    """Returns an input whose batch makes one call take about a millisecond."""
    for batch in range(1, 65):
        x = np.random.default_rng(0).random((4, batch, 1, 8, 8), dtype=np.float32)
        if _bare(runner, x) >= INFERENCE_S:
            break
    return x


def main() -> None:
    costs = overhead()
    typical = statistics.median(costs)
    result = {
        "overhead_s": {"median": typical, "min": min(costs), "max": max(costs), "rounds": ROUNDS, "turns": TURNS},
        "share_of_1_ms": typical / INFERENCE_S,
        "agreement": agreement(),
        "provenance": provenance.collect(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"harness: {typical * 1e6:.2f} µs a sample, {typical / INFERENCE_S:.3%} of 1 ms (below 1 % is wanted)")
    print(
        f"median by harness / by a bare loop: {result['agreement']['ratio']:.4f} "
        f"[{result['agreement']['ratio_low']:.4f}, {result['agreement']['ratio_high']:.4f}]"
    )


if __name__ == "__main__":
    main()
