"""Converts a captured program to an ONNX model with named states and neurons as local functions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neurokit.dims import BATCH, Dim, Size, substitute, text_of
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.export.describe import describe_graph
from neurokit.export.onnx.around import constant
from neurokit.export.onnx.attention import ATTENTION, AttentionForm, opset_of, translations
from neurokit.export.onnx.complex_values import complex_refused
from neurokit.export.onnx.functions import DOMAIN, VERSION, NeuronFunction, from_call
from neurokit.export.onnx.fuse import fuse
from neurokit.export.onnx.group_query import group_queries
from neurokit.export.onnx.passes import clean, distinct_outputs
from neurokit.export.onnx.plain_ops import translations as plain_translations
from neurokit.export.onnx.pooling import avg_pool2d, batch_norm, global_pool
from neurokit.export.onnx.products import split_products
from neurokit.export.onnx.ready import as_it_is, known_values, one_registry, ready
from neurokit.export.onnx.sorting import sort_stable
from neurokit.garbage import put_off
from neurokit.neurons.parameters import ARGUMENTS
from neurokit.program.late_code import code_when_called

if TYPE_CHECKING:
    import onnx_ir as ir

    from neurokit.capture import Captured, StateInfo

_PLACEHOLDER = "neurokit.placeholder"
_STEPWISE = "stepwise"
_IR_VERSIONS = {20: 10, 23: 11, 27: 13}  # at opset 20 the newest that runtimes two years old read


@put_off()
@code_when_called()
def onnx_from_captured(captured: Captured, attention: AttentionForm = "decomposed", *, fused: bool = True) -> ir.Model:
    """Returns the ONNX model of a captured program.

    In the step form every state is an input `<state>_in` and an output `<state>_out`; in the sequence form states
    start from their initial value inside the graph, and their last value is not handed out.

    Args:
        captured: The captured program.
        attention: What attention becomes (`neurokit.export.onnx.attention`).
        fused: Whether norms and rotations become operators of their own where the opset has them.

    Raises:
        UnsupportedError: If an operation of the program has no ONNX counterpart.
    """
    with complex_refused(captured):
        return _model_of(captured, attention, fused)


def _model_of(captured: Captured, attention: AttentionForm, fused: bool) -> ir.Model:
    opset = opset_of(captured.program, attention)
    model = _translate(captured, attention, min(opset, ATTENTION))
    graph = model.graph
    _copy_given_outputs(graph)
    distinct_outputs(graph, [f"output_{at}" for at in range(len(graph.outputs))])
    _name_inputs_and_outputs(graph, captured)
    _call_functions(model, captured)
    if captured.form == "sequence":
        _start_states_inside(graph, captured)
    model.ir_version = _IR_VERSIONS.get(opset, 10)
    names = [str(value.name) for value in graph.outputs]
    clean(model)
    model.opset_imports[""] = graph.opset_imports[""] = opset
    if fused and opset >= ATTENTION:
        fuse(model)
    if attention == "ort":
        group_queries(model)
        split_products(model)
    distinct_outputs(graph, names)
    return model


def _translate(captured: Captured, attention: AttentionForm, opset: int) -> ir.Model:
    """Runs torch's exporter with neurons as placeholder nodes."""
    import torch

    from neurokit.capture.asked_once import asked_once
    from neurokit.capture.lstm_states import lstm_states

    table = {
        torch.ops.neurokit.if_.default: _translation("if_"),
        torch.ops.neurokit.lif.default: _translation("lif"),
        torch.ops.neurokit.plif.default: _translation("plif"),
        torch.ops.neurokit.stepwise.default: _stepwise,
        torch.ops.aten.avg_pool2d.default: avg_pool2d,
        torch.ops.aten.sort.stable: sort_stable,
        **plain_translations(),
        **translations(attention),
    }
    program = ready(captured.program, set(table), opset)
    if program is not captured.program:
        table[torch.ops.aten.batch_norm.default] = batch_norm
        table[torch.ops.aten.adaptive_avg_pool2d.default] = global_pool
    taken = as_it_is(program, captured.program)
    try:
        # Without gradients: with them, a scan over a free batch size cannot be traced again.
        with (
            warnings.catch_warnings(),
            torch.no_grad(),
            one_registry(),
            known_values(),
            asked_once(),
            lstm_states(),
            taken,
        ):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=opset,
                optimize=False,
                verbose=False,
                custom_translation_table=table,
            )
    except Exception as error:
        raise _refusal(error, captured) from error
    assert exported is not None
    return exported.model


def _refusal(error: Exception, captured: Captured) -> UnsupportedError:
    import re

    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    missing = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(cause))
    said = (str(cause).strip().splitlines() or [""])[0][:200]
    scanned = [n for n in captured.neurons if n.op == "decomposed"]
    own = missing is not None and missing.group(1).startswith("sj_")
    if (own or not missing) and captured.time_steps == "dynamic" and scanned:
        held = f"SpikingJelly's operator {missing.group(1)} is inside" if missing else said
        why = f"torch's exporter did not lower the program with its loop over a free T ({held})"
        fix = "use target onnx with a number of time steps, or onnx-step"
        reasons = [Unsupported(n.path, n.kind, why, fix) for n in scanned]
        return UnsupportedError(f"model {captured.spec.name!r} cannot be lowered to ONNX", reasons)
    if missing:
        what, why = missing.group(1), "ONNX has no operator for it"
    else:
        what, why = type(cause).__name__, said
    reason = Unsupported("", what, why, "rewrite that part of the model with operations that ONNX has")
    return UnsupportedError(f"model {captured.spec.name!r} cannot be lowered to ONNX", [reason])


def _translation(op: str) -> Any:
    """Returns what torch's exporter calls for a neuron node: it records one placeholder node."""

    def translate(x_seq: Any, v0: Any, *arguments: Any) -> Any:
        import onnx_ir as ir
        import onnxscript

        named = dict(zip(ARGUMENTS[op], arguments, strict=False))  # defaults at the end may be left out
        tensors = [value for value in named.values() if isinstance(value, ir.Value)]  # a learnt decay
        node = ir.Node(_PLACEHOLDER, op, [x_seq, v0, *tensors], num_outputs=2)
        node.meta.update({name: value for name, value in named.items() if not isinstance(value, ir.Value)})
        onnxscript.evaluator.default().nodes.append(node)  # the exporter's recorder
        return node.outputs

    return translate


def _copy_given_outputs(graph: ir.Graph) -> None:
    """Makes outputs of their own of what the network hands through as it was given."""
    import onnx_ir as ir

    given = {id(value) for value in graph.inputs}
    for index, value in enumerate(list(graph.outputs)):
        if id(value) in given:
            copy = ir.Node("", "Identity", [value], num_outputs=1)
            copy.outputs[0].shape, copy.outputs[0].type = value.shape, value.type
            graph.append(copy)
            graph.outputs[index] = copy.outputs[0]


def _stepwise(x_seq: Any, states: Any, step: str) -> Any:
    """What torch's exporter calls for a layer of rare neurons: it records one placeholder node."""
    import onnx_ir as ir
    import onnxscript

    node = ir.Node(_PLACEHOLDER, _STEPWISE, [x_seq, *states], num_outputs=1 + len(states))
    node.meta["step"] = step
    onnxscript.evaluator.default().nodes.append(node)
    return list(node.outputs)


def _name_inputs_and_outputs(graph: ir.Graph, captured: Captured) -> None:
    """Gives ports and states their names, and their free axes the names that a manifest says."""
    said = describe_graph(captured)
    inputs = [*said["inputs"], *({"name": f"{state.name}_in", **_sizes(state)} for state in captured.states)]
    outputs = [*said["outputs"], *({"name": f"{state.name}_out"} for state in captured.states)]
    outputs = [
        entry | {"shape": state["next_shape"] or state["shape"]}
        if (state := next((s for s in said["states"] if s["output"] == entry["name"]), None))
        else entry
        for entry in outputs
    ]
    for values, entries in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for value, entry in zip(values, entries, strict=True):
            value.name = entry["name"]
            _set_shape(value, entry.get("shape"))


def _sizes(state: StateInfo) -> dict[str, Any]:
    return {"shape": [text_of(size) for size in state.shape]}


def _set_shape(value: ir.Value, shape: Sequence[int | str] | None) -> None:
    """Names the free axes of a value; where the program found a number, that stays."""
    import onnx_ir as ir

    if shape is None or value.shape is None:
        return
    pairs = zip(value.shape, shape, strict=True)
    value.shape = ir.Shape([found if isinstance(found, int) else said for found, said in pairs])


def _call_functions(model: ir.Model, captured: Captured) -> None:
    """Replaces each placeholder by a call of the local function that it needs."""
    import onnx_ir as ir

    scalars: dict[tuple[str, float], ir.Value] = {}
    from neurokit.capture.stepping import layer_names

    paths = iter(layer_names(captured.program, captured.calls))
    for node in list(model.graph):
        if node.domain != _PLACEHOLDER:
            continue
        path = next(paths)
        if node.op_type == _STEPWISE:
            _call_step(model, captured, node, path)
            continue
        dtype = str(node.inputs[0].dtype.numpy())
        function = from_call(node.op_type, dict(node.meta), captured.form == "step", dtype)
        inputs = [node.inputs[0], node.inputs[1]]
        for name in function.scalars:
            value = node.inputs[2] if name == "decay" else _scalar(model.graph, scalars, name, node.meta[name], dtype)
            inputs.append(value)
        call = ir.Node(DOMAIN, function.name, inputs, num_outputs=2, name=path)
        call.metadata_props["neurokit.path"] = path
        for old, new, label in zip(node.outputs, call.outputs, ("spikes", "v"), strict=True):
            new.shape, new.type, new.name = old.shape, old.type, f"{path or 'model'}.{label}"
            _replace(model.graph, old, new)
        model.graph.insert_after(node, call)
        model.graph.remove(node, safe=True)
        _declare(model, function)
    _unique_names(model.graph)


def _call_step(model: ir.Model, captured: Captured, node: ir.Node, path: str) -> None:
    """Replaces the placeholder of a layer of rare neurons by a call of its function."""
    import onnx_ir as ir

    from neurokit.capture.stepping import stepwise_nodes
    from neurokit.export.onnx import stepwise
    from neurokit.neurons.stepwise import step_of

    key = str(node.meta["step"])
    step = step_of(key)
    traced = next(each for each in stepwise_nodes(captured.program) if each.args[2] == key)
    function = stepwise.function_of(traced, step.path, type(step.module).__name__, captured.form == "step")
    call = ir.Node(stepwise.DOMAIN, function.name, node.inputs, num_outputs=len(node.outputs), name=path)
    kinds = ",".join(str(int(value.dtype or 1)) for value in node.inputs if value is not None)
    call.metadata_props.update({"neurokit.path": path, stepwise.LAYER: kinds})
    labels = ["spikes", *(f"state{index}" for index in range(len(node.outputs) - 1))]
    for old, new, label in zip(node.outputs, call.outputs, labels, strict=True):
        new.shape, new.type, new.name = old.shape, old.type, f"{path or 'model'}.{label}"
        _replace(model.graph, old, new)
    model.graph.insert_after(node, call)
    model.graph.remove(node, safe=True)
    model.functions[function.identifier()] = function
    model.opset_imports[stepwise.DOMAIN] = stepwise.VERSION
    model.graph.opset_imports[stepwise.DOMAIN] = stepwise.VERSION


def _replace(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    import onnx_ir.convenience

    for index, output in enumerate(graph.outputs):
        if output is old:
            new.name = old.name
            graph.outputs[index] = new
    onnx_ir.convenience.replace_all_uses_with(old, new)


def _unique_names(graph: ir.Graph) -> None:
    """Renames what has the name of a port or of another value, such as the outputs of a neuron that runs twice."""
    ports = [*graph.inputs, *graph.outputs]
    taken = {str(value.name) for value in ports}
    own = {id(value) for value in ports}
    values = [*graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    for value in values:
        if id(value) in own or not value.name:
            continue
        name, count = str(value.name), 0
        while name in taken:
            count += 1
            name = f"{value.name}.{count}"
        taken.add(name)
        if count:
            value.name = name


def _declare(model: ir.Model, function: NeuronFunction) -> None:
    built = function.build()
    model.functions[built.identifier()] = built
    model.opset_imports[DOMAIN] = VERSION
    model.graph.opset_imports[DOMAIN] = VERSION


def _scalar(graph: ir.Graph, known: dict[Any, ir.Value], name: str, number: float, dtype: str) -> ir.Value:
    import numpy as np

    key = (name, float(number))
    if key not in known:
        known[key] = constant(graph, f"{name}_{len(known)}", np.asarray(number, dtype=dtype))
    return known[key]


def _start_states_inside(graph: ir.Graph, captured: Captured) -> None:
    """Makes the initial states in the graph: `Expand(init, [B, ...])`."""
    import numpy as np
    import onnx_ir as ir

    count = len(captured.spec.inputs)
    x = graph.inputs[0]
    first = next(iter(graph), None)
    added: list[ir.Node] = []

    def emit(op_type: str, inputs: Sequence[Any], **attributes: Any) -> ir.Value:
        node = ir.Node("", op_type, inputs, ir.convenience.convert_attributes(attributes), num_outputs=1)
        node.outputs[0].name = f"state_{op_type.lower()}_{len(added)}"
        added.append(node)
        return node.outputs[0]

    axis = captured.inputs[0].shape.index(1 * Dim(BATCH)) if captured.batch == "dynamic" else 0
    fixed: dict[str, Size] = dict(captured.start_sizes)
    if captured.batch != "dynamic":
        fixed[BATCH] = captured.batch
    batch = None
    shapes: dict[tuple[Any, ...], Any] = {}
    for value, state in zip(list(graph.inputs[count:]), captured.states, strict=True):
        if captured.batch == "dynamic" and batch is None:
            batch = emit("Shape", [x], start=axis, end=axis + 1)
        shape = tuple(substitute(size, fixed) for size in state.shape)
        if shape not in shapes:
            shapes[shape] = _shape_value(graph, shape, batch, emit, len(shapes))
        start = constant(graph, f"{state.name}_init", np.asarray(state.start(), dtype=state.dtype))
        ir.convenience.replace_all_uses_with(value, emit("Expand", [start, shapes[shape]]))
    del graph.inputs[count:]
    while len(graph.outputs) > len(captured.output_names):
        graph.outputs.pop()  # `del` would leave the values marked as outputs, which sharing equal neurons stumbles over
    if added:
        graph.insert_before(first, added)


def _shape_value(graph: ir.Graph, shape: tuple[Size, ...], batch: Any, emit: Any, count: int) -> ir.Value:
    """Returns a shape as a value of the graph; only the batch size may be free in it."""
    import numpy as np

    if all(isinstance(size, int) for size in shape):
        return constant(graph, f"state_shape_{count}", np.asarray(shape, dtype=np.int64))
    parts = []
    for index, size in enumerate(shape):
        name = f"state_size_{count}_{index}"
        if isinstance(size, int):
            parts.append(constant(graph, name, np.asarray([size], dtype=np.int64)))
            continue
        ((_, factor),) = size.terms  # a state is so many times the batch
        number = None if factor == 1 else constant(graph, name, np.asarray([factor], dtype=np.int64))
        parts.append(batch if number is None else emit("Mul", [batch, number]))
    return emit("Concat", parts, axis=0)
