"""Accuracy of an open runner on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurokit.bench.subject import Subject
from neurokit.data.labelled import check_pairs, read_arrays
from neurokit.errors import InputError


def accuracy(subject: Subject, runner: Any, path: Path) -> dict[str, Any]:
    """Runs labelled data and counts the right answers.

    Args:
        subject: What is measured.
        runner: It, open.
        path: .npz file with `x` `[N, *shape]` or `[N, T, *shape]`, and `y` `[N]`.

    Raises:
        InputError: If the file does not hold such data.
    """
    x, y = read_arrays(path)
    check_pairs(x, y, str(path))
    if y.ndim != 1:
        raise InputError(f"{path}: y is {list(y.shape)}", expected="one label for each input")
    inner = subject.x.ndim - subject.batch_axis - 1
    has_time = x.ndim - 1 == inner + 1 and subject.timed
    if x.ndim - 1 != inner + has_time:
        raise InputError(
            f"{path}: x has shape {list(x.shape)}",
            expected=f"[N, {', '.join(map(str, subject.x.shape[subject.batch_axis + 1 :]))}]",
        )
    batch = subject.fixed_batch or 1
    correct = 0
    for start in range(0, len(x), batch):
        rows = np.arange(start, start + batch) % len(x)
        part = x[rows].astype(subject.x.dtype)
        if subject.timed:
            part = np.moveaxis(part, 1, 0) if has_time else np.repeat(part[None], subject.x.shape[0], axis=0)
        found = _first_output(subject, runner, np.ascontiguousarray(part))
        found = found.mean(axis=0) if subject.time_output == "sequence" else found
        correct += int((found.argmax(-1)[: len(x) - start] == y[rows][: len(x) - start]).sum())
    return {"correct": correct, "total": len(x), "data": path.name}


def _first_output(subject: Subject, runner: Any, x: np.ndarray) -> np.ndarray:
    if subject.feeds is None:
        return np.asarray(runner(x))
    if len(subject.feeds) > 1:
        raise InputError(f"{subject.model} has {len(subject.feeds)} inputs", expected="one input for labelled data")
    return np.asarray(next(iter(runner({next(iter(subject.feeds)): x}).values())))
