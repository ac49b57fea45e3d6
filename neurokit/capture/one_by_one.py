"""Whether a model's steps may be run all at once, or one at a time: tried in float64 on random inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurokit.capture.drawing import random_values
from neurokit.capture.probe import example_values, in_double, together_and_apart
from neurokit.capture.twin import Twin
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec

_MANY, _SAMPLES = 6, 4  # steps and samples: a spike that is fed back may move nothing for a while
_SPREADS = (1.0, 10.0)  # the second wakes neurons that the first leaves silent


def folds(twin: Twin, spec: ModelSpec) -> bool:
    """Returns whether all steps of a step-wise model may run at once, time folded into the batch.

    They may not where its forward reads a membrane, or calls a neuron twice.
    """
    for given in _trials(spec, 3, 2):
        try:
            with torch.no_grad(), in_double(twin):
                twin.by_step = True
                apart = twin(*given)
        except Exception:
            return True  # what is wrong with it is said where it is run in earnest
        finally:
            twin.by_step = False
        try:
            with torch.no_grad(), in_double(twin):
                together = twin(*given)
        except Exception:
            return False
        if not all(_close(a, b) for a, b in zip(together, apart, strict=True)):
            return False
    return True


def streams(twin: Twin, spec: ModelSpec, kinds: Sequence[str]) -> bool:
    """Returns whether a few steps at once give what as many single steps give, with their states handed on.

    Args:
        twin: The twin.
        spec: What it is a twin of.
        kinds: What each output is over time; those that are made of all steps were compared where that was found.
    """
    if spec.time_input == "step" and not twin.by_step:
        return True  # `folds` has looked
    # What reads a table by the number of its step may run no more steps than the specification says.
    for many in dict.fromkeys((_MANY, spec.time_steps or 0)):
        try:
            return many < 2 or _alike(twin, spec, kinds, many)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, UnsupportedError):
            continue
    return True  # said where it is traced


def _alike(twin: Twin, spec: ModelSpec, kinds: Sequence[str], many: int) -> bool:
    """As `streams`, of so many steps; raises what the module does where it cannot make them."""
    for given in _trials(spec, many, _SAMPLES):
        with torch.no_grad(), in_double(twin):
            together, apart = together_and_apart(twin, spec, given, many)
        asked = [kind == "sequence" for kind in kinds] + [True] * (len(together) - len(kinds))  # states come last
        pairs = zip(asked, together, apart, strict=True)
        if not all(_close(whole, steps) for ask, whole, steps in pairs if ask):
            return False
    return True


def _trials(spec: ModelSpec, steps: int, batch: int) -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    shapes = example_values(spec, steps, batch)
    return [
        tuple(random_values(port, value, spread, generator) for port, value in zip(spec.inputs, shapes, strict=False))
        for spread in _SPREADS
    ]


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9) if a.is_floating_point() else torch.equal(a, b)
