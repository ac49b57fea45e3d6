"""Exact networks of the zoo for the event engine's benchmark: prepared once, then timed beside ONNX Runtime."""

from __future__ import annotations

import pickle
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neurokit as nk
from neurokit.capture.reference import example_input
from neurokit.hw_sim.engine import Engine
from neurokit.hw_sim.engine.dyadic import integer_network
from neurokit.hw_sim.trace import trace
from neurokit.spec import ModelSpec

# Name, and by how much thresholds are raised: the higher, the fewer spikes.
NETWORKS = (
    ("spiking_cnn", 1.0),
    ("sew_resnet18", 1.0),
    ("sew_resnet18", 2.0),
    ("sew_resnet18", 3.0),
    ("metaspikeformer_15m", 1.0),
)
CHIPS = ("loihi1", "truenorth", "speck2f")


def label(name: str, factor: float) -> str:
    """Returns the name of a prepared network."""
    return name if factor == 1.0 else f"{name}, thresholds x {factor:g}"


def raised(spec: ModelSpec, factor: float) -> ModelSpec:
    """Returns the model with higher thresholds."""

    def build() -> torch.nn.Module:
        module = spec.build()
        for part in module.modules():
            if factor != 1.0 and hasattr(part, "v_threshold"):
                part.v_threshold = part.v_threshold * factor
        return module

    return replace(spec, build=build)


def prepare(folder: Path) -> None:
    """Brings every network into its exact form, runs it in torch, and lowers it to ONNX."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, factor in NETWORKS:
        place = folder / label(name, factor)
        if (place / "workload.pickle").exists():
            continue
        spec = raised(nk.load(name), factor)
        steps = spec.time_steps or 4
        made = nk.exact(spec, calibration=example_input(spec, steps, 1, 0), search=False)
        x = example_input(spec, steps, 1, 1)
        workload = trace(made.captured, x)
        nk.lower(made, target="onnx", out=place, force=True)
        np.save(place / "input.npy", x.numpy())
        with (place / "workload.pickle").open("wb") as file:
            pickle.dump((made.proof.status, workload), file)
        print(f"prepared {place.name}", flush=True)


def exact_networks(folder: Path, threads: list[int], measure: Callable[[Callable[[], Any], int], Any]) -> list[Any]:
    """Returns decisions, differences and times of every prepared network."""
    rows = []
    for name, factor in NETWORKS:
        row = exact_network(folder / label(name, factor), threads, measure)
        rows.append(row)
        best = [min(entry["best_s"] for entry in row[key]) for key in ("engine", "onnxruntime")]
        row["times_faster_than_onnxruntime"] = round(best[1] / best[0], 2)
        print(
            f"{row['network']}: {row['decisions']:,} decisions at {row['firing_rate']:.1%}, "
            f"{row['differing_spikes']} differ; engine {best[0] * 1e3:.1f} ms, "
            f"ONNX Runtime {best[1] * 1e3:.1f} ms",
            flush=True,
        )
    return rows


def exact_network(place: Path, threads: list[int], measure: Callable[[Callable[[], Any], int], Any]) -> dict[str, Any]:
    """Returns decisions, differences and times of one prepared network."""
    with (place / "workload.pickle").open("rb") as file:
        status, workload = pickle.load(file)
    steps, neurons, outputs = workload.time_steps, workload.network.neurons, workload.network.outputs
    net, inputs = integer_network(workload.network, steps, workload.inputs)
    run = Engine(net, steps, max(threads)).run(inputs)
    pairs = [(run.rasters[p.name], workload.rasters[p.name]) for p in neurons]
    decisions = sum(wanted.neurons * wanted.time_steps for _, wanted in pairs)
    row: dict[str, Any] = {
        "network": place.name,
        "proof": status,
        "decisions": decisions,
        "differing_spikes": sum(int((got.unpack() != wanted.unpack()).sum()) for got, wanted in pairs),
        "firing_rate": round(sum(wanted.count for _, wanted in pairs) / decisions, 4),
        "events": run.synaptic_events,
        "engine": [],
        "engine_with_spikes": [],
        "onnxruntime": [],
    }
    feed = np.load(place / "input.npy")
    for many in threads:
        engine, session = Engine(net, steps, many), onnx_session(place / "model.onnx", many)
        fed = {session.get_inputs()[0].name: feed}
        row["engine"].append(measure(lambda e=engine: e.run(inputs, record=outputs), 7))
        row["engine_with_spikes"].append(measure(lambda e=engine: e.run(inputs), 7))
        row["onnxruntime"].append(measure(lambda s=session, f=fed: s.run(None, f), 7))
    return row


def onnx_session(path: Path, threads: int) -> Any:
    """Returns an ONNX Runtime session of an exported network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def count_map_price() -> dict[str, Any]:
    """Returns the time of each stage of metaspikeformer_15m on three chips, and this process's largest memory.

    To be run in a process of its own, since the memory is the process's.
    """
    spec = nk.load("metaspikeformer_15m")
    begin = time.perf_counter()
    captured = nk.capture(spec, time_steps=4)
    ready = time.perf_counter()
    report = nk.simulate(captured, chips=CHIPS)
    done = time.perf_counter()
    return {
        "network": spec.name,
        "input": [4, 1, *spec.inputs[0].shape],
        "chips": list(CHIPS),
        "capture_s": round(ready - begin, 2),
        "trace_count_map_price_s": round(done - ready, 2),
        "peak_resident_GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        "cores": {chip.chip: chip.cores for chip in report.chips},
        "synaptic_events": report.totals["synaptic_events"],
    }
