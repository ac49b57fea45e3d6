"""A second comparison, in float64, of a module with what parts from it in its own type."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from neurokit.capture.asking import TOLERANCE, Case, Job, batch_axis
from neurokit.capture.distance import compared
from neurokit.capture.eager import Run
from neurokit.capture.probe import in_double
from neurokit.capture.sides import run_program, stimulus
from neurokit.capture.types import Captured
from neurokit.reports.fidelity import Comparison, Side


def in_double_precision(
    job: Job, side: Side = "program", asked: Case | None = None, other: Callable[[Case], Run] | None = None
) -> Comparison | None:
    """Compares module and another side in float64 where they part in their own type: one sample, however slow.

    A decision near its threshold may be another one under another order of summation, and its cascade may reach any
    share of the spikes; in float64 no network that is the same parts from itself.

    Args:
        job: The work.
        side: What parts from the module.
        asked: The case in which it does, for another side than the program.
        other: Runs that side, the job's twin being in float64.

    Returns:
        The comparison if it fits, else None, also where one of the two does not run in float64.
    """
    captured, x = job.captured, _one_sample(job.captured) if asked is None else asked.x
    x = x.double() if x.is_floating_point() else x
    # A program with a free batch may not take one of 1.
    free = captured.batch == "dynamic" and asked is None
    x = x.repeat_interleave(2, batch_axis(captured, x)) if free else x
    steps = captured.known_steps
    steps = steps if asked is None else asked.steps
    try:
        want = job.run_in_double(x)
        case = Case(steps, int(x.shape[batch_axis(captured, x)]), x, want)
        if other is None:
            found = run_program(captured, x, True, job.programs)
        else:
            with in_double(job.twin):
                found = other(case)
        one = compared(side, case, found, "float64")
    except Exception:  # whatever a user's code raises
        return None
    tolerance, share = TOLERANCE["float64"]
    return one if one.spikes_differ <= share * one.decisions and one.output_error <= tolerance else None


def _one_sample(captured: Captured) -> Tensor:
    steps = captured.known_steps
    return stimulus(captured.spec, steps, captured.batch if isinstance(captured.batch, int) else 1, 1.0)
