"""`neurokit.sweep`: the one function behind `neurokit sweep`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurokit import provenance
from neurokit.atomic import write_bytes
from neurokit.deploy.plan import metric_of
from neurokit.disk_space import full_disk
from neurokit.errors import InputError, MissingRuntimeError, NeurokitError
from neurokit.quantity import Quantity
from neurokit.reports.deploy import HERE, DeployReport, DeployRow, Metric, RowStatus
from neurokit.sweep.evaluate import evaluate
from neurokit.sweep.search import Evaluate, Progress, Row, Search, alone, table_of
from neurokit.sweep.study import MOST_WORKERS, SCORE, Study, Workers, read_study
from neurokit.sweep.workers import INSTALL, Runs, dask_runs

TABLE, PAGE = "table.parquet", "page.html"


@dataclass(frozen=True)
class Swept:
    """What a study found.

    Attributes:
        study: The study.
        rows: One row a trial: "trial", settings, "status", "reason", and figures in SI units.
        front: Numbers of the trials that no other one beats in every objective.
        folder: Where table and page are.
    """

    study: Study
    rows: tuple[Row, ...]
    front: tuple[int, ...]
    folder: Path

    @property
    def table(self) -> Path:
        """The Parquet file."""
        return self.folder / TABLE

    @property
    def page(self) -> Path:
        """The page, which draws the front."""
        return self.folder / PAGE

    def to_json(self) -> dict[str, Any]:
        """Returns the study's result as a JSON object."""
        return {
            "study": self.study.name,
            "objectives": list(self.study.objectives),
            "trials": list(self.rows),
            "front": list(self.front),
            "table": str(self.table),
            "page": str(self.page),
        }


def sweep(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
    run: Evaluate = evaluate,
    workers_of: Callable[[Workers], AbstractContextManager[Runs]] = dask_runs,
) -> Swept:
    """Runs a study: models, T, bits, thresholds, targets, chips and mappings, towards several objectives.

    Args:
        study: The study, or its .toml file (docs/sweeps.md).
        out: Folder for everything; default is build/sweep-NAME. A study that is there is gone on with.
        workers: Number of workers, in the place of the study's.
        progress: Told how many trials are done, of how many.
        run: Evaluates one trial in a worker's process.
        workers_of: Starts the workers.

    Returns:
        The table and the front. The folder holds `table.parquet`, `page.html`, and every trial's result.

    Raises:
        InputError: If the study is not what it must be.
        OutputError: If the folder holds something else.
        MissingRuntimeError: If Optuna, Dask or pyarrow is not installed.
    """
    study = study if isinstance(study, Study) else read_study(Path(study))
    if workers is not None:
        if not 1 <= workers <= MOST_WORKERS:
            raise InputError(f"workers is {workers:,}", expected=f"1 to {MOST_WORKERS:,}")
        study = study.model_copy(update={"workers": study.workers.model_copy(update={"count": workers})})
    folder = Path(out) if out is not None else Path("build") / f"sweep-{study.name}"
    metric = _metric(study) if run is evaluate else None
    with alone(folder, study), _telling_full_disks(folder):
        search = Search(study, folder, metric is not None and metric.less_is_better)
        with workers_of(study.workers) as opened:
            rows = search.run(opened, run, progress)
        swept = Swept(study, tuple(rows), tuple(search.front()), folder)
        write_table(rows, study, swept.table)
        from neurokit.page.deploy import save_html

        save_html(report_of(swept, metric), swept.page)
    return swept


@contextmanager
def _telling_full_disks(folder: Path) -> Iterator[None]:
    try:
        yield
    except NeurokitError:
        raise
    except Exception as error:
        full = full_disk(error, folder, folder)
        if full is None:
            raise
        raise full from error


def _metric(study: Study) -> Metric | None:
    """Returns the headline metric of the first model's task: all models of a study answer one question."""
    if SCORE not in study.objectives:
        return None
    from neurokit.loading import load

    first = next(iter(study.models.values()))
    weights = Path(first.weights) if first.weights else None
    return metric_of(load(first.source, first.input_shape or None, None, weights, first.preprocess or None))


def write_table(rows: Sequence[Row], study: Study, path: Path) -> None:
    """Writes the table as Parquet, whole or not at all.

    Raises:
        MissingRuntimeError: If pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingRuntimeError(f"pyarrow is not installed: {error}", fix=INSTALL) from error
    held = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(table_of(rows, study)), held)
    write_bytes(path, memoryview(held.getvalue()))


_UNITS: Mapping[str, tuple[str, str, str]] = {
    "energy": ("J", "simulated", "mean over the samples on the trial's chip"),
    "latency": ("s", "simulated", "the trial's chip"),
    "size": ("B", "measured", "files that running it takes"),
    "flash": ("B", "measured", "linked for a Cortex-M4"),
    "ram": ("B", "measured", "linked for a Cortex-M4"),
}


def report_of(swept: Swept, metric: Metric | None) -> DeployReport:
    """Returns a study as the report that pages are made of: a row a trial."""
    rows = tuple(_row(row, swept, metric) for row in swept.rows)
    best = [f"#{number}" for number in swept.front]
    done = sum(row["status"] == "done" for row in swept.rows)
    answer = (
        f"{len(best)} of {len(swept.rows)} trials are beaten by none in {' and '.join(swept.study.objectives)}",
        f"the front: {', '.join(best) or 'none'}; {done} done, "
        f"{sum(row['status'] == 'pruned' for row in swept.rows)} pruned, "
        f"{sum(row['status'] == 'failed' for row in swept.rows)} failed",
    )
    study = swept.study
    return DeployReport(
        f"study {study.name}",
        study.data.place or "the models' own examples",
        study.data.samples or 0,
        metric,
        None,
        rows,
        None,
        answer,
        notes=(f"{study.search.sampler} search, {study.search.batch} trials a batch, seed {study.search.seed}",),
        folder=str(swept.folder),
        provenance=provenance.collect(),
    )


def _row(row: Row, swept: Swept, metric: Metric | None) -> DeployRow:
    names = [name for name in swept.study.choices() if len(swept.study.choices()[name]) > 1]
    said = " ".join(f"{name}={row[name]}" for name in names)
    figures = {
        ("p50" if key == "latency" else key): Quantity.exact(row[key], unit, kind, source)  # type: ignore[arg-type]
        for key, (unit, kind, source) in _UNITS.items()
        if row.get(key) is not None
    }
    if metric is not None and row.get(SCORE) is not None:
        figures[metric.name] = Quantity.exact(row[SCORE], "", "measured", swept.study.data.place)
    states: dict[str, RowStatus] = {"done": "ok", "pruned": "invalid"}
    place = row["chip"] if row["chip"] != "none" else HERE
    status = states.get(row["status"], "failed")
    form = f"#{row['trial']} {said}".strip()
    numerics = f"exact {row['bits']} bits" if row["bits"] else "float"
    return DeployRow(
        form, row["target"], numerics, place, status, row["reason"], figures, time_steps=row.get("time_steps")
    )
