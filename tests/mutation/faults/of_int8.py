"""Faults of int8 files: integers, scales and zero points of weights, biases and activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.mutation.faults.registry import swap
from tests.mutation.graph import Graph, need

INT8_FAULTS: dict[str, Callable[[Graph], None]] = {}


def _weights(g: Graph) -> list[onnx.NodeProto]:
    """Returns the nodes that make a weight of its integers, in the order of the layers that read it."""
    made = {n.output[0]: n for n in g.graph.node if n.op_type == "DequantizeLinear"}
    read = [n.input[1] for n in g.graph.node if n.op_type in ("Conv", "Gemm", "MatMul") and n.input[1] in made]
    need(read)
    return [made[name] for name in read]


def _biases(g: Graph) -> list[onnx.NodeProto]:
    made = {n.output[0]: n for n in g.graph.node if n.op_type == "DequantizeLinear"}
    read = [n.input[2] for n in g.graph.node if n.op_type in ("Conv", "Gemm") and len(n.input) > 2]
    found = [made[name] for name in read if name in made]
    need(found)
    return found


def _activations(g: Graph) -> list[onnx.NodeProto]:
    """Returns the nodes that round an activation to integers, in order."""
    held = {t.name for t in g.graph.initializer}
    found = [n for n in g.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in held]
    need(found)
    return found


def _turn(value: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    limits = np.iinfo(value.dtype) if value.dtype.kind in "iu" else None
    made = change(value.astype(np.float64))
    return (np.clip(np.round(made), limits.min, limits.max) if limits else made).astype(value.dtype)


def _operand(of: Callable[[Graph], list[onnx.NodeProto]], which: int, at: int, change: Callable) -> Callable:
    """Changes one input of one node: 0 the integers, 1 the scale, 2 the zero point. Nobody else reads the new one."""

    def plant(g: Graph) -> None:
        node = of(g)[which]
        need(len(node.input) > at)
        old = g.value(node.input[at])
        new = _turn(old, change)
        need(not np.array_equal(old, new))
        node.input[at] = g.constant(new)

    return plant


def _at(w: np.ndarray, place: int, change: Callable[[float], float]) -> np.ndarray:
    w = w.copy()
    w.reshape(-1)[place] = change(w.reshape(-1)[place])
    return w


def _order(w: np.ndarray, axis: int, order: Callable[[int], list[int]]) -> np.ndarray:
    need(w.ndim > axis and w.shape[axis] > 1)
    return np.take(w, order(w.shape[axis]), axis)


for _which, _where in ((0, "first"), (-1, "last")):
    for _bits in (3, 4, 5):
        _step = 2.0 ** (8 - _bits)
        INT8_FAULTS[f"int8: {_where} weights in {_bits} bits"] = _operand(
            _weights, _which, 0, lambda w, s=_step: np.round(w / s) * s
        )
    for _size in (0.5, 0.1, 0.03):
        INT8_FAULTS[f"int8: {_where} weights' scale, {_size:g}"] = _operand(
            _weights, _which, 1, lambda s, e=_size: s * (1 + e)
        )
        INT8_FAULTS[f"int8: {_where} bias's integers, {_size:g}"] = _operand(
            _biases, _which, 0, lambda b, e=_size: b * (1 + e)
        )
        INT8_FAULTS[f"int8: {_where} scale that activations are rounded by, {_size:g}"] = _operand(
            _activations, _which, 1, lambda s, e=_size: s * (1 + e)
        )
    INT8_FAULTS[f"int8: one channel's scale of the {_where} weights doubled"] = _operand(
        _weights, _which, 1, lambda s: _at(s, 0, lambda v: 2 * v)
    )
    INT8_FAULTS[f"int8: scales of the {_where} weights in another order"] = _operand(
        _weights, _which, 1, lambda s: _order(s, 0, lambda n: list(range(n))[::-1])
    )
    INT8_FAULTS[f"int8: one scale for all channels of the {_where} weights"] = _operand(
        _weights, _which, 1, lambda s: np.full_like(s, s.mean())
    )
    for _axis, _side in ((0, "rows"), (1, "columns")):
        INT8_FAULTS[f"int8: two {_side} of the {_where} weights swapped"] = _operand(
            _weights, _which, 0, lambda w, a=_axis: _order(w, a, swap)
        )
    INT8_FAULTS[f"int8: the {_where} weights without their sign"] = _operand(_weights, _which, 0, np.abs)
    INT8_FAULTS[f"int8: the {_where} weights one unit higher"] = _operand(_weights, _which, 0, lambda w: w + 1)
    INT8_FAULTS[f"int8: the largest of the {_where} weights negated"] = _operand(
        _weights, _which, 0, lambda w: _at(w, int(np.abs(w).argmax()), lambda v: -v)
    )
    INT8_FAULTS[f"int8: the {_where} weights' zero point is 3"] = _operand(_weights, _which, 2, lambda z: z + 3)
    INT8_FAULTS[f"int8: the {_where} bias dropped"] = _operand(_biases, _which, 0, lambda b: 0 * b)
    INT8_FAULTS[f"int8: the {_where} bias in another order"] = _operand(
        _biases, _which, 0, lambda b: _order(b, 0, lambda n: list(range(n))[::-1])
    )
    for _by in (1, 8, 64):
        INT8_FAULTS[f"int8: {_where} zero point of the activations off by {_by}"] = _operand(
            _activations, _which, 2, lambda z, e=_by: z + e if z < 128 else z - e
        )


@(lambda plant: INT8_FAULTS.setdefault("int8: kernel turned over", plant))
def _(g: Graph) -> None:
    node = _weights(g)[0]
    w = g.value(node.input[0])
    need(w.ndim > 2 and w.shape[-1] > 1)
    node.input[0] = g.constant(np.ascontiguousarray(np.flip(w, tuple(range(2, w.ndim)))))


@(lambda plant: INT8_FAULTS.setdefault("int8: two layers' activations share one scale", plant))
def _(g: Graph) -> None:
    found = _activations(g)
    need(len(found) > 1 and not np.array_equal(g.value(found[0].input[1]), g.value(found[1].input[1])))
    names = {found[1].input[1]: found[0].input[1]}
    for node in g.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
