"""Faults of single neurons, of what a step keeps, and of order: registered behind those of the other files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.mutation.faults.registry import FAULTS, fault
from tests.mutation.graph import Graph, need

_END = 2**31


def _nodes(g: Graph, name: str, build: Callable[[str], Sequence[onnx.NodeProto]]) -> None:
    """Puts nodes behind a value; `build` takes the name of what was there and makes `name` of it."""
    g.after(name, "Identity")
    node = next(n for n in g.graph.node if name in n.output)
    inner, place = node.input[0], list(g.graph.node).index(node)
    g.graph.node.remove(node)
    for new in reversed(build(inner)):
        g.graph.node.insert(place, new)


def _ints(g: Graph, *values: int) -> str:
    return g.constant(np.asarray(values, np.int64))


def _current(which: int) -> Callable[[Graph], str]:
    return lambda g: g.neurons()[which].input[0]


def _spikes(which: int) -> Callable[[Graph], str]:
    return lambda g: g.neurons()[which].output[0]


def _same_shape(g: Graph, names: list[str]) -> tuple[str, str]:
    """Returns the last two values of one shape."""
    shapes = {name: g.value(name).shape for name in names}
    for a in range(len(names) - 1, 0, -1):
        for b in range(a - 1, -1, -1):
            if shapes[names[a]] == shapes[names[b]] and names[a] != names[b]:
                return names[a], names[b]
    need(False)
    raise AssertionError


def _swap_values(names: Callable[[Graph], list[str]]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        a, b = _same_shape(g, names(g))
        first, second = g.value(a), g.value(b)
        g.set(a, second)
        g.set(b, first)

    return plant


FAULTS["weights of two layers swapped"] = _swap_values(lambda g: [name for name, _ in g.weights()])
FAULTS["biases of two layers swapped"] = _swap_values(lambda g: list(dict.fromkeys(g.biases())))


def _bias(which: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        old = g.value(g.biases()[which])
        new = change(old).astype(np.float32)
        need(not np.array_equal(old, new))
        g.set(g.biases()[which], new)

    return plant


def _weights(which: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        name, _ = g.weights()[which]
        old = g.value(name)
        new = change(old).astype(np.float32)
        need(not np.array_equal(old, new))
        g.set(name, new)

    return plant


def _sparse(w: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(0).random(w.shape) < 0.01, 0.0, w)


def _square(w: np.ndarray) -> np.ndarray:
    need(w.ndim == 2 and w.shape[0] == w.shape[1])
    return w.T


for _which, _where in ((0, "first"), (-1, "last")):
    FAULTS[f"{_where} bias twice"] = _bias(_which, lambda b: 2 * b)
    FAULTS[f"{_where} bias negated"] = _bias(_which, lambda b: -b)
    FAULTS[f"{_where} bias in another order"] = _bias(_which, lambda b: np.roll(b, 1, -1))
    FAULTS[f"one weight in a hundred of the {_where} layer lost"] = _weights(_which, _sparse)
    for _size in (1e-3, 1e-4):
        FAULTS[f"noise on the weights of the {_where} layer, {_size:g}"] = _weights(
            _which, lambda w, e=_size: w * (1 + e * np.random.default_rng(1).standard_normal(w.shape))
        )
    FAULTS[f"largest weights of the {_where} layer clipped"] = _weights(
        _which, lambda w: np.clip(w, -0.95 * np.abs(w).max(), 0.95 * np.abs(w).max())
    )
FAULTS["weights of a square layer transposed"] = lambda g: _weights(
    next((at for at, (name, _) in enumerate(g.weights()) if (s := g.value(name).shape)[0] == s[-1] and len(s) == 2), 0),
    _square,
)(g)
FAULTS["kernel moved by one tap"] = lambda g: (
    need(g.value(g.weights()[0][0]).ndim > 2),
    _weights(0, lambda w: np.roll(w, 1, -1))(g),
)


def _one_neuron(scalar: str, by: float, which: int) -> Callable[[Graph], None]:
    """A scalar of a neuron becomes one value a neuron, and that of the third neuron another."""

    def plant(g: Graph) -> None:
        node, at = g.neurons()[which], g.place(which, scalar)
        need(g.manifest["model"]["name"] in ("deep", "wide", "summed"))
        size = g.value(g.biases()[which]).size if which == 0 else g.value(g.weights()[which][0]).shape[1]
        values = np.full(size, g.value(node.input[at]), np.float32)
        values[2] += np.float32(by)
        node.input[at] = g.constant(values)

    return plant


for _size in (0.1, 0.01, 0.001):
    FAULTS[f"threshold of one neuron, {_size:g}"] = _one_neuron("v_threshold", _size, 0)
    FAULTS[f"time constant of one neuron, {_size:g}"] = _one_neuron("tau", _size, 0)
    FAULTS[f"reset potential of one neuron, {_size:g}"] = _one_neuron("v_reset", _size, 0)


def _late(where: Callable[[Graph], str], *, joined: str = "") -> Callable[[Graph], None]:
    """A value one step later, nothing in the first; or what `joined` makes of it and of what came before."""

    def plant(g: Graph) -> None:
        need(not g.step)
        name = where(g)
        zero, one, last = _ints(g, 0), _ints(g, 1), _ints(g, -1)

        def build(inner: str) -> list[onnx.NodeProto]:
            late = f"{name}.late" if joined else name
            made = [
                helper.make_node("Slice", [inner, zero, one, zero], [f"{name}.head"]),
                helper.make_node("Sub", [f"{name}.head", f"{name}.head"], [f"{name}.none"]),
                helper.make_node("Slice", [inner, zero, last, zero], [f"{name}.most"]),
                helper.make_node("Concat", [f"{name}.none", f"{name}.most"], [late], axis=0),
            ]
            return [*made, helper.make_node(joined, [inner, late], [name])] if joined else made

        _nodes(g, name, build)

    return plant


FAULTS["spikes of the first layer one step late"] = _late(_spikes(0))
FAULTS["spikes of the last layer one step late"] = _late(_spikes(-1))
FAULTS["spikes held for two steps"] = _late(_spikes(0), joined="Max")
FAULTS["currents summed with those of the step before"] = _late(_current(-1), joined="Add")


def _masked_step(where: Callable[[Graph], str], at: int) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        need(not g.step and g.steps > at and not g.scan)
        shape = [g.steps, *[1] * ({"rate": 4, "residual": 4, "sound": 3}.get(g.manifest["model"]["name"], 2))]
        mask = np.ones(shape, np.float32)
        mask[at] = 0
        g.after(where(g), "Mul", g.constant(mask))

    return plant


FAULTS["currents of the third step lost"] = _masked_step(_current(0), 2)
FAULTS["spikes of the second step lost"] = _masked_step(_spikes(-1), 1)


def _membrane(kind: str, *values: float) -> Callable[[Graph], None]:
    """An operator on the membrane that a step hands on."""

    def plant(g: Graph) -> None:
        (body, *_) = g.bodies(0)
        outputs = [v if isinstance(v, str) else v.name for v in body.output]
        # In the body of a Scan states come first, in a function the spikes do.
        name = outputs[0] if not isinstance(body, onnx.FunctionProto) else outputs[1]
        node = next((n for n in body.node if name in n.output), None)
        need(node is not None)
        node.output[list(node.output).index(name)] = "planted.own"
        for reader in body.node:
            if reader is not node:
                reader.input[:] = ["planted.own" if i == name else i for i in reader.input]
        names = [f"planted.value{i}" for i in range(len(values))]
        for value, new in zip(values, names, strict=True):
            body.node.append(helper.make_node("Constant", [], [new], value_float=value))
        if kind == "Cast":
            body.node.append(helper.make_node("Cast", ["planted.own"], ["planted.half"], to=TensorProto.FLOAT16))
            body.node.append(helper.make_node("Cast", ["planted.half"], [name], to=TensorProto.FLOAT))
            return
        body.node.append(helper.make_node(kind, ["planted.own", *names], [name]))

    return plant


FAULTS["the membrane never below 0"] = _membrane("Relu")
FAULTS["the membrane clipped at -1"] = _membrane("Max", -1.0)
FAULTS["the membrane clipped at -100"] = _membrane("Max", -100.0)
FAULTS["the membrane leaks a thousandth more"] = _membrane("Mul", 0.999)
FAULTS["the membrane through float16"] = _membrane("Cast")
FAULTS["the membrane without its sign"] = _membrane("Abs")
FAULTS["the membrane a thousandth higher"] = _membrane("Add", 1e-3)


@fault("states averaged over the batch")
def _(g: Graph) -> None:
    need(g.step)
    name, axes = g.ports["states"][0]["output"], _ints(g, 0)
    _nodes(
        g,
        name,
        lambda inner: [
            helper.make_node("ReduceMean", [inner, axes], [f"{name}.mean"]),
            helper.make_node("Shape", [inner], [f"{name}.shape"]),
            helper.make_node("Expand", [f"{name}.mean", f"{name}.shape"], [name]),
        ],
    )


def _gathered(where: Callable[[Graph], str], axis: int, order: Callable[[int], list[int]]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        size = g.ports["outputs"][0]["shape"][axis]
        need(isinstance(size, int) and size > 1)
        g.after(where(g), "Gather", _ints(g, *order(size)), axis=axis)

    return plant


_out = Graph.output
FAULTS["output elements turned by one"] = _gathered(_out, -1, lambda n: [n - 1, *range(n - 1)])
FAULTS["last two output elements swapped"] = _gathered(_out, -1, lambda n: [*range(n - 2), n - 1, n - 2])
FAULTS["steps of the output turned by one"] = lambda g: (
    need(not g.step and not g.scan and len(g.ports["outputs"][0]["shape"]) == 3),
    _gathered(_out, 0, lambda n: [n - 1, *range(n - 1)])(g),
)


@fault("output elements sorted")
def _(g: Graph) -> None:
    name = g.output()
    size = _ints(g, g.ports["outputs"][0]["shape"][-1])
    _nodes(g, name, lambda inner: [helper.make_node("TopK", [inner, size], [name, f"{name}.at"], axis=-1)])


def _beside(kind: str, reduced: str, axis: int, where: Callable[[Graph], str]) -> Callable[[Graph], None]:
    """What an operator makes of a value and of its mean or maximum over an axis."""

    def plant(g: Graph) -> None:
        name, axes = where(g), _ints(g, axis)
        _nodes(
            g,
            name,
            lambda inner: [
                helper.make_node(reduced, [inner, axes], [f"{name}.over"], keepdims=1),
                helper.make_node(kind, [inner, f"{name}.over"], [name]),
            ],
        )

    return plant


def _batch_axis(g: Graph) -> int:
    return list(g.ports["outputs"][0]["shape"]).index("B")


FAULTS["the batch's mean taken from the output"] = lambda g: _beside("Sub", "ReduceMean", _batch_axis(g), _out)(g)
FAULTS["the batch's maximum added to the currents"] = lambda g: _beside(
    "Add", "ReduceMax", 0 if g.step else 1, _current(-1)
)(g)
FAULTS["currents less their mean over the features"] = _beside("Sub", "ReduceMean", -1, _current(-1))
FAULTS["currents normalised by their largest"] = lambda g: (
    need(not g.step),
    _beside("Div", "ReduceMax", 0, _current(0))(g),
)
