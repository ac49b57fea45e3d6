"""Lowers a captured model to NIR: the file, its parts where it cannot go whole, and what the manifest says."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError, Unsupported
from neurokit.export.nir.agree import notes_of
from neurokit.export.nir.run import MODEL_FILE, PART_DATA, PARTS_FILE, NirProbe, NirRunner
from neurokit.target import LowerOptions, TargetInfo, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.nir.graph import Made
    from neurokit.export.nir.parts import Part
    from neurokit.export.nir.walk import Walk
    from neurokit.parity.vectors import Vectors
    from neurokit.reports import SimulatorParity

DEFAULT_DT = 1e-4
MAXPOOL = ("threshold", "neuron")  # how the largest of spikes is written


@register_target
class NirTarget:
    """The target `nir`; options dt (seconds a time step), partition, dense_groups and maxpool."""

    info = TargetInfo(
        name="nir",
        summary="NIR graph for neuromorphic chips and other simulators",
        requires=("nir", "h5py"),
        opens_with=("h5py", "torch"),
        install='pip install "neurokit-edge[nir]"',
        streaming=True,
        takes=frozenset({"dtypes", "inputs"}),
    )

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that the target does not have."""
        _settings(options)

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why the model cannot be one NIR graph (with partition: why no part of it can)."""
        settings = _settings(options)
        from neurokit.program.element_types import other_types  # torch comes with it

        if wrong := other_types(captured, "a NIR file is written and run in"):
            return wrong
        walk = _walk(captured, settings)
        if not settings["partition"] or not walk.graph.reasons:
            return walk.graph.reasons
        if walk.captured.loops:
            why = "its parts would cut a recurrent connection, and each part is verified on its own"
            return [Unsupported(walk.captured.loops[0], captured.spec.name, why, "leave partition away")]
        from neurokit.export.nir.parts import parts

        if parts(walk.graph):
            return []
        return [Unsupported("", captured.spec.name, "no part of it can be NIR", "see the reasons without partition")]

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes model.nir, or the parts with partition.json, and returns manifest entries."""
        from neurokit.export.describe import describe
        from neurokit.export.nir.parts import whole

        settings = _settings(options)
        walk = _walk(captured, settings)
        entries = describe(walk.captured if captured.form != "sequence" else captured)
        entries["neurons"] = describe(walk.captured)["neurons"]  # with a free T some are part of a scan
        entries["form"] = "graph"
        entries["reset_policy"] = "states start from the reset potential; reset() before a new sequence"
        info = entries["target_info"]
        info |= {
            "dt": settings["dt"],
            "unit": "seconds: a time step is dt, so tau = (tau in steps) x dt",
            "fires": "above v_threshold, the float32 below the model's, which fires at it",
            "rewrites": walk.graph.rewrites,
            "input_grid": None if walk.grid is None else asdict(walk.grid),
            "inputs": walk.inputs,
        }
        notes = notes_of(captured.spec.name, entries)
        if settings["partition"] and walk.graph.reasons:
            info |= self._write_parts(walk, folder, settings, notes)
            return entries
        part = whole(walk.graph, walk.outputs)
        _write(part, folder / MODEL_FILE, walk, settings, notes)
        info |= {"layers": [[0, name] for name in walk.layers], "nodes": len(part.nodes), "edges": len(part.edges)}
        return entries

    def open(self, artifact: Artifact, **options: Any) -> NirRunner:
        """Opens the artifact on neurokit's own NIR interpreter (option: part, of a partitioned model)."""
        unknown = sorted(set(options) - {"part"})
        if unknown:
            raise InputError(f"unknown option {unknown[0]!r} for opening", expected="part")
        return NirRunner(artifact, **options)

    def probe(self, artifact: Artifact, **options: Any) -> NirProbe:
        """Opens the artifact for verification; it takes no options."""
        if options:
            raise InputError(f"target 'nir' has no probe option {sorted(options)[0]!r}", expected="none")
        return NirProbe(artifact)

    def simulators(self, artifact: Artifact, vectors: Vectors) -> tuple[SimulatorParity, ...]:
        """Runs the file in the other simulators that are installed; none for a model in parts."""
        from neurokit.export.nir.simulators import compare, unable

        info = artifact.manifest.target_info
        if info.get("parts"):
            return ()
        if len(artifact.manifest.inputs) > 1:
            neurons = sum(layer.spikes[0, 0].size for layer in vectors.layers)
            return unable(len(artifact.manifest.inputs), neurons)
        probe, vectors = NirProbe(artifact), vectors.without_steps()
        x, spikes = probe.firing(vectors.feeds)
        # What the reference did comes first; neurons that it does not record are compared with our interpreter.
        names = [name for _, name in info["layers"]]
        spikes |= {n: v.spikes.astype(np.float32) for n, v in zip(names, vectors.layers, strict=True)}
        return compare(artifact.file(MODEL_FILE), float(info["dt"]), x, spikes)

    def _write_parts(
        self, walk: Walk, folder: Path, settings: dict[str, Any], noted: Mapping[str, str]
    ) -> dict[str, Any]:
        from neurokit.export.nir.parts import parts

        found = parts(walk.graph)
        files = [f"part_{index}.nir" for index in range(len(found))]
        for part, file in zip(found, files, strict=True):
            _write(part, folder / file, walk, settings, noted)
        _record(walk, found, folder / PART_DATA)
        where = {name: index for index, part in enumerate(found) for name in part.nodes}
        calls = list(walk.captured.calls)
        layers = [(where[n], n) for n in walk.layers if n in where]
        paths = [walk.graph.nodes[name].path for _, name in layers]
        described = {
            "parts": [
                {
                    "file": file,
                    "nodes": len(part.nodes),
                    "modules": sorted({made.path for made in part.nodes.values() if made.path}),
                    "inputs": {name: _source(made) for name, made in part.inputs.items()},
                    "outputs": {name: _source(made) for name, made in part.outputs.items()},
                }
                for part, file in zip(found, files, strict=True)
            ],
            "rest": [vars(reason) for reason in walk.graph.reasons],
        }
        (folder / PARTS_FILE).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        return {
            "parts": files,
            "layers": [list(layer) for layer in layers],
            "covered": [calls.index(path) for path in paths],
        }


def _settings(options: LowerOptions) -> dict[str, Any]:
    """Returns the target's options, checked."""
    settings = options.over({"dt": DEFAULT_DT, "partition": False, "dense_groups": False, "maxpool": MAXPOOL[0]}, "nir")
    dt = settings["dt"]
    if isinstance(dt, bool) or not isinstance(dt, int | float) or not 0 < dt < math.inf:
        raise InputError(f"dt is {dt!r}", expected="seconds a time step, above 0", fix="--option dt=1e-4")
    for name in ("partition", "dense_groups"):
        if not isinstance(settings[name], bool):
            raise InputError(f"{name} is {settings[name]!r}", expected="true or false")
    if settings["maxpool"] not in MAXPOOL:
        raise InputError(f"maxpool is {settings['maxpool']!r}", expected=" or ".join(MAXPOOL))
    return settings


def _walk(captured: Captured, settings: dict[str, Any]) -> Walk:
    from neurokit.export.nir.walk import Walk

    return Walk(captured, float(settings["dt"]), settings["dense_groups"], settings["maxpool"])


def _write(part: Part, path: Path, walk: Walk, settings: dict[str, Any], noted: Mapping[str, str]) -> None:
    import nir

    from neurokit._version import __version__
    from neurokit.export.nir.parts import to_nir

    name = walk.captured.spec.name
    notes: dict[str, Any] = {"dt": float(settings["dt"]), "time_unit": "s", "model": name, "neurokit": __version__}
    notes |= noted
    if walk.grid is not None and [made.tensor for made in part.inputs.values()] == walk.input_tensors:
        notes |= walk.grid.to_metadata()
    held = io.BytesIO()  # HDF5 crashes the process where the disk is full
    nir.write(held, to_nir(part, notes))
    path.write_bytes(held.getbuffer())


def _source(made: Made) -> dict[str, Any]:
    return {"module": made.path, "shape": list(made.shape)}


def _record(walk: Walk, found: list[Part], path: Path) -> None:
    """Keeps what the reference feeds into every part, `[T, B, ...]`, so that the parts can be verified alone."""
    import torch
    from torch.fx import Interpreter

    from neurokit.capture.reference import example_inputs
    from neurokit.neurons.ops import is_neuron

    captured = walk.captured
    wanted = {made.tensor for part in found for made in part.inputs.values()}
    kept: dict[str, Any] = {}

    class Keeper(Interpreter):
        def run_node(self, node: Any) -> Any:
            if node.op == "call_module":
                return None
            value = super().run_node(node)
            if node.name in wanted:
                kept[node.name] = value[0] if is_neuron(node.target) else value
            return value

    steps = captured.time_steps if isinstance(captured.time_steps, int) else None
    batch = captured.batch if isinstance(captured.batch, int) else 1
    given = example_inputs(captured.spec, steps, batch, 0)
    module = captured.program.module()
    with torch.no_grad():
        Keeper(module).run(*given.values(), *captured.initial_states(batch))
    arrays = {}
    for index, part in enumerate(found):
        for name, made in part.inputs.items():
            value = kept[made.tensor]
            if made.lead in (("B",), ("1", "B")):
                value = value.reshape(1, batch, *made.shape).expand(steps or 1, batch, *made.shape)
            arrays[f"{index}:{name}"] = value.reshape(steps or 1, batch, *made.shape).contiguous().float().numpy()
    np.savez_compressed(path, **arrays)
