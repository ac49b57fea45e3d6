"""Edits of an ONNX graph for verification: spikes fed in at every neuron call, currents put out."""

from __future__ import annotations

from typing import Any

from neurokit.export.onnx import stepwise
from neurokit.export.onnx.functions import DOMAIN


def is_layer(node: Any) -> bool:
    """Returns whether a node is a call of a neuron that test vectors know: a common one, or a rare one's step."""
    return node.domain == DOMAIN or is_step(node)


def is_step(node: Any) -> bool:
    """Returns whether a node is a layer of rare neurons, which is known by its step."""
    return node.domain == stepwise.DOMAIN and any(entry.key == stepwise.LAYER for entry in node.metadata_props)


def held(node: Any) -> list[str]:
    """Returns the names of the states that a neuron call is given: one membrane, or a rare neuron's states."""
    return list(node.input[1:]) if is_step(node) else list(node.input[1:2])


def path(node: Any) -> str:
    """Returns the module path of a neuron call."""
    for entry in node.metadata_props:
        if entry.key == "neurokit.path":
            return str(entry.value)
    return str(node.name)


def element_types(node: Any) -> list[int]:
    """Returns the element types of a rare neuron's input and of its states."""
    said = next(entry.value for entry in node.metadata_props if entry.key == stepwise.LAYER)
    return [int(part) for part in said.split(",")]


def element_type(model: Any, node: Any) -> int:
    """Returns the element type a neuron call works in: that of its threshold; of a rare neuron what it says."""
    if is_step(node):
        return element_types(node)[0]
    for tensor in model.graph.initializer:
        if tensor.name in node.input[2:]:
            return int(tensor.data_type)
    return 1


def value_info(name: str, element: int = 1, shape: list[int | str] | None = None) -> Any:
    """Returns what a graph says of an input or output."""
    from onnx import helper

    return helper.make_tensor_value_info(name, element, shape)


def force(model: Any, index: int, node: Any, renamed: dict[str, str]) -> None:
    """Puts an input in place of a call's spikes, and makes the call's current an output."""
    graph, forced = model.graph, f"neurokit.forced.{index}"
    for user in graph.node:
        user.input[:] = [forced if name == node.output[0] else name for name in user.input]
    for output in graph.output:
        if output.name == node.output[0]:  # the network's output is this layer's spikes
            renamed[output.name] = output.name = f"neurokit.output.{index}"
            graph.node.add(op_type="Identity", input=[forced], output=[output.name], name=output.name)
    graph.input.append(value_info(forced, element_type(model, node)))
    graph.output.append(value_info(f"neurokit.current.{index}", element_type(model, node)))
    graph.node.add(op_type="Identity", input=[node.input[0]], output=[f"neurokit.current.{index}"])


def drop(graph: Any, outputs: set[str]) -> None:
    """Removes outputs by their names."""
    for value in [v for v in graph.output if v.name in outputs]:
        graph.output.remove(value)


def drop_calls(graph: Any, calls: list[Any], states: Any) -> None:
    """Removes neuron calls that nobody reads any more, what hangs on their membranes, and the states only they read.

    A call whose membrane the network reads, or gives as an output, stays for that membrane's sake; so does one whose
    membrane before a step it reads, which the step before has left.
    """
    needed = _needed(graph, {state.input: state.output for state in states})
    lost: set[str] = set()
    for node in calls:
        if id(node) not in needed:
            lost |= set(node.output)
            graph.node.remove(node)
    for node in list(graph.node):  # in topological order
        if lost & set(node.input):
            lost |= set(node.output)
            graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    inputs = {state.input for state in states}
    for value in [v for v in graph.input if v.name in inputs and v.name not in used]:
        graph.input.remove(value)


def _needed(graph: Any, carried: dict[str, str]) -> set[int]:
    """Returns the nodes that any output but a state depends on, in this step or through the states of the one before.

    Args:
        graph: The graph.
        carried: Every state's output by its input.
    """
    source = {name: node for node in graph.node for name in node.output}
    states = set(carried.values())
    open_names = [value.name for value in graph.output if value.name not in states]
    needed: set[int] = set()
    read: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name in carried and name not in read:
            read.add(name)
            open_names.append(carried[name])
        node = source.get(name)
        if node is not None and id(node) not in needed:
            needed.add(id(node))
            open_names += node.input
    return needed
