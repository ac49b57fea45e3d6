"""Modules that take `[B, T, ...]`, as data loaders of event cameras give it, behind a forward over `[T, B, ...]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from neurokit.capture.time_input import answers_over_time, check_takes_sequence
from neurokit.errors import InputError
from neurokit.spec import TensorSpec


class BatchFirst(nn.Module):
    """Calls a module with batch and time exchanged, and exchanges them again in the outputs that have both.

    Args:
        net: The module.
        over_time: Of every output, whether it is `[B, T, ...]`.
    """

    def __init__(self, net: nn.Module, over_time: Sequence[bool]) -> None:
        super().__init__()
        self.net, self.over_time = net, tuple(over_time)
        self.notes_for_user = ("its forward takes [B, T, ...]; every lowered form takes [T, B, ...]",)

    def forward(self, x: Tensor) -> Any:
        """Runs `[T, B, *shape]`."""
        leaves, spec = tree_flatten(self.net(x.transpose(0, 1)))
        flags = iter(self.over_time)
        turned = [y.transpose(0, 1) if isinstance(y, Tensor) and next(flags, False) else y for y in leaves]
        return tree_unflatten(turned, spec)


def turned(module: nn.Module, tensor: TensorSpec, steps: int) -> BatchFirst | None:
    """Returns a module with its own dynamics behind a forward over `[T, B, ...]`, or None if it takes no `[B, T, ...]`.

    Along its first axis it has no memory then, and along its second it has.

    Args:
        module: The module, in evaluation mode; it is copied.
        tensor: Its input.
        steps: Number of steps T of the trial.
    """
    found = BatchFirst(module, answers_over_time(module, tensor, steps)).eval()
    try:
        check_takes_sequence(found, tensor, steps, "")
    except InputError:
        return None
    return found
