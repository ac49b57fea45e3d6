"""Complex numbers in a program, which ONNX has no type for: they stay where the exporter writes them as pairs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from neurokit.errors import Unsupported, UnsupportedError

if TYPE_CHECKING:
    from torch.fx import Node

    from neurokit.capture import Captured


@contextmanager
def complex_refused(captured: Captured) -> Iterator[None]:
    """Says of a program with complex numbers that cannot be written that they are why.

    Raises:
        UnsupportedError: Where a state is complex, before anything is done, or where what is done here fails.
    """
    if any(state.dtype.startswith("complex") for state in captured.states):
        raise _refusal(captured, _first(captured))
    try:
        yield
    except Exception as error:  # what the exporter and the checker raise differs from operation to operation
        node = _first(captured)
        if node is None:
            raise
        raise _refusal(captured, node) from error


def _first(captured: Captured) -> Node | None:
    """Returns the first operation of a program that gives complex numbers, or None."""
    from torch import Tensor
    from torch.fx import GraphModule

    for part in captured.program.graph_module.modules():  # those of loops as well
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            value = node.meta.get("val")
            if node.op == "call_function" and isinstance(value, Tensor) and value.is_complex():
                return node  # type: ignore[no-any-return]
    return None


def _refusal(captured: Captured, node: Node | None) -> UnsupportedError:
    from neurokit.program.nodes import module_paths

    path = (module_paths(node) or [""])[-1] if node is not None else ""
    what = str(node.target) if node is not None else captured.spec.name
    why = "it gives complex numbers, which ONNX has no type for"
    fix = "keep real and imaginary part in two real tensors: re, im = a * re - b * im, a * im + b * re"
    return UnsupportedError(
        f"model {captured.spec.name!r} cannot be lowered to ONNX", [Unsupported(path, what, why, fix)]
    )
