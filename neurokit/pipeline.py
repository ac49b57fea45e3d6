"""The pipeline from a model to a verified artifact: one function a stage, each also a verb of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neurokit.accepted import as_captured, as_model
from neurokit.artifact import Artifact, Manifest, ModelInfo, Reparameterisation, check_out, write_artifact
from neurokit.errors import InputError, MissingRuntimeError, OutputError, UnsupportedError
from neurokit.manifest import PreprocessInfo, TaskInfo, TransformInfo
from neurokit.parity.check import verify as _verify
from neurokit.parity.check import with_simulators
from neurokit.parity.compare import compare
from neurokit.parity.vectors import FILE, Vectors
from neurokit.parity.wellformed import fitting
from neurokit.provenance import versions
from neurokit.reports import ParityReport
from neurokit.serial import one_at_a_time
from neurokit.simulation import simulate
from neurokit.stages import stage
from neurokit.target import TARGETS, FineTunes, LowerOptions, Runner, Target, check_ports, check_request

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled
    from neurokit.exact import Exact
    from neurokit.spec import ModelSpec
    from neurokit.transforms import Step

__all__ = ["capture", "compare", "exact", "exact_finetune", "lower", "open", "simulate", "verify"]

_RANDOM = ("refuse", "input")


def capture(
    model: ModelSpec | nn.Module | str,
    example_inputs: torch.Tensor | None = None,
    *,
    time_steps: int | Literal["dynamic"] | None = None,
    batch: int | Literal["dynamic"] = "dynamic",
    merge: bool = False,
    transforms: Sequence[Step] = (),
    random: Literal["refuse", "input"] = "refuse",
) -> Captured:
    """Captures a model as one program in which every neuron takes and returns its state.

    Args:
        model: A spec, what `neurokit.load` takes, or a module together with `example_inputs`, which is left as it
            was found.
        example_inputs: For a bare module: `[T, B, *shape]` if it has neurons, else `[B, *shape]`.
        time_steps: T, or "dynamic"; default is the spec's.
        batch: A fixed batch size, or "dynamic".
        merge: Whether to merge re-parameterised branches (RepConv) into single convolutions.
        transforms: Transforms to apply to the spec before, in order: names, "NAME:KEY=VALUE,...", or pairs of a name
            and settings (`neurokit list transforms`).
        random: What becomes of random draws in the forward: "refuse", or "input" for an input of each (the transform
            `random_input`).

    Raises:
        UnsupportedError: If the model cannot be captured or transformed; lists every reason.
        InputError: If T or the batch size is no positive number, or the module does not take such inputs.
        ModelLoadError: If the module cannot be built or copied.
    """
    from neurokit.capture import capture as trace  # torch comes with it: verifying and running do without

    taken = as_model(model)
    steps = with_random(transforms, random)
    if steps:
        from neurokit.capture import spec_of
        from neurokit.spec import ModelSpec as IsSpec
        from neurokit.transforms import transform

        taken = taken if isinstance(taken, IsSpec) else spec_of(taken, example_inputs, time_steps)
        taken, example_inputs = transform(taken, steps), None
    with stage("capture"):
        return trace(taken, example_inputs, time_steps=time_steps, batch=batch, merge=merge, compare=True)


def with_random(transforms: Sequence[Step], random: str) -> list[Step]:
    """Returns the transforms that were asked for, with that of random draws first.

    Raises:
        InputError: If `random` is none of what may become of draws.
    """
    if random not in _RANDOM:
        raise InputError(f"random is {random!r}", expected="one of " + ", ".join(_RANDOM))
    return [*(["random_input"] if random == "input" else []), *transforms]


def exact(
    model: Captured | ModelSpec,
    calibration: torch.Tensor | Mapping[str, torch.Tensor] | None = None,
    *,
    bits: int = 8,
    search: bool | None = None,
) -> Exact:
    """Turns a model into its exact form: the same spikes on every target, bit for bit, with a proof.

    Args:
        model: A captured model, or a spec. Re-parameterised branches are merged.
        calibration: Inputs `[T, B, *shape]`, of several inputs by name; default is the spec's example.
        bits: Bits of a weight, 2 to 8.
        search: Whether to search for the rounding that keeps the sums; default is with calibration data.

    Raises:
        InputError: If the bits or the calibration data do not fit.
        UnsupportedError: If the model cannot be captured.
    """
    from neurokit.exact import exact as make

    return make(model, calibration, bits=bits, search=search)


def exact_finetune(
    model: Captured | ModelSpec,
    data: Labelled,
    calibration: torch.Tensor | None = None,
    *,
    bits: int = 4,
    **training: Any,
) -> Exact:
    """Turns a model into its exact form and trains it on its grid: for few bits, and what they lose.

    Args:
        model: A captured model, or a spec.
        data: Labelled training data (`neurokit.data.labelled.Labelled`): `[N, *shape]` or `[N, T, *shape]`, and `[N]`.
        calibration: Inputs `[T, B, *shape]`; default are the first 256 training samples.
        bits: Bits of a weight, 2 to 8.
        training: epochs (20), learning_rate (0.02, in units of a weight's grid), batch (64), seed (0).

    Raises:
        InputError: If bits, data or settings do not fit.
        UnsupportedError: If the model cannot be captured.
    """
    from neurokit.exact import exact_finetune as make

    return make(model, data, calibration, bits=bits, **training)


@one_at_a_time
def lower(
    model: Captured | Exact | ModelSpec | str,
    target: str,
    out: str | Path,
    *,
    numerics: str = "float",
    calibration: torch.Tensor | Mapping[str, torch.Tensor] | None = None,
    bits: int = 8,
    batch: int | Literal["dynamic"] | None = None,
    flat: bool = False,
    force: bool = False,
    weights_sha256: str | None = None,
    inputs: torch.Tensor | Mapping[str, torch.Tensor] | None = None,
    verified: bool = True,
    simulators: bool = False,
    data: Labelled | None = None,
    fine_tune: Labelled | None = None,
    **extra: Any,
) -> Artifact:
    """Lowers a captured model to a target and verifies the result.

    Args:
        model: The captured model, or its exact form (which makes `numerics` "exact"); a spec, or what
            `neurokit.load` takes, is captured first.
        target: Name of the target.
        out: Folder to make; it appears whole or not at all.
        numerics: "float", or "exact" for the same spikes on every target, bit for bit, with the proof in the manifest.
        calibration: For "exact" and for targets in int8: inputs that ranges and roundings are chosen on,
            `[T, B, *shape]` (`[B, *shape]` without time), of several inputs by name; default is the spec's example.
        bits: For "exact": bits of a weight, 2 to 8.
        batch: "dynamic" or a fixed batch size; default is the capture's.
        flat: Whether to add a copy without local functions.
        force: Whether an artifact at `out` may be replaced.
        weights_sha256: Sum of the weights file, for the manifest.
        inputs: Input of the test vectors, or several by name; default is the spec's example, one sample.
        verified: Whether to verify the artifact and record the verdict in its manifest.
        simulators: Whether other simulators that are installed run the file too, where the target has any (NIR).
        data: Labelled data: the accuracy before and after is written into the manifest.
        fine_tune: For "exact" and "onnx-int8": labelled training data; weights are trained on their grid.
        extra: Options of the target.

    Returns:
        The artifact. If verification failed, its manifest says so.

    Raises:
        UnsupportedError: If the target cannot take the model, or it cannot be exact; lists every reason.
        OutputError: If `out` exists or cannot be written.
        MissingRuntimeError: If a library is missing; says how to install it.
    """
    from neurokit.program.element_types import refuse_types  # torch comes with it

    chosen = TARGETS.get(target)
    asked = "exact" if _exact_bits(model) is not None else numerics
    check_request(target, LowerOptions(asked, batch or "dynamic", flat, extra))
    if verified:  # what cannot be verified here is said before there is a folder
        need_runtime(chosen)
    source = as_captured(model, lambda spec: check_ports(spec, target))
    meant = _source(source).spec.exact_bits
    if meant is not None:  # the transform `exact`
        numerics, bits = "exact", meant
    check_ports(_source(source).whole_spec, target)
    refuse_types(_source(source))
    ranges = calibration if chosen.info.calibrated and numerics == "float" else None
    trains = fine_tune is not None and numerics == "float" and isinstance(chosen, FineTunes)
    training = None if trains else fine_tune
    with stage("numerics"):
        captured, proof = _numerics(source, numerics, None if ranges is not None else calibration, bits, training)
    numerics = "float" if proof is None else "exact"
    if chosen.info.fixed_batch and (batch or captured.batch) == "dynamic":
        batch = 1
    if batch is not None and batch != captured.batch:
        captured = captured.retrace(batch=batch)
    _refuse_batch(captured)
    options = LowerOptions(numerics, captured.batch, flat, extra, ranges)
    reasons = chosen.check(captured, options)
    if reasons:
        raise UnsupportedError(f"target {target!r} cannot take model {captured.spec.name!r}", reasons)
    if trains:
        check_out(out, force=force)  # before the minutes of training
        with stage("fine-tune"):
            captured, options = chosen.fine_tune(captured, options, fine_tune)  # type: ignore[attr-defined]
    with write_artifact(out, force=force) as draft:
        with stage("lower"):
            entries = dict(chosen.lower(captured, draft.path, options))
        keeps = any(graph.get("states") for graph in entries.get("graphs", ()))
        with stage("vectors"):
            _vectors(captured, inputs, keeps).save(draft.path / FILE)
        if proof is not None:
            more = {"proof": proof, "against_float": proof.pop("against_float")}
            entries["target_info"] = {**entries.get("target_info", {}), **more}
        draft.manifest = _manifest(captured, target, options, entries, weights_sha256)
        draft.finish = lambda artifact: _finished(artifact, _source(source), verified, simulators, data)
    assert draft.artifact is not None
    return draft.artifact


def _finished(
    artifact: Artifact, source: Captured, verified: bool, simulators: bool, data: Labelled | None
) -> Artifact:
    """Measures and verifies an artifact that has not got its name yet: it appears with its verdict or not at all."""
    if data is not None:
        from neurokit.tasks.evaluate import evaluate

        artifact = artifact.with_target_info(accuracy=evaluate(source, artifact, data))
    if not verified:
        return artifact
    report = verify(artifact, record=False, simulators=simulators)
    return artifact.with_parity(report)


def _refuse_batch(captured: Captured) -> None:
    if captured.fidelity is not None:
        from neurokit.capture.fidelity import refuse_batch

        refuse_batch(captured, captured.batch)


def _exact_bits(model: Any) -> int | None:
    """Returns the bits of a weight of what is exact whatever numerics are asked for, or None."""
    if hasattr(model, "proof"):  # an `Exact`, which comes with torch
        return int(model.bits)
    spec = getattr(model, "spec", model)
    return getattr(spec, "exact_bits", None)


def _source(model: Captured | Exact) -> Captured:
    """Returns the model in float numerics."""
    from neurokit.capture import Captured as IsCaptured

    return model if isinstance(model, IsCaptured) else model.source


def _numerics(
    model: Captured | Exact, numerics: str, calibration: Any, bits: int, training: Labelled | None
) -> tuple[Captured, dict[str, Any] | None]:
    """Returns the model in the numerics that were asked for, and its proof."""
    from neurokit.capture import Captured as IsCaptured

    if isinstance(model, IsCaptured):
        if numerics == "float":
            if calibration is not None:
                raise InputError(
                    "calibration data were given for numerics 'float'", fix='numerics="exact", or target="onnx-int8"'
                )
            if training is not None:
                raise InputError(
                    "training data were given for numerics 'float'", fix='numerics="exact", or target="onnx-int8"'
                )
            return model, None
        if training is None:
            model = exact(model, calibration, bits=bits)
        else:
            model = exact_finetune(model, training, calibration, bits=bits)
    from neurokit.exact import refuse

    refuse(model)
    return model.captured, {**model.to_json(), "against_float": model.against_float}


def verify(
    artifact: Artifact | str | Path,
    *,
    record: bool = True,
    simulators: bool = True,
    thorough: bool = False,
    **options: Any,
) -> ParityReport:
    """Verifies an artifact from its files alone and records the verdict in its manifest.

    Args:
        artifact: The artifact, or its folder.
        record: Whether to write the verdict into the manifest.
        simulators: Whether other simulators that are installed run the file too, where the target has any (NIR).
        thorough: Whether to run it on every optimisation level, with one and two threads and in a batch as well.
        options: Options of the target's probe (for ONNX: level, threads).

    Returns:
        The report. Where the folder cannot be written, a note says that the verdict is not recorded.

    Raises:
        ArtifactError: If a file is missing, truncated or changed, or files and manifest contradict each other.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    target = TARGETS.get(artifact.manifest.target)
    need_runtime(target)
    with fitting(artifact, "verified"):
        with stage("verify"):
            report = _verify(artifact, thorough=thorough, **options)
        if simulators:
            with stage("simulators"):
                report = with_simulators(artifact, report)
    if not record:
        return report
    try:
        artifact.with_parity(report)
    except OutputError as error:
        return replace(report, notes=(*report.notes, f"{NOT_RECORDED}: {error.what}"))
    return report


def open(artifact: Artifact | str | Path, **options: Any) -> Runner:
    """Opens an artifact for running; the runner is a context manager.

    Args:
        artifact: The artifact, or its folder.
        options: Options of the target (for ONNX: level, threads, providers, spinning, seed).

    Raises:
        ArtifactError: If a file is missing, truncated or changed.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    target = TARGETS.get(artifact.manifest.target)
    need_runtime(target)
    with fitting(artifact, "opened"):
        return target.open(artifact, **options)


NOT_RECORDED = "the verdict is not recorded"


def need_runtime(target: Target) -> None:
    """Raises MissingRuntimeError if something that running a target's artifacts needs is not installed."""
    missing = target.info.missing(lowering=False)
    if missing:
        raise MissingRuntimeError(
            f"target {target.info.name!r} needs {', '.join(missing)}", fix=target.info.install or "install it"
        )


def _vectors(captured: Captured, inputs: torch.Tensor | Mapping[str, torch.Tensor] | None, keeps: bool) -> Vectors:
    """Makes the test vectors from the sequence form, whatever form the target asked for."""
    # torch comes with these: verifying does without
    from neurokit.parity.kept_vectors import sequence_of, vectors_of
    from neurokit.parity.record_vectors import make_vectors

    if inputs is None:
        return vectors_of(captured, keeps)
    feeds = inputs if isinstance(inputs, Mapping) else {captured.spec.inputs[0].name: inputs}
    return make_vectors(sequence_of(captured), feeds=feeds, notes=captured.notes, keeps=keeps)


def _manifest(
    captured: Captured, target: str, options: LowerOptions, entries: dict[str, Any], weights_sha256: str | None
) -> Manifest:
    spec = captured.spec
    task = None if spec.task is None else TaskInfo(**asdict(spec.task))
    reasons = {
        "kept": "branches kept apart: on dense hardware merging them would cost 4.5 times the multiplications",
        "merged": "branches merged into dense convolutions, so that spikes are their operands",
    }
    return Manifest(
        model=ModelInfo(
            name=spec.name,
            source=spec.source,
            parameters=sum(p.numel() for p in captured.module.parameters()),
            options=spec.options,
            weights_sha256=weights_sha256,
        ),
        target=target,
        runtime=TARGETS.get(target).info.runtime,
        reparameterisation=Reparameterisation(
            state=captured.reparameterisation,
            reason=reasons.get(captured.reparameterisation, ""),
        ),
        transforms=tuple(TransformInfo(**asdict(applied)) for applied in spec.transforms),
        preprocess=tuple(PreprocessInfo(**asdict(step)) for step in spec.preprocess),
        versions=versions(),
        options={"batch": options.batch, "flat": options.flat, **dict(options.extra)},
        fidelity=None if captured.fidelity is None else captured.fidelity.to_json(),
        **{"numerics": options.numerics, "task": task, **entries},
    )
