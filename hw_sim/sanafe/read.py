"""Reads and writes the YAML files of the SANA-FE simulator: architectures as chips, networks with their placement."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.graph.block import Block
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.mapping.mapping import Piece
from neurokit.hw_sim.sanafe.files import load, merged
from neurokit.hw_sim.sanafe.write import channels_last


@dataclass(frozen=True)
class SanafeNetwork:
    """What a SANA-FE network file holds.

    Attributes:
        network: Its groups and edges.
        pieces: Where its neurons lie (core numbers count tile by tile).
        inputs: Spikes of its input groups, over as many steps as the longest list.
    """

    network: Network
    pieces: tuple[Piece, ...]
    inputs: dict[str, SpikeRaster]


def read_network(path: str | Path, cores_per_tile: int) -> SanafeNetwork:
    """Reads a SANA-FE network: groups, dense, sparse, convolution and single edges, placement, input spikes.

    Args:
        path: The file.
        cores_per_tile: Cores of a tile of the architecture it is for.

    Raises:
        InputError: If it is no such file or holds something that is not supported; the message names the part.
    """
    root = load(path, "network")
    mappings = load(path, "mappings")
    populations = [_population(group, mappings, str(path)) for group in root.get("groups", [])]
    by_name = {population.name: population for population, _ in populations}
    projections = list(_projections(root.get("edges", []), by_name, str(path)))
    steps = max((raster.shape[0] for _, raster in populations if raster is not None), default=1)
    inputs = {}
    for population, raster in populations:
        if population.role == "input":
            spikes = np.zeros((steps, population.size), np.uint8)
            if raster is not None:
                spikes[: len(raster)] = raster
            inputs[population.name] = SpikeRaster.pack(spikes)
    ordered = sorted(by_name.values(), key=lambda p: p.role != "input")  # a target never comes before its source
    network = Network(str(root.get("name", Path(path).stem)), tuple(ordered), tuple(projections))
    return SanafeNetwork(network, tuple(_pieces(mappings, by_name, cores_per_tile, str(path))), inputs)


def _population(
    group: dict[str, Any], mappings: Sequence[Any], path: str
) -> tuple[Population, NDArray[np.uint8] | None]:
    name, spikes, size = str(group["name"]), dict[int, Any](), 0
    options = merged(group.get("attributes"))
    for entry in group.get("neurons", []):
        for key, given in entry.items() if isinstance(entry, dict) else [(entry, [])]:
            first, last = _range(str(key), path)
            size = max(size, last + 1)
            own = merged(given)
            options = {**options, **own, **merged(own.get("soma"))}
            if "spikes" in own:
                spikes |= dict.fromkeys(range(first, last + 1), own["spikes"])
    on_inputs = any("input" in str(info.get("soma", "")) for key, info in _entries(mappings) if _names(key, name))
    if spikes or on_inputs:
        steps = max((len(row) for row in spikes.values()), default=0)
        raster = np.zeros((steps, size), np.uint8)
        for neuron, row in spikes.items():
            raster[: len(row), neuron] = row
        return Population(name, (size,), "input"), raster if steps else None
    if not size:
        raise InputError(f"{path}: group {name!r} has no neurons")
    reset = None if options.get("reset_mode") == "soft" else float(options.get("reset", 0.0))
    model = NeuronModel("if", float(options.get("threshold", 1.0)), reset=reset)
    return Population(name, (size,), model=model), None


def _projections(edges: Sequence[Any], groups: Mapping[str, Population], path: str) -> Iterator[Projection]:
    loose: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
    for number, entry in enumerate(edges):
        ((key, given),) = entry.items()
        ends = [part.strip() for part in str(key).split("->")]
        options = {**merged(given), **merged(merged(given).get("synapse"))}
        if len(ends) != 2:
            raise InputError(f"{path}: edge {key!r}", expected="source -> target")
        (source, i), (target, j) = (_end(end, groups, path) for end in ends)
        if i is not None and j is not None:
            loose.setdefault((source, target), []).append((i, j, float(options.get("weight", 1.0))))
            continue
        yield _hyperedge(f"{source} -> {target} #{number}", groups[source], groups[target], options, path)
    for (source, target), found in loose.items():
        yield _listed(f"{source} -> {target}", groups[source], groups[target], found)


def _hyperedge(name: str, source: Population, target: Population, options: dict[str, Any], path: str) -> Projection:
    kind = options.get("type")
    weights = np.asarray(options.get("weight", options.get("weights", [])), np.float64)
    if kind == "dense":
        weight = weights.reshape(source.size, target.size).T if weights.size else None
        return Projection.linear(name, source.name, target.name, source.shape, target.size, weight=weight)
    if kind == "sparse":
        pairs = options["source_target_pairs"]
        values = weights.tolist() or [1.0] * len(pairs)
        return _listed(name, source, target, [(i, j, w) for (i, j), w in zip(pairs, values, strict=True)])
    if kind == "conv2d":
        return _convolution(name, source, target, options, weights)
    raise InputError(f"{path}: edge {name!r} of type {kind!r}", expected="dense, sparse or conv2d")


def _convolution(
    name: str, source: Population, target: Population, options: dict[str, Any], weights: NDArray[np.float64]
) -> Projection:
    """Returns a convolution without padding; SANA-FE numbers neurons by row, column, channel."""
    height, width = int(options["input_height"]), int(options["input_width"])
    channels, kernels = int(options.get("input_channels", 1)), int(options.get("kernel_count", 1))
    kernel = int(options["kernel_height"]), int(options["kernel_width"])
    stride = int(options.get("stride_height", 1)), int(options.get("stride_width", 1))
    shape = (channels, height, width)
    rows, columns = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
    torch_order = None
    if weights.size:  # theirs: row, column, input channel, kernel
        torch_order = weights.reshape(*kernel, channels, kernels).transpose(3, 2, 0, 1)
    return Projection.conv(
        name,
        source.name,
        target.name,
        shape,
        kernels,
        kernel,
        stride,
        0,
        source_size=source.size,
        target_size=target.size,
        source_index=channels_last(shape),
        target_index=channels_last((kernels, rows, columns)),
        weight=torch_order,
    )


def _listed(name: str, source: Population, target: Population, edges: Sequence[tuple[int, int, float]]) -> Projection:
    """Returns explicitly listed connections: one-to-one over a view with a place for each edge."""
    start, end = (np.array([edge[k] for edge in edges], np.int64) for k in (0, 1))
    return Projection.identity(
        name,
        source.name,
        target.name,
        (len(edges),),
        source_size=source.size,
        target_size=target.size,
        source_index=start,
        target_index=end,
        weight=np.array([edge[2] for edge in edges]),
    )


def _pieces(
    mappings: Sequence[Any], groups: Mapping[str, Population], cores_per_tile: int, path: str
) -> Iterator[Piece]:
    for key, info in _entries(mappings):
        name, _, span = str(key).partition(".")
        if name not in groups:
            raise InputError(f"{path}: mapping of unknown group {name!r}", expected="one of " + ", ".join(groups))
        first, last = _range(span, path) if span else (0, groups[name].size - 1)
        tile, _, core = str(info["core"]).partition(".")
        number = int(tile) * cores_per_tile + int(core or 0)
        yield Piece((name,), Block.span(groups[name].size, first, last + 1), number)


def _entries(mappings: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in mappings:
        for key, info in entry.items():
            yield str(key), merged(info)


def _names(key: str, group: str) -> bool:
    return key.partition(".")[0] == group


def _end(text: str, groups: Mapping[str, Population], path: str) -> tuple[str, int | None]:
    name, _, neuron = text.partition(".")
    if name not in groups:
        raise InputError(f"{path}: edge with unknown group {name!r}", expected="one of " + ", ".join(groups))
    return name, int(neuron) if neuron else None


def _range(text: str, path: str) -> tuple[int, int]:
    span = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text)
    if not span:
        raise InputError(f"{path}: neuron range {text!r}", expected="a number or first..last")
    return int(span.group(1)), int(span.group(2) or span.group(1))
