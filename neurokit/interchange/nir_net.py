"""A NIR graph as a module over `[T, B, *shape]`: the model that a `.nir` file is, and what runs one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from neurokit.errors import InputError, ModelLoadError
from neurokit.interchange.input_grid import InputGrid
from neurokit.interchange.nir_file import DEFAULT_DT, NEURONS, NirGraph, NirNode, read_graph
from neurokit.interchange.nir_layers import Shape, ShapeError, build
from neurokit.interchange.sizes import REWRITE, refuse_shape


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

    Raises:
        ModelLoadError: If the graph is cyclic, has open ends, or shapes do not fit.
    """

    def __init__(
        self, graph: NirGraph, dt: float = DEFAULT_DT, where: str = "the graph", grid: InputGrid | None = None
    ) -> None:
        super().__init__()
        self.dt, self.where, self.grid = dt, where, grid
        self.feeds = _feeds(graph, where)
        self.order = _sorted(graph, self.feeds, where)
        self.inputs = [name for name in self.order if graph.nodes[name].kind == "Input"]
        self.outputs = [name for name in graph.nodes if graph.nodes[name].kind == "Output"]
        if not self.inputs or not self.outputs:
            missing = "Input" if not self.inputs else "Output"
            raise ModelLoadError(f"{where} has no {missing} node", expected="at least one", fix=REWRITE)
        self.firing = {name for name in self.order if "v_threshold" in graph.nodes[name].fields}
        self.shapes: dict[str, Shape] = {}
        self.module_of: dict[str, str] = {}
        for name in self.order:
            self._adopt(name, graph.nodes[name])
        self.eval()

    def forward(self, *xs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Maps one `[T, B, *shape]` an input node to the same an output node; state stays until it is reset."""
        outputs = self.run(xs, self.call)
        return outputs[0] if len(outputs) == 1 else outputs

    def call(self, name: str, x: Tensor) -> Tensor:
        """Runs one node on `[T, B, *shape]`."""
        return getattr(self, self.module_of[name])(x) if name in self.module_of else x

    def run(self, xs: tuple[Tensor, ...], call: Callable[[str, Tensor], Tensor]) -> tuple[Tensor, ...]:
        """Runs all nodes in order, each through `call(name, x)`; returns what the output nodes receive."""
        if self.grid is not None:
            xs = tuple(map(self.grid, xs))
        values: dict[str, Tensor] = dict(zip(self.inputs, xs, strict=True))
        for name in self.order:
            if name in values:
                continue
            first, *others = (values[source] for source in self.feeds[name])
            for other in others:
                first = first + other
            values[name] = call(name, first)
        return tuple(values[name] for name in self.outputs)

    def _adopt(self, name: str, node: NirNode) -> None:
        shapes = {self.shapes[source] for source in self.feeds[name]}
        if len(shapes) > 1:
            raise _misfit(self.where, name, f"receives {' and '.join(str(list(s)) for s in sorted(shapes))} at once")
        given = shapes.pop() if shapes else ()
        try:
            module, out = build(node, given, self.dt)
            refuse_shape(out)
        except ShapeError as error:
            batched = any(self.shapes[source][:1] == (1,) for source in self.inputs if source in self.shapes)
            fix = "shapes in NIR have no batch axis: write the file from a sample without one" if batched else ""
            raise _misfit(self.where, name, f"({node.kind}) {error}", fix) from None
        except (ValueError, TypeError, RuntimeError, IndexError, AssertionError, OverflowError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise _misfit(self.where, name, f"({node.kind}) is not usable: {first[:200]}") from error
        self.shapes[name] = out
        if module is not None:
            safe = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "node"
            while hasattr(self, safe):
                safe += "_"
            self.add_module(safe, module)
            self.module_of[name] = safe


def _feeds(graph: NirGraph, where: str) -> dict[str, list[str]]:
    feeds: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        for end in (source, target):
            if end not in graph.nodes:
                raise ModelLoadError(f"{where} has an edge to node {end!r}, which it does not have", fix=REWRITE)
        if source in feeds[target]:
            raise ModelLoadError(f"{where} has the edge {source!r} -> {target!r} twice", fix=REWRITE)
        feeds[target].append(source)
    for name, node in graph.nodes.items():
        if (node.kind == "Input") == bool(feeds[name]):
            what = "is fed" if feeds[name] else "has no input"
            raise ModelLoadError(
                f"{where}: node {name!r} ({node.kind}) {what}", expected="a graph without open ends", fix=REWRITE
            )
    return feeds


def _sorted(graph: NirGraph, feeds: dict[str, list[str]], where: str) -> list[str]:
    """Returns the nodes so that each comes after what feeds it, else in the order of the file."""
    from graphlib import CycleError, TopologicalSorter

    try:
        return list(TopologicalSorter(feeds).static_order())
    except CycleError as error:
        cycle = list(dict.fromkeys(error.args[1]))
        path = " -> ".join(repr(name) for name in [*cycle, cycle[0]])
        if any(graph.nodes[name].kind in NEURONS for name in cycle):
            what, fix = (
                "has a recurrent connection",
                "leave it out: neurokit runs layer by layer over time",
            )
        else:
            what, fix = "has a cycle without a neuron in it, which has no solution in time", "write it again"
        raise ModelLoadError(f"{where} {what}: {path}", expected="a graph without cycles", fix=fix) from None


def _misfit(where: str, name: str, what: str, fix: str = "") -> ModelLoadError:
    return ModelLoadError(f"{where}: node {name!r} {what}", expected="a node that fits its input", fix=fix)


def read_net(path: Path, dt: float | None = None) -> NirNet:
    """Reads a file and returns its module.

    Args:
        path: The .nir file.
        dt: Seconds a time step; default is the file's own note (metadata "dt"), else 1e-4.

    Raises:
        ModelLoadError: If the file is no usable NIR graph.
        InputError: If dt is not positive.
    """
    graph = read_graph(path)
    noted = graph.metadata.get("dt", DEFAULT_DT)
    step = float(noted) if dt is None else dt
    if not 0 < step < math.inf:
        raise InputError(f"dt is {step}", expected="seconds a time step, above 0")
    try:
        grid = InputGrid.from_metadata(graph.metadata)
    except (TypeError, ValueError) as error:
        raise ModelLoadError(f"{path.name} states a grid for its input that is none: {error}", fix=REWRITE) from error
    if grid is not None and sum(node.kind == "Input" for node in graph.nodes.values()) != 1:
        raise ModelLoadError(f"{path.name} states a grid for one input", expected="a graph with one input", fix=REWRITE)
    return NirNet(graph, step, path.name, grid)
