"""The membranes of every step, which a neuron with `store_v_seq` offers as `v_seq`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurokit.neurons.parameters import NeuronParameters


def membranes(parameters: NeuronParameters, x_seq: Tensor, v0: Tensor) -> Tensor:
    """Returns a neuron's membrane after each step, `[T, ...]`, from its currents.

    Args:
        parameters: The neuron's.
        x_seq: Its currents, `[T, ...]`.
        v0: Its membrane before the first step.
    """

    def after(v: Tensor, x: Tensor) -> Tensor:
        h: Any = parameters.charge(v, x)
        v_reset: Any = parameters.v_reset
        reset = h - parameters.v_threshold if v_reset is None else torch.full_like(h, v_reset)
        return torch.where(h >= parameters.v_threshold, reset, h)

    if isinstance(x_seq.shape[0], int):
        values, v = [], v0
        for x in x_seq.unbind(0):
            v = after(v, x)
            values.append(v)
        return torch.stack(values)
    from torch._higher_order_ops.scan import scan

    def combine(carry: list[Tensor], x: Tensor) -> tuple[list[Tensor], Tensor]:
        v = after(carry[0], x)
        return [v.clone()], v.clone()

    return scan(combine, [v0], x_seq)[1]
