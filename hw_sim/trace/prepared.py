"""Preprocessing in the graph: what turns a picture into zeros and ones before any weight or neuron.

A threshold on the input has no connection that a chip could cross; a sensor or a host computes it, and what the network
is sent are its results. Those are the network's inputs then: a silhouette is spikes, whatever the bytes before it.
"""

from __future__ import annotations

from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.program.ops import Kind, kind_of

_BEGINS_THE_NETWORK = {Kind.CONVOLVE, Kind.LINEAR, Kind.PRODUCT, Kind.NEURON, Kind.STEPWISE, Kind.DECAYING, Kind.MIXED}


def prepared_inputs(module: GraphModule, inputs: int) -> dict[Node, Node]:
    """Returns the last operations of each thresholding preprocessing, each with the placeholder of its input.

    Args:
        module: The program.
        inputs: How many of its placeholders are inputs; those behind them are states.
    """
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    origin: dict[Node, Node] = {node: node for node in placeholders[:inputs]}
    states, thresholded = set(placeholders[inputs:]), set[Node]()
    for node in module.graph.nodes:
        before = [arg for arg in node.all_input_nodes if arg in origin]
        if node.op != "call_function" or not before or kind_of(node.target) in _BEGINS_THE_NETWORK:
            continue
        others = [arg for arg in node.all_input_nodes if arg not in origin]
        if len({origin[arg] for arg in before}) > 1 or any(_of_the_network(arg, states) for arg in others):
            continue
        origin[node] = origin[before[0]]
        if kind_of(node.target) is Kind.COMPARE or any(arg in thresholded for arg in before):
            thresholded.add(node)
    last = {node: origin[node] for node in thresholded if any(user not in origin for user in node.users)}
    found = {node: source for node, source in last.items() if isinstance(node.meta.get("val"), Tensor)}
    raw = {source for source in found.values() if _reaches_past(source, origin, thresholded)}
    return {node: source for node, source in found.items() if source not in raw}


def _of_the_network(node: Node, states: set[Node]) -> bool:
    """Returns whether a value is neither of the input nor constant."""
    return node in states or (node.op == "call_function" and bool(node.all_input_nodes) and not _is_size(node))


def _is_size(node: Node) -> bool:
    return not isinstance(node.meta.get("val"), Tensor)


def _reaches_past(source: Node, origin: dict[Node, Node], thresholded: set[Node]) -> bool:
    """Returns whether something of the input reaches the network without a threshold on the way."""
    plain = [node for node, start in origin.items() if start is source and node not in thresholded]
    return any(user not in origin and not _is_size(user) for node in plain for user in node.users if not _is_size(node))
