"""From a captured program and a real input to a network and its spikes: the only part of hw_sim that uses torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.capture import opened
from neurokit.capture.reference import fed_back
from neurokit.errors import InputError
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Population, Uncounted
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.cells import Cells
from neurokit.hw_sim.trace.operations import Call, apply, neuron, stepwise
from neurokit.hw_sim.trace.values import Term, Value, numbered
from neurokit.neurons.delay import Delay
from neurokit.neurons.stepwise import step_of
from neurokit.program.ops import Kind, operation

if TYPE_CHECKING:
    from neurokit.capture import Captured

__all__ = ["trace"]

_LEAVES = ("torch.nn.modules", "spikingjelly.activation_based.layer")  # modules that are one operation


def trace(captured: Captured, x: Tensor, sample: str = "") -> Workload:
    """Runs one sample through a captured program and returns its layer graph with every spike.

    Args:
        captured: A spiking model in the sequence form with a fixed number of time steps, or a model without spikes,
            whose one pass is a step.
        x: One sample, `[T, 1, *shape]` or `[T, *shape]`; for a model that repeats its image itself `[1, *shape]`
            or `[*shape]`.
        sample: What was run, for reports.

    Returns:
        The network, what of it could not be counted, and the spikes.

    Raises:
        InputError: If a spiking model has no fixed T, or x has the wrong shape or holds NaN.
    """
    if captured.spiking and (captured.form != "sequence" or not isinstance(captured.time_steps, int)):
        raise InputError(
            f"the captured form is {captured.form!r} with T = {captured.time_steps}",
            expected="the sequence form with a fixed T",
            fix="capture(model, time_steps=4)",
        )
    x = _one_sample(captured, x)
    tracer = _Tracer(opened(captured))
    with torch.no_grad():
        outputs = tracer.run(x, fed_back(tracer.captured, tracer.module, (x,)))
    network = tracer.builder.network(captured.spec.name, outputs)
    return Workload(network, tracer.builder.rasters, sample, tracer.builder.inputs)


def _one_sample(captured: Captured, x: Tensor) -> Tensor:
    shape = captured.spec.inputs[0].shape
    lead = (1,) if captured.spec.time_input == "image" or not captured.spiking else (captured.time_steps, 1)
    wanted = (*lead, *shape)
    if tuple(x.shape) == (*lead[:-1], *shape):
        x = x.reshape(wanted)
    if tuple(x.shape) != wanted:
        raise InputError(f"the input has shape {list(x.shape)}", expected=f"{list(wanted)} (one sample)")
    if x.is_floating_point() and bool(x.isnan().any()):
        raise InputError("the input holds NaN", expected="numbers")
    return x.to(getattr(torch, captured.spec.inputs[0].dtype))


class _Tracer:
    """Runs the program node by node, with what each tensor is made of beside its numbers."""

    def __init__(self, captured: Captured) -> None:
        self.module: GraphModule = captured.program.module()  # type: ignore[assignment]
        self.captured = captured
        self.builder = Builder(captured.time_steps if isinstance(captured.time_steps, int) else 1)
        self.builder.plain_neurons = _plain_neurons(captured)
        self.cells = Cells(captured, self.builder)
        self.paths = iter(captured.calls)
        self.real: dict[Node, Any] = {}
        self.values: dict[Node, Any] = {}
        self.uses = _last_uses(self.module)
        user = captured.program.graph_signature.user_inputs[1:]
        self.loops = {str(user[at]): _loop_name(captured, at) for at in captured.feedback}
        self.builder.uncounted += _delay_lines(captured)

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> tuple[str, ...]:
        """Runs everything and returns the names of the output populations."""
        inputs = iter((x, *states))
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                self.real[node] = next(inputs)
                if self.real[node] is x:
                    self.values[node] = self._input(node.name, x)
                elif node.name in self.loops:
                    self.values[node] = self.builder.fed_back(self.loops[node.name], self.real[node])
            elif node.op == "get_attr":
                self.real[node] = _attribute(self.module, str(node.target))
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                return self._outputs(node)
            for done in self.uses.get(node, ()):
                self.real.pop(done, None)
                self.values.pop(done, None)
        return ()

    def _input(self, name: str, x: Tensor) -> Value:
        static = self.captured.spec.time_input == "image" or not self.captured.spiking
        shape = tuple(x.shape[1:] if static else x.shape[2:])
        binary = bool(((x == 0) | (x == 1)).all())
        self.builder.populations[name] = Population(name, shape, "input", binary=binary)
        size = self.builder.populations[name].size
        self.builder.keep_input(name, x)
        value = Value((Term(name, numbered(tuple(x.shape), self.builder.steps), size, static),))
        if not static:
            self.builder.record(value.terms[0], x)
        return value

    def _call(self, node: Node) -> None:
        args = torch.fx.node.map_arg(node.args, self.real.__getitem__)
        kwargs = torch.fx.node.map_arg(node.kwargs, self.real.__getitem__)
        result = self.real[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        cell = self.cells.path_of(node)
        if cell is not None:
            spikes = self.cells.take(node, cell, self.values, self.real)
            if spikes is not None:
                self.values[node] = spikes
            return
        if not any(source in self.values for source in node.all_input_nodes):
            return
        if not hasattr(node.target, "_schema"):  # getitem of a list of results
            held = self.values[node.args[0]]  # type: ignore[index]
            value = held[node.args[1]] if isinstance(held, list) else held  # all results of a strange operation
        else:
            value = self._value(node, args, kwargs, result)
        if value is not None:
            self.values[node] = self._shared(node, value, result)

    def _value(self, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        if not isinstance(result, Tensor | list | tuple):
            return None  # a size
        schema = node.target._schema  # type: ignore[union-attr]
        names = [argument.name for argument in schema.arguments]
        nodes = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
        arguments = dict(zip(names, args, strict=False)) | kwargs
        values: dict[str, Any] = {}
        for name, given in nodes.items():
            if isinstance(given, Node) and given in self.values:
                values[name] = self.values[given]
            elif isinstance(given, list | tuple) and any(isinstance(g, Node) and g in self.values for g in given):
                values[name] = [self.values.get(g) if isinstance(g, Node) else None for g in given]

        def again(changes: dict[str, Any]) -> Any:
            changed = arguments | changes
            positional = [changed.pop(name) for name in names[: len(args)]]
            return node.target(*positional, **{name: changed[name] for name in kwargs})  # type: ignore[operator]

        known = operation(node.target)
        name = schema.name.split("::")[-1] if known is None else known.name.partition(".")[0]
        kind, floats = (None, False) if known is None else (known.kind, known.floats)
        call = Call(name, _path(node, name), arguments, values, result, again, kind, floats)
        if kind is Kind.NEURON:
            return neuron(call, self.builder, next(self.paths))
        if kind is Kind.STEPWISE:
            return stepwise(call, self.builder, step_of(arguments["step"]))
        return apply(call, self.builder)

    def _shared(self, node: Node, value: Any, real: Any) -> Any:
        """Returns the value as a population where more than one operation goes on from it (a shortcut branches)."""
        if not isinstance(value, Value) or value.unknown or value.once or len(node.users) < 2:
            return value
        path = _path(node, getattr(node.target, "_opname", node.name))
        value = self.builder.limited(value, real, path)
        if real.dim() and real.shape[0] != self.builder.steps:  # more steps or fewer, as in a delay line
            return self.builder.settled(value)
        return value if value.pure else self.builder.materialise(value, real, path)

    def _outputs(self, node: Node) -> tuple[str, ...]:
        names: list[str] = []
        results = node.args[0]
        for result in results[: len(self.captured.output_names)]:  # type: ignore[index]
            value = self.values.get(result)
            if isinstance(value, Value) and not value.unknown:
                value = self.builder.limited(value, self.real[result], "output")
                known = value if value.once else self.builder.materialise(value, self.real[result], "output")
                names += [term.source for term in known.terms if isinstance(term.source, str)]
        self._close_loops(results[len(self.captured.output_names) :])  # type: ignore[index]
        return tuple(name for name in dict.fromkeys(names) if name in self.builder.populations)

    def _close_loops(self, states: Any) -> None:
        """Leads what every loop feeds back to where its value of the step before came in."""
        for at in self.captured.feedback:
            value = self.values.get(states[at])
            if isinstance(value, Value) and not value.unknown and not value.once:
                real = self.real[states[at]]
                value = self.builder.limited(value, real, "feedback")
                self.builder.close(_loop_name(self.captured, at), value, real)


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


def _attribute(module: torch.nn.Module, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _path(node: Node, operation: str) -> str:
    """Returns the path, in the user's module, of the module that calls the operation (with the operation if inner)."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    path = path.removeprefix("L['self'].").removeprefix("net").removeprefix(".")
    leaf = bool(stack) and str(stack[-1][1]).startswith(_LEAVES)
    return path if path and leaf else f"{path}.{operation}".strip(".")
