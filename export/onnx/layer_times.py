"""Where an int8 file's time goes, layer by layer, beside the float file's: ONNX Runtime's own profile of both.

8 bits speed up what has an integer kernel. What they add is quantising and dequantising around what stays in float, and
what they take away are ONNX Runtime's float fusions across a layer's border. The profile shows all three.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.export.onnx.int8_layers import Layer
from neurokit.export.ort import new_session
from neurokit.scratch import scratch

if TYPE_CHECKING:
    import onnx

    from neurokit.feeds import Feeds

_RUNS = 7  # profiled runs of each file; the fastest of each node counts
_NAMED = 10  # layers that a manifest names
# What ONNX Runtime adds to the name of a node or of its output when it puts another kernel in its place.
_ADDED = re.compile(r"(_kernel_time|_nchwc|_quant|_token_\d+)+$")
_ROUNDING = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def by_layer(
    source: Path, quantised: Path, feed: Feeds, layers: Sequence[Layer], kept: Sequence[Layer], level: int
) -> dict[str, Any]:
    """Returns times of both files on one thread: of layers, of operators, and of what 8 bits add.

    Args:
        source: The float file.
        quantised: The file whose layers are in 8 bits.
        feed: One batch.
        layers: All layers.
        kept: Those that stay in float.
        level: ONNX Runtime's optimisation level of the int8 file.

    Returns:
        "float_ms" and "int8_ms" (sums of kernels), "rounding_ms" (quantise and dequantise in the int8 file),
        "operators" (milliseconds of each file by operator, largest first), and "layers": those slowest in 8 bits, with
        float_ms, int8_ms (None where a kernel cannot be told to be its) and the kernel that runs.
    """
    import onnx

    model = onnx.load(str(source), load_external_data=False)
    owners = _owners(model, layers)
    found = {"float": _profile(source, feed, 3), "int8": _profile(quantised, feed, level)}
    rows = []
    of = {name: _of_layers(events, owners) for name, events in found.items()}
    for layer in layers:
        if layer in kept or layer.node not in of["int8"]:
            continue
        kernel, time = of["int8"][layer.node]
        plain = of["float"].get(layer.node, (None, None))[1]
        rows.append({"layer": layer.name, "float_ms": plain, "int8_ms": time, "kernel": kernel})
    operators = {name: _by_operator(events) for name, events in found.items()}
    return {
        "float_ms": sum(operators["float"].values()),
        "int8_ms": sum(operators["int8"].values()),
        "rounding_ms": sum(operators["int8"].get(name, 0.0) for name in _ROUNDING),
        "operators": operators,
        "layers": sorted(rows, key=lambda row: -row["int8_ms"])[:_NAMED],
    }


def _profile(path: Path, feed: Feeds, level: int) -> dict[str, tuple[str, float]]:
    """Returns operator and fastest milliseconds of every kernel of a file by the kernel's name."""
    with scratch("profile") as folder:
        session = new_session(path, level=level, threads=1, profile=str(folder / "profile"))
        for _ in range(_RUNS):
            session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, tuple[str, float]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        # Kernels of one name (reorderings) are told apart by their place in the session.
        name = f"{event['args'].get('node_index', '')}:{event['name']}"
        time = event["dur"] / 1000
        found[name] = (event["args"]["op_name"], min(time, found[name][1]) if name in found else time)
    return found


def _owners(model: onnx.ModelProto, layers: Sequence[Layer]) -> dict[str, str]:
    """Returns the layer's node for its name, its output's, and that of the one operation behind it (an activation)."""
    read: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            read.setdefault(name, []).append(node)
    known = {layer.node for layer in layers}
    owners: dict[str, str] = {}
    for node in model.graph.node:
        if node.name not in known:
            continue
        output, behind = node.output[0], read.get(node.output[0], [])
        for name in (node.name, output, *((behind[0].output[0], behind[0].name) if len(behind) == 1 else ())):
            owners.setdefault(name, node.name)
    return owners


def _of_layers(events: Mapping[str, tuple[str, float]], owners: Mapping[str, str]) -> dict[str, tuple[str, float]]:
    """Returns kernel and milliseconds of layers by their nodes."""
    found: dict[str, tuple[str, float]] = {}
    for name, (operator, time) in events.items():
        owner = owners.get(_ADDED.sub("", name.partition(":")[2]))
        weighted = any(part in operator for part in ("Conv", "Gemm", "MatMul"))
        if owner is not None and weighted:
            found[owner] = (operator, time + found.get(owner, ("", 0.0))[1])
    return found


def _by_operator(events: Mapping[str, tuple[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for operator, time in events.values():
        total[operator] = total.get(operator, 0.0) + time
    return dict(sorted(total.items(), key=lambda pair: -pair[1]))
