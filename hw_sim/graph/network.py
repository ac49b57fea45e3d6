"""The layer graph that counting, mapping and pricing share: populations, exact projections and products of spikes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.graph.projection import Projection

Role = Literal["input", "neuron", "current", "relay", "product"]


@dataclass(frozen=True)
class NeuronModel:
    """The dynamics of a population of neurons, one time step at a time.

    Attributes:
        kind: "if" (v += x) or "lif" (v leaks towards the reset value with time constant tau).
        threshold: Membrane value at and above which a neuron spikes.
        tau: Membrane time constant in time steps; infinite for "if".
        reset: Value after a spike (hard reset), or None: the threshold is subtracted (soft reset).
        decay_input: Whether the input is divided by tau as well (SpikingJelly's default).
        state_bits: Width of a stored membrane value.
        described: Whether this is all of the dynamics, so that they can be computed from it: else it is what they are
            priced as (a current-based neuron, one with a gain, neurons with parameters of their own).
    """

    kind: Literal["if", "lif"]
    threshold: float = 1.0
    tau: float = math.inf
    reset: float | None = 0.0
    decay_input: bool = False
    state_bits: int = 16
    described: bool = True


@dataclass(frozen=True)
class Rounding:
    """What is done to the sum of a "current" population before it is sent: limit, then round half to even.

    Attributes:
        low: Smallest value, or None.
        high: Largest value, or None.
        whole: Whether it is rounded to whole numbers; a grid of another step is a factor before and after.
    """

    low: float | None = None
    high: float | None = None
    whole: bool = True


@dataclass(frozen=True)
class Population:
    """Values of one shape: an input, neurons, or a sum that is formed on the way to neurons.

    Attributes:
        name: Module path; unique in the network.
        shape: Shape of one sample in one time step; flat neuron numbers are row-major over it.
        role: "input"; "neuron" (has a `model`); "current" (a real-valued sum that no neuron has thresholded yet:
            a membrane shortcut, a pooled mean, the network's output); "relay" (spikes passed on without a state,
            as by max pooling); "product" (the result of a `Product`).
        model: Dynamics of a "neuron" population, else None.
        binary: Whether its values are spikes (0 or 1). Where they are not, an event is a non-zero value and costs a
            multiplication (a *graded* event) instead of an addition.
        bias: Constant that is added to its input in each step, `[size]`; None where there is none.
        bias_known: Whether `bias` is right (a batch normalisation that was not folded hides it).
        rounding: Limits and rounding of its sum (a requantisation between two layers), or None.
        start: Membrane before the first step, `[size]`; None where neurons start from rest (their reset value, or 0).
        recorded: Whether it sends what was recorded, so that its values cannot be computed from what comes in.
    """

    name: str
    shape: tuple[int, ...]
    role: Role = "neuron"
    model: NeuronModel | None = None
    binary: bool = True
    bias: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    bias_known: bool = True
    rounding: Rounding | None = None
    start: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    recorded: bool = False

    def __post_init__(self) -> None:
        if self.rounding is not None and self.role != "current":
            raise InputError(f"population {self.name!r} has role {self.role!r} and a rounding", expected="a current")
        if not self.shape or min(self.shape) < 1:
            raise InputError(f"population {self.name!r} has shape {self.shape}", expected="axes of at least 1")
        if (self.role == "neuron") != (self.model is not None):
            raise InputError(
                f"population {self.name!r} has role {self.role!r} and neuron model {self.model}",
                expected="a neuron model exactly where the role is 'neuron'",
            )

    @property
    def size(self) -> int:
        """The number of neurons (or values)."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Product:
    """An activation times activation product: `out[b, i, j] = sum over k of left[b, i, k] * right[b, k, j]`.

    Spike-driven self-attention is two of them, K^T V and Q (K^T V). An elementwise (Hadamard) product has
    k = 1 and i = j = 1 with all elements in b.

    Attributes:
        name: Module path of the operation.
        left: Name of the left operand's population.
        right: Name of the right operand's population.
        target: Name of the population (role "product") that holds the result, row-major `[b, i, j]`.
        batch: Size of b (heads).
        rows: Size of i.
        inner: Size of k.
        columns: Size of j.
        left_index: For each position of `[b, i, k]` the neuron of the left population.
        right_index: For each position of `[b, k, j]` the neuron of the right population.
    """

    name: str
    left: str
    right: str
    target: str
    batch: int
    rows: int
    inner: int
    columns: int
    left_index: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)
    right_index: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)

    @property
    def dense_operations(self) -> int:
        """Multiply-accumulates of the dense product in one time step."""
        return self.batch * self.rows * self.inner * self.columns

    def operations(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Returns in how many terms both factors are non-zero, for each time step.

        Args:
            left: Non-zero mask of the left population, `[T, N_left]`.
            right: Non-zero mask of the right population, `[T, N_right]`.

        Returns:
            Operations, `[T]`.
        """
        a = left if self.left_index is None else left[:, self.left_index]
        b = right if self.right_index is None else right[:, self.right_index]
        # A term k of the sum has (non-zeros in column k of left) times (non-zeros in row k of right) such pairs.
        per_left = a.reshape(len(a), self.batch, self.rows, self.inner).sum(axis=2, dtype=np.int64)
        per_right = b.reshape(len(b), self.batch, self.inner, self.columns).sum(axis=3, dtype=np.int64)
        return (per_left * per_right).sum(axis=(1, 2))


@dataclass(frozen=True)
class Uncounted:
    """Something in the model that was not counted, so that a total without it is a lower bound.

    Attributes:
        path: Module path, with the operation.
        reason: Why, in one line.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Network:
    """The layer graph of a spiking network.

    A population's input is the sum of all projections into it. Membrane shortcuts are "current" populations joined
    by identity projections; concatenations and permutations are the projections' index maps.

    Attributes:
        name: Name of the model.
        populations: Every population, sources before targets (but for projections with a delay: recurrent ones).
        projections: Every projection; names are unique.
        products: Every activation times activation product.
        outputs: Names of the populations that leave the network.
        uncounted: What of the model is in none of these, with reasons.

    Raises:
        InputError: If names repeat or are unknown, sizes differ, or a target comes before its source without a delay.
    """

    name: str
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...] = ()
    products: tuple[Product, ...] = ()
    outputs: tuple[str, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()

    def __post_init__(self) -> None:
        if len(self._by_name) != len(self.populations):
            raise InputError(f"network {self.name!r} has two populations of one name", expected="unique names")
        if len({p.name for p in self.projections}) != len(self.projections):
            raise InputError(f"network {self.name!r} has two projections of one name", expected="unique names")
        order = {population.name: place for place, population in enumerate(self.populations)}
        for projection in self.projections:
            self._check(projection.name, (projection.source,), projection.target, order, projection.delay)
            source, target = self[projection.source], self[projection.target]
            if projection.source_size != source.size or projection.target_size != target.size:
                raise InputError(
                    f"projection {projection.name!r} joins {projection.source_size} to {projection.target_size}",
                    expected=f"{source.size} ({source.name}) and {target.size} ({target.name})",
                )
        for product in self.products:
            self._check(product.name, (product.left, product.right), product.target, order)
            if self[product.target].size != product.batch * product.rows * product.columns:
                raise InputError(f"product {product.name!r} does not fill its target {product.target!r}")

    def __getitem__(self, name: str) -> Population:
        """Returns the population called `name`."""
        return self._by_name[name]

    @property
    def inputs(self) -> tuple[Population, ...]:
        """The populations that are fed from outside."""
        return tuple(p for p in self.populations if p.role == "input")

    @property
    def neurons(self) -> tuple[Population, ...]:
        """The populations that hold a membrane."""
        return tuple(p for p in self.populations if p.role == "neuron")

    @property
    def neuron_count(self) -> int:
        """The number of neurons."""
        return sum(p.size for p in self.neurons)

    @property
    def synapses(self) -> int:
        """The number of connections."""
        return sum(p.synapses for p in self.projections)

    @property
    def stored_weights(self) -> int:
        """The number of different weights."""
        return sum(p.stored_weights for p in self.projections)

    def into(self, name: str) -> tuple[Projection, ...]:
        """Returns the projections whose target is the population `name`."""
        return self._into.get(name, ())

    def out_of(self, name: str) -> tuple[Projection, ...]:
        """Returns the projections whose source is the population `name`."""
        return self._out_of.get(name, ())

    def products_into(self, name: str) -> tuple[Product, ...]:
        """Returns the products whose target is the population `name`."""
        return tuple(p for p in self.products if p.target == name)

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    @cached_property
    def _into(self) -> dict[str, tuple[Projection, ...]]:
        return _grouped(self.projections, "target")

    @cached_property
    def _out_of(self) -> dict[str, tuple[Projection, ...]]:
        return _grouped(self.projections, "source")

    def _check(self, name: str, sources: tuple[str, ...], target: str, order: dict[str, int], delay: int = 0) -> None:
        for end in (*sources, target):
            if end not in order:
                raise InputError(f"{name!r} refers to an unknown population {end!r}", expected="one of the network's")
        if delay == 0 and any(order[source] >= order[target] for source in sources):
            raise InputError(f"{name!r}: its target {target!r} comes before its source", expected="sources first")


def _grouped(projections: Iterable[Projection], side: str) -> dict[str, tuple[Projection, ...]]:
    groups: dict[str, list[Projection]] = {}
    for projection in projections:
        groups.setdefault(getattr(projection, side), []).append(projection)
    return {name: tuple(group) for name, group in groups.items()}
