"""What a capture with merged branches is held against: the module with its branches merged, once that is the same."""

from __future__ import annotations

import copy
from time import perf_counter

import torch
from torch import nn

from neurokit.capture.distance import distance
from neurokit.capture.eager import rest, run_here
from neurokit.capture.sides import comparable, stimulus
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.spec import ModelSpec

_SLOW_S = 1.0  # of one sample: a model that takes longer is not run with and without branches in float64
_TOLERANCE = 1e-6


def merged_reference(eager: nn.Module, spec: ModelSpec) -> tuple[nn.Module, list[str]]:
    """Returns the user's module with its branches merged, and notes.

    Merged weights are rounded to the module's own type, so that the merged network may part from the one with branches
    at near misses, and its cascade may reach any share of the spikes. So the two questions are asked apart: that
    merging changes nothing, in float64, where the merged weights are not rounded; and that the capture is the merged
    module, which is returned here.

    Args:
        eager: The module (`neurokit.capture.eager.untouched`); it is used up.
        spec: What it is.

    Raises:
        UnsupportedError: If the merged network is another one.
    """
    merge = spec.merge_reparameterised
    assert merge is not None
    notes = _compared(copy.deepcopy(eager), spec)
    return merge(eager), notes


def _compared(module: nn.Module, spec: ModelSpec) -> list[str]:
    """Compares a module with itself merged, both in float64, on one sample.

    Raises:
        UnsupportedError: If their answers differ.
    """
    merge = spec.merge_reparameterised
    if merge is None or not comparable(spec):
        return []
    x, stepwise = stimulus(spec, spec.time_steps, 1, 1.0), spec.time_input == "step" and spec.time_steps is not None
    if not x.is_floating_point():
        return []
    try:
        start = perf_counter()
        run_here(module, x, stepwise=stepwise)
        if (seconds := perf_counter() - start) > _SLOW_S:
            return [f"the merged branches were not compared with the branches: one run takes {seconds:.1f} s"]
        module, x = rest(module).double(), x.double()
        merged = merge(copy.deepcopy(module))
        mine = run_here(merged.eval(), x, stepwise=stepwise).outputs
        theirs = run_here(module, x, stepwise=stepwise).outputs
    except Exception:  # whatever a user's code raises
        return ["the merged branches were not compared in float64: the model does not run there"]
    with torch.no_grad():
        error = max((distance(a, b) for a, b in zip(mine, theirs, strict=True)), default=0.0)
    if not error <= _TOLERANCE:
        why = f"merged, its answers are others: relative output error {error:.2g} in float64"
        reason = Unsupported("", spec.name, why, "leave the merging away, or mend merge_reparameterised")
        raise UnsupportedError(f"merging model {spec.name!r} makes another network of it", [reason])
    return []
