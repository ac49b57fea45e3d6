"""What an estimator is, and the view of a layer that the literature's rules are written in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurokit.errors import InputError
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.mapping.partition import units_of
from neurokit.quantity import Kind, Quantity
from neurokit.registry import Registry
from neurokit.reports.energy import EstimatorReport


@dataclass(frozen=True)
class Rule:
    """A named estimator.

    Attributes:
        name: Name on the command line.
        title: One line.
        compute: Returns the report for a workload; the second argument is what follows a colon in the name.
    """

    name: str
    title: str
    compute: Callable[[Workload, str], EstimatorReport]


ESTIMATORS: Registry[Rule] = Registry(
    "estimator", "neurokit.hw_sim.estimators", "neurokit.estimators", command="neurokit list estimators"
)


def register_estimator(
    name: str, title: str
) -> Callable[[Callable[[Workload, str], EstimatorReport]], Callable[[Workload, str], EstimatorReport]]:
    """Registers a function of (workload, argument) that returns an `EstimatorReport`."""

    def add(compute: Callable[[Workload, str], EstimatorReport]) -> Callable[[Workload, str], EstimatorReport]:
        ESTIMATORS.add(name, Rule(name, title, compute))
        return compute

    return add


def estimator_names() -> list[str]:
    """Returns the names of all estimators."""
    return ESTIMATORS.names()


def estimate(name: str, workload: Workload) -> EstimatorReport:
    """Estimates a workload by a named rule; some take an argument after a colon (`affine:odin`).

    Raises:
        UnknownNameError: If there is no such rule.
    """
    rule, _, argument = name.partition(":")
    found = ESTIMATORS.get(rule).compute(workload, argument)
    return replace(found, at_least=bool(workload.network.uncounted))


@dataclass(frozen=True)
class LayerView:
    """A convolution or fully connected layer in the symbols of the papers.

    Attributes:
        name: Name of the projection.
        kind: "conv" or "linear".
        macs: Multiply-accumulates of the dense layer as the papers count them, borders included:
            C_out H_out W_out C_in / groups K_h K_w, or N_in N_out.
        inputs: Values of the input in one step.
        outputs: Values of the output in one step.
        out_features: C_out or N_out.
        groups: Groups of a convolution; an input reaches C_out / groups channels.
        kernel: K_h K_w (1 for a linear layer).
        stride_taps: Product over axes of ceil(K / S): outputs that one input reaches, as the papers count them.
        weights: Different weights.
        weight_bits: Their width.
        binary: Whether the input is spikes.
        theta_in: Non-zero input values over the run.
        theta_out: Spikes over the run of the neurons that the layer feeds, 0 where there are none.
        leaky: Whether those neurons leak.
        events: Synaptic events over the run, borders clipped (exact).
        synapses: Connections, borders clipped.
        passes: How often the dense layer is computed: T, or once where its input is an image that does not change.
    """

    name: str
    kind: str
    macs: int
    inputs: int
    outputs: int
    out_features: int
    groups: int
    kernel: int
    stride_taps: int
    weights: int
    weight_bits: int
    binary: bool
    theta_in: int
    theta_out: int
    leaky: bool
    events: int
    synapses: int
    passes: int


def rate_of(layer: LayerView, time_steps: int) -> float:
    """Returns the share of non-zero inputs, over all steps."""
    return layer.theta_in / (layer.inputs * time_steps)


def layers_of(workload: Workload) -> list[LayerView]:
    """Returns the convolutions and fully connected layers of a workload's network."""
    network = workload.network
    owner = {name: unit.populations[0] for unit in units_of(network) for name in unit.populations}
    views = []
    for projection in network.projections:
        if projection.kind not in ("conv", "linear"):
            continue
        reached = network[owner.get(projection.target, projection.target)]
        raster = workload.rasters.get(reached.name)
        fires = reached.model is not None and raster is not None
        views.append(
            LayerView(
                name=projection.name,
                kind=projection.kind,
                macs=projection.dense_macs,
                inputs=projection.source_size,
                outputs=math.prod(projection.target_shape),
                out_features=projection.target_shape[0 if projection.kind == "conv" else -1],
                groups=projection.groups,
                kernel=math.prod(projection.kernel),
                stride_taps=math.prod(-(-k // s) for k, s in zip(projection.kernel, projection.stride, strict=True)),
                weights=projection.stored_weights,
                weight_bits=projection.weight_bits,
                binary=network[projection.source].binary,
                theta_in=workload.rasters[projection.source].count,
                theta_out=raster.count if fires and raster is not None else 0,
                leaky=reached.model is not None and reached.model.kind == "lif",
                events=int(workload.events(projection).sum()),
                synapses=projection.synapses,
                passes=_passes(workload, projection.source),
            )
        )
    return views


def _passes(workload: Workload, source: str) -> int:
    """Returns in how many steps a layer that reads `source` gives something new.

    Event frames and averages differ from step to step; an image that is shown in every step gives the same current.
    """
    steps = workload.time_steps
    if workload.network[source].role != "input":
        return 1 if steps > 1 and not workload.rasters[source].unpack()[:-1].any() else steps  # after the last step
    values = workload.inputs.get(source)
    if values is not None:
        return 1 if bool((values == values[:1]).all()) else steps
    rows = workload.rasters[source].unpack()
    return 1 if bool((rows == rows[:1]).all()) or not rows[1:].any() else steps  # shown, or computed, once


def dense_macs(workload: Workload) -> int:
    """Returns the multiply-accumulates of the same network without spikes: one dense pass."""
    products = sum(product.dense_operations for product in workload.network.products)
    return sum(layer.macs for layer in layers_of(workload)) + products


def product_terms(workload: Workload) -> int:
    """Returns terms of activation products with both factors non-zero, over the run."""
    return int(sum(np.sum(counts.product_operations) for counts in workload.counts))


def report(
    name: str, title: str, parts: Mapping[str, float], source: str, notes: tuple[str, ...], kind: Kind = "analytic"
) -> EstimatorReport:
    """Returns a report whose total is the sum of its parts, in joules."""
    total = sum(parts.values())
    return EstimatorReport(name, title, Quantity.exact(total, "J", kind, source), dict(parts), source, notes)


def option(name: str, argument: str, default: str, known: tuple[str, ...]) -> str:
    """Returns an estimator's argument.

    Raises:
        InputError: If it is not one of the known ones.
    """
    chosen = argument or default
    if chosen not in known:
        raise InputError(f"estimator {name!r} has no option {chosen!r}", expected="one of " + ", ".join(known))
    return chosen
