"""Decisions that a forward makes by itself: spikes by hand, of which no membrane is known.

What such a comparison or rounding reads shows only where it decides otherwise: a bias of one neuron that is a third off
moved no spike of eight samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.fx import GraphModule

from neurokit.program.nodes import hints
from neurokit.program.ops import Kind, is_kind, names_of

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from neurokit.capture import Captured

_STEPS = 4  # of a loop whose number of steps is free
_LOGIC = ("logical_and", "logical_or", "logical_not", "logical_xor", "isnan", "isinf")


def own_decisions(captured: Captured) -> int:
    """Returns how many floating-point numbers of one sample a program compares or rounds outside of neurons.

    Args:
        captured: A capture, in the sequence form.
    """
    program, module = captured.program, captured.program.graph_module
    signature = program.graph_signature
    fixed = {
        *signature.inputs_to_parameters,
        *signature.inputs_to_buffers,
        *signature.inputs_to_lifted_tensor_constants,
    }
    loops = [getattr(module, str(node.target), None) for node in module.graph.nodes if node.op == "get_attr"]
    in_loops = sum(_count(loop.graph, set()) for loop in loops if isinstance(loop, GraphModule))
    given = next(node for node in module.graph.nodes if str(node.target) in signature.user_inputs)
    steps = captured.known_steps
    batch = hints(given)[0 if steps is None or captured.spec.time_input == "image" else 1]
    return (_count(module.graph, fixed) + in_loops * (steps or _STEPS)) // max(1, batch)


def _count(graph: Graph, fixed: set[str]) -> int:
    return sum(math.prod(hints(node)) for node in _decided(graph, fixed))


def _decided(graph: Graph, fixed: set[str]) -> Iterator[Node]:
    """Yields what compares or rounds floating-point numbers that depend on more than weights."""
    moves: set[Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder":
            moves |= {node} if str(node.target) not in fixed else set()
            continue
        read = [source for source in node.all_input_nodes if source in moves]
        if not read:
            continue
        moves.add(node)
        name = names_of(node.target)[1] if node.op == "call_function" else ""
        decides = is_kind(node, Kind.COMPARE, Kind.ROUND) and name not in _LOGIC
        values = (source.meta.get("val") for source in read)
        if (decides or name == "heaviside") and any(_is_float(value) for value in values):
            yield node


def _is_float(value: Any) -> bool:
    return hasattr(value, "dtype") and bool(value.dtype.is_floating_point)
