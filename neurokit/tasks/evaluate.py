"""Running a model and its lowered forms on labelled data, scored by the model's task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.labelled import Labelled
from neurokit.feeds import with_draws
from neurokit.over_time import first_is_a_sequence
from neurokit.tasks.scoring import Layout, Port, Run, every_graph, feeds_of, predictions, scores, task_named
from neurokit.tasks.task import Task

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured

_BATCH = 64


def evaluate(captured: Captured, artifact: Artifact, data: Labelled) -> dict[str, Any]:
    """Scores the source model and an artifact on the same labelled data, and how often they say the same.

    Args:
        captured: The source model, in float numerics.
        artifact: What it was lowered to.
        data: Labelled inputs.

    Returns:
        A JSON object: "task", "headline", "less_is_better", "share", "samples", "data", "before" and "after" (the
        headline metric), "agreement" (the share of samples with the same decision, where the task decides) and
        "metrics" (every metric of both, as quantities).

    Raises:
        InputError: If the data do not fit the model or its task.
    """
    task, settings = _task(captured)
    before = _of_source(captured, data, task, settings)
    with _opened(artifact) as runner:
        layout = _layout(captured, artifact.manifest.options)
        after = predictions(_lowered(runner, artifact), data, layout, task, settings)
    both = {name: scores(task, settings, found, data) for name, found in (("before", before), ("after", after))}
    headline = task.info.headline
    return {
        **both["before"],
        **{name: said["metrics"][headline]["value"] for name, said in both.items()},
        "agreement": _agreement(before, after, task),
        "metrics": {name: said["metrics"] for name, said in both.items()},
    }


def source_scores(captured: Captured, data: Labelled) -> dict[str, Any]:
    """Returns every metric of a captured model on labelled data, as `neurokit.tasks.scoring.scores`."""
    task, settings = _task(captured)
    return scores(task, settings, _of_source(captured, data, task, settings), data)


def headline_score(captured: Captured, data: Labelled) -> float:
    """Returns the headline metric of a captured model on labelled data."""
    said = source_scores(captured, data)
    return float(said["metrics"][said["headline"]]["value"])


def sequences(captured: Captured, data: Labelled) -> np.ndarray:
    """Returns labelled inputs of a model with one input as `[N, *shape]`, or `[N, T, *shape]` for one over time.

    Raises:
        InputError: If they do not fit the model.
    """
    (x,) = feeds_of(data, _layout(captured, {})).values()
    return x


def _task(captured: Captured) -> tuple[Task, dict[str, Any]]:
    """Returns the model's task; a model that names none is taken for a classifier."""
    named = captured.spec.task
    return task_named(named.name if named else None, named.settings if named else {"classes": captured.spec.classes})


def _layout(captured: Captured, options: Mapping[str, Any]) -> Layout:
    ports = {
        port.name: Port(
            port.name,
            tuple(size if isinstance(size, int) else str(size) for size in port.sizes),
            port.dtype,
            bool(port.distribution),
        )
        for part in captured.graphs
        for port in part.spec.inputs
        if not port.source
    }
    over_time = captured.spiking and first_is_a_sequence(captured.time_output)
    return Layout(tuple(ports.values()), _steps(captured), True, over_time, _batch(captured, options))


def _steps(captured: Captured) -> int | None:
    timed = captured.spiking and captured.spec.time_input != "image"
    if not timed:
        return None
    return captured.known_steps


def _batch(captured: Captured, options: Mapping[str, Any]) -> int:
    fixed = options.get("batch")
    if isinstance(fixed, int):
        return fixed
    return captured.batch if isinstance(captured.batch, int) else _BATCH


def _agreement(before: np.ndarray, after: np.ndarray, task: Task) -> float | None:
    """Returns the share of samples with the same decision, or None for a task that decides nothing."""
    decide = task.info.decide
    if decide is None:
        return None
    same = (decide(before) == decide(after)).reshape(len(before), -1).all(axis=1)
    return float(same.mean())


def _of_source(captured: Captured, data: Labelled, task: Task, settings: Mapping[str, Any]) -> np.ndarray:
    return predictions(_source(captured), data, _layout(captured, {}), task, settings)


def _source(captured: Captured) -> Run:
    import torch

    from neurokit.capture.reference import record
    from neurokit.program.readable import readable

    source = captured if captured.parts or captured.form == "sequence" else captured.retrace(form="sequence")
    axis = 1 if _steps(captured) is not None else 0
    stream = np.random.default_rng(0)

    def run(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        feeds = with_draws(feeds, source.inputs, stream)
        passed: dict[str, torch.Tensor] = {}
        found: dict[str, np.ndarray] = {}
        for part in source.graphs:
            given = [
                passed[port.source] if port.source else torch.from_numpy(feeds[port.name]) for port in part.spec.inputs
            ]
            outputs, _ = record(readable(part.program), (*given, *part.initial_states(given[0].shape[axis])))
            named = dict(zip(part.output_names, outputs, strict=False))  # states follow
            passed |= {f"{part.graph}.{name}": y for name, y in named.items()}
            found = {name: y.numpy() for name, y in named.items()}
        return found

    return run


def _opened(artifact: Artifact) -> Any:
    from neurokit.target import TARGETS

    return TARGETS.get(artifact.manifest.target).open(artifact)


def _lowered(runner: Any, artifact: Artifact) -> Run:
    inputs, outputs = artifact.manifest.inputs, artifact.manifest.outputs
    stream = np.random.default_rng(0)  # the same draws as the source's, in the same calls
    if len(artifact.manifest.graphs) > 1:
        return lambda feeds: every_graph(runner, feeds)
    if len(inputs) > 1 or len(outputs) > 1:
        return lambda feeds: {name: np.asarray(y) for name, y in runner(with_draws(feeds, inputs, stream)).items()}
    return lambda feeds: {outputs[0].name: np.asarray(runner(feeds[inputs[0].name]))}
