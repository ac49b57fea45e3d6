"""Collects populations, projections and spikes while a program is traced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokit.hw_sim.graph.network import Network, NeuronModel, Population, Product, Rounding, Uncounted
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.trace.values import Term, Value, index_or_none, numbered, sample_shape


class Builder:
    """The network under construction.

    Args:
        steps: T.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.populations: dict[str, Population] = {}
        self.projections: dict[str, Projection] = {}
        self.products: list[Product] = []
        self.rasters: dict[str, SpikeRaster] = {}
        self.constants: dict[str, NDArray[np.float64] | None] = {}
        self.uncounted: list[Uncounted] = []
        self.inputs: dict[str, NDArray[np.float64]] = {}
        self.plain_neurons: dict[str, str] = {}
        self._not_understood: dict[str, dict[str, None]] = {}
        self._settled: list[tuple[Projection, str]] = []
        self.watch: Callable[[str, Tensor, Term | None], object] | None = None  # told where each raster is from

    def network(self, name: str, outputs: tuple[str, ...]) -> Network:
        """Returns the finished network."""
        plain = [Uncounted(path, what) for path, what in self.plain_neurons.items()]
        uncounted = plain + [
            Uncounted(path, f"{', '.join(operations)}: no connection, neuron or product that can be counted")
            for path, operations in self._not_understood.items()
            if path not in self.plain_neurons
        ]
        for key, constant in self.constants.items():
            known = constant is not None
            self.populations[key] = replace(self.populations[key], bias=constant, bias_known=known)
        return Network(
            name,
            tuple(self.populations.values()),
            tuple(self.projections.values()),
            tuple(self.products),
            outputs,
            (*self.uncounted, *uncounted),
        )

    def not_understood(self, path: str, operation: str) -> Value:
        """Lists an operation as not counted and returns the value that it gives."""
        module = path.removesuffix(f".{operation}")  # one line for each module
        self._not_understood.setdefault(module, {})[operation] = None
        return Value(unknown=True)

    def is_input(self, value: Value) -> bool:
        """Returns whether a value is made of nothing but the network's input."""
        return value.pure and all(
            isinstance(term.source, str) and self.populations[term.source].role == "input" for term in value.terms
        )

    def encode(self, path: str, real: Tensor) -> Value:
        """Returns an input that was put on a grid as an input of its own, with the numbers that it has there."""
        if real.dim() == 0 or real.shape[0] != self.steps:
            return self.not_understood(path, "encoding of an image that the model repeats itself")
        name = self.name(path, self.populations)
        binary = bool(((real == 0) | (real == 1)).all())
        self.populations[name] = Population(name, sample_shape(real, self.steps), "input", binary=binary)
        self.keep_input(name, real)
        value = Value((self.term(name, tuple(real.shape)),))
        self.record(value.terms[0], real)
        return value

    def keep_input(self, name: str, real: Tensor) -> None:
        """Keeps the numbers of an input population, `[T, N]`, for an engine that computes from them."""
        size = self.populations[name].size
        rows = real.double().reshape(-1, size)
        self.inputs[name] = rows.expand(self.steps, size).numpy()

    def name(self, wanted: str, taken: dict[str, Any]) -> str:
        """Returns `wanted`, numbered if it is taken."""
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}#{number}"
        return name

    def neurons(
        self,
        path: str,
        shape: tuple[int, ...],
        model: NeuronModel,
        value: Value,
        current: Tensor,
        binary: bool = True,
        start: NDArray[np.float64] | None = None,
    ) -> str:
        """Adds a population of neurons fed by `value` and returns its name."""
        if not self.connectable(value):
            value = self.fresh(value, current, f"{path}.current")
        population = Population(self.name(path, self.populations), shape, model=model, binary=binary, start=start)
        self._receive(population, value)
        return population.name

    def connectable(self, value: Value) -> bool:
        """Returns whether every element of `value` belongs to one known position, of its time step or one before."""
        return bool(value.terms) and all(term.by_delay(self.steps) is not None for term in value.terms)

    def by_delay(self, value: Value) -> Value:
        """Returns a connectable value with terms of one delay each; late connections become populations."""
        terms: list[Term] = []
        for term in value.terms:
            for part in term.by_delay(self.steps) or ():
                terms += self.settled(Value((part,))).terms if part.delay else (part,)
        return replace(value, terms=tuple(terms))

    def settled(self, value: Value) -> Value:
        """Returns a value whose pending connections have populations of their own outputs, wherever those go."""
        return replace(
            value,
            terms=tuple(
                replace(term, source=self.settle(term.source, term.source.name))
                if isinstance(term.source, Projection)
                else term
                for term in value.terms
            ),
        )

    def fed_back(self, name: str, real: Tensor) -> Value:
        """Returns what a loop feeds back, as it comes in: a population that `close` replaces by what sends it."""
        name = self.name(name, self.populations)
        binary = bool(((real == 0) | (real == 1)).all())
        self.populations[name] = Population(name, sample_shape(real, self.steps), "current", binary=binary)
        self._keep(name, real)
        return Value((self.term(name, tuple(real.shape)),))

    def close(self, name: str, value: Value, real: Tensor) -> bool:
        """Lets the population that a loop feeds back send a step later what `fed_back` stood for.

        Returns:
            Whether it could: else that stays a population that sends what was recorded.
        """
        if not self.connectable(value):
            return False
        value = self.materialise(value, real, f"{name}.sum")
        self.record(value.terms[0], real)
        (term, *others) = self.by_delay(value).terms
        source, size, index = self.view(term)
        used = any(name in (product.left, product.right) for product in self.products)
        if others or used or index is not None or term.gain != 1.0 or size != self.populations[name].size:
            return False
        for key, p in self.projections.items():
            if p.source == name:
                self.projections[key] = replace(p, source=source, delay=p.delay + term.delay + 1)
        del self.populations[name], self.rasters[name]
        return True

    def materialise(self, value: Value, real: Tensor, path: str) -> Value:
        """Returns `value` as one population: its only one, or a new sum of currents."""
        if not self.connectable(value):
            return self.fresh(value, real, path)
        if value.pure and len(value.terms) == 1:
            return value
        if len(value.terms) == 1:  # one pending connection: its own outputs are the population, unpadded and unmoved
            term = value.terms[0]
            assert isinstance(term.source, Projection)
            name = self.settle(term.source, path)
            positions = term.per_step(self.steps)
            known = replace(value, terms=(replace(term, source=name),))
            if value.constant is None or positions is None or index_or_none(positions, term.size) is not None:
                return known
            self._absorb(name, value)
            return replace(known, constant=None)
        population = Population(
            self.name(path, self.populations), sample_shape(real, self.steps), "current", binary=False
        )
        self._receive(population, value)
        return Value((self.term(population.name, tuple(real.shape)),))

    def rounded(self, value: Value, real: Tensor, path: str, whole: bool = True) -> Value:
        """Returns a value with its limits applied, and rounded to whole numbers if `whole`, as a population."""
        if not self.connectable(value):
            return self.fresh(replace(value, limits=None), real, path)
        source = value.terms[0].source
        origin = source if isinstance(source, str) else source.name  # roundings have no module of their own
        name = self.name(f"{origin}.{'rounded' if whole else 'limited'}", self.populations)
        low, high = value.limits or (None, None)
        rounding = Rounding(low, high, whole)
        population = Population(name, sample_shape(real, self.steps), "current", binary=False, rounding=rounding)
        self._receive(population, replace(value, limits=None))
        return Value((self.term(name, tuple(real.shape)),))

    def limited(self, value: Value, real: Tensor, path: str) -> Value:
        """Returns a value without pending limits: where it has some, as a population of its own."""
        return value if value.limits is None else self.rounded(value, real, path, whole=False)

    def settle(self, projection: Projection, path: str) -> str:
        """Gives a pending connection a population of its own outputs, once, and returns its name."""
        known = next((name for pending, name in self._settled if pending is projection), None)
        if known is not None:
            return known
        name = self.name(path, self.populations)
        self.populations[name] = Population(name, projection.target_shape, "current", binary=False)
        self._add(replace(projection, target=name))
        self._settled.append((projection, name))
        return name

    def fresh(self, value: Value, real: Tensor, path: str) -> Value:
        """Returns a value that is not understood as a population without inputs that sends what was recorded."""
        for term in value.terms:
            if isinstance(term.source, Projection):  # what leads here is counted all the same
                self.settle(term.source, term.source.name)
        # Without time the first axis may be windows of a picture.
        if real.dim() == 0 or (real.shape[0] != self.steps and self.steps > 1):
            return Value(unknown=True)
        if not value.unknown:
            self.not_understood(path, "values that mix time steps")
        name = self.name(path, self.populations)
        binary, shape = bool(((real == 0) | (real == 1)).all()), sample_shape(real, self.steps)
        self.populations[name] = Population(name, shape, "current", binary=binary, recorded=True)
        self._keep(name, real if self.steps > 1 else real.reshape(1, -1))
        return Value((self.term(name, tuple(real.shape)),))

    def read_out(self, path: str, real: Tensor) -> Value:
        """Returns a state that is read: what was recorded, which is no work of anybody's."""
        name = self.name(path, self.populations)
        binary = bool(((real == 0) | (real == 1)).all())
        self.populations[name] = Population(name, sample_shape(real, self.steps), "current", binary=binary)
        self._keep(name, real)
        return Value((self.term(name, tuple(real.shape)),))

    def gathered(self, path: str, value: Value, real: Tensor) -> Value:
        """Returns an average over time as a population that adds up in each step and sends once, in the last."""
        name, shape = self.name(path, self.populations), sample_shape(real, self.steps)
        self.populations[name] = Population(name, shape, "current", binary=False)
        self.constants[name] = None  # what it sends is divided by the number of steps
        for term in value.terms:
            assert isinstance(term.source, str)
            index = index_or_none(term.ids.reshape(-1).numpy().astype(np.int64), term.size)
            added = Projection.identity(
                f"{term.source} to {name}",
                term.source,
                name,
                shape,
                source_size=term.size,
                source_index=index,
                gain=term.gain,
                delay=term.delay,
            )
            self._add(added)
        last = numbered(tuple(real.shape), 1) + (self.steps - 1) * real.numel()
        if self.watch is not None:
            self.watch(name, real, Term(name, last, real.numel()))
        rows = np.zeros((self.steps, real.numel()), np.bool_)
        rows[-1] = real.reshape(-1).numpy() != 0
        self.rasters[name] = SpikeRaster.pack(rows)
        return Value((Term(name, numbered(tuple(real.shape), 1), real.numel(), static=True),))

    def relay(self, value: Value, real: Tensor, projection: Projection, path: str) -> Value:
        """Returns maximum pooling as a population of its own."""
        name = self.name(path, self.populations)
        binary = self.populations[projection.source].binary
        self.populations[name] = Population(name, projection.target_shape, "relay", binary=binary)
        self._add(replace(projection, target=name))
        result = Value((self.term(name, tuple(real.shape)),))
        self.record(result.terms[0], real)
        return result

    def term(self, name: str, shape: tuple[int, ...]) -> Term:
        """Returns the values of a population as a tensor of `shape`, time first."""
        return Term(name, numbered(shape, self.steps), self.populations[name].size)

    def record(self, term: Term, real: Tensor) -> None:
        """Keeps where the values that `term` stands for are not zero, if nothing was kept yet."""
        assert isinstance(term.source, str)
        if term.source in self.rasters:
            return
        if self.watch is not None:
            self.watch(term.source, real, term)
        if term.in_place(self.steps):
            self.rasters[term.source] = SpikeRaster.pack((real != 0).reshape(self.steps, term.size).numpy())
            return
        steps = 1 if term.static else self.steps
        values = torch.zeros(steps * term.size, dtype=torch.bool)
        ids = term.ids.reshape(-1)
        kept = ids >= 0
        values[ids[kept].long()] = real.reshape(-1)[kept] != 0
        rows = values.reshape(steps, term.size)
        if term.static and term.ids.shape[0] == self.steps:
            rows = rows.expand(self.steps, -1)  # shown in every step
        elif term.static and self.steps > 1:  # computed once, before the model repeats it
            rows = torch.cat([rows, torch.zeros(self.steps - 1, term.size, dtype=torch.bool)])
        self.rasters[term.source] = SpikeRaster.pack(rows.numpy())

    def _keep(self, name: str, real: Tensor) -> None:
        """Keeps where all of a tensor, time first, is not zero."""
        if self.watch is not None:
            self.watch(name, real, None)
        self.rasters[name] = SpikeRaster.pack(real.detach().numpy())

    def view(self, term: Term) -> tuple[str, int, NDArray[np.int64] | None]:
        """Returns source, its size and the index of what one time step reads."""
        assert isinstance(term.source, str)
        if term.in_place(self.steps):
            return term.source, term.size, None
        positions = term.per_step(self.steps)
        assert positions is not None
        return term.source, term.size, index_or_none(positions, term.size)

    def _receive(self, population: Population, value: Value) -> None:
        """Adds a population and what `value` consists of as projections into it."""
        name = population.name
        value = self.by_delay(value)
        self.populations[name] = population
        self._absorb(name, value)
        for term in value.terms:
            positions = None if term.in_place(self.steps) else term.per_step(self.steps)
            index = None if positions is None else index_or_none(positions, term.size)
            if isinstance(term.source, str):
                self._add(
                    Projection(
                        f"{term.source} to {name}",
                        term.source,
                        name,
                        "identity",
                        population.shape,
                        population.shape,
                        source_size=term.size,
                        source_index=index,
                        gain=term.gain,
                        delay=term.delay,
                    )
                )
            elif index is None:
                self._add(replace(term.source, target=name))
            elif positions is not None:
                self._scattered(term.source, population, positions)

    def _absorb(self, name: str, value: Value) -> None:
        """Keeps what is added to a population in every step; None where that is not known or not constant."""
        if not value.known:
            self.constants[name] = None
        elif value.constant is not None:
            constant = value.constant
            if constant.shape[0] == self.steps and bool((constant == constant[:1]).all()):
                constant = constant[:1]
            steady = constant.shape[0] == 1 and constant.numel() == self.populations[name].size
            self.constants[name] = constant.reshape(-1).double().numpy() if steady else None

    def _scattered(self, projection: Projection, population: Population, positions: NDArray[np.int64]) -> None:
        """Adds a projection whose outputs were moved, or taken more than once, on the way to the population."""
        used = positions[positions >= 0]
        if len(np.unique(used)) == len(used):
            target_index = np.full(projection.target_size, -1, np.int64)
            target_index[used] = np.flatnonzero(positions >= 0)
            size = population.size
            self._add(replace(projection, target=population.name, target_size=size, target_index=target_index))
            return
        name = self.name(f"{projection.name}.sum", self.populations)
        populations = self.populations
        last = populations.pop(population.name)  # sources come before targets
        populations[name] = Population(name, projection.target_shape, "current", binary=False)
        populations[population.name] = last
        self._add(replace(projection, target=name))
        self._add(
            Projection(
                f"{name} to {population.name}",
                name,
                population.name,
                "identity",
                population.shape,
                population.shape,
                source_size=projection.target_size,
                source_index=positions,
            )
        )

    def _add(self, projection: Projection) -> None:
        name = self.name(projection.name, self.projections)
        self.projections[name] = replace(projection, name=name)
