"""Products with packed weights whose result is split: a product a part, and columns that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurokit.export.onnx.around import constant, hand_on, made_by, only_reader

if TYPE_CHECKING:
    import onnx_ir as ir


def drop_columns(model: ir.Model) -> None:
    """Leaves out columns of weights that make parts of a product which nothing reads.

    A fifth of a packed projection of `emotionic`, as it is published, is read by nothing.
    """
    import onnx_ir.passes.common as common

    found = [_drop(model.graph, split) for split in list(model.graph)]
    if any(found):
        common.RemoveUnusedNodesPass()(model)


def _drop(graph: ir.Graph, split: ir.Node) -> bool:
    import onnx_ir as ir

    product, weight = _packed(split)
    unread = [not value.uses() and not value.is_graph_output() for value in split.outputs]
    widths = _widths(split, weight) if product is not None and weight is not None and any(unread) else []
    if product is None or weight is None or weight.const_value is None or not widths or all(unread):
        return False
    keep = [at for at, none in enumerate(unread) if not none]
    parts = np.split(weight.const_value.numpy(), np.cumsum(widths)[:-1], axis=1)
    own = constant(graph, f"{weight.name}.read", np.concatenate([parts[at] for at in keep], 1))
    narrow = ir.Node("", "MatMul", [product.inputs[0], own], num_outputs=1, name=product.name)
    narrow.metadata_props.update(product.metadata_props)
    given, axis = narrow.outputs[0], [ir.AttrInt64("axis", split.attributes.get_int("axis", 0))]
    given.name = f"{product.outputs[0].name}.read"
    sizes = constant(graph, f"{given.name}.sizes", [widths[at] for at in keep])
    made = ir.Node("", "Split", [given, sizes], axis, num_outputs=len(keep), name=split.name)
    graph.insert_before(product, narrow)
    graph.insert_before(split, made)
    for at, new in zip(keep, made.outputs, strict=True):
        new.shape, new.type, new.name = (
            split.outputs[at].shape,
            split.outputs[at].type,
            f"{split.outputs[at].name}.read",
        )
        hand_on(split.outputs[at], new)
    return True


def _packed(split: ir.Node) -> tuple[ir.Node | None, ir.Value | None]:
    """Returns the product of which nothing but parts are read, and its weights, which nothing else reads."""
    product = made_by(split.inputs[0], "MatMul") if split.op_type == "Split" else None
    if product is None or only_reader(product.outputs[0]) is None:
        return None, None
    weight = product.inputs[1]
    if weight is None or weight.const_value is None or not weight.is_initializer() or len(weight.uses()) != 1:
        return None, None
    return product, weight


def split_products(model: ir.Model) -> None:
    """Replaces every product of which nothing but parts along the last axis is read.

    On one core of a server a product of 2,048 x 512 and 512 x 2,048 and its Split took 21.6 ms, four products of 512
    columns 18.2: the parts are written once.
    """
    graph = model.graph
    for split in list(graph):
        product, weight = _packed(split)
        if product is None or weight is None:
            continue
        widths = _widths(split, weight)
        if widths:
            _replace(graph, split, product, weight, widths)


def _widths(split: ir.Node, weight: ir.Value) -> list[int]:
    """Returns the columns of each part, or none where they are not known or not along the last axis."""
    value = weight.const_value
    axis = split.attributes.get_int("axis", 0)
    made = split.outputs[0].shape
    if value is None or len(value.shape) != 2 or axis not in (-1, -1 if made is None else made.rank() - 1):
        return []
    columns, count = int(value.shape[1]), len(split.outputs)
    given = split.inputs[1] if len(split.inputs) > 1 else None
    if given is not None:
        return [] if given.const_value is None else [int(n) for n in given.const_value.numpy()]
    size = -(-columns // count)
    return [*[size] * (count - 1), columns - size * (count - 1)]


def _replace(graph: ir.Graph, split: ir.Node, product: ir.Node, weight: ir.Value, widths: list[int]) -> None:
    import onnx_ir as ir

    assert weight.const_value is not None
    parts = np.split(weight.const_value.numpy(), np.cumsum(widths)[:-1], axis=1)
    for at, (part, old) in enumerate(zip(parts, list(split.outputs), strict=True)):
        name = f"{weight.name}.{at}"
        tensor = ir.tensor(np.ascontiguousarray(part), name=name)
        own = ir.Value(name=name, shape=tensor.shape, type=weight.type, const_value=tensor)
        graph.register_initializer(own)
        node = ir.Node("", "MatMul", [product.inputs[0], own], num_outputs=1)
        graph.insert_before(product, node)
        new = node.outputs[0]
        called, old.name = old.name, f"{old.name}_of_all"
        new.name, new.shape, new.type = called, old.shape, old.type
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove([split, product], safe=True)
    del graph.initializers[str(weight.name)]
