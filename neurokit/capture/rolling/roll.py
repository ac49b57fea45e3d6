"""Rolls an unrolled program: from T calls of every neuron to one over T steps, wherever the loop is plain."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Interpreter, Node

from neurokit.capture.rolling.counted import Unrolled
from neurokit.capture.rolling.emit import CircularError, Emitter
from neurokit.capture.rolling.packs import Packer
from neurokit.capture.rolling.scans import with_scans
from neurokit.capture.rolling.unrolled import steps_first
from neurokit.neurons.ops import is_neuron
from neurokit.program.passes.out_of_place import out_of_place
from neurokit.program.walk import fetch

aten = torch.ops.aten


class Rolled(nn.Module):
    """Runs a rolled graph with the parameters of the module that it was traced from.

    Args:
        owner: The module whose parameters, buffers and constants the program names.
        program: The unrolled program.
        graph: The rolled graph.
    """

    def __init__(self, owner: nn.Module, program: ExportedProgram, graph: Graph) -> None:
        super().__init__()
        for name, child in owner.named_children():
            self.add_module(name, child)
        signature = program.graph_signature
        self._sources = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._constants = dict(program.constants)
        for path in signature.inputs_to_lifted_tensor_constants.values():
            self.register_buffer(f"constant_{path.replace('.', '_')}", program.constants[path], persistent=False)
        self._given = set(signature.user_inputs)
        self._graph = GraphModule(program.graph_module, graph)

    def forward(self, x: Any, *rest: Tensor) -> tuple[Tensor, ...]:
        """Runs it as the twin would run."""
        return tuple(Interpreter(self._graph).run(*self._values(x, rest)))

    def values(self, x: Any, *rest: Tensor) -> dict[Node, Any]:
        """Runs it; returns what every node gave."""
        run = _Values(self._graph)
        with torch.no_grad():
            run.run(*self._values(x, rest))
        return run.found

    def _values(self, x: Any, rest: tuple[Tensor, ...]) -> list[Any]:
        given = iter([*(x if isinstance(x, tuple | list) else (x,)), *rest])
        return [
            next(given) if node.target in self._given else self._held(str(node.target))
            for node in self._graph.graph.nodes
            if node.op == "placeholder"
        ]

    def _held(self, name: str) -> Tensor:
        path = self._sources[name]
        constant = f"constant_{path.replace('.', '_')}"
        return getattr(self, constant) if constant in self._buffers else fetch(self, path)


class _Values(Interpreter):
    """Keeps what every node of a run gave."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.found: dict[Node, Any] = {}

    def run_node(self, n: Node) -> Any:
        """Runs a node."""
        self.found[n] = super().run_node(n)
        return self.found[n]


def rolled_graph(
    program: ExportedProgram, paths: list[str], steps: int, graph: Graph | None = None
) -> tuple[Graph, list[str]] | None:
    """Returns the graph of a program with its neurons over time, or None if no loop in it is plain.

    Args:
        program: The unrolled program.
        paths: Module path of every neuron node, in the order of the graph.
        steps: Number of steps T.
        graph: Its graph out of place, which is changed, and returned with its loops where none is plain.

    Returns:
        The graph, and the path of every neuron node in it, in order.
    """
    always, graph = graph is not None, graph or out_of_place(program.graph)
    _share(graph, program)
    calls = [node for node in graph.nodes if _is_call(node)]
    packer = Packer(graph, steps)
    path_of = dict(zip(calls, paths, strict=True))
    for path in dict.fromkeys(paths):
        own = [node for node in calls if path_of[node] == path]
        if steps > 1 and len(own) == steps:
            packer.neuron(tuple(own))
    emitter = Emitter(graph, packer)
    try:
        new = emitter.run()
    except CircularError:
        return (graph, list(paths)) if always else None
    if not emitter.neurons and not always:
        return None
    new.eliminate_dead_code()
    lane = {made: lanes[0] for made, lanes in emitter.neurons}
    return new, [path_of[lane.get(node) or emitter.original(node)] for node in new.nodes if _is_call(node)]


def _share(graph: Graph, program: ExportedProgram) -> None:
    """Lets every step read the same constants and views of a sequence, of which a loop makes its own each time.

    `x[:, t]` is a slice of the whole of x before it is a selection, a threshold that is made in forward is a constant a
    step, and a learnt leak is computed of its parameter in every call.
    """
    signature = program.graph_signature
    paths = signature.inputs_to_lifted_tensor_constants
    given, fixed = set(signature.user_inputs), set[Node]()
    constants: list[tuple[Node, Tensor]] = []
    known: dict[Any, Node] = {}
    for node in list(graph.nodes):
        first: Node | None = None
        if node.target in _DROPOUTS and node.args[2] is False:  # in evaluation mode, what it is given
            first = node.args[0]
        elif node.op == "placeholder" and node.target not in given:
            fixed.add(node)
        if first is None and node.op == "placeholder" and node.target in paths:
            value = program.constants[paths[node.target]]
            first = next((other for other, held in constants if _equal(held, value)), None)
            if first is None:
                constants.append((node, value))
        elif first is None and (node.target in _VIEWS or _of_weights(node, fixed)):
            first = known.setdefault((node.target, str(node.args), str(node.kwargs)), node)
            if node.all_input_nodes and fixed.issuperset(node.all_input_nodes):
                fixed.add(node)
        if first is not None and first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _of_weights(node: Node, fixed: Collection[Node]) -> bool:
    """Whether a node computes of weights alone, as a neuron does whose leak is learnt."""
    if node.op != "call_function" or not node.all_input_nodes or not all(n in fixed for n in node.all_input_nodes):
        return False
    drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return not drawn and not getattr(getattr(node.target, "_schema", None), "is_mutable", False)


def _equal(a: Any, b: Any) -> bool:
    plain = isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
    return bool(plain and torch.equal(a, b))


def unrolled(program: ExportedProgram, steps: int) -> Unrolled:
    """Returns the graph of a program out of place, with what its constants hold.

    Args:
        program: An unrolled program.
        steps: Number of steps T.
    """
    graph, paths = out_of_place(program.graph), program.graph_signature.inputs_to_lifted_tensor_constants
    nodes = (node for node in graph.nodes if node.op == "placeholder" and node.target in paths)
    constants = {node: program.constants[paths[str(node.target)]] for node in nodes}
    signature = program.graph_signature
    held = {*signature.inputs_to_parameters, *signature.inputs_to_buffers}
    tables = {node for node in graph.nodes if node.op == "placeholder" and node.target in held}
    return Unrolled(graph, steps, constants, tables)


def graph_over_time(
    program: ExportedProgram,
    owner: nn.Module,
    paths: list[str],
    flat: Unrolled,
    given: tuple[Any, ...],
    left_out: int = 0,
    own_steps: bool = False,
) -> tuple[Graph, list[str]]:
    """Returns the graph of a program in which every loop over time is one operation, where that can be.

    A neuron over plain steps is one over all of them; a loop whose steps read the one before is a scan, in which
    neurons are plain operations.

    Args:
        program: The unrolled program.
        owner: The module that it was traced from.
        paths: Module path of every neuron node, in the order of the graph.
        flat: Its graph out of place (`unrolled`), which is changed.
        given: Inputs and states, random numbers.
        left_out: Up to how many steps fewer than T a loop may have.
        own_steps: Whether nodes are of the step that their line tells (`own_steps`).

    Returns:
        The graph, and the path of every neuron node that is left, in order.
    """
    steps = flat.steps
    made = rolled_graph(program, paths, steps, flat.graph)
    assert made is not None
    graph, left = made
    for node, path in zip((node for node in graph.nodes if _is_call(node)), left, strict=True):
        node.meta[_PATH] = path
    values = Rolled(owner, program, graph).values(*given)
    steps_first(graph, values, steps)
    looped = with_scans(graph, values, steps, left_out, own_steps)
    return looped, [node.meta[_PATH] for node in looped.nodes if _is_call(node)]


_PATH = "neurokit_path"
_DROPOUTS = (aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default)
_VIEWS = (aten.slice.Tensor, aten.permute.default, aten.transpose.int)


def _is_call(node: Node) -> bool:
    return node.op == "call_function" and is_neuron(node.target)
