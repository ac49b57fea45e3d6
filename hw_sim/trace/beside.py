"""Membranes that a program computes beside a neuron's operation, for who reads them: no work of the network's own.

The operation of a neuron gives its spikes and its last membrane. Where a model hands out the membrane of every step
(snnTorch's `mem_rec`), the program has the neuron's equations once more in plain operations on the same current. A chip
has that membrane already; counted again it would be work that nobody does.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from neurokit.neurons.ops import is_neuron
from neurokit.program.ops import Kind, kind_of

_STEPS = frozenset(  # what the equations of a neuron are made of, and what takes steps apart and puts them together
    {Kind.KEEP, Kind.CAST, Kind.MOVE, Kind.JOIN, Kind.COMPARE, Kind.CHOOSE, Kind.ADD, Kind.MULTIPLY, Kind.DIVIDE}
)
_WORK = frozenset({Kind.CONVOLVE, Kind.LINEAR, Kind.PRODUCT, Kind.NEURON, Kind.STEPWISE})


def membranes_beside(module: GraphModule) -> dict[Node, Node]:
    """Returns the operations that compute the membranes of a neuron's operation again, and which operation that is.

    Such operations depend on the neuron's current and first membrane alone, compare with its threshold, and end in
    outputs of the program, in no connection and no other neuron.
    """
    found: dict[Node, Node] = {}
    if not any(kind_of(node.target) is Kind.COMPARE for node in module.graph.nodes):
        return found
    working = _leads_to_work(module)
    for neuron in module.graph.nodes:
        if neuron.op != "call_function" or not is_neuron(neuron.target):
            continue
        given = {node for node in neuron.args[:2] if isinstance(node, Node)}
        again = _from(module, given) - working
        if any(_compares(node, neuron) for node in again):
            found |= dict.fromkeys(again, neuron)
    return found


def _from(module: GraphModule, given: set[Node]) -> set[Node]:
    """Returns what is computed of `given` and constants by the operations of a neuron's equations."""
    known = set(given)
    for node in module.graph.nodes:
        varying = {source for source in node.all_input_nodes if source.op != "get_attr"}
        if node.op == "call_function" and varying and varying <= known and _is_step(node):
            known.add(node)
    return known - given


def _is_step(node: Node) -> bool:
    return "getitem" in str(node.target) or kind_of(node.target) in _STEPS


def _leads_to_work(module: GraphModule) -> set[Node]:
    """Returns the nodes that a connection or a neuron depends on."""
    working: set[Node] = set()
    for node in reversed(module.graph.nodes):
        if node in working or (node.op == "call_function" and kind_of(node.target) in _WORK):
            working.update(node.all_input_nodes)
    return working


def _compares(node: Node, neuron: Node) -> bool:
    """Whether a node compares with the threshold of a neuron (float32 of it, where the program is one of float32)."""
    if kind_of(node.target) is not Kind.COMPARE:
        return False
    numbers = [float(value) for value in neuron.args[2:] if isinstance(value, float | int)]
    (level,) = node.args[1:2] or (None,)
    if not isinstance(level, float | int):
        return isinstance(level, Node)
    return any(abs(level - number) <= 1e-6 * abs(number) for number in numbers)
