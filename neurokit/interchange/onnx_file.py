"""An `.onnx` file of a feed-forward network as a module: a small set of operators, nothing else, no code."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.errors import MissingRuntimeError, ModelLoadError, Unsupported, UnsupportedError
from neurokit.neurons.sizes import REWRITE, refuse_huge
from neurokit.quiet import libraries_unsaid
from neurokit.spec import ModelSpec, TensorSpec

_MAX_BYTES = 2**31
_MOST_OUTPUTS = 256
_LAYOUTS = {1: "F", 2: "CL", 3: "CHW", 4: "CDHW"}
Attributes = dict[str, Any]


def spec_from_onnx(path: Path) -> ModelSpec:
    """Reads a network `[B, *shape]` with one input.

    Raises:
        ModelLoadError: If the file is damaged, too large, or keeps weights in other files.
        UnsupportedError: If it holds operators outside of the set; lists each.
        MissingRuntimeError: If onnx is not installed.
    """
    net, shape = read_onnx(path)
    return ModelSpec(
        name=path.stem,
        build=lambda: copy.deepcopy(net),
        inputs=(TensorSpec("input", shape, layout=_LAYOUTS.get(len(shape), "")),),
        description="ONNX network",
        source=path.name,
    )


def read_onnx(path: Path) -> tuple[OnnxNet, tuple[int, ...]]:
    """Returns the module of a file and the shape of one sample."""
    try:
        import onnx
        import onnx.version_converter
    except ImportError as error:
        raise MissingRuntimeError("reading .onnx files needs onnx", fix="python -m pip install onnx") from error
    if os.path.getsize(path) > _MAX_BYTES:
        raise _bad(path, f"is larger than {_MAX_BYTES} bytes")
    try:
        model = onnx.load(str(path), load_external_data=False)
        if len(model.graph.output) > _MOST_OUTPUTS:
            raise _bad(path, f"has {len(model.graph.output):,} outputs", f"at most {_MOST_OUTPUTS}")
        _check_tensors(model, path)
        model = onnx.version_converter.convert_version(model, 20) if _opset(model) < 13 else model
        onnx.checker.check_model(model)
    except ModelLoadError:
        raise
    except Exception as error:  # protobuf, onnx and its converter raise what they like
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _bad(path, f"is no valid ONNX model: {first[:200]}") from error
    graph = model.graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1 or not graph.output:
        raise _bad(path, f"has {len(inputs)} inputs and {len(graph.output)} outputs", "one input")
    shape = tuple(d.dim_value for d in inputs[0].type.tensor_type.shape.dim)[1:]
    if not shape or min(shape) < 1:
        raise _bad(path, f"has an input of shape {list(shape)} a sample", "fixed sizes behind the batch axis")
    reasons = _reasons(model)
    if reasons:
        raise UnsupportedError(f"{path.name} cannot be a model here", reasons)
    net = OnnxNet(model, inputs[0].name)
    _try(net, shape, path)
    return net, shape


def _check_tensors(model: Any, path: Path) -> None:
    """Refuses weights in other files, and shapes that do not fit the numbers that are there."""
    for tensor in model.graph.initializer:
        if tensor.external_data or tensor.data_location == 1:
            one_file = "torch.onnx.export(..., external_data=False), or onnx.save(onnx.load(...), ...)"
            raise _bad(path, f"keeps {tensor.name!r} in another file", "a model in one file", one_file)
        count = math.prod(tensor.dims)
        if min(tensor.dims, default=1) < 0 or count * 4 > _MAX_BYTES:
            raise _bad(path, f"declares {tensor.name!r} with {count} numbers")
    if model.functions:
        raise _bad(path, "defines functions of its own", "plain operators")


def _opset(model: Any) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _reasons(model: Any) -> list[Unsupported]:
    known = {*_OPERATORS, "Constant", "Identity", "Dropout"}
    reasons = {}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in known:
            what = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
            fix = "give the network as path/file.py:factory"
            why = "not among the operators that are read from ONNX files"
            reasons.setdefault(what, Unsupported(node.name or node.output[0], what, why, fix))
    return list(reasons.values())


def _batch(model: Any, entry: str) -> int:
    value = next(value for value in model.graph.input if value.name == entry)
    return value.type.tensor_type.shape.dim[0].dim_value or 1


class OnnxNet(nn.Module):
    """Runs the nodes of an ONNX graph in their order, each as torch functions.

    Args:
        model: The model, checked.
        entry: Name of its input.
    """

    def __init__(self, model: Any, entry: str) -> None:
        from onnx import helper, numpy_helper

        super().__init__()
        self.entry, self.outputs = entry, [value.name for value in model.graph.output]
        self.held: dict[str, str] = {}
        self.numbers: dict[str, list[Any]] = {}
        for tensor in model.graph.initializer:
            self._hold(tensor.name, numpy_helper.to_array(tensor))
        self.steps: list[tuple[str, str, list[str], Attributes]] = []
        for node in model.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._hold(node.output[0], numpy_helper.to_array(attributes["value"]))
                continue
            if node.op_type == "Reshape":  # a batch size that was fixed when the file was written becomes free
                attributes["batch"] = _batch(model, entry)
            self.steps.append((node.op_type, node.output[0], list(node.input), attributes))
        self.eval()

    def _get(self, values: dict[str, Tensor | None], name: str) -> Tensor | None:
        return getattr(self, self.held[name]) if name in self.held else values[name]

    def _hold(self, name: str, array: np.ndarray) -> None:
        key = f"w{len(self.held)}"
        if array.size <= 16:
            self.numbers[name] = array.reshape(-1).tolist()
        self.held[name] = key
        value = torch.from_numpy(np.array(array))
        if value.is_floating_point():
            self.register_parameter(key, nn.Parameter(value.float(), requires_grad=False))
        else:
            self.register_buffer(key, value)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Maps `[B, *shape]` to the outputs."""
        return self.run(x, lambda made: None)

    def run(self, x: Tensor, seen: Callable[[Any], None]) -> Tensor | tuple[Tensor, ...]:
        """Runs the nodes, and shows what each gives."""
        values: dict[str, Tensor | None] = {self.entry: x, "": None}
        for op, out, names, attributes in self.steps:
            inputs = [self._get(values, name) for name in names]
            if op in _BY_NUMBER:  # sizes and limits are numbers, not tensors
                inputs[1:] = [self.numbers.get(name) for name in names[1:]]
            values[out] = inputs[0] if op in ("Identity", "Dropout") else _OPERATORS[op](inputs, attributes)
            seen(values[out])
        found = tuple(values[name] for name in self.outputs)
        return found[0] if len(found) == 1 else found  # type: ignore[return-value]


def _conv(inputs: Sequence[Any], at: Attributes) -> Tensor:
    x, weight, bias = [*inputs, None][:3]
    axes = weight.dim() - 2
    x, pads = _padded(x, at, axes, 0.0)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[axes]
    stride, dilation = list(at.get("strides", [1] * axes)), list(at.get("dilations", [1] * axes))
    return function(x, weight, bias, stride, pads, dilation, at.get("group", 1))


def _padded(x: Tensor, at: Attributes, axes: int, value: float) -> tuple[Tensor, list[int]]:
    """Returns the input and the symmetric padding that is left to do; padding that is not symmetric is done here."""
    if at.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ValueError("auto_pad SAME is not read")
    pads = list(at.get("pads", [0] * 2 * axes))
    if pads[:axes] == pads[axes:]:
        return x, pads[:axes]
    sides = [side for axis in reversed(range(axes)) for side in (pads[axis], pads[axis + axes])]
    return F.pad(x, sides, value=value), [0] * axes


def _pool(largest: bool) -> Callable[[Sequence[Any], Attributes], Tensor]:
    def run(inputs: Sequence[Any], at: Attributes) -> Tensor:
        kernel = list(at["kernel_shape"])
        axes, stride = len(kernel), list(at.get("strides", [1] * len(kernel)))
        ceil = bool(at.get("ceil_mode", 0))
        x, pads = _padded(inputs[0], at, axes, -math.inf if largest else 0.0)
        if largest:
            function: Any = {1: F.max_pool1d, 2: F.max_pool2d}[axes]
            return function(x, kernel, stride, pads, list(at.get("dilations", [1] * axes)), ceil)
        if x is not inputs[0] and not at.get("count_include_pad", 0):
            raise ValueError("an average over unequal padding is not read")
        return F.avg_pool2d(x, kernel, stride, pads, ceil, bool(at.get("count_include_pad", 0)))

    return run


def _gemm(inputs: Sequence[Any], at: Attributes) -> Tensor:
    a, b, c = [*inputs, None][:3]
    b = b if at.get("transB", 0) else b.t()
    y = F.linear(a.t() if at.get("transA", 0) else a, b * at["alpha"] if at.get("alpha", 1.0) != 1.0 else b)
    return y if c is None else y + (c * at["beta"] if at.get("beta", 1.0) != 1.0 else c)


def _norm(inputs: Sequence[Any], at: Attributes) -> Tensor:
    x, scale, bias, mean, var = inputs
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, at.get("epsilon", 1e-5))


def _reshape(inputs: Sequence[Any], at: Attributes) -> Tensor:
    x, wanted = inputs[0], [int(size) for size in inputs[1] or []]
    if len(wanted) < 2 or wanted[0] not in (0, -1, at.get("batch", 1)):
        raise ValueError(f"a reshape to {wanted} does not keep the batch")
    rest = [x.shape[i + 1] if size == 0 else size for i, size in enumerate(wanted[1:])]
    return x.flatten(1) if len(rest) == 1 else x.unflatten(1, rest) if x.dim() == 2 else x.reshape(x.shape[0], *rest)


def _mean(inputs: Sequence[Any], at: Attributes) -> Tensor:
    axes = at.get("axes", inputs[1] if len(inputs) > 1 else None)
    if not axes or 0 in axes:
        raise ValueError("a mean over the batch is not read")
    return inputs[0].mean(tuple(int(axis) for axis in axes), keepdim=bool(at.get("keepdims", 1)))


def _clip(inputs: Sequence[Any], at: Attributes) -> Tensor:
    low, high = ([*inputs, None, None][index] for index in (1, 2))
    low, high = at.get("min", low and low[0]), at.get("max", high and high[0])
    return torch.clamp(inputs[0], low, high)


_BY_NUMBER = ("Reshape", "Clip", "ReduceMean")
_OPERATORS: dict[str, Callable[[Sequence[Any], Attributes], Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda x, at: torch.matmul(x[0], x[1]),
    "BatchNormalization": _norm,
    "Relu": lambda x, at: F.relu(x[0]),
    "LeakyRelu": lambda x, at: F.leaky_relu(x[0], at.get("alpha", 0.01)),
    "Sigmoid": lambda x, at: torch.sigmoid(x[0]),
    "Tanh": lambda x, at: torch.tanh(x[0]),
    "HardSwish": lambda x, at: F.hardswish(x[0]),
    "Clip": _clip,
    "Add": lambda x, at: x[0] + x[1],
    "Sub": lambda x, at: x[0] - x[1],
    "Mul": lambda x, at: x[0] * x[1],
    "Div": lambda x, at: x[0] / x[1],
    "MaxPool": _pool(largest=True),
    "AveragePool": _pool(largest=False),
    "GlobalAveragePool": lambda x, at: x[0].mean(tuple(range(2, x[0].dim())), keepdim=True),
    "ReduceMean": _mean,
    "Flatten": lambda x, at: x[0].flatten(at.get("axis", 1)),
    "Reshape": _reshape,
    "Concat": lambda x, at: torch.cat(list(x), at["axis"]),
    "Softmax": lambda x, at: F.softmax(x[0], at.get("axis", -1)),
}


def _try(net: OnnxNet, shape: tuple[int, ...], path: Path) -> None:
    """Runs the network without numbers, so that shapes that do not fit are told now."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    try:
        with libraries_unsaid(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            net.run(torch.empty(2, *shape), refuse_huge)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _bad(path, f"does not run on its own input {list(shape)}: {first[:200]}") from error


def _bad(path: Path, what: str, expected: str = "an ONNX network", fix: str = REWRITE) -> ModelLoadError:
    return ModelLoadError(f"{path.name} {what}", expected=expected, fix=fix)
