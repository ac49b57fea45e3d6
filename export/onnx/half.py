"""The float16 form of networks without neurons: half the file; ONNX Runtime computes it where it has the kernels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import ArtifactError, InputError, Unsupported, UnsupportedError, damaged
from neurokit.export.onnx.probe import OnnxProbe

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.parity.vectors import Vectors
    from neurokit.target import LowerOptions

PRECISIONS = ("float32", "float16")
# Relative L2 error of the outputs: every tensor is rounded to 11 bits (2^-11 = 4.9e-4), some tens of them in a row.
TOLERANCE = 1e-2


def precision_of(options: Mapping[str, Any]) -> str:
    """Returns the option `precision`, checked."""
    asked = options.get("precision", PRECISIONS[0])
    if asked not in PRECISIONS:
        raise InputError(f"precision is {asked!r}", expected=" or ".join(PRECISIONS))
    return str(asked)


def no_half_form(captured: Captured, options: LowerOptions) -> list[Unsupported]:
    """Returns why a model has no float16 form, where one is asked for."""
    name = captured.spec.name
    if precision_of(options.extra) == "float32":
        return []
    if captured.spiking:
        return [Unsupported("", name, "rounding currents to 11 bits would flip its spikes", "leave precision away")]
    if any(part.states for part in captured.graphs):
        return [Unsupported("", name, "its states would be rounded at every call", "leave precision away")]
    if options.numerics == "exact":
        return [Unsupported("", "--numerics exact", "float16 rounds in its own way", "leave one of both away")]
    if options.flat:
        return [Unsupported("", "--flat", "there are no local functions to inline", "leave --flat away")]
    return []


def to_half(path: Path, name: str) -> None:
    """Turns a float32 file into float16, in place; inputs and outputs stay float32.

    ONNX Runtime's own converter leaves operators in float32 that have no float16 form. Where a processor has no float16
    kernel of an operator, ONNX Runtime computes that one in float32 and rounds between.

    Raises:
        UnsupportedError: If ONNX Runtime does not take the file.
    """
    import onnx
    import onnx_ir as ir
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from neurokit.export.ort import new_session

    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        made = convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    finally:
        root.setLevel(level)
    model = ir.serde.deserialize_model(made)
    model.graph.sort()  # the converter appends its casts
    ir.save(model, path)
    try:
        new_session(path)
    except ArtifactError as error:
        raise UnsupportedError(
            f"model {name!r} has no float16 form on this ONNX Runtime",
            [Unsupported("", name, error.what, "leave precision away")],
        ) from error


def _computes_in_half(model: Any) -> bool:
    """Whether a model casts its inputs to float16, as the converter writes it."""
    from onnx import TensorProto

    casts = (node for node in model.graph.node if node.op_type == "Cast")
    return any(a.name == "to" and a.i == TensorProto.FLOAT16 for node in casts for a in node.attribute)


class HalfProbe(OnnxProbe):
    """Runs a float16 artifact: its outputs, within what 11 bits a tensor cost."""

    tolerance = TOLERANCE
    batch_tolerance = TOLERANCE

    def __init__(self, artifact: Artifact, **options: Any) -> None:
        super().__init__(artifact, **options)
        if not _computes_in_half(self._model):  # float32 would only be held to less
            apart = "precision is float16, and nothing in the file is"
            raise damaged(artifact.path, f"manifest.json and model.onnx contradict each other: {apart}")

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors without coverage stimuli, whose sizes leave the range of float16."""
        note = f"float16: outputs may be off by {TOLERANCE:g} (relative L2)"
        made = super().restrict(vectors)
        return replace(made, coverings=(), blind=(), notes=(*made.notes, note))
