"""Walks a captured program and makes a NIR graph of it, noting every reason why a part of it cannot be one."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from neurokit.capture import opened
from neurokit.errors import Unsupported
from neurokit.export.nir.graph import GraphBuilder, Made, Value, concrete, shape_of
from neurokit.export.nir.grid import input_grid
from neurokit.export.nir.loops import Loops, delay_lines
from neurokit.export.nir.rules import rule_for, unknown
from neurokit.neurons.cells import NirCell, fires_above
from neurokit.neurons.delay import Delay
from neurokit.neurons.parameters import NeuronParameters
from neurokit.program.nodes import module_paths
from neurokit.program.ops import is_named

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.interchange.input_grid import InputGrid

_STATE = object()  # stands for a neuron's state
_STEPS = 4


class Walk:
    """One walk over one program.

    Args:
        captured: The model; where its sizes are free, those of the traced example are used.
        dt: Seconds a time step.
        dense_groups: Whether grouped convolutions are written as dense ones.
        maxpool: How the largest of spikes is written.

    Attributes:
        captured: The capture that was walked.
        graph: What came of it.
        outputs: The program's outputs.
        layers: Name of the graph's node of every neuron node of the program, in order.
        inputs: Name of the graph's node of every input, by the input's name.
        grid: The grid that the input must lie on, or None: NIR has no node that would round it.
    """

    def __init__(self, captured: Captured, dt: float, dense_groups: bool = False, maxpool: str = "threshold") -> None:
        self.captured = captured = opened(_with_sizes(captured))
        self.dt = dt
        nodes = list(captured.program.graph.nodes)
        user = captured.program.graph_signature.user_inputs
        names = user[: len(captured.spec.inputs)]
        xs = [next(node for node in nodes if node.name == name) for name in names]
        batch, steps = _sizes(captured, xs[0])
        self.graph = GraphBuilder(steps, batch, captured.time_output, dense_groups, dt, maxpool)
        self.layers: list[str] = []
        self.inputs: dict[str, str] = {}
        self._ports = {x: port.name for x, port in zip(xs, captured.spec.inputs, strict=True)}
        self.grid, self._roundings = self._grids(xs)
        self.outputs: list[Any] = []
        self._values: dict[Node, Any] = {}
        self._constants = _constants(captured)
        self._lines = delay_lines(captured)
        self._cells = {n.path for n in captured.neurons if n.op == "decomposed"} | set(self._lines)
        self._cell_values: dict[str, Value] = {}
        self._calls = iter(captured.calls)
        self._loops = Loops(self.graph, captured, dt)
        self._check_whole()
        for node in nodes:
            self._values[node] = self._visit(node)
        self._check_inputs()

    @property
    def input_tensors(self) -> list[str]:
        """Names of the program's tensors that the graph's inputs are."""
        return [self.graph.nodes[name].tensor for name in self.inputs.values()]

    def _grids(self, xs: list[Node]) -> tuple[InputGrid | None, dict[Node, Node]]:
        """Returns the grid of the one input, and every rounding with the input that it rounds."""
        found = {x: grid for x in xs if (grid := input_grid(x)) is not None}
        if found and len(xs) > 1:
            names = ", ".join(self._ports[x] for x in found)
            why = f"its inputs {names} are rounded to grids, and the file's note on a grid is of one input"
            reason = Unsupported("", self.captured.spec.name, why, "leave --numerics exact away, or use an ONNX form")
            self.graph.reasons.append(reason)
        grid = next(iter(found.values()))[0] if found else None
        return grid, {node: x for x, (_, chain) in found.items() for node in chain}

    def _check_inputs(self) -> None:
        """Refuses inputs that nothing reads: NIR has no open ends."""
        for name, node in self.inputs.items():
            if len(self.inputs) > 1 and not any(source == node for source, _ in self.graph.edges):
                if node in self.graph.escapes:
                    continue  # read by something that is refused already
                why = f"no layer reads its input {name!r}, and a NIR graph has no open ends"
                self.graph.reasons.append(Unsupported("", self.captured.spec.name, why, "leave the input out"))

    def _check_whole(self) -> None:
        for neuron in self.captured.neurons:
            if neuron.calls > 1:
                why = f"one forward pass runs it {neuron.calls} times with the same state"
                fix = "give each place its own neuron"
                self.graph.reasons.append(Unsupported(neuron.path, neuron.kind, why, fix))
        self.graph.reasons += _other_starts(self.captured)
        recurrent = any(
            is_named(node, ("lstm", "gru", "rnn_tanh", "rnn_relu")) for node in self.captured.program.graph.nodes
        )
        if self.captured.spiking and "auto" in self.captured.output_kinds and not recurrent:
            why = "its output is neither one a step nor their mean, sum or last"
            name = self.captured.spec.name
            self.graph.reasons.append(Unsupported("", name, why, "let it return [T, B, ...]"))

    def _visit(self, node: Node) -> Any:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "output":
            return self._finish(node)
        if node.op != "call_function":
            return self._constants.get(node.name)
        if node in self._roundings:
            return self._values[self._roundings[node]]
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), self._read)
        path = self._cell_of(node)
        if path is not None:
            return self._cell(node, path, args)
        if str(node.target).startswith("neurokit."):
            return self._neuron(node, args)
        if node.target is operator.getitem and isinstance(args[0], list | tuple):
            return args[0][args[1]]
        return self._plain(node, args, kwargs)

    def _plain(self, node: Node, args: Any, kwargs: Any) -> Any:
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        values = [leaf for leaf in leaves if isinstance(leaf, Value)]
        if values and any(leaf is _STATE for leaf in leaves):
            why = "it reads a membrane or another state outside of a neuron, and edges of NIR carry what nodes put out"
            return self.graph.refuse(node, str(node.target), why, "use an ONNX form", values)
        made = node.meta.get("val")
        if not values or not isinstance(made, Tensor | list | tuple):  # constants and sizes
            return self._constant(node, args, kwargs)
        lost = [value for value in values if not value.lead]
        rule = rule_for(node.target)
        if lost and rule is not unknown:  # its axes are unknown because of something that was refused already
            return self.graph.outside(node, values)
        return rule(self.graph, node, args, kwargs)

    def _constant(self, node: Node, args: Any, kwargs: Any) -> Any:
        value = node.meta.get("val")
        if not isinstance(value, Tensor):  # a size
            return None if value is None or isinstance(value, list | tuple | bool) else concrete(value)
        if any(leaf is _STATE for leaf in torch.utils._pytree.tree_leaves((args, kwargs))):
            return _STATE
        with torch.no_grad():
            return node.target(*args, **kwargs)

    def _placeholder(self, node: Node) -> Any:
        if node.name in self._constants:
            return self._constants[node.name]
        if node not in self._ports:
            return self._loops.enter(node) if node.name in self._loops.states else _STATE
        lead, shape = self.graph.layout(shape_of(node))
        rounded = [rounding.name for rounding, x in self._roundings.items() if x is node]
        tensor = rounded[-1] if rounded else node.name
        port = self._ports[node]
        name = "input" if len(self._ports) == 1 else self.graph.input_name(port)
        self.inputs[port] = name
        self.graph.nodes[name] = Made("Input", {"input_type": np.array(shape)}, "", tensor, lead, shape)
        return Value((name,), lead, shape)

    def _read(self, node: Node) -> Any:
        value = self._values.get(node)
        return replace(value, sole=False) if isinstance(value, Value) and len(node.users) > 1 else value

    def _finish(self, node: Node) -> None:
        made = node.args[0]
        for source in made[: len(self.captured.output_names)]:
            value = self._read(source)
            self.outputs.append(value)
            if not isinstance(value, Value):
                why = "it does not depend on the input"
                self.graph.reasons.append(Unsupported("", f"output {source}", why, "leave it out"))
                continue
            self.graph.escapes.update(value.sources)
        self._loops.close([self._read(source) for source in made[len(self.captured.output_names) :]])

    def _neuron(self, node: Node, args: Any) -> Any:
        path, value = next(self._calls), args[0]
        op = str(node.target).removeprefix("neurokit.").partition(".")[0]
        given = NeuronParameters.from_arguments(op, args[2:])
        if not given.hard:
            why = "it subtracts its threshold after a spike (soft reset), and NIR resets to a potential"
            return (self._refuse_neuron(node, path, why, "train it with v_reset=0.0", value), _STATE)
        if value.lead != ("T", "B") and not (value.lead == ("1", "B") and self.graph.steps == 1):
            if not value.lead:
                return (self.graph.outside(node, [value]), _STATE)
            why = "its input has no time axis"
            return (self._refuse_neuron(node, path, why, "give it a sequence [T, B, ...]", value), _STATE)
        kind, fields = neuron_fields(given, value.shape, self.dt)
        result = self.graph.add(kind, fields, value, node, value.shape, spikes=True, lead=("T", "B"))
        self.layers.append(result.sources[0])
        return (result, _STATE)

    def _refuse_neuron(self, node: Node, path: str, why: str, fix: str, value: Value) -> Value:
        kind = next(n.kind for n in self.captured.neurons if n.path == path)
        self.graph.reasons.append(Unsupported(path, kind, why, fix))
        outside = self.graph.outside(node, [value])
        self.graph.foreign[node.name].shape, self.graph.foreign[node.name].lead = value.shape, value.lead
        return replace(outside, lead=value.lead, shape=value.shape, spikes=True)

    def _cell_of(self, node: Node) -> str | None:
        """Returns the decomposed neuron that an operation is part of; it may run in a module of the neuron's own."""
        paths = set(module_paths(node))
        return next((p for p in self._cells if p in paths or any(q.startswith(f"{p}.") for q in paths if p)), None)

    def _cell(self, node: Node, path: str, args: Any) -> Any:
        """A decomposed neuron: all its operations stand for one node."""
        if path not in self._cell_values:
            value = next((a for a in torch.utils._pytree.tree_leaves(args) if isinstance(a, Value)), None)
            if value is None:  # something it computes from its parameters or state alone, such as a first spike
                return _STATE
            self._cell_values[path] = self._make_cell(node, path, value)
        result, out = self._cell_values[path], shape_of(node)
        leads = [lead for lead in (("T", "B"), ("TB",)) if out == (*self.graph.sizes(lead), *result.shape)]
        return replace(result, lead=leads[0] if leads else result.lead)

    def _make_cell(self, node: Node, path: str, value: Value) -> Value:
        if value.lead == ("TB",):  # a neuron that takes steps unfolds time first
            value = replace(value, lead=("T", "B"))
        if path in self._lines:
            return self._delay(node, self._lines[path], value)
        info = next(n for n in self.captured.neurons if n.path == path)
        module = self.captured.module.get_submodule(f"net.{path}" if path else "net")
        found = cell_fields(module, value.shape, self.dt)
        if found is None or value.lead != ("T", "B"):
            why = "NIR has no such neuron" if found is None else "its input has no time axis"
            reason = Unsupported(path, info.kind, why, "use an IF, LIF or CUBALIF neuron with a hard reset")
            self.graph.reasons.append(reason)
            outside = self.graph.outside(node, [value])
            return replace(outside, lead=value.lead, shape=value.shape)
        return self.graph.add(found[0], found[1], value, node, value.shape, spikes="v_threshold" in found[1])

    def _delay(self, node: Node, line: Delay, value: Value) -> Value:
        """A delay line; one whose loop keeps a step is part of the node that stands for the loop's value."""
        if value.lead != ("T", "B"):
            return self.graph.refuse(node, "Delay", "its input has no time axis", "give it a sequence", [value])
        if line.kept:
            return value
        seconds = np.broadcast_to(line.steps.numpy() * self.dt, value.shape).copy()
        return self.graph.add("Delay", {"delay": seconds}, value, node, value.shape, spikes=value.spikes)


def neuron_fields(given: NeuronParameters, shape: tuple[int, ...], dt: float) -> tuple[str, dict[str, Any]]:
    """Returns kind and fields of the NIR node of a neuron with a hard reset; every number may differ by channel.

    Euler's forward step of NIR's equations gives, with tau in steps: LIF, r = 1: v += (x - (v - v_leak)) / tau, which
    is decay_input; r = tau: v += x - (v - v_leak) / tau, which is not. IF, r = 1 / dt: v += x.
    """

    def full(number: Any) -> Any:
        return np.broadcast_to(np.asarray(number, np.float64), shape).copy()

    v_reset = full(given.rest)
    threshold = np.broadcast_to(fires_above(given.v_threshold), shape).astype(np.float32)
    if given.op == "if_":
        return "IF", {"r": full(1.0 / dt), "v_threshold": threshold, "v_reset": v_reset}
    fields = {
        "tau": full(given.tau * dt),
        "r": full(1.0 if given.decay_input else given.tau),
        "v_leak": v_reset.copy(),
        "v_threshold": threshold,
        "v_reset": v_reset,
    }
    return "LIF", fields


def cell_fields(module: Any, shape: tuple[int, ...], dt: float) -> tuple[str, dict[str, Any]] | None:
    """Returns kind and fields of the NIR node of a neuron that was captured step by step, or None."""
    from spikingjelly.activation_based import neuron

    if isinstance(module, NirCell):
        ratio = dt / module.dt  # time constants count in steps
        fields = {key: np.broadcast_to(value, shape).copy() for key, value in module.fields.items()}
        for key in ("tau", "tau_mem", "tau_syn"):
            if key in fields:
                fields[key] = fields[key] * ratio
        if not module.leaky:
            fields["r"] = fields["r"] / ratio
        return module.kind, fields
    if type(module) is not neuron.CUBALIFNode or module.v_reset is None:
        return None
    if not (0 <= module.c_decay < 1 and 0 <= module.v_decay < 1):
        return None
    tau_syn, tau_mem = 1.0 / (1.0 - module.c_decay), 1.0 / (1.0 - module.v_decay)
    full = lambda number: np.full(shape, number, np.float64)  # noqa: E731
    fields = {
        "tau_syn": full(tau_syn * dt),
        "tau_mem": full(tau_mem * dt),
        "r": full(tau_mem),
        "v_leak": full(0.0),
        "v_threshold": np.full(shape, fires_above(module.v_threshold), np.float32),
        "v_reset": full(module.v_reset),
        "w_in": full(tau_syn),
    }
    return "CubaLIF", fields


def _with_sizes(captured: Captured) -> Captured:
    """Retraces a capture whose axes could not be told from one another by their sizes."""
    changes: dict[str, Any] = {}
    if captured.form != "sequence":
        changes["form"] = "sequence"
    if captured.time_steps == "dynamic":
        changes["time_steps"] = captured.spec.time_steps or _STEPS
    if captured.batch == 1:
        changes["batch"] = 2
    return captured.retrace(**changes) if changes else captured


def _other_starts(captured: Captured) -> list[Unsupported]:
    """Returns every neuron that starts from another membrane than its reset potential: NIR cannot say so."""
    neurons, reasons = {n.path: n for n in captured.neurons}, []
    for state in captured.states:
        neuron = neurons.get(state.neuron)
        if neuron is None or state.memory != "v" or neuron.op == "decomposed":
            continue
        if not state.uniform or state.init != (neuron.parameters.get("v_reset") or 0.0):
            why = "it starts from a membrane of its own, and NIR has no initial membrane"
            reasons.append(Unsupported(neuron.path, neuron.kind, why, "use an ONNX form, or start from rest"))
    return reasons


def _sizes(captured: Captured, x: Node) -> tuple[int, int]:
    """Returns B and T of the traced example."""
    shape = shape_of(x)
    batch = shape[len(shape) - len(captured.spec.inputs[0].shape) - 1]
    return batch, captured.time_steps if isinstance(captured.time_steps, int) else 0


def _constants(captured: Captured) -> dict[str, Tensor]:
    """Returns parameters, buffers and constants by the name of their placeholder."""
    program, signature = captured.program, captured.program.graph_signature
    found: dict[str, Tensor] = {}
    for names in (signature.inputs_to_parameters, signature.inputs_to_buffers):
        for placeholder, name in names.items():
            held = program.state_dict.get(name)
            found[placeholder] = (held if held is not None else program.constants[name]).detach()
    for placeholder, name in signature.inputs_to_lifted_tensor_constants.items():
        found[placeholder] = program.constants[name].detach()
    return found
