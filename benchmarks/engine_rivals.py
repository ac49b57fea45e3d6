"""The same networks in SANA-FE and in ONNX Runtime, for the event engine's benchmark."""

from __future__ import annotations

import gc
import time
from typing import Any

import numpy as np

from neurokit.hw_sim.engine import IntegerNetwork
from neurokit.hw_sim.graph.projection import Projection


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
    row = {
        "events": int(result["spikes"]),
        "best_s": min(times),
        "repeats": 3,
        "build_and_load_s": load,
        "M_events_per_s": round(result["spikes"] / min(times) / 1e6, 3),
    }
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
        target,
        {"w": flat},
        width,
        height,
        channels,
        p.kernel[1],
        p.kernel[0],
        p.target_shape[0],
        p.stride[1],
        p.stride[0],
    )


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
        nodes,
        "network",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [steps, *shape])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [*constants, numpy_helper.from_array(np.array(0.0, np.float32), "zero")],
    )
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
