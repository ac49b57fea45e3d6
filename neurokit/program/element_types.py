"""Element types that no lowered form can hold: what of a captured program is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.program.nodes import module_paths

if TYPE_CHECKING:
    from neurokit.capture import Captured

# numpy, in which test vectors and runners hold their values, has none of these, and ONNX Runtime's CPU kernels
# neither multiply nor convolve in them.
_FIX = "--transform float32 (module.float())"
_ABSENT = (torch.bfloat16,)


def absent_types(captured: Captured) -> list[Unsupported]:
    """Returns one reason if a program computes in an element type that no lowered form can hold, by its first place."""
    for node in captured.program.graph.nodes:
        values = [value for value in tree_leaves(node.meta.get("val")) if isinstance(value, torch.Tensor)]
        if node.op == "call_function" and any(value.dtype in _ABSENT for value in values):
            return [_reason(node, str(values[0].dtype).removeprefix("torch."))]
    return []


def refuse_types(captured: Captured) -> None:
    """Refuses a model that computes in an element type that no lowered form can hold, before any work.

    Raises:
        UnsupportedError: If one of its graphs does.
    """
    reasons = [reason for graph in captured.graphs for reason in absent_types(graph)]
    if reasons:
        raise UnsupportedError(f"model {captured.spec.name!r} cannot be lowered or counted", reasons)


def other_types(captured: Captured, what: str) -> list[Unsupported]:
    """Returns one reason if a program computes in another type of fractions than float32, by its first place.

    Args:
        captured: The model.
        what: What holds float32 alone, as the subject of a sentence.
    """
    for node in captured.program.graph.nodes:
        values = [value for value in tree_leaves(node.meta.get("val")) if isinstance(value, torch.Tensor)]
        for value in values:
            if node.op == "call_function" and value.is_floating_point() and value.dtype != torch.float32:
                path, name = next(iter(module_paths(node)[::-1]), ""), str(value.dtype).removeprefix("torch.")
                why = f"it computes in {name}, and {what} float32"
                return [Unsupported(path, str(node.target), why, f"{_FIX}, or an ONNX form in float numerics")]
    return []


def in_float64(captured: Captured, why: str, operations: str = "") -> list[Unsupported]:
    """Returns one reason if a graph of a program computes in float64, by its first place.

    Args:
        captured: The model.
        why: Why that cannot be.
        operations: How the operations that are meant begin, "" for all.
    """
    for graph in captured.graphs:
        for node in graph.program.graph.nodes:
            values = tree_leaves(node.meta.get("val"))
            wide = any(isinstance(value, torch.Tensor) and value.dtype == torch.float64 for value in values)
            if node.op == "call_function" and wide and str(node.target).startswith(operations):
                path = next(iter(module_paths(node)[::-1]), "")
                return [Unsupported(path, str(node.target), why, _FIX)]
    return []


def _reason(node: Any, name: str) -> Unsupported:
    path = next(iter(module_paths(node)[::-1]), "")
    why = f"it computes in {name}, which neither numpy nor ONNX Runtime on a CPU has"
    return Unsupported(path, str(node.target), why, f"{_FIX}: every weight is the same number there")
