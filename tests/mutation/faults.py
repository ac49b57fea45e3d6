"""The faults by name; most at several magnitudes. Each edits a graph, or raises NotApplicableError."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import helper

from tests.mutation.graph import Graph, need

FAULTS: dict[str, Callable[[Graph], None]] = {}
POWERS = (1e-1, 1e-2, 1e-3, 1e-4)


def fault(name: str) -> Callable[[Callable[[Graph], None]], Callable[[Graph], None]]:
    """Registers a fault."""

    def register(plant: Callable[[Graph], None]) -> Callable[[Graph], None]:
        FAULTS[name] = plant
        return plant

    return register


def _each(name: str, sizes: tuple[float, ...], plant: Callable[[Graph, float], None]) -> None:
    for size in sizes:
        FAULTS[f"{name}, {size:g}"] = lambda g, size=size: plant(g, size)


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


def _swap(n: int) -> list[int]:
    return [1, 0, *range(2, n)]


for _which, _where in ((0, "first"), (-1, "last")):
    _each(f"{_where} layer's weights scaled", POWERS, lambda g, e, k=_which: _weight(k, lambda w, a: w * (1 + e))(g))
    _each(f"one weight of the {_where} layer", POWERS, lambda g, e, k=_which: _weight(k, lambda w, a: _one(w, e))(g))
    FAULTS[f"one weight of the {_where} layer negated"] = _weight(
        _which, lambda w, a: np.where(np.arange(w.size).reshape(w.shape) == w.size // 2, -w, w)
    )
    FAULTS[f"two output channels of the {_where} layer swapped"] = _weight(_which, lambda w, a: _permuted(w, a, _swap))
    FAULTS[f"two input channels of the {_where} layer swapped"] = _weight(
        _which, lambda w, a: _permuted(w, 1 - a, _swap)
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
    _each(
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
        _each(
            f"{_said} threshold {'higher' if _sign > 0 else 'lower'}",
            (*POWERS, 1e-6),
            lambda g, e, k=_at, s=_sign: g.scalar(k, g.place(k, "v_threshold"), lambda v: v * (1 + s * e)),
        )
    _each(f"{_said} tau", POWERS, lambda g, e, k=_at: g.scalar(k, g.place(k, "tau"), lambda v: v * (1 + e)))
    _each(f"{_said} reset potential", POWERS, lambda g, e, k=_at: g.scalar(k, g.place(k, "v_reset"), lambda v: v + e))
_each("learnt decay", POWERS, lambda g, e: g.scalar(0, g.place(0, "decay"), lambda v: v * (1 + e)))


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


@fault("time backwards in the neurons")
def _(g: Graph) -> None:
    need(not g.step)
    for node in g.scans():
        node.attribute.append(helper.make_attribute("scan_input_directions", [1]))
        node.attribute.append(helper.make_attribute("scan_output_directions", [1]))


@fault("spikes put out backwards in time")
def _(g: Graph) -> None:
    need(not g.step)
    for node in g.scans():
        node.attribute.append(helper.make_attribute("scan_output_directions", [1]))


def _reversed(g: Graph, name: str, axis: int) -> None:
    start, end = g.constant(np.asarray([-1], np.int64)), g.constant(np.asarray([-(2**31)], np.int64))
    where, by = g.constant(np.asarray([axis], np.int64)), g.constant(np.asarray([-1], np.int64))
    g.after(name, "Slice", start, end, where, by)


FAULTS["currents backwards in time"] = lambda g: (need(not g.step), _reversed(g, g.neurons()[-1].input[0], 0))
FAULTS["samples in reverse order"] = lambda g: _reversed(g, g.neurons()[-1].input[0], 1)
FAULTS["features in reverse order"] = lambda g: _reversed(g, g.neurons()[0].input[0], -1)
FAULTS["output elements in reverse order"] = lambda g: _reversed(g, g.output(), -1)


@fault("two output elements swapped")
def _(g: Graph) -> None:
    size = g.ports["outputs"][0]["shape"][-1]
    g.after(g.output(), "Gather", g.constant(np.asarray(_swap(size), np.int64)), axis=-1)


def _over(axes: tuple[int, ...]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        node = g.neurons()[-1]
        name = node.input[0]
        at = list(g.graph.node).index(node)
        mean = helper.make_node("ReduceMean", [name, g.constant(np.asarray(axes, np.int64))], [f"{name}.mean"])
        shape = helper.make_node("Shape", [name], [f"{name}.shape"])
        wide = helper.make_node("Expand", [f"{name}.mean", f"{name}.shape"], [f"{name}.all"])
        for new in (wide, shape, mean):
            g.graph.node.insert(at, new)
        node.input[0] = f"{name}.all"

    return plant


FAULTS["the mean over the batch"] = _over((1,))
FAULTS["the mean over time"] = lambda g: (need(not g.step), _over((0,))(g))


@fault("T and B confused where they are unfolded")
def _(g: Graph) -> None:
    need(not g.step)
    node = g.neurons()[0]
    name, at = node.input[0], list(g.graph.node).index(node)
    ranks = {"rate": 5, "residual": 5, "sound": 4}
    rank = ranks.get(g.manifest["model"]["name"], 3)
    order = [1, 0, *range(2, rank)]
    new = [
        helper.make_node("Shape", [name], [f"{name}.s"]),
        helper.make_node("Gather", [f"{name}.s", g.constant(np.asarray(order, np.int64))], [f"{name}.t"]),
        helper.make_node("Reshape", [name, f"{name}.t"], [f"{name}.r"]),
        helper.make_node("Transpose", [f"{name}.r"], [f"{name}.x"], perm=order),
    ]
    for other in reversed(new):
        g.graph.node.insert(at, other)
    node.input[0] = f"{name}.x"


@fault("the first sample's answer for all")
def _(g: Graph) -> None:
    node = g.neurons()[-1]
    name, at = node.input[0], list(g.graph.node).index(node)
    zero = g.constant(np.asarray([0], np.int64))
    new = [
        helper.make_node("Shape", [name], [f"{name}.s"]),
        helper.make_node("Gather", [name, zero], [f"{name}.0"], axis=1),
        helper.make_node("Expand", [f"{name}.0", f"{name}.s"], [f"{name}.w"]),
    ]
    for other in reversed(new):
        g.graph.node.insert(at, other)
    node.input[0] = f"{name}.w"


@fault("the first step's input at every step")
def _(g: Graph) -> None:
    need(not g.step)
    node, at = g.first_reader()
    name, place = node.input[at], list(g.graph.node).index(node)
    new = [
        helper.make_node("Shape", [name], ["in.s"]),
        helper.make_node("Gather", [name, g.constant(np.asarray([0], np.int64))], ["in.0"], axis=0),
        helper.make_node("Expand", ["in.0", "in.s"], ["in.w"]),
    ]
    for other in reversed(new):
        g.graph.node.insert(place, other)
    node.input[at] = "in.w"


@fault("T fixed to the test vectors' T")
def _(g: Graph) -> None:
    need(g.scan)
    node, at = g.first_reader()
    g.before(node, at, "Slice", g.constant(np.asarray([0], np.int64)), g.constant(np.asarray([g.steps], np.int64)))


def _input(kind: str, *values: float) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        node, at = g.first_reader()
        g.before(node, at, kind, *(g.constant(np.float32(value)) for value in values))

    return plant


FAULTS["negative inputs lost"] = _input("Relu")
FAULTS["inputs clipped to 0 to 1"] = _input("Clip", 0.0, 1.0)
FAULTS["inputs clipped to 6"] = _input("Clip", -1e9, 6.0)
FAULTS["inputs clipped to 255"] = _input("Clip", -1e9, 255.0)
FAULTS["inputs rounded"] = _input("Round")
FAULTS["inputs without their sign"] = _input("Abs")
FAULTS["inputs halved"] = _input("Mul", 0.5)
FAULTS["inputs shifted by 0.01"] = _input("Add", 0.01)
FAULTS["inputs through a tanh"] = _input("Tanh")


@fault("inputs in 8 bits")
def _(g: Graph) -> None:
    node, at = g.first_reader()
    g.before(node, at, "Mul", g.constant(np.float32(255)))
    g.before(node, at, "Round")
    g.before(node, at, "Mul", g.constant(np.float32(1 / 255)))


_each("output scaled", (*POWERS,), lambda g, e: g.after(g.output(), "Mul", g.constant(np.float32(1 + e))))
_each("output shifted", (*POWERS,), lambda g, e: g.after(g.output(), "Add", g.constant(np.float32(e))))
FAULTS["output negated"] = lambda g: g.after(g.output(), "Neg")
FAULTS["output clipped at 0"] = lambda g: g.after(g.output(), "Relu")
FAULTS["output through a softmax"] = lambda g: g.after(g.output(), "Softmax", axis=-1)


def _attribute(kind: str, name: str, values: list[int]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        node = g.nodes(kind)[0]
        found = [a for a in node.attribute if a.name == name]
        need(found and len(found[0].ints) == len(values))
        found[0].ints[:] = values

    return plant


FAULTS["padding on one side"] = _attribute("Conv", "pads", [0, 0, 2, 2])
FAULTS["padding on one side, one-dimensional"] = _attribute("Conv", "pads", [0, 4])


@fault("dilation 2")
def _(g: Graph) -> None:
    node = g.nodes("Conv")[0]
    pads = next(a for a in node.attribute if a.name == "pads")
    dilations = next((a for a in node.attribute if a.name == "dilations"), None)
    need(dilations is not None)
    pads.ints[:] = [2 * p for p in pads.ints]
    dilations.ints[:] = [2] * len(dilations.ints)


def _pool(kind: str, other: str, drop: tuple[str, ...]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        node = g.nodes(kind)[0]
        node.op_type = other
        for attribute in [a for a in node.attribute if a.name in drop]:
            node.attribute.remove(attribute)

    return plant


FAULTS["average pooling for max"] = _pool("MaxPool", "AveragePool", ("storage_order", "dilations"))
FAULTS["max pooling for average"] = _pool("AveragePool", "MaxPool", ("count_include_pad",))


def _skip(change: str) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        constants = {t.name for t in g.graph.initializer}
        found = [n for n in g.graph.node if n.op_type in ("Add", "Mul") and not constants & set(n.input)]
        need(found)
        node = found[0]
        if change == "dropped":
            node.op_type = "Identity"
            node.input[:] = node.input[:1]
        elif change == "subtracted":
            node.op_type = "Sub"
        else:
            node.op_type = change

    return plant


FAULTS["two branches: the larger for the sum"] = _skip("Max")
FAULTS["two branches: one dropped"] = _skip("dropped")
FAULTS["two branches: subtracted"] = _skip("subtracted")


@fault("joined channels in another order")
def _(g: Graph) -> None:
    node = next(
        (n for n in g.nodes("Concat") if all(not i.startswith("val") for i in n.input) and len(n.input) == 2), None
    )
    need(node is not None)
    node.input[:] = list(node.input)[::-1]


@fault("a layer reads another layer's spikes")
def _(g: Graph) -> None:
    need(g.manifest["model"]["name"] == "deep")
    reader = [n for n in g.graph.node if n.op_type in ("MatMul", "Gemm")][2]
    reader.input[0] = g.neurons()[0].output[0]


@fault("the mean over time divides by T - 1")
def _(g: Graph) -> None:
    need(not g.step and g.manifest["target_info"]["time_output"] == "mean")
    g.after(g.output(), "Mul", g.constant(np.float32(g.steps / (g.steps - 1))))


@fault("the manifest says another reduction over time")
def _(g: Graph) -> None:
    need(g.step)
    said = g.manifest["target_info"]["time_output"]
    need(said in ("mean", "sum", "last"))
    g.manifest["target_info"]["time_output"] = {"mean": "sum", "sum": "mean", "last": "mean"}[said]
