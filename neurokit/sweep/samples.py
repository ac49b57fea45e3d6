"""Energy over many samples on several workers: each counts and prices a part of them, and one report says of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError
from neurokit.scratch import scratch
from neurokit.sweep.study import Workers
from neurokit.sweep.workers import Runs, dask_runs

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.reports.energy import EnergyReport

_PARTS = 4  # of the samples for each worker: one that is slower than the others is given fewer


@dataclass(frozen=True)
class Job:
    """What is run on every sample; a worker builds it anew, from files and names alone.

    Attributes:
        model: What `neurokit.load` takes, as text.
        place: File or folder of the samples.
        chips: Names, paths of .toml files, or profiles.
        samples: How many of the samples; None for all.
        input_shape: Sizes of one sample, for a bare module.
        time_steps: T, or None for the model's own.
        weights: Weights file, or "".
        transforms: Transforms before the capture, that of random draws included.
        rate_steps: T of the rates that a network of ReLUs is converted to, or None.
        exact: Whether the network is brought into exact form.
        options: Of `neurokit.simulate`, what a price depends on: mapping, step_seconds, pace, weight_bits, queueing.
        preprocess: Declared preprocessing as on the command line, or "".
    """

    model: str
    place: str
    chips: Sequence[Any]
    samples: int | None = None
    input_shape: Any = None
    time_steps: int | None = None
    weights: str = ""
    transforms: Sequence[Any] = ()
    rate_steps: int | None = None
    exact: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocess: str = ""

    def captured(self) -> Captured:
        """Loads and captures the model.

        Raises:
            NeurokitError: As loading, transforming and capturing do.
        """
        from neurokit import pipeline
        from neurokit.loading import load

        weights = Path(self.weights) if self.weights else None
        spec = load(self.model, self.input_shape, self.time_steps, weights, self.preprocess or None)
        if self.transforms:
            from neurokit.transforms import transform

            spec = transform(spec, self.transforms)
        if self.rate_steps is not None:
            from neurokit.transforms.rate_coding.convert import rate_coded

            spec = rate_coded(spec, self.rate_steps).spec
        steps = self.rate_steps or self.time_steps or spec.time_steps or 1
        captured = pipeline.capture(spec, time_steps=steps if spec.spiking else None, merge=self.exact)
        return pipeline.exact(captured).captured if self.exact else captured


def rows_of(job: Job, start: int, stop: int) -> dict[str, Any]:
    """Counts and prices samples `start` to `stop`; runs in a worker's process.

    Returns:
        "key" (what tells this run from another), "rows" (figures by sample) and "fired" (spikes by population).
    """
    from neurokit.simulation import sample_rows

    return sample_rows(job.captured(), job.place, job.chips, start, stop, samples=job.samples, **job.options)


def fill(
    job: Job,
    count: int,
    keep: Path,
    workers: Workers,
    progress: Callable[[int, int], None] = lambda done, total: None,
    workers_of: Callable[[Workers], AbstractContextManager[Runs]] = dask_runs,
) -> None:
    """Has workers price samples, and keeps their figures in the file that `neurokit.simulate(keep=...)` goes on from.

    Args:
        job: What is run.
        count: Number of samples.
        keep: The file; it holds all samples afterwards, in order.
        workers: Where they run. A worker that dies loses its part's time: another one does that part.
        progress: Told how many samples are done, of how many.
        workers_of: Starts the workers.

    Raises:
        InputError: If a part failed on every worker that it was given to.
    """
    from neurokit.hw_sim.sample_set import Kept

    size = max(1, math.ceil(count / (_PARTS * workers.count)))
    parts = {at: (job, start, min(count, start + size)) for at, start in enumerate(range(0, count, size))}
    found: dict[int, dict[str, Any]] = {}
    progress(0, count)
    with workers_of(workers) as runs:
        for at, result in runs.run(rows_of, parts):
            if "rows" not in result:
                raise InputError(f"samples {parts[at][1]} to {parts[at][2] - 1}: {result.get('reason', 'no result')}")
            found[at] = result
            progress(sum(len(part["rows"]) for part in found.values()), count)
    kept, fired = Kept(keep, found[0]["key"]), dict[str, int]()
    if kept.rows:  # of an earlier run, which is a part of this one
        keep.unlink()
        kept = Kept(keep, found[0]["key"])
    for at in sorted(found):
        for name, spikes in found[at]["fired"].items():
            fired[name] = fired.get(name, 0) + spikes
        kept.add(found[at]["rows"], fired)


def share(job: Job, captured: Captured, keep: Path | None, workers: int | Workers, *more: Any, **own: Any) -> None:
    """Has workers price the samples of a job, where there are several; see `fill`.

    Args:
        job: What is run.
        captured: What `job.captured` returns.
        keep: File for what they find.
        workers: How many, or where.
        more: As for `fill`, from `progress` on.
        own: As for `fill`.
    """
    from neurokit.data.sets import SampleFiles

    count = SampleFiles.find(job.place, captured.spec, captured.known_steps).limited(job.samples)
    if captured.spiking and count > 1 and keep is not None:
        fill(job, count, keep, workers if isinstance(workers, Workers) else Workers(count=workers), *more, **own)


def simulate_on_workers(job: Job, workers: int | Workers = 2, *, keep: Path | None = None, **more: Any) -> EnergyReport:
    """Prices the samples of a job on several workers; the report is the one that `neurokit.simulate` makes alone.

    Args:
        job: What is run.
        workers: How many, or where.
        keep: As for `neurokit.simulate`; default is a temporary file.
        more: Further options of `neurokit.simulate` (estimators, devices), and `workers_of` of `fill`.

    Raises:
        NeurokitError: As `neurokit.simulate`.
    """
    from neurokit import pipeline

    own = {name: more.pop(name) for name in ("workers_of", "progress") if name in more}
    captured = job.captured()
    with scratch("samples") as folder:
        place = keep or folder / "kept"
        share(job, captured, place, workers, **own)
        return pipeline.simulate(captured, job.place, job.chips, samples=job.samples, keep=place, **job.options, **more)
