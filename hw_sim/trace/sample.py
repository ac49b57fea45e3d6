"""One sample of a model, checked: a tensor for each of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.feeds import named_inputs

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.spec import TensorSpec

Sample = Tensor | Mapping[str, Tensor]


def one_sample(captured: Captured, given: Sample) -> tuple[Tensor, ...]:
    """Returns one sample in the order of the model's inputs, each with its time and batch axes.

    Args:
        captured: The model.
        given: The one input, or every input by its name: `[T, 1, *shape]` or `[T, *shape]`; without time, or for a
            model that repeats its image itself, `[1, *shape]` or `[*shape]`.

    Raises:
        InputError: If an input is missing, of another shape, or holds NaN.
    """
    ports = captured.spec.inputs
    named: Any = named_inputs(given, [port.name for port in ports])
    return tuple(_placed(captured, named[port.name], port) for port in ports)


def binary(sample: tuple[Tensor, ...]) -> tuple[bool, ...]:
    """Returns of which inputs a sample holds nothing but zeros and ones."""
    return tuple(bool(((x == 0) | (x == 1)).all()) for x in sample)


def _placed(captured: Captured, x: Tensor, port: TensorSpec) -> Tensor:
    lead = (1,) if captured.spec.time_input == "image" or not captured.spiking else (captured.time_steps, 1)
    wanted = (*lead, *port.shape)
    if tuple(x.shape) == (*lead[:-1], *port.shape):
        x = x.reshape(wanted)
    label = "the input" if len(captured.spec.inputs) == 1 else f"the input {port.name!r}"
    if tuple(x.shape) != wanted:
        raise InputError(f"{label} has shape {list(x.shape)}", expected=f"{list(wanted)} (one sample)")
    if x.is_floating_point() and bool(x.isnan().any()):
        raise InputError(f"{label} holds NaN", expected="numbers")
    return x.to(getattr(torch, port.dtype))
