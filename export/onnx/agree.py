"""Holds an artifact's manifest against what its ONNX file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neurokit.errors import damaged

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.manifest import GraphInfo

_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(bool)": "bool",
}
_PREFIX = "neurokit."


def described(entries: Mapping[str, Any], at: int) -> dict[str, str]:
    """Returns what an ONNX file says of its ports and neurons, beside `neurokit.export.describe.metadata`.

    Args:
        entries: Of the manifest.
        at: Which of its graphs the file holds.
    """
    found = {**{key: entries["graphs"][at][key] for key in ("inputs", "outputs")}, "neurons": entries["neurons"]}
    return {f"{_PREFIX}{key}": _canonical(value) for key, value in found.items()}


@dataclass(frozen=True)
class End:
    """An input or output of a graph: name, numpy name of its type ("" where unknown), sizes (None where open)."""

    name: str
    dtype: str
    shape: tuple[Any, ...] | None


@dataclass(frozen=True)
class Said:
    """What a graph says: its properties, inputs and outputs."""

    props: Mapping[str, str]
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]


def of_session(session: Any) -> Said:
    """Returns what an open session of ONNX Runtime says."""

    def ends(found: Any) -> tuple[End, ...]:
        shapes = (None if end.shape is None else tuple(end.shape) for end in found)
        return tuple(End(end.name, _TYPES.get(end.type, ""), shape) for end, shape in zip(found, shapes, strict=True))

    return Said(session.get_modelmeta().custom_metadata_map, ends(session.get_inputs()), ends(session.get_outputs()))


def of_model(model: Any) -> Said:
    """Returns what a ModelProto says."""
    import onnx

    known = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64", onnx.TensorProto.BOOL: "bool"}

    def end(value: Any) -> End:
        tensor = value.type.tensor_type
        sizes = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
        return End(value.name, known.get(tensor.elem_type, ""), sizes if tensor.HasField("shape") else None)

    constants = {initializer.name for initializer in model.graph.initializer}
    inputs = tuple(end(value) for value in model.graph.input if value.name not in constants)
    props = {entry.key: entry.value for entry in model.metadata_props}
    return Said(props, inputs, tuple(end(value) for value in model.graph.output))


def hold_against_graph(artifact: Artifact, declared: GraphInfo, graph: Said) -> None:
    """Refuses an artifact whose manifest says something else than its graph.

    Args:
        artifact: The artifact.
        declared: What its manifest says of the graph.
        graph: What its model.onnx says.

    Raises:
        ArtifactError: Names the field, and what either says.
    """
    hold_notes(artifact, declared, graph.props, "model.onnx")
    _hold_ends(artifact, declared, graph)


def hold_notes(artifact: Artifact, declared: GraphInfo, props: Mapping[str, str], file: str) -> None:
    """Refuses an artifact whose manifest says something else than a file notes of itself.

    Args:
        artifact: The artifact.
        declared: What its manifest says of the graph.
        props: What the file notes, by `neurokit.` and a field's name; what it does not note is not compared.
        file: The file's name.

    Raises:
        ArtifactError: Names the field, and what either says.
    """
    # On a device there is no pydantic: there an artifact is what was read, as it was read.
    read = getattr(artifact, "data", None)
    manifest = json.loads(artifact.manifest.model_dump_json()) if read is None else read
    ports = next(graph for graph in manifest["graphs"] if graph["name"] == declared.name)
    said = {
        "model": manifest["model"]["name"],
        "target": manifest["target"],
        "time_steps": str(manifest["time_steps"]),
        "time_output": manifest["target_info"].get("time_output", ""),
        "reset_policy": manifest["reset_policy"],
        "state": ports["states"],
        "inputs": ports["inputs"],
        "outputs": ports["outputs"],
        "neurons": manifest["neurons"],
    }
    for key, mine in said.items():
        theirs = props.get(_PREFIX + key)
        if theirs is None:
            continue
        try:
            value = theirs if isinstance(mine, str) else json.loads(theirs)
        except (ValueError, RecursionError):
            raise damaged(artifact.path, f"{file} says nothing readable of its {key}") from None
        apart = _first_difference(mine, value, key)
        if apart:
            raise damaged(artifact.path, f"manifest.json and {file} contradict each other: {apart}")


def _hold_ends(artifact: Artifact, said: GraphInfo, graph: Said) -> None:
    """Compares names, types and fixed sizes of the graph's inputs and outputs with the manifest's."""
    for kind, ends, declared, states in (
        ("input", graph.inputs, said.inputs, {state.input: state for state in said.states}),
        ("output", graph.outputs, said.outputs, {state.output: state for state in said.states}),
    ):
        names = [tensor.name for tensor in declared] + [getattr(state, kind) for state in said.states]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise damaged(artifact.path, f"manifest.json names the {kind} {twice[0]!r} twice")
        wanted: dict[str, Any] = {**{tensor.name: tensor for tensor in declared}, **states}
        found = {end.name: end for end in ends}
        if missing := sorted(set(wanted) - set(found)):
            raise damaged(artifact.path, f"model.onnx has no {kind} {missing[0]!r} that manifest.json speaks of")
        if kind == "input" and (extra := sorted(set(found) - set(wanted))):
            raise damaged(artifact.path, f"manifest.json does not know the {kind} {extra[0]!r} of model.onnx")
        for name, tensor in wanted.items():
            end = found[name]
            if (end.dtype or tensor.dtype) != tensor.dtype:
                raise damaged(
                    artifact.path, f"{kind} {name!r} is {end.dtype} in model.onnx and {tensor.dtype} declared"
                )
            if not _fit(end.shape, tensor.shape):
                shapes = f"{list(end.shape or ())} in model.onnx and {list(tensor.shape)} in manifest.json"
                raise damaged(artifact.path, f"{kind} {name!r} is {shapes}")


def _fit(mine: tuple[Any, ...] | None, declared: tuple[Any, ...]) -> bool:
    if mine is None or len(mine) != len(declared):
        return mine is None  # a graph may leave a shape open
    return all(a == b for a, b in zip(mine, declared, strict=True) if isinstance(a, int) and isinstance(b, int))


def _first_difference(mine: Any, theirs: Any, where: str) -> str:
    """Returns the first place where two pieces of JSON differ; what only the manifest has is none."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        found = (_first_difference(mine.get(key), value, f"{where}.{key}") for key, value in theirs.items())
        return next((place for place in found if place), "")
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        found = (_first_difference(a, b, f"{where}.{at}") for at, (a, b) in pairs)
        return next((place for place in found if place), "")
    return "" if mine == theirs else f"{where} is {_short(mine)} and {_short(theirs)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
