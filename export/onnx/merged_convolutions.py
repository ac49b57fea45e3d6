"""Convolutions that are linear maps of one input become one: sums of them, of them and their input, and in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.export.onnx.around import alike, constant, hand_on, made_by, numbers, only_reader, order, sizes

if TYPE_CHECKING:
    import onnx_ir as ir


def merge(model: ir.Model) -> None:
    """Merges convolutions over two axes wherever the one needs no more multiplications than the several."""
    import onnx_ir.passes.common as common

    for rule in (_behind, _sum, _with_input):
        # In the order of the graph: what a merged one is read by comes after it, and is met with it in place.
        found = [rule(model.graph, node) for node in list(model.graph)]
        if any(found):
            common.RemoveUnusedNodesPass()(model)


@dataclass(frozen=True)
class _Map:
    """A convolution over two axes.

    Attributes:
        node: The node.
        kernel: `[out, in / groups, height, width]`.
        bias: `[out]`.
        pads: Rows above, columns to the left, rows below, columns to the right.
        settings: Strides, dilations and groups.
    """

    node: ir.Node
    kernel: np.ndarray
    bias: np.ndarray
    pads: tuple[int, ...]
    settings: tuple[tuple[int, ...], tuple[int, ...], int]


def _map(value: ir.Value | None, alone: bool = True) -> _Map | None:
    """Returns the convolution that makes a value, which one node reads, once, if `alone`; None of anything else."""
    node = made_by(value, "Conv")
    if node is None or (alone and only_reader(node.outputs[0]) is None):
        return None
    kernel = numbers(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if kernel is None or kernel.ndim != 4 or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return None
    bias = np.zeros(len(kernel), kernel.dtype) if given is None else numbers(given)
    if bias is None:
        return None

    def several(name: str, usual: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(node.attributes[name].as_ints()) if name in node.attributes else usual

    settings = several("strides", (1, 1)), several("dilations", (1, 1)), node.attributes.get_int("group", 1)
    return _Map(node, kernel, bias, several("pads", (0, 0, 0, 0)), settings)


def _sum(graph: ir.Graph, node: ir.Node) -> bool:
    """Makes one convolution of two whose sum is all that is read; returns whether they were there."""
    if node.op_type != "Add" or node.domain:
        return False
    a, b = (_map(value) for value in node.inputs)
    if a is None or b is None or a.node is b.node or a.node.inputs[0] is not b.node.inputs[0]:
        return False
    if a.settings != b.settings or len(a.kernel) != len(b.kernel) or a.kernel.dtype != b.kernel.dtype:
        return False
    before = [max(pads) for pads in zip(a.pads[:2], b.pads[:2], strict=True)]
    behind = [max(pads) for pads in zip(a.pads[2:], b.pads[2:], strict=True)]
    wide = [_grown(one, before, behind) for one in (a, b)]
    if wide[0] is None or wide[1] is None or wide[0].shape != wide[1].shape:
        return False
    if wide[0][0, 0].size > a.kernel[0, 0].size + b.kernel[0, 0].size:
        return False
    return _put(graph, a, node.outputs[0], wide[0] + wide[1], a.bias + b.bias, (*before, *behind))


def _grown(one: _Map, before: list[int], behind: list[int]) -> np.ndarray | None:
    """Returns a kernel with zeros around it for wider pads, None where they are not of whole steps."""
    ends = []
    for at, dilation in enumerate(one.settings[1]):
        more = before[at] - one.pads[at], behind[at] - one.pads[2 + at]
        if any(number % dilation for number in more):
            return None
        ends.append(tuple(number // dilation for number in more))
    return np.pad(one.kernel, [(0, 0), (0, 0), *ends])


def _with_input(graph: ir.Graph, node: ir.Node) -> bool:
    """Makes one convolution of one whose input is added to its result, in any layout; returns whether it was there."""
    if node.op_type != "Add" or node.domain:
        return False
    for at in (0, 1):
        one, outward = _through(node.inputs[at])
        if one is not None and _undoes(one.node.inputs[0], outward, node.inputs[1 - at]) and _keeps(one):
            kernel, groups = one.kernel.copy(), one.settings[2]
            height, width = kernel.shape[2:]
            made = np.arange(len(kernel))
            kernel[made, made % (len(kernel) // groups), height // 2, width // 2] += 1
            last = outward[0].outputs[0] if outward else None
            if last is None:
                return _put(graph, one, node.outputs[0], kernel, one.bias, one.pads)
            _put(graph, one, one.node.outputs[0], kernel, one.bias, one.pads)
            hand_on(node.outputs[0], last)
            return True
    return False


def _through(value: ir.Value | None) -> tuple[_Map | None, list[ir.Node]]:
    """Returns the convolution behind a value and what lays its result out, the last node first."""
    layout: list[ir.Node] = []
    while value is not None and only_reader(value) is not None:
        node = made_by(value, "Transpose") or made_by(value, "Reshape")
        if node is None:
            return _map(value), layout
        layout.append(node)
        value = node.inputs[0]
    return None, layout


def _undoes(given: ir.Value | None, outward: list[ir.Node], wanted: ir.Value | None) -> bool:
    """Returns whether what lays out a convolution's input is undone by what lays out its result, of a wanted value."""
    for out in reversed(outward):
        before = made_by(given, out.op_type)
        if before is None or before.inputs[0] is None:
            return False
        if out.op_type == "Transpose":
            if [order(before)[at] for at in order(out)] != list(range(len(order(out)))):
                return False
        elif not alike(sizes(out.outputs[0]), sizes(before.inputs[0])):
            return False
        given = before.inputs[0]
    return given is wanted


def _keeps(one: _Map) -> bool:
    """Returns whether a convolution has as many channels and places as its input, each in the middle of its window."""
    strides, dilations, groups = one.settings
    sides = one.kernel.shape[2:]
    middle = [dilation * (side // 2) for dilation, side in zip(dilations, sides, strict=True)]
    return (
        all(stride == 1 for stride in strides)
        and all(side % 2 for side in sides)
        and list(one.pads) == middle * 2
        and one.kernel.shape[0] == one.kernel.shape[1] * groups
    )


def _behind(graph: ir.Graph, node: ir.Node) -> bool:
    """Makes one convolution of one and a pointwise one behind it; returns whether they were there."""
    first = _map(node.inputs[0]) if node.op_type == "Conv" and node.domain == "" else None
    last = _map(node.outputs[0], alone=False) if first is not None else None
    if first is None or last is None or last.kernel.shape[2:] != (1, 1) or any(last.pads):
        return False
    groups = last.settings[2]
    if last.settings[0] != (1, 1) or groups != first.settings[2] or first.kernel.dtype != last.kernel.dtype:
        return False
    kernel = first.kernel.reshape(groups, -1, *first.kernel.shape[1:]).astype(np.float64)
    mixed = last.kernel.reshape(groups, -1, last.kernel.shape[1]).astype(np.float64)
    made = np.einsum("gom,gmihw->goihw", mixed, kernel)
    made = made.reshape(-1, *made.shape[2:]).astype(first.kernel.dtype)
    if made.size > first.kernel.size + last.kernel.size:
        return False
    bias = np.einsum("gom,gm->go", mixed, first.bias.reshape(groups, -1)).reshape(-1) + last.bias
    return _put(graph, first, node.outputs[0], made, bias.astype(first.bias.dtype), first.pads)


def _put(graph: ir.Graph, one: _Map, old: ir.Value, kernel: Any, bias: Any, pads: tuple[int, ...]) -> bool:
    """Puts a convolution with another kernel, bias and border in the place of what makes a value."""
    import onnx_ir as ir

    assert one.node.inputs[1] is not None
    name = str(one.node.inputs[1].name)
    inputs = [
        one.node.inputs[0],
        constant(graph, f"{name}.merged", kernel),
        constant(graph, f"{name}.merged_bias", bias),
    ]
    node = ir.Node("", "Conv", inputs, dict(one.node.attributes), num_outputs=1, name=one.node.name)
    node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", list(kernel.shape[2:]))
    node.attributes["pads"] = ir.AttrInt64s("pads", list(pads))
    node.metadata_props.update(one.node.metadata_props)
    producer = old.producer()
    assert producer is not None
    graph.insert_before(producer, node)
    made = node.outputs[0]
    made.name, made.shape, made.type = f"{old.name}.merged", old.shape, old.type
    hand_on(old, made)
    return True
