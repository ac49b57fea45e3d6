"""Attention of few queries reads its tokens themselves: their keys and values are not computed.

Scores q (x K)^T are (q K^T) x^T, and weighted values w (x V) are (w x) V. Where one query a head attends to thousands
of tokens, as in attention of a class token, the products with K and V of every token are nearly all the work: 82 of
448 ms of `att_swin_unet`, and 26 more to bring their results into order.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.export.onnx.around import alike, constant, numbers, sizes

if TYPE_CHECKING:
    import onnx_ir as ir

_GAIN = 4  # times less work, or it stays: keys and values may be smaller than what they are made of
_LAYOUT = ("Reshape", "Transpose", "Slice", "Squeeze", "Split", "Unsqueeze")


def read_tokens(model: ir.Model) -> None:
    """Rewrites every product with weights of which nothing but such attention reads the result."""
    import onnx_ir.passes.common as common

    found = [_rewrite(model.graph, node) for node in list(model.graph) if node.op_type == "MatMul" and not node.domain]
    if any(found):
        common.RemoveUnusedNodesPass()(model)


@dataclass(frozen=True)
class _Reader:
    """A product of queries or weights, `[B, heads, rows, inner]`, and keys or values.

    Attributes:
        node: The product.
        rows: Of a head.
        columns: Which column of the weights each channel of a head is, `[heads, channels]`.
        keys: Whether keys are read, `[B, heads, channels, N]`; else values, `[B, heads, N, channels]`.
    """

    node: ir.Node
    rows: int
    columns: np.ndarray
    keys: bool


def _rewrite(graph: ir.Graph, product: ir.Node) -> bool:
    weight, tokens = numbers(product.inputs[1]), product.inputs[0]
    shape = sizes(tokens)
    if weight is None or weight.ndim != 2 or not alike(shape, shape) or shape is None or len(shape) != 3:
        return False
    count, width, columns = shape[1], *weight.shape
    if shape[2] != width or product.outputs[0].is_graph_output():
        return False
    if not _few(product.outputs[0], count // _GAIN):
        return False
    batch = shape[0] if isinstance(shape[0], int) else 2
    places = np.arange(batch * count * columns).reshape(batch, count, columns)
    readers = _readers(product.outputs[0], places, places.shape)
    if not readers:
        return False
    before = count * width * columns + sum(each.rows * count * each.columns.size for each in readers)
    after = sum(each.rows * (each.columns.size * width + len(each.columns) * count * width) for each in readers)
    if _GAIN * after > before:
        return False
    for each in readers:
        _write(graph, each, tokens, weight)
    return True


def _few(value: ir.Value, most: int) -> bool:
    """Returns whether products of so many rows are all that reads a value in the end, before places are looked at.

    Nearly all attention has as many queries as keys, and the places of volumes take a gigabyte.
    """
    for use in value.uses():
        node = use.node
        if node.op_type in _LAYOUT and not node.domain and use.idx == 0:
            if not all(_few(made, most) for made in node.outputs):
                return False
            continue
        rows = sizes(node.inputs[0]) if node.op_type == "MatMul" and use.idx == 1 else None
        if rows is None or len(rows) != 4 or not isinstance(rows[2], int) or rows[2] > most:
            return False
    return True


def _readers(value: ir.Value, places: np.ndarray, of: tuple[int, ...]) -> list[_Reader] | None:
    """Returns all that reads a value in the end, None where one of them is no product of few rows.

    Args:
        value: A part of a product's result, laid out.
        places: Where each of its elements is in that result, of a batch of two where that is free.
        of: The result's sizes, batch, N and columns.
    """
    found: list[_Reader] = []
    if value.is_graph_output():
        return None
    for use in value.uses():
        node = use.node
        if node.op_type in _LAYOUT and not node.domain and use.idx == 0:
            moved = _laid_out(node, places)
            parts = None if moved is None else [_readers(*each, of) for each in zip(node.outputs, moved, strict=True)]
            if parts is None or any(part is None for part in parts):
                return None
            found += [reader for part in parts for reader in part or ()]
            continue
        reader = _reader(node, places, of) if node.op_type == "MatMul" and use.idx == 1 else None
        if reader is None:
            return None
        found.append(reader)
    return found


def _reader(node: ir.Node, places: np.ndarray, of: tuple[int, ...]) -> _Reader | None:
    rows = sizes(node.inputs[0])
    if rows is None or len(rows) != 4 or places.ndim != 4 or not alike(rows, [0, places.shape[1], *rows[2:]]):
        return None
    for keys in (True, False):
        by_token = places.swapaxes(2, 3) if keys else places  # [B, heads, N, channels]
        columns = by_token[0, :, 0]
        if by_token.shape[0] != of[0] or by_token.shape[2] != of[1] or int(columns.max()) >= of[2]:
            continue
        first = of[2] * (of[1] * np.arange(of[0])[:, None] + np.arange(of[1]))  # of every token
        if np.array_equal(by_token, columns[None, :, None] + first[:, None, :, None]):
            return _Reader(node, int(rows[2]), columns, keys)
    return None


def _laid_out(node: ir.Node, places: np.ndarray) -> list[np.ndarray] | None:
    """Returns what a node makes of places, None where its settings are not constants."""
    given = [numbers(value) for value in node.inputs[1:] if value is not None]
    if any(value is None for value in given):
        return None
    settings = [[int(n) for n in value.reshape(-1)] for value in given if value is not None]
    if node.op_type == "Transpose":
        return [places.transpose(node.attributes["perm"].as_ints())] if "perm" in node.attributes else None
    if node.op_type == "Reshape":
        shape = [places.shape[at] if n == 0 else n for at, n in enumerate(settings[0])]
        return [places.reshape(shape)] if shape[0] in (-1, places.shape[0]) else None
    if node.op_type in ("Squeeze", "Unsqueeze"):
        change: Any = np.squeeze if node.op_type == "Squeeze" else np.expand_dims
        return [change(places, tuple(settings[0]))] if settings else None
    if node.op_type == "Split":
        axis, count = node.attributes.get_int("axis", 0), len(node.outputs)
        size = -(-places.shape[axis] // count)
        ends = np.cumsum(settings[0] if settings else [size] * count)[:-1]
        return np.split(places, ends, axis)
    if len(settings) < 3 or (len(settings) > 3 and settings[3] != [1] * len(settings[0])):
        return None
    cut = [slice(None)] * places.ndim
    for start, end, axis in zip(*settings[:3], strict=True):
        cut[axis] = slice(start, end)
    return [places[tuple(cut)]]


def _write(graph: ir.Graph, reader: _Reader, tokens: Any, weight: np.ndarray) -> None:
    import onnx_ir as ir

    node, name = reader.node, str(reader.node.outputs[0].name)
    number = itertools.count()
    heads, channels = reader.columns.shape
    count, width = sizes(tokens)[1:]  # type: ignore[index]
    own = (
        weight[:, reader.columns.reshape(-1)].reshape(width, heads, channels).transpose(1, 0, 2)
    )  # [heads, C, channels]

    def put(operator: str, *inputs: Any, **attributes: Any) -> Any:
        made = ir.Node("", operator, inputs, ir.convenience.convert_attributes(attributes), num_outputs=1)
        made.outputs[0].name = f"{name}.few.{next(number)}"
        graph.insert_before(node, made)
        return made.outputs[0]

    def sized(*shape: int) -> Any:
        return constant(graph, f"{name}.sizes", list(shape))

    if reader.keys:
        asked = put("MatMul", node.inputs[0], constant(graph, f"{name}.keys", own.transpose(0, 2, 1)))
        flat = put("Reshape", asked, sized(-1, heads * reader.rows, width))
        made = put("MatMul", flat, put("Transpose", tokens, perm=[0, 2, 1]))
        made = put("Reshape", made, sized(-1, heads, reader.rows, count))
    else:
        flat = put("Reshape", node.inputs[0], sized(-1, heads * reader.rows, count))
        mixed = put("Reshape", put("MatMul", flat, tokens), sized(-1, heads, reader.rows, width))
        made = put("MatMul", mixed, constant(graph, f"{name}.values", own))
    old = node.outputs[0]
    made.shape, made.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, made)
