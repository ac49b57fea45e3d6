"""`simulate`: what one inference costs on real chips, from a captured model and real inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError

if TYPE_CHECKING:
    import torch

    from neurokit.capture import Captured
    from neurokit.reports.energy import EnergyReport

_EXAMPLE_SEED = 0
_DENSE = ("ann-int8", "ann-fp32")


def simulate(
    captured: Captured,
    inputs: torch.Tensor | Sequence[torch.Tensor] | str | Path | None = None,
    chips: Sequence[Any] = (),
    *,
    estimators: Sequence[str] | None = None,
    mapping: str = "annealed",
    step_seconds: float | None = None,
    pace: str | None = None,
    check_events: bool = False,
) -> EnergyReport:
    """Counts one run of a captured model on each input, maps it and prices it on every chip.

    Args:
        captured: A spiking model in the sequence form, T fixed. Of a model without spikes only the baselines of a
            dense pass are reported, and no chip.
        inputs: One sample `[T, 1, *shape]`, several, a batch `[T, B, *shape]`, or a file
            (`neurokit.data.files.read_samples`); default is the spec's own example.
        chips: Names, paths of .toml files, or profiles.
        estimators: Names of estimators from the literature; default is all that need no chip.
        mapping: Placement strategy ("in-order", "hilbert" or "annealed").
        step_seconds: Time between two inputs, where a sensor sets the pace.
        pace: Who sets it otherwise: "chip" (as fast as the cores go), "host" (a host that streams the inputs), or None:
            the host's where the chip's file states one, with the chip's own as the low end of the interval.
        check_events: Whether to compute the network (in exact form) once more from events alone and to compare every
            spike; the report's `event_check` says what was found.

    Returns:
        The report; figures are of the first sample, the spread is over all.

    Raises:
        InputError: If an input does not fit.
        UnknownNameError: If a chip or an estimator is unknown.
        UnsupportedError: If events are to be checked and the model is not in exact form.
    """
    from neurokit.capture import opened
    from neurokit.hw_sim import DEFAULT_ESTIMATORS, load_chip, simulate_workloads
    from neurokit.hw_sim.trace import trace

    profiles = [load_chip(chip) for chip in chips]  # a wrong name must not cost a minute
    names = DEFAULT_ESTIMATORS if estimators is None else tuple(estimators)
    samples = _samples(captured, inputs)
    if not captured.spiking:  # no spikes to price: what can be said is what one dense pass costs
        names, profiles = tuple(name for name in names if name.startswith("ann-")) or _DENSE, []
    captured = opened(captured)
    workloads = [trace(captured, x, sample) for sample, x in samples]
    shared = workloads[0].network  # the graph depends on the model alone
    workloads = [replace(workload, network=shared) for workload in workloads]
    report = simulate_workloads(workloads, profiles, mapping, names, step_seconds, pace=pace)
    if not check_events:
        return report
    from neurokit.hw_sim.engine.check import check_events as check

    return replace(report, event_check=check(workloads))


def _samples(captured: Captured, inputs: Any) -> list[tuple[str, torch.Tensor]]:
    """Returns every sample with a name for the report."""
    import torch

    from neurokit.capture.reference import example_input
    from neurokit.data.files import read_samples

    spec, steps = captured.spec, captured.time_steps
    if steps == "dynamic":
        raise InputError("the captured model has a dynamic T", expected="a number of time steps", fix="--time-steps 4")
    if inputs is None:
        return [("the model's example input", example_input(spec, steps, 1, _EXAMPLE_SEED))]
    if isinstance(inputs, str | Path):
        name = Path(inputs).name
        return [(f"{name} [{i}]", x) for i, x in enumerate(read_samples(inputs, spec, steps))]
    if isinstance(inputs, torch.Tensor):
        axis = 0 if spec.time_input == "image" or steps is None else 1
        if inputs.dim() == len(spec.inputs[0].shape) + axis + 1 and inputs.shape[axis] > 1:
            return [(f"sample {i}", x) for i, x in enumerate(inputs.split(1, dim=axis))]
        return [("the given input", inputs)]
    return [(f"sample {i}", x) for i, x in enumerate(inputs)]
