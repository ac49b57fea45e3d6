"""Weights of an ONNX file in int8 and everything else in float: a quarter of the size, calibrated on nothing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.export.onnx.int8_layers import OPERATORS

_LARGEST = 127


def weights_only(source: Path, out: Path, nodes: Collection[str]) -> None:
    """Writes a model whose constant weights are int8 with a DequantizeLinear, symmetric, one scale a channel.

    ONNX Runtime folds the dequantising when it opens the file and computes in float.

    Args:
        source: ONNX file in float.
        out: ONNX file to write.
        nodes: Names of the nodes whose weights are meant.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    axes: dict[str, set[int]] = {}
    for node in graph.node:
        for name in node.input:
            if name in known:
                axis = _axis(node, name, known[name]) if node.name in nodes else -1
                axes.setdefault(name, set()).add(axis)
    for name, found in axes.items():
        (axis, *more), tensor = sorted(found), known[name]
        if more or axis < 0 or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        whole, scale = rounded(numpy_helper.to_array(tensor), axis)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(whole, f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        inputs = [f"{name}.int8", f"{name}.scale"]
        graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}.float", axis=axis))
    onnx.save(model, str(out))


def rounded(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns weights as whole numbers from -127 to 127, and a scale a channel."""
    others = tuple(at for at in range(weight.ndim) if at != axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.where(largest > 0, largest / _LARGEST, 1.0).astype(np.float32)
    shape = [-1 if at == axis else 1 for at in range(weight.ndim)]
    return np.rint(weight / scale.reshape(shape)).clip(-_LARGEST, _LARGEST).astype(np.int8), scale


def _axis(node: Any, name: str, tensor: Any) -> int:
    """Returns the axis of output channels where a node reads a tensor as its weight, else -1."""
    if (
        node.op_type not in OPERATORS
        or len(node.input) < 2
        or node.input[1] != name
        or list(node.input).count(name) > 1
    ):
        return -1
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if transposed else 1
    return len(tensor.dims) - 1 if len(tensor.dims) > 1 else -1
