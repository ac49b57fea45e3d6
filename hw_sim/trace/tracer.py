"""Runs a captured program operation by operation, with what each tensor is made of beside its numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.hw_sim.graph.network import Population, Uncounted
from neurokit.hw_sim.trace.arguments import Arguments, Rolled, Single
from neurokit.hw_sim.trace.beside import membranes_beside
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.call import Call
from neurokit.hw_sim.trace.cells import Cells
from neurokit.hw_sim.trace.operations import apply, neuron
from neurokit.hw_sim.trace.prepared import prepared_inputs
from neurokit.hw_sim.trace.rolled import Group, groups_of, joined
from neurokit.hw_sim.trace.values import Term, Value, numbered
from neurokit.neurons.delay import Delay
from neurokit.neurons.ops import is_neuron
from neurokit.program.nodes import module_paths
from neurokit.program.ops import operation
from neurokit.program.walk import fetch

if TYPE_CHECKING:
    from neurokit.capture import Captured

_LEAVES = ("torch.nn.modules", "spikingjelly.activation_based.layer")  # modules that are one operation


class Tracer:
    """One run of one program on one sample.

    Args:
        captured: The model, its loops cut open.
    """

    def __init__(self, captured: Captured) -> None:
        self.module = _module_of(captured)
        self.captured = captured
        self.builder = Builder(captured.time_steps if isinstance(captured.time_steps, int) else 1)
        self.builder.plain_neurons = _plain_neurons(captured)
        self.live = live_nodes(self.module)
        self.beside = membranes_beside(self.module)
        self.cells = Cells(captured, self.module, self.builder)
        nodes = [node for node in self.module.graph.nodes if is_neuron(node.target)]
        self.neurons = dict(zip(nodes, captured.calls, strict=True))
        self.real: dict[Node, Any] = {}
        self.values: dict[Node, Any] = {}
        self.uses = _last_uses(self.module)
        user = captured.program.graph_signature.user_inputs[len(captured.spec.inputs) :]
        self.loops = {str(user[at]): _loop_name(captured, at) for at in captured.feedback}
        self.builder.uncounted += _delay_lines(captured)
        steps = self.builder.steps
        self.groups = groups_of(self.module, steps) if steps > 1 and self._has_loop() else {}
        self.prepared = {} if self.groups else prepared_inputs(self.module, len(captured.spec.inputs))
        self.whole: dict[Group, Any] = {}
        self.late: list[tuple[str, Group]] = []

    def run(self, sample: tuple[Tensor, ...], states: tuple[Tensor, ...]) -> tuple[str, ...]:
        """Runs everything and returns the names of the output populations.

        Args:
            sample: Every input of the model, in order.
            states: Every state.
        """
        inputs = iter((*sample, *states))
        own = iter(range(len(sample)))  # the inputs come before the states
        if self.groups:  # what stands for all steps is needed where the first step is
            self._compute_all(sample, states)
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                given = self.real[node] = next(inputs)
                place = next(own, None)
                if place is not None and node not in self.prepared.values():
                    self.values[node] = self._input(self._input_name(node, place), given)
                elif node.name in self.loops:
                    self.values[node] = self.builder.fed_back(self.loops[node.name], given)
            elif node.op == "get_attr":
                self.real[node] = fetch(self.module, str(node.target))
            elif node.op == "call_function":
                self._step(node)
            elif node.op == "output":
                return self._outputs(node)
            for done in self.uses.get(node, ()) if not self.groups else ():
                self.real.pop(done, None)
                self.values.pop(done, None)
        return ()

    def _input_name(self, node: Node, place: int) -> str:
        """Returns the name of an input's population: of several inputs the port's, where no module has it."""
        ports = self.captured.spec.inputs
        name = ports[place].name
        return (
            node.name
            if len(ports) == 1 or name in self.builder.populations or _is_module(self.captured, name)
            else name
        )

    def _has_loop(self) -> bool:
        """Whether a neuron is called once a step, by a loop of the model's own."""
        steps = self.builder.steps
        single = any(_leading(node.args[0]) == 1 for node in self.neurons)
        many = {info.path for info in self.captured.neurons if info.op == "decomposed" and info.calls == steps}
        own = {
            path
            for node, path in self.cells.paths.items()
            if str(node.target).startswith(("aten.unbind", "aten.stack"))
        }
        declared = any(not state.neuron for state in self.captured.states)  # handed from step to step by the caller
        return single or declared or bool(many - own)

    def _compute_all(self, sample: tuple[Tensor, ...], states: tuple[Tensor, ...]) -> None:
        inputs = iter((*sample, *states))
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                self.real[node] = next(inputs)
            elif node.op == "get_attr":
                self.real[node] = fetch(self.module, str(node.target))
            elif node.op == "call_function":
                self._compute(node)

    def _compute(self, node: Node) -> Any:
        args = torch.fx.node.map_arg(node.args, self.real.__getitem__)
        kwargs = torch.fx.node.map_arg(node.kwargs, self.real.__getitem__)
        self.real[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        return self.real[node]

    def _step(self, node: Node) -> None:
        if node in self.beside:
            self._membrane(node)
            return
        group, _ = self.groups.get(node, (None, 0))
        if group is not None:
            if node is group.first and any(member in self.live for member in group.members):
                self._group(group)
            return
        if node not in self.live:  # a recorded membrane that nobody reads: no work of the network
            return
        result = self.real[node] if self.groups else self._compute(node)
        if node in self.prepared:
            self.values[node] = self._prepared(node, result)
            return
        value = self._worth(node, Single(self, node), result)
        if value is not None:
            self.values[node] = value

    def _membrane(self, node: Node) -> None:
        """Reads out a membrane that is computed beside its neuron, where it leaves those operations."""
        result = self.real[node] if self.groups else self._compute(node)
        if node in self.live and any(user not in self.beside for user in node.users) and isinstance(result, Tensor):
            whole = bool(result.dim()) and result.shape[0] == self.builder.steps
            path = f"{self.neurons[self.beside[node]]}.state"
            self.values[node] = self.builder.read_out(path, result) if whole else Value(unknown=True)

    def _group(self, group: Group) -> None:
        """Traces one operation of a loop for all steps, and gives each member its share."""
        parts = [None if node is None else self.real[node] for node in group.members]
        result = joined(parts)
        value = self._worth(group.node, Rolled(self, group), result)
        if value is None:
            return
        carried = [name for name, source in self.late if source is group]
        closes = bool(carried) and isinstance(value, Value) and not value.unknown and not value.once
        if closes:  # one population, that every reader of the step before and of this one shares
            value = self.builder.limited(value, result, "feedback")
            if self.builder.connectable(value):
                value = self.builder.materialise(value, result, f"{carried[0]}.sum")
                self.builder.record(value.terms[0], result)
        self.whole[group] = value
        for node, share in zip(group.members, _shares(value, len(parts)), strict=True):
            if node is not None:
                self.values[node] = share
        self.late = [pair for pair in self.late if pair[1] is not group]
        for name in carried if closes else ():
            self.builder.close(name, value, result)

    def _worth(self, node: Node, given: Arguments, result: Any) -> Any:
        """Returns what the result of an operation is made of; None if nothing of the input is in it."""
        path = self.cells.paths.get(node)
        if path is not None:
            for entering, real in given.entering():
                self.cells.enter(path, entering, real)
            left = self.cells.leave(path, node, result) if self.cells.leaves(node) else None
            return left if left is None else self._shared(node, left, result, given.users)
        if not any(True for _ in given.entering()) and given.held() is None:
            return None
        value: Any
        if not hasattr(node.target, "_schema"):
            value = given.held()
        elif isinstance(given, Rolled) and given.is_sum:
            value = self._summed(node, given)
        else:
            value = self._value(node, given, result)
        return value if value is None else self._shared(node, value, result, given.users)

    def _summed(self, node: Node, given: Arguments) -> Value:
        """Returns what a loop adds up over its steps: the read-out of what is added."""
        path = _path(node, "add")
        parts = [self.builder.materialise(self.builder.limited(v, r, path), r, path) for v, r in given.entering()]
        return Value(tuple(term for part in parts for term in part.terms), once=True)

    def _value(self, node: Node, given: Arguments, result: Any) -> Any:
        if not isinstance(result, Tensor | list | tuple):
            return None  # a size
        known = operation(node.target)
        name = str(node.target._schema.name).split("::")[-1]  # type: ignore[union-attr]
        name, kind, floats = (name, None, False) if known is None else (known.name, known.kind, known.floats)
        name = name.partition(".")[0]
        call = Call(name, _path(node, name), given.arguments, given.values, result, given.again, kind, floats)
        if node in self.neurons:
            return neuron(call, self.builder, self.neurons[node])
        return apply(call, self.builder)

    def node_of(self, real: Tensor) -> tuple[Node | None, int | None]:
        """Returns the operation that gives a tensor, and which of its results that is."""
        for node, value in self.real.items():
            if value is real:
                return node, None
            if isinstance(value, tuple | list):
                for place, part in enumerate(value):
                    if part is real:
                        return node, place
        return None, None

    def attribute(self, name: str) -> Any:
        """Returns a tensor of the program by its name."""
        return fetch(self.module, name)

    def real_of(self, leaf: Any) -> Any:
        """Returns the tensor of a node, or what is no node as it is."""
        return self.real[leaf] if isinstance(leaf, Node) else leaf

    def late_value(self, group: Group, real: Tensor) -> Any:
        """Returns what a loop carries from one step to the next: a step late where it is known, else to be closed."""
        value = self.whole.get(group)
        if isinstance(value, Value) and not (value.unknown or value.once):
            steps = self.builder.steps
            return value.mapped(
                lambda ids: torch.cat([torch.full_like(ids[: len(ids) // steps], -1), ids[: -(len(ids) // steps)]])
            )
        if value is not None or group.node in self.cells.paths:
            return None
        path = _path(group.node, getattr(group.node.target, "_opname", group.node.name))
        late = self.builder.fed_back(f"{path}.late", real)
        self.late.append((str(late.terms[0].source), group))
        return late

    def _prepared(self, node: Node, result: Tensor) -> Value:
        """Returns what preprocessing gives as an input of the network, of one sample: `[T, 1, ...]` or `[T, ...]`."""
        source = self.prepared[node]
        place = next(at for at, known in enumerate(self._placeholders()) if known is source)
        name = self.builder.name(self._input_name(source, place), self.builder.populations)
        static = result.shape[0] != self.builder.steps or self.captured.spec.time_input == "image"
        joined = static or result.dim() < source.meta["val"].dim()  # steps and samples on one axis
        return self._input(name, result.float(), tuple(result.shape[1 if joined else 2 :]))

    def _placeholders(self) -> list[Node]:
        return [node for node in self.module.graph.nodes if node.op == "placeholder"]

    def _input(self, name: str, x: Tensor, shape: tuple[int, ...] | None = None) -> Value:
        static = self.captured.spec.time_input == "image" or not self.captured.spiking
        shape = shape or tuple(x.shape[1:] if static else x.shape[2:]) or (1,)  # a number a sample is one value
        binary = bool(((x == 0) | (x == 1)).all())
        self.builder.populations[name] = Population(name, shape, "input", binary=binary)
        size = self.builder.populations[name].size
        self.builder.keep_input(name, x)
        value = Value((Term(name, numbered(tuple(x.shape), self.builder.steps), size, static),))
        if not static:
            self.builder.record(value.terms[0], x)
        return value

    def _shared(self, node: Node, value: Any, real: Any, users: int) -> Any:
        """Returns the value as a population where more than one operation goes on from it (a shortcut branches)."""
        if not isinstance(value, Value) or value.unknown or value.once or users < 2:
            return value
        path = _path(node, getattr(node.target, "_opname", node.name))
        value = self.builder.limited(value, real, path)
        if real.dim() and real.shape[0] != self.builder.steps:  # more steps or fewer, as in a delay line
            return self.builder.settled(value)
        return value if value.pure else self.builder.materialise(value, real, path)

    def _outputs(self, node: Node) -> tuple[str, ...]:
        names: list[str] = []
        results: Any = node.args[0]
        many = len(self.captured.output_names)
        for result, state in zip(results[many:], self.captured.states, strict=False):
            value = self.values.get(result)
            if not state.neuron and isinstance(value, Value) and not (value.unknown or value.once):
                self.builder.settled(value)  # what is put into a declared state is computed, whoever reads it
        for result in results[:many]:
            value = self.values.get(result)
            if isinstance(value, Value) and not value.unknown:
                value = self.builder.limited(value, self.real[result], "output")
                last = not value.once and not self.builder.connectable(value)  # one step of a loop is read
                known = self.builder.settled(value) if last else value
                if not (value.once or last):
                    known = self.builder.materialise(value, self.real[result], "output")
                names += [term.source for term in known.terms if isinstance(term.source, str)]
        self._close_loops(results[many:])
        return tuple(name for name in dict.fromkeys(names) if name in self.builder.populations)

    def _close_loops(self, states: Any) -> None:
        """Leads what every loop feeds back to where its value of the step before came in."""
        for at in self.captured.feedback:
            value = self.values.get(states[at])
            if isinstance(value, Value) and not value.unknown and not value.once:
                real = self.real[states[at]]
                value = self.builder.limited(value, real, "feedback")
                self.builder.close(_loop_name(self.captured, at), value, real)


def _shares(value: Any, steps: int) -> list[Any]:
    """Returns what a loop's operation is worth in each step."""
    if isinstance(value, list):
        return [list(parts) for parts in zip(*(_shares(part, steps) for part in value), strict=True)]
    if not isinstance(value, Value) or value.unknown or value.once:
        return [value] * steps
    return [value.mapped(lambda ids, k=k: ids.chunk(steps)[k]) for k in range(steps)]  # type: ignore[misc]


def live_nodes(module: GraphModule) -> set[Node]:
    """Returns the nodes that anything which leaves the program depends on."""
    live: set[Node] = set()
    for node in reversed(module.graph.nodes):
        if node.op == "output" or node in live:
            live.update(node.all_input_nodes)
    return live


def _module_of(captured: Captured) -> GraphModule:
    """Returns the program as a graph module, made once: its guards take longer than many a forward pass."""
    known: GraphModule | None = captured.program.__dict__.get("_neurokit_module")
    if known is None:
        known = captured.program.module(check_guards=False)
        captured.program.__dict__["_neurokit_module"] = known
    assert known is not None
    return known


def _leading(node: Any) -> int | None:
    """Returns the length of a tensor's first axis, where it is a number."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    return (
        int(value.shape[0]) if isinstance(value, Tensor) and value.dim() and isinstance(value.shape[0], int) else None
    )


def _loop_name(captured: Captured, at: int) -> str:
    """Returns the name of what a loop feeds back."""
    state = captured.states[at]
    return f"{state.neuron}.{state.memory}".strip(".")


def _delay_lines(captured: Captured) -> list[Uncounted]:
    """Returns every delay line: what arrives late is counted, the memory that holds it is not."""
    lines = [(path, part) for path, part in captured.module.named_modules() if isinstance(part, Delay)]
    return [
        Uncounted(
            path.removeprefix("net").removeprefix("."),
            f"a delay line of up to {line.longest + line.kept} steps: no chip states a price for the memory it takes",
        )
        for path, line in lines
    ]


def _plain_neurons(captured: Captured) -> dict[str, str]:
    """Returns the neurons that the program computes by plain operations, as path and description."""
    found = {}
    for layer in captured.neurons:
        if layer.op != "decomposed":
            continue
        sizes = [math.prod(state.concrete(1)) for state in captured.states if state.neuron == layer.path]
        many = f"{max(sizes)} {layer.kind} neurons" if sizes else f"{layer.kind} neurons"
        found[layer.path] = f"{many} in plain operations: their updates and spikes are in no count"
    return found


def _last_uses(module: GraphModule) -> dict[Node, list[Node]]:
    """Returns for each node those whose results nobody needs after it."""
    last: dict[Node, Node] = {}
    for node in module.graph.nodes:
        for source in node.all_input_nodes:
            last[source] = node
    uses: dict[Node, list[Node]] = {}
    for source, node in last.items():
        uses.setdefault(node, []).append(source)
    return uses


def _is_module(captured: Captured, name: str) -> bool:
    return any(path in (name, f"net.{name}") for path, _ in captured.module.named_modules())


def _path(node: Node, operation: str) -> str:
    """Returns the path, in the user's module, of the module that calls the operation (with the operation if inner)."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = (module_paths(node) or [""])[-1]
    leaf = bool(stack) and str(stack[-1][1]).startswith(_LEAVES)
    return path if path and leaf else f"{path}.{operation}".strip(".")
