"""Whether a graph in plain operators is the one that it was written from: every output, as an expression of inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neurokit.errors import ArtifactError, damaged

if TYPE_CHECKING:
    from neurokit.artifact import Artifact


def hold_flat(artifact: Artifact, model: Any, file: str) -> None:
    """Refuses a flat file that is another network than the graph with calls of neurons that is verified.

    Other tools read the flat file, and OpenVINO runs it: what verification shows of the graph is said of it, too.

    Args:
        artifact: The artifact.
        model: The graph, with its local functions.
        file: Name of the flat file.

    Raises:
        ArtifactError: If an output is another expression of the inputs there, or the file cannot be read.
    """
    import onnx
    import onnx.inliner

    try:
        flat = onnx.load(str(artifact.file(file)))
        mine = expressions(onnx.inliner.inline_local_functions(model) if model.functions else model)
        theirs = expressions(flat)
    except ArtifactError:
        raise
    except Exception as error:  # protobuf's and ONNX's own, of many kinds
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise damaged(artifact.path, f"{file} cannot be read as a graph: {said[:120]}") from error
    if mine != theirs:
        name = next((name for name in mine if theirs.get(name) != mine[name]), "")
        raise damaged(artifact.path, f"{file} is another network than the graph beside it (output {name!r})")


def expressions(model: Any) -> dict[str, str]:
    """Returns a digest of every output of a model without local functions, as an expression of its inputs and weights.

    Names of values, the order of nodes and copies (Identity) leave it as it is.
    """
    versions = sorted((entry.domain, entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    known: dict[str, str] = {}
    for value in model.graph.input:
        known[value.name] = _sum("input", value.name, value.type.SerializeToString(deterministic=True))
    _walk(model.graph, known)
    left = [node.op_type for node in model.graph.node if (node.domain, node.op_type) in _names(model.functions)]
    return {value.name: _sum(known[value.name], *versions, *left) for value in model.graph.output}


def _names(functions: Any) -> set[tuple[str, str]]:
    return {(function.domain, function.name) for function in functions}


def _walk(graph: Any, known: dict[str, str]) -> None:
    """Adds the digest of every value of a graph, whose inputs are known, in place."""
    for tensor in graph.initializer:
        known[tensor.name] = _tensor(tensor)
    for node in graph.node:
        if node.op_type == "Identity" and not node.domain:
            known[node.output[0]] = known[node.input[0]]
            continue
        if node.op_type == "Constant" and [a.name for a in node.attribute] == ["value"]:
            known[node.output[0]] = _tensor(node.attribute[0].t)
            continue
        given = (known[name] if name else "" for name in node.input)
        how = (_attribute(attribute, known) for attribute in sorted(node.attribute, key=lambda one: str(one.name)))
        made = _sum(node.domain, node.op_type, "(", *given, ")", *how)
        for at, name in enumerate(node.output):
            known[name] = _sum(made, at)


def _attribute(attribute: Any, known: Mapping[str, str]) -> str:
    from onnx import AttributeProto

    if attribute.type == AttributeProto.TENSOR:
        return _sum(attribute.name, _tensor(attribute.t))
    if attribute.type != AttributeProto.GRAPH:
        return _sum(attribute.name, attribute.SerializeToString(deterministic=True))
    inside = dict(known)
    for at, value in enumerate(attribute.g.input):
        inside[value.name] = _sum("inner input", at)
    _walk(attribute.g, inside)
    return _sum(attribute.name, len(attribute.g.input), *(inside[value.name] for value in attribute.g.output))


def _tensor(tensor: Any) -> str:
    from onnx import numpy_helper

    value = numpy_helper.to_array(tensor)
    return _sum("tensor", tensor.data_type, *value.shape, ":", value.tobytes())


def _sum(*parts: Any) -> str:
    found = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()
