"""The search: trials are chosen in batches by Optuna, kept on disk one by one, and told in their order."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from neurokit.atomic import clear_partials, write_text
from neurokit.errors import InputError, MissingRuntimeError, OutputError
from neurokit.plain import check_regular, is_file, json_of
from neurokit.sweep.evaluate import NOT_DONE, Result
from neurokit.sweep.study import GOALS, SCORE, Study
from neurokit.sweep.workers import INSTALL, Runs

Evaluate = Callable[..., Result]
Progress = Callable[[int, int], None]
_MARK, _JOURNAL, _RESULTS = "study.json", "trials.log", "results"
Row = dict[str, Any]


class Search:
    """One study in a folder; what is there already is gone on with.

    Args:
        study: The study.
        folder: Where trials are kept.
        less_is_better: Whether a smaller score is better.

    Raises:
        OutputError: If the folder holds another study.
        MissingRuntimeError: If Optuna is not installed.
    """

    def __init__(self, study: Study, folder: Path, less_is_better: bool) -> None:
        try:
            import optuna
            import optuna.storages.journal
        except ImportError as error:
            raise MissingRuntimeError(f"optuna is not installed: {error}", fix=INSTALL) from error
        self._optuna, self.study, self.folder = optuna, study, folder
        self.less_is_better = less_is_better
        _claim(folder, study)
        (folder / _RESULTS).mkdir(exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("optuna").setLevel(logging.ERROR)
        goals = {SCORE: "minimize" if less_is_better else "maximize", **GOALS}
        self._trials = self._storage(folder / _JOURNAL, [str(goals[name]) for name in study.objectives])
        if study.search.sampler == "grid" and not self._trials.get_trials(deepcopy=False):
            for settings in study.grid():
                self._trials.enqueue_trial({name: str(value) for name, value in settings.items()})
        self.total = study.combinations() if study.search.sampler == "grid" else study.search.trials

    def _storage(self, journal: Path, directions: list[str]) -> Any:
        """Opens the journal of trials, or begins one."""
        try:
            if journal.exists():
                check_regular(journal)
            backend = self._optuna.storages.journal.JournalFileBackend(str(journal))
            return self._optuna.create_study(
                study_name=self.study.name,
                storage=self._optuna.storages.JournalStorage(backend),
                directions=directions,  # type: ignore[arg-type]  # one of two words
                load_if_exists=True,
            )
        except Exception as error:  # of a damaged journal Optuna raises whatever its lines lead to
            raise OutputError(
                f"{journal} cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:120]}",
                expected="the trials of an earlier run of this study",
                fix="choose another --out",
            ) from error

    def run(self, workers: Runs, evaluate: Evaluate, progress: Progress = lambda done, total: None) -> list[Row]:
        """Runs every trial that is not finished; returns the table, one row a trial.

        A trial whose worker dies is given to another. Results are kept as they come; they are told to the search at
        the end of each batch in the order of the trials, so that what is chosen next depends on no timing.
        """
        lost = {t.number: self._settings(t.params) for t in self._ended() if self._kept(t.number) is None}
        for number, result in workers.run(evaluate, {n: (settings, []) for n, settings in lost.items()}):
            self._keep(number, result)  # its file was damaged; what the search was told of it stands
        while batch := self._batch():
            finished = self._scores() if self.study.search.prune and SCORE in self.study.objectives else []
            waiting = {number: self._settings(chosen) for number, chosen in batch.items() if self._kept(number) is None}
            done = self._finished() + len(batch) - len(waiting)
            progress(done, self.total)
            for number, result in workers.run(evaluate, {n: (settings, finished) for n, settings in waiting.items()}):
                self._keep(number, result)
                done += 1
                progress(done, self.total)
            for number in sorted(batch):
                self._tell(number)
        return self.rows()

    def rows(self) -> list[Row]:
        """Returns one row a finished trial: number, settings, status, reason and figures."""
        found = []
        for trial in self._trials.get_trials(deepcopy=False):
            result = self._kept(trial.number)
            if result is None or not trial.state.is_finished():
                continue
            head = {"trial": trial.number, **self._chosen(trial.params)}
            found.append({**head, "status": result["status"], "reason": result["reason"], **result["figures"]})
        return found

    def front(self) -> list[int]:
        """Returns the numbers of the trials that no other one beats in every objective."""
        return sorted(trial.number for trial in self._trials.best_trials)

    def _batch(self) -> dict[int, dict[str, Any]]:
        """Returns the next trials by their numbers: those that were begun and not told, or new ones."""
        trials = self._trials.get_trials(deepcopy=False)
        begun = {t.number: dict(t.params) for t in trials if t.state.name == "RUNNING"}
        if begun:
            return begun
        left = self.total - self._finished()
        chosen: dict[int, dict[str, Any]] = {}
        self._trials.sampler = self._sampler(self._finished())
        for _ in range(min(left, self.study.search.batch)):
            trial = self._trials.ask()
            for name, choices in self.study.choices().items():
                trial.suggest_categorical(name, [str(choice) for choice in choices])
            chosen[trial.number] = dict(trial.params)
        return chosen

    def _sampler(self, told: int) -> Any:
        """Returns a sampler whose seed follows from what is told: a resumed study chooses as one that ran through."""
        samplers, seed = self._optuna.samplers, self.study.search.seed + told
        kind = self.study.search.sampler
        if kind == "nsga2":
            return samplers.NSGAIISampler(population_size=max(2, self.study.search.batch), seed=seed)
        if kind == "tpe":
            return samplers.TPESampler(seed=seed, constant_liar=True)
        return samplers.RandomSampler(seed=seed)

    def _ended(self) -> list[Any]:
        return [trial for trial in self._trials.get_trials(deepcopy=False) if trial.state.is_finished()]

    def _finished(self) -> int:
        return len(self._ended())

    def _chosen(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Returns settings as the study writes them: a storage keeps them as text."""
        choices = self.study.choices()
        return {name: next(c for c in choices[name] if str(c) == params[name]) for name in choices}

    def _settings(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Returns what a worker is given."""
        chosen, data = self._chosen(params), self.study.data
        source = self.study.models[chosen["model"]]
        common: dict[str, Any] = {"data": data.place, "samples": data.samples, "calibration": data.calibration}
        common |= {"objectives": list(self.study.objectives), "less_is_better": self.less_is_better}
        return {**chosen, **source.model_dump(), **common}

    def _scores(self) -> list[float]:
        return [row[SCORE] for row in self.rows() if row["status"] == "done" and SCORE in row]

    def _place(self, number: int) -> Path:
        return self.folder / _RESULTS / f"{number:06d}.json"

    def _keep(self, number: int, result: Result) -> None:
        if result["status"] == NOT_DONE:
            raise OutputError(
                f"trial {number} cannot be done: {result['reason']}",
                expected="space for a trial's files",
                fix="free some space, or set TMPDIR to another folder; the study goes on with what is done",
            )
        write_text(self._place(number), json.dumps(result, indent=1) + "\n")

    def _kept(self, number: int) -> Result | None:
        try:
            found = json_of(self._place(number))
        except (OSError, ValueError):
            return None
        whole = isinstance(found, dict) and {"status", "reason", "figures"} <= set(found)
        return found if whole and isinstance(found["figures"], dict) else None  # what is damaged is done again

    def _tell(self, number: int) -> None:
        result = self._kept(number)
        assert result is not None
        states = self._optuna.trial.TrialState
        missing = [name for name in self.study.objectives if name not in result["figures"]]
        if result["status"] == "done" and not missing:
            self._trials.tell(number, [result["figures"][name] for name in self.study.objectives])
        else:
            self._trials.tell(number, state=states.PRUNED if result["status"] == "pruned" else states.FAIL)


def _claim(folder: Path, study: Study) -> None:
    """Makes a study's folder, or refuses one that holds another study."""
    said = study.model_dump(mode="json", exclude={"workers"})
    mark = folder / _MARK
    if mark.exists():
        try:
            there = json_of(mark)
        except (OSError, ValueError) as error:
            raise OutputError(f"{mark} cannot be read: {error}", fix="choose another --out") from error
        if there != said:
            raise OutputError(f"{folder} holds another study", expected="the same study", fix="choose another --out")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists and is no folder of neurokit sweep", fix="choose another with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}", fix="choose another place") from error
    write_text(mark, json.dumps(said, indent=1) + "\n")


@contextmanager
def alone(folder: Path, study: Study) -> Iterator[None]:
    """Makes or takes a study's folder for a block, in which no other process runs the study.

    Raises:
        OutputError: If the folder holds another study, or another process runs it.
    """
    _claim(folder, study)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system has locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"another process runs the study in {folder}", expected="one at a time", fix="wait for it"
                ) from error
            _tidy(folder)
        yield
    finally:
        os.close(handle)


def _tidy(folder: Path) -> None:
    """Removes what a process left that was killed, or found no room: Optuna's lock, half a line, half a result."""
    for path in folder.glob(f"{_JOURNAL}.lock*"):
        path.unlink(missing_ok=True)
    clear_partials(folder)
    clear_partials(folder / _RESULTS)
    journal = folder / _JOURNAL
    if is_file(journal):
        content = journal.read_bytes()
        if not content.endswith(b"\n") and content.startswith(b"{"):
            os.truncate(journal, content.rfind(b"\n") + 1)


def table_of(rows: Sequence[Row], study: Study) -> dict[str, list[Any]]:
    """Returns the table by columns, the same for every order of its rows."""
    figures = sorted({name for row in rows for name in row} - {"trial", *study.choices(), "status", "reason"})
    names = ["trial", *study.choices(), "status", "reason", *figures]
    ordered = sorted(rows, key=lambda row: int(row["trial"]))
    return {name: [row.get(name) for row in ordered] for name in names}
