"""Cuts a graph in the making into whole NIR graphs: all of it, or the largest parts that NIR can express."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurokit.export.nir.graph import GraphBuilder, Made, Value

_WORTHWHILE = ("IF", "LIF", "CubaLIF", "CubaLI", "LI", "I", "Conv1d", "Conv2d", "Affine", "Linear")


@dataclass(frozen=True)
class Part:
    """One whole graph.

    Attributes:
        nodes: Its nodes by name, its inputs and outputs among them.
        edges: Its edges.
        inputs: What each input node receives: the program's tensor.
        outputs: What each output node puts out: the program's tensor.
    """

    nodes: dict[str, Made]
    edges: list[tuple[str, str]]
    inputs: dict[str, Made]
    outputs: dict[str, Made]


def whole(graph: GraphBuilder, outputs: list[Value]) -> Part:
    """Returns the graph with an output node for every output of the program."""
    nodes, edges = dict(graph.nodes), list(graph.edges)
    ends = {}
    for index, value in enumerate(outputs):
        name = "output" if index == 0 else f"output_{index}"
        fields = {"output_type": np.array(value.shape)}
        nodes[name] = ends[name] = Made("Output", fields, "", "", value.lead, value.shape)
        edges += [(source, name) for source in value.sources]
    starts = {name: made for name, made in nodes.items() if made.kind == "Input"}
    return Part(*_reachable(nodes, edges, [*ends, *starts]), starts, ends)


def parts(graph: GraphBuilder) -> list[Part]:
    """Returns the connected parts between what NIR cannot express, the largest first.

    Nodes are grouped by how many foreign operations lie before them, so that no path leaves a part and comes back.
    """
    group = {name: name for name in graph.nodes}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    inner = [
        (a, b)
        for a, b in graph.edges
        if a in graph.nodes and graph.nodes[a].level == graph.nodes[b].level and graph.nodes[a].kind != "Input"
    ]
    for a, b in inner:
        group[root(a)] = root(b)
    members: dict[str, list[str]] = defaultdict(list)
    for name, made in graph.nodes.items():
        if made.kind != "Input":
            members[root(name)].append(name)
    found = [
        _part(graph, names, set(inner))
        for names in members.values()
        if any(graph.nodes[name].kind in _WORTHWHILE for name in names)
    ]
    return sorted(found, key=lambda part: -len(part.nodes))


def _part(graph: GraphBuilder, names: list[str], inner: set[tuple[str, str]]) -> Part:
    own = set(names)
    nodes: dict[str, Made] = {}
    inputs: dict[str, Made] = {}
    outputs: dict[str, Made] = {}
    edges = []
    read = set(graph.escapes)
    for a, b in graph.edges:
        if b in own and not (a in own and (a, b) in inner):
            made = graph.nodes.get(a) or graph.foreign[a]
            end = f"input_{a}"
            inputs[end] = made
            nodes[end] = Made("Input", {"input_type": np.array(made.shape)}, "", "", made.lead, made.shape)
            edges.append((end, b))
        elif b in own:
            edges.append((a, b))
        elif a in own:
            read.add(a)
    nodes.update({name: graph.nodes[name] for name in names})
    for name in names:
        if name in read:
            made = graph.nodes[name]
            end = f"output_{name}"
            outputs[end] = made
            nodes[end] = Made("Output", {"output_type": np.array(made.shape)}, "", "", made.lead, made.shape)
            edges.append((name, end))
    return Part(nodes, edges, inputs, outputs)


def _reachable(
    nodes: dict[str, Made], edges: list[tuple[str, str]], ends: list[str]
) -> tuple[dict[str, Made], list[tuple[str, str]]]:
    """Drops nodes that no output depends on."""
    feeds: dict[str, list[str]] = defaultdict(list)
    for a, b in edges:
        feeds[b].append(a)
    kept: set[str] = set()
    todo = list(ends)
    while todo:
        name = todo.pop()
        if name not in kept:
            kept.add(name)
            todo += feeds[name]
    return {n: made for n, made in nodes.items() if n in kept}, [(a, b) for a, b in edges if {a, b} <= kept]


def to_nir(part: Part, metadata: dict[str, Any]) -> Any:
    """Returns the part as a graph of the nir library.

    NIR 1.0.8 takes a grouped convolution's input for as wide as its weight, which is one group's; its type check would
    refuse such a graph, so it is left out there.
    """
    import nir

    grouped = any(made.fields.get("groups", 1) != 1 for made in part.nodes.values())
    nodes = {name: getattr(nir, made.kind)(**made.fields) for name, made in part.nodes.items()}
    return nir.NIRGraph(nodes=nodes, edges=list(part.edges), metadata=metadata, type_check=not grouped)
