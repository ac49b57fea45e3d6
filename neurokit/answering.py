"""What a model makes of samples, given what runs it: one code for `nk.answer` here and for a pack on a device.

Numpy alone, and manifests as this package (`neurokit.artifact.Artifact`) or a device (`neurokit.bench.folder.Folder`)
reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.data.dialogues import is_dialogue
from neurokit.data.files import read_arrays
from neurokit.data.found import find
from neurokit.data.json_samples import SUFFIXES, JsonSample, sample_of, samples_in
from neurokit.data.kinds import IMAGES, is_readable, kind_of
from neurokit.data.of_artifact import port_spec, spec_of
from neurokit.data.readable import without_damaged
from neurokit.errors import InputError
from neurokit.feeds import distribution_of, draw, given_ports, lead_axes, ports_of, stream_of, whole_ports
from neurokit.over_time import batch_axes
from neurokit.plain import is_file
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.tasks import block_diffusion
from neurokit.tasks.masks import mask_places
from neurokit.tasks.object_search import searched
from neurokit.tasks.scoring import every_graph, task_named
from neurokit.tasks.task import SavesPredictions, Task

_LONGEST = 8  # entries of a list that are written out


class Answering:
    """Answers for samples with an artifact; every sample is read and checked before the first is run.

    Args:
        artifact: The artifact: its path and its manifest.
        samples: As `neurokit.answers.answer` takes them.
        seed: Of the stream that random inputs are drawn from, sample after sample.
        out: Folder for what the task writes of each sample; None writes none.

    Raises:
        InputError: If a sample is none that the model takes.
    """

    def __init__(self, artifact: Any, samples: Sequence[Any], seed: int = 0, out: str | Path | None = None) -> None:
        named = artifact.manifest.task
        self._artifact = artifact
        self._task, self._settings = task_named(named.name if named else None, named.settings if named else {})
        self._stream = stream_of(seed)
        self._given = [_from_json(sample, artifact) for sample in samples]
        self._places = _places(self._task, artifact, self._given, out)
        self._feeds = [_feeds(each, artifact, self._task, self._settings, self._stream) for each in self._given]

    def by(self, runner: Any) -> list[Any]:
        """Returns one JSON value a sample, in the words of the task."""
        said = []
        for sample, feeds, place in zip(self._given, self._feeds, self._places, strict=True):
            outputs = _outputs(runner, self._artifact, feeds, self._stream)
            prediction = self._task.predict(outputs, self._settings)[0]
            more = {"note": sample.note} if isinstance(sample, JsonSample) and sample.note else {}
            if place is not None and isinstance(self._task, SavesPredictions):
                source = None if self._artifact.manifest.preprocess else sample
                self._task.save(prediction, source, place, self._settings)
                more["saved"] = str(place)
            found = self._task.answer(prediction, self._settings)
            said.append({**found, **more} if more else found)
        return said


def samples_at(artifact: Any, place: Path) -> list[tuple[str, Any]]:
    """Returns the samples at a place with their names: of a file, a folder, class folders or a list.

    Args:
        artifact: The artifact that is to answer for them.
        place: A path; a file that holds several samples gives each.

    Raises:
        InputError: If there is none, or one cannot be read.
    """
    spec, _ = _spec(artifact)
    if (each := samples_in(place, spec)) is not None:
        return [(f"{place} [{n}]" if len(each) > 1 else str(place), sample) for n, sample in enumerate(each)]
    if is_file(place) and place.suffix.lower() not in (".csv", ".tsv", *SUFFIXES):
        files = [(str(place), place)]
    else:
        files = [(str(item.value), item.value) for item in without_damaged(find(place), str(place)).items]
    found: list[tuple[str, Any]] = []
    for name, file in files:
        if _task_reads(file, artifact):
            found.append((name, file))  # the task reads it
            continue
        parts = read_arrays(file, *_spec_for(Path(file), artifact))
        found += [(f"{name} [{n}]" if len(parts) > 1 else name, part) for n, part in enumerate(parts)]
    return found


def in_words(value: Any) -> str:
    """Returns an answer as one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_words(item)}" for name, item in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - _LONGEST} more" if len(value) > _LONGEST else ""
        parts = [f"({in_words(v)})" if isinstance(v, dict) else in_words(v) for v in value[:_LONGEST]]
        return f"[{', '.join(parts)}]{more}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _from_json(sample: Any, artifact: Any) -> Any:
    """Returns the one sample of a .json file or an object of a dialogue, and anything else as it is."""
    spec, _ = _spec(artifact)
    if len(spec.inputs) > 1 and is_dialogue(sample):
        return sample_of(sample, spec, "the dialogue", Path())
    path = Path(sample) if isinstance(sample, str | Path) else Path()
    found = samples_in(path, spec)
    if found is None:
        return sample
    if len(found) > 1:
        raise InputError(
            f"{path} holds {len(found)} samples", expected="one a file", fix="neurokit run DIR FILE takes it"
        )
    return found[0]


def _places(task: Task, artifact: Any, samples: Sequence[Any], out: str | Path | None) -> list[Path | None]:
    """Returns a file for what is written of each sample, or None where nothing is.

    Raises:
        InputError: If the task writes nothing, or two samples would write one file.
        OutputError: If the folder is none.
    """
    if out is None:
        return [None] * len(samples)
    if not isinstance(task, SavesPredictions):
        raise InputError(
            f"{artifact.manifest.model.name} writes no files: its task is {task.info.name}",
            expected="no --out, or a model of masks or images",
        )
    sources = [sample.file if isinstance(sample, JsonSample) else sample for sample in samples]
    return list(mask_places(sources, Path(out), task.ending))


def _search(artifact: Any) -> Mapping[str, Any]:
    """Returns the settings of the host's search of a scanpath, or none."""
    task = artifact.manifest.task
    return task.settings.get("search", {}) if task is not None and task.name == "scanpaths" else {}


def _draws(artifact: Any) -> bool:
    """Whether the host draws images block by block."""
    task = artifact.manifest.task
    return task is not None and task.name == block_diffusion.NAME


def _ports(artifact: Any) -> list[Any]:
    """Returns the inputs that a sample gives: all but those that the host's loop chooses."""
    chosen, ports = _search(artifact).get("token"), ports_of(artifact.manifest)
    if _draws(artifact):
        return [port for port in ports if port.name == block_diffusion.LABEL]
    manifest, given = artifact.manifest, [port for port in ports if port.name != chosen]
    if manifest.form != "step" or manifest.target_info.get("time_input") != "image":
        return given
    return whole_ports(given, int(manifest.time_steps or 1))  # a sample has the draws of all of its steps


def _spec(artifact: Any) -> tuple[ModelSpec, int | None]:
    """Returns the specification by which files are read, and T."""
    spec, steps = spec_of(artifact.manifest)
    names = {port.name for port in _ports(artifact)}
    return replace(spec, inputs=tuple(port for port in spec.inputs if port.name in names)), steps


def _spec_for(file: Path, artifact: Any) -> tuple[ModelSpec, int | None]:
    """Returns the specification by which a file is read: random draws that it holds by name are inputs like others."""
    spec, steps = _spec(artifact)
    drawn = {port.name: port for port in _ports(artifact) if distribution_of(port)}
    if not drawn or file.suffix.lower() != ".npz" or not is_file(file):
        return spec, steps
    try:
        with np.load(file, allow_pickle=False) as data:
            held = [port for name, port in drawn.items() if name in data.files]
    except Exception:
        return spec, steps  # who reads it says what is wrong with it
    return replace(spec, inputs=(*spec.inputs, *map(port_spec, held))), steps


def _task_reads(file: Path, artifact: Any) -> bool:
    """Whether the task reads a file itself: images, what no reader knows, and recordings of voices."""
    task = artifact.manifest.task
    voice = task is not None and task.name == "verification" and kind_of(file) == ".wav"
    return kind_of(file) in IMAGES or voice or not is_readable(file)


def _outputs(
    runner: Any, artifact: Any, feeds: Mapping[str, np.ndarray], stream: np.random.Generator
) -> Mapping[str, np.ndarray]:
    manifest = artifact.manifest
    if _draws(artifact) and manifest.task is not None:
        if not runner.streaming:
            raise InputError(
                f"{artifact.path} keeps no cache",
                expected="the step form",
                fix=f"neurokit export {manifest.model.name} --target onnx-step",
            )
        label = int(feeds[block_diffusion.LABEL].item())
        return {"latents": block_diffusion.drawn(runner, manifest.task.settings, label, stream)}
    if _search(artifact):
        return {"scores": searched(runner, _search(artifact), feeds)}
    if len(manifest.graphs) > 1:
        return every_graph(runner, feeds)
    if len(manifest.inputs) > 1 or len(manifest.outputs) > 1:
        outputs = runner(feeds)
    else:
        outputs = {manifest.outputs[0].name: runner(next(iter(feeds.values())))}
    if manifest.time_steps is None:
        return {name: np.asarray(y) for name, y in outputs.items()}
    said = manifest.target_info.get("time_output", "")
    timed = dict(zip((port.name for port in manifest.outputs), batch_axes(said, len(manifest.outputs)), strict=True))
    return {name: np.asarray(y).mean(axis=0) if timed.get(name) else np.asarray(y) for name, y in outputs.items()}


def _feeds(
    sample: Any, artifact: Any, task: Task, settings: Mapping[str, Any], stream: np.random.Generator
) -> dict[str, np.ndarray]:
    """Returns one sample as a batch of one, by name."""
    ports = {port.name: port for port in _ports(artifact)}
    given = _read(sample, artifact)
    wanted = [port.name for port in given_ports(list(ports.values()))]
    if not isinstance(given, Mapping):
        if len(wanted) > 1:
            raise InputError(
                f"{_said(sample)} is one input, and there are {len(wanted)}: {', '.join(wanted)}",
                expected="every input by its name, in an .npz file or a mapping",
            )
        given = {wanted[0]: given}
    wrong = sorted(set(given) - set(ports), key=str) or sorted(set(wanted) - set(given))
    if wrong:
        raise InputError(
            f"{_said(sample)} {'lacks' if wrong[0] in ports else 'has the unknown input'} {wrong[0]!r}",
            expected="the inputs " + ", ".join(ports),
        )
    try:
        return {
            name: _placed(given[name], port, artifact, task, settings)
            if name in given
            else _drawn(port, artifact, stream)
            for name, port in ports.items()
        }
    except InputError as error:
        if _said(sample) in error.what:
            raise
        raise InputError(f"{_said(sample)}: {error.what}", expected=error.expected, fix=error.fix) from error


def _drawn(port: Any, artifact: Any, stream: np.random.Generator) -> np.ndarray:
    """Returns the random draws of one sample, over time where the model takes a time axis."""
    steps = _steps(artifact)
    sizes = [int(size) for size in port.shape[lead_axes(port) :]]
    return draw(port, [1, *sizes] if steps is None else [steps, 1, *sizes], stream)


def _read(sample: Any, artifact: Any) -> Any:
    """Returns the arrays of a file of arrays, events, sound or a volume; an image, which the task reads, as it is."""
    if isinstance(sample, JsonSample):
        return sample.inputs
    path = Path(sample) if isinstance(sample, str | Path) else None
    declared = artifact.manifest.preprocess and (hasattr(sample, "convert") or (path is not None and is_readable(path)))
    if path is not None and not is_file(path):  # a pipe would be waited for
        raise InputError(f"there is no file {path}", expected="an image, a .npy or .npz file")
    if not declared and (path is None or _task_reads(path, artifact)):
        return sample
    read = _spec(artifact) if path is None else _spec_for(path, artifact)
    parts = read_arrays(sample if path is None else path, *read)
    if len(parts) > 1:
        raise InputError(
            f"{path} holds {len(parts)} samples",
            expected="one a file",
            fix="neurokit run DIR FILE takes it",
        )
    return parts[0]


def _placed(sample: Any, info: Any, artifact: Any, task: Task, settings: Mapping[str, Any]) -> np.ndarray:
    """Returns one input with its batch axis, and its time axis where the model has one."""
    port = port_spec(info, {name: dim for graph in artifact.manifest.graphs for name, dim in graph.dims.items()})
    steps = _steps(artifact)
    if isinstance(sample, np.generic):  # a number, as of a target
        sample = np.asarray(sample)
    if isinstance(sample, np.ndarray) and sample.dtype.kind == "f" and not np.isfinite(sample).all():
        raise InputError(f"{info.name} holds NaN or infinity", expected="finite numbers")
    if (
        isinstance(sample, np.ndarray)
        and steps is not None
        and sample.ndim == len(port.shape) + 1
        and len(sample)
        and _fits(sample[0], port)
    ):
        return np.ascontiguousarray(_as_declared(sample, port)[:, None])
    if isinstance(sample, np.ndarray) and _fits(sample, port):
        one = _as_declared(sample, port)
    else:
        one = np.asarray(task.preprocess(sample, port, settings))
    _check_range(one, port)
    return np.ascontiguousarray(one[None] if steps is None else np.repeat(one[None, None], steps, axis=0))


def _as_declared(array: np.ndarray, port: TensorSpec) -> np.ndarray:
    """Returns an array in the element type of its input.

    Raises:
        InputError: If fractions are given for whole numbers, or these are outside of what the input declares.
    """
    if "int" in port.dtype and array.dtype.kind == "f" and bool((array != np.rint(array)).any()):
        raise InputError(f"{port.name} holds fractions", expected=f"whole numbers ({port.dtype})")
    made = array.astype(port.dtype)
    _check_range(made, port)
    return made


def _check_range(array: np.ndarray, port: TensorSpec) -> None:
    """Refuses whole numbers outside of what an input declares: the class, target or speaker of an index.

    Raises:
        InputError: Names the first of them.
    """
    if port.dtype not in ("int32", "int64") or port.high <= 1:  # 0 to 1 is what stands where nothing was declared
        return
    wrong = array[(array < port.low) | (array > port.high)]
    if wrong.size:
        raise InputError(f"{port.name} holds {int(wrong.flat[0])}", expected=f"{int(port.low)} to {int(port.high)}")


def _fits(array: np.ndarray, port: TensorSpec) -> bool:
    """Whether an array has the shape of one sample and is no picture of bytes for an input of fractions."""
    sizes = [size if isinstance(size, int) else None for size in port.sizes]
    same = array.ndim == len(sizes) and all(w is None or w == size for w, size in zip(sizes, array.shape, strict=True))
    return same and array.dtype.kind in "biuf" and (array.dtype != np.uint8 or port.dtype == "uint8")


def _steps(artifact: Any) -> int | None:
    """Returns how often a sample without time is repeated, or None for a model that takes no time axis."""
    manifest = artifact.manifest
    if manifest.time_steps is None or manifest.target_info.get("time_input") == "image":
        return None
    if manifest.form != "step" and manifest.inputs[0].time_axis is None:
        return None
    return manifest.time_steps if isinstance(manifest.time_steps, int) else 1


def _said(sample: Any) -> str:
    if isinstance(sample, JsonSample):
        return sample.name
    return str(sample) if isinstance(sample, str | Path) else f"a sample of type {type(sample).__name__}"
