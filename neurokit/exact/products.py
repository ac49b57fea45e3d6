"""Products with a constant matrix, written as `matmul` or `einsum`, as the linear maps that they are."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import Graph, Node

from neurokit.program.nodes import aten, is_constant, is_op
from neurokit.program.walk import fetch, store

_MATRIX = {aten.matmul.default, aten.mm.default}


def as_linear_maps(module: Any, graph: Graph) -> None:
    """Rewrites every product of activations and a constant matrix, in place: `x @ W`, `einsum("tbc,oc->tbo", x, W)`."""
    for node in list(graph.nodes):
        if is_op(node, _MATRIX) and is_constant(node.args[1]):
            letters = "".join(chr(ord("a") + axis) for axis in range(node.args[0].meta["val"].dim()))
            _rewrite(module, graph, node, (letters, f"{letters[-1]}z", f"{letters[:-1]}z"), *node.args)
        elif is_op(node, {aten.einsum.default}) and len(node.args[1]) == 2:
            found = _operands(str(node.args[0]), list(node.args[1]))
            if found is not None:
                _rewrite(module, graph, node, *found)


def _operands(equation: str, given: list[Node]) -> tuple[tuple[str, str, str], Node, Node] | None:
    """Returns the letters of data, matrix and result, and data and matrix; None where none of them is constant."""
    equation = equation.replace(" ", "")
    if "..." in equation or "->" not in equation:
        return None
    taken, result = equation.split("->")
    pairs = list(zip(taken.split(","), given, strict=True))
    if is_constant(given[0]):
        pairs.reverse()
    (data, x), (matrix, weight) = pairs
    return ((data, matrix, result), x, weight) if is_constant(weight) and not is_constant(x) else None


def _rewrite(module: Any, graph: Graph, node: Node, letters: tuple[str, str, str], x: Any, weight: Node) -> None:
    """Writes one product as a linear map over the last axis, if it sums over one axis and makes another."""
    data, matrix, result = letters
    value = fetch(module, str(weight.target))
    summed = [letter for letter in matrix if letter in data and letter not in result]
    made = [letter for letter in matrix if letter not in data]
    plain = all(len(set(word)) == len(word) for word in letters)
    if not plain or not isinstance(value, Tensor) or value.dim() != 2 or len(summed) != 1 or len(made) != 1:
        return
    kept = "".join(letter for letter in data if letter != summed[0])
    if set(result) != {*kept, made[0]}:
        return
    path = f"{str(weight.target).removesuffix('.weight')}_map_{node.name}.weight"
    store(module, path, (value if matrix == f"{made[0]}{summed[0]}" else value.t()).detach().contiguous())
    with graph.inserting_before(node):
        x = _ordered(graph, x, data, f"{kept}{summed[0]}")
        turned = graph.get_attr(path)
        turned.meta["val"] = fetch(module, path)
        found = graph.call_function(aten.linear.default, (x, turned))
        order = [result.index(letter) for letter in f"{kept}{made[0]}"]
        found.meta["val"] = node.meta["val"].permute(order)
        found = _ordered(graph, found, f"{kept}{made[0]}", result)
    found.meta.update({**node.meta, "val": node.meta["val"]})
    node.replace_all_uses_with(found)
    graph.erase_node(node)


def _ordered(graph: Graph, x: Node, letters: str, wanted: str) -> Node:
    if letters == wanted:
        return x
    order = [letters.index(letter) for letter in wanted]
    made = graph.call_function(aten.permute.default, (x, order))
    made.meta["val"] = x.meta["val"].permute(order)
    return made
