"""Plants every fault into every network and form, verifies, and writes the table of docs/mutation.md.

python -m tests.mutation.run [--networks deep,rate] [--forms onnx,onnx-step] [--jobs 16] [--minutes 4] [--write]

Rows are added to a file (`--rows`) as they come; what it holds is not run again, so a run may be stopped and go on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from neurokit.artifact import Artifact
from tests.mutation.faults import FAULTS
from tests.mutation.graph import NotApplicableError
from tests.mutation.networks import NETWORKS
from tests.mutation.page import PAGE, table
from tests.mutation.plant import (
    ALL_FORMS,
    FORMS,
    Row,
    faults_of,
    judge,
    lowered,
    networks_of,
    planted,
    real_inputs,
    reference,
)

__all__ = ["FAULTS", "FORMS", "NETWORKS", "judge", "lowered", "planted", "real_inputs", "rows"]
_AT_ONCE = 12  # faults of one task
_NOT_RUN = "not run"  # verdict of a combination that a library of the machine could not do: tried again by the next run
_NO_PLACE = "no place"  # verdict of a fault that a network has no place for: kept in the file, left out of the table


def some_rows(folder: Path, name: str, form: str, faults: tuple[str, ...]) -> list[Row]:
    """Returns rows of one network and form, whose sound artifact lies in a folder, made where it is not there."""
    try:
        sound, steps = _sound(folder, name, form), networks_of(form)[name].steps
        x, y, bound = reference(sound, form, *real_inputs(name))
    except Exception as error:  # a library is missing, or not the one that is needed
        return [_not_run(name, form, fault, error) for fault in faults]
    found = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for fault in faults:
            try:
                artifact = planted(sound, fault, Path(place) / "planted", steps)
                row = judge(artifact, name, form, fault, x, y)
            except NotApplicableError:
                found.append(Row(name, form, fault, _NO_PLACE, 0.0))
            except Exception as error:  # of a library of this machine: the run goes on, and the row says why
                found.append(_not_run(name, form, fault, error))
            else:
                found.append(replace(row, bound=max(bound, row.bound)))
    return found


def _not_run(name: str, form: str, fault: str, error: BaseException) -> Row:
    said = (str(error).strip().splitlines() or ["no message"])[0][:200]
    return Row(name, form, fault, _NOT_RUN, 0.0, f"{type(error).__name__}: {said}")


def _sound(folder: Path, name: str, form: str) -> Artifact:
    place = folder / f"{name}-{form}"
    return Artifact.load(place) if place.exists() else lowered(name, folder, (form,))[form]


def rows(networks: tuple[str, ...], forms: tuple[str, ...]) -> list[Row]:
    """Returns a row for every network, form and fault that it has a place for; the sound artifacts come first."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for form in forms:
            for name in [name for name in networks if name in networks_of(form)]:
                found += some_rows(Path(folder), name, form, ("", *faults_of(form)))
    return with_bounds(found)


def with_bounds(found: list[Row]) -> list[Row]:
    """Returns the rows with the bound of the sound artifact, without the faults that had no place."""
    bounds = {(row.network, row.form): row.bound for row in found if not row.fault}
    kept = [row for row in found if row.verdict not in (_NO_PLACE, _NOT_RUN)]
    return [replace(row, bound=max(row.bound, bounds.get((row.network, row.form), 0.0))) for row in kept]


def _read(path: Path) -> list[Row]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def _tasks(networks: list[str], forms: list[str], done: set[tuple[str, str, str]]) -> Iterator[tuple[str, str, tuple]]:
    """Yields tasks that are left, in an order that is no network's or form's: a run that is stopped has some of all."""
    made = []
    for form in forms:
        for name in [name for name in networks_of(form) if not networks or name in networks]:
            left = [fault for fault in ("", *faults_of(form)) if (name, form, fault) not in done]
            made += [(name, form, tuple(left[at : at + _AT_ONCE])) for at in range(0, len(left), _AT_ONCE)]
    made.sort(key=lambda task: (task[2][0] != "", zlib.crc32("".join(map(str, task)).encode())))
    yield from made


def run(path: Path, folder: Path, networks: list[str], forms: list[str], jobs: int, minutes: float) -> None:
    """Adds the rows that are missing to a file, by several processes, until the time is spent."""
    end = time.monotonic() + 60 * minutes
    done = {(row.network, row.form, row.fault) for row in _read(path) if row.verdict != _NOT_RUN}
    tasks = _tasks(networks, forms, done)
    pairs = [(name, form) for form in forms for name in networks_of(form) if not networks or name in networks]
    with path.open("a", encoding="utf-8") as file:

        def keep(found: list[Row]) -> None:
            file.writelines(json.dumps(vars(row)) + "\n" for row in found)
            file.flush()

        with _pool(jobs) as pool:  # before the tasks: else two of them would lower into one place
            wait([pool.submit(_prepare, folder, *pair) for pair in pairs])
        while _some_tasks(tasks, folder, jobs, end, keep):
            pass  # a process died, as of a library's own fault: what it ran says so, and the rest goes on


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _some_tasks(
    tasks: Iterator[tuple[str, str, tuple[str, ...]]],
    folder: Path,
    jobs: int,
    end: float,
    keep: Callable[[list[Row]], None],
) -> bool:
    """Runs tasks until none is left, the time is spent, or a process dies; returns whether one has died."""
    running: dict[Future[list[Row]], tuple[str, str, tuple[str, ...]]] = {}
    with _pool(jobs) as pool:
        while True:
            while len(running) < jobs and time.monotonic() < end:
                task = next(tasks, None)
                if task is None:
                    break
                running[pool.submit(some_rows, folder, *task)] = task
            if not running:
                return False
            for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                name, form, faults = running.pop(future)
                try:
                    keep(future.result())
                except BrokenExecutor as error:
                    lost = [(name, form, faults), *running.values()]
                    for each in lost:
                        keep([_not_run(each[0], each[1], fault, error) for fault in each[2]])
                    return True


def _prepare(folder: Path, name: str, form: str) -> None:
    with suppress(Exception):  # said by the rows of its tasks
        _sound(folder, name, form)


def main() -> None:
    """Runs the suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="", help="default: all")
    parser.add_argument("--forms", default=",".join(ALL_FORMS))
    parser.add_argument("--jobs", type=int, default=1, help="processes; set OMP_NUM_THREADS=1 with several")
    parser.add_argument("--minutes", type=float, default=60.0, help="no task is begun behind these")
    parser.add_argument("--rows", type=Path, default=Path("build/mutation/rows.jsonl"), help="file of rows")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} of all rows in the file")
    parser.add_argument("--state", default="", help="what the page says of the code that was run")
    given = parser.parse_args()
    folder = given.rows.resolve().parent / "sound"
    folder.mkdir(parents=True, exist_ok=True)
    networks = [name for name in given.networks.split(",") if name]
    run(given.rows, folder, networks, [form for form in given.forms.split(",") if form], given.jobs, given.minutes)
    found = _read(given.rows)
    count = sum(len(faults_of(form)) + 1 for form in ALL_FORMS for _ in networks_of(form))
    tried = {(r.network, r.form, r.fault) for r in found if r.verdict != _NOT_RUN}
    not_run = {(r.form, r.why) for r in found if r.verdict == _NOT_RUN and (r.network, r.form, r.fault) not in tried}
    for form, why in sorted(not_run):
        print(f"not run: {form}: {why}", file=sys.stderr)
    page = table(with_bounds(found), given.state, count - len(tried))
    if given.write:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
