"""What rewrites of an ONNX graph ask about a value, and how they put constants in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


def constant(graph: ir.Graph, name: str, array: Any) -> ir.Value:
    """Returns a new initializer; a name that is taken gets a number."""
    import onnx_ir as ir

    free, count = name, 0
    while free in graph.initializers:
        count += 1
        free = f"{name}.{count}"
    tensor = ir.tensor(np.asarray(array, order="C"), name=free)  # a number keeps its shape
    value = ir.Value(name=free, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def numbers(value: ir.Value | None) -> np.ndarray | None:
    """Returns what an initializer holds, None of anything else."""
    if value is None or not value.is_initializer() or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def only_reader(value: ir.Value) -> ir.Node | None:
    """Returns the one node that reads a value, once; None where there are more, none, or it leaves the graph."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def made_by(value: ir.Value | None, operator: str) -> ir.Node | None:
    """Returns the node of an operator of ONNX's own that makes a value."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == operator and node.domain == "" else None


def order(node: ir.Node) -> list[int]:
    """Returns the order of axes of a Transpose, empty where it is not written."""
    return list(node.attributes["perm"].as_ints()) if "perm" in node.attributes else []


def sizes(value: ir.Value | None) -> list[Any] | None:
    """Returns the sizes of a value, numbers and names of free axes; None where they are not known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else size.value for size in value.shape]


def alike(a: list[Any] | None, b: list[Any] | None) -> bool:
    """Returns whether two tensors of as many elements have the same sizes; only the first axis may be free."""
    return a is not None and b is not None and a[1:] == b[1:] and all(isinstance(n, int) for n in a[1:])


def hand_on(old: ir.Value, new: ir.Value) -> None:
    """Gives readers of one value another, with its name where it leaves the graph."""
    import onnx_ir as ir

    if old.is_graph_output():
        called, old.name = old.name, f"{old.name}.before"
        new.name = called
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def linear(value: ir.Value | None) -> tuple[Any, np.ndarray | None, np.ndarray | None]:
    """Returns the product with weights that makes a value alone, its weights and bias."""
    bias, added = None, made_by(value, "Add")
    if added is not None:
        places = [at for at in (0, 1) if (found := numbers(added.inputs[at])) is not None and found.ndim == 1]
        if len(places) != 1 or only_reader(added.outputs[0]) is None:
            return None, None, None
        bias, value = numbers(added.inputs[places[0]]), added.inputs[1 - places[0]]
    product = made_by(value, "MatMul")
    if product is None or only_reader(product.outputs[0]) is None:
        return None, None, None
    weight = numbers(product.inputs[1])
    if weight is None or weight.ndim != 2 or (bias is not None and len(bias) != weight.shape[1]):
        return None, None, None
    return product, weight, bias
