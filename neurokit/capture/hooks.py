"""Hooks of a user's module: copied with it, told apart by whether they compute, and left out only if they do not."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

FORWARD = ("_forward_pre_hooks", "_forward_hooks")
BACKWARD = ("_backward_hooks", "_backward_pre_hooks")


def foreign_hooks(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, int]]:
    """Yields path, module, table and key of every hook of the forward pass that is not torch's own."""
    for path, part in module.named_modules():
        for table in FORWARD:
            for key, hook in getattr(part, table).items():
                if not _is_torch_hook(hook):
                    yield path, part, table, key


def private_hooks(module: nn.Module, memo: dict[int, Any]) -> None:
    """Gives a copied module's hooks a closure of their own, and drops those of the backward pass.

    `copy.deepcopy` copies no function: a hook that keeps what it sees in a list of its user's would write there.

    Args:
        module: The copy.
        memo: The memo that it was copied with, so that a hook that holds a part of the module holds the copied part.
    """
    for part in module.modules():
        for table in BACKWARD:
            getattr(part, table).clear()
    for _path, part, table, key in list(foreign_hooks(module)):
        hook = getattr(part, table)[key]
        if isinstance(hook, types.FunctionType) and hook.__closure__:
            getattr(part, table)[key] = _with_own_closure(hook, memo)


def _with_own_closure(hook: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    cells = []
    for cell in hook.__closure__ or ():
        try:
            cells.append(types.CellType(copy.deepcopy(cell.cell_contents, memo)))
        except Exception:  # an open file or the like, or an empty cell: shared
            cells.append(cell)
    made = types.FunctionType(hook.__code__, hook.__globals__, hook.__name__, hook.__defaults__, tuple(cells))
    made.__kwdefaults__ = hook.__kwdefaults__
    return made


def settle(net: nn.Module, eager: nn.Module, x: Tensor, stepwise: bool) -> list[str]:
    """Leaves hooks that only look out of the module that is traced; returns notes.

    Args:
        net: The copy that will be traced; hooks stay in it where they compute.
        eager: The user's module (`neurokit.capture.eager.untouched`).
        x: An input.
        stepwise: Whether the module is called once a step.
    """
    from neurokit.capture.eager import run, run_here

    hooks = list(foreign_hooks(net))
    if not hooks:
        return []
    bare, used = copy.deepcopy(eager), copy.deepcopy(eager)
    drop(bare)
    try:
        plain, given = run(bare, x, stepwise=stepwise), run_here(used, x, stepwise=stepwise)
    except Exception:
        return [_COMPUTES.format(len(hooks))]  # the capture itself will tell what is wrong
    alike = len(plain.outputs) == len(given.outputs) and all(map(torch.equal, plain.outputs, given.outputs))
    moved = {name for name, _ in eager.named_parameters()} & set(given.changed)
    if alike and not moved:
        drop(net)
        return [f"{len(hooks)} hook(s) of the module only look: they are not part of the capture"]
    if moved and set(dict(net.named_parameters())) == set(dict(used.named_parameters())):
        # Weights that a hook computes from themselves: what they are after a run is what every run computes with.
        drop(net)
        for mine, theirs in zip(net.parameters(), used.parameters(), strict=True):
            mine.data = theirs.data.clone()
        return [f"{len(hooks)} hook(s) compute weights ({', '.join(sorted(moved)[:3])}): captured as they leave them"]
    return [_COMPUTES.format(len(hooks))]


_COMPUTES = "{} hook(s) of the module compute: they are captured"


def drop(module: nn.Module) -> None:
    """Removes the hooks of the forward pass that are not torch's own."""
    for _path, part, table, key in list(foreign_hooks(module)):
        del getattr(part, table)[key]


def _is_torch_hook(hook: Any) -> bool:
    """Returns whether a hook computes parameters (torch.nn.utils.weight_norm and the like)."""
    return str(getattr(hook, "__module__", type(hook).__module__)).startswith("torch.nn.utils")
