"""Second stage of the exact form: numbers on their grids, roundings where they are needed, and a program again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen

from neurokit.capture.quick_trace import quick_trace
from neurokit.capture.unannotated import without_empty_notes
from neurokit.exact.folded import Folded
from neurokit.exact.quantise import Quantised
from neurokit.program import nodes
from neurokit.program.nodes import aten
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.passes import TRACED
from neurokit.program.passes import apply as apply_passes
from neurokit.serial import one_at_a_time


@dataclass(frozen=True)
class Rounding:
    """A rounding inside the graph: limit, then round half to even to a multiple of 2**exponent.

    Attributes:
        exponent: Of the grid.
        low: Smallest result, or None.
        high: Largest result, or None.
    """

    exponent: int
    low: float | None = None
    high: float | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the rounded tensor."""
        x = x if self.low is None and self.high is None else x.clamp(self.low, self.high)
        return torch.round(x * 2.0**-self.exponent) * 2.0**self.exponent


@dataclass
class Plan:
    """Every number of an exact network; it fits every form of one model.

    Attributes:
        linears: Weights and biases, by the number of the linear map.
        inputs: Rounding of every input, in order.
        operands: Roundings of linear maps' operands, by number.
        results: Roundings of linear maps' results, by number.
        currents: Roundings of neurons' input currents, by number of the neuron node.
        scales: Roundings of what constant factors make of a sum, by number.
        by_step: Whether the numbers are those of the single step, of which the sequence is T in a row.
    """

    linears: dict[int, Quantised] = field(default_factory=dict)
    inputs: tuple[Rounding, ...] = ()
    operands: dict[int, Rounding] = field(default_factory=dict)
    results: dict[int, Rounding] = field(default_factory=dict)
    currents: dict[int, Rounding] = field(default_factory=dict)
    scales: dict[int, Rounding] = field(default_factory=dict)
    by_step: bool = False


def place(folded: Folded, plan: Plan) -> Folded:
    """Puts a plan's numbers and roundings into a folded graph, in place."""
    for node, rounding in zip(folded.placeholders, plan.inputs, strict=False):  # states follow
        if not _chooses_rows(node):
            _insert_after(folded, node, rounding)
    for index, numbers in plan.linears.items():
        folded.set(index, numbers.weight, numbers.real_bias)
    for index, rounding in plan.operands.items():
        linear = folded.linears[index]
        _insert_before(folded, nodes.time_mean(linear.args[0]) or linear, rounding)
    for index, rounding in plan.results.items():
        _insert_after(folded, folded.linears[index], rounding)
    for index, rounding in plan.scales.items():
        _insert_after(folded, folded.scales[index], rounding)
    for index, rounding in plan.currents.items():
        _insert_before(folded, folded.neurons[index], rounding)
    folded.module.graph.lint()
    folded.module.recompile()
    return folded


def _chooses_rows(node: Node) -> bool:
    """Returns whether whole numbers are places in tables and nothing else: what they choose is bounded, not they."""
    if node.meta["val"].is_floating_point():
        return False
    return all(
        (is_named(user, {"embedding"}) and user.args[0] is not node)
        or (is_kind(user, Kind.MOVE, Kind.KEEP, Kind.SIZE) and (is_kind(user, Kind.SIZE) or _chooses_rows(user)))
        for user in node.users
    )


def _insert_before(folded: Folded, user: Node, rounding: Rounding) -> None:
    graph = folded.module.graph
    source: Any = user.args[0]
    with graph.inserting_before(user):
        made = _emit(graph, source, rounding)
    user.args = (made, *user.args[1:])


def _insert_after(folded: Folded, source: Node, rounding: Rounding) -> None:
    graph = folded.module.graph
    users = [user for user in source.users if "sym_size" not in str(user.target)]
    at = source
    if source.op == "placeholder":  # behind all inputs
        at = next(node for node in reversed(list(graph.nodes)) if node.op == "placeholder")
    with graph.inserting_after(at):
        anchor = graph.call_function(aten.clone.default, (source,))
    with graph.inserting_before(anchor):
        made = _emit(graph, source, rounding)
    for user in users:
        user.replace_input_with(source, made)
    graph.erase_node(anchor)


def _emit(graph: Any, source: Node, rounding: Rounding) -> Node:
    value = source
    if rounding.low is not None or rounding.high is not None:
        value = graph.call_function(aten.clamp.default, (value, rounding.low, rounding.high))
    if rounding.exponent != 0:
        value = graph.call_function(aten.mul.Tensor, (value, 2.0**-rounding.exponent))
    value = graph.call_function(aten.round.default, (value,))
    if rounding.exponent != 0:
        value = graph.call_function(aten.mul.Tensor, (value, 2.0**rounding.exponent))
    return value


def traced_as(module: nn.Module, program: ExportedProgram, *names: str) -> ExportedProgram:
    """Traces a module that takes what another program takes.

    Args:
        module: The module.
        program: The program whose inputs and free sizes it has.
        names: Names of the arguments of its forward, the last of which takes the rest.
    """
    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    example = [torch.zeros(nodes.hints(node), dtype=node.meta["val"].dtype) for node in given]
    dims = [_free(node) for node in given]
    alone = len(names) - 1
    shapes = {**dict(zip(names, dims, strict=False)), names[-1]: tuple(dims[alone:])}
    shapes = {name: shape for name, shape in shapes.items() if shape != ()}
    with torch.no_grad(), quick_trace():
        return without_empty_notes(torch.export.export(module, tuple(example), dynamic_shapes=shapes, strict=False))


def _free(node: Node) -> dict[int, Any]:
    return {axis: Dim.DYNAMIC for axis, size in enumerate(node.meta["val"].shape) if not isinstance(size, int)}


@one_at_a_time
def export_again(folded: Folded, program: ExportedProgram) -> ExportedProgram:
    """Traces a rewritten graph, with the free sizes of the program it came from."""
    example, dims = [], []
    for node in folded.module.graph.nodes:
        if node.op != "placeholder":
            continue
        value = node.meta["val"]
        example.append(torch.zeros(nodes.hints(node), dtype=value.dtype))
        dims.append(_free(node))
    graph = folded.module.graph
    graph.set_codegen(CodeGen())  # plain arguments, without the tree that torch.export had packed them in
    # A fresh graph module holds the tensors that the graph reads, under their old paths, and no others.
    module = GraphModule(folded.module, graph)
    with quick_trace():
        traced = torch.export.export(module, tuple(example), dynamic_shapes=tuple(dims), strict=False)
    made = without_empty_notes(traced)
    apply_passes(made, *TRACED)
    return made
