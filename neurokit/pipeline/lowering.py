"""From a captured model to a verified artifact: a target writes, and the folder appears with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neurokit import native
from neurokit.accepted import as_captured
from neurokit.artifact import Artifact, check_out, write_artifact
from neurokit.errors import UnsupportedError
from neurokit.parity.vectors import FILE
from neurokit.pipeline.numerics import exact_bits, in_numerics, source_of
from neurokit.pipeline.records import manifest_for, vectors_for
from neurokit.pipeline.using import need_runtime, verify
from neurokit.serial import one_at_a_time
from neurokit.stages import stage
from neurokit.target import TARGETS, FineTunes, LowerOptions, check_ports, check_request

if TYPE_CHECKING:
    import torch

    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled
    from neurokit.exact import Exact
    from neurokit.spec import ModelSpec


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
    from neurokit.capture.equal_choices import other_choices  # torch comes with it
    from neurokit.program.element_types import refuse_types

    chosen = TARGETS.get(target)
    asked = "exact" if exact_bits(model) is not None else numerics
    check_request(target, LowerOptions(asked, batch or "dynamic", flat, extra))
    if verified:  # what cannot be verified here is said before there is a folder
        need_runtime(chosen)
    source = as_captured(model, lambda spec: check_ports(spec, target), batch, exact=asked == "exact")
    meant = source_of(source).spec.exact_bits
    if meant is not None:  # the transform `exact`
        numerics, bits = "exact", meant
    check_ports(source_of(source).whole_spec, target)
    refuse_types(source_of(source))
    ranges = calibration if chosen.info.calibrated and numerics == "float" else None
    trains = fine_tune is not None and numerics == "float" and isinstance(chosen, FineTunes)
    training = None if trains else fine_tune
    with stage("numerics"):
        captured, proof = in_numerics(source, numerics, None if ranges is not None else calibration, bits, training)
    numerics = "float" if proof is None else "exact"
    if chosen.info.fixed_batch and (batch or captured.batch) == "dynamic":
        batch = 1
    if batch is not None and batch != captured.batch:
        captured = captured.retrace(batch=batch)
    _refuse_batch(captured)
    options = LowerOptions(numerics, captured.batch, flat, extra, ranges)
    reasons = [*chosen.check(captured, options), *other_choices(captured, chosen.info)]
    if reasons:
        raise UnsupportedError(f"target {target!r} cannot take model {captured.spec.name!r}", reasons)
    if trains:
        check_out(out, force=force)  # before the minutes of training
        with stage("fine-tune"):
            captured, options = chosen.fine_tune(captured, options, fine_tune)  # type: ignore[attr-defined]
    with write_artifact(out, force=force) as draft:
        with stage("lower"):
            entries = dict(chosen.lower(captured, draft.path, options))
        with stage("vectors"):
            vectors_for(captured, inputs, entries).save(draft.path / FILE)
        if proof is not None:
            more = {"proof": proof, "against_float": proof.pop("against_float")}
            entries["target_info"] = {**entries.get("target_info", {}), **more}
        draft.manifest = manifest_for(captured, target, options, entries, weights_sha256)
        draft.finish = lambda artifact: _finished(artifact, source_of(source), verified, simulators, data)
    assert draft.artifact is not None
    return draft.artifact


def _finished(
    artifact: Artifact, source: Captured, verified: bool, simulators: bool, data: Labelled | None
) -> Artifact:
    """Measures and verifies an artifact that has not got its name yet: it appears with its verdict or not at all."""
    if TARGETS.get(artifact.manifest.target).info.native:
        native.note(artifact.manifest)
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
