"""What the three ONNX targets share: checks, the files of an artifact, and its manifest entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, UnsupportedError
from neurokit.target import LowerOptions, TargetInfo, Unsupported

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.ort import OnnxRunner

MODEL_FILE = "model.onnx"
FLAT_FILE = "model.flat.onnx"
_EXTERNAL_ABOVE = 1_900_000_000  # protobuf ends at 2 GiB
_RUNNER_OPTIONS = {"level", "threads", "providers", "spinning"}


class OnnxTarget:
    """Lowers to one form of ONNX; subclasses say which."""

    info: TargetInfo
    form = "sequence"
    time_steps: str | None = None

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why the model cannot take this form."""
        reasons = []
        if self.info.name != "onnx" and not captured.spiking:
            reasons.append(Unsupported(
                "", captured.spec.name, "it has no neurons, so it has no time axis", "use --target onnx"
            ))  # fmt: skip
        if captured.spec.inputs[0].dtype == "float64" and _convolves(captured):
            reasons.append(Unsupported(
                "", captured.spec.name, "ONNX Runtime has no float64 convolution on a CPU", "use module.float()"
            ))  # fmt: skip
        unknown = sorted(options.extra)
        if unknown:
            raise InputError(
                f"target {self.info.name!r} has no option {unknown[0]!r}", expected="no options of its own"
            )  # fmt: skip
        return reasons

    def prepare(self, captured: Captured) -> Captured:
        """Returns the capture in this target's form.

        Raises:
            UnsupportedError: If the model has no such form.
        """
        if not captured.spiking:
            return captured
        wanted: dict[str, Any] = {"form": self.form}
        if self.time_steps is not None:
            wanted["time_steps"] = self.time_steps
        same = captured.form == self.form and (self.time_steps is None or captured.time_steps == self.time_steps)
        return captured if same else captured.retrace(**wanted)

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes model.onnx (and model.flat.onnx where asked) and returns manifest entries."""
        import onnx

        from neurokit.export.onnx_convert import onnx_from_captured
        from neurokit.export.onnx_functions import OPSET
        from neurokit.export.onnx_passes import node_count

        captured = self.prepare(captured)
        if self.form == "sequence" and captured.form != "sequence":
            raise UnsupportedError("a step capture cannot become a sequence", [])
        model = onnx_from_captured(captured)
        entries = describe(captured)
        model.metadata_props.update(metadata(captured, entries, self.info.name))
        path = folder / MODEL_FILE
        save(model, path)
        onnx.checker.check_model(str(path), full_check=True)
        if options.flat:
            _save_flat(path, folder / FLAT_FILE)
        entries["opset"] = OPSET
        entries["form"] = {"onnx-scan": "scan", "onnx-step": "step"}.get(self.info.name, "sequence")
        entries["target_info"] |= {"nodes": len(model.graph), "nodes_inlined": node_count(str(path))}
        return entries

    def open(self, artifact: Artifact, **options: Any) -> OnnxRunner:
        """Opens the artifact on ONNX Runtime (options: level, threads, providers, spinning)."""
        from neurokit.export.ort import OnnxRunner

        unknown = sorted(set(options) - _RUNNER_OPTIONS)
        if unknown:
            raise InputError(
                f"unknown option {unknown[0]!r} for opening", expected="one of " + ", ".join(sorted(_RUNNER_OPTIONS))
            )  # fmt: skip
        return OnnxRunner(artifact, **options)

    def probe(self, artifact: Artifact, **options: Any) -> Any:
        """Opens the artifact for verification."""
        from neurokit.export.onnx_probe import OnnxProbe

        return OnnxProbe(artifact, **options)


def _convolves(captured: Captured) -> bool:
    return any("aten.conv" in str(node.target) for node in captured.program.graph.nodes)


def save(model: Any, path: Path) -> None:
    """Writes a model; weights go to a file beside it where one file could not hold them."""
    import onnx_ir as ir

    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    external = f"{path.name}.data" if size > _EXTERNAL_ABOVE else None
    ir.save(model, path, external_data=external)


def _save_flat(path: Path, flat: Path) -> None:
    import onnx
    import onnx.inliner

    model = onnx.inliner.inline_local_functions(onnx.load(str(path)))
    onnx.save(model, str(flat))


def describe(captured: Captured) -> dict[str, Any]:
    """Returns what a manifest says of a captured model's inputs, outputs, states and neurons."""
    spec = captured.spec
    info = spec.inputs[0]
    timed = captured.spiking and captured.form == "sequence" and spec.time_input != "image"
    batch: int | str = "B" if captured.batch == "dynamic" else captured.batch
    steps = "T" if captured.time_steps == "dynamic" else captured.time_steps
    lead = "TB" if timed else "B"
    shape = [*([steps] if timed else []), batch, *info.shape]
    states = [
        {
            "name": s.name, "input": f"{s.name}_in", "output": f"{s.name}_out",
            "shape": [_symbol(size, batch) for size in s.shape], "dtype": s.dtype, "init": s.init,
            "unit": "threshold units", "neuron": s.neuron,
        }
        for s in captured.states
    ]  # fmt: skip
    return {
        "time_steps": captured.time_steps,
        "inputs": [{
            "name": info.name, "shape": shape, "dtype": info.dtype, "layout": lead + info.layout,
            "time_axis": 0 if timed else None, "meaning": _meaning(captured, timed),
        }],
        "outputs": _outputs(captured, batch, steps),
        "states": states if captured.form == "step" else [],
        "reset_policy": _reset_policy(captured),
        "neurons": [
            {"path": n.path, "kind": n.kind, "op": n.op, "parameters": n.parameters} for n in captured.neurons
        ],
        "target_info": {"time_input": spec.time_input, "time_output": captured.time_output},
    }  # fmt: skip


def _symbol(size: int | None, batch: int | str) -> int | str:
    if size is None:
        return batch
    if size >= 0:
        return size
    return f"{-size}*{batch}" if isinstance(batch, str) else -size * batch


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
        described.append({
            "name": name, "shape": [*lead, *rest], "dtype": str(value.dtype).removeprefix("torch."),
            "time_axis": 0 if sequence else None, "meaning": _output_meaning(captured),
        })  # fmt: skip
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
