"""`neurokit.deploy`: the one function behind `neurokit deploy`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurokit import provenance
from neurokit.data.found import find
from neurokit.data.labels import order_of
from neurokit.data.sets import SampleFiles
from neurokit.deploy.choose import RULE, TOLERATED, answer, best_score, worth_training
from neurokit.deploy.measure import measure
from neurokit.deploy.plan import DeployOptions, Plan, check_options, make_plan
from neurokit.deploy.rows import chip_rows, measured_rows, skipped_rows
from neurokit.deploy.store import Store
from neurokit.deploy.work import Work
from neurokit.loading import load
from neurokit.quantity import Quantity
from neurokit.reports.deploy import DeployReport
from neurokit.soundness import RANDOM_WEIGHTS, has_random_weights, preprocessing_said, undeclared_pixels
from neurokit.spec import ModelSpec
from neurokit.target import TARGETS, FineTunes

Stage = Callable[[str], AbstractContextManager[None]]
PAGE, REPORT = "page.html", "report.json"


@dataclass(frozen=True)
class Prepared:
    """A deployment that is planned and not begun.

    Attributes:
        plan: What will be done.
        work: Its steps.
        options: The user's choices.
    """

    plan: Plan
    work: Work
    options: DeployOptions


def deploy(
    model: ModelSpec | str, data: Any, out: str | Path | None = None, *, dry_run: bool = False, **options: Any
) -> DeployReport | Plan:
    """Makes, verifies, scores, measures and prices every form of a model, and says which one to use.

    Args:
        model: A spec, or what `neurokit.load` takes.
        data: Samples with or without labels: a path (`neurokit.data.found.find`), or a data set in memory.
        out: Folder for everything; default is build/deploy-MODEL. Steps that are done there are not repeated.
        dry_run: Whether to stop at the plan, before any work.
        options: Those of `neurokit.deploy.plan.DeployOptions`: weights, devices, chips, budget, targets, samples,
            calibration, time_steps, input_shape, seconds, threads, python, ssh_options, rate_steps, again.

    Returns:
        The report, or the plan of a dry run. The folder holds `page.html`, `report.json` and the artifacts.

    Raises:
        InputError: If the data do not fit the model, an option is out of range, or nothing can be made of the model.
        UnknownNameError: If a model, target or chip is unknown.
        OutputError: If the folder cannot be written or holds something else.
    """
    weights = options.pop("weights", None)
    taken = DeployOptions(weights=None if weights is None else Path(weights), **_tupled(options))
    prepared = prepare(model, data, out, taken)
    return prepared.plan if dry_run else run(prepared)


def _tupled(options: dict[str, Any]) -> dict[str, Any]:
    """Returns options with lists as tuples, and one name alone as one of several."""
    several = ("devices", "chips", "targets", "ssh_options")
    return {k: ((v,) if isinstance(v, str) else tuple(v)) if k in several else v for k, v in options.items()}


def prepare(model: ModelSpec | str, data: Any, out: str | Path | None, options: DeployOptions) -> Prepared:
    """Reads model and data, and plans; nothing is written, captured or measured.

    Raises:
        NeurokitError: As `deploy`.
    """
    terms = check_options(options)
    if isinstance(data, str | Path):
        find(data)  # says what is wrong before the model is loaded
    spec = load(model, options.input_shape, options.time_steps, options.weights, options.preprocess)
    files = SampleFiles.find(data, spec, spec.time_steps)
    classes = files.found.classes
    order_of(classes, spec)  # data of other classes are refused before the plan
    module = spec.build()
    warnings = [RANDOM_WEIGHTS] if has_random_weights(spec, module) else []
    warnings += [said] if (said := undeclared_pixels(spec, files.found)) else []
    warnings += [f"all samples are of the class {classes[0]}: accuracy says little"] if len(classes) == 1 else []
    folder = Path(out) if out is not None else Path("build") / f"deploy-{spec.name}"
    plan = make_plan(spec, files, options, terms, folder, warnings)
    return Prepared(plan, Work(spec, module, files, plan, options, Store(folder, again=options.again)), options)


def run(prepared: Prepared, stage: Stage = lambda doing: nullcontext(), progress: Any = None) -> DeployReport:
    """Does what was planned, and writes page and report.

    Args:
        prepared: What `prepare` returned.
        stage: Makes a context in which a stage is done, from what is being done in words.
        progress: Is told how far a measurement is.

    Raises:
        OutputError: If the folder cannot be written.
    """
    plan, work = prepared.plan, prepared.work
    work.store.prepare()
    with stage(f"read {plan.data}"):
        work.data  # noqa: B018  all samples are read here, so that what is wrong with one is said first
        labels = work.labelled
    with stage("score the model itself") if labels else nullcontext():
        source = work.source_score()
    lowered = {}
    for form in plan.forms:
        with stage(f"lower to {form.name} and verify"):
            lowered[form] = work.lower(form)
    measured = {}
    for device in plan.devices:
        with stage(f"measure on {device}"):
            measured[device] = measure(work, lowered, device, progress)
    with stage(f"price on {', '.join(plan.chips)}") if plan.chips else nullcontext():
        priced = work.price()
    rows = (*measured_rows(work, lowered, measured), *chip_rows(priced, plan), *skipped_rows(plan))
    report = _report(prepared, rows, source)
    report.save_json(plan.folder / REPORT)
    from neurokit.page.deploy import save_html

    save_html(report, plan.folder / PAGE)
    return report


def _report(prepared: Prepared, rows: Any, source: dict[str, Any] | None) -> DeployReport:
    plan, work = prepared.plan, prepared.work
    score = None if source is None or plan.metric is None else Quantity(**source["metrics"][plan.metric.name])
    best = best_score(rows, plan.metric, score)
    devices = plan.devices[1:] or plan.devices  # who names devices wants them served
    chosen, sentences = answer(rows, devices, plan.terms, plan.metric, best)
    trained = [f.name for f in plan.forms if f.numerics == "exact" or isinstance(TARGETS.get(f.target), FineTunes)]
    sentences = (*sentences, *worth_training(rows, plan.metric, best, trained))
    return DeployReport(
        plan.model,
        plan.data,
        plan.samples,
        plan.metric,
        score,
        tuple(rows),
        chosen,
        sentences,
        ", ".join(term.text for term in plan.terms),
        plan.warnings,
        _notes(prepared),
        work.store.done,
        work.store.kept,
        str(plan.folder),
        provenance.collect(),
    )


def _notes(prepared: Prepared) -> tuple[str, ...]:
    plan, work = prepared.plan, prepared.work
    notes = [RULE.format(loss=TOLERATED)] if plan.metric is not None else ["without labels the fastest is recommended"]
    own = "the same data that are scored" if prepared.options.calibration is None else work.calibration.description
    if any(form.numerics == "exact" or TARGETS.get(form.target).info.quantised for form in plan.forms):
        notes.append(f"ranges and roundings were chosen on {work.calibration_count} samples of {own}")
    return (*notes, *([said] if (said := preprocessing_said(work.spec)) else []))
