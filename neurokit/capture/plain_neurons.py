"""Which neurons are one operation of the program, subclasses that change nothing that is run included."""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import neuron
from torch import Tensor

from neurokit.capture.legacy import RUN, cls_of

_PLAIN = (neuron.IFNode, neuron.HalfThresholdIFNode, neuron.LIFNode, neuron.ParametricLIFNode)


def plain_kind(kind: type) -> type | None:
    """Returns the plain neuron that a class is, or that it derives from without changing anything that is run."""
    if kind in _PLAIN:
        return kind
    if kind.__module__.startswith("spikingjelly."):
        return None  # one with equations of its own
    for plain in _PLAIN:
        if issubclass(kind, plain) and all(cls_of(kind, name) is cls_of(plain, name) for name in RUN):
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
