"""Faults of time, axes, inputs, outputs and of how layers are joined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import helper

from tests.mutation.faults.registry import FAULTS, POWERS, each, fault, swap
from tests.mutation.graph import Graph, need


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
    g.after(g.output(), "Gather", g.constant(np.asarray(swap(size), np.int64)), axis=-1)


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


each("output scaled", (*POWERS,), lambda g, e: g.after(g.output(), "Mul", g.constant(np.float32(1 + e))))
each("output shifted", (*POWERS,), lambda g, e: g.after(g.output(), "Add", g.constant(np.float32(e))))
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
