"""Architectures of the SANA-FE simulator as chips, and chips as architectures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurokit.atomic import write_text
from neurokit.errors import InputError
from neurokit.hw_sim.chips.limits import Limits, Topology
from neurokit.hw_sim.chips.profile import Constant, HardwareProfile
from neurokit.hw_sim.chips.terms import TERMS
from neurokit.hw_sim.sanafe.files import dump, load

# Names of the hardware units that are written; reading goes by the words in a file's own names.
SYNAPSES = {"linear": "dense_synapse", "conv": "conv_synapse", "pool": "conv_synapse", "identity": "sparse_synapse"}

_TERM_OF_SYNAPSE = {"dense": "synaptic_event_dense", "conv": "synaptic_event_conv", "sparse": "synaptic_event_sparse"}

_SOMA = (("access_neuron", "neuron_access"), ("update_neuron", "neuron_update"), ("spike_out", "spike"))

_HOPS = {"hop_x": ("east", "west"), "hop_y": ("north", "south")}


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
    write_text(Path(path), dump(_architecture(profile, input_units)))
    return Path(path)


def read_architecture(path: str | Path, name: str = "") -> HardwareProfile:
    """Reads a SANA-FE architecture whose tiles and cores are all alike.

    Raises:
        InputError: If it is no such file, or tiles or cores differ.
    """
    root = load(path, "architecture")
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
