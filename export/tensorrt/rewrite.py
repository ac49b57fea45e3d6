"""Rewrites of an ONNX graph for TensorRT: what it lacks is replaced by what it has, or refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import Unsupported

if TYPE_CHECKING:
    import onnx_ir as ir

TOP_K = 3840  # the largest K of TensorRT's TopK layer
_HALVED = ("Conv", "Gemm", "MatMul", "Attention")


def rewrite(model: ir.Model, fp16: bool) -> tuple[list[str], list[Unsupported]]:
    """Rewrites a model in place.

    Args:
        model: The model; its neurons are calls of local functions, which are left alone.
        fp16: Whether convolutions and matrix products are computed in half precision.

    Returns:
        What was rewritten, and what TensorRT cannot take.
    """
    done: list[str] = []
    reasons: list[Unsupported] = []
    for node in list(model.graph):
        if node.op_type == "DFT":
            reason = _dft(model.graph, node)
            if reason is None:
                done.append(f"{node.name}: DFT as a product with a constant matrix")
            else:
                reasons.append(reason)
        elif node.op_type == "TopK":
            count = _number(node.inputs[1])
            if count is None or count > TOP_K:
                why = f"its K is {count if count is not None else 'not constant'}, and TensorRT takes at most {TOP_K}"
                reasons.append(Unsupported(_path(node), "TopK", why, "use a smaller constant K"))
        elif node.op_type in ("Add", "Sub") and _number_a_channel(model.graph, node):
            done.append(f"{node.name}: the number added to a convolution over one axis is a number a channel")
    if fp16 and not reasons:
        count = _halve(model.graph)
        done.append(f"{count} convolutions and products in float16, membranes and thresholds in float32")
    return done, reasons


def unknown_operators(model: ir.Model, parser: Any) -> list[Unsupported]:
    """Returns every operator that the parser of the installed library does not know."""
    functions = {identifier[1] for identifier in model.functions}
    found: dict[str, Unsupported] = {}
    graphs = [model.graph, *model.functions.values()]
    for node in (node for graph in graphs for node in graph):
        local = node.domain not in ("", "ai.onnx") and node.op_type in functions
        if not local and not parser.supports_operator(node.op_type) and node.op_type not in found:
            why = "TensorRT's ONNX parser has no such operator"
            found[node.op_type] = Unsupported(_path(node), node.op_type, why, "rewrite that part of the model")
    return list(found.values())


def dft_matrix(length: int, inverse: bool, onesided: bool, real: bool) -> np.ndarray:
    """Returns the matrix of a discrete Fourier transform over interleaved (real, imaginary) numbers.

    Args:
        length: Number of points N.
        inverse: Whether to use exp(+2 pi i jk / N) / N.
        onesided: Whether only the first N // 2 + 1 frequencies are kept.
        real: Whether the input has a real part only.

    Returns:
        `[N * (1 if real else 2), frequencies * 2]`, float32, for a row vector from the left.
    """
    frequencies = length // 2 + 1 if onesided else length
    # jk is reduced modulo N before the angle is taken: for a large N the sine of a large angle loses digits.
    angle = 2.0 * np.pi * (np.outer(np.arange(length), np.arange(frequencies)) % length) / length
    sign, scale = (1.0, 1.0 / length) if inverse else (-1.0, 1.0)
    cosine, sine = np.cos(angle) * scale, sign * np.sin(angle) * scale
    matrix = np.zeros((length, 1 if real else 2, frequencies, 2))
    matrix[:, 0, :, 0], matrix[:, 0, :, 1] = cosine, sine
    if not real:
        matrix[:, 1, :, 0], matrix[:, 1, :, 1] = -sine, cosine
    return matrix.reshape(length * matrix.shape[1], frequencies * 2).astype(np.float32)


def _dft(graph: ir.Graph, node: ir.Node) -> Unsupported | None:
    """Replaces one DFT: transpose its axis to the end, reshape, multiply, and back."""
    import onnx_ir as ir

    x = node.inputs[0]
    shape = list(x.shape) if x is not None and x.shape is not None else []
    axis = _number(node.inputs[2]) if len(node.inputs) > 2 else -2
    wanted = _number(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
    onesided, inverse = bool(_attribute(node, "onesided", 0)), bool(_attribute(node, "inverse", 0))
    known = shape and axis is not None and isinstance(shape[-1], int) and isinstance(shape[axis], int)
    if not known or (wanted is not None and wanted != shape[axis]) or (onesided and inverse):
        why = "only a DFT over an axis of constant length, not padded and not one-sided backwards, can be a product"
        return Unsupported(_path(node), "DFT", why, "give the transform a fixed length")
    rank, axis = len(shape), axis % len(shape)
    order = [i for i in range(rank - 1) if i != axis] + [axis, rank - 1]
    matrix = dft_matrix(shape[axis], inverse, onesided, real=shape[-1] == 1)
    new: list[ir.Node] = []

    def emit(op: str, inputs: list[Any], **attributes: Any) -> ir.Value:
        made = ir.Node("", op, inputs, ir.convenience.convert_attributes(attributes), num_outputs=1)
        made.outputs[0].name = f"{node.outputs[0].name}.{op.lower()}{len(new)}"
        made.name = made.outputs[0].name
        new.append(made)
        return made.outputs[0]

    lead = rank - 2  # Reshape's 0 copies a size, which keeps free sizes free
    flat = emit("Transpose", [x], perm=order)
    flat = emit("Reshape", [flat, _constant(graph, f"{node.name}.rows", np.array([0] * lead + [matrix.shape[0]]))])
    product = emit("MatMul", [flat, _constant(graph, f"{node.name}.matrix", matrix)])
    sizes = np.array([0] * lead + [matrix.shape[1] // 2, 2])
    pairs = emit("Reshape", [product, _constant(graph, f"{node.name}.pairs", sizes)])
    back = emit("Transpose", [pairs], perm=[int(i) for i in np.argsort(order)])
    back.shape, back.type = node.outputs[0].shape, node.outputs[0].type
    _swap(graph, node, new, back)
    return None


def _number_a_channel(graph: ir.Graph, node: ir.Node) -> bool:
    """Repeats the one number that is added to a convolution over one axis, so that it has its channels.

    TensorRT takes the sum for the convolution's bias, and its builder then stops at a bias without channels
    ("CHECK(nbdims_bias == 4 || nbdims_bias == 5)"; TensorRT for RTX 1.7).
    """
    for at, other in ((0, 1), (1, 0)):
        value, added = node.inputs[at], node.inputs[other]
        conv = value.producer() if value is not None else None
        if conv is None or conv.op_type != "Conv" or added is None or added.const_value is None:
            continue
        weight = conv.inputs[1].const_value if conv.inputs[1] is not None else None
        number = added.const_value.numpy()
        if weight is None or weight.numpy().ndim != 3 or number.size != 1 or number.ndim > 3:
            continue
        channels = np.full((len(weight.numpy()), 1), number.reshape(-1)[0], number.dtype)
        node.replace_input_with(other, _constant(graph, f"{node.outputs[0].name}.channels", channels))
        return True
    return False


def _halve(graph: ir.Graph) -> int:
    """Computes convolutions and products in float16: casts round them, constants converted for good."""
    import onnx_ir as ir

    half, single = ir.DataType.FLOAT16, ir.DataType.FLOAT
    count = 0
    constants: dict[int, ir.Value] = {}
    for node in list(graph):
        if node.op_type not in _HALVED or node.domain not in ("", "ai.onnx"):
            continue
        kinds = [v.dtype for v in node.inputs if v is not None and v.dtype is not None]
        if any(kind not in (single, ir.DataType.BOOL) for kind in kinds):
            continue
        before: list[ir.Node] = []
        for index, value in enumerate(node.inputs):
            if value is None or value.dtype == ir.DataType.BOOL:
                continue
            if value.const_value is not None and value.name in graph.initializers:
                if id(value) not in constants:
                    array = value.const_value.numpy().astype(np.float16)
                    constants[id(value)] = _constant(graph, f"{value.name}.float16", array)
                node.replace_input_with(index, constants[id(value)])
                continue
            before.append(_cast(value, half, f"{node.name or node.outputs[0].name}.half{index}"))
            node.replace_input_with(index, before[-1].outputs[0])
        graph.insert_before(node, before)
        old = node.outputs[0]
        made = ir.Node(node.domain, node.op_type, node.inputs, list(node.attributes.values()), num_outputs=1)
        made.name, made.outputs[0].name = node.name, f"{old.name}.float16"
        made.outputs[0].type, made.outputs[0].shape = ir.TensorType(half), old.shape
        after = _cast(made.outputs[0], single, f"{old.name}.single")
        after.outputs[0].shape = old.shape
        _swap(graph, node, [made, after], after.outputs[0])
        count += 1
    for value in [v for v in graph.initializers.values() if not v.uses() and v.name is not None]:
        del graph.initializers[value.name]
    return count


def _cast(value: ir.Value, to: Any, name: str) -> ir.Node:
    import onnx_ir as ir

    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(to))], num_outputs=1, name=name)
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = name, ir.TensorType(to), value.shape
    return node


def _swap(graph: ir.Graph, old: ir.Node, new: list[ir.Node], result: ir.Value) -> None:
    """Puts new nodes in the place of an old one; the result keeps the old one's name."""
    import onnx_ir as ir

    graph.insert_before(old, new)
    gone = old.outputs[0]
    name = gone.name
    for index, output in enumerate(graph.outputs):
        if output is gone:
            graph.outputs[index] = result
    ir.convenience.replace_all_uses_with(gone, result)
    graph.remove(old, safe=True)
    gone.name, result.name = f"{name}.gone", name


def _constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    import onnx_ir as ir

    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _number(value: ir.Value | None) -> int | None:
    constant = value.const_value if value is not None else None
    return int(constant.numpy().reshape(-1)[0]) if constant is not None else None


def _attribute(node: ir.Node, name: str, default: int) -> int:
    found = node.attributes.get(name)
    return int(found.as_int()) if found is not None else default


def _path(node: ir.Node) -> str:
    return str(node.metadata_props.get("neurokit.path", node.name or ""))
