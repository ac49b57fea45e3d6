"""What is written beside a target's own files: the test vectors and the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from neurokit.artifact import Manifest, ModelInfo, Reparameterisation
from neurokit.manifest import PreprocessInfo, TaskInfo, TransformInfo
from neurokit.parity.vectors import Vectors
from neurokit.program.late_code import code_when_called
from neurokit.provenance import versions
from neurokit.target import TARGETS, LowerOptions

if TYPE_CHECKING:
    import torch

    from neurokit.capture import Captured


@code_when_called()
def vectors_for(
    captured: Captured, inputs: torch.Tensor | Mapping[str, torch.Tensor] | None, entries: Mapping[str, Any]
) -> Vectors:
    """Makes the test vectors from the sequence form, whatever form the target asked for.

    Args:
        captured: The model.
        inputs: Input of the test vectors, or several by name, or None for the spec's example.
        entries: What the target says of the artifact.
    """
    # torch comes with these: verifying does without
    from neurokit.parity.kept_vectors import sequence_of, vectors_of
    from neurokit.parity.longer import reaches
    from neurokit.parity.record_blind import with_blind
    from neurokit.parity.record_longer import with_longer
    from neurokit.parity.record_vectors import make_vectors

    keeps = any(graph.get("states") for graph in entries.get("graphs", ()))
    if inputs is None:
        made = vectors_of(captured, keeps)
    else:
        feeds = inputs if isinstance(inputs, Mapping) else {captured.spec.inputs[0].name: inputs}
        made = make_vectors(sequence_of(captured), feeds=feeds, notes=captured.notes, keeps=keeps)
    if entries.get("time_steps") == "dynamic" and reaches(entries.get("target_info", {}), made.feeds):
        made = with_longer(captured, made)
    return with_blind(sequence_of(captured), made, entries)


def manifest_for(
    captured: Captured, target: str, options: LowerOptions, entries: dict[str, Any], weights_sha256: str | None
) -> Manifest:
    """Returns the manifest of a lowered model, without the sums of its files.

    Args:
        captured: The model.
        target: Name of the target.
        options: How it was lowered.
        entries: What the target says: graphs, form and more.
        weights_sha256: Sum of the weights file, or None.
    """
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
