"""More faults by name: element types, clipping, channels, padding, states and time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.mutation.faults.registry import FAULTS
from tests.mutation.graph import Graph, need

MORE: dict[str, Callable[[Graph], None]] = {}


def _through(kind: int, where: Callable[[Graph], str]) -> Callable[[Graph], None]:
    """A value that goes through another element type and back."""

    def plant(g: Graph) -> None:
        name = where(g)
        g.after(name, "Cast", to=TensorProto.FLOAT)
        g.after(next(n for n in g.graph.node if name in n.output).input[0], "Cast", to=kind)

    return plant


_FIRST, _LAST = (lambda g: g.neurons()[0].input[0]), (lambda g: g.neurons()[-1].input[0])
_SPIKES, _OUTPUT = (lambda g: g.neurons()[0].output[0]), (lambda g: g.output())

MORE["currents of the first layer through float16"] = _through(TensorProto.FLOAT16, _FIRST)
MORE["currents of the last layer through float16"] = _through(TensorProto.FLOAT16, _LAST)
MORE["output through float16"] = _through(TensorProto.FLOAT16, _OUTPUT)
MORE["output through bfloat16"] = _through(TensorProto.BFLOAT16, _OUTPUT)
MORE["output through whole numbers"] = _through(TensorProto.INT32, _OUTPUT)


def _behind(where: Callable[[Graph], str], kind: str, *values: float) -> Callable[[Graph], None]:
    return lambda g: g.after(where(g), kind, *(g.constant(np.float32(value)) for value in values))


MORE["currents clipped to 1"] = _behind(_FIRST, "Clip", -1.0, 1.0)
MORE["negative currents lost"] = _behind(_LAST, "Relu")
MORE["currents shifted by 1e-3"] = _behind(_FIRST, "Add", 1e-3)
MORE["spikes scaled by 1.001"] = _behind(_SPIKES, "Mul", 1.001)
MORE["spikes of -1 and 1"] = lambda g: (
    g.after(_SPIKES(g), "Sub", g.constant(np.float32(1))),
    g.after(next(n for n in g.graph.node if _SPIKES(g) in n.output).input[0], "Mul", g.constant(np.float32(2))),
)
MORE["inputs clipped to 8 bits with a sign"] = lambda g: g.before(
    *g.first_reader(), "Clip", g.constant(np.float32(-128)), g.constant(np.float32(127))
)
MORE["inputs through whole numbers"] = lambda g: _cast_input(g, TensorProto.INT32)
MORE["inputs through float16"] = lambda g: _cast_input(g, TensorProto.FLOAT16)


def _cast_input(g: Graph, kind: int) -> None:
    node, at = g.first_reader()
    g.before(node, at, "Cast", to=kind)
    g.before(node, at, "Cast", to=TensorProto.FLOAT)


def _changed(which: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        name, axis = g.weights()[which]
        g.set(name, np.moveaxis(change(np.moveaxis(g.value(name), axis, 0).copy()), 0, axis).astype(np.float32))

    return plant


def _first_row(w: np.ndarray, value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    w[0] = value(w)
    return w


def _bfloat16(w: np.ndarray) -> np.ndarray:
    return (w.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


for _which, _where in ((0, "first"), (-1, "last")):
    MORE[f"{_where} layer's weights through bfloat16"] = _changed(_which, _bfloat16)
    MORE[f"a channel of the {_where} layer doubled"] = _changed(_which, lambda w: _first_row(w, lambda w: w[1]))
    MORE[f"a channel of the {_where} layer dropped"] = _changed(_which, lambda w: _first_row(w, lambda w: 0 * w[0]))
    MORE[f"a channel of the {_where} layer scaled, 0.01"] = _changed(
        _which, lambda w: _first_row(w, lambda w: 1.01 * w[0])
    )
    MORE[f"a column of the {_where} layer dropped"] = _changed(
        _which, lambda w: np.where(np.arange(w.shape[1]).reshape(-1, *[1] * (w.ndim - 2)) == 0, 0.0, w)
    )
    MORE[f"{_where} layer's weights rounded to 4 bits a channel"] = _changed(
        _which,
        lambda w: np.round(w / (s := np.abs(w).reshape(len(w), -1).max(1).reshape(-1, *[1] * (w.ndim - 1)) / 7)) * s,
    )
for _which, _where in ((0, "first"), (-1, "last")):
    MORE[f"{_where} tau for 1 / tau"] = lambda g, k=_which: g.scalar(k, g.place(k, "tau"), lambda v: 1 / v)


def _with(name: str) -> Callable[[Callable[[Graph], None]], Callable[[Graph], None]]:
    def register(plant: Callable[[Graph], None]) -> Callable[[Graph], None]:
        MORE[name] = plant
        return plant

    return register


@_with("padding with ones")
def _(g: Graph) -> None:
    node = g.nodes("Conv")[0]
    pads = next((a for a in node.attribute if a.name == "pads"), None)
    need(pads is not None and any(pads.ints))
    half = len(pads.ints) // 2
    wide = [0, 0, *pads.ints[:half], 0, 0, *pads.ints[half:]]
    g.before(node, 0, "Pad", g.constant(np.asarray(wide, np.int64)), g.constant(np.float32(1)))
    pads.ints[:] = [0] * len(pads.ints)


@_with("padding that repeats the border")
def _(g: Graph) -> None:
    node = g.nodes("Conv")[0]
    pads = next((a for a in node.attribute if a.name == "pads"), None)
    need(pads is not None and any(pads.ints))
    half = len(pads.ints) // 2
    wide = [0, 0, *pads.ints[:half], 0, 0, *pads.ints[half:]]
    g.before(node, 0, "Pad", g.constant(np.asarray(wide, np.int64)), mode="edge")
    pads.ints[:] = [0] * len(pads.ints)


@_with("the bias of one channel dropped")
def _(g: Graph) -> None:
    name = g.biases()[0]
    bias = g.value(name)
    bias.reshape(-1)[bias.size // 2] = 0.0
    g.set(name, bias)


def _rolled(axis: int, by: int = 1) -> Callable[[Graph], None]:
    """Currents of the last layer turned by one along an axis, the last index first."""

    def plant(g: Graph) -> None:
        need(axis or not g.step)
        name = _LAST(g)
        at, end = g.constant(np.asarray([-by], np.int64)), g.constant(np.asarray([2**31], np.int64))
        zero, where = g.constant(np.asarray([0], np.int64)), g.constant(np.asarray([axis], np.int64))
        g.after(name, "Identity")
        node = next(n for n in g.graph.node if name in n.output)
        inner, place = node.input[0], list(g.graph.node).index(node)
        g.graph.node.remove(node)
        new = [
            helper.make_node("Slice", [inner, at, end, where], [f"{name}.tail"]),
            helper.make_node("Slice", [inner, zero, at, where], [f"{name}.head"]),
            helper.make_node("Concat", [f"{name}.tail", f"{name}.head"], [name], axis=axis),
        ]
        for other in reversed(new):
            g.graph.node.insert(place, other)

    return plant


MORE["currents one step late"] = _rolled(0)
MORE["samples turned by one"] = _rolled(1)
MORE["features turned by one"] = _rolled(-1)


@_with("the batch's mean subtracted")
def _(g: Graph) -> None:
    name = _LAST(g)
    g.after(name, "Sub", f"{name}.mean")
    node = next(n for n in g.graph.node if name in n.output)
    mean = helper.make_node("ReduceMean", [node.input[0], g.constant(np.asarray([1], np.int64))], [f"{name}.mean"])
    g.graph.node.insert(list(g.graph.node).index(node), mean)


@_with("the first step's spikes lost")
def _(g: Graph) -> None:
    need(not g.step)
    name = _SPIKES(g)
    g.after(name, "Mul", f"{name}.mask")
    node = next(n for n in g.graph.node if name in n.output)
    inner, place = node.input[0], list(g.graph.node).index(node)
    one, end = g.constant(np.asarray([1], np.int64)), g.constant(np.asarray([2**31], np.int64))
    zero = g.constant(np.asarray([0], np.int64))
    new = [
        helper.make_node("Slice", [inner, zero, one, zero], [f"{name}.a"]),
        helper.make_node("Slice", [inner, one, end, zero], [f"{name}.b"]),
        helper.make_node("Sub", [f"{name}.a", f"{name}.a"], [f"{name}.0"]),
        helper.make_node("Concat", [f"{name}.0", f"{name}.b"], [name], axis=0),
    ]
    g.graph.node.remove(node)
    for other in reversed(new):
        g.graph.node.insert(place, other)


@_with("average pooling that counts another size")
def _(g: Graph) -> None:
    node = g.nodes("AveragePool")[0]
    g.after(node.output[0], "Mul", g.constant(np.float32(4 / 3)))


@_with("spikes summed for averaged")
def _(g: Graph) -> None:
    need(not g.step and g.manifest["target_info"]["time_output"] == "mean")
    g.after(g.output(), "Mul", g.constant(np.float32(g.steps)))


def _soft(g: Graph) -> None:
    """The hard reset of the first neuron made soft: h - threshold where it fires."""
    for body in g.bodies(0):
        where = next((n for n in body.node if n.op_type == "Where"), None)
        names = {name for node in body.node for name in node.input}
        if where is not None and "v_threshold" in names:
            at = list(body.node).index(where)
            body.node.insert(at, helper.make_node("Sub", [where.input[2], "v_threshold"], ["planted.soft"]))
            where.input[1] = "planted.soft"
            return
    need(False)


MORE["soft reset for hard"] = _soft
MORE["large inputs become 0"] = lambda g: _bounded(g, 100.0)


def _bounded(g: Graph, limit: float) -> None:
    node, at = g.first_reader()
    name, place = node.input[at], list(g.graph.node).index(node)
    zero, most = g.constant(np.float32(0)), g.constant(np.float32(limit))
    new: list[onnx.NodeProto] = [
        helper.make_node("Abs", [name], ["in.abs"]),
        helper.make_node("Less", ["in.abs", most], ["in.ok"]),
        helper.make_node("Where", ["in.ok", name, zero], ["in.kept"]),
    ]
    for other in reversed(new):
        g.graph.node.insert(place, other)
    node.input[at] = "in.kept"


FAULTS.update(MORE)
