"""Refuses test vectors that are no vectors, or not those of their manifest, before anything is compared with them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, NeurokitError, damaged
from neurokit.over_time import is_known, of_each
from neurokit.parity.units import UNITS
from neurokit.target_said import check_said

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.parity.vectors import LayerVector, Vectors

_MOST_BYTES = 2**33  # of all arrays, unpacked


def check_archive(path: Path) -> None:
    """Refuses an archive that is no regular file or would unpack to more than any test vectors need.

    Raises:
        OSError: As said.
        zipfile.BadZipFile: If it is no archive.
    """
    if not path.is_file():
        raise OSError("it is no regular file")
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > _MOST_BYTES:
        raise OSError(f"it would unpack to {size:,} bytes")


def check_vectors(vectors: Vectors, artifact: Artifact) -> None:
    """Refuses vectors whose arrays or names do not fit each other or the manifest.

    Raises:
        ArtifactError: Names the first thing that does not fit.
    """
    fault = _fault(vectors, artifact.manifest)
    if fault:
        raise damaged(artifact.path, f"its test vectors {fault}")


def _fault(vectors: Vectors, manifest: Any) -> str:
    if vectors.time_input not in ("sequence", "image") or not is_known(vectors.time_output):
        return f"take {vectors.time_input!r} and give {vectors.time_output!r} over time"
    if vectors.unit and vectors.unit not in UNITS:
        return f"give {vectors.unit!r} as the unit roundoff of a type"
    if len(manifest.graphs) > 1 or vectors.calls:
        return _neuron_fault(vectors, manifest)
    inputs = {tensor.name: tensor for tensor in manifest.inputs}
    if set(vectors.feeds) != set(inputs):
        return f"have the inputs {_names(vectors.feeds)}, the manifest {_names(inputs)}"
    known = [tensor.name for tensor in manifest.outputs]
    if list(vectors.outputs) != known:
        return f"have the outputs {_names(vectors.outputs)}, the manifest {_names(known)}"
    held = (*vectors.feeds.items(), *vectors.outputs.items(), *vectors.longer.items())
    for name, value in held:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or not value.size or not value.ndim:
            return f"hold no numbers for {name!r}"
    for name, value in vectors.feeds.items():
        if value.dtype.name != inputs[name].dtype:
            return f"hold {value.dtype.name} for the input {name!r}, which is {inputs[name].dtype}"
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"hold numbers that are not finite for the input {name!r}"
    for name, bound in vectors.output_bounds.items():
        if not _is_bound(bound):
            return f"give {bound!r} as the bound of {name!r}"
    for name, rounding in vectors.roundings.items():
        if not _is_bound(rounding):
            return f"give {rounding!r} as the rounding of {name!r}"
    for layer in vectors.layers:
        fault = _layer_fault(layer)
        if fault:
            return f"{fault} in layer {layer.path!r}"
    for run in vectors.blind:
        if said := run.fault():
            return said
        if list(run.outputs) != known:
            return f"have the outputs {_names(run.outputs)} in a blind run, the manifest {_names(known)}"
    for covering in vectors.coverings:
        for index, cover in enumerate(covering.layers):
            fault = _places_fault(cover.at, (cover.current, cover.bound), math.prod(cover.shape))
            if fault:
                return f"{fault} in the covering run of layer {index}"
        for name, output in covering.outputs.items():
            if not _is_bound(output.rounding):
                return f"give {output.rounding!r} as the rounding of {name!r}"
    return _neuron_fault(vectors, manifest)


def _layer_fault(layer: LayerVector) -> str:
    if layer.spikes.ndim < 2 or not _is_bound(layer.bound) or not isinstance(layer.rigorous, bool):
        return "have no spikes or no bound"
    if layer.steps is not None:
        fault = layer.steps.fault(layer.spikes.shape)
        return fault or _places_fault(layer.sample_at, (layer.sample_h,), layer.spikes.size)
    if not _is_initial(layer.init, layer.spikes.shape[1:]):
        return f"start from {layer.init!r}"
    if any(not 0 < step < len(layer.spikes) for step in layer.restarts):
        return f"start anew at {list(layer.restarts)}"
    if not isinstance(layer.parameters, Mapping) or "v_threshold" not in layer.parameters:
        return "name no threshold"
    return _places_fault(layer.sample_at, (layer.sample_h,), layer.spikes.size)


def _is_initial(init: Any, shape: tuple[int, ...]) -> bool:
    """Whether an initial membrane is finite and fits values of one step, `[B, ...]`."""
    if isinstance(init, np.ndarray):
        fits = init.ndim == len(shape) and all(a in (1, b) for a, b in zip(init.shape, shape, strict=True))
        return fits and init.dtype.kind == "f" and bool(np.isfinite(init).all())
    return isinstance(init, int | float) and not isinstance(init, bool) and math.isfinite(init)


def _places_fault(at: np.ndarray, values: tuple[np.ndarray, ...], size: int) -> str:
    """Compares the places of kept values with the values, and with the size of their layer."""
    for value in values:
        if at.dtype.kind not in "iu" or value.dtype.kind != "f" or at.shape != value.shape or at.ndim != 1:
            return "keep membranes or currents of another kind"
    if at.size and (int(at.min()) < 0 or int(at.max()) >= size):
        return "keep membranes or currents outside of the layer"
    return ""


def _neuron_fault(vectors: Vectors, manifest: Any) -> str:
    """Compares the neurons of vectors and manifest."""
    if manifest.numerics == "exact" and "proof" not in manifest.target_info:
        return "are of numerics that the manifest calls exact without the proof of it"
    declared = {neuron.path: neuron for neuron in manifest.neurons}
    if len(declared) < len(manifest.neurons):
        return "cannot be held against a manifest that names a neuron twice"
    said = manifest.target_info.get("time_output") or vectors.time_output
    if len(manifest.graphs) == 1 and not _agree(vectors.time_output, said, len(vectors.outputs)):
        return f"give {vectors.time_output!r} over time, the manifest {said!r}"
    for layer in vectors.layers:
        neuron = declared.get(layer.path if layer.steps is None else layer.path.partition("@")[0])
        if neuron is None:
            return f"have a layer {layer.path!r} that the manifest does not know"
        # A form may take a neuron apart that the reference has whole: inside of a loop over a free T.
        if neuron.kind != layer.kind or neuron.op not in (layer.op, "decomposed"):
            return f"say {layer.kind} ({layer.op}) of layer {layer.path!r}, the manifest {neuron.kind} ({neuron.op})"
        for key, value in layer.parameters.items():
            if key in neuron.parameters and neuron.parameters[key] != value:
                return f"say {key} = {value!r} of layer {layer.path!r}, the manifest {neuron.parameters[key]!r}"
    return _steps_fault(vectors, manifest)


def _agree(given: str, said: str, count: int) -> bool:
    """Whether two words of what outputs are over time agree, where the vectors know it: they may say "auto" of one."""
    ours, theirs = of_each(given, count), of_each(said, count)
    return len(ours) == len(theirs) and all(a in (b, "auto") for a, b in zip(ours, theirs, strict=True))


def _steps_fault(vectors: Vectors, manifest: Any) -> str:
    """Compares the time steps of layers and of the manifest."""
    steps = manifest.time_steps
    if not isinstance(steps, int):
        return ""
    timed = {port.name: port.time_axis for graph in manifest.graphs for port in graph.inputs}
    given = {x.shape[axis] for name, x in vectors.feeds.items() if (axis := timed.get(name)) is not None}
    for layer in vectors.layers:
        # A neuron that is called several times over all steps has T of them for each call; a forward may look at
        # some of the T steps alone.
        some = given == {steps} and len(layer.spikes) < steps
        if len(layer.spikes) % steps and not some:
            return f"have {len(layer.spikes)} time steps of layer {layer.path!r}, the manifest {steps}"
    return ""


def _is_bound(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0  # NaN is not


def _names(values: Any) -> str:
    return ", ".join(map(str, values)) or "none"


@contextmanager
def fitting(artifact: Artifact, doing: str) -> Iterator[None]:
    """Says in one line that an artifact's files do not fit its manifest, whatever that raises in a target.

    Raises:
        ArtifactError: As said.
    """
    check_said(artifact, doing == "verified")
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, AssertionError) as error:
        if isinstance(error, NeurokitError):
            raise
        first = (str(error).strip().splitlines() or ["no message"])[0][:200]
        raise ArtifactError(
            f"{artifact.path} cannot be {doing} as {artifact.manifest.target!r}: {type(error).__name__}: {first}",
            expected="files and a manifest that fit each other",
            fix="export the model again; --debug shows where it fails",
        ) from error
