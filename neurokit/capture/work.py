"""How much work a call is, counted and not timed: a loaded machine decides as an idle one does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# Floating-point operations that a call of an operator and a number that it writes are counted as: what they take on
# one core beside a product of matrices.
_CALL, _NUMBER = 100_000, 20


class WorkCounter(TorchDispatchMode):
    """Counts what runs within it: products and convolutions by their sizes, all else by what it writes.

    Attributes:
        work: Floating-point operations, as estimated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work = 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operator and counts it."""
        made = func(*args, **(kwargs or {}))
        self.work += _CALL + _NUMBER * sum(y.numel() for y in _tensors(made))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.work += int(count(*args, **(kwargs or {}), out_val=made))
        return made


def work_of(call: Callable[[], Any]) -> int:
    """Returns the floating-point operations of a call, as estimated; what it raises is raised."""
    with WorkCounter() as counter:
        call()
    return counter.work


def _tensors(made: Any) -> list[Tensor]:
    if isinstance(made, Tensor):
        return [made]
    return [y for y in made if isinstance(y, Tensor)] if isinstance(made, tuple | list) else []
