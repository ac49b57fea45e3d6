"""Which nodes of an ONNX file are layers that int8 takes, under the names of the model's own modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError

if TYPE_CHECKING:
    import onnx

    from neurokit.capture import Captured

OPERATORS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A node with weights.

    Attributes:
        node: Its name in the file.
        name: Path of the module whose weights it has, or the node's name where that is lost.
        operator: Its operator.
    """

    node: str
    name: str
    operator: str


def layers_of(model: onnx.ModelProto, captured: Captured) -> list[Layer]:
    """Returns the convolutions and matrix products whose weights were learnt.

    A product of two activations, as in attention, stays in float; so does one with a constant that is computed, as a
    Fourier or a Haar transform: 8 bits of its kernel would be wrong for every input alike.

    Args:
        model: The float model.
        captured: What it was lowered from.
    """
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    learnt, computed = _tensors(captured)
    layers: list[Layer] = []
    seen: dict[str, int] = {}
    for node in model.graph.node:
        weight = node.input[1] if node.op_type in OPERATORS and len(node.input) > 1 else ""
        if weight not in stored or len(stored[weight].dims) < 2:
            continue
        value = numpy_helper.to_array(stored[weight])
        if weight in computed or _equal(value, computed) is not None:
            continue
        path = weight if weight in learnt else _equal(value, learnt)
        name = path.rpartition(".")[0].removeprefix("net.") if path else node.name
        seen[name] = seen.get(name, 0) + 1
        layers.append(Layer(node.name, name if seen[name] == 1 else f"{name}#{seen[name]}", node.op_type))
    return layers


def kept_of(layers: Sequence[Layer], patterns: str) -> list[Layer]:
    """Returns the layers that are to stay in float.

    Args:
        layers: All layers.
        patterns: Names or patterns, with commas between.

    Raises:
        InputError: If one names no layer.
    """
    wanted = [part.strip() for part in patterns.split(",") if part.strip()]
    for pattern in wanted:
        if not any(_named(layer, pattern) for layer in layers):
            known = ", ".join(layer.name for layer in layers[:6])
            raise InputError(f"keep names {pattern!r}, which is no layer", expected=f"of {len(layers)}: {known}, ...")
    return [layer for layer in layers if any(_named(layer, pattern) for pattern in wanted)]


def _named(layer: Layer, pattern: str) -> bool:
    return layer.name == pattern or layer.node == pattern or fnmatchcase(layer.name, pattern)


def _tensors(captured: Captured) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns learnt and computed tensors of two or more axes by name."""
    program: Any = captured.program
    values = {**program.state_dict, **program.constants}
    learnt = set(program.graph_signature.parameters)
    named: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    for name, value in values.items():
        if getattr(value, "ndim", 0) >= 2 and value.is_floating_point():
            named[name not in learnt][name] = value.detach().numpy()
    return named


def _equal(value: np.ndarray, named: Mapping[str, np.ndarray]) -> str | None:
    """Returns the name of the tensor that a value is, or is the transpose of."""
    return next((name for name, other in named.items() if any(_same(value, o) for o in _forms(other))), None)


def _forms(other: np.ndarray) -> Iterable[np.ndarray]:
    yield other
    if other.ndim == 2:
        yield other.T


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b))
