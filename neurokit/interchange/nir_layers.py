"""The nodes of a NIR graph as modules over `[T, B, *shape]`, each checked against the shape that it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from neurokit.interchange.nir_file import NEURONS, NirNode
from neurokit.neurons.cells import make_neuron
from neurokit.neurons.delay import MOST_STEPS, Delay, whole_steps
from neurokit.neurons.sizes import refuse_shape

Shape = tuple[int, ...]


class ShapeError(Exception):
    """A node does not take what it is given; `expected` and `fix` are said where there is more to say."""

    def __init__(self, what: str, expected: str = "a node that fits its input", fix: str = "") -> None:
        super().__init__(what)
        self.expected, self.fix = expected, fix


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


def build(node: NirNode, given: Shape, dt: float, kept: int = 0) -> tuple[nn.Module | None, Shape]:
    """Returns a node's module (None for the identity) and the shape that it puts out.

    Args:
        node: The node.
        given: Shape of what it is given.
        dt: Seconds a time step.
        kept: Of a Delay, the steps that the loop around it takes over.
    """
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
        return _delay(get["delay"], given, dt, kept), given
    return _MAKERS[kind](get, given)


def delay_steps(node: NirNode, dt: float) -> np.ndarray:
    """Returns the time steps that a Delay delays each element by.

    Raises:
        ShapeError: If they are no whole numbers, or too many.
    """
    try:
        return whole_steps(np.asarray(node.fields["delay"]), dt)
    except ValueError as error:
        expected = f"whole time steps, from 0 to {MOST_STEPS}"
        fix = "round the delays to time steps, or give the file's own time step: net.nir:dt=SECONDS"
        raise ShapeError(str(error), expected, fix) from None


def _delay(delay: Any, given: Shape, dt: float, kept: int) -> nn.Module | None:
    steps = _fitting(delay_steps(NirNode("Delay", {"delay": delay}), dt), given, "delay") - kept
    if not steps.any():
        return None
    refuse_shape((int(steps.max()), *given))
    return Delay(steps, kept)


def _neuron(node: NirNode, given: Shape, dt: float) -> tuple[nn.Module, Shape]:
    values = {key: _fitting(value, given, key) for key, value in node.fields.items()}
    for key in ("tau", "tau_mem", "tau_syn"):
        if key in values and (values[key] <= 0).any():
            raise ShapeError(f"has a time constant {key} that is not positive")
    return make_neuron(node.kind, values, dt), given


def _fitting(value: Any, given: Shape, key: str) -> np.ndarray:
    """Returns parameters of one number or of the input's shape."""
    array = np.asarray(value)
    if array.size == 1:
        return array.reshape(())
    if array.shape != given:
        raise ShapeError(f"has {key} of shape {list(array.shape)} for an input {list(given)}")
    return array


def _linear(get: Mapping[str, Any], given: Shape) -> tuple[nn.Module, Shape]:
    weight, bias = np.asarray(get["weight"]), get.get("bias")
    if weight.ndim != 2:
        raise ShapeError(f"has a weight of shape {list(weight.shape)}, expected [out, in]")
    if given[-1:] != weight.shape[1:]:
        raise ShapeError(f"takes {weight.shape[1]} features and is given {list(given)}")
    module = layer.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, step_mode="m")
    _set(module, weight, bias)
    return module, (*given[:-1], weight.shape[0])


def _conv(get: Mapping[str, Any], given: Shape) -> tuple[nn.Module, Shape]:
    weight = np.asarray(get["weight"])
    axes = weight.ndim - 2
    groups = _whole(get["groups"])
    if axes not in (1, 2):
        raise ShapeError(f"has a weight of shape {list(weight.shape)}")
    if len(given) != axes + 1 or given[0] != weight.shape[1] * groups:
        raise ShapeError(f"takes {weight.shape[1] * groups} channels over {axes} axes and is given {list(given)}")
    padding = get["padding"]
    amount: Any = padding if isinstance(padding, str) else _pair(padding, axes)
    kernel = tuple(weight.shape[2:])
    stride, dilation = _pair(get["stride"], axes), _pair(get["dilation"], axes)
    make = layer.Conv1d if axes == 1 else layer.Conv2d
    module = make(
        given[0],
        weight.shape[0],
        kernel,
        stride=stride,
        padding=amount,
        dilation=dilation,
        groups=groups,
        bias=True,
        step_mode="m",
    )
    _set(module, weight, get["bias"])
    if amount == "same":
        return module, (weight.shape[0], *given[1:])
    pads = (0,) * axes if isinstance(amount, str) else amount
    return module, (weight.shape[0], *_windows(given[1:], kernel, stride, pads, dilation))


def _pool(get: Mapping[str, Any], given: Shape, total: bool) -> tuple[nn.Module, Shape]:
    if len(given) != 3:
        raise ShapeError(f"pools [C, H, W] and is given {list(given)}")
    kernel, stride, padding = (_pair(get[key], 2) for key in ("kernel_size", "stride", "padding"))
    out = (given[0], *_windows(given[1:], kernel, stride, padding, (1, 1)))
    if total:
        return _SumPool(kernel, stride, padding), out
    return layer.AvgPool2d(kernel, stride, padding, step_mode="m"), out


def _flatten(get: Mapping[str, Any], given: Shape) -> tuple[nn.Module | None, Shape]:
    start, end = _whole(get["start_dim"]), _whole(get["end_dim"])
    start, end = start + len(given) * (start < 0), end + len(given) * (end < 0)
    if not 0 <= start <= end < len(given):
        raise ShapeError(f"flattens axes {start} to {end} of {list(given)}")
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
        raise ShapeError(f"has a weight of shape {list(weight.shape)}, expected {list(wanted)}")
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        if bias is not None:
            array = np.asarray(bias, dtype=np.float32)
            if array.shape != (wanted[0],):
                raise ShapeError(f"has a bias of shape {list(array.shape)}, expected [{wanted[0]}]")
            module.bias.copy_(torch.from_numpy(array))


def _windows(sizes: Shape, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Shape:
    out = tuple(
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )
    if min(out) < 1:
        raise ShapeError(f"has a window {list(kernel)} larger than its input {list(sizes)}")
    return out


def _pair(value: Any, axes: int) -> tuple[int, ...]:
    flat = np.asarray(value).reshape(-1)
    if flat.size not in (1, axes) or not all(float(v).is_integer() and v >= 0 for v in flat):
        raise ShapeError(f"has a size {flat.tolist()} where {axes} whole numbers belong")
    return tuple(int(v) for v in (flat if flat.size == axes else np.repeat(flat, axes)))


def _whole(value: Any) -> int:
    return int(np.asarray(value).reshape(()))


def _sizes(value: Any) -> Shape:
    sizes = tuple(int(size) for size in np.asarray(value if value is not None else []).reshape(-1))
    if not sizes or min(sizes) < 1:
        raise ShapeError(f"has the shape {list(sizes)}, expected positive sizes")
    return sizes
