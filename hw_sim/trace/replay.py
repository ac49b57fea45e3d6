"""More samples of a network that was traced once: the program runs in batches, and only spikes are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node

from neurokit.capture.reference import fed_back
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.trace.lean import lean
from neurokit.hw_sim.trace.sample import Sample, binary, one_sample
from neurokit.hw_sim.trace.tracer import Tracer
from neurokit.hw_sim.trace.values import Term

if TYPE_CHECKING:
    from neurokit.capture import Captured

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Probe:
    """Where the spikes of one population are read.

    Attributes:
        node: The operation whose result holds them.
        place: Which of several results it is, or None.
        axis: Axis of that result that grows with the batch: 1 behind time, or 0.
        steps: Time steps that it holds: T, or 1 where it is computed once.
        places: Where each element of one sample lies in `[T, N]`, -1 for none; None where it is in place.
    """

    node: Node
    place: int | None
    axis: int
    steps: int
    places: NDArray[np.int64] | None


class Replay:
    """Runs one traced program on further samples.

    Args:
        captured: The model, its loops cut open.
        x: The first sample.
        first: What tracing it gave.

    Attributes:
        possible: Whether further samples can be read off the program: not where a loop is cut open, where the model
            loops over time itself, or where a population's values are no result of the program.
    """

    def __init__(self, captured: Captured, x: Sample, first: Workload) -> None:
        sample = one_sample(captured, x)
        self.captured, self.first = captured, first
        self.tracer = Tracer(captured)
        self.axis = 0 if captured.spec.time_input == "image" else 1
        self.possible = captured.spiking and not captured.feedback and not self.tracer.groups
        self._binary = binary(sample)
        kinds = tuple((population.name, population.binary) for population in first.network.populations)
        self._networks = {kinds: first.network}
        self.probes: dict[str, Probe] = {}
        if self.possible:
            self._find(sample)

    def batches(self, samples: Iterator[tuple[str, Sample]], size: int) -> Iterator[tuple[list[str], Workload]]:
        """Yields names and one workload of all samples of a batch, one after the other in time."""
        names: list[str] = []
        held: list[Sample] = []
        for name, x in samples:
            if (
                binary(one_sample(self.captured, x)) != self._binary
            ):  # spikes where the first sample had values, or the other way around
                if held:  # in order: a run that is interrupted goes on after what is done
                    yield names, self.workload(held)
                    names, held = [], []
                yield [name], self.alone(name, x)
                continue
            names.append(name)
            held.append(x)
            if len(held) == size:
                yield names, self.workload(held)
                names, held = [], []
        if held:
            yield names, self.workload(held)

    def alone(self, name: str, given: Sample) -> Workload:
        """Traces one sample by itself; samples with the same kinds of values share one network."""
        tracer, x = Tracer(self.captured), one_sample(self.captured, given)
        with torch.no_grad():
            outputs = tracer.run(x, fed_back(self.captured, tracer.module, x))
        network = tracer.builder.network(self.first.network.name, outputs)
        bits = {projection.name: projection.weight_bits for projection in self.first.network.projections}
        projections = tuple(replace(p, weight_bits=bits.get(p.name, p.weight_bits)) for p in network.projections)
        kinds = tuple((population.name, population.binary) for population in network.populations)
        network = self._networks.setdefault(kinds, replace(network, projections=projections))
        return Workload(network, tracer.builder.rasters, name, tracer.builder.inputs)

    def workload(self, samples: Sequence[Sample]) -> Workload:
        """Returns the spikes of several samples, one after the other in time."""
        many, steps = len(samples), self.first.time_steps
        real = self._run(self._joined([one_sample(self.captured, x) for x in samples]))
        rasters = {}
        for name, probe in self.probes.items():
            size = self.first.network[name].size
            values = real[probe.node] if probe.place is None else real[probe.node][probe.place]
            rows = _samples_first(values, probe.axis, many, probe.steps).reshape(many, -1).numpy()
            if probe.places is not None:
                placed = np.zeros((many, steps * size), np.bool_)
                kept = probe.places >= 0
                placed[:, probe.places[kept]] = rows[:, kept]
                rows = placed
            rasters[name] = SpikeRaster.pack(rows.reshape(many * steps, size))
        return replace(self.first, rasters=rasters, inputs={}, sample=f"{many} samples")

    def _joined(self, samples: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Returns several samples as one batch, input by input."""
        return tuple(torch.cat(list(each), dim=self.axis) for each in zip(*samples, strict=True))

    def _find(self, x: tuple[Tensor, ...]) -> None:
        """Finds where each population's spikes stand, by one more trace, and how its axes grow with the batch."""
        found: dict[str, tuple[Node | None, int | None, torch.Size, Term | None]] = {}
        tracer = self.tracer
        tracer.builder.watch = lambda name, real, term: found.setdefault(
            name, (*tracer.node_of(real), real.shape, term)
        )
        with torch.no_grad():
            tracer.run(x, tuple(self.captured.initial_states(1)))
        if set(found) < set(self.first.rasters) or any(node is None for node, *_ in found.values()):
            self.possible = False
            return
        two = self._run(self._joined([x, x]), [node for node, *_ in found.values() if node is not None])
        for name in self.first.rasters:
            node, place, alone, term = found[name]
            assert node is not None
            both = (two[node] if place is None else two[node][place]).shape
            axis = next((a for a in (0, 1) if alone[a : a + 1] != both[a : a + 1]), -1)
            if axis < 0 or both.numel() != 2 * alone.numel() or alone[0] not in (1, self.first.time_steps):
                self.possible = False
                return
            places = _places(term, alone, self.first.time_steps)
            total = self.first.time_steps * self.first.network[name].size
            whole = places is None or (len(places) == total and np.array_equal(places, np.arange(total)))
            self.probes[name] = Probe(node, place, axis, int(alone[0]), None if whole else places)

    def _run(self, x: tuple[Tensor, ...], nodes: Sequence[Node] = ()) -> dict[Node, Any]:
        """Runs the program and returns what the probed nodes give, as what is not zero: a byte a value."""
        wanted = set(nodes) or {probe.node for probe in self.probes.values()}
        kept: dict[Node, Any] = {}
        real: dict[Node, Any] = {}
        given = iter((*x, *self.captured.initial_states(int(x[0].shape[self.axis]))))
        with torch.no_grad():
            for node in self.tracer.module.graph.nodes:
                if node.op == "placeholder":
                    real[node] = next(given)
                elif node.op == "get_attr":
                    real[node] = self.tracer.attribute(str(node.target))
                elif node.op == "call_function" and node in self.tracer.live:
                    args, kwargs = (torch.fx.node.map_arg(a, real.__getitem__) for a in (node.args, node.kwargs))
                    real[node] = lean(node.target)(*args, **kwargs)
                if node in wanted:
                    kept[node] = _spiked(real[node])
                for done in self.tracer.uses.get(node, ()):
                    real.pop(done, None)
        return kept


def _spiked(result: Any) -> Any:
    """Returns what is not zero, of one tensor or of several."""
    return [_spiked(part) for part in result] if isinstance(result, tuple | list) else result != 0


def _places(term: Term | None, shape: torch.Size, steps: int) -> NDArray[np.int64] | None:
    """Returns where each element of one sample lies in `[T, N]`; None where all are in place."""
    if term is None:
        return None
    ids = term.ids.reshape(-1).numpy().astype(np.int64)
    if term.static and shape[0] == steps:  # an image that is shown in every step
        shown = np.repeat(np.arange(steps) * term.size, len(ids) // steps)
        ids = np.where(ids >= 0, ids + shown, ids)
    return ids


def _samples_first(values: Tensor, axis: int, many: int, steps: int) -> Tensor:
    """Returns `[B, T, ...]` of `[T, B, ...]` or `[T B, ...]`."""
    if axis == 0:
        values = values.reshape(steps, many, *values.shape[1:])
    return values.transpose(0, 1)
