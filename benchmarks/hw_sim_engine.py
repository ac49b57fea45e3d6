"""Speed of the event engine: synaptic events a second, beside SANA-FE on the same network and ONNX Runtime.

    python benchmarks/hw_sim_engine.py [--quick] [--out benchmarks/results/hw_sim_engine.json]

Every engine time is end to end: spikes in, spikes of every population out as packed bits, neurons included, events
counted for each projection and step. SANA-FE (GPL, optional) simulates the same network with the same input; ONNX
Runtime runs the same integers as float32, which is exact here, and its spikes are compared one by one.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import provenance
from neurokit.hw_sim.engine import Engine, IntegerNetwork, IntegerPopulation, IntegerProjection
from neurokit.hw_sim.network import Network, NeuronModel, Population
from neurokit.hw_sim.projection import Projection

IF = NeuronModel("if")
DVS = "conv 2x64x64, 3x3x32, 3x3x64 stride 2, 3x3x128 stride 2, dense 11"
DVS_SHAPE = (2, 64, 64)


def measure(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Returns median and best seconds of `repeats` runs after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return {"median_s": statistics.median(times), "best_s": min(times), "repeats": repeats}


def network(name: str, shape: tuple[int, ...], layers: list[tuple[Any, ...]]) -> IntegerNetwork:
    """Builds IF layers: ("conv", channels, kernel, stride, padding, threshold) or ("linear", neurons, threshold)."""
    rng = np.random.default_rng(0)
    populations, projections, weights, numbers = [Population("in", shape, "input")], [], {}, {}
    for n, (kind, outputs, *rest) in enumerate(layers):
        source, target = populations[-1], f"n{n}"
        if kind == "conv":
            kernel, stride, padding, threshold = rest
            p = Projection.conv(f"p{n}", source.name, target, source.shape, outputs, (kernel,) * 2, stride, padding)
            weight = rng.integers(-64, 64, (outputs, source.shape[0], kernel, kernel))
        else:
            (threshold,) = rest
            p = Projection.linear(f"p{n}", source.name, target, (source.size,), outputs)
            weight = rng.integers(-64, 64, (outputs, source.size))
        populations.append(Population(target, p.target_shape, model=IF))
        projections.append(p)
        weights[p.name] = IntegerProjection(weight.astype(np.int8))
        numbers[target] = IntegerPopulation(threshold=threshold)
    return IntegerNetwork(Network(name, tuple(populations), tuple(projections)), numbers, weights)


def uniform(net: IntegerNetwork, steps: int, rate: float) -> np.ndarray:
    """Returns independent spikes, `[T, N]`."""
    size = net.network.populations[0].size
    return np.random.default_rng(1).random((steps, size)) < rate


def clustered(shape: tuple[int, int, int], steps: int, rate: float) -> np.ndarray:
    """Returns spikes where a smooth random field that drifts is highest, like the moving edges of an event camera."""
    rng = np.random.default_rng(2)
    field = np.fft.fft2(rng.standard_normal(shape))
    frequency = np.hypot(np.fft.fftfreq(shape[1])[:, None], np.fft.fftfreq(shape[2])[None])
    smooth = np.fft.ifft2(field / (frequency + 0.02) ** 1.5).real
    out = np.zeros((steps, *shape), bool)
    for t in range(steps):
        frame = np.roll(smooth, (t, 2 * t), axis=(1, 2)) + 0.3 * smooth.std() * rng.standard_normal(shape)
        out[t] = frame > np.quantile(frame, 1 - rate)
    return out


def engine_row(net: IntegerNetwork, spikes: np.ndarray, repeats: int, threads: int) -> dict[str, Any]:
    """Returns time and events a second of the engine."""
    engine = Engine(net, len(spikes), threads)
    events = engine.run({"in": spikes}).synaptic_events
    row = measure(lambda: engine.run({"in": spikes}), repeats)
    return {
        "threads": threads, "events": events, **row, "G_events_per_s": round(events / row["median_s"] / 1e9, 3),
        "G_events_per_s_best": round(events / row["best_s"] / 1e9, 3),
    }  # fmt: skip


def sanafe_row(net: IntegerNetwork, spikes: np.ndarray) -> dict[str, Any] | None:
    """Returns time and events a second of SANA-FE on the same network, or None where it is not installed."""
    try:
        import sanafe
    except ImportError:
        return None
    begin = time.perf_counter()
    arch = sanafe.load_loihi()
    snn = sanafe.Network()
    cores = iter([core for tile in arch.tiles for core in tile.cores])
    groups = {}
    steps = len(spikes) + len(net.network.projections)  # a spike arrives one step later at each layer: drain them
    for population in net.network.populations:
        attributes = {}
        if population.role == "neuron":  # it fires strictly above its threshold; sums are whole numbers
            attributes = {"threshold": float(net.population(population.name).threshold) - 0.5, "reset": 0.0}
        group = snn.create_neuron_group(population.name, population.size, attributes)
        groups[population.name] = group
        core = None
        for i, cell in enumerate(group):
            if i % 1024 == 0:
                core = next(cores)
            if population.role == "input":
                train = [*map(bool, spikes[:, i]), *[False] * (steps - len(spikes))]
                cell.set_attributes(soma_hw_name=f"loihi_inputs[{i % 1024}]", model_attributes={"spikes": train})
            else:
                cell.set_attributes(soma_hw_name="loihi_lif")
            cell.map_to_core(core)
    for p in net.network.projections:
        connect(groups, p, net.projection(p.name).weight)
    chip = sanafe.SpikingChip(arch)
    chip.load(snn)
    load = time.perf_counter() - begin
    options = {"timing_model": "simple", "processing_threads": 1}
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        result = chip.sim(steps, **options)
        times.append(time.perf_counter() - begin)
        chip.load(snn)  # resetting the chip would not rewind its input
    row = {"events": int(result["spikes"]), "best_s": min(times), "repeats": 3, "build_and_load_s": load,
           "M_events_per_s": round(result["spikes"] / min(times) / 1e6, 3)}  # fmt: skip
    del chip, snn, arch
    gc.collect()
    return row


def connect(groups: dict[str, Any], p: Projection, weight: np.ndarray) -> None:
    """Connects two groups of SANA-FE with the weights of a projection."""
    source, target = groups[p.source], groups[p.target]
    if p.kind == "linear":
        flat = weight.T.astype(float).ravel()
        source.connect_neurons_dense(target, {"w": flat})
        return
    flat = weight.transpose(2, 3, 1, 0).astype(float).ravel()  # height, width, channels in, channels out
    channels, height, width = p.source_shape
    source.connect_neurons_conv2d(
        target, {"w": flat}, width, height, channels, p.kernel[1], p.kernel[0], p.target_shape[0], p.stride[1],
        p.stride[0],
    )  # fmt: skip


def onnx_session(net: IntegerNetwork, steps: int, threads: int) -> Any:
    """Returns an ONNX Runtime session: each layer over all steps at once, its IF neurons unrolled."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, outputs = [], [], []
    name = "in"
    for population in net.network.populations[1:]:
        (p,) = net.network.into(population.name)
        numbers, key = net.projection(p.name), population.name
        weight = numbers.weight.astype(np.float32)
        constants.append(numpy_helper.from_array(weight if p.kind == "conv" else weight.T.copy(), f"{key}_w"))
        threshold = np.array(float(net.population(key).threshold), np.float32)
        constants.append(numpy_helper.from_array(threshold, f"{key}_threshold"))
        if p.kind == "conv":
            pads = [*p.padding, *p.padding]
            nodes.append(helper.make_node("Conv", [name, f"{key}_w"], [f"{key}_x"], strides=p.stride, pads=pads))
        else:
            nodes.append(helper.make_node("Flatten", [name], [f"{key}_f"], axis=1))
            nodes.append(helper.make_node("MatMul", [f"{key}_f", f"{key}_w"], [f"{key}_x"]))
        nodes += neurons(key, steps)
        name = f"{key}_s"
        outputs.append(name)
    shape = net.network.populations[0].shape
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("in", TensorProto.FLOAT, [steps, *shape])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [*constants, numpy_helper.from_array(np.array(0.0, np.float32), "zero")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def neurons(key: str, steps: int) -> list[Any]:
    """Returns the nodes of IF neurons with hard reset, unrolled over time."""
    from onnx import helper

    parts = [f"{key}_x{t}" for t in range(steps)]
    nodes = [helper.make_node("Split", [f"{key}_x"], parts, axis=0, num_outputs=steps)]
    previous = ""
    for t, part in enumerate(parts):
        charged = f"{key}_u{t}" if previous else part
        if previous:
            nodes.append(helper.make_node("Add", [previous, part], [charged]))
        nodes.append(helper.make_node("GreaterOrEqual", [charged, f"{key}_threshold"], [f"{key}_b{t}"]))
        nodes.append(helper.make_node("Cast", [f"{key}_b{t}"], [f"{key}_s{t}"], to=1))
        nodes.append(helper.make_node("Where", [f"{key}_b{t}", "zero", charged], [f"{key}_v{t}"]))
        previous = f"{key}_v{t}"
    nodes.append(helper.make_node("Concat", [f"{key}_s{t}" for t in range(steps)], [f"{key}_s"], axis=0))
    return nodes


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
        row: dict[str, Any] = {"network": name, "time_steps": steps, "input_rate": rate,
                               "synapses": net.network.synapses}  # fmt: skip
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


def dvs_network() -> IntegerNetwork:
    """Returns a network of the size used for gestures seen by an event camera; each layer fires as often as the input.

    Thresholds are searched layer by layer so that at 5 % input activity every layer but the last fires at about 5 %:
    a network that falls silent would flatter an event-driven engine.
    """
    layers = [("conv", 32, 3, 1, 1), ("conv", 64, 3, 2, 1), ("conv", 128, 3, 2, 1)]
    chosen: list[tuple[Any, ...]] = []
    spikes = clustered(DVS_SHAPE, 10, 0.05)
    for n, layer in enumerate(layers):
        low, high = 1, 20_000
        while high - low > max(1, low // 50):
            middle = (low + high) // 2
            net = network("dvs", DVS_SHAPE, [*chosen, (*layer, middle)])
            rate = Engine(net, 10, 1).run({"in": spikes}).rasters[f"n{n}"].rate
            low, high = (middle, high) if rate > 0.05 else (low, middle)
        chosen.append((*layer, high))
    return network("dvs", DVS_SHAPE, [*chosen, ("linear", 11, 2000)])


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
            "input_activity": rate, "rates": {n: round(run.rasters[n].rate, 4) for n in names},
            "differing_spikes": differences, "events": run.synaptic_events,
            "engine": measure(lambda e=engine, s=spikes: e.run({"in": s}), repeats),
            "engine_1_thread": measure(lambda e=single, s=spikes: e.run({"in": s}), repeats),
            "onnxruntime": measure(lambda d=dense: session.run(None, {"in": d}), repeats),
        }  # fmt: skip
        rows.append(row)
        print(json.dumps(row), flush=True)
    ratio = [
        row["onnxruntime"]["best_s"] / min(row["engine"]["best_s"], row["engine_1_thread"]["best_s"]) for row in rows
    ]
    return {"network": "conv 2x64x64, 3x3x32, 3x3x64 stride 2, 3x3x128 stride 2, dense 11", "time_steps": steps,
            "threads": threads, "rows": rows, "times_faster_than_onnxruntime": [round(r, 2) for r in ratio],
            "crossover_activity": meeting_point([row["input_activity"] for row in rows], ratio)}  # fmt: skip


def meeting_point(rates: list[float], ratio: list[float]) -> str:
    """Returns where the ratio of times passes 1, interpolated between the measured activities."""
    for (a, b), (r, s) in zip(itertools.pairwise(rates), itertools.pairwise(ratio), strict=True):
        if r >= 1 > s:
            return f"{float(np.interp(0, [-np.log(r), -np.log(s)], [a, b])):.3f}"
    return f"above {rates[-1]}" if ratio[-1] >= 1 else f"below {rates[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repeats, no SANA-FE")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {
        "provenance": provenance.collect() | {"sanafe": provenance.versions(("sanafe",)).get("sanafe", "absent")},
        "note": options.note,
        "crossover": crossover(options.quick, max(options.threads)),
        "paired": paired(options.quick, options.threads),
        "sweep": sweep(options.quick, options.threads),
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
