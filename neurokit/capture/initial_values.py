"""Finds the initial membranes that a module sets itself, learnt or kept in a buffer, by runs of its twin."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.capture.drawing import uniform
from neurokit.capture.eager import own_random_numbers
from neurokit.capture.probe import example_values, set_time_steps
from neurokit.capture.twin import Twin
from neurokit.spec import ModelSpec

_BATCHES = (2, 3)  # unequal, so that what grows with the batch is seen


def learn_starts(twin: Twin, spec: ModelSpec, time_steps: int | None) -> bool:
    """Finds the initial values of states that the module's own code writes before a neuron's first call.

    They are what it writes whatever its input and its batch are, alike for every sample; what depends on the input is
    no initial state, and stays unknown.

    Args:
        twin: The twin, after a dry run, which noted whether anything is written.
        spec: What it is a twin of.
        time_steps: T, or None.

    Returns:
        Whether something was found that was not known: the dry runs then have to be made anew.
    """
    known, twin.starts_known = twin.starts_known, True
    if known or not any(slot.written for slot in twin.slots):
        return False
    small, large = (_written(twin, spec, time_steps, batch) for batch in _BATCHES)
    found = False
    for slot in twin.slots:
        for name in set(small.get(slot.path, {})) & set(large.get(slot.path, {})):
            one = _of_one_sample(small[slot.path][name], large[slot.path][name])
            if one is not None:
                slot.starts[name], found = one, True
    return found


def _written(twin: Twin, spec: ModelSpec, time_steps: int | None, batch: int) -> dict[str, dict[str, Tensor | None]]:
    """Returns what each neuron begins with where that was written, `[B, ...]`, on inputs of independent numbers."""
    generator = torch.Generator().manual_seed(batch)
    shapes = example_values(spec, time_steps, batch)
    given = [uniform(port, tuple(x.shape), generator) for port, x in zip(spec.inputs, shapes, strict=False)]
    names = [slot.names for slot in twin.slots]
    for slot in twin.slots:
        slot.names = ()
    if time_steps is not None:
        set_time_steps(twin.net, time_steps)
    try:
        with torch.no_grad(), own_random_numbers(batch):
            twin(*given)
    except Exception:  # the trace will tell why it does not run
        return {}
    finally:
        for slot, old in zip(twin.slots, names, strict=True):
            slot.names = old
    return {slot.path: dict(slot.written) for slot in twin.slots if not slot.rewritten}


def _of_one_sample(small: Tensor | None, large: Tensor | None) -> Tensor | None:
    """Returns the values of one sample, or None if samples or runs differ."""
    if small is None or large is None or small.shape[1:] != large.shape[1:]:
        return None
    one = small[0].detach()
    alike = all(torch.equal(row, one) for row in (*small, *large))
    return one.clone() if alike else None
