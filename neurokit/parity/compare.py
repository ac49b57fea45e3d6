"""Artifacts of one model beside one another: spikes and outputs on the same input, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurokit.artifact import Artifact
from neurokit.errors import InputError
from neurokit.parity.check import free_run
from neurokit.parity.vectors import Vectors


def compare(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Runs several artifacts of one model freely on the same input and compares them pair by pair.

    Returns:
        One entry a pair: names, spike decisions compared, spikes that differ, relative error of the outputs.

    Raises:
        InputError: If the artifacts are not of one model and one input.
    """
    runs = []
    first = Vectors.of(artifacts[0])
    for artifact in artifacts:
        if artifact.manifest.model.name != artifacts[0].manifest.model.name:
            raise InputError(
                f"{artifact.path} holds model {artifact.manifest.model.name!r}",
                expected=f"model {artifacts[0].manifest.model.name!r} in every folder",
            )
        runs.append(free_run(artifact, first))
    pairs = []
    for a in range(len(runs)):
        for b in range(a + 1, len(runs)):
            (y_a, s_a), (y_b, s_b) = runs[a], runs[b]
            flipped = sum(int((p.reshape(q.shape) != q).sum()) for p, q in zip(s_a, s_b, strict=True))
            distance = float(np.linalg.norm(y_a[0] - y_b[0])) / (float(np.linalg.norm(y_a[0])) or 1.0)
            pairs.append(
                {
                    "a": artifacts[a].manifest.target,
                    "b": artifacts[b].manifest.target,
                    "spikes_compared": sum(p.size for p in s_a),
                    "spikes_differ": flipped,
                    "output_error": distance,
                }
            )
    return pairs
