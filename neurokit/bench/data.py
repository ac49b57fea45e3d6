"""Labelled data for measurements, which other processes and devices read: one .npz file from any place of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurokit.artifact import Artifact
from neurokit.bench.job import Job
from neurokit.data.labelled import Labelled, read_labelled
from neurokit.data.of_artifact import spec_of
from neurokit.data.sets import SampleFiles
from neurokit.spec import ModelSpec


def with_data(jobs: Sequence[Job], place: Path, folder: Path) -> list[Job]:
    """Returns jobs that score labelled data: an .npz file is given as it is, anything else is read once and written.

    Args:
        jobs: The jobs.
        place: Labelled data, as `neurokit.data.found.find` takes them.
        folder: Where files may be written.

    Raises:
        InputError: If the data do not fit a job's model, or have no labels.
    """
    if place.suffix == ".npz":
        read_labelled(place)  # what cannot be scored ends it here, before anything is measured
        return [replace(job, data=str(place.resolve())) for job in jobs]
    written: dict[str, Path] = {}
    placed = []
    for job in jobs:
        spec, steps = _spec(job)
        key = repr((spec.inputs, steps, spec.task))
        if key not in written:
            data = SampleFiles.find(place, spec, steps).labelled()
            written[key] = save_labelled(folder / f"data-{len(written)}.npz", data)
        placed.append(replace(job, data=str(written[key])))
    return placed


def save_labelled(path: Path, data: Labelled) -> Path:
    """Writes labelled data as `read_labelled` reads them."""
    arrays = dict(data.x) if isinstance(data.x, Mapping) else {"x": data.x}
    np.savez(path, **arrays, y=data.y)  # type: ignore[arg-type]
    return path


def labelled_for(artifact: Artifact, place: Path) -> Labelled:
    """Returns labelled data as an artifact takes them.

    Raises:
        InputError: If they do not fit, or have no labels.
    """
    if place.suffix == ".npz":
        return read_labelled(place)
    spec, steps = spec_of(artifact.manifest)
    return SampleFiles.find(place, spec, steps).labelled()


def _spec(job: Job) -> tuple[ModelSpec, int | None]:
    if job.subject == "artifact":
        return spec_of(Artifact.load(job.source).manifest)
    from neurokit.bench.subjects import load_model

    spec = load_model(job.source, job)
    return spec, spec.time_steps
