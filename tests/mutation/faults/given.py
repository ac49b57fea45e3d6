"""Faults of how an input is read, of samples in a batch, and of branches; registered behind the other files'."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.mutation.faults.registry import FAULTS, fault
from tests.mutation.graph import Graph, need


def _ints(g: Graph, *values: int) -> str:
    return g.constant(np.asarray(values, np.int64))


def _given(g: Graph, build: Callable[[str, str], Sequence[onnx.NodeProto]]) -> None:
    """Puts nodes between the input and its first reader: `build` takes the name that is there and the one to make."""
    node, at = g.first_reader()
    name, place = node.input[at], list(g.graph.node).index(node)
    for new in reversed(build(name, "planted.given")):
        g.graph.node.insert(place, new)
    node.input[at] = "planted.given"


def _sample_axes(g: Graph) -> int:
    """Returns the number of axes of one sample."""
    shape = g.ports["inputs"][0]["shape"]
    return len(shape) - list(shape).index("B") - 1


def _reversed(axis: int, least: int) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        need(_sample_axes(g) >= least and g.ports["inputs"][0]["shape"][axis] != 1)
        ends = _ints(g, -1), _ints(g, -(2**31)), _ints(g, axis), _ints(g, -1)
        _given(g, lambda name, out: [helper.make_node("Slice", [name, *ends], [out])])

    return plant


FAULTS["inputs: channels in reverse order"] = lambda g: _reversed(-_sample_axes(g), 2)(g)
FAULTS["inputs mirrored"] = _reversed(-1, 2)
FAULTS["inputs upside down"] = _reversed(-2, 3)


@fault("inputs: height and width exchanged")
def _(g: Graph) -> None:
    need(_sample_axes(g) == 3)
    rank = len(g.ports["inputs"][0]["shape"])
    order = [*range(rank - 2), rank - 1, rank - 2]
    _given(g, lambda name, out: [helper.make_node("Transpose", [name], [out], perm=order)])


def _steps(*kinds: tuple[str, float | None]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        node, at = g.first_reader()
        for kind, value in kinds:
            g.before(node, at, kind, *(() if value is None else (g.constant(np.float32(value)),)))

    return plant


FAULTS["inputs of 16 levels"] = _steps(("Mul", 15.0), ("Round", None), ("Mul", 1 / 15))
FAULTS["inputs scaled, 0.01"] = _steps(("Mul", 1.01))
FAULTS["inputs scaled, 0.001"] = _steps(("Mul", 1.001))
FAULTS["inputs of bytes that were divided twice"] = _steps(("Mul", 1 / 255))
FAULTS["inputs normalised by another mean"] = _steps(("Sub", 0.45), ("Add", 0.5))
FAULTS["inputs at least 0.01"] = _steps(("Max", 0.01))
FAULTS["inputs at most 0.99"] = _steps(("Min", 0.99))
FAULTS["inputs squared"] = _steps(("Pow", 2.0))


@fault("inputs through bfloat16")
def _(g: Graph) -> None:
    node, at = g.first_reader()
    g.before(node, at, "Cast", to=TensorProto.BFLOAT16)
    g.before(node, at, "Cast", to=TensorProto.FLOAT)


@fault("inputs divided by the largest of the sample")
def _(g: Graph) -> None:
    axes = _ints(g, *range(-_sample_axes(g), 0))
    _given(
        g,
        lambda name, out: [
            helper.make_node("ReduceMax", [name, axes], ["in.most"], keepdims=1),
            helper.make_node("Div", [name, "in.most"], [out]),
        ],
    )


@fault("inputs less the batch's mean")
def _(g: Graph) -> None:
    axes = _ints(g, list(g.ports["inputs"][0]["shape"]).index("B"))
    _given(
        g,
        lambda name, out: [
            helper.make_node("ReduceMean", [name, axes], ["in.mean"], keepdims=1),
            helper.make_node("Sub", [name, "in.mean"], [out]),
        ],
    )


@fault("samples behind the second lost")
def _(g: Graph) -> None:
    """Another size of batch than was tried: what lies behind two samples is 0."""
    axis = _ints(g, list(g.ports["inputs"][0]["shape"]).index("B"))
    ends = _ints(g, 0), _ints(g, 2), _ints(g, 2**31)
    _given(
        g,
        lambda name, out: [
            helper.make_node("Slice", [name, ends[0], ends[1], axis], ["in.a"]),
            helper.make_node("Slice", [name, ends[1], ends[2], axis], ["in.b"]),
            helper.make_node("Sub", ["in.b", "in.b"], ["in.0"]),
            helper.make_node("Concat", ["in.a", "in.0"], [out], axis=list(g.ports["inputs"][0]["shape"]).index("B")),
        ],
    )


@fault("every second step of the input lost")
def _(g: Graph) -> None:
    need(not g.step and not g.scan and g.ports["inputs"][0]["shape"][0] == g.steps)
    mask = (np.arange(g.steps) % 2 == 0).astype(np.float32).reshape(-1, *[1] * (_sample_axes(g) + 1))
    node, at = g.first_reader()
    g.before(node, at, "Mul", g.constant(mask))


def _branches(g: Graph) -> list[onnx.NodeProto]:
    constants = {t.name for t in g.graph.initializer}
    found = [n for n in g.graph.node if n.op_type in ("Add", "Mul", "Concat") and not constants & set(n.input)]
    found = [n for n in found if len(n.input) == 2 and not any(i.startswith("val") for i in n.input)]
    need(found)
    return found


@fault("two branches: one read twice")
def _(g: Graph) -> None:
    node = _branches(g)[0]
    node.input[1] = node.input[0]


@fault("two branches: the smaller of both")
def _(g: Graph) -> None:
    node = _branches(g)[0]
    need(node.op_type != "Concat")
    node.op_type = "Min"


@fault("two branches: the mean of both")
def _(g: Graph) -> None:
    node = _branches(g)[0]
    need(node.op_type == "Add")
    node.op_type = "Mean"


@fault("two branches: one scaled by 1.01")
def _(g: Graph) -> None:
    node = _branches(g)[-1]
    g.before(node, 0, "Mul", g.constant(np.float32(1.01)))


def _attribute(kind: str, name: str, change: Callable[[list[int]], list[int]]) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        node = g.nodes(kind)[-1]
        found = [a for a in node.attribute if a.name == name]
        need(found and len(found[0].ints))
        before = list(found[0].ints)
        found[0].ints[:] = change(before)
        need(list(found[0].ints) != before)

    return plant


FAULTS["last convolution: padding on the other side"] = _attribute(
    "Conv", "pads", lambda p: [2 * v for v in p[: len(p) // 2]] + [0] * (len(p) // 2)
)
FAULTS["pooling: a window of one more, padded behind"] = lambda g: _wider(g)


def _wider(g: Graph) -> None:
    node = g.nodes("MaxPool", "AveragePool")[0]
    held = {a.name: a for a in node.attribute}
    need("kernel_shape" in held and "pads" in held)
    held["kernel_shape"].ints[:] = [v + 1 for v in held["kernel_shape"].ints]
    half = len(held["pads"].ints) // 2
    held["pads"].ints[half:] = [v + 1 for v in held["pads"].ints[half:]]


@fault("a layer's output clipped to 6")
def _(g: Graph) -> None:
    name = next((n.output[0] for n in g.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")), None)
    need(name is not None)
    g.after(name, "Min", g.constant(np.float32(6)))


@fault("a layer's output through a leaky ReLU")
def _(g: Graph) -> None:
    name = [n.output[0] for n in g.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")][-1]
    g.after(name, "LeakyRelu", alpha=0.99)
