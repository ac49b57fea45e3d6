"""A NIR graph as a module over `[T, B, *shape]`: the model that a `.nir` file is, and what runs one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from neurokit.errors import InputError, ModelLoadError
from neurokit.interchange.input_grid import InputGrid
from neurokit.interchange.nir_cycles import MOST_TOGETHER, NoOrderError, Schedule, schedule
from neurokit.interchange.nir_file import DEFAULT_DT, NEURONS, NirGraph, NirNode, read_graph
from neurokit.interchange.nir_layers import Shape, ShapeError, build, delay_steps
from neurokit.neurons.loops import GraphLoop
from neurokit.neurons.sizes import REWRITE, refuse_shape


class NirNet(nn.Module):
    """Runs a NIR graph; every node is a submodule of the node's name, neurons in multi-step mode.

    Args:
        graph: The graph, without graphs inside.
        dt: Seconds a time step.
        where: What to call the graph in messages.
        grid: The grid that the input is brought onto first, where the file states one.

    Attributes:
        order: Node names in the order of execution.
        module_of: Name of the submodule of each node that has one.
        shapes: Shape of every node's output, without time and batch.
        inputs: Names of the input nodes.
        outputs: Names of the output nodes.
        firing: Names of the neuron nodes that fire.
        loops: The module of each component that runs step by step, by its first node.

    Raises:
        ModelLoadError: If a cycle has neither a neuron nor a delay, ends are open, or shapes do not fit.
    """

    def __init__(
        self, graph: NirGraph, dt: float = DEFAULT_DT, where: str = "the graph", grid: InputGrid | None = None
    ) -> None:
        super().__init__()
        self.dt, self.where, self.grid = dt, where, grid
        self.dt_source = "given"
        self.notes = dict(graph.metadata)
        self.fields = {name: node.fields for name, node in graph.nodes.items() if "v_threshold" in node.fields}
        self.feeds = _feeds(graph, where)
        self._delays = {name for name, node in graph.nodes.items() if node.kind == "Delay" and self._late(name, node)}
        plan = self._plan(graph)
        self._units = plan.units
        self.order = [name for unit in plan.units for name in unit]
        self.inputs = [name for name in self.order if graph.nodes[name].kind == "Input"]
        self.outputs = [name for name in graph.nodes if graph.nodes[name].kind == "Output"]
        if not self.inputs or not self.outputs:
            missing = "Input" if not self.inputs else "Output"
            raise ModelLoadError(f"{where} has no {missing} node", expected="at least one", fix=REWRITE)
        self.firing = {name for name in self.order if "v_threshold" in graph.nodes[name].fields}
        self.shapes: dict[str, Shape] = {}
        self.module_of: dict[str, str] = {}
        self.loops: dict[str, GraphLoop] = {}
        late: dict[str, set[str]] = {name: set() for name in self.order}
        for source, name in plan.late:
            late[name].add(source)
        for unit in plan.units:
            if any(late[name] for name in unit):
                self._adopt_loop(unit, graph, {name: frozenset(late[name]) for name in unit})
            else:
                self._adopt(unit[0], graph.nodes[unit[0]])
        self.eval()

    def forward(self, *xs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Maps one `[T, B, *shape]` an input node to the same an output node; state stays until it is reset."""
        outputs = self.run(xs, self.call)
        return outputs[0] if len(outputs) == 1 else outputs

    def call(self, name: str, x: Tensor) -> Tensor:
        """Runs one node on `[T, B, *shape]`."""
        return getattr(self, self.module_of[name])(x) if name in self.module_of else x

    def run(self, xs: tuple[Tensor, ...], call: Callable[[str, Tensor], Tensor]) -> tuple[Tensor, ...]:
        """Runs all nodes in order, each through `call(name, x)`; returns what the output nodes receive.

        Nodes of a loop are called once a step, on `[1, B, *shape]`.
        """
        if self.grid is not None:
            xs = tuple(map(self.grid, xs))
        values: dict[str, Tensor] = dict(zip(self.inputs, xs, strict=True))
        for unit in self._units:
            if unit[0] in self.loops:
                loop = self.loops[unit[0]]
                values.update(zip(loop.exits, loop(*(values[s] for s in loop.sources), call=call), strict=True))
            elif unit[0] not in values:
                first, *others = (values[source] for source in self.feeds[unit[0]])
                for other in others:
                    first = first + other
                values[unit[0]] = call(unit[0], first)
        return tuple(values[name] for name in self.outputs)

    def _late(self, name: str, node: NirNode) -> bool:
        """Returns whether a Delay delays every element by at least one step."""
        try:
            return bool((delay_steps(node, self.dt) > 0).all())
        except ShapeError as error:
            raise _misfit(self.where, name, f"({node.kind}) {error}", error.fix, error.expected) from None

    def _plan(self, graph: NirGraph) -> Schedule:
        kinds = {name: node.kind for name, node in graph.nodes.items()}
        neurons = {name for name, kind in kinds.items() if kind in NEURONS}
        starts = [name for name, kind in kinds.items() if kind == "Input"]
        try:
            plan = schedule(self.feeds, neurons, self._delays, starts)
        except NoOrderError as error:
            raise ModelLoadError(
                f"{self.where} has a cycle without a neuron in it, which has no solution in time: {error}",
                expected="a neuron, or a Delay of at least one time step, in every cycle",
                fix=REWRITE,
            ) from None
        most = max(map(len, plan.units), default=0)
        if most > MOST_TOGETHER:
            raise ModelLoadError(
                f"{self.where} has a recurrent part of {most} nodes",
                expected=f"at most {MOST_TOGETHER} nodes in one",
                fix="join populations that are wired alike into one node",
            )
        return plan

    def _adopt_loop(self, unit: tuple[str, ...], graph: NirGraph, late: dict[str, frozenset[str]]) -> None:
        """Adopts the nodes of a component in an order in which shapes are known, then the loop that runs them."""
        delays = frozenset().union(*late.values()) & self._delays
        todo = list(unit)
        while todo:
            ready = next((name for name in todo if any(s in self.shapes for s in self.feeds[name])), None)
            if ready is None:
                raise _misfit(self.where, todo[0], "is fed by nothing but the cycle that it is in")
            todo.remove(ready)
            self._adopt(ready, graph.nodes[ready], kept=int(ready in delays))
        for name in unit:
            self._one_shape(name)
        outside = {s for name, sources in self.feeds.items() if name not in late for s in sources}
        exits = [name for name in unit if name in outside]
        modules = {name: getattr(self, self.module_of[name]) for name in unit if name in self.module_of}
        loop = GraphLoop(unit, self.feeds, late, delays, self.shapes, exits, modules)
        self.add_module(self._safe("recurrence"), loop)
        self.loops[unit[0]] = loop

    def _one_shape(self, name: str) -> Shape:
        """Returns the shape that a node is given, of the sources whose shape is known."""
        shapes = {self.shapes[source] for source in self.feeds[name] if source in self.shapes}
        if len(shapes) > 1:
            raise _misfit(self.where, name, f"receives {' and '.join(str(list(s)) for s in sorted(shapes))} at once")
        return shapes.pop() if shapes else ()

    def _adopt(self, name: str, node: NirNode, kept: int = 0) -> None:
        given = self._one_shape(name)
        try:
            module, out = build(node, given, self.dt, kept)
            refuse_shape(out)
        except ShapeError as error:
            batched = any(self.shapes[source][:1] == (1,) for source in self.inputs if source in self.shapes)
            fix = "shapes in NIR have no batch axis: write the file from a sample without one" if batched else ""
            raise _misfit(self.where, name, f"({node.kind}) {error}", error.fix or fix, error.expected) from None
        except (ValueError, TypeError, RuntimeError, IndexError, AssertionError, OverflowError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise _misfit(self.where, name, f"({node.kind}) is not usable: {first[:200]}") from error
        self.shapes[name] = out
        if module is not None:
            self.module_of[name] = self._safe(name)
            self.add_module(self.module_of[name], module)

    def _safe(self, name: str) -> str:
        """Returns a name for a submodule."""
        safe = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "node"
        while hasattr(self, safe):
            safe += "_"
        return safe


def _feeds(graph: NirGraph, where: str) -> dict[str, list[str]]:
    """Returns what leads to each node, in the order of names: a sum is then the same in whatever order a file is."""
    feeds: dict[str, set[str]] = {name: set() for name in graph.nodes}
    for source, target in graph.edges:
        for end in (source, target):
            if end not in graph.nodes:
                raise ModelLoadError(f"{where} has an edge to node {end!r}, which it does not have", fix=REWRITE)
        if source in feeds[target]:
            raise ModelLoadError(f"{where} has the edge {source!r} -> {target!r} twice", fix=REWRITE)
        feeds[target].add(source)
    for name, node in graph.nodes.items():
        if (node.kind == "Input") == bool(feeds[name]):
            what = "is fed" if feeds[name] else "has no input"
            raise ModelLoadError(
                f"{where}: node {name!r} ({node.kind}) {what}", expected="a graph without open ends", fix=REWRITE
            )
    return {name: sorted(sources) for name, sources in feeds.items()}


def _misfit(
    where: str, name: str, what: str, fix: str = "", expected: str = "a node that fits its input"
) -> ModelLoadError:
    return ModelLoadError(f"{where}: node {name!r} {what}", expected=expected, fix=fix)


def read_net(path: Path, dt: float | None = None) -> NirNet:
    """Reads a file and returns its module.

    Args:
        path: The .nir file.
        dt: Seconds a time step; default is the file's own note (metadata "dt"), else that in which its IF neurons
            integrate their input once (1 / r, where all have one r and no neuron has a time constant), else 1e-4.

    Raises:
        ModelLoadError: If the file is no usable NIR graph.
        InputError: If dt is not positive.
    """
    graph = read_graph(path)
    step, source = (dt, "given") if dt is not None else _own_step(graph)
    if not 0 < step < math.inf:
        raise InputError(f"dt is {step}", expected="seconds a time step, above 0")
    try:
        grid = InputGrid.from_metadata(graph.metadata)
    except (TypeError, ValueError) as error:
        raise ModelLoadError(f"{path.name} states a grid for its input that is none: {error}", fix=REWRITE) from error
    if grid is not None and sum(node.kind == "Input" for node in graph.nodes.values()) != 1:
        raise ModelLoadError(f"{path.name} states a grid for one input", expected="a graph with one input", fix=REWRITE)
    net = NirNet(graph, step, path.name, grid)
    net.dt_source = source
    known = source in ("given", "noted in the file")
    net.notes_for_user = () if known else (f"a time step of {step:g} s: {source}",)
    return net


def _own_step(graph: NirGraph) -> tuple[float, str]:
    """Returns a file's time step in seconds, and where it is from.

    sinabs and snnTorch write IF neurons with r = 1, which add their input once a step whatever a step is.
    """
    if "dt" in graph.metadata:
        return float(graph.metadata["dt"]), "noted in the file"
    neurons = [node for node in graph.nodes.values() if node.kind in NEURONS]
    timed = any(node.kind == "Delay" for node in graph.nodes.values())
    if neurons and not timed and all(node.kind == "IF" for node in neurons):
        gains = np.unique(np.concatenate([np.ravel(np.asarray(node.fields["r"], np.float64)) for node in neurons]))
        if len(gains) == 1 and gains[0] > 0:
            return 1.0 / float(gains[0]), "1 / r of its IF neurons, which add their input once a step"
    return DEFAULT_DT, "assumed: the file notes none"
