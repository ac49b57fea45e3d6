"""Opens a C artifact for verification: compiled so that its layers can be seen, given spikes, and run alone."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.export.c.cortex import run_on_boards
from neurokit.export.c.host import CRunner
from neurokit.neurons.dynamics import subtracted
from neurokit.parity.blind import feeds_of
from neurokit.target import Probe

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.parity.vectors import Vectors


_MANY = 8  # samples of which the code as it is must give the very numbers of the code that shows its layers


class _Traced(CRunner):
    """A runner whose layers note what they were given and fired, and fire what they are told to."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact, "NK_TRACE")
        self.layers: list[dict[str, Any]] = self._info["layers"]
        count = max(1, len(self.layers))
        self._tables = {name: self.library.pointers(f"nk_{name}", count) for name in ("currents", "spikes", "forced")}
        self.currents: list[list[np.ndarray]] = []
        self.spikes: list[list[np.ndarray]] = []
        self.forced: list[np.ndarray] = []  # of every layer, [T, B, N]

    def before(self, sample: int) -> None:
        """Gives the next sample's step new arrays to write to."""
        if sample == 0:
            self._t = len(self.spikes[0]) // len(self._states) if self.spikes and self.layers else 0
        for k, layer in enumerate(self.layers):
            size = int(layer["neurons"])
            self.currents[k].append(np.empty(size, np.float64))
            self.spikes[k].append(np.empty(size, np.int8))
            self._tables["currents"][k] = self.currents[k][-1].ctypes.data
            self._tables["spikes"][k] = self.spikes[k][-1].ctypes.data
            self._tables["forced"][k] = self.forced[k][self._t, sample].ctypes.data if self.forced else None

    def release(self) -> None:
        """Lets every layer fire by itself: neurons are then run alone."""
        for k in range(len(self.layers)):
            self._tables["forced"][k] = None

    def start(self, forced: list[np.ndarray]) -> None:
        """Forgets what was noted; `forced` are the spikes of every layer `[T, B, ...]`, or [] for its own."""
        self.currents, self.spikes = [[] for _ in self.layers], [[] for _ in self.layers]
        self.forced = [np.ascontiguousarray(s.reshape(*s.shape[:2], -1), np.int8) for s in forced]

    def membranes(self, layer: int) -> np.ndarray:
        """Returns the initial membranes of a layer."""
        return np.asarray(self.layers[layer]["start"], np.float32)


class CProbe(Probe):
    """Runs one C artifact in the ways that verification asks for."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._runner = _Traced(artifact)
        self._names = [port.name for port in artifact.manifest.outputs]

    def layers(self) -> list[str]:
        """Returns the module path of every neuron layer."""
        return [layer["path"] for layer in self._runner.layers]

    def can_force(self) -> bool:
        """Every neuron takes the reference's spikes."""
        return True

    def free(self, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs whole inputs; returns outputs and every layer's spikes `[T, B, ...]`."""
        self._runner.start([])
        outputs = self._runner(dict(feeds))
        return [outputs[name] for name in self._names], self._steps(self._runner.spikes, np.float32)

    def currents(
        self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs with the given spikes in place of every layer's own; returns outputs and input currents."""
        self._runner.start(list(spikes))
        outputs = self._runner(dict(feeds))
        units = [2.0 ** int(layer["exponent"]) for layer in self._runner.layers]
        found = self._steps(self._runner.currents, np.float64)
        return [outputs[name] for name in self._names], [
            (value * unit).astype(np.float32) for value, unit in zip(found, units, strict=True)
        ]

    def run(self, index: int, current: np.ndarray, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs a layer's own statements alone over time, on a grid that tells the numbers at its threshold apart."""
        name = self._artifact.manifest.target_info["name"]
        self._runner.release()
        call = getattr(self._runner.library, f"{name}_alone_{index}")
        membranes = np.ascontiguousarray(v0, np.float64).reshape(-1)
        spikes = np.empty(current.shape, np.float64).reshape(len(current), -1)
        for t, x in enumerate(np.ascontiguousarray(current, np.float64).reshape(len(current), -1)):
            row = spikes[t]
            places = [ctypes.c_void_p(a.ctypes.data) for a in (membranes, x, row)]
            call(*places, ctypes.c_int32(x.size))
        return spikes.reshape(current.shape).astype(np.float32), membranes.reshape(v0.shape).astype(np.float32)

    def initial_membranes(self) -> list[np.ndarray | None]:
        """Returns every layer's membranes before the last free run."""
        batch = max(1, len(self._runner._states))
        return [
            np.broadcast_to(self._runner.membranes(k), (1, batch, int(layer["neurons"]))).copy()
            for k, layer in enumerate(self._runner.layers)
        ]

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors as they are: this form shows every layer that it has."""
        return vectors

    def inspect(self, vectors: Vectors) -> tuple[list[str], list[str]]:
        """Compares the code as users compile it, and runs it on emulated Cortex boards where the tools are there."""
        other: set[str] = set()
        with CRunner(self._artifact) as plain:
            drawn = feeds_of(vectors, "range", 200, _MANY), feeds_of(vectors, "beyond", 201, 2)
            for feeds in (*drawn, vectors.feeds):  # of the last run membranes are asked for
                self._runner.start([])
                mine, theirs = plain(dict(feeds)), self._runner(dict(feeds))
                other |= {name for name in self._names if not np.array_equal(mine[name], theirs[name])}
        parts = [name for name in self._names if name in other]
        faults = [
            f"output {name!r} differs between the code as it is and the code that shows its layers" for name in parts
        ]
        faults += self._at_thresholds(vectors)
        found, notes = run_on_boards(self._artifact, vectors)
        return [*faults, *found], notes

    def _at_thresholds(self, vectors: Vectors) -> list[str]:
        """Runs every layer's own function, in its own units, at its threshold and beside it; returns faults."""
        faults = []
        self._runner.release()
        name = self._artifact.manifest.target_info["name"]
        for index, (layer, known) in enumerate(zip(vectors.layers, self._runner.layers, strict=True)):
            if known["membrane"] == "float":
                continue  # `run` runs that very function
            unit = 2.0 ** int(known["exponent"])
            threshold, rest = (float(layer.parameters[key] or 0.0) / unit for key in ("v_threshold", "v_reset"))
            wanted = np.ceil(threshold) + np.array([-1000.0, -2.0, -1.0, 0.0, 1.0, 2.0, 1000.0])
            undecayed = layer.op == "if_" or not layer.parameters["decay_input"]
            # A membrane at rest loses nothing; and where the input is multiplied too, one that equals its input.
            before = np.full_like(wanted, rest) if undecayed else wanted.copy()
            current, spikes, after = wanted - rest, np.empty_like(wanted), before.copy()
            places = [ctypes.c_void_p(a.ctypes.data) for a in (after, current, spikes)]
            getattr(self._runner.library, f"{name}_own_{index}")(*places, ctypes.c_int32(len(wanted)))
            fired = wanted >= threshold
            drop = float(subtracted(layer.parameters)) / unit
            reset = wanted - drop if layer.parameters["v_reset"] is None else np.full_like(wanted, rest)
            if not np.array_equal(spikes > 0, fired) or not np.array_equal(after, np.where(fired, reset, wanted)):
                what = "its own function differs from its equations at the threshold, or beside it"
                faults.append(f"{layer.path}: {what}")
        return faults

    def _steps(self, noted: list[list[np.ndarray]], dtype: Any) -> list[np.ndarray]:
        batch = len(self._runner._states)
        found = []
        for values, layer in zip(noted, self._runner.layers, strict=True):
            shape = (len(values) // batch, batch, *layer["shape"])
            found.append(np.stack(values).reshape(shape).astype(dtype))
        return found
