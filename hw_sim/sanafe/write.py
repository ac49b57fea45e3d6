"""Writes networks with their placement for the SANA-FE simulator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.atomic import write_text
from neurokit.errors import InputError
from neurokit.hw_sim.graph.network import Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.mapping.mapping import PORT, Piece
from neurokit.hw_sim.mapping.mapping import Mapping as Placed
from neurokit.hw_sim.sanafe.architecture import SYNAPSES
from neurokit.hw_sim.sanafe.files import dump


def write_network(placed: Placed, inputs: Mapping[str, SpikeRaster], path: str | Path, input_core: int = 0) -> Path:
    """Writes a placed network, its weights and its input spikes as a SANA-FE network.

    Args:
        placed: Network and cores; every projection needs its weights.
        inputs: Spikes of each input population.
        path: File to write, whole or not at all.
        input_core: Core on which input neurons lie (SANA-FE has no port).

    Raises:
        InputError: If weights are missing, a population has no neurons, or neurons are reached by two kinds of
            synapse.
        OutputError: If the file cannot be written.
    """
    network = placed.network
    for population in network.populations:
        if population.role not in ("input", "neuron"):
            raise InputError(f"SANA-FE cannot hold {population.name!r}, a {population.role}", expected="neurons only")
    for projection in network.projections:
        # There every spike arrives one step after it was sent, so a loop of one step is a connection like any other.
        if projection.delay > 1 or (projection.delay and projection.source != projection.target):
            what = f"SANA-FE cannot hold {projection.name!r} with a delay of {projection.delay}"
            raise InputError(what, expected="loops of one step, and connections without delay")
    data = {
        "network": {
            "name": network.name,
            "groups": [_group(population, inputs) for population in network.populations],
            "edges": [_edge(projection) for projection in network.projections],
        },
        "mappings": [entry for piece in placed.pieces for entry in _mapping(placed, piece, input_core)],
    }
    write_text(Path(path), dump(data))
    return Path(path)


def _group(population: Population, inputs: Mapping[str, SpikeRaster]) -> dict[str, Any]:
    if population.role == "input":
        spikes = inputs[population.name].unpack().T.astype(int).tolist()
        neurons: list[Any] = [{i: [{"spikes": row}]} for i, row in enumerate(spikes)]
        return {"name": population.name, "attributes": [{"log_spikes": True}], "neurons": neurons}
    model = population.model
    if model is None or model.kind != "if" or not model.described:
        raise InputError(f"{population.name!r} leaks", expected="integrate-and-fire neurons", fix="use kind 'if'")
    if population.start is not None:
        what = f"{population.name!r} starts from a membrane of its own, and SANA-FE's networks start from rest"
        raise InputError(what, expected="neurons that start from rest", fix="start from rest")
    soft = model.reset is None
    soma = [
        {"threshold": model.threshold},
        {"leak_decay": 1.0},
        {"input_decay": 0.0},
        {"reset_mode": "soft" if soft else "hard"},
        {"reset": 0.0 if soft else model.reset},
    ]
    every = f"0..{population.size - 1}" if population.size > 1 else "0"
    return {"name": population.name, "attributes": [{"log_spikes": True}], "neurons": [{every: [{"soma": soma}]}]}


def _edge(projection: Projection) -> dict[str, Any]:
    if projection.weight is None:
        raise InputError(f"projection {projection.name!r} has no weights", expected="weights for every projection")
    name = f"{projection.source} -> {projection.target}"
    weights = np.asarray(projection.weight, np.float64)
    if projection.kind == "linear" and len(projection.source_shape) == 1 and projection.source_index is None:
        return {name: [{"type": "dense"}, {"weight": weights.T.reshape(-1).tolist()}]}
    edges = projection.edges()
    pairs, values = edges[:, :2].tolist(), weights.reshape(-1)[edges[:, 2]].tolist()
    return {name: [{"type": "sparse"}, {"source_target_pairs": pairs}, {"weight": values}]}


def _mapping(placed: Placed, piece: Piece, input_core: int) -> Iterator[dict[str, Any]]:
    network, name = placed.network, piece.populations[0]
    core = input_core if piece.core == PORT else piece.core
    place = f"{core // placed.profile.topology.cores_per_tile}.{core % placed.profile.topology.cores_per_tile}"
    neurons = np.flatnonzero(piece.block.mask())
    if network[name].role == "input":
        for unit, neuron in enumerate(neurons.tolist()):
            yield {f"{name}.{neuron}": [{"core": place}, {"soma": f"inputs[{unit}]"}]}
        return
    kinds = {SYNAPSES[p.kind] for p in network.into(name)}
    if len(kinds) > 1:
        raise InputError(f"{name!r} is reached by {len(kinds)} kinds of synapse", expected="one kind a population")
    options = [{"core": place}, {"soma": "lif"}, *({"synapse": kind} for kind in kinds)]
    for start, stop in _runs(neurons):
        yield {f"{name}.{start}..{stop}" if stop > start else f"{name}.{start}": options}


def _runs(neurons: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Returns first and last of each run of adjacent numbers."""
    breaks = np.flatnonzero(np.diff(neurons) != 1)
    starts, stops = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(neurons) - 1]])
    return [(int(neurons[a]), int(neurons[b])) for a, b in zip(starts, stops, strict=True)]


def channels_last(shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Returns the number of each neuron of an image, counted channels first, in SANA-FE's order: channels last."""
    channels, rows, columns = shape
    return np.arange(channels * rows * columns).reshape(rows, columns, channels).transpose(2, 0, 1).reshape(-1)
