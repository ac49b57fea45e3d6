"""Which neurons are one operation of the program, subclasses that change nothing that is run included."""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import neuron
from torch import Tensor

_PLAIN = (neuron.IFNode, neuron.HalfThresholdIFNode, neuron.LIFNode, neuron.ParametricLIFNode)
# What SpikingJelly 2.0 runs of a neuron. It does not call neuronal_charge, neuronal_fire and neuronal_reset.
_RUN = (
    "forward",
    "single_step_forward",
    "multi_step_forward",
    "single_step_functional_forward",
    "multi_step_functional_forward",
    "materialize_states",
)


def plain_kind(kind: type) -> type | None:
    """Returns the plain neuron that a class is, or that it derives from without changing anything that is run."""
    if kind in _PLAIN:
        return kind
    if kind.__module__.startswith("spikingjelly."):
        return None  # one with equations of its own
    for plain in _PLAIN:
        if issubclass(kind, plain) and all(_owner(kind, name) is _owner(plain, name) for name in _RUN):
            return plain
    return None


def number(value: Any) -> float | None:
    """Returns a setting that is one number, also where it is learnt.

    Raises:
        ValueError: If it is one number a channel.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError("not one number")
        return float(value.detach())
    return None if value is None else float(value)


def _owner(kind: type, method: str) -> type:
    return next(cls for cls in kind.__mro__ if method in vars(cls))
