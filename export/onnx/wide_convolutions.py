"""Convolutions over one axis become convolutions over two, of which the first has size 1.

ONNX Runtime keeps channels in blocks for convolutions over two axes alone: one of 1,536 channels by 1,536 over 200
places took 33.1 ms of one core over one axis and 26.4 over two, and `ecapa_tdnn_512` as a whole 40.6 and 35.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.export.onnx.around import constant

if TYPE_CHECKING:
    import onnx_ir as ir

_BLOCK = 8  # channels of a block on a core with AVX2
_AXIS = 2  # where the axis of size 1 is
_ONE_BY_ONE = ("Relu", "Sigmoid", "Tanh", "BatchNormalization", "Add", "Mul", "Sub", "Concat", "Split", "Pad")


def widen(model: ir.Model) -> None:
    """Widens every convolution over one axis whose channels are whole blocks, and what stands between two of them."""
    import onnx_ir.passes.common as common

    convolutions = [node for node in model.graph if _over_one_axis(node)]
    if not convolutions:
        return
    work = _Widening(model.graph)
    for node in convolutions:
        work.convolution(node)
    while sum(work.between(node) for node in list(model.graph)):
        pass
    work.join()
    common.RemoveUnusedNodesPass()(model)


def _over_one_axis(node: ir.Node) -> bool:
    weight = node.inputs[1] if node.op_type == "Conv" else None
    if weight is None or weight.const_value is None or len(weight.const_value.shape) != 3:
        return False
    padded = node.attributes.get_string("auto_pad", "NOTSET")
    return int(weight.const_value.shape[0]) % _BLOCK == 0 and padded == "NOTSET" and not _goes_out(node)


def _goes_out(node: ir.Node) -> bool:
    return any(value.is_graph_output() for value in node.outputs)


class _Widening:
    """Puts an axis in before nodes and takes it out behind them; what is taken out and put in again is neither."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._axis: Any = None
        self._weights: dict[str, ir.Value] = {}
        self._put: dict[Any, ir.Value] = {}

    def convolution(self, node: ir.Node) -> None:
        """Widens one convolution."""
        import onnx_ir as ir

        weight = node.inputs[1]
        assert weight is not None
        assert weight.const_value is not None
        name = str(weight.name)
        if name not in self._weights:
            self._weights[name] = constant(
                self._graph, f"{name}.over_two", np.expand_dims(weight.const_value.numpy(), _AXIS)
            )
        node.replace_input_with(1, self._weights[name])
        for key, first in (("strides", 1), ("dilations", 1), ("kernel_shape", 1)):
            if key in node.attributes:
                node.attributes[key] = ir.AttrInt64s(key, [first, *node.attributes[key].as_ints()])
        if "pads" in node.attributes:
            before, behind = node.attributes["pads"].as_ints()
            node.attributes["pads"] = ir.AttrInt64s("pads", [0, before, 0, behind])
        self._around(node, [0])

    def between(self, node: ir.Node) -> bool:
        """Widens a node that works place by place and reads what was widened; returns whether it has."""
        if node.op_type not in _ONE_BY_ONE or _goes_out(node):
            return False
        computed = [at for at, value in enumerate(node.inputs) if value is not None and not value.is_initializer()]
        constants = [value for value in node.inputs if value is not None and value.is_initializer()]
        if not any(self._taken_out(node.inputs[at]) for at in computed):
            return False
        if not all(_rank(node.inputs[at]) == 3 for at in computed):
            return False
        if node.op_type in ("Concat", "Split") and node.attributes.get_int("axis", 0) != 1:
            return False
        if node.op_type in ("Add", "Mul", "Sub", "Concat") and any(_rank(value) > 1 for value in constants):
            return False
        if node.op_type == "Pad" and not self._pads(node):
            return False
        self._around(node, computed)
        return True

    def join(self) -> None:
        """Leaves out every axis that is put in where it was taken out, and gives weights their names back."""
        import onnx_ir as ir

        for put_in in self._put.values():
            node: Any = put_in.producer()
            if self._taken_out(node.inputs[0]):
                ir.convenience.replace_all_uses_with(put_in, node.inputs[0].producer().inputs[0])
        for name, wide in self._weights.items():
            if not self._graph.initializers[name].uses():
                del self._graph.initializers[name], self._graph.initializers[str(wide.name)]
                wide.name = name
                self._graph.register_initializer(wide)

    def _pads(self, node: ir.Node) -> bool:
        """Widens how much a Pad adds at either end of each axis, where that is a constant for all axes."""
        amounts = node.inputs[1]
        named_axes = len(node.inputs) > 3 and node.inputs[3] is not None
        if amounts is None or amounts.const_value is None or named_axes:
            return False
        ends = amounts.const_value.numpy()
        if len(ends) != 6:
            return False
        wider = np.insert(ends, (_AXIS, 3 + _AXIS), 0)
        node.replace_input_with(1, constant(self._graph, f"{node.outputs[0].name}.pads", wider))
        return True

    def _around(self, node: ir.Node, places: Sequence[int]) -> None:
        import onnx_ir as ir

        for at in places:
            node.replace_input_with(at, self._put_in(node.inputs[at]))
        for made in node.outputs:
            uses = list(made.uses())
            out = self._node("Squeeze", made, f"{made.name}.over_one")
            self._graph.insert_after(node, out)
            taken = out.outputs[0]
            taken.shape, taken.type = made.shape, made.type
            if made.shape is not None:
                made.shape = ir.Shape([*made.shape[:_AXIS], 1, *made.shape[_AXIS:]])
            for use in uses:
                use.node.replace_input_with(use.idx, taken)

    def _put_in(self, value: Any) -> ir.Value:
        if self._taken_out(value):
            found: ir.Value = value.producer().inputs[0]
            return found
        if value not in self._put:
            node = self._node("Unsqueeze", value, f"{value.name}.over_two")
            producer = value.producer()
            if producer is None:
                self._graph.insert_before(self._graph[0], node)
            else:
                self._graph.insert_after(producer, node)
            node.outputs[0].type = value.type
            self._put[value] = node.outputs[0]
        return self._put[value]

    def _taken_out(self, value: Any) -> bool:
        producer = None if value is None else value.producer()
        return producer is not None and producer.op_type == "Squeeze" and producer.inputs[1] is self._axis

    def _node(self, kind: str, value: Any, name: str) -> ir.Node:
        import onnx_ir as ir

        if self._axis is None:
            self._axis = constant(self._graph, "axis_of_size_1", np.asarray([_AXIS], np.int64))
        node = ir.Node("", kind, [value, self._axis], num_outputs=1)
        node.outputs[0].name = name
        return node


def _rank(value: Any) -> int:
    """Returns the rank of a value; one that is not known is taken for a large one."""
    return 9 if value is None or value.shape is None else len(value.shape)
