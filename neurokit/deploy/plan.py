"""What a deployment will do, before it does anything: forms, devices, chips, and what is left out with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurokit.bench.job import Rules
from neurokit.deploy.budget import Term, parse_budget, resolve
from neurokit.dims import InputShape
from neurokit.errors import InputError, NeurokitError
from neurokit.pretrained import is_pretrained
from neurokit.reports.deploy import HERE, Metric
from neurokit.spec import ModelSpec
from neurokit.target import TARGETS, Prepares, check_ports
from neurokit.tasks.scoring import task_named

DEFAULT_CHIPS = ("loihi1", "speck2f")
RATE_STEPS = 32
CALIBRATION_SAMPLES = 128


@dataclass(frozen=True)
class DeployOptions:
    """The choices of one deployment.

    Attributes:
        weights: Weights file, or None.
        preprocess: Declared preprocessing, as `neurokit.load` takes it, or None.
        devices: Devices to measure on over ssh, as ssh takes them.
        chips: Chips to price on; () for none.
        budget: Limits, or "".
        targets: Forms to make, NAME or NAME:exact; () for all that this machine can make.
        samples: How many samples, spread evenly over the data; None for all.
        calibration: Samples to calibrate on; None takes some of the data.
        time_steps: T of a spiking model, or None for its own.
        input_shape: Sizes of one sample, for a bare module.
        seconds: Measure each at least this long.
        threads: Threads within an operator; 0 leaves it open.
        python: Python on the devices.
        ssh_options: Further options of ssh.
        rate_steps: T of the rates where a network of ReLUs is priced as a spiking one.
        again: Whether to repeat steps that are done.
    """

    weights: Path | None = None
    preprocess: Any = None
    devices: tuple[str, ...] = ()
    chips: tuple[str, ...] = DEFAULT_CHIPS
    budget: str = ""
    targets: tuple[str, ...] = ()
    samples: int | None = None
    calibration: Any = None
    time_steps: int | None = None
    input_shape: InputShape = None
    seconds: float = 10.0
    threads: int = 0
    python: str = "python3"
    ssh_options: tuple[str, ...] = ()
    rate_steps: int = RATE_STEPS
    again: bool = False

    @property
    def rules(self) -> Rules:
        """How long to measure."""
        return Rules(
            seconds=self.seconds,
            limit_s=max(120.0, self.seconds),
            warm_up_s=min(1.0, self.seconds),
            warm_up_limit_s=min(20.0, 10 * self.seconds),
        )


@dataclass(frozen=True)
class Form:
    """One lowered form.

    Attributes:
        target: Name of the target.
        numerics: "float" or "exact".
    """

    target: str
    numerics: str = "float"

    @property
    def name(self) -> str:
        """What it is called in lists."""
        return self.target if self.numerics == "float" else f"{self.target} {self.numerics}"


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        model: Name of the model.
        data: How the data were understood.
        samples: How many of them are taken.
        labelled: Whether they have labels.
        metric: The task's headline metric, or None without labels.
        forms: Forms to make, verify, score and measure.
        skipped: Forms that are not tried: name, and why.
        devices: Where to measure: this machine, then the devices.
        chips: Chips to price on.
        terms: The budget.
        folder: Where everything is written.
        warnings: What makes the figures those of another network or of noise.
    """

    model: str
    data: str
    samples: int
    labelled: bool
    metric: Metric | None
    forms: tuple[Form, ...]
    skipped: tuple[tuple[Form, str], ...]
    devices: tuple[str, ...]
    chips: tuple[str, ...]
    terms: tuple[Term, ...]
    folder: Path
    seconds: float = 10.0
    warnings: tuple[str, ...] = field(default=())

    def lines(self) -> list[str]:
        """Returns the plan for people, one step a line."""
        jobs = len(self.forms) * len(self.devices)
        found = [f"data: {self.data}"]
        found.append(f"lower, verify: {', '.join(form.name for form in self.forms) or 'nothing'}")
        found += [f"left out: {form.name}: {why}" for form, why in self.skipped]
        score = f"score {self.metric.name} on {self.samples} samples" if self.metric else "no labels: no metric"
        found.append(f"measure on {', '.join(self.devices)}: {jobs} x {self.seconds:g} s and more; {score}")
        found.append(f"price {self.samples} samples on {', '.join(self.chips)}" if self.chips else "no chip is priced")
        if self.terms:
            found.append("budget: " + ", ".join(term.text for term in self.terms))
        return [*found, f"write {self.folder}: page.html, report.json, artifacts"]

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as a JSON object."""
        return {
            "model": self.model,
            "data": self.data,
            "samples": self.samples,
            "metric": self.metric and self.metric.name,
            "forms": [form.name for form in self.forms],
            "left_out": [{"form": form.name, "reason": why} for form, why in self.skipped],
            "devices": list(self.devices),
            "chips": list(self.chips),
            "budget": [term.text for term in self.terms],
            "folder": str(self.folder),
            "warnings": list(self.warnings),
        }


def check_options(options: DeployOptions) -> tuple[Term, ...]:
    """Refuses options that cannot be meant, before any work; returns the budget's terms.

    Raises:
        InputError: If one is out of range, or a device is no such thing.
        UnknownNameError: If a target or a chip is unknown.
    """
    from neurokit.hw_sim.chips.file import load_chip

    terms = parse_budget(options.budget) if options.budget else ()
    if not options.seconds > 0:
        raise InputError(f"--seconds is {options.seconds:g}", expected="more than 0")
    options.rules  # noqa: B018  refuses a time that is none
    for device in options.devices:
        wrong = not device or device[0] in "-@" or device[-1] == "@" or any(c.isspace() for c in device)
        if wrong or device == HERE:
            raise InputError(f"--device is {device!r}", expected="user@board, as ssh takes it")
    if len(set(options.devices)) < len(options.devices):
        raise InputError("a device is named twice", expected="each once")
    for chip in options.chips:
        load_chip(chip)
    for entry in options.targets:
        _form(entry)
    if options.samples is not None and options.samples < 1:
        raise InputError(f"--samples is {options.samples}", expected="a whole number >= 1")
    if options.weights is not None and not (options.weights.is_file() or is_pretrained(options.weights)):
        raise InputError(f"there is no weights file {options.weights}", expected="a .safetensors, .pt or .pth file")
    return terms


def _form(entry: str) -> Form:
    name, _, numerics = entry.partition(":")
    if numerics not in ("", "float", "exact"):
        raise InputError(
            f"--target is {entry!r}", expected="NAME, or NAME:exact", fix="for example --target onnx:exact"
        )
    known = TARGETS.get(name).info.numerics
    if numerics and numerics not in known:
        raise InputError(f"--target is {entry!r}", expected=f"{name}, which is in {known[0]} numerics")
    return Form(name, numerics or known[0])


def forms_for(spec: ModelSpec, asked: Sequence[str]) -> tuple[tuple[Form, ...], tuple[tuple[Form, str], ...]]:
    """Returns the forms that this machine can make of a model, and the others with the reason.

    Without a choice that is every registered target in its first numerics (float, its own integers, or exact where it
    has nothing else), and exact numerics on the first target that ONNX Runtime runs.
    """
    if asked:
        wanted = list(dict.fromkeys(_form(entry) for entry in asked))
    else:
        wanted = [Form(name, target.info.numerics[0]) for name, target in TARGETS.items()]
        plain = [name for name, target in TARGETS.items() if target.info.runtime and not target.info.calibrated]
        wanted += [Form(plain[0], "exact")] if plain else []
    possible, skipped = [], []
    for form in wanted:
        why = _why_not(spec, form) or ("" if asked else _unprepared(form))
        if why:
            skipped.append((form, why))
        else:
            possible.append(form)
    broken = [(Form(name), f"its module did not load: {why}") for name, why in TARGETS.broken.items()]
    return tuple(possible), (*skipped, *(broken if not asked else ()))


def _unprepared(form: Form) -> str:
    target = TARGETS.get(form.target)
    return target.unprepared() if isinstance(target, Prepares) else ""


def _why_not(spec: ModelSpec, form: Form) -> str:
    info = TARGETS.get(form.target).info
    missing = info.missing()
    if missing:
        return f"{', '.join(missing)} is not installed ({info.install or 'install it'})"
    try:
        check_ports(spec, form.target)
        if form.numerics == "exact":
            from neurokit.exact import check_spec

            check_spec(spec)
    except NeurokitError as error:
        return said(error)
    if form.numerics == "exact" and not spec.spiking and "float" in info.numerics:
        return "exact numerics are for spiking networks"
    return ""


def said(error: BaseException) -> str:
    """Returns an error as one line: what happened, and every reason."""
    if isinstance(error, NeurokitError):
        return "; ".join([error.what, *(str(reason) for reason in getattr(error, "reasons", ()))])
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def metric_of(spec: ModelSpec) -> Metric:
    """Returns the headline metric of a model's task."""
    task, _ = task_named(spec.task.name if spec.task else None, {})
    headline = task.info.headline
    return Metric(headline, headline not in task.info.no_shares, headline in task.info.less_is_better)


def make_plan(
    spec: ModelSpec, files: Any, options: DeployOptions, terms: Sequence[Term], folder: Path, warnings: Sequence[str]
) -> Plan:
    """Returns what will be done with a model and data.

    Raises:
        InputError: If the budget has a term that is not measured here, or nothing can be made.
    """
    labelled = has_labels(files)
    metric = metric_of(spec) if labelled else None
    forms, skipped = forms_for(spec, options.targets)
    if not forms:
        reasons = "; ".join(f"{form.name}: {why}" for form, why in skipped)
        raise InputError(f"nothing can be made of {spec.name} here: {reasons}", expected="one target that can")
    return Plan(
        spec.name,
        files.description,
        files.limited(options.samples),
        labelled,
        metric,
        forms,
        skipped,
        (HERE, *options.devices),
        tuple(options.chips),
        resolve(terms, metric),
        folder,
        options.seconds,
        tuple(warnings),
    )


def has_labels(files: Any) -> bool:
    """Returns whether the first sample has a label; reading them all finds out where others have none."""
    return next(files.arrays(0, 1))[2] is not None
