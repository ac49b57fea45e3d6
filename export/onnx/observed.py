"""An ONNX network that shows what it does: class activation maps and spikes as further outputs.

Where the scores are a linear map of the last feature map `A` (global average pooling and a linear layer, or a linear
layer alone), the gradient of a score with respect to `A` is a constant, so that Grad-CAM (Selvaraju et al., ICCV 2017,
eq. 1 and 2) is the class activation map of Zhou et al. (CVPR 2016, eq. 2) times a positive constant, before its ReLU
(Selvaraju et al., section 3.1). It then needs no backward pass: a runtime that only runs forward can draw it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurokit.export.onnx.probe_graph import is_layer, value_info

MAPS, SPIKES = "neurokit.class_maps", "neurokit.spikes"
_SAME = {"QuantizeLinear", "DequantizeLinear", "Identity", "Dropout", "Cast"}
_SHAPE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}
_OVER_TIME = {"ReduceMean", "ReduceSum"}


@dataclass(frozen=True)
class Observed:
    """A network with further outputs.

    Attributes:
        model: The ModelProto; its other outputs compute what they did.
        maps: Whether it has the output `MAPS`, `[B, classes, h, w]` (`[T*B, ...]` of a sequence over T): the sum of the
            last feature map over its channels, weighted with what the scores' linear layer gives them. Behind global
            average pooling its mean over h and w, and over T, plus the layer's bias is the score.
        why: Why there are no maps, or "".
        spikes: Whether it has the output `SPIKES`, one number: the spikes of all neurons in one call.
    """

    model: Any
    maps: bool
    why: str
    spikes: bool


class _NoMapError(Exception):
    """The scores are no linear map of a feature map."""


def observed(model: Any) -> Observed:
    """Returns a copy of a network with class activation maps and spikes as outputs, where it has them.

    Args:
        model: The ModelProto of an artifact, with one output: the scores `[B, classes]`.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        _add_maps(copy)
        why = ""
    except _NoMapError as error:
        why = str(error)
    return Observed(copy, not why, why, _add_spikes(copy.graph))


def _add_maps(model: Any) -> None:
    from onnx import helper, numpy_helper

    graph = model.graph
    head = _Head(model)
    features, weight = head.linear_in()
    graph.initializer.append(numpy_helper.from_array(weight, f"{MAPS}.weight"))
    graph.node.append(
        helper.make_node("Einsum", [features, f"{MAPS}.weight"], [MAPS], MAPS, equation="...chw,kc->...khw")
    )
    element = helper.np_dtype_to_tensor_dtype(weight.dtype)
    graph.output.append(value_info(MAPS, element, [None] * head.rank(features)))


def _add_spikes(graph: Any) -> bool:
    """Adds the number of all spikes, in float32: exact up to 16,777,216."""
    from onnx import helper

    calls = [node.output[0] for node in graph.node if is_layer(node)]
    if not calls:
        return False
    for index, name in enumerate(calls):
        counted = f"{SPIKES}.{index}"
        graph.node.append(helper.make_node("Cast", [name], [f"{counted}.float"], f"{counted}.float", to=1))
        graph.node.append(helper.make_node("ReduceSum", [f"{counted}.float"], [counted], counted, keepdims=0))
    graph.node.append(helper.make_node("Sum", [f"{SPIKES}.{i}" for i in range(len(calls))], [SPIKES], SPIKES))
    graph.output.append(value_info(SPIKES, 1, []))
    return True


class _Head:
    """What lies between a network's last feature map and its scores."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self._made_by: Mapping[str, Any] = {name: node for node in model.graph.node for name in node.output}
        self._constants = {t.name: t for t in model.graph.initializer}
        self._array = numpy_helper.to_array
        self._scores = model.graph.output[0].name
        values = [*model.graph.value_info, *model.graph.input]
        self._shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    def linear_in(self) -> tuple[str, np.ndarray]:
        """Returns the name of the feature map, and a weight `[classes, channels]` of each of its channels."""
        node = self._linear()
        weight = self._constant(node.input[1])
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        weight = weight if transposed else weight.T
        for attribute in node.attribute:
            weight = weight * weight.dtype.type(attribute.f) if attribute.name == "alpha" else weight
        pool = self._source(node.input[0])
        if self._pools(pool):
            return pool.input[0], np.ascontiguousarray(weight)
        return self._flattened(node.input[0], weight)

    def rank(self, name: str) -> int:
        """Returns the number of axes of a feature map."""
        return len(self._shapes.get(name, [])) or 4

    def _linear(self) -> Any:
        """Returns the linear layer that makes the scores."""
        name = self._scores
        for _ in range(len(self._made_by)):
            node = self._made_by.get(name)
            if node is None:
                break
            if node.op_type in ("Gemm", "MatMul") and self._is_constant(node.input[1]):
                return node
            first = node.op_type == "Add" and self._is_constant(node.input[0])
            bias = node.op_type == "Add" and (first or self._is_constant(node.input[1]))
            if not (node.op_type in _SAME | _SHAPE | _OVER_TIME or bias):
                raise _NoMapError(f"the scores come from {node.op_type}, not from a linear layer")
            name = node.input[1 if first else 0]
        raise _NoMapError("the scores come from no linear layer")

    def _source(self, name: str) -> Any:
        """Returns the node behind what leaves values as they are, or None."""
        node = self._made_by.get(name)
        while node is not None and node.op_type in _SAME | _SHAPE:
            node = self._made_by.get(node.input[0])
        return node

    def _pools(self, node: Any) -> bool:
        """Whether a node averages over the last two axes."""
        if node is None or node.op_type == "GlobalAveragePool":
            return node is not None
        if node.op_type != "ReduceMean":
            return False
        axes = [list(a.ints) for a in node.attribute if a.name == "axes"]
        axes += [self._constant(node.input[1]).tolist()] if len(node.input) > 1 else []
        rank = self.rank(node.input[0])
        return bool(axes) and {axis % rank for axis in axes[0]} == {rank - 2, rank - 1}

    def _flattened(self, name: str, weight: np.ndarray) -> tuple[str, np.ndarray]:
        """Returns a feature map that the linear layer reads flat, and its channels' weights: sums over places."""
        reshaped = False
        while (node := self._made_by.get(name)) is not None and node.op_type in _SAME | _SHAPE:
            reshaped, name = reshaped or node.op_type in _SHAPE, node.input[0]
            size = self._shapes.get(name, [])[-3:]
            is_map = len(size) == 3 and all(size) and size[1] * size[2] > 1
            if reshaped and is_map and int(np.prod(size)) == weight.shape[1]:
                return name, weight.reshape(len(weight), *size).sum(axis=(2, 3))
        kind = "an input" if node is None else node.op_type
        raise _NoMapError(f"the last linear layer reads {kind}, not a feature map")

    def _is_constant(self, name: str) -> bool:
        node = self._made_by.get(name)
        if node is None:
            return name in self._constants
        return node.op_type in ("DequantizeLinear", "Transpose", "Identity") and self._is_constant(node.input[0])

    def _constant(self, name: str) -> np.ndarray:
        """Returns the values of a constant, of a quantised one in the units of its scale."""
        if name in self._constants:
            return np.asarray(self._array(self._constants[name]))
        node = self._made_by[name]
        inner = self._constant(node.input[0])
        if node.op_type == "Transpose":
            return np.transpose(inner, next((list(a.ints) for a in node.attribute if a.name == "perm"), None))
        if node.op_type == "Identity":
            return inner
        scale = self._constant(node.input[1])
        zero = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros_like(scale)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % inner.ndim
        lead = [-1 if at == axis else 1 for at in range(inner.ndim)] if scale.ndim else []
        return (inner.astype(scale.dtype) - zero.astype(scale.dtype).reshape(lead)) * scale.reshape(lead)
