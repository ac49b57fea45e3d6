"""What a manifest and an ONNX file say of a captured model: inputs, outputs, states and neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurokit.dims import BATCH, Size, substitute, text_of

if TYPE_CHECKING:
    from neurokit.capture import Captured


def describe(captured: Captured) -> dict[str, Any]:
    """Returns what a manifest says of a captured model's inputs, outputs, states and neurons."""
    spec = captured.spec
    info = spec.inputs[0]
    timed = captured.spiking and captured.form == "sequence" and spec.time_input != "image"
    batch: int | str = "B" if captured.batch == "dynamic" else captured.batch
    steps = "T" if captured.time_steps == "dynamic" else captured.time_steps
    lead = "TB" if timed else "B"
    shape = [*([steps] if timed else []), batch, *info.shape]
    fixed: dict[str, Size] = {BATCH: batch} if isinstance(batch, int) else {}
    states = [
        {
            "name": s.name,
            "input": f"{s.name}_in",
            "output": f"{s.name}_out",
            "shape": [text_of(substitute(size, fixed)) for size in s.shape],
            "dtype": s.dtype,
            "init": s.init,
            "unit": "threshold units",
            "neuron": s.neuron,
        }
        for s in captured.states
    ]
    return {
        "time_steps": captured.time_steps,
        "inputs": [
            {
                "name": info.name,
                "shape": shape,
                "dtype": info.dtype,
                "layout": lead + info.layout,
                "time_axis": 0 if timed else None,
                "meaning": _meaning(captured, timed),
            }
        ],
        "outputs": _outputs(captured, batch, steps),
        "states": states if captured.form == "step" else [],
        "reset_policy": _reset_policy(captured),
        "neurons": [{"path": n.path, "kind": n.kind, "op": n.op, "parameters": n.parameters} for n in captured.neurons],
        "target_info": {"time_input": spec.time_input, "time_output": captured.time_output},
    }


def _meaning(captured: Captured, timed: bool) -> str:
    info = captured.spec.inputs[0]
    span = f"values from {info.low:g} to {info.high:g}"
    if not captured.spiking:
        return span
    if captured.form == "step":
        return f"the input of one time step; {span}"
    return f"one input a time step; {span}" if timed else f"one image, repeated at every time step inside; {span}"


def _outputs(captured: Captured, batch: int | str, steps: Any) -> list[dict[str, Any]]:
    nodes = captured.program.graph_signature.user_outputs[: len(captured.output_names)]
    by_name = {node.name: node for node in captured.program.graph.nodes}
    sequence = captured.time_output == "sequence" and captured.form == "sequence" and captured.spiking
    described = []
    for name, node in zip(captured.output_names, nodes, strict=True):
        value = by_name[str(node)].meta["val"]
        lead = [steps, batch] if sequence else [batch]
        rest = [size if isinstance(size, int) else str(size) for size in value.shape[len(lead) :]]
        described.append(
            {
                "name": name,
                "shape": [*lead, *rest],
                "dtype": str(value.dtype).removeprefix("torch."),
                "time_axis": 0 if sequence else None,
                "meaning": _output_meaning(captured),
            }
        )
    return described


def _output_meaning(captured: Captured) -> str:
    if not captured.spiking or captured.time_output == "sequence":
        return "one output a time step" if captured.spiking else "the model's output"
    part = "this step's part of " if captured.form == "step" else ""
    return f"{part}the {captured.time_output} over the time steps"


def _reset_policy(captured: Captured) -> str:
    if not captured.spiking:
        return ""
    if captured.form == "step":
        return "the caller feeds every state output back; a new sequence starts from the initial values"
    return "every call starts from the initial values"


def metadata(captured: Captured, entries: dict[str, Any], target: str) -> dict[str, str]:
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
        "neurokit.state": json.dumps(entries["states"]),
        "neurokit.classes": json.dumps(list(captured.spec.classes)),
    }
