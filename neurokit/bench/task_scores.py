"""The metrics of a model's own task, of an open runner on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurokit.bench.subject import Subject
from neurokit.data.labelled import Labelled, read_labelled
from neurokit.errors import MissingRuntimeError, NeurokitError
from neurokit.tasks.scoring import Run, every_graph, feeds_of, predictions, scores, task_named


def add_scores(row: dict[str, Any], subject: Subject, runner: Any, data: Path | Labelled) -> None:
    """Scores labelled data and adds to a row what was found, or why nothing was.

    Args:
        row: A latency report as JSON; `scores` is set, of a classifier also `accuracy`.
        subject: What is measured.
        runner: It, open.
        data: Labelled data, or an .npz file with `x` (or every input by its name) and `y`.

    Raises:
        InputError: If the file does not hold such data.
    """
    try:
        task, settings = task_named(*subject.task)
    except NeurokitError as error:
        row["environment"]["accuracy_note"] = f"no metric: {error.what}"
        return
    headline = task.info.headline
    if subject.layout is None:
        row["environment"]["accuracy_note"] = f"no {headline}: {subject.target} does not take the data as it is"
        return
    data = data if isinstance(data, Labelled) else read_labelled(data)
    found = predictions(_run(subject, runner), data, subject.layout, task, settings)
    try:
        row["scores"] = scores(task, settings, found, data)
    except MissingRuntimeError as error:
        row["environment"]["accuracy_note"] = f"no {headline}: {error.what} (fix: {error.fix})"
        return
    if task.info.name == "classification":
        total = len(data.y)
        share = row["scores"]["metrics"][headline]["value"]
        row["accuracy"] = {"correct": round(share * total), "total": total, "data": data.name}


def refuse_data(subject: Subject, path: Path) -> None:
    """Refuses labelled data that cannot be scored, before anything is measured.

    Raises:
        InputError: If the file holds none, or none of the subject's shape.
    """
    if subject.layout is not None:
        feeds_of(read_labelled(path), subject.layout)


def _run(subject: Subject, runner: Any) -> Run:
    if subject.rounds:
        return lambda feeds: every_graph(runner, feeds)
    if subject.feeds is not None:
        return lambda feeds: {name: np.asarray(y) for name, y in runner(feeds).items()}
    return lambda feeds: {"y": np.asarray(runner(next(iter(feeds.values()))))}
