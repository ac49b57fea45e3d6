"""Quantisation-aware fine-tuning: the captured program with the roundings of the QDQ file that was written of it.

Every convolution and product that the file quantises gets, in torch, the file's own scales for its input and its
output, and for its weight the scales that the quantizer will find; gradients go straight through the roundings
(Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018).
Batch normalisation is folded as the file folds it, with its statistics and factors as they are. Weights and biases of
these layers are trained, each in units of the largest weight of its channel, so that one learning rate suits them all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from neurokit.program.nodes import aten, is_op
from neurokit.program.ops import is_named
from neurokit.program.walk import fetch, without_guards

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.export.onnx.int8_layers import Layer
    from neurokit.feeds import Feeds

# Where an operation keeps its input, weight and bias, and the axis of a weight's output channels.
_PLACES: Mapping[str, tuple[int, int, int | None, int]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "linear"), (0, 1, 2, 0)),
    **dict.fromkeys(("mm", "matmul"), (0, 1, None, 1)),
    "addmm": (1, 2, 0, 1),
}


@dataclass(frozen=True)
class Training:
    """How to fine-tune.

    Attributes:
        epochs: Passes over the data.
        learning_rate: Largest step of a weight, as a share of the largest one of its channel.
        batch: Samples a step.
        seed: Of the order of the samples.
    """

    epochs: int = 10
    learning_rate: float = 0.001
    batch: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Grid:
    """The integers that an activation is rounded to: scale, zero point, smallest and largest."""

    scale: float
    zero: int
    low: int
    high: int

    def __call__(self, x: Tensor) -> Tensor:
        """Rounds; gradients pass inside of the range and end outside."""
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, self.low, self.high)


@dataclass(frozen=True)
class Spot:
    """One quantised layer of a program.

    Attributes:
        places: Where its operation keeps input, weight and bias, and the weight's axis of output channels.
        before: Grid of its input.
        after: Grid of its output.
        largest: Largest integer of a weight.
        norms: Batch normalisations behind it that the file has folded into it.
        bias_apart: Whether the file rounds the product before it adds the bias.
    """

    places: tuple[int, int, int | None, int]
    before: Grid | None
    after: Grid | None
    largest: int
    norms: tuple[Node, ...]
    bias_apart: bool


class RoundedProgram(Interpreter):
    """Runs a captured program with the roundings of its QDQ file.

    Args:
        captured: The program.
        written: The QDQ model.
        layers: The layers that it quantises.
        largest: Largest integer of a weight.
    """

    def __init__(self, captured: Captured, written: Any, layers: Sequence[Layer], largest: int) -> None:
        module: Any = copy.deepcopy(without_guards(captured.program.module()))  # its tensors are the user's
        super().__init__(module)
        self._spots = dict(_spots(module, _File(written), layers, largest))
        self._folded = {norm for spot in self._spots.values() for norm in spot.norms}
        self._learnt: dict[str, _Learnt] = {}
        for node, spot in self._spots.items():
            self._learn(node, spot)

    def _learn(self, node: Node, spot: Spot) -> None:
        """Makes a layer's weight learnt, and the one vector that is added behind it."""
        _, weighs, biased, axis = spot.places
        path = str(node.args[weighs].target)  # type: ignore[union-attr]
        weight = fetch(self.module, path).detach()
        unit = _largest_of(weight, axis)
        self._learnt.setdefault(path, _Learnt(weight, unit))
        shift: Any = node.args[biased] if biased is not None and biased < len(node.args) else None
        for norm in spot.norms:
            factor = self._factor(norm).detach().abs().reshape([-1] + [1] * (weight.dim() - 1))
            unit, shift = unit * factor, norm.args[2] if norm.args[2] is not None else shift
        reach = 1.0 if spot.before is None else spot.before.scale * (spot.before.high - spot.before.low)
        if isinstance(shift, Node) and shift.op == "get_attr":
            path = str(shift.target)
            self._learnt.setdefault(path, _Learnt(fetch(self.module, path).detach(), reach * unit.reshape(-1)))

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Returns a tensor of the program; a learnt one in training."""
        found = self._learnt.get(str(target))
        return super().get_attr(target, args, kwargs) if found is None else found.value()

    def learnt(self) -> list[torch.nn.Parameter]:
        """Returns what is trained: numbers of the order of 1."""
        return [held.share for held in self._learnt.values()]

    def values(self) -> dict[str, Tensor]:
        """Returns the trained tensors by their names in the program."""
        return {name: held.value().detach().clone() for name, held in self._learnt.items()}

    @property
    def rounded(self) -> int:
        """How many layers are rounded as in the file."""
        return len(self._spots)

    def run_node(self, n: Node) -> Any:
        """Runs a node; a quantised layer with its roundings, and what is folded into it as nothing."""
        if n in self._folded:
            return self.env[n.args[0]]  # type: ignore[index]
        spot = self._spots.get(n)
        return super().run_node(n) if spot is None else self._layer(n, spot)

    def _layer(self, node: Node, spot: Spot) -> Tensor:
        given, kwargs = self.fetch_args_kwargs_from_env(node)
        args = list(given)
        at, weighs, biased, axis = spot.places
        args[at] = args[at] if spot.before is None else spot.before(args[at])
        weight = args[weighs]
        bias = args[biased] if biased is not None and biased < len(args) else None
        for norm in spot.norms:
            weight, bias = self._folded_in(norm, weight, bias)
        args[weighs] = on_grid(weight, axis, spot.largest)
        if biased is not None and (biased < len(args) or bias is not None):
            args += [None] * (biased + 1 - len(args))
            args[biased] = None if spot.bias_apart else bias
        y = node.target(*args, **kwargs)  # type: ignore[operator]
        y = y if spot.after is None else spot.after(y)
        return y + bias if spot.bias_apart and bias is not None else y

    def _folded_in(self, norm: Node, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of a convolution or linear map with a batch normalisation behind it."""
        beta, mean = (self._value(arg) for arg in norm.args[2:4])
        assert mean is not None
        factor = self._factor(norm)
        moved = -mean if bias is None else bias - mean
        shift = moved * factor if beta is None else moved * factor + beta
        return weight * factor.reshape([-1] + [1] * (weight.dim() - 1)), shift

    def _factor(self, norm: Node) -> Tensor:
        gamma, var = self._value(norm.args[1]), self._value(norm.args[4])
        assert var is not None
        factor = torch.rsqrt(var + float(norm.args[7]))  # type: ignore[arg-type]
        return factor if gamma is None else factor * gamma

    def _value(self, arg: Any) -> Tensor | None:
        return None if arg is None else self.get_attr(arg.target, (), {})


class _Learnt:
    """A tensor in training, as shares of a unit of every channel."""

    def __init__(self, start: Tensor, unit: Tensor) -> None:
        self._unit = torch.where(unit > 0, unit, torch.ones_like(unit))
        self.share = torch.nn.Parameter(start / self._unit)

    def value(self) -> Tensor:
        """Returns the tensor."""
        return self.share * self._unit


def _largest_of(weight: Tensor, axis: int) -> Tensor:
    """Returns the largest element of every output channel, with the other axes kept."""
    return weight.abs().amax([at for at in range(weight.dim()) if at != axis], keepdim=True)


def on_grid(weight: Tensor, axis: int, largest: int) -> Tensor:
    """Returns a weight rounded as the quantizer rounds it: symmetric, one scale an output channel."""
    most = _largest_of(weight.detach(), axis).reshape(-1)
    scale = torch.where(most > 0, most / largest, torch.ones_like(most))
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, axis, -largest, largest)


class _File:
    """What a QDQ file says of the grids around a node."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self._made_by = {name: node for node in model.graph.node for name in node.output}
        self._read_by: dict[str, list[Any]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._read_by.setdefault(name, []).append(node)
        self.nodes = {node.name: node for node in model.graph.node}
        self._numbers = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) == 0}

    def before(self, node: Any) -> Grid | None:
        """Returns the grid of a node's input."""
        source = self._made_by.get(node.input[0])
        return self._grid(source) if source is not None and source.op_type == "DequantizeLinear" else None

    def after(self, node: Any) -> Grid | None:
        """Returns the grid of a node's output."""
        readers = self._read_by.get(node.output[0], [])
        return self._grid(readers[0]) if [r.op_type for r in readers] == ["QuantizeLinear"] else None

    def normalised(self, node: Any) -> bool:
        """Whether a batch normalisation of its own is left behind a node."""
        return any(reader.op_type == "BatchNormalization" for reader in self._read_by.get(node.output[0], []))

    def _grid(self, node: Any) -> Grid:
        scale, zero = self._numbers[node.input[1]], self._numbers[node.input[2]]
        limits = np.iinfo(zero.dtype)
        return Grid(float(scale), int(zero), int(limits.min), int(limits.max))


def _spots(module: GraphModule, file: _File, layers: Sequence[Layer], largest: int) -> Iterator[tuple[Node, Spot]]:
    """Yields the nodes of the program that the file quantises, each with its roundings."""
    named = dict(_weighted(module))
    for layer in layers:
        node, found = file.nodes[layer.node], named.get(layer.name)
        if found is None:
            continue
        target, places = found
        norms = () if file.normalised(node) else tuple(_norms_behind(target))
        apart = node.op_type == "MatMul"
        yield target, Spot(places, file.before(node), file.after(node), largest, norms, apart)


def _weighted(module: GraphModule) -> Iterator[tuple[str, tuple[Node, tuple[int, int, int | None, int]]]]:
    """Yields every operation with a learnt weight under the name that `int8_layers` gives its layer."""
    seen: dict[str, int] = {}
    for node in module.graph.nodes:
        name = next((name for name in _PLACES if is_named(node, (name,))), None)
        if name is None:
            continue
        weight = node.args[_PLACES[name][1]]
        if not isinstance(weight, Node) or weight.op != "get_attr":
            continue
        path = str(weight.target).rpartition(".")[0].removeprefix("net.")
        seen[path] = seen.get(path, 0) + 1
        yield (path if seen[path] == 1 else f"{path}#{seen[path]}"), (node, _PLACES[name])


def _norms_behind(node: Node) -> Iterator[Node]:
    """Yields the batch normalisations that a layer's output goes through before anything else reads it."""
    while len(node.users) == 1 and is_op(node := next(iter(node.users)), {aten.batch_norm.default}) and _fixed(node):
        yield node


def _fixed(norm: Node) -> bool:
    """Whether a batch normalisation has its statistics, and no learnt tensor that something computes."""
    read = [arg for arg in norm.args[1:5] if arg is not None]
    return norm.args[5] is False and all(isinstance(arg, Node) and arg.op == "get_attr" for arg in read)


def train(run: RoundedProgram, feeds: Feeds, wanted: Any, loss: Any, size: int | None, how: Training) -> None:
    """Trains the parameters of a program in place.

    Args:
        run: The program.
        feeds: Inputs by the names of the model's, `[N, *shape]`, in the program's order.
        wanted: What the loss takes as right, `[N, ...]`.
        loss: Maps the program's outputs and a batch of `wanted` to a number.
        size: Batch size, where the program has a fixed one.
        how: Epochs, learning rate, batch, seed.
    """
    inputs = [torch.from_numpy(np.ascontiguousarray(x)) for x in feeds.values()]
    right, count = torch.as_tensor(wanted), len(inputs[0])
    batch = size or min(how.batch, count)
    optimiser = torch.optim.Adam(run.learnt(), lr=how.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.epochs * -(-count // batch))
    order = np.random.default_rng(how.seed)
    for _ in range(how.epochs):
        rows = order.permutation(count)
        for start in range(0, count, batch):
            picked = torch.from_numpy(np.resize(rows[start : start + batch], batch))
            value = loss(answers(run, [x[picked] for x in inputs]), right[picked])
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()


def answers(run: RoundedProgram, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Returns the outputs of a program."""
    found = run.run(*inputs)
    return list(found) if isinstance(found, list | tuple) else [found]
