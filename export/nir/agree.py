"""Holds a NIR artifact's manifest against its file: what that notes of itself, its ends and its neurons' numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import damaged
from neurokit.export.onnx.agree import described, hold_notes
from neurokit.neurons.parameters import NeuronParameters

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.interchange.nir_net import NirNet

_NODES = "neurokit.nodes"  # which node each input of the model is
_CLOSE = 1e-9  # a .nir file holds float64: its roundings of tau x dt are all that may lie between


def notes_of(model: str, entries: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a .nir file notes of the model, in the words of an ONNX file's properties.

    Neurons are left out: their numbers stand in the nodes, and a text of all of them may be longer than a reader takes.

    Args:
        model: Its name.
        entries: Of the manifest.
    """
    ends = described(entries, 0)
    said = {
        "model": model,
        "target": "nir",
        "time_steps": str(entries["time_steps"]),
        "time_output": entries["target_info"]["time_output"],
        "reset_policy": entries["reset_policy"],
        "state": json.dumps(entries["graphs"][0]["states"]),
    }
    nodes = {_NODES: json.dumps(entries["target_info"]["inputs"], sort_keys=True)}
    return (
        {f"neurokit.{key}": text for key, text in said.items()}
        | {key: ends[key] for key in ("neurokit.inputs", "neurokit.outputs")}
        | nodes
    )


def hold_against_nets(artifact: Artifact, nets: list[NirNet], parts: list[int]) -> None:
    """Refuses an artifact whose manifest says something else than its files.

    Args:
        artifact: The artifact.
        nets: The files that are open.
        parts: Which part of the model each of them is; [0] of a whole one.

    Raises:
        ArtifactError: Names the field, and what either says.
    """
    manifest = artifact.manifest
    info = manifest.target_info
    for net in nets:
        props = {key: value for key, value in net.notes.items() if isinstance(value, str)}
        hold_notes(artifact, manifest.graphs[0], props, net.where)
        noted = net.notes.get("dt")
        if isinstance(noted, int | float) and not np.isclose(float(noted), float(info["dt"]), rtol=_CLOSE, atol=0.0):
            raise _apart(artifact, net, "dt", info["dt"], noted)
        if len(net.inputs) == 1 and net.grid is not None and asdict(net.grid) != info.get("input_grid"):
            raise _apart(artifact, net, "input_grid", info.get("input_grid"), asdict(net.grid))
    if not info.get("parts"):
        _hold_ends(artifact, nets[0])
    _hold_neurons(artifact, dict(zip(parts, nets, strict=True)))


def _hold_ends(artifact: Artifact, net: NirNet) -> None:
    manifest = artifact.manifest
    inputs = _input_nodes(artifact, net)
    for what, ends, ports in (("input", inputs, manifest.inputs), ("output", net.outputs, manifest.outputs)):
        if len(ends) != len(ports):
            raise _apart(artifact, net, f"the number of {what}s", len(ports), len(ends))
        for end, port in zip(ends, ports, strict=True):
            shape = tuple(net.shapes[end])
            declared = tuple(port.shape)[-len(shape) or len(port.shape) :]
            if any(isinstance(size, int) and size != n for size, n in zip(declared, shape, strict=False)):
                raise _apart(artifact, net, f"the shape of {what} {port.name!r}", list(port.shape), list(shape))


def _input_nodes(artifact: Artifact, net: NirNet) -> list[str]:
    """Returns the file's input nodes in the order of the manifest's inputs."""
    ports = [port.name for port in artifact.manifest.inputs]
    if len(net.inputs) == 1 or len(net.inputs) != len(ports):
        return list(net.inputs)
    said: Mapping[str, str] = artifact.manifest.target_info.get("inputs", {})
    if sorted(said) != sorted(ports) or sorted(said.values()) != sorted(net.inputs):
        raise _apart(artifact, net, "the nodes of its inputs", dict(said), net.inputs)
    noted = net.notes.get(_NODES, "")
    if noted and noted != json.dumps(said, sort_keys=True):
        raise _apart(artifact, net, "the nodes of its inputs", dict(said), noted)
    return [said[name] for name in ports]


def _hold_neurons(artifact: Artifact, nets: Mapping[int, NirNet]) -> None:
    info = artifact.manifest.target_info
    called = [neuron for neuron in artifact.manifest.neurons if neuron.op != "decomposed"]
    neurons = [called[at] for at in info["covered"] if 0 <= at < len(called)] if info.get("parts") else called
    if len(info["layers"]) != len(neurons):
        raise damaged(
            artifact.path, f"manifest.json names {len(neurons)} neurons and {len(info['layers'])} layers of them"
        )
    for (part, name), neuron in zip(info["layers"], neurons, strict=True):
        if part not in nets:
            continue
        net = nets[part]
        fields = net.fields.get(name)
        if fields is None:
            raise damaged(artifact.path, f"{net.where} has no node {name!r} that manifest.json speaks of")
        if neuron.op not in ("if_", "lif", "plif") or neuron.parameters.get("v_reset") is None:
            continue
        _hold_neuron(artifact, net, neuron, fields)


def _hold_neuron(artifact: Artifact, net: NirNet, neuron: Any, fields: Mapping[str, Any]) -> None:
    from neurokit.export.nir.walk import neuron_fields

    given = NeuronParameters.from_names(neuron.op, neuron.parameters)
    shape = np.shape(fields["v_threshold"])
    try:
        _, wanted = neuron_fields(given, shape, float(artifact.manifest.target_info["dt"]))
    except ValueError:  # numbers of other channels than the node has
        raise _apart(artifact, net, f"the channels of {neuron.path!r}", neuron.parameters, list(shape)) from None
    for key in sorted(set(wanted) | (set(fields) & {"tau", "r", "v_leak", "v_reset", "v_threshold"})):
        mine, theirs = wanted.get(key), fields.get(key)
        if mine is None or theirs is None or not np.allclose(mine, theirs, rtol=_CLOSE, atol=1e-12):
            said = [None if value is None else float(np.ravel(value)[0]) for value in (mine, theirs)]
            raise _apart(artifact, net, f"{key} of neuron {neuron.path!r}", *said)


def _apart(artifact: Artifact, net: NirNet, what: str, mine: Any, theirs: Any) -> Exception:
    return damaged(
        artifact.path, f"manifest.json and {net.where} contradict each other: {what} is {mine!r} and {theirs!r}"
    )
