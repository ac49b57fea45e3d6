"""One trial: load, capture, lower, score and price one combination of settings; runs in a worker's process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.disk_space import is_full_disk
from neurokit.errors import NeurokitError
from neurokit.scratch import scratch

if TYPE_CHECKING:
    from neurokit.data.labelled import Labelled
    from neurokit.spec import ModelSpec

#: What a trial gives: {"status": "done"|"pruned"|"failed", "reason": ..., "figures": {name: value}}.
Result = dict[str, Any]
NOT_DONE = "not done"  # a status that is not kept: it says nothing of the trial
_QUARTER = 4  # a trial is looked at after one sample in so many
_FAR = 0.2  # share of the best score that a quarter of the samples must leave a trial behind for it to be given up


def evaluate(trial: Mapping[str, Any], finished: Sequence[float] = ()) -> Result:
    """Evaluates one trial.

    Args:
        trial: Settings (of `study.VARIED`), "source", "weights", "preprocess", "input_shape", "data", "samples",
            "calibration", "objectives" and "less_is_better".
        finished: Scores of the finished trials that a trial is pruned against; () for no pruning.
    """
    try:
        return _evaluate(trial, finished)
    except Exception as error:
        if is_full_disk(error):
            return {"status": NOT_DONE, "reason": "the disk is full where it ran", "figures": {}}
        return _failed(error)


def _failed(error: Exception) -> Result:
    if isinstance(error, NeurokitError):
        reasons = [str(reason) for reason in getattr(error, "reasons", ())]
        return {"status": "failed", "reason": "; ".join([error.what, *reasons]), "figures": {}}
    # A library's own exceptions have no common base; the row says which.
    return {"status": "failed", "reason": f"{type(error).__name__}: {error}", "figures": {}}


def _evaluate(trial: Mapping[str, Any], finished: Sequence[float]) -> Result:
    from neurokit import pipeline
    from neurokit.data.sets import SampleFiles
    from neurokit.tasks.evaluate import headline_score

    spec = _spec(trial)
    files = SampleFiles.find(trial["data"], spec, spec.time_steps) if trial["data"] else None
    figures: dict[str, float] = {}
    captured = pipeline.capture(spec, merge=bool(trial["bits"]))  # the exact form has merged branches
    lowered: Any = captured  # or its exact form
    if trial["bits"]:
        from neurokit.exact import refuse

        given = None if files is None else files.inputs(min(files.count, trial["calibration"]))
        made = pipeline.exact(captured, given, bits=trial["bits"])
        refuse(made)
        captured, lowered = made.captured, made
    if files is not None and "score" in trial["objectives"]:
        labelled = files.labelled(trial["samples"])
        if finished and len(labelled.y) >= 2 * _QUARTER:
            early = headline_score(captured, _every(labelled, _QUARTER))
            if hopeless(early, finished, trial["less_is_better"]):
                return {"status": "pruned", "reason": f"score {early:.4g} on a quarter", "figures": {"score": early}}
        figures["score"] = headline_score(captured, labelled)
    if trial["target"] != "none":
        figures |= _lowered(lowered, trial)
    if trial["chip"] != "none":
        figures |= _priced(captured, files, trial)
    return {"status": "done", "reason": "", "figures": figures}


def _spec(trial: Mapping[str, Any]) -> ModelSpec:
    """Returns the model with the trial's T and thresholds."""
    from neurokit.loading import load

    shape = tuple(trial["input_shape"]) or None
    weights = Path(trial["weights"]) if trial["weights"] else None
    spec = load(trial["source"], shape, trial.get("time_steps"), weights, trial.get("preprocess") or None)
    factor = float(trial["threshold"])
    if factor == 1.0:
        return spec
    before = spec.build

    def build() -> Any:
        module = before()
        for part in module.modules():
            threshold = getattr(part, "v_threshold", None)
            if isinstance(threshold, float):
                setattr(part, "v_threshold", factor * threshold)  # noqa: B010 - torch types attributes as modules
        return module

    return replace(spec, build=build)


def _every(data: Labelled, step: int) -> Labelled:
    """Returns one sample in so many."""
    x = {name: value[::step] for name, value in data.x.items()} if isinstance(data.x, Mapping) else data.x[::step]
    return replace(data, x=x, y=data.y[::step])


def hopeless(early: float, finished: Sequence[float], less_is_better: bool) -> bool:
    """Returns whether a score on a part of the samples is further behind the best finished trial than parts differ."""
    best = min(finished) if less_is_better else max(finished)
    return (early - best if less_is_better else best - early) > _FAR * max(abs(best), 1e-9)


def _lowered(captured: Any, trial: Mapping[str, Any]) -> dict[str, float]:
    """Lowers, verifies and weighs the trial's artifact.

    Raises:
        ParityError: If it computes something else.
    """
    from neurokit import pipeline
    from neurokit.errors import ParityError

    with scratch("sweep") as folder:
        artifact = pipeline.lower(captured, trial["target"], folder / "artifact")
        if artifact.manifest.parity is None or artifact.manifest.parity["verdict"] == "failed":
            raise ParityError(f"its artifact for {trial['target']} computes something else")
        files = artifact.manifest.files
        found = {"size": float(sum(info.bytes for name, info in files.items() if name not in _TESTS))}
        board = artifact.manifest.target_info.get("microcontroller") or {}
        return found | {key: float(board[f"{key}_bytes"]) for key in ("flash", "ram") if f"{key}_bytes" in board}


_TESTS = ("vectors.npz", "calibration.npz")


def _priced(captured: Any, files: Any, trial: Mapping[str, Any]) -> dict[str, float]:
    """Prices the trial on its chip: the mean over the samples.

    Raises:
        InputError: If it does not fit the chip, or has no price there.
    """
    from neurokit import pipeline
    from neurokit.data.files import as_sample
    from neurokit.errors import InputError

    samples = None
    if files is not None:
        chosen = set(files.chosen(trial["samples"]))
        spec = captured.spec
        samples = [
            as_sample(part, spec, spec.time_steps) for n, (_, part, _) in enumerate(files.arrays()) if n in chosen
        ]
    report = pipeline.simulate(captured, samples, [trial["chip"]], mapping=trial["mapping"])
    (chip,) = report.chips
    total = report.total_of(chip)
    if not chip.fits or total is None:
        why = "; ".join(chip.violations[:2]) or "it has no price for what the network does"
        raise InputError(f"{chip.title}: {why}")
    found = {"energy": float(total.value)}
    return found | ({"latency": float(chip.latency.inference.value)} if chip.latency is not None else {})
