"""What a study file says: models, data, what is varied, what is wanted, how it is searched and where it runs."""

from __future__ import annotations

import re
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from neurokit.errors import InputError
from neurokit.plain import first_fault, toml_of

#: What is wanted of each figure; a share or an error of the task may be either.
GOALS = {"energy": "minimize", "latency": "minimize", "size": "minimize", "flash": "minimize", "ram": "minimize"}
SCORE = "score"
MOST_TRIALS = 100_000  # a journal of more takes minutes to read at every batch
MOST_WORKERS = 4096
MOST_STEPS = 2**20  # every step is computed in every trial
_MOST_NUMBERS = 2**32  # of one input, as capture takes them
VARIED = ("model", "time_steps", "bits", "threshold", "target", "chip", "mapping")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """One model: what `neurokit.load` takes, its weights, and what is done to a sample first."""

    source: str
    weights: str = ""
    preprocess: str = ""
    input_shape: tuple[int, ...] = ()


class Data(_Part):
    """Samples: a place as every command takes it, how many of them, and how many are calibrated on."""

    place: str = ""
    samples: int | None = Field(default=None, ge=1)
    calibration: int = Field(default=64, ge=1)


class Space(_Part):
    """What is varied: every list holds the choices of one setting; a list of one holds it fixed.

    Attributes:
        time_steps: T; () leaves it to the model.
        bits: Bits of a weight in the exact form; 0 is float.
        threshold: Factor on the threshold of every neuron.
        target: Targets to lower to, or "none".
        chip: Chips to price on, or "none".
        mapping: Placement strategies.
    """

    time_steps: tuple[int, ...] = ()
    bits: tuple[int, ...] = (0,)
    threshold: tuple[float, ...] = (1.0,)
    target: tuple[str, ...] = ("none",)
    chip: tuple[str, ...] = ("none",)
    mapping: tuple[Literal["in-order", "hilbert", "annealed"], ...] = ("annealed",)


class Search(_Part):
    """How settings are chosen.

    Attributes:
        sampler: "grid" (all of them, in order), "random", "tpe" or "nsga2".
        trials: How many; a grid's number is its own.
        batch: Trials that are chosen at once, before any of them is known: the table is the same for every number of
            workers, since it depends on this number and not on theirs.
        seed: Of the sampler.
        prune: Whether a trial ends after a quarter of its samples where a finished one beats it by far.
    """

    sampler: Literal["grid", "random", "tpe", "nsga2"] = "grid"
    trials: int = Field(default=32, ge=1, le=MOST_TRIALS)
    batch: int = Field(default=8, ge=1, le=MOST_TRIALS)
    seed: int = Field(default=0, ge=0, lt=2**31)
    prune: bool = True


class Workers(_Part):
    """Where trials run: processes of this machine, a scheduler that is there, or a launcher of Dask's.

    Attributes:
        count: Number of workers.
        address: Address of a Dask scheduler, or "".
        launcher: Class that starts a cluster: "dask_jobqueue:SLURMCluster", "dask_kubernetes.operator:KubeCluster".
        options: What the launcher is given.
    """

    count: int = Field(default=1, ge=1, le=MOST_WORKERS)
    address: str = ""
    launcher: str = ""
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("launcher")
    @classmethod
    def _of_dask(cls, launcher: str) -> str:
        # A study is a file: it names one of Dask's clusters, not whatever can be imported and called.
        if launcher and not re.fullmatch(r"(dask_\w+|distributed)(\.\w+)*:\w+", launcher):
            raise ValueError(f"{launcher!r} is none of Dask's; expected MODULE:CLASS, as dask_jobqueue:SLURMCluster")
        return launcher


class Study(_Part):
    """A study.

    Attributes:
        name: Its name.
        models: Models by the names under which the table lists them.
        data: Samples.
        space: What is varied.
        objectives: Figures that are wanted: "score" (the task's headline metric), "energy", "latency", "size", "flash",
            "ram".
        search: How settings are chosen.
        workers: Where trials run.
    """

    name: str = Field(min_length=1)
    models: dict[str, Source] = Field(min_length=1)
    data: Data = Data()
    space: Space = Space()
    objectives: tuple[str, ...] = (SCORE, "energy")
    search: Search = Search()
    workers: Workers = Workers()

    @field_validator("name")
    @classmethod
    def _of_a_folder(cls, name: str) -> str:
        if len(name.encode("utf-8", "replace")) > 200 or not name.isprintable() or set(name) & set("/\\"):
            raise ValueError("the default folder is named by it; expected at most 200 letters without / and \\")
        return name

    def choices(self) -> dict[str, list[Any]]:
        """Returns the choices of everything that is varied, by name."""
        space = {name: list(values) for name, values in self.space.model_dump().items() if values}
        return {"model": list(self.models), **space}

    def combinations(self) -> int:
        """Returns how many combinations there are."""
        return prod(len(values) for values in self.choices().values())

    def grid(self) -> list[dict[str, Any]]:
        """Returns every combination, in order."""
        choices = self.choices()
        return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def read_study(path: Path) -> Study:
    """Reads a study; places in it are relative to its folder.

    Raises:
        InputError: If there is none, or something in it is not what it must be.
    """
    try:
        found = toml_of(path)
    except FileNotFoundError as error:
        raise InputError(f"there is no study {path}", expected="a .toml file (docs/sweeps.md)") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a .toml file (docs/sweeps.md)") from error
    try:
        study = Study.model_validate(found)
    except ValidationError as error:
        place, said = first_fault(error)
        raise InputError(f"{path}: {place or 'the study'}: {said}", expected="what docs/sweeps.md lists") from error
    _check(study, path)
    home = path.parent
    models = {name: source.model_copy(update=_placed(source, home)) for name, source in study.models.items()}
    place = str(home / study.data.place) if study.data.place else ""
    return study.model_copy(update={"models": models, "data": study.data.model_copy(update={"place": place})})


def _check(study: Study, path: Path) -> None:
    count = study.combinations()
    if study.search.sampler == "grid" and count > MOST_TRIALS:
        raise InputError(
            f"{path}: a grid of {count:,} combinations",
            expected=f"at most {MOST_TRIALS:,}",
            fix='fewer choices, or [search] sampler = "random" and trials',
        )
    known = (SCORE, *GOALS)
    wrong = [name for name in study.objectives if name not in known]
    if wrong or not study.objectives or len(set(study.objectives)) < len(study.objectives):
        raise InputError(f"{path}: objectives are {list(study.objectives)}", expected="some of " + ", ".join(known))
    if SCORE in study.objectives and not study.data.place:
        raise InputError(f"{path}: a score needs labelled data", expected="[data] place = ...")
    space, needs = (
        study.space,
        {"energy": "chip", "latency": "chip", "size": "target", "flash": "target", "ram": "target"},
    )
    for objective in study.objectives:
        varied = needs.get(objective)
        if varied and "none" in getattr(space, varied):
            raise InputError(
                f"{path}: {objective} needs a {varied} in every trial", expected=f"[space] {varied} = [...]"
            )
    if any(bits not in (0, *range(2, 9)) for bits in space.bits):
        raise InputError(f"{path}: bits are {list(space.bits)}", expected="0 for float, or 2 to 8")
    _check_sizes(study, path)
    if any(not 0 < factor < 1e6 for factor in space.threshold):
        raise InputError(f"{path}: a threshold's factor is out of range", expected="factors above 0 and below 1e6")
    _known(space, path)


def _check_sizes(study: Study, path: Path) -> None:
    """Refuses a T or an input that would never end, before a trial begins."""
    steps = study.space.time_steps
    if any(not 1 <= one <= MOST_STEPS for one in steps):
        raise InputError(
            f"{path}: space.time_steps are {', '.join(f'{one:,}' for one in steps[:8])}: out of range",
            expected=f"T from 1 to {MOST_STEPS:,}",
            fix="fewer time steps",
        )
    for name, source in study.models.items():
        count = prod(source.input_shape) * max(steps, default=1)
        if any(size < 1 for size in source.input_shape) or count > _MOST_NUMBERS:
            raise InputError(
                f"{path}: models.{name}.input_shape {list(source.input_shape)} is out of range",
                expected=f"sizes of 1 and more, at most {_MOST_NUMBERS:,} numbers with all time steps",
            )


def _known(space: Space, path: Path) -> None:
    """Refuses unknown targets and chips before anything is loaded."""
    from neurokit.hw_sim.chips.file import load_chip
    from neurokit.target import TARGETS

    for name in space.target:
        if name != "none":
            TARGETS.get(name)
    for chip in space.chip:
        if chip != "none":
            load_chip(chip)
    assert path


def _placed(source: Source, home: Path) -> dict[str, str]:
    """Returns the paths of a model relative to the study's folder; a zoo name stays as it is."""
    file, colon, factory = source.source.partition(":")
    at = f"{home / file}{colon}{factory}" if file.endswith(".py") else source.source
    beside = {"weights": source.weights, "preprocess": source.preprocess}
    return {"source": at, **{name: str(home / file) if file else "" for name, file in beside.items()}}
