"""What a manifest and an ONNX file say of a captured model: inputs, outputs, states and neurons."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.dims import BATCH, TIME, Dim, Size, as_size, names_in, substitute, text_of
from neurokit.export.most_steps import most_steps

if TYPE_CHECKING:
    from neurokit.capture import Captured, StateInfo
    from neurokit.capture.types import PortInfo


def describe(captured: Captured) -> dict[str, Any]:
    """Returns what a manifest says of a captured model's graphs, ports, states and neurons."""
    most = [most_steps(part) for part in captured.graphs]
    ends = None if captured.parts else most[0]
    graphs = [
        describe_graph(part, file_of(part, captured), steps) for part, steps in zip(captured.graphs, most, strict=True)
    ]
    return {
        "time_steps": captured.time_steps,
        "graphs": graphs,
        "reset_policy": _reset_policy(captured),
        "neurons": [{"path": n.path, "kind": n.kind, "op": n.op, "parameters": n.parameters} for n in captured.neurons],
        "target_info": {
            "time_input": captured.spec.time_input,
            "time_output": captured.time_output,
            **({} if ends is None else {"most_steps": ends}),
        },
    }


def file_of(part: Captured, captured: Captured) -> str:
    """Returns the name of the ONNX file of one graph of a model."""
    return f"{part.graph}.onnx" if captured.parts else "model.onnx"


def describe_graph(captured: Captured, file: str = "", most: int | None = None) -> dict[str, Any]:
    """Returns what a manifest says of one graph: its file, ports, states and free axes.

    In the sequence form states start inside, so that the axes that grow with them are as long as at the first call.

    Args:
        captured: The graph.
        file: Its file.
        most: The largest T of a free one (`most_steps`), or None where no number ends it.
    """
    step = captured.form == "step"
    batch = captured.batch
    fixed: dict[str, Size] = {BATCH: batch} if isinstance(batch, int) else {}
    if not step:
        fixed |= captured.start_sizes
    ports = {
        side: [_port(port, fixed) for port in ports]
        for side, ports in (("inputs", captured.inputs), ("outputs", captured.outputs))
    }
    states = [_state(state, fixed) for state in captured.states] if step else []
    shapes = [
        part[key]
        for part in (*ports["inputs"], *ports["outputs"], *states)
        for key in ("shape", "next_shape")
        if part.get(key)
    ]
    dims = captured.dims
    named = names_in(as_size(size) for shape in shapes for size in shape)
    free = {name: dims.get(name, Dim(name)) for name in named}
    if TIME in free and most is not None:
        free[TIME] = replace(free[TIME], max=most)
    return {
        "name": captured.graph,
        "file": file,
        **ports,
        "states": states,
        "dims": {name: {"min": d.min, "max": d.max, "multiple": d.multiple} for name, d in free.items()},
    }


def _port(port: PortInfo, fixed: dict[str, Size]) -> dict[str, Any]:
    return {**asdict(port), "shape": [text_of(substitute(size, fixed)) for size in port.shape]}


def _state(state: StateInfo, fixed: dict[str, Size]) -> dict[str, Any]:
    return {
        "name": state.name,
        "input": f"{state.name}_in",
        "output": f"{state.name}_out",
        "shape": [text_of(substitute(size, fixed)) for size in state.shape],
        "next_shape": [text_of(substitute(size, fixed)) for size in state.next_shape],
        "dtype": state.dtype,
        "init": state.init if state.uniform else initial_file(state),
        "unit": "threshold units" if state.neuron else "",
        "neuron": state.neuron,
    }


def initial_file(state: StateInfo) -> str:
    """Returns the name, within an artifact, of the file of a state's initial values."""
    return f"{state.name}_init.npy"


def save_initial_states(captured: Captured, folder: Path) -> None:
    """Writes the initial values of states that do not start from one number, where the caller feeds them."""
    import numpy as np

    for state in captured.states if captured.form == "step" else ():
        if not state.uniform:
            np.save(folder / initial_file(state), np.asarray(state.start(), dtype=state.dtype))


def _reset_policy(captured: Captured) -> str:
    if not any(part.states for part in captured.graphs):
        return ""
    if captured.form == "step" or any(part.form == "step" for part in captured.graphs):
        return "the caller feeds every state output back; a new sequence starts from the initial values"
    return "every call starts from the initial values"


def metadata(captured: Captured, entries: dict[str, Any], target: str, at: int = 0) -> dict[str, str]:
    """Returns what the ONNX file says of itself, so that it can be used without its folder."""
    import json

    from neurokit._version import __version__

    return {
        "neurokit.version": __version__,
        "neurokit.model": captured.spec.name,
        "neurokit.target": target,
        "neurokit.time_steps": str(captured.time_steps),
        "neurokit.time_output": captured.time_output,
        "neurokit.reset_policy": entries["reset_policy"],
        "neurokit.state": json.dumps(entries["graphs"][at]["states"]),
        "neurokit.classes": json.dumps(list(captured.spec.classes)),
    }
