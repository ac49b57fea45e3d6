"""Fine-tunes a network for int8: quantised, trained with the file's roundings, quantised again with its ranges."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.export.onnx.calibrated import count_of, distance
from neurokit.export.onnx.int8_layers import Layer, layers_of
from neurokit.export.onnx.quantise import Settings, quantise, settings_of
from neurokit.export.onnx.ranges import kept_ranges, with_method
from neurokit.export.onnx.sensitivity import Choice, Job, choose
from neurokit.scratch import scratch
from neurokit.tasks.choice import best_class

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled
    from neurokit.export.onnx.qdq_training import RoundedProgram
    from neurokit.feeds import Feeds
    from neurokit.spec import ModelSpec
    from neurokit.target import LowerOptions

_CHECKED = 64  # samples on which the training graph is held against the file
# The training graph may be off the file by this share of what int8 is off the float network by: both round the same
# numbers on the same grids, and a sum that lies between two integers may go to either.
_SHARE = 0.5
_LEAST = 1e-3


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning decided, for the file that is written of the fine-tuned network.

    Attributes:
        settings: How it is quantised; its method is chosen.
        model: The int8 file that was scored, of the network that is taken: what is written.
        chosen: What stays in float.
        methods: The error of each method that was tried.
        said: What the manifest says of the training.
    """

    settings: Settings
    model: bytes
    chosen: Choice
    methods: Mapping[str, float]
    said: Mapping[str, Any]


@dataclass(frozen=True)
class _Written:
    """A float file, the int8 file of it, and what it was quantised with."""

    source: Path
    path: Path
    layers: list[Layer]
    ranges: Path
    feeds: Feeds
    chosen: Choice
    methods: Mapping[str, float]


def fine_tune(
    captured: Captured, options: LowerOptions, calibration: Feeds, data: Labelled, level: int
) -> tuple[Captured, LowerOptions]:
    """Returns a model fine-tuned for int8 and options that say so; both as they are where training did not help.

    Args:
        captured: The model; without neurons.
        options: Those of `onnx-int8`.
        calibration: Calibration data by the names of the inputs, `[N, *shape]`.
        data: Labelled training data. A classifier is trained on its labels, any other network on the float network's
            own answers.
        level: Optimisation level of ONNX Runtime for the int8 file.

    Raises:
        InputError: If the data do not fit.
        UnsupportedError: If the training graph would not be the written one.
    """
    settings = settings_of(options)
    size = captured.batch if isinstance(captured.batch, int) else None
    feeds = training_feeds(captured, data, size or 1)
    with scratch("int8") as folder:
        settings, made = _first(captured, calibration, size or 1, settings, level, folder)
        answers = _answers(made.source, feeds, size or 1)
        labels = _labels(captured, data, answers)
        run = _rounded(captured, settings, made, feeds, level)
        _train(run, feeds, answers, labels, size, settings)
        tuned = with_parameters(captured, run)
        after = folder / "tuned.onnx"
        _write(tuned, folder / "tuned_float.onnx", after, made, size or 1, settings)
        scores = {
            name: _score(_answers(path, feeds, size or 1, at), answers, labels)
            for name, path, at in (("before", made.path, level), ("after", after, level))
        }
        scores["float"] = _score(answers, answers, labels)
        helped = scores["after"] > scores["before"]
        said = {
            "epochs": settings.epochs,
            "learning_rate": settings.learning_rate,
            "samples": count_of(feeds),
            "data": data.name,
            "trained_on": "labels" if labels is not None else "the float network's answers",
            "layers": run.rounded,
            "metric": "accuracy" if labels is not None else "1 - relative L2 distance from the float network",
            **scores,
            "taken": helped,
        }
        taken = after if helped else made.path
        result = Tuned(settings, taken.read_bytes(), made.chosen, made.methods, said)
    return (tuned if helped else captured), replace(options, tuned=result)


def training_feeds(captured: Captured, data: Labelled, size: int) -> dict[str, np.ndarray]:
    """Returns the training data by the names of the inputs, in their order, cut to whole batches."""
    ports = captured.spec.inputs
    given = data.named([port.name for port in ports])
    made = {}
    for port in ports:
        x = np.asarray(given[port.name], dtype=port.dtype)
        if tuple(x.shape[1:]) != tuple(port.shape):
            raise InputError(
                f"training data of {port.name!r} have shape {list(x.shape)}",
                expected=f"[N, {', '.join(map(str, port.shape))}]",
            )
        made[port.name] = x[: len(x) // size * size]
    if not count_of(made):
        raise InputError(f"{len(data.y)} training samples", expected=f"at least one batch of {size}")
    return made


def with_parameters(captured: Captured, run: RoundedProgram) -> Captured:
    """Returns the model with the parameters that training left, captured anew."""
    from neurokit.capture import capture

    values = {name.removeprefix("net."): value for name, value in run.values().items()}
    spec = _with_values(captured.spec, values)
    merge = captured.reparameterisation == "merged"
    return capture(spec, batch=captured.batch, merge=merge)


def _with_values(spec: ModelSpec, values: Mapping[str, Tensor]) -> ModelSpec:
    def build() -> Any:
        import torch

        module = copy.deepcopy(spec.build())
        held = dict(module.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for name, value in values.items():
                held[name].copy_(value)
        return module.eval()

    lost = sorted(set(values) - set(dict(spec.build().named_parameters(remove_duplicate=False))))
    if lost:
        why = "the captured program holds it under a name that the module does not have"
        fix = "leave --fine-tune away"
        raise UnsupportedError(
            f"model {spec.name!r} cannot be fine-tuned for int8", [Unsupported("", lost[0], why, fix)]
        )
    return replace(spec, build=build)


def _first(
    captured: Captured, calibration: Feeds, size: int, settings: Settings, level: int, folder: Path
) -> tuple[Settings, _Written]:
    """Quantises the network as it is."""
    import onnx

    source, path = folder / "float.onnx", folder / "int8.onnx"
    _float(captured, source)
    layers = layers_of(onnx.load(str(source)), captured)
    named = [layer.node for layer in layers]
    settings, given, methods = with_method(source, calibration, size, settings, named, level, folder)
    chosen = choose(Job(source, given, size, settings, layers, level, captured.spec))
    left = [layer for layer in layers if layer not in chosen.kept]
    ranges = kept_ranges(folder, settings)
    quantise(source, path, given, size, settings, [layer.node for layer in left], ranges)
    return settings, _Written(source, path, left, ranges, given, chosen, methods)


def _write(captured: Captured, source: Path, path: Path, first: _Written, size: int, settings: Settings) -> None:
    """Quantises the fine-tuned network with the ranges of the first."""
    _float(captured, source)
    quantise(source, path, first.feeds, size, settings, [layer.node for layer in first.layers], first.ranges)


def _float(captured: Captured, path: Path) -> None:
    import onnx_ir as ir

    from neurokit.export.onnx.convert import onnx_from_captured

    ir.save(onnx_from_captured(captured), path)


def _rounded(captured: Captured, settings: Settings, made: _Written, feeds: Feeds, level: int) -> RoundedProgram:
    """Returns the program with the file's roundings, held against the file."""
    import onnx
    import torch

    from neurokit.export.onnx.qdq_training import RoundedProgram, answers

    size = captured.batch if isinstance(captured.batch, int) else 1
    run = RoundedProgram(captured, onnx.load(str(made.path)), made.layers, 64 if settings.reduce_range else 127)
    few = {name: x[: max(size, _CHECKED // size * size)] for name, x in feeds.items()}
    parts = [[torch.from_numpy(x[at : at + size]) for x in few.values()] for at in range(0, count_of(few), size)]
    with torch.no_grad():
        mine = np.concatenate([answers(run, part)[0].numpy() for part in parts])
    floats, theirs = _answers(made.source, few, size), _answers(made.path, few, size, level)
    off, allowed = distance(mine, theirs), max(_LEAST, _SHARE * distance(theirs, floats))
    if off > allowed or not run.rounded:
        why = f"in training it would be off its int8 file by {off:.2g} (relative L2), and {allowed:.2g} is allowed"
        why = why if run.rounded else "none of its layers has a weight that is a parameter of the module"
        fix = "leave --fine-tune away, or --option keep=LAYERS"
        name = captured.spec.name
        raise UnsupportedError(f"model {name!r} cannot be fine-tuned for int8", [Unsupported("", name, why, fix)])
    return run


def _train(
    run: RoundedProgram, feeds: Feeds, answers: np.ndarray, labels: np.ndarray | None, size: int | None, how: Settings
) -> None:
    import torch
    import torch.nn.functional as F

    from neurokit.export.onnx.qdq_training import Training, train

    def distance_from(found: list[Tensor], wanted: Tensor) -> Tensor:
        return (found[0] - wanted).square().sum() / wanted.square().sum().clamp_min(torch.finfo(wanted.dtype).tiny)

    def cross_entropy(found: list[Tensor], wanted: Tensor) -> Tensor:
        return F.cross_entropy(found[0], wanted.long())

    by_labels = labels is not None
    wanted, loss = (labels, cross_entropy) if by_labels else (answers, distance_from)
    train(run, feeds, wanted, loss, size, Training(how.epochs, how.learning_rate))


def _labels(captured: Captured, data: Labelled, answers: np.ndarray) -> np.ndarray | None:
    """Returns the labels of a classifier, or None for any other task."""
    task = captured.spec.task
    other = task is not None and task.name != "classification"
    if other or data.y.ndim != 1 or data.y.dtype.kind not in "iu" or answers.ndim != 2:
        return None
    labels, classes = data.y[: len(answers)], answers.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"labels go from {labels.min()} to {labels.max()}", expected=f"numbers from 0 to {classes - 1}"
        )
    return labels


def _answers(path: Path, feeds: Feeds, size: int, level: int = 3) -> np.ndarray:
    """Returns the first output of a file for all samples, by ONNX Runtime."""
    from neurokit.export.ort import new_session

    session = new_session(path, level=level)
    rows = range(0, count_of(feeds), size)
    return np.concatenate([session.run(None, {n: x[at : at + size] for n, x in feeds.items()})[0] for at in rows])


def _score(found: np.ndarray, floats: np.ndarray, labels: np.ndarray | None) -> float:
    if labels is None:
        return 1 - distance(found, floats)
    return float((best_class(found) == labels).mean())
