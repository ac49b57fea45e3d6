"""What torch notes at every node of a trace and nobody here reads, left out: a tenth of a trace's time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.fx.experimental import proxy_tensor

_TENSORS = "tensor_meta"  # sizes and types once more: `val` has them


@contextmanager
def unannotated() -> Iterator[None]:
    """Traces without the lines of Python and the second copy of sizes that torch.export keeps for each node.

    Where the torch that is installed has no such place any more, nothing is left out.
    """
    place: Any = proxy_tensor
    tracer: Any = getattr(place, "_ModuleStackTracer", None)
    extract = getattr(place, "_extract_tensor_metadata", None)
    if tracer is None or extract is None:
        yield
        return
    begin = tracer.__init__

    def begun(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.record_stack_traces = False

    tracer.__init__, place._extract_tensor_metadata = begun, lambda value: None
    try:
        yield
    finally:
        tracer.__init__, place._extract_tensor_metadata = begin, extract


def without_empty_notes(program: Any) -> Any:
    """Returns a program whose nodes hold no note that was left empty."""
    for node in program.graph.nodes:
        if node.meta.get(_TENSORS, program) is None:
            del node.meta[_TENSORS]
    return program
