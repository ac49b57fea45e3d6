"""Rewrites the neurons of a network for TensorRT: calls of local functions become nodes of the fused LIF plugin."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from neurokit.errors import Unsupported
from neurokit.export.onnx.functions import DOMAIN, NeuronFunction, from_name
from neurokit.export.tensorrt.plugin import NAME, NAMESPACE, attributes
from neurokit.neurons.device_code import NeuronCall
from neurokit.neurons.parameters import NeuronParameters

if TYPE_CHECKING:
    import onnx_ir as ir

_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")  # change no number


def neurons_as_plugins(model: ir.Model) -> tuple[int, list[Unsupported]]:
    """Replaces every neuron of a model in place by one plugin node; everything else stays as it is.

    Where a neuron's current was cast from float16 it reads float16, and where all its spikes are cast to float16 it
    writes float16: both are exact.

    Returns:
        The number of neurons replaced, and what could not be; with any reason the model is not to be used.
    """
    reasons: list[Unsupported] = []
    nodes = [node for node in model.graph if node.domain == DOMAIN]
    for node in nodes:
        call, why = _call(node)
        if call is None:
            path = str(node.metadata_props.get("neurokit.path", node.name or ""))
            reasons.append(Unsupported(path, node.op_type, why, "leave lif_plugin away"))
        else:
            _replace(model.graph, node, call)
    if not reasons:
        _drop_what_is_unused(model)
    return len(nodes), reasons


def _call(node: ir.Node) -> tuple[NeuronCall | None, str]:
    """Returns a neuron's parameters, or why the plugin does not take it."""
    function = from_name(node.op_type)
    if function is None:
        return None, "it is no neuron that the plugin knows"
    if function.dtype != "float32":
        return None, f"its membrane is {function.dtype}, and the plugin's is float32"
    if function.subtracts:
        return None, "its reset subtracts another number than its threshold, and the plugin's subtracts the threshold"
    numbers: dict[str, float] = {}
    for name, value in zip(function.scalars, node.inputs[2:], strict=True):
        if value is None or value.const_value is None:
            return None, f"its {name} is computed by the network, and a plugin's parameters are constants"
        if value.const_value.size != 1:
            return None, f"its {name} differs by channel, and a plugin's parameters are one number a layer"
        numbers[name] = float(value.const_value.numpy().reshape(-1)[0])
    return _as_call(function, numbers), ""


def _as_call(function: NeuronFunction, numbers: dict[str, float]) -> NeuronCall:
    named = {**numbers, "v_reset": numbers.get("v_reset") if function.hard else None}
    return NeuronCall.of(NeuronParameters.from_names(function.op, {**named, "decay_input": function.decay_input}))


def _replace(graph: ir.Graph, node: ir.Node, call: NeuronCall) -> None:
    import onnx_ir as ir

    casts = _casts_to_half(node.outputs[0])
    _take_half(node)
    call = dataclasses.replace(call, half_spikes=bool(casts))
    given: dict[str, Any] = {**attributes(call), "plugin_namespace": NAMESPACE, "plugin_version": "1", "aot": 1}
    made = ir.Node(
        NAMESPACE,
        NAME,
        node.inputs[:2],
        ir.convenience.convert_attributes(given),
        num_outputs=2,
        name=node.name,
        metadata_props=dict(node.metadata_props),
    )
    for before, after in zip(node.outputs, made.outputs, strict=True):
        after.type, after.shape, after.name = before.type, before.shape, before.name
    graph.insert_before(node, made)
    for before, after in zip(node.outputs, made.outputs, strict=True):
        ir.convenience.replace_all_uses_with(before, after, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    for cast in casts:
        _make_half(cast.inputs[0])
        ir.convenience.replace_all_uses_with(cast.outputs[0], cast.inputs[0])
        graph.remove(cast, safe=True)


def _take_half(node: ir.Node) -> None:
    """Takes the float16 numbers behind a cast and what moves them about, where the neuron alone reads them."""
    import onnx_ir as ir

    moves: list[ir.Node] = []
    value = node.inputs[0]
    while (source := value.producer()) is not None and source.op_type in _MOVES and len(value.uses()) == 1:
        moves.append(source)
        value = source.inputs[0]
    if source is None or source.op_type != "Cast" or value.dtype != ir.DataType.FLOAT:
        return
    if source.inputs[0].dtype == ir.DataType.FLOAT16:
        (moves[-1] if moves else node).replace_input_with(0, source.inputs[0])
        for move in moves:
            move.outputs[0].type = ir.TensorType(ir.DataType.FLOAT16)


def _casts_to_half(value: ir.Value) -> list[ir.Node]:
    """Returns the casts to float16 that all uses of a value end in, maybe after moves; [] if any use does not."""
    import onnx_ir as ir

    if value.is_graph_output():
        return []
    found: list[ir.Node] = []
    for node, _ in value.uses():
        if node.op_type == "Cast" and node.outputs[0].dtype == ir.DataType.FLOAT16:
            ends = [] if node.outputs[0].is_graph_output() else [node]
        else:
            ends = _casts_to_half(node.outputs[0]) if node.op_type in _MOVES else []
        if not ends:
            return []
        found += ends
    return found


def _make_half(value: ir.Value) -> None:
    """Gives a value, and what it was moved from, the type float16."""
    import onnx_ir as ir

    value.type = ir.TensorType(ir.DataType.FLOAT16)
    source = value.producer()
    if source is not None and source.op_type in _MOVES:
        _make_half(source.inputs[0])


def _drop_what_is_unused(model: ir.Model) -> None:
    """The casts in front of neurons, the neurons' scalars, and the functions they called."""
    import onnx_ir.passes.common as common

    for step in (common.RemoveUnusedNodesPass(), common.RemoveUnusedFunctionsPass()):
        step(model)
