"""Opens an artifact for verification: by its target's probe, or, where it has none, by its runner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.target import TARGETS, Probe, Probed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neurokit.artifact import Artifact
    from neurokit.parity.vectors import Vectors
    from neurokit.target import Runner


def open_probe(artifact: Artifact, **options: Any) -> Probe:
    """Opens an artifact for verification.

    Raises:
        InputError: If an option is not one of the target's.
    """
    target = TARGETS.get(artifact.manifest.target)
    if isinstance(target, Probed):
        return target.probe(artifact, **options)
    return RunnerProbe(artifact, target.open(artifact, **options))


class RunnerProbe(Probe):
    """Sees an artifact through its runner alone: outputs, no layers.

    Args:
        artifact: The artifact.
        runner: The artifact, open.
    """

    def __init__(self, artifact: Artifact, runner: Runner) -> None:
        self._target, self._runner = artifact.manifest.target, runner
        self._outputs = [output.name for output in artifact.manifest.outputs]

    def layers(self) -> list[str]:
        """Returns nothing: a runner shows no layers."""
        return []

    def can_force(self) -> bool:
        """Returns False: a runner takes no spikes."""
        return False

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors without layers."""
        note = f"target {self._target!r} has no probe: outputs were compared, spikes were not"
        notes = (*vectors.notes, note) if vectors.layers else vectors.notes
        return replace(vectors, layers=(), coverings=(), blind=(), notes=notes)

    def free(self, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs the artifact; returns its outputs."""
        if len(feeds) == len(self._outputs) == 1:
            return [np.asarray(self._runner(next(iter(feeds.values()))))], []
        found = self._runner(feeds)
        return [np.asarray(found[name]) for name in self._outputs], []

    def currents(
        self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Is not asked for: `can_force` is False."""
        raise NotImplementedError

    def run(self, index: int, current: np.ndarray, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Is not asked for: there are no layers."""
        raise NotImplementedError
