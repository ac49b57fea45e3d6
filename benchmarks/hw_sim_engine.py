"""Speed of the event engine: synaptic events a second, beside SANA-FE on the same network and ONNX Runtime.

    python benchmarks/hw_sim_engine.py --prepare build/engine   # exact networks, some minutes, once
    python benchmarks/hw_sim_engine.py --prepared build/engine --out benchmarks/results/hw_sim_engine.json

Every engine time is end to end: spikes in, spikes of every population out as packed bits, neurons included, events
counted for each projection and step. SANA-FE (GPL, optional) simulates the same network with the same input; ONNX
Runtime runs the same integers as float32, which is exact here, and its spikes are compared one by one. Networks of the
zoo in exact form are compared with torch, spike by spike. Without --prepared they are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from engine_exact import count_map_price, exact_networks, prepare
from engine_networks import DVS_SHAPE, clustered, dvs_network, network, uniform
from engine_rivals import onnx_session, sanafe_row

from neurokit import provenance
from neurokit.hw_sim.engine import Engine, IntegerNetwork

DVS = "conv 2x64x64, 3x3x32, 3x3x64 stride 2, 3x3x128 stride 2, dense 11"


def measure(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Returns median and best seconds of `repeats` runs after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return {"median_s": statistics.median(times), "best_s": min(times), "repeats": repeats}


def engine_row(net: IntegerNetwork, spikes: np.ndarray, repeats: int, threads: int) -> dict[str, Any]:
    """Returns time and events a second of the engine."""
    engine = Engine(net, len(spikes), threads)
    events = engine.run({"in": spikes}).synaptic_events
    row = measure(lambda: engine.run({"in": spikes}), repeats)
    return {
        "threads": threads,
        "events": events,
        **row,
        "G_events_per_s": round(events / row["median_s"] / 1e9, 3),
        "G_events_per_s_best": round(events / row["best_s"] / 1e9, 3),
    }


def paired(quick: bool, threads: list[int]) -> list[dict[str, Any]]:
    """Returns rows of the networks that SANA-FE can hold too."""
    cases = [
        ("dense 1024-1024-10", network("dense", (1024,), [("linear", 1024, 2500), ("linear", 10, 2500)]), 100, 0.1),
        (
            "conv 32x32x2, 3x3x16, 3x3x32 stride 2, no padding",
            network("conv", (2, 32, 32), [("conv", 16, 3, 1, 0, 200), ("conv", 32, 3, 2, 0, 400)]),
            50,
            0.05,
        ),
    ]
    rows = []
    for name, net, steps, rate in cases:
        spikes = uniform(net, steps, rate)
        row: dict[str, Any] = {
            "network": name,
            "time_steps": steps,
            "input_rate": rate,
            "synapses": net.network.synapses,
        }
        row["engine"] = [engine_row(net, spikes, 5 if quick else 30, n) for n in threads]
        row["bytes_per_synapse"] = round(Engine(net, steps).bytes_per_synapse, 3)
        row["sanafe"] = None if quick else sanafe_row(net, spikes)
        if row["sanafe"]:
            best = max(r["G_events_per_s_best"] for r in row["engine"])
            row["equal_events"] = row["sanafe"]["events"] == row["engine"][0]["events"]
            row["times_sanafe"] = round(best * 1e3 / row["sanafe"]["M_events_per_s"], 1)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def sweep(quick: bool, threads: list[int]) -> list[dict[str, Any]]:
    """Returns rows over input rates of a dense and two convolutional networks."""
    cases = [
        ("dense 1024-1024", network("dense", (1024,), [("linear", 1024, 2500)]), 100),
        ("dense 4096-4096", network("dense4k", (4096,), [("linear", 4096, 5000)]), 20),
        (
            "conv 64x32x32, 3x3x64, 3x3x64, padded",
            network("conv64", (64, 32, 32), [("conv", 64, 3, 1, 1, 1000), ("conv", 64, 3, 1, 1, 1000)]),
            10,
        ),
        (DVS, dvs_network(), 20),
    ]
    rows = []
    for name, net, steps in cases:
        for rate in (0.01, 0.05, 0.1, 0.2):
            spikes = uniform(net, steps, rate)
            engine = [engine_row(net, spikes, 3 if quick else 15, n) for n in threads]
            rows.append({"network": name, "time_steps": steps, "input_rate": rate, "engine": engine})
            print(
                name, rate, [(r["threads"], r["G_events_per_s"], r["G_events_per_s_best"]) for r in engine], flush=True
            )
    return rows


def crossover(quick: bool, threads: int) -> dict[str, Any]:
    """Returns times of the engine and of ONNX Runtime over the activity of a sparse input, and where they meet."""
    steps = 20
    net = dvs_network()
    session = onnx_session(net, steps, threads)
    rows = []
    for rate in (0.01, 0.02, 0.05, 0.1, 0.2):
        spikes = clustered(DVS_SHAPE, steps, rate)
        dense = spikes.astype(np.float32)
        engine = Engine(net, steps, threads)
        run = engine.run({"in": spikes})
        theirs = session.run(None, {"in": dense})
        names = [p.name for p in net.network.neurons]
        differences = sum(
            int((run.rasters[name].unpack() != values.reshape(steps, -1)).sum())
            for name, values in zip(names, theirs, strict=True)
        )
        repeats = 5 if quick else 15
        single = Engine(net, steps, 1)
        row = {
            "input_activity": rate,
            "rates": {n: round(run.rasters[n].rate, 4) for n in names},
            "differing_spikes": differences,
            "events": run.synaptic_events,
            "engine": measure(lambda e=engine, s=spikes: e.run({"in": s}), repeats),
            "engine_1_thread": measure(lambda e=single, s=spikes: e.run({"in": s}), repeats),
            "onnxruntime": measure(lambda d=dense: session.run(None, {"in": d}), repeats),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    ratio = [
        row["onnxruntime"]["best_s"] / min(row["engine"]["best_s"], row["engine_1_thread"]["best_s"]) for row in rows
    ]
    return {
        "network": "conv 2x64x64, 3x3x32, 3x3x64 stride 2, 3x3x128 stride 2, dense 11",
        "time_steps": steps,
        "threads": threads,
        "rows": rows,
        "times_faster_than_onnxruntime": [round(r, 2) for r in ratio],
        "crossover_activity": meeting_point([row["input_activity"] for row in rows], ratio),
    }


def resnet_crossover(rows: list[dict[str, Any]]) -> str:
    """Returns the firing rate of sew_resnet18 at which the engine and ONNX Runtime take the same time."""
    found = sorted(
        (row["firing_rate"], row["times_faster_than_onnxruntime"])
        for row in rows
        if row["network"].startswith("sew_resnet18")
    )
    return meeting_point([rate for rate, _ in found], [ratio for _, ratio in found]) if found else ""


def meeting_point(rates: list[float], ratio: list[float]) -> str:
    """Returns where the ratio of times passes 1, interpolated between the measured activities."""
    for (a, b), (r, s) in zip(itertools.pairwise(rates), itertools.pairwise(ratio), strict=True):
        if r >= 1 > s:
            return f"{float(np.interp(0, [-np.log(r), -np.log(s)], [a, b])):.3f}"
    return f"above {rates[-1]}" if ratio[-1] >= 1 else f"below {rates[0]}"


def in_a_process_of_its_own(option: str) -> dict[str, Any]:
    """Returns what this script prints with an option."""
    done = subprocess.run([sys.executable, __file__, option], check=True, capture_output=True, text=True)
    row = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repeats, no SANA-FE")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--prepare", type=Path, help="only bring the zoo's networks into exact form, into this folder")
    parser.add_argument("--prepared", type=Path, help="that folder")
    parser.add_argument("--count", action="store_true", help="only count, map and price; prints one JSON object")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
        return
    if options.count:
        print(json.dumps(count_map_price()))
        return
    result = {
        "provenance": provenance.collect() | {"sanafe": provenance.versions(("sanafe",)).get("sanafe", "absent")},
        "note": options.note,
        "counting": in_a_process_of_its_own("--count"),
        "exact": exact_networks(options.prepared, options.threads, measure) if options.prepared else [],
        "crossover": crossover(options.quick, max(options.threads)),
        "paired": paired(options.quick, options.threads),
        "sweep": sweep(options.quick, options.threads),
    }
    result["sew_resnet18_crossover_rate"] = resnet_crossover(result["exact"])
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
