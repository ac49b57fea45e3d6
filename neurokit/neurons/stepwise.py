"""A layer of rare neurons as one operation: `neurokit::stepwise`, which takes their own step once a time step.

The operation names its step by a key; the step itself is a Python object that the capture holds. What a target needs
of it is a program of one step in plain operations, which `neurokit.capture.stepping` traces.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from neurokit.errors import InputError

States = tuple[Any, ...]
TENSOR = object()  # a state may be None
_numbers = itertools.count()


@dataclass(eq=False)
class Step:
    """One time step of a layer of neurons.

    Attributes:
        path: Module path of the layer.
        module: The module.
        call: Runs one step: (module, input `[B, ...]`, states) -> (output, states).
        held: The states, `TENSOR` where a tensor has its place; others never change.
        key: What the operation calls it by.
    """

    path: str
    module: nn.Module
    call: Callable[[nn.Module, Tensor, States], tuple[Tensor, States]]
    held: States
    key: str = field(default="")

    def __post_init__(self) -> None:
        self.key = f"{self.path or 'model'}@{next(_numbers)}"
        _STEPS[self.key] = self

    def __call__(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Runs one step `[B, ...]` from its tensor states; returns the output, then the new states."""
        given = iter(states)
        y, new = self.call(self.module, x, tuple(next(given) if value is TENSOR else value for value in self.held))
        return (y, *(value for value, old in zip(new, self.held, strict=True) if old is TENSOR))


_STEPS: WeakValueDictionary[str, Step] = WeakValueDictionary()


def step_of(key: str) -> Step:
    """Returns the step that an operation names.

    Raises:
        InputError: If the capture that it is from is gone.
    """
    step = _STEPS.get(key)
    if step is None:
        raise InputError(
            f"the step of neuron {key!r} is gone", expected="the capture that the program is from", fix="keep it"
        )
    return step


@torch.library.custom_op("neurokit::stepwise", mutates_args=())
def stepwise(x_seq: Tensor, states: Sequence[Tensor], step: str) -> list[Tensor]:
    """Runs a layer of neurons over time.

    Args:
        x_seq: Input current, `[T, B, ...]`.
        states: States before the first step, `[B, ...]` each.
        step: Key of the step.

    Returns:
        The output `[T, B, ...]`, and the states after the last step.
    """
    run, outputs, held = step_of(step), [], list(states)
    for x in x_seq:
        y, *held = run(x, *held)
        outputs.append(y)
    made = torch.stack(outputs) if outputs else torch.empty_like(x_seq)
    return [made, *(value.clone() for value in held)]


@stepwise.register_fake
def _(x_seq: Tensor, states: Sequence[Tensor], step: str) -> list[Tensor]:
    return [x_seq.new_empty(x_seq.shape), *(value.new_empty(value.shape) for value in states)]


STEPWISE = torch.ops.neurokit.stepwise.default
