"""Neurons written for SpikingJelly before 2.0: they define charge, fire and reset, which 2.0 does not call.

A step was `neuronal_charge(x)`, `spike = neuronal_fire()`, `neuronal_reset(spike)`, each on the membrane `v` and other
memories of the module. SpikingJelly 2.0 asks for `single_step_functional_forward`; a class of the old protocol that
derives from its `BaseNode` raises NotImplementedError there. `revive` gives such a module that method.
"""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import neuron
from torch import Tensor, nn


class _Protocol:
    """What BaseNode offered to its subclasses before 2.0; found after every class of the user's."""

    v: Any
    v_threshold: Any
    v_reset: Any
    detach_reset: bool
    surrogate_function: Any

    def neuronal_fire(self) -> Tensor:
        return self.surrogate_function(self.v - self.v_threshold)

    def neuronal_reset(self, spike: Tensor) -> None:
        spike = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            self.v = self.v - spike * self.v_threshold
        else:
            self.v = (1.0 - spike) * self.v + spike * self.v_reset


def _functional(self: Any, inputs: tuple[Tensor, ...], states: tuple[Any, ...], **kwargs: Any) -> Any:
    """One step as a function of input and state; the module's own memories are put back."""
    held = dict(self._memories)
    try:
        self._memories.update(zip(held, states, strict=True))
        self.neuronal_charge(inputs[0])
        spike = self.neuronal_fire()
        self.neuronal_reset(spike)
        return (spike,), tuple(self._memories.values())
    finally:
        self._memories.update(held)


def revive(net: nn.Module) -> nn.Module:
    """Gives every neuron of the old protocol in a module the method that SpikingJelly 2.0 runs; others stay."""
    for part in net.modules():
        if _is_old(type(part)):
            part.__class__ = _revived(type(part))
    return net


def is_revived(kind: type) -> bool:
    """Returns whether a class is one that `revive` has made."""
    return issubclass(kind, _Protocol)


def _is_old(kind: type) -> bool:
    if not issubclass(kind, neuron.BaseNode) or issubclass(kind, _Protocol):
        return False
    owner = next(cls for cls in kind.__mro__ if "single_step_functional_forward" in vars(cls))
    return owner is neuron.BaseNode and hasattr(kind, "neuronal_charge")


_KINDS: dict[type, type] = {}


def _revived(kind: type) -> type:
    if kind not in _KINDS:
        members = {"single_step_functional_forward": _functional, "__module__": kind.__module__}
        _KINDS[kind] = type(kind.__name__, (kind, _Protocol), members)
    return _KINDS[kind]
