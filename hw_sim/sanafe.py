"""Reads and writes the YAML files of the SANA-FE simulator: architectures as chips, networks with their placement."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.atomic import write_text
from neurokit.errors import InputError, MissingRuntimeError
from neurokit.hw_sim.block import Block
from neurokit.hw_sim.chip import TERMS, Constant, HardwareProfile, Limits, Topology
from neurokit.hw_sim.mapping import PORT, Piece
from neurokit.hw_sim.mapping import Mapping as Placed
from neurokit.hw_sim.network import Network, NeuronModel, Population
from neurokit.hw_sim.projection import Projection
from neurokit.hw_sim.raster import SpikeRaster

# Names of the hardware units that are written; reading goes by the words in a file's own names.
_SYNAPSES = {"linear": "dense_synapse", "conv": "conv_synapse", "pool": "conv_synapse", "identity": "sparse_synapse"}
_TERM_OF_SYNAPSE = {"dense": "synaptic_event_dense", "conv": "synaptic_event_conv", "sparse": "synaptic_event_sparse"}
_SOMA = (("access_neuron", "neuron_access"), ("update_neuron", "neuron_update"), ("spike_out", "spike"))
_HOPS = {"hop_x": ("east", "west"), "hop_y": ("north", "south")}


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


def write_architecture(profile: HardwareProfile, path: str | Path, input_units: int = 1024) -> Path:
    """Writes a chip as a SANA-FE architecture.

    Args:
        profile: A chip on a mesh, priced by term. SANA-FE has no static power, so none is written.
        path: File to write, whole or not at all.
        input_units: Input neurons that one core can hold; SANA-FE keeps one unit for each.

    Raises:
        InputError: If the chip has no mesh or a price that SANA-FE cannot hold.
        OutputError: If the file cannot be written.
    """
    if profile.topology.kind != "mesh":
        raise InputError(f"{profile.title} has no mesh", expected="a chip whose topology is a mesh")
    foreign = [t for t in profile.prices if TERMS[t].component in ("memory", "static") or t == "local_delivery"]
    if foreign:
        raise InputError(
            f"SANA-FE cannot hold the prices {', '.join(foreign)} of {profile.title}",
            expected="prices of synaptic events, neurons, packets and hops",
            fix="write loihi1-sanafe, or a profile without them",
        )
    write_text(Path(path), _dump(_architecture(profile, input_units)))
    return Path(path)


def read_architecture(path: str | Path, name: str = "") -> HardwareProfile:
    """Reads a SANA-FE architecture whose tiles and cores are all alike.

    Raises:
        InputError: If it is no such file, or tiles or cores differ.
    """
    root = _load(path, "architecture")
    attributes = root.get("attributes", {})
    tile, tiles = _only(root, "tile", path)
    core, cores = _only(tile, "core", path)
    hops = tile.get("attributes", {})
    prices, times = _read_units(core, str(path))
    for term, ways in _HOPS.items():
        for kind, table in (("energy", prices), ("latency", times)):
            values = {float(hops.get(f"{kind}_{way}_hop", 0.0)) for way in ways}
            if len(values) > 1:
                raise InputError(f"{path}: hops {' and '.join(ways)} differ", expected="one figure for each axis")
            table[term] = _constant(values.pop(), "J" if kind == "energy" else "s", str(path))
    neurons = core.get("attributes", {}).get("max_neurons_supported")
    source = f"SANA-FE architecture {Path(path).name}"
    width, height = int(attributes.get("width", 1)), int(attributes.get("height", 1))
    if width * height != tiles:
        raise InputError(f"{path}: {tiles} tiles on a mesh of {width} x {height}", expected="one tile a place")
    return HardwareProfile(
        name=name or str(root.get("name", Path(path).stem)),
        title=str(root.get("name", Path(path).stem)),
        maker="SANA-FE architecture file",
        summary=f"Read from {Path(path).name}.",
        topology=Topology("mesh", source, width, height, cores, 1, "column"),
        limits=Limits(tiles * cores, source, neurons_per_core=None if neurons is None else int(neurons)),
        prices=prices,
        times=times,
        barrier=_barrier(attributes),
        barrier_rule="step",
        barrier_source=source,
        path=str(path),
    )


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
    data = {
        "network": {
            "name": network.name,
            "groups": [_group(population, inputs) for population in network.populations],
            "edges": [_edge(projection) for projection in network.projections],
        },
        "mappings": [entry for piece in placed.pieces for entry in _mapping(placed, piece, input_core)],
    }
    write_text(Path(path), _dump(data))
    return Path(path)


def read_network(path: str | Path, cores_per_tile: int) -> SanafeNetwork:
    """Reads a SANA-FE network: groups, dense, sparse, convolution and single edges, placement, input spikes.

    Args:
        path: The file.
        cores_per_tile: Cores of a tile of the architecture it is for.

    Raises:
        InputError: If it is no such file or holds something that is not supported; the message names the part.
    """
    root = _load(path, "network")
    mappings = _load(path, "mappings")
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


def _architecture(profile: HardwareProfile, input_units: int) -> dict[str, Any]:
    topology = profile.topology

    def pair(term: str, latency: str | None = None) -> tuple[float, float]:
        general = "synaptic_event" if term.startswith("synaptic_event_") else term
        price = profile.prices.get(term, profile.prices.get(general))
        time = profile.times.get(latency or term, profile.times.get(general))
        return (price.value if price else 0.0), (time.value if time else 0.0)

    hops = {}
    for term, ways in _HOPS.items():
        for way in ways:
            hops[f"energy_{way}_hop"], hops[f"latency_{way}_hop"] = pair(term)
    soma: dict[str, Any] = {"model": "leaky_integrate_fire"}
    silent: dict[str, Any] = {"model": "input"}
    for theirs, ours in _SOMA:
        soma[f"energy_{theirs}"], soma[f"latency_{theirs}"] = pair(ours)
        silent |= {f"energy_{theirs}": 0.0, f"latency_{theirs}": 0.0}
    synapses = []
    for kind, term in _TERM_OF_SYNAPSE.items():
        energy, latency = pair(term)
        entry = {"model": "current_based", "energy_process_spike": energy, "latency_process_spike": latency}
        synapses.append({"name": f"{kind}_synapse", "attributes": entry})
    packet, sending = pair("packet", "packet_out")
    receiving = profile.times["packet_in"].value if "packet_in" in profile.times else 0.0
    core = {
        "name": f"core[0..{topology.cores_per_tile - 1}]",
        "attributes": {
            "buffer_position": "soma",
            "buffer_inside_unit": False,
            "max_neurons_supported": (profile.limits.neurons_per_core or 1024) + input_units,
        },
        "axon_in": [{"name": "axon_in", "attributes": {"energy_message_in": 0.0, "latency_message_in": receiving}}],
        "synapse": synapses,
        "dendrite": [
            {"name": "dendrite", "attributes": {"model": "accumulator", "energy_update": 0.0, "latency_update": 0.0}}
        ],
        "soma": [
            {"name": "lif", "attributes": soma},
            {"name": f"inputs[0..{max(1, input_units - 1)}]", "attributes": silent},
        ],
        "axon_out": [
            {"name": "axon_out", "attributes": {"energy_message_out": packet, "latency_message_out": sending}}
        ],
    }
    tile = {"name": f"tile[0..{topology.width * topology.height - 1}]", "attributes": hops, "core": [core]}
    attributes: dict[str, Any] = {
        "topology": "mesh",
        "width": topology.width,
        "height": topology.height,
        "link_buffer_size": 16,
        "sync_model": "table",
        "latency_sync": dict(profile.barrier) or {1: 0.0},
    }
    return {"architecture": {"name": profile.name, "attributes": attributes, "tile": [tile]}}


def _read_units(core: dict[str, Any], source: str) -> tuple[dict[str, Constant], dict[str, Constant]]:
    prices: dict[str, Constant] = {}
    times: dict[str, Constant] = {}

    def take(term: str, time: str, attributes: dict[str, Any], what: str) -> None:
        prices[term] = _constant(float(attributes.get(f"energy_{what}", 0.0)), "J", source)
        times[time] = _constant(float(attributes.get(f"latency_{what}", 0.0)), "s", source)

    for unit in core.get("synapse", []):
        kind = next((k for k in _TERM_OF_SYNAPSE if k in unit["name"]), "")
        term = _TERM_OF_SYNAPSE.get(kind, "synaptic_event")
        take(term, term, unit.get("attributes", {}), "process_spike")
    somas = [u for u in core.get("soma", []) if u.get("attributes", {}).get("model") != "input"]
    if len(somas) != 1:
        raise InputError(f"{source}: {len(somas)} kinds of neuron in a core", expected="one besides the inputs")
    for theirs, ours in _SOMA:
        take(ours, ours, somas[0].get("attributes", {}), theirs)
    for unit in core.get("axon_out", []):
        take("packet", "packet_out", unit.get("attributes", {}), "message_out")
    for unit in core.get("axon_in", []):
        attributes = unit.get("attributes", {})
        if float(attributes.get("energy_message_in", 0.0)):
            raise InputError(f"{source}: receiving a message costs energy", expected="energy_message_in of 0")
        times["packet_in"] = _constant(float(attributes.get("latency_message_in", 0.0)), "s", source)
    memory = {term: replace(c, covers=("memory",)) for term, c in prices.items() if term.startswith("synaptic_event")}
    return prices | memory, times


def _constant(value: float, unit: str, source: str) -> Constant:
    return Constant(value, value, value, unit, "derived", source)  # type: ignore[arg-type]


def _barrier(attributes: dict[str, Any]) -> dict[int, float]:
    sync = attributes.get("latency_sync", {})
    return {int(k): float(v) for k, v in sync.items()} if isinstance(sync, dict) else {1: float(sync)}


def _only(parent: dict[str, Any], key: str, path: str | Path) -> tuple[dict[str, Any], int]:
    """Returns the one kind of tile or core there is, and how many of it (`name[0..31]`)."""
    found = parent.get(key) or []
    if len(found) != 1:
        raise InputError(f"{path}: {len(found)} kinds of {key}", expected="one kind, repeated with name[0..N]")
    span = re.search(r"\[(\d+)\.\.(\d+)\]", str(found[0].get("name", "")))
    return found[0], int(span.group(2)) - int(span.group(1)) + 1 if span else 1


def _group(population: Population, inputs: Mapping[str, SpikeRaster]) -> dict[str, Any]:
    if population.role == "input":
        spikes = inputs[population.name].unpack().T.astype(int).tolist()
        neurons: list[Any] = [{i: [{"spikes": row}]} for i, row in enumerate(spikes)]
        return {"name": population.name, "attributes": [{"log_spikes": True}], "neurons": neurons}
    model = population.model
    if model is None or model.kind != "if":
        raise InputError(f"{population.name!r} leaks", expected="integrate-and-fire neurons", fix="use kind 'if'")
    soft = model.reset is None
    soma = [
        {"threshold": model.threshold}, {"leak_decay": 1.0}, {"input_decay": 0.0},
        {"reset_mode": "soft" if soft else "hard"}, {"reset": 0.0 if soft else model.reset},
    ]  # fmt: skip
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
    kinds = {_SYNAPSES[p.kind] for p in network.into(name)}
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


def _population(
    group: dict[str, Any], mappings: Sequence[Any], path: str
) -> tuple[Population, NDArray[np.uint8] | None]:
    name, spikes, size = str(group["name"]), {}, 0
    options = _merged(group.get("attributes"))
    for entry in group.get("neurons", []):
        for key, given in entry.items() if isinstance(entry, dict) else [(entry, [])]:
            first, last = _range(str(key), path)
            size = max(size, last + 1)
            own = _merged(given)
            options = {**options, **own, **_merged(own.get("soma"))}
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
        options = {**_merged(given), **_merged(_merged(given).get("synapse"))}
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
        name, source.name, target.name, shape, kernels, kernel, stride, 0,
        source_size=source.size, target_size=target.size,
        source_index=_channels_last(shape), target_index=_channels_last((kernels, rows, columns)),
        weight=torch_order,
    )  # fmt: skip


def _channels_last(shape: tuple[int, int, int]) -> NDArray[np.int64]:
    channels, rows, columns = shape
    return np.arange(channels * rows * columns).reshape(rows, columns, channels).transpose(2, 0, 1).reshape(-1)


def _listed(name: str, source: Population, target: Population, edges: Sequence[tuple[int, int, float]]) -> Projection:
    """Returns explicitly listed connections: one-to-one over a view with a place for each edge."""
    start, end = (np.array([edge[k] for edge in edges], np.int64) for k in (0, 1))
    return Projection.identity(
        name, source.name, target.name, (len(edges),), source_size=source.size, target_size=target.size,
        source_index=start, target_index=end, weight=np.array([edge[2] for edge in edges]),
    )  # fmt: skip


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
            yield str(key), _merged(info)


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


def _merged(given: Any) -> dict[str, Any]:
    """Returns attributes that are written as a mapping or as a list of mappings."""
    if isinstance(given, dict):
        return given
    merged: dict[str, Any] = {}
    for entry in given or []:
        merged |= entry
    return merged


def _load(path: str | Path, section: str) -> Any:
    yaml = _yaml()
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}", expected="a SANA-FE .yaml file") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict) or section not in data:
        raise InputError(f"{path} has no section {section!r}", expected=f"a SANA-FE file with {section!r}")
    return data[section]


def _dump(data: dict[str, Any]) -> str:
    return str(_yaml().safe_dump(data, sort_keys=False, default_flow_style=None, width=1 << 20))


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingRuntimeError("PyYAML is not installed", fix="pip install pyyaml") from error
    return yaml
