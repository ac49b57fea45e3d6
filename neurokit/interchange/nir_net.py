"""A NIR graph as a module over `[T, B, *shape]`: the model that a `.nir` file is, and what runs one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from neurokit.errors import InputError, ModelLoadError
from neurokit.interchange.nir_cells import make_neuron
from neurokit.interchange.nir_file import DEFAULT_DT, NEURONS, NirGraph, NirNode, read_graph

Shape = tuple[int, ...]


class NirNet(nn.Module):
    """Runs a NIR graph; every node is a submodule of the node's name, neurons in multi-step mode.

    Args:
        graph: The graph, without graphs inside.
        dt: Seconds a time step.
        where: What to call the graph in messages.

    Attributes:
        order: Node names in the order of execution.
        module_of: Name of the submodule of each node that has one.
        shapes: Shape of every node's output, without time and batch.
        inputs: Names of the input nodes.
        outputs: Names of the output nodes.

    Raises:
        ModelLoadError: If the graph is cyclic, has open ends, or shapes do not fit.
    """

    def __init__(self, graph: NirGraph, dt: float = DEFAULT_DT, where: str = "the graph") -> None:
        super().__init__()
        self.dt, self.where = dt, where
        self.feeds = _feeds(graph, where)
        self.order = _sorted(graph, self.feeds, where)
        self.inputs = [name for name in self.order if graph.nodes[name].kind == "Input"]
        self.outputs = [name for name in graph.nodes if graph.nodes[name].kind == "Output"]
        if not self.inputs or not self.outputs:
            missing = "Input" if not self.inputs else "Output"
            raise ModelLoadError(f"{where} has no {missing} node", expected="at least one")
        self.shapes: dict[str, Shape] = {}
        self.module_of: dict[str, str] = {}
        for name in self.order:
            self._adopt(name, graph.nodes[name])
        self.eval()

    def forward(self, *xs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Maps one `[T, B, *shape]` an input node to the same an output node; state stays until it is reset."""
        outputs = self.run(xs, self.call)
        return outputs[0] if len(outputs) == 1 else outputs

    def call(self, name: str, x: Tensor) -> Tensor:
        """Runs one node on `[T, B, *shape]`."""
        return getattr(self, self.module_of[name])(x) if name in self.module_of else x

    def run(self, xs: tuple[Tensor, ...], call: Callable[[str, Tensor], Tensor]) -> tuple[Tensor, ...]:
        """Runs all nodes in order, each through `call(name, x)`; returns what the output nodes receive."""
        values: dict[str, Tensor] = dict(zip(self.inputs, xs, strict=True))
        for name in self.order:
            if name in values:
                continue
            first, *others = (values[source] for source in self.feeds[name])
            for other in others:
                first = first + other
            values[name] = call(name, first)
        return tuple(values[name] for name in self.outputs)

    def _adopt(self, name: str, node: NirNode) -> None:
        shapes = {self.shapes[source] for source in self.feeds[name]}
        if len(shapes) > 1:
            raise _misfit(self.where, name, f"receives {' and '.join(str(list(s)) for s in sorted(shapes))} at once")
        given = shapes.pop() if shapes else ()
        try:
            module, out = _build(node, given, self.dt)
        except _ShapeError as error:
            raise _misfit(self.where, name, f"({node.kind}) {error}") from None
        except (ValueError, TypeError, RuntimeError, IndexError, AssertionError, OverflowError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise _misfit(self.where, name, f"({node.kind}) is not usable: {first[:200]}") from error
        self.shapes[name] = out
        if module is not None:
            safe = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "node"
            while hasattr(self, safe):
                safe += "_"
            self.add_module(safe, module)
            self.module_of[name] = safe


class _ShapeError(Exception):
    """A node does not take what it is given."""


class _Scale(nn.Module):
    def __init__(self, scale: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("scale", torch.from_numpy(scale.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _Threshold(nn.Module):
    """1 where the input is above the threshold."""

    def __init__(self, threshold: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.from_numpy(threshold.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.threshold).to(x.dtype)


class _Flatten(nn.Module):
    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start, self.end = start, end

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start + 2, self.end + 2)


class _SumPool(nn.Module):
    def __init__(self, kernel: Any, stride: Any, padding: Any) -> None:
        super().__init__()
        self.settings = (kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        y = F.avg_pool2d(x.flatten(0, 1), *self.settings, divisor_override=1)
        return y.unflatten(0, x.shape[:2])


def _build(node: NirNode, given: Shape, dt: float) -> tuple[nn.Module | None, Shape]:
    """Returns a node's module (None for the identity) and the shape that it puts out."""
    get, kind = node.fields, node.kind
    if kind == "Input":
        return None, _sizes(get["shape"])
    if kind in ("Output", "Identity"):
        return None, given
    if kind in NEURONS:
        return _neuron(node, given, dt)
    if kind in ("Scale", "Threshold"):
        values = _fitting(get["scale" if kind == "Scale" else "threshold"], given, kind.lower())
        return (_Scale if kind == "Scale" else _Threshold)(values), given
    if kind == "Delay":
        if np.any(np.asarray(get["delay"]) != 0):
            raise _ShapeError("delays its input, which neurokit's time steps have no counterpart for yet")
        return None, given
    return _MAKERS[kind](get, given)


def _neuron(node: NirNode, given: Shape, dt: float) -> tuple[nn.Module, Shape]:
    values = {key: _fitting(value, given, key) for key, value in node.fields.items()}
    for key in ("tau", "tau_mem", "tau_syn"):
        if key in values and (values[key] <= 0).any():
            raise _ShapeError(f"has a time constant {key} that is not positive")
    return make_neuron(node.kind, values, dt), given


def _fitting(value: Any, given: Shape, key: str) -> np.ndarray:
    """Returns parameters of one number or of the input's shape."""
    array = np.asarray(value)
    if array.size == 1:
        return array.reshape(())
    if array.shape != given:
        raise _ShapeError(f"has {key} of shape {list(array.shape)} for an input {list(given)}")
    return array


def _linear(get: Mapping[str, Any], given: Shape) -> tuple[nn.Module, Shape]:
    weight, bias = np.asarray(get["weight"]), get.get("bias")
    if weight.ndim != 2:
        raise _ShapeError(f"has a weight of shape {list(weight.shape)}, expected [out, in]")
    if given[-1:] != weight.shape[1:]:
        raise _ShapeError(f"takes {weight.shape[1]} features and is given {list(given)}")
    module = layer.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, step_mode="m")
    _set(module, weight, bias)
    return module, (*given[:-1], weight.shape[0])


def _conv(get: Mapping[str, Any], given: Shape) -> tuple[nn.Module, Shape]:
    weight = np.asarray(get["weight"])
    axes = weight.ndim - 2
    groups = _whole(get["groups"])
    if axes not in (1, 2):
        raise _ShapeError(f"has a weight of shape {list(weight.shape)}")
    if len(given) != axes + 1 or given[0] != weight.shape[1] * groups:
        raise _ShapeError(f"takes {weight.shape[1] * groups} channels over {axes} axes and is given {list(given)}")
    padding = get["padding"]
    amount: Any = padding if isinstance(padding, str) else _pair(padding, axes)
    kernel = tuple(weight.shape[2:])
    stride, dilation = _pair(get["stride"], axes), _pair(get["dilation"], axes)
    make = layer.Conv1d if axes == 1 else layer.Conv2d
    module = make(
        given[0], weight.shape[0], kernel, stride=stride, padding=amount, dilation=dilation, groups=groups,
        bias=True, step_mode="m",
    )  # fmt: skip
    _set(module, weight, get["bias"])
    if amount == "same":
        return module, (weight.shape[0], *given[1:])
    pads = (0,) * axes if isinstance(amount, str) else amount
    return module, (weight.shape[0], *_windows(given[1:], kernel, stride, pads, dilation))


def _pool(get: Mapping[str, Any], given: Shape, total: bool) -> tuple[nn.Module, Shape]:
    if len(given) != 3:
        raise _ShapeError(f"pools [C, H, W] and is given {list(given)}")
    kernel, stride, padding = (_pair(get[key], 2) for key in ("kernel_size", "stride", "padding"))
    out = (given[0], *_windows(given[1:], kernel, stride, padding, (1, 1)))
    if total:
        return _SumPool(kernel, stride, padding), out
    return layer.AvgPool2d(kernel, stride, padding, step_mode="m"), out


def _flatten(get: Mapping[str, Any], given: Shape) -> tuple[nn.Module | None, Shape]:
    start, end = _whole(get["start_dim"]), _whole(get["end_dim"])
    start, end = start + len(given) * (start < 0), end + len(given) * (end < 0)
    if not 0 <= start <= end < len(given):
        raise _ShapeError(f"flattens axes {start} to {end} of {list(given)}")
    if start == end:
        return None, given
    return _Flatten(start, end), (*given[:start], math.prod(given[start : end + 1]), *given[end + 1 :])


_MAKERS: dict[str, Callable[[Mapping[str, Any], Shape], tuple[nn.Module | None, Shape]]] = {
    "Affine": _linear,
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "AvgPool2d": lambda get, given: _pool(get, given, total=False),
    "SumPool2d": lambda get, given: _pool(get, given, total=True),
    "Flatten": _flatten,
}


def _set(module: nn.Module, weight: np.ndarray, bias: Any) -> None:
    wanted = tuple(module.weight.shape)
    if wanted != weight.shape:
        raise _ShapeError(f"has a weight of shape {list(weight.shape)}, expected {list(wanted)}")
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        if bias is not None:
            array = np.asarray(bias, dtype=np.float32)
            if array.shape != (wanted[0],):
                raise _ShapeError(f"has a bias of shape {list(array.shape)}, expected [{wanted[0]}]")
            module.bias.copy_(torch.from_numpy(array))


def _windows(sizes: Shape, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Shape:
    out = tuple(
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )
    if min(out) < 1:
        raise _ShapeError(f"has a window {list(kernel)} larger than its input {list(sizes)}")
    return out


def _pair(value: Any, axes: int) -> tuple[int, ...]:
    flat = np.asarray(value).reshape(-1)
    if flat.size not in (1, axes) or not all(float(v).is_integer() and v >= 0 for v in flat):
        raise _ShapeError(f"has a size {flat.tolist()} where {axes} whole numbers belong")
    return tuple(int(v) for v in (flat if flat.size == axes else np.repeat(flat, axes)))


def _whole(value: Any) -> int:
    return int(np.asarray(value).reshape(()))


def _sizes(value: Any) -> Shape:
    sizes = tuple(int(size) for size in np.asarray(value if value is not None else []).reshape(-1))
    if not sizes or min(sizes) < 1:
        raise _ShapeError(f"has the shape {list(sizes)}, expected positive sizes")
    return sizes


def _feeds(graph: NirGraph, where: str) -> dict[str, list[str]]:
    feeds: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        for end in (source, target):
            if end not in graph.nodes:
                raise ModelLoadError(f"{where} has an edge to node {end!r}, which it does not have")
        if source in feeds[target]:
            raise ModelLoadError(f"{where} has the edge {source!r} -> {target!r} twice")
        feeds[target].append(source)
    for name, node in graph.nodes.items():
        if (node.kind == "Input") == bool(feeds[name]):
            what = "is fed" if feeds[name] else "has no input"
            raise ModelLoadError(f"{where}: node {name!r} ({node.kind}) {what}", expected="a graph without open ends")
    return feeds


def _sorted(graph: NirGraph, feeds: dict[str, list[str]], where: str) -> list[str]:
    """Returns the nodes so that each comes after what feeds it, else in the order of the file."""
    from graphlib import CycleError, TopologicalSorter

    try:
        return list(TopologicalSorter(feeds).static_order())
    except CycleError as error:
        cycle = list(dict.fromkeys(error.args[1]))
        path = " -> ".join(repr(name) for name in [*cycle, cycle[0]])
        if any(graph.nodes[name].kind in NEURONS for name in cycle):
            what, fix = (
                "has a recurrent connection",
                "leave it out: neurokit runs layer by layer over time",
            )
        else:
            what, fix = "has a cycle without a neuron in it, which has no solution in time", "write it again"
        raise ModelLoadError(f"{where} {what}: {path}", expected="a graph without cycles", fix=fix) from None


def _misfit(where: str, name: str, what: str) -> ModelLoadError:
    return ModelLoadError(f"{where}: node {name!r} {what}", expected="a node that fits its input")


def read_net(path: Path, dt: float | None = None) -> NirNet:
    """Reads a file and returns its module.

    Args:
        path: The .nir file.
        dt: Seconds a time step; default is the file's own note (metadata "dt"), else 1e-4.

    Raises:
        ModelLoadError: If the file is no usable NIR graph.
        InputError: If dt is not positive.
    """
    graph = read_graph(path)
    noted = graph.metadata.get("dt", DEFAULT_DT)
    step = float(noted) if dt is None else dt
    if not 0 < step < math.inf:
        raise InputError(f"dt is {step}", expected="seconds a time step, above 0")
    return NirNet(graph, step, path.name)
