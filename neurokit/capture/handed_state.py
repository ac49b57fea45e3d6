"""Modules by hand that take their state as an argument and return it: `y, state = net(x_t, state)`."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.capture.time_input import quiet_copy
from neurokit.spec import TensorSpec

_NAMES = ("state", "hidden", "mem", "carry", "hx")  # in the second argument's, which may be a mask as well


class HandedOn(nn.Module):
    """Base of a module that is handed, at every call, the state that the last one returned."""

    handed_state: Any = None

    def forward(self, x: Tensor) -> Any:
        """Returns the output of one step."""
        y, self.handed_state = super().forward(x, self.handed_state)
        return y


def handed_on(module: nn.Module) -> nn.Module:
    """Returns a copy of a module that keeps its state itself; its paths stay."""
    made: Any = copy.deepcopy(module)
    kind = type(made)
    made.__class__ = type(kind.__name__, (HandedOn, kind), {"__module__": kind.__module__})
    made.handed_state = None
    return made


def hands_on_its_state(module: nn.Module, tensor: TensorSpec) -> bool:
    """Returns whether a module takes and returns its state, by calling a copy twice on one step `[B, *shape]`.

    Args:
        module: The module, in evaluation mode.
        tensor: Its input.
    """
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):  # of a scripted function nothing is known
        return False
    if len(parameters) != 2 or parameters[1].default is not None or not any(n in parameters[1].name for n in _NAMES):
        return False
    x = torch.rand((2, *tensor.numbers), generator=torch.Generator().manual_seed(0)).to(getattr(torch, tensor.dtype))
    net = quiet_copy(module)
    try:
        with torch.no_grad():
            y, state = net(x)
            _, after = net(x, state)
    except Exception:  # no such module, or it takes no single step
        return False
    leaves = torch.utils._pytree.tree_leaves
    tensors = all(isinstance(leaf, Tensor) for leaf in leaves((state, after)))
    return isinstance(y, Tensor) and tensors and len(leaves(state)) == len(leaves(after)) > 0
