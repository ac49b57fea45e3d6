"""What torch computes of shapes with a free size in a trace, without the detours: a sixth of a trace's time.

A trace runs every operation without data. Where a size is free, torch takes batch normalisation apart into a dozen
operations, builds a view of a contiguous tensor one axis after the other, and asks of every tensor how it lies in
memory for a key that does not hold it. Operations and sizes are the same by these rules; a stride that torch would
write as `Min(32, 32*B)` is 32, and a guard that held it to 32 is not there. What the rules do not cover goes torch's
way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import fake_impls, fake_tensor

from neurokit.capture.shapes_alone import fit_for_norm

_aten = torch.ops.aten


@contextmanager
def quick_shapes() -> Iterator[None]:
    """Traces with these rules; where the torch that is installed has no such places any more, with none."""
    tables, places = (getattr(fake_impls, "get_fast_op_impls", None), fake_tensor.__dict__)
    ask = places.get("suggest_memory_format")
    if tables is None or ask is None:
        yield
        return
    table: dict[Any, Callable[..., Any]] = tables()
    known = {operation: table.get(operation) for operation in _RULES}
    table.update(_RULES)
    places["suggest_memory_format"] = lambda x: torch.contiguous_format if x._has_symbolic_sizes_strides else ask(x)
    try:
        yield
    finally:
        places["suggest_memory_format"] = ask
        for operation, rule in known.items():
            if rule is None:
                del table[operation]
            else:
                table[operation] = rule


def _normalised(
    mode: Any, x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, *settings: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation in evaluation mode: like its input; what it keeps for a gradient is empty on a CPU."""
    operation = _aten._native_batch_norm_legit_no_training.default
    with mode:
        if x.device.type != "cpu" or not fit_for_norm(x, mean, var, weight, bias):
            made: tuple[Tensor, Tensor, Tensor] = torch._decomp.decomposition_table[operation](
                x, weight, bias, mean, var, *settings
            )
            return made
        return torch.empty_like(x), x.new_empty((0,)), x.new_empty((0,))


def _viewed(mode: Any, x: Tensor, shape: Sequence[Any]) -> Tensor:
    """A view of what lies contiguously: another shape, with the strides that it has then."""
    from torch import _prims_common as sizes
    from torch._refs import _reshape_view_helper

    with mode:
        if not x.dim() or not shape or not sizes.is_contiguous_or_false(x):
            viewed: Tensor = _reshape_view_helper(x, *shape, allow_copy=False)
            return viewed
        whole = sizes.infer_size(tuple(shape), x.numel())  # refuses what does not fit
        return x.as_strided(whole, sizes.make_contiguous_strides_for(whole))


_RULES: dict[Any, Callable[..., Any]] = {
    _aten._native_batch_norm_legit_no_training.default: _normalised,
    _aten.view.default: _viewed,
}
