"""Neurons that the program computes by plain operations, found again as populations of neurons."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.fx import Node

from neurokit.hw_sim.graph.network import NeuronModel, Uncounted
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.values import Value, sample_shape
from neurokit.neurons.cells import NirCell
from neurokit.program.ops import Kind, is_kind, is_named

if TYPE_CHECKING:
    from neurokit.capture import Captured

_CURRENT = "priced as LIF neurons: the update of their synaptic current is in no count"


class Cells:
    """The firing cells of one program: NIR's neurons, and SpikingJelly's CUBALIFNode.

    All operations of a cell stand for one population: it receives what enters the first of them, and what leaves the
    last is its spikes.

    Args:
        captured: The model.
        builder: The network under construction.
    """

    def __init__(self, captured: Captured, builder: Builder) -> None:
        self.builder = builder
        self.models: dict[str, NeuronModel] = {}
        self._entered: dict[str, tuple[Value, Tensor]] = {}
        self._left: set[str] = set()
        for info in captured.neurons:
            module = captured.module.get_submodule(f"net.{info.path}" if info.path else "net")
            found = _model(module) if info.op == "decomposed" and info.calls == 1 else None
            if found is None:
                continue
            self.models[info.path], current = found
            builder.plain_neurons.pop(info.path, None)
            if current:
                builder.uncounted.append(Uncounted(info.path, _CURRENT))

    def path_of(self, node: Node) -> str | None:
        """Returns the cell that an operation is part of, until the cell's spikes have left it."""
        stack = node.meta.get("nn_module_stack") or {}
        paths = {
            str(entry[0]).removeprefix("L['self'].").removeprefix("net").removeprefix(".") for entry in stack.values()
        }
        return next((path for path in self.models if path in paths and path not in self._left), None)

    def take(self, node: Node, path: str, values: dict[Node, Any], real: dict[Node, Any]) -> Value | None:
        """Returns what a cell's operation is worth: its spikes where it is the last, else None."""
        result = real[node]
        if path not in self._entered:
            source = next((n for n in node.all_input_nodes if isinstance(values.get(n), Value)), None)
            if source is not None and real[source].dim() and real[source].shape[0] == self.builder.steps:
                self._entered[path] = self.builder.limited(values[source], real[source], path), real[source]
            return None
        value, current = self._entered[path]
        last = is_named(node, {"stack", "cat"}) or (node.args[1:] == (0,) and is_kind(node.args[0], Kind.STEPWISE))
        if not last or result.shape != current.shape:
            return None
        self._left.add(path)
        if value.unknown or value.once:
            value = self.builder.fresh(Value(unknown=True), current, f"{path}.current")
        name = self.builder.neurons(path, sample_shape(result), self.models[path], value, current)
        spikes = Value((self.builder.term(name, tuple(result.shape)),))
        self.builder.record(spikes.terms[0], result)
        return spikes


def _model(module: Any) -> tuple[NeuronModel, bool] | None:
    """Returns what a cell is priced as, and whether it has a synaptic current beside; None if it is no such cell."""
    from spikingjelly.activation_based import neuron

    if isinstance(module, NirCell) and module.fires:
        tau = module.fields.get("tau", module.fields.get("tau_mem"))
        steps = math.inf if tau is None else float(tau.reshape(-1)[0]) / module.dt
        threshold = float(module.threshold.reshape(-1)[0])
        after = float(module.after.reshape(-1)[0])
        kind = "lif" if module.leaky else "if"
        return NeuronModel(kind, threshold, steps, after, described=False), module.current  # type: ignore[arg-type]
    if type(module) is neuron.CUBALIFNode:
        steps = 1.0 / (1.0 - module.v_decay) if module.v_decay < 1 else math.inf
        return NeuronModel("lif", module.v_threshold, steps, module.v_reset, described=False), True
    return None
