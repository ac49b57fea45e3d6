"""Faults of weights, neurons and their states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import helper

from tests.mutation.faults.registry import FAULTS, POWERS, each, fault, swap
from tests.mutation.graph import Graph, need


def _weight(which: int, change: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        name, axis = g.weights()[which]
        g.set(name, change(g.value(name), axis).astype(np.float32))

    return plant


def _one(w: np.ndarray, by: float) -> np.ndarray:
    w = w.copy()
    w.reshape(-1)[w.size // 3] += by * np.abs(w).max()
    return w


def _permuted(w: np.ndarray, axis: int, order: Callable[[int], list[int]]) -> np.ndarray:
    need(w.shape[axis] > 1)
    return np.take(w, order(w.shape[axis]), axis)


for _which, _where in ((0, "first"), (-1, "last")):
    each(f"{_where} layer's weights scaled", POWERS, lambda g, e, k=_which: _weight(k, lambda w, a: w * (1 + e))(g))
    each(f"one weight of the {_where} layer", POWERS, lambda g, e, k=_which: _weight(k, lambda w, a: _one(w, e))(g))
    FAULTS[f"one weight of the {_where} layer negated"] = _weight(
        _which, lambda w, a: np.where(np.arange(w.size).reshape(w.shape) == w.size // 2, -w, w)
    )
    FAULTS[f"two output channels of the {_where} layer swapped"] = _weight(_which, lambda w, a: _permuted(w, a, swap))
    FAULTS[f"two input channels of the {_where} layer swapped"] = _weight(
        _which, lambda w, a: _permuted(w, 1 - a, swap)
    )
    FAULTS[f"output channels of the {_where} layer reversed"] = _weight(
        _which, lambda w, a: _permuted(w, a, lambda n: list(range(n))[::-1])
    )
    FAULTS[f"{_where} layer's weights through float16"] = _weight(_which, lambda w, a: w.astype(np.float16))
    FAULTS[f"{_where} layer's weights in 8 bits"] = _weight(
        _which, lambda w, a: np.round(w / np.abs(w).max() * 127) * np.abs(w).max() / 127
    )
    FAULTS[f"small weights of the {_where} layer pruned"] = _weight(
        _which, lambda w, a: np.where(np.abs(w) < 0.05 * np.abs(w).max(), 0.0, w)
    )


@fault("kernel turned over (true convolution)")
def _(g: Graph) -> None:
    name = g.nodes("Conv")[-1].input[1]
    w = g.value(name)
    need(w.ndim > 2 and w.shape[-1] > 1)
    g.set(name, np.flip(w, tuple(range(2, w.ndim))))


@fault("kernel transposed")
def _(g: Graph) -> None:
    name = g.nodes("Conv")[0].input[1]
    need(g.value(name).ndim == 4)
    g.set(name, g.value(name).swapaxes(2, 3))


@fault("groups of a depthwise convolution permuted")
def _(g: Graph) -> None:
    node = next((n for n in g.nodes("Conv") if any(a.name == "group" and a.i > 1 for a in n.attribute)), None)
    need(node is not None)
    g.set(node.input[1], g.value(node.input[1])[::-1])


for _at, _said in ((0, "first"), (-1, "last")):
    each(
        f"one element of the {_said} bias",
        POWERS,
        lambda g, e, k=_at: g.set(g.biases()[k], _first_plus(g.value(g.biases()[k]), e)),
    )
    FAULTS[f"{_said} bias dropped"] = lambda g, k=_at: g.set(g.biases()[k], 0 * g.value(g.biases()[k]))


def _first_plus(b: np.ndarray, e: float) -> np.ndarray:
    b = b.copy()
    b.reshape(-1)[0] += np.float32(e)
    return b


for _at, _said in ((0, "first"), (-1, "last")):
    for _sign in (1, -1):
        each(
            f"{_said} threshold {'higher' if _sign > 0 else 'lower'}",
            (*POWERS, 1e-6),
            lambda g, e, k=_at, s=_sign: g.scalar(k, g.place(k, "v_threshold"), lambda v: v * (1 + s * e)),
        )
    each(f"{_said} tau", POWERS, lambda g, e, k=_at: g.scalar(k, g.place(k, "tau"), lambda v: v * (1 + e)))
    each(f"{_said} reset potential", POWERS, lambda g, e, k=_at: g.scalar(k, g.place(k, "v_reset"), lambda v: v + e))
each("learnt decay", POWERS, lambda g, e: g.scalar(0, g.place(0, "decay"), lambda v: v * (1 + e)))


def _replace(kind: str, other: str, which: int | None = None) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        found = [n for body in g.bodies(which) for n in body.node if n.op_type == kind]
        need(found)
        for node in found:
            node.op_type = other

    return plant


FAULTS["fires above the threshold, not at it"] = _replace("GreaterOrEqual", "Greater")
FAULTS["fires below the threshold"] = _replace("GreaterOrEqual", "Less")
FAULTS["the leak divides for multiplies"] = _replace("Div", "Mul")


@fault("hard reset left out")
def _(g: Graph) -> None:
    found = [n for body in g.bodies() for n in body.node if n.op_type == "Where"]
    need(found)
    for node in found:
        node.input[1] = node.input[2]


@fault("soft reset to half the threshold")
def _(g: Graph) -> None:
    for body in g.bodies():
        node = next((n for n in body.node if "drop" in n.output), None)
        if node is not None:
            half = helper.make_node("Constant", [], ["half"], value_float=0.5)
            more = helper.make_node("Mul", ["whole", "half"], ["drop"])
            node.output[0] = "whole"
            at = list(body.node).index(node)
            body.node.insert(at + 1, more)
            body.node.insert(at, half)
            return
    need(False)


@fault("the leak leaves the input out")
def _(g: Graph) -> None:
    for body in g.bodies():
        d = next((n for n in body.node if "d" in n.output), None)
        if d is not None:
            d.op_type = "Neg"
            d.input[:] = [d.input[1]]
            return
    need(False)


@fault("spikes put out one neuron further")
def _(g: Graph) -> None:
    node = g.neurons()[0]
    name = node.output[0]
    node.output[0] = f"{name}.own"
    at = list(g.graph.node).index(node)
    start, end = g.constant(np.asarray([1], np.int64)), g.constant(np.asarray([2**31], np.int64))
    zero, axis = g.constant(np.asarray([0], np.int64)), g.constant(np.asarray([-1], np.int64))
    new = [
        helper.make_node("Slice", [f"{name}.own", start, end, axis], [f"{name}.tail"]),
        helper.make_node("Slice", [f"{name}.own", zero, start, axis], [f"{name}.head"]),
        helper.make_node("Concat", [f"{name}.tail", f"{name}.head"], [name], axis=-1),
    ]
    for other in reversed(new):
        g.graph.node.insert(at + 1, other)


def _initial(value: float, which: slice) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        if g.step:
            for state in g.ports["states"][which]:
                state["init"] = value
            return
        for node in g.neurons()[which]:
            start = next(n for n in g.graph.node if node.input[1] in n.output)
            need(start.op_type == "Expand")
            name = f"{node.output[0]}.start"
            new = helper.make_node("Expand", [g.constant(np.float32(value)), start.input[1]], [name])
            g.graph.node.insert(list(g.graph.node).index(start) + 1, new)
            node.input[1] = name

    return plant


for _value in (0.9, 0.3, 0.01, -0.5):
    FAULTS[f"initial membrane of the first layer {_value}"] = _initial(_value, slice(0, 1))
    FAULTS[f"initial membrane of all layers {_value}"] = _initial(_value, slice(None))


@fault("a layer starts from another's last membrane")
def _(g: Graph) -> None:
    need(not g.step)
    a, b = g.neurons()[:2]
    need(g.manifest["model"]["name"] in ("deep",))  # equal shapes
    b.input[1] = a.output[1]


@fault("states of two layers swapped")
def _(g: Graph) -> None:
    need(g.step and g.manifest["model"]["name"] == "deep")
    a, b = g.neurons()[:2]
    a.input[1], b.input[1] = b.input[1], a.input[1]


@fault("states of two layers swapped in the manifest")
def _(g: Graph) -> None:
    need(g.step and g.manifest["model"]["name"] == "deep")
    a, b = g.ports["states"][:2]
    a["output"], b["output"] = b["output"], a["output"]


def _carried(kind: str, value: float | None) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        need(g.step)
        constants = () if value is None else (g.constant(np.float32(value)),)
        g.after(g.ports["states"][0]["output"], kind, *constants)

    return plant


for _value in (0.0, 0.5, 0.9, 0.99, 0.999):
    FAULTS[f"a state carried with a factor of {_value}"] = _carried("Mul", _value)
for _value in (0.1, 1e-3):
    FAULTS[f"a state carried with {_value} added"] = _carried("Add", _value)
FAULTS["a state without its sign"] = _carried("Abs", None)


@fault("a state not carried on")
def _(g: Graph) -> None:
    need(g.step)
    node = g.neurons()[0]
    kept = node.output[1]
    node.output[1] = f"{kept}.lost"
    g.graph.node.append(helper.make_node("Identity", [node.input[1]], [kept]))


def _without_its_call(which: int, said: bool) -> Callable[[Graph], None]:
    """A neuron that was taken apart, and then simplified to what compares its currents with its threshold."""

    def plant(g: Graph) -> None:
        node = g.neurons()[which]
        current, before, threshold = node.input[0], node.input[1], node.input[g.place(which, "v_threshold")]
        (spikes, *after), at = list(node.output), list(g.graph.node).index(node)
        g.graph.node.remove(node)
        new = [
            helper.make_node("GreaterOrEqual", [current, threshold], [f"{spikes}.fires"]),
            helper.make_node("Cast", [f"{spikes}.fires"], [spikes], to=1),
            *(helper.make_node("Identity", [before], [name]) for name in after if name),
        ]
        for other in reversed(new):
            g.graph.node.insert(at, other)
        path = next(entry.value for entry in node.metadata_props if entry.key == "neurokit.path")
        if said:
            next(neuron for neuron in g.manifest["neurons"] if neuron["path"] == path)["op"] = "decomposed"

    return plant


for _at, _where in ((0, "first"), (-1, "last")):
    FAULTS[f"the {_where} neuron without its call or membrane"] = _without_its_call(_at, False)
    FAULTS[f"the {_where} neuron without its call or membrane, said to be taken apart"] = _without_its_call(_at, True)
