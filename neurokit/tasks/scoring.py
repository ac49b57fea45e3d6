"""Scoring anything that runs on labelled data by a task: samples into calls, calls into predictions and metrics.

Numpy alone: export, benchmark and a pack on a device score by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks.task import TASKS, Task, TaskInfo

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Port:
    """An input as labelled samples have it: sizes without time and batch, free ones as text.

    A random draw (`drawn`) may be among the data; what is not there the runner draws.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    drawn: bool = False


@dataclass(frozen=True)
class Layout:
    """How labelled samples become calls of a model.

    Attributes:
        ports: Its inputs.
        steps: T where every call takes `[T, B, ...]`, else None; samples without time are repeated T times.
        fixed_steps: Whether no other T is taken.
        over_time: Whether outputs are `[T, B, ...]` and their mean over time counts; None where that is seen by their
            shape.
        batch: Samples a call; the last call is filled up from the beginning.
    """

    ports: tuple[Port, ...]
    steps: int | None = None
    fixed_steps: bool = True
    over_time: bool | None = False
    batch: int = 1


def feeds_of(data: Labelled, layout: Layout) -> dict[str, np.ndarray]:
    """Returns labelled inputs by name as `[N, *shape]`, or `[N, T, *shape]` for a model over time.

    Raises:
        InputError: If they do not fit the model.
    """
    held = data.x if isinstance(data.x, Mapping) else {}
    ports = [port for port in layout.ports if not port.drawn or port.name in held]
    given = data.named([port.name for port in ports])
    return {port.name: _fitted(given[port.name], port, layout, data.name) for port in ports}


def _fitted(x: np.ndarray, port: Port, layout: Layout, name: str) -> np.ndarray:
    timed = layout.steps is not None
    repeated = timed and x.ndim == len(port.shape) + 1
    inner = x.shape[1:] if repeated or not timed else x.shape[2:]
    fits = x.ndim == len(port.shape) + 1 + (timed and not repeated)
    fits = fits and all(isinstance(w, str) or w == size for w, size in zip(port.shape, inner, strict=True))
    if fits and timed and not repeated and layout.fixed_steps and x.shape[1] != layout.steps:
        fits = False
    if not fits:
        sizes = ", ".join(map(str, port.shape))
        raise InputError(
            f"{name or 'labelled data'}: {'x' if len(layout.ports) == 1 else port.name} has shape {list(x.shape)}",
            expected=f"[N, {sizes}]" + (f" or [N, {layout.steps}, {sizes}]" if timed else ""),
        )
    x = x.astype(port.dtype, copy=False)
    return np.repeat(x[:, None], layout.steps or 1, axis=1) if repeated else x


def predictions(run: Run, data: Labelled, layout: Layout, task: Task, settings: Mapping[str, Any]) -> np.ndarray:
    """Runs labelled inputs and returns what the task makes of the outputs, one prediction a sample.

    Args:
        run: Takes inputs by name, with time and batch, and returns outputs by name.
        data: Labelled inputs.
        layout: How they become calls.
        task: The task.
        settings: Its settings.

    Raises:
        InputError: If the data do not fit the model.
    """
    feeds, count, size = feeds_of(data, layout), len(data.y), layout.batch
    rows = []
    for start in range(0, count, size):
        chosen = np.arange(start, start + size) % count
        part = {name: x[chosen] for name, x in feeds.items()}
        if layout.steps is not None:
            part = {name: np.moveaxis(x, 1, 0) for name, x in part.items()}
        outputs = run({name: np.ascontiguousarray(x) for name, x in part.items()})
        reduced = {name: _reduced(np.asarray(y), layout) for name, y in outputs.items()}
        rows.append(task.predict(reduced, settings)[: count - start])
    return np.concatenate(rows)


def every_graph(runner: Any, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Runs every graph of an open artifact once, in order, and returns what the last one gives.

    Args:
        runner: The artifact, open; what one graph passes on to another it hands over itself.
        feeds: Inputs by name, of all graphs.
    """
    if runner.streaming:
        runner.reset(len(next(iter(feeds.values()))))
    outputs: Mapping[str, np.ndarray] = {}
    for graph in runner.manifest.graphs:
        given = {port.name: feeds[port.name] for port in graph.inputs if port.name in feeds}
        outputs = runner.run(graph.name, given)
    return outputs


def _reduced(y: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns an output without its time axis."""
    over_time = layout.over_time
    if over_time is None:  # [B, features] with as many samples as steps and features as samples would look alike
        over_time = y.ndim > 2 and y.shape[:2] == (layout.steps, layout.batch)
    return np.asarray(y.mean(axis=0)) if over_time else y


def scores(task: Task, settings: Mapping[str, Any], found: np.ndarray, data: Labelled) -> dict[str, Any]:
    """Returns every metric of predictions as a JSON object.

    Returns:
        "task", "headline" (the metric that stands in tables), "less_is_better" and "share" (of the headline),
        "samples", "data" and "metrics" (quantities by name).

    Raises:
        InputError: If the labels are no labels of the task.
        MissingRuntimeError: If a library that a metric needs is not installed.
    """
    metrics = task.score(found, data.y, settings)
    return {**_head(task.info), "samples": len(data.y), "data": data.name, "metrics": _plain(metrics)}


def _head(info: TaskInfo) -> dict[str, Any]:
    return {
        "task": info.name,
        "headline": info.headline,
        "less_is_better": info.headline in info.less_is_better,
        "share": info.headline not in info.no_shares,
    }


def _plain(metrics: Mapping[str, Quantity]) -> dict[str, Any]:
    return {name: asdict(value) for name, value in metrics.items()}


def task_named(name: str | None, settings: Mapping[str, Any]) -> tuple[Task, dict[str, Any]]:
    """Returns a task by name with its settings; a model that names none is taken for a classifier.

    Raises:
        UnknownNameError: If there is no such task.
    """
    return TASKS.get(name or "classification"), dict(settings)


def shown(value: float, share: bool) -> str:
    """Returns a metric's value for people: a share in percent, anything else as it is."""
    return f"{value:.2%}" if share else f"{value:.4g}"


def metric_of(said: Mapping[str, Any] | None) -> str:
    """Returns the headline metric of scores as `name value`, or "" without scores."""
    if not said:
        return ""
    return f"{said['headline']} {shown(said['metrics'][said['headline']]['value'], said['share'])}"
