"""Rare neurons as ONNX local functions: a Scan of their own step, or in a step model the step alone."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from neurokit.export.onnx.functions import OPSET
from neurokit.export.onnx.ready import as_it_is, known_values, one_registry, ready

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch.fx import Node

DOMAIN = "neurokit.step"
VERSION = 1
LAYER = "neurokit.stepwise"  # says of a call that it is a layer, and in which element type


def function_of(node: Node, path: str, kind: str, step: bool) -> ir.Function:
    """Returns the function of one layer: `(x_seq [T, B, ...], *states) -> (output [T, B, ...], *last states)`.

    Args:
        node: The layer's node in the captured program.
        path: Its module path, which names the function.
        kind: Class name of the neuron.
        step: Whether T is one, so that no Scan is needed.

    Raises:
        UnsupportedError: If the step cannot be traced.
    """
    import onnx_ir as ir

    body = _body(node)
    name = f"{kind}_{re.sub('[^0-9A-Za-z]+', '_', path).strip('_') or 'model'}"
    x_seq = ir.Value(name="x_seq", type=body.inputs[0].type)
    graph = (_one_step if step else _scan)(body, x_seq)
    return ir.Function(DOMAIN, name, "", graph=graph, attributes=[])


def _body(node: Node) -> ir.Graph:
    """Returns the step `(x, *states) -> (output, *states)` as a graph without initializers and sizes."""
    import onnx_ir as ir
    import onnxscript.optimizer
    import torch

    from neurokit.capture.asked_once import asked_once
    from neurokit.capture.stepping import step_program

    traced = step_program(node)
    program = ready(traced, (), OPSET)
    taken = as_it_is(program, traced)
    with warnings.catch_warnings(), torch.no_grad(), one_registry(), known_values(), asked_once(), taken:
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, optimize=False, verbose=False)
        assert exported is not None
        onnxscript.optimizer.optimize(exported.model)
    graph = exported.model.graph
    for value in list(graph.initializers.values()):
        constant = ir.Node("", "Constant", [], [ir.AttrTensor("value", value.const_value)], num_outputs=1)
        constant.outputs[0].name = f"constant.{value.name}"
        ir.convenience.replace_all_uses_with(value, constant.outputs[0])
        _insert_first(graph, constant)
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = constant.outputs[0]
    graph.initializers.clear()
    _own_outputs(graph)
    for value in [*graph.inputs, *(v for n in graph for v in n.outputs)]:
        value.shape = None  # a free size has another name outside
    return graph


def _insert_first(graph: ir.Graph, node: ir.Node) -> None:
    first = next(iter(graph), None)
    if first is None:
        graph.append(node)
    else:
        graph.insert_before(first, node)


def _own_outputs(graph: ir.Graph) -> None:
    """Gives every output a value of its own: a step may hand out a state as it came, or one value twice."""
    seen: set[int] = {id(value) for value in graph.inputs}
    for index, value in enumerate(list(graph.outputs)):
        if id(value) in seen:
            graph.outputs[index] = _emit(graph, "Identity", [value], f"same.{index}", value.type)
        seen.add(id(value))


def _emit(graph: ir.Graph, op: str, inputs: list[ir.Value], name: str, kind: Any) -> ir.Value:
    import onnx_ir as ir

    node = ir.Node("", op, inputs, num_outputs=1)
    node.outputs[0].name, node.outputs[0].type = name, kind
    graph.append(node)
    return node.outputs[0]


def _scan(body: ir.Graph, x_seq: ir.Value) -> ir.Graph:
    """A Scan of the step; its body takes states first and hands them out first."""
    import onnx_ir as ir

    x, *states = list(body.inputs)
    y, *new = list(body.outputs)
    body.inputs[:] = [*states, x]
    body.outputs[:] = [*new, y]
    body.name = "step"
    body.opset_imports.clear()
    given = [ir.Value(name=f"{state.name}_first", type=state.type) for state in states]
    scan = ir.Node(
        "",
        "Scan",
        [*given, x_seq],
        [ir.AttrGraph("body", body), ir.AttrInt64("num_scan_inputs", 1)],
        num_outputs=len(states) + 1,
    )
    for index, value in enumerate(scan.outputs):
        value.name = "y_seq" if index == len(states) else f"{states[index].name}_last"
        value.type = [*new, y][index].type
    *last, y_seq = scan.outputs
    return ir.Graph([x_seq, *given], [y_seq, *last], nodes=[scan], opset_imports={"": OPSET}, name="stepwise")


def _one_step(body: ir.Graph, x_seq: ir.Value) -> ir.Graph:
    """The step itself, between a time axis of length one that is taken away and put back."""
    import numpy as np
    import onnx_ir as ir

    x = body.inputs[0]
    axis = ir.Node("", "Constant", [], [ir.AttrTensor("value", ir.tensor(np.array([0], np.int64)))], num_outputs=1)
    drop = ir.Node("", "Squeeze", [x_seq, axis.outputs[0]], num_outputs=1)
    axis.outputs[0].name, drop.outputs[0].name, drop.outputs[0].type = "time_axis", "x_now", x.type
    ir.convenience.replace_all_uses_with(x, drop.outputs[0])
    _insert_first(body, drop)
    _insert_first(body, axis)
    body.inputs[0] = x_seq
    body.outputs[0] = _emit(body, "Unsqueeze", [body.outputs[0], axis.outputs[0]], "y_seq", body.outputs[0].type)
    body.opset_imports[""] = OPSET
    return body
