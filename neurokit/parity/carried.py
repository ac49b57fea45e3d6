"""Which outputs of a program know more of the past than spikes do: membranes, and what a loop over time carries on."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from neurokit.neurons.ops import is_neuron
from neurokit.program.nodes import hints

if TYPE_CHECKING:
    from torch.fx import Node

    from neurokit.capture import Captured

_TAKES = ("aten.select.int", "aten.slice.Tensor", "aten.unbind")  # operations that may take single steps out


def carried_outputs(captured: Captured) -> tuple[str, ...]:
    """Returns the outputs that need not repeat when every spike does.

    Such an output is made of a neuron's membrane, or of single time steps, which a loop in the module's forward may
    have carried from one to the next.

    Args:
        captured: A capture of whole sequences.
    """
    program, steps = captured.program, captured.time_steps
    nodes = {node.name: node for node in program.graph.nodes}
    outputs = zip(captured.output_names, program.graph_signature.user_outputs, strict=False)
    return tuple(name for name, value in outputs if _carries(nodes[str(value)], steps))


def _carries(output: Node, steps: Any) -> bool:
    seen: set[Node] = set()
    pending, places = [output], set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.target is operator.getitem and is_neuron(node.args[0].target):  # type: ignore[union-attr]
            if node.args[1] == 1:
                return True
            continue  # behind spikes everything repeats with them
        if str(node.target) == "scan":  # a loop over time with a free T
            return True
        if str(node.target).startswith(("aten.select.int", "aten.slice.Tensor", "aten.unbind")) and _one_step(
            node, steps
        ):
            places.add(node.args[2] if len(node.args) > 2 else None)
        pending += node.all_input_nodes
    return None in places or len(places) > 1


def _one_step(node: Node, steps: Any) -> bool:
    """Whether a node takes single steps from the time axis; a slice does where it is one step long."""
    source: Any = node.args[0]
    axis = node.args[1] if len(node.args) > 1 else 0
    long = str(node.target).startswith("aten.slice") and tuple(hints(node))[:1] != (1,)
    return bool(axis == 0 and not long and tuple(hints(source))[:1] == (steps,))
