"""Modules by hand that take their state as an argument and return it: `y, state = net(x_t, state)`."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.capture.cells import HANDED, call_with_state, output_and_state
from neurokit.capture.time_input import quiet_copy
from neurokit.spec import TensorSpec

_NAMES = ("state", "hidden", "mem", "carry", "hx")  # in the second argument's, which may be a mask as well
_MEMBRANES = (*_NAMES, "syn", "spk", "spike", "v")  # in those of a network of a library's neurons


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


def marked(module: nn.Module, tensor: TensorSpec) -> nn.Module:
    """Returns a copy that is marked, where a network of neurons takes and returns its states (`cells.hands_on_state`).

    That is `spk, mem = net(x, mem)` or `spk, mem1, mem2 = net(x, mem1, mem2)`, one step a call; anything else is
    returned as it is.

    Args:
        module: The network, in evaluation mode.
        tensor: Its input.
    """
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    except (TypeError, ValueError):  # of a scripted function nothing is known
        return module
    names = [each.name for each in parameters if each.default is None and any(n in each.name for n in _MEMBRANES)]
    if not names or len(names) != len(parameters) or not _returns_what_it_takes(module, tensor, len(names)):
        return module
    made = copy.deepcopy(module)
    vars(made)[HANDED] = len(names)
    return made


def _returns_what_it_takes(module: nn.Module, tensor: TensorSpec, count: int) -> bool:
    """Returns whether a second call takes the states that the first returned, and returns such states again."""
    x = torch.rand((2, *tensor.numbers), generator=torch.Generator().manual_seed(0)).to(getattr(torch, tensor.dtype))
    net = quiet_copy(module)
    try:
        with torch.no_grad():
            _, state = output_and_state(net(x), count)
            _, after = output_and_state(call_with_state(net, x, state), count)
    except Exception:  # no such module, or it takes no single step
        return False
    held = [torch.utils._pytree.tree_leaves(tuple(v) if count > 1 and v else v) for v in (state, after)]
    tensors = all(isinstance(leaf, Tensor) for leaf in (*held[0], *held[1]))
    return tensors and bool(held[0]) and [leaf.shape for leaf in held[0]] == [leaf.shape for leaf in held[1]]
