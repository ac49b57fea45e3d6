"""What each layer costs in int8, and which stay in float so that the whole loses little."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError
from neurokit.export.onnx.calibrated import count_of, distance
from neurokit.export.onnx.int8_layers import Layer, kept_of
from neurokit.export.onnx.layer_times import by_layer
from neurokit.export.onnx.quantise import Settings, quantise
from neurokit.export.ort import new_session
from neurokit.scratch import scratch
from neurokit.tasks.choice import best_class

if TYPE_CHECKING:
    from neurokit.feeds import Feeds
    from neurokit.spec import ModelSpec

_RUNS = 5  # timed runs of each file; the fastest counts
_NAMED = 10  # layers that a manifest names
# Tasks whose own metric takes the float model's answers for the right ones.
_ANSWERED = ("classification", "segmentation", "sequence_labelling")


@dataclass(frozen=True)
class Job:
    """A float model and what it is quantised with.

    Attributes:
        source: Its ONNX file.
        feeds: Calibration data by the names of the inputs, `[N, *shape]`.
        size: Batch size.
        settings: How to quantise.
        layers: All layers that int8 takes.
        level: Optimisation level of ONNX Runtime for the int8 model.
        spec: The model, whose task counts points.
    """

    source: Path
    feeds: Feeds
    size: int
    settings: Settings
    layers: Sequence[Layer]
    level: int
    spec: ModelSpec


@dataclass(frozen=True)
class Choice:
    """What stays in float, and what was measured for it.

    Attributes:
        kept: The layers.
        measured: What the manifest says.
    """

    kept: Sequence[Layer]
    measured: dict[str, Any]


def choose(job: Job) -> Choice:
    """Returns the layers that stay in float by the options `keep`, `auto` and `sensitivity`.

    Raises:
        InputError: If `keep` names no layer, or every layer.
    """
    measured: dict[str, Any]
    named = kept_of(job.layers, job.settings.keep)
    if len(named) == len(job.layers):
        raise InputError(f"keep names all {len(named)} layers", expected="at least one layer in 8 bits")
    if job.settings.auto is None and not job.settings.sensitivity:
        measured = {"kept": [layer.name for layer in named]} if named else {}
        if job.settings.times:
            with scratch("int8") as folder:
                measured["layer_times"] = _times(_Trial(job, folder), job, named)
        return Choice(named, measured)
    with scratch("int8") as folder:
        trial = _Trial(job, folder)
        costs = sorted(((trial.of([layer])[0], layer) for layer in job.layers), key=lambda pair: -pair[0])
        measured = {
            "costs": [
                {"layer": layer.name, "operator": layer.operator, "output_relative_l2": cost}
                for cost, layer in costs[:_NAMED]
            ],
            "samples": trial.samples,
        }
        kept = list(named)
        if job.settings.auto is not None:
            kept = _until(trial, [layer for _, layer in costs], named, job.settings.auto)
            measured |= {"points_allowed": job.settings.auto, "points": trial.points}
        measured["kept"] = [layer.name for layer in kept]
        measured["sizes"] = _sizes(trial, job, kept)
        measured["layer_times"] = _times(trial, job, kept)
    return Choice(kept, measured)


def _until(trial: _Trial, dearest: Sequence[Layer], named: Sequence[Layer], points: float) -> list[Layer]:
    """Returns the fewest of the dearest layers that, kept in float, leave the loss below so many points.

    Raises:
        InputError: If not even a single layer in 8 bits does.
    """
    order = [*named, *(layer for layer in dearest if layer not in named)]
    all_layers = list(dearest)

    def lost(count: int) -> float:
        return trial.of([layer for layer in all_layers if layer not in order[:count]])[1]

    low, high = len(named), len(named)
    while lost(high) >= points:
        if high == len(order) - 1:
            raise InputError(
                f"int8 loses {points:g} points or more with all but one layer in float",
                expected="a model that bears 8 bits somewhere",
                fix="allow more with --option auto=POINTS, or --target onnx",
            )
        low, high = high + 1, min(max(2 * high, high + 1), len(order) - 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if lost(middle) < points else (middle + 1, high)
    return order[:high]


class _Trial:
    """Quantises some of the layers, and measures what that changes; ranges are found once."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._job, self._folder = job, folder
        total = count_of(job.feeds)
        self.samples = total - total % job.size
        self._feeds = {name: x[: self.samples] for name, x in job.feeds.items()}
        self._float = self.answers(job.source)
        self._known: dict[tuple[str, ...], tuple[float, float]] = {}
        self.points = "of the task's metric against the float model's answers" if self._scored() else "percent of L2"

    def file(self, layers: Sequence[Layer]) -> Path:
        """Writes the model with these layers in 8 bits."""
        job, path = self._job, self._folder / "trial.onnx"
        nodes = [layer.node for layer in layers]
        quantise(job.source, path, job.feeds, job.size, job.settings, nodes, self._folder / "ranges.json")
        return path

    def of(self, layers: Sequence[Layer]) -> tuple[float, float]:
        """Returns the relative L2 distance of the first output, and the points lost."""
        key = tuple(layer.node for layer in layers)
        if key not in self._known:
            found = self.answers(self.file(layers))
            self._known[key] = distance(found[0], self._float[0]), self._lost(found)
        return self._known[key]

    def answers(self, path: Path) -> list[np.ndarray]:
        """Returns the outputs of a file for the calibration data."""
        session = new_session(path, level=self._job.level)
        size = self._job.size
        rows = [
            session.run(None, {name: x[at : at + size] for name, x in self._feeds.items()})
            for at in range(0, self.samples, size)
        ]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def _scored(self) -> bool:
        task = self._job.spec.task
        return task is not None and task.name in _ANSWERED

    def _lost(self, found: Sequence[np.ndarray]) -> float:
        """Returns 100 (1 - the task's metric) with the float model's answers as the right ones; else percent of L2."""
        from neurokit.tasks.scoring import task_named

        task = self._job.spec.task
        if task is None or not self._scored():
            return 100 * distance(found[0], self._float[0])
        worker, settings = task_named(task.name, task.settings)
        names = [port if isinstance(port, str) else port.name for port in self._job.spec.outputs]
        names = names or [f"y{at}" for at in range(len(found))]
        said, right = (worker.predict(dict(zip(names, y, strict=False)), settings) for y in (found, self._float))
        if task.name == "classification":  # its predictions are scores
            right = best_class(right)
        else:
            said, right = said.astype(np.int64), right.astype(np.int64)
        score = worker.score(said, right, settings)[worker.info.headline]
        return 100 * (1 - float(score.value))


def _sizes(trial: _Trial, job: Job, kept: Sequence[Layer]) -> dict[str, Any]:
    """Returns bytes and milliseconds a batch of the float model, of all layers in int8, and of what is chosen."""
    rest = [layer for layer in job.layers if layer not in kept]
    files: Mapping[str, Callable[[], Path]] = {
        "float": lambda: job.source,
        "int8": lambda: trial.file(job.layers),
        "chosen": lambda: trial.file(rest),
    }
    made = {}
    for name, file in files.items():
        path = file()
        session = new_session(path, level=job.level)
        feed = {key: x[: job.size] for key, x in job.feeds.items()}
        session.run(None, feed)
        times = []
        for _ in range(_RUNS):
            started = time.perf_counter()
            session.run(None, feed)
            times.append(time.perf_counter() - started)
        made[name] = {"bytes": path.stat().st_size, "milliseconds": 1000 * min(times)}
    return made


def _times(trial: _Trial, job: Job, kept: Sequence[Layer]) -> dict[str, Any]:
    """Returns where the time of a batch goes, layer by layer, in float and in what is chosen."""
    chosen = trial.file([layer for layer in job.layers if layer not in kept])
    feed = {key: x[: job.size] for key, x in job.feeds.items()}
    return by_layer(job.source, chosen, feed, job.layers, kept, job.level)
