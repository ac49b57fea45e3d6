"""Neurons that the program computes by plain operations, found again as populations of neurons."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.hw_sim.graph.network import NeuronModel, Uncounted
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.values import Value, sample_shape
from neurokit.neurons.cells import NirCell
from neurokit.program.nodes import module_paths

if TYPE_CHECKING:
    from neurokit.capture import Captured

_CURRENT = "priced as LIF neurons: the update of their synaptic current is in no count"
_LIF = ("IFNode", "LIFNode", "ParametricLIFNode", "Leaky")  # nothing more to them, by any library's name
_INSIDE = "connections inside the neuron are in no count"


def _refuse_layers_inside(path: str, module: nn.Module, given: tuple[int, ...], made: tuple[int, ...]) -> None:
    """Refuses a module with states by hand that computes whole layers: no element of its output is one neuron.

    Raises:
        UnsupportedError: As said.
    """
    if getattr(module, "library", "") == "its own code" and math.prod(given) != math.prod(made):
        why = "it keeps states of whole layers between its calls, so that nothing inside of it can be counted"
        fix = "give every layer of neurons a module of its own"
        kind = type(getattr(module, "cell", module)).__name__
        raise UnsupportedError("the network cannot be counted", [Unsupported(path, kind, why, fix)])


class Cells:
    """The neurons of one program that are no node of their own: other libraries', subclasses, those that record.

    All operations of a cell stand for one population: it receives what enters the first of them, and the first spikes
    that leave it are what it sends. Anything else that leaves it is its state, read out.

    Args:
        captured: The model.
        module: Its program.
        builder: The network under construction.
    """

    def __init__(self, captured: Captured, module: GraphModule, builder: Builder) -> None:
        self.builder = builder
        self.modules: dict[str, nn.Module] = {}
        self._entered: dict[str, tuple[Value, Tensor]] = {}
        self._names: dict[str, str] = {}
        for info in captured.neurons:
            if info.op == "decomposed" and info.calls:
                self.modules[info.path] = captured.module.get_submodule(f"net.{info.path}" if info.path else "net")
        self.silent = {path for path, part in self.modules.items() if isinstance(part, NirCell) and not part.fires}
        self._results = set(_results(module, len(captured.output_names)))
        self.paths = {node: path for node in module.graph.nodes if (path := self._path(node)) is not None}
        self._last_exit = {path: node for node, path in self.paths.items() if self.leaves(node)}

    def _path(self, node: Node) -> str | None:
        """Returns the innermost cell that an operation is part of."""
        return next((path for path in reversed(module_paths(node)) if path in self.modules), None)

    def leaves(self, node: Node) -> bool:
        """Returns whether what an operation of a cell gives is used outside of it."""
        path = self.paths[node]
        return node in self._results or any(user.op != "output" and self.paths.get(user) != path for user in node.users)

    def enter(self, path: str, value: Value, real: Tensor) -> None:
        """Keeps the first value that enters a cell: its input current."""
        if path not in self._entered:
            self._entered[path] = self.builder.limited(value, real, path), real

    def leave(self, path: str, node: Node, result: Any) -> Value | None:
        """Returns what leaves a cell: its spikes, or its state read out; None if that is no tensor."""
        if not isinstance(result, Tensor):
            return None
        value, current = self._entered.get(path, (Value(unknown=True), result))
        steps = self.builder.steps
        if path not in self._entered or any(not t.dim() or t.shape[0] != steps for t in (result, current)):
            return Value(unknown=True)  # and the neuron stays among those that are in no count
        if path not in self._names:
            _refuse_layers_inside(path, self.modules[path], sample_shape(current, steps), sample_shape(result, steps))
        binary = bool(((result == 0) | (result == 1)).all())
        waits = not binary and node is not self._last_exit[path]  # its spikes are still to come
        if path in self._names or waits:
            return self.builder.read_out(f"{path}.state", result)
        whole = bool((result == result.round()).all())  # several spikes in a step are a whole number of them
        membrane = path in self.silent or not whole  # nobody reads its spikes, if it has any
        if value.unknown or value.once:
            value = self.builder.fresh(Value(unknown=True), current, f"{path}.current")
        module = self.modules[path]
        model, remark = _model(module)
        shape = sample_shape(result, steps)
        name = self.builder.neurons(path, shape, model, value, current, binary or membrane)
        self._names[path] = name
        self.builder.plain_neurons.pop(path, None)
        if remark:
            self.builder.uncounted.append(Uncounted(path, remark))
        self._close(path, name, module)
        if membrane:
            self.builder.rasters[name] = SpikeRaster.empty(steps, self.builder.populations[name].size)
            return self.builder.read_out(f"{path}.state", result)
        spikes = Value((self.builder.term(name, tuple(result.shape)),))
        self.builder.record(spikes.terms[0], result)
        return spikes

    def _close(self, path: str, name: str, module: nn.Module) -> None:
        """Adds a connection of the neurons among themselves that is part of the module (snnTorch's RLeaky)."""
        size = self.builder.populations[name].size
        for inner, part in module.named_modules():
            weights = [p for p in part.parameters(recurse=False) if p.dim() > 1]
            if not weights:
                continue
            if isinstance(part, nn.Linear) and part.in_features == part.out_features == size:
                weight = part.weight.detach().numpy()
                back = Projection.linear(f"{path}.{inner}", name, name, (size,), size, weight=weight, delay=1)
                self.builder.projections[back.name] = back
            else:
                self.builder.uncounted.append(Uncounted(f"{path}.{inner}".strip("."), _INSIDE))


def _results(module: GraphModule, count: int) -> list[Node]:
    """Returns the nodes whose results are the program's outputs (and not states)."""
    output = next(node for node in module.graph.nodes if node.op == "output")
    given: Any = output.args[0]
    return [node for node in list(given)[:count] if isinstance(node, Node)]


def _model(module: Any) -> tuple[NeuronModel, str]:
    """Returns what a cell is priced as, and what it has beside that is in no count."""
    from spikingjelly.activation_based import neuron

    if isinstance(module, NirCell):
        constant = module.fields.get("tau", module.fields.get("tau_mem"))
        steps = math.inf if constant is None else float(constant.reshape(-1)[0]) / module.dt
        after, kind = _number(module, "after"), "lif" if module.leaky else "if"
        threshold = _number(module, "threshold")
        current = _CURRENT if module.current else ""
        return NeuronModel(kind, threshold, steps, after, described=False), current  # type: ignore[arg-type]
    if type(module) is neuron.CUBALIFNode:
        decay = float(module.v_decay)
        return NeuronModel("lif", module.v_threshold, _tau(decay), module.v_reset, described=False), _CURRENT
    tau = _number(module, "tau", default=math.nan)
    if math.isnan(tau):  # snnTorch names the factor that remains
        beta = _number(module, "beta", default=math.nan)
        tau = math.inf if math.isnan(beta) and isinstance(module, neuron.IFNode) else _tau(beta)
    threshold = _number(module, "v_threshold", "threshold", default=1.0)
    name = type(module).__name__
    remark = "" if name in _LIF else f"priced as LIF neurons: what {name} computes beyond them is in no count"
    reset = getattr(module, "v_reset", 0.0)
    reset = reset if reset is None or isinstance(reset, float | int) else 0.0
    kind = "if" if math.isinf(tau) else "lif"
    return NeuronModel(kind, threshold, tau, reset, described=False), remark  # type: ignore[arg-type]


def _tau(decay: float) -> float:
    """Returns the time constant, in steps, of a membrane of which `decay` remains in each (2 where that is unknown)."""
    if math.isnan(decay):
        return 2.0
    return 1.0 / (1.0 - decay) if 0 <= decay < 1 else math.inf


def _number(module: Any, *names: str, default: float = 0.0) -> float:
    """Returns the first of the named parameters that a neuron has; of several neurons' the first."""
    for name in names:
        value = getattr(module, name, None)
        if isinstance(value, Tensor) and value.numel():
            return float(torch.as_tensor(value).reshape(-1)[0])
        if isinstance(value, float | int) and not isinstance(value, bool):
            return float(value)
    return default
