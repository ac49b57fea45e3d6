"""Running a model and its lowered forms on labelled data, scored by the model's task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.tasks.task import TASKS, Task, task_of

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured

_BATCH = 64

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def evaluate(captured: Captured, artifact: Artifact, data: Labelled) -> dict[str, Any]:
    """Scores the source model and an artifact on the same labelled data, and how often they say the same.

    Args:
        captured: The source model, in float numerics.
        artifact: What it was lowered to.
        data: Labelled inputs.

    Returns:
        A JSON object: "task", "headline", "samples", "data", "before" and "after" (the headline metric), "agreement"
        (the share of samples with the same prediction) and "metrics" (every metric of both, as quantities).

    Raises:
        InputError: If the data do not fit the model or its task.
    """
    task, settings = _task(captured)
    samples = sequences(captured, data)
    before = _predictions(_source(captured), samples, captured, task, settings, _batch(captured, {}))
    with _opened(artifact) as runner:
        size = _batch(captured, artifact.manifest.options)
        after = _predictions(_lowered(runner, artifact), samples, captured, task, settings, size)
    scores = {name: task.score(values, data.y, settings) for name, values in (("before", before), ("after", after))}
    headline = task.info.headline
    return {
        "task": task.info.name,
        "headline": headline,
        "samples": len(data.y),
        "data": data.name,
        "before": scores["before"][headline].value,
        "after": scores["after"][headline].value,
        "agreement": _agreement(before, after, settings, task),
        "metrics": {name: {metric: asdict(value) for metric, value in found.items()} for name, found in scores.items()},
    }


def headline_score(captured: Captured, data: Labelled) -> float:
    """Returns the headline metric of a captured model on labelled data."""
    task, settings = _task(captured)
    samples = sequences(captured, data)
    predictions = _predictions(_source(captured), samples, captured, task, settings, _batch(captured, {}))
    return task.score(predictions, data.y, settings)[task.info.headline].value


def sequences(captured: Captured, data: Labelled) -> np.ndarray:
    """Returns labelled inputs as `[N, *shape]`, or `[N, T, *shape]` for a model over time.

    Raises:
        InputError: If they do not fit the model.
    """
    steps = _steps(captured)
    info = captured.spec.inputs[0]
    x = data.x.astype(info.dtype)
    if steps is not None and x.ndim == len(info.shape) + 1:
        x = np.repeat(x[:, None], steps, axis=1)
    wanted = (steps, *info.shape) if steps is not None else info.shape
    if tuple(x.shape[1:]) != tuple(wanted):
        raise InputError(
            f"{data.name or 'labelled data'}: x has shape {list(data.x.shape)}",
            expected=f"[N, {', '.join(map(str, info.shape))}]" + (f" or [N, {steps}, ...]" if steps else ""),
        )
    return x


def _task(captured: Captured) -> tuple[Task, dict[str, Any]]:
    """Returns the model's task; a model that names none is taken for a classifier."""
    return task_of(captured.spec) or (TASKS.get("classification"), {"classes": captured.spec.classes})


def _steps(captured: Captured) -> int | None:
    timed = captured.spiking and captured.spec.time_input != "image"
    if not timed:
        return None
    return captured.time_steps if isinstance(captured.time_steps, int) else captured.spec.time_steps


def _batch(captured: Captured, options: Mapping[str, Any]) -> int:
    fixed = options.get("batch")
    if isinstance(fixed, int):
        return fixed
    return captured.batch if isinstance(captured.batch, int) else _BATCH


def _predictions(
    run: Run, x: np.ndarray, captured: Captured, task: Task, settings: Mapping[str, Any], size: int
) -> np.ndarray:
    timed = _steps(captured) is not None
    over_time = captured.spiking and captured.time_output == "sequence"
    rows = []
    for start in range(0, len(x), size):
        left = min(size, len(x) - start)
        chosen = np.arange(start, start + size) % len(x)  # a fixed batch is filled up from the beginning
        part = np.moveaxis(x[chosen], 1, 0) if timed else x[chosen]
        outputs = run(np.ascontiguousarray(part))
        reduced = {name: np.asarray(y).mean(axis=0) if over_time else np.asarray(y) for name, y in outputs.items()}
        rows.append(task.predict(reduced, settings)[:left])
    return np.concatenate(rows)


def _agreement(before: np.ndarray, after: np.ndarray, settings: Mapping[str, Any], task: Task) -> float:
    """Returns the share of samples with the same prediction; of scores, with the same strongest."""
    if task.info.name == "classification":
        before, after = before.argmax(-1), after.argmax(-1)
    same = (before == after).reshape(len(before), -1).all(axis=1)
    return float(same.mean())


def _source(captured: Captured) -> Run:
    import torch

    from neurokit.capture.reference import record

    source = captured if captured.form == "sequence" else captured.retrace(form="sequence")

    def run(x: np.ndarray) -> Mapping[str, np.ndarray]:
        batch = x.shape[1] if _steps(captured) is not None else x.shape[0]
        outputs, _ = record(source.program.module(), (torch.from_numpy(x), *source.initial_states(batch)))
        return {name: y.numpy() for name, y in zip(source.output_names, outputs, strict=False)}  # states follow

    return run


def _opened(artifact: Artifact) -> Any:
    from neurokit.target import TARGETS

    return TARGETS.get(artifact.manifest.target).open(artifact)


def _lowered(runner: Any, artifact: Artifact) -> Run:
    name, outputs = artifact.manifest.inputs[0].name, artifact.manifest.outputs
    if len(outputs) > 1:
        return lambda x: {output: np.asarray(y) for output, y in runner({name: x}).items()}
    return lambda x: {outputs[0].name: np.asarray(runner(x))}
