"""The membranes of every step, which a neuron with `store_v_seq` offers as `v_seq`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurokit.neurons import ops
from neurokit.neurons.parameters import NeuronParameters


def membrane_after(parameters: NeuronParameters, v: Tensor, x: Tensor) -> Tensor:
    """Returns a neuron's membrane after one step of current `x`, from that before it."""
    given: Any = parameters
    h: Any = given.charge(v, x)
    fired = (h >= given.v_threshold).to(h.dtype)
    return ops.reset(h, fired, given.v_threshold, given.v_reset, given.v_subtract)


def membranes(parameters: NeuronParameters, x_seq: Tensor, v0: Tensor) -> Tensor:
    """Returns a neuron's membrane after each step, `[T, ...]`, from its currents.

    Args:
        parameters: The neuron's.
        x_seq: Its currents, `[T, ...]`.
        v0: Its membrane before the first step.
    """

    def stepped(v: Tensor, x: Tensor) -> Tensor:
        return membrane_after(parameters, v, x)

    if isinstance(x_seq.shape[0], int):
        values, v = [], v0
        for x in x_seq.unbind(0):
            v = stepped(v, x)
            values.append(v)
        return torch.stack(values)
    from torch._higher_order_ops.scan import scan

    def combine(carry: list[Tensor], x: Tensor) -> tuple[list[Tensor], Tensor]:
        v = stepped(carry[0], x)
        return [v.clone()], v.clone()

    return scan(combine, [v0], x_seq)[1]
