"""Constants of a program on grids: what parameters alone compute is computed once, what is added has few bits.

A float32 parameter lies on a grid of 2**-25 or so. Added as it is, it would force that grid on every sum behind it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from neurokit.exact.dyadic import CONSTANT_BITS, top_exponent
from neurokit.program import nodes
from neurokit.program.walk import fetch, store

FACTOR_BITS = 8  # of a tensor that activations are multiplied with


def fold_constants(module: Any, graph: Graph) -> None:
    """Computes, in float64, what depends on parameters and buffers alone, and stores it as one tensor each."""
    known: dict[Node, Tensor] = {}
    origin: dict[Node, str] = {}
    for node in list(graph.nodes):
        if node.op == "get_attr":
            value = fetch(module, str(node.target))
            if isinstance(value, Tensor):
                known[node], origin[node] = value.detach(), str(node.target)
        elif node.op == "call_function" and node.target not in nodes.NEURONS:
            value = _computed(node, known)
            if value is not None:
                known[node], origin[node] = value, origin[node.all_input_nodes[0]]
    taken: dict[str, int] = {}
    for node, value in known.items():
        if node.op == "get_attr" or all(user in known for user in node.users):
            continue
        count = taken[origin[node]] = taken.get(origin[node], 0) + 1
        path = f"{origin[node]}_folded{'' if count == 1 else count}"
        store(module, path, value.to(node.meta["val"].dtype) if "val" in node.meta else value)
        with graph.inserting_before(node):
            made = graph.get_attr(path)
        made.meta["val"] = node.meta.get("val")
        node.replace_all_uses_with(made)


def _computed(node: Node, known: dict[Node, Tensor]) -> Tensor | None:
    """Returns a node's value in float64, or None where it is no tensor or depends on more than what is known."""
    if not node.all_input_nodes or not all(source in known for source in node.all_input_nodes):
        return None
    double = {
        source: known[source].double() if known[source].is_floating_point() else known[source]
        for source in node.all_input_nodes
    }
    try:
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda source: double[source])
        value = node.target(*args, **kwargs)  # type: ignore[operator]
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    return value if isinstance(value, Tensor) else None


def of_few_bits(value: Tensor, bits: int = CONSTANT_BITS) -> Tensor:
    """Rounds a tensor to one grid on which its largest number has `bits` bits."""
    exponent = top_exponent(value.abs().max() if value.numel() else torch.zeros(()), 2.0**bits - 1).clamp_min(-60.0)
    return (torch.round(value.double() / torch.exp2(exponent)) * torch.exp2(exponent)).float()


def constant_operand(module: Any, node: Node) -> tuple[int, Tensor] | None:
    """Returns place and value of the floating tensor of parameters that a sum or product has for one operand."""
    for place in (0, 1):
        operand = node.args[place] if len(node.args) > place else None
        if isinstance(operand, Node) and operand.op == "get_attr":
            value = fetch(module, str(operand.target))
            if isinstance(value, Tensor) and value.is_floating_point():
                return place, value.detach()
    return None
