"""What torch notes at every node of a trace and nobody here reads, left out: a tenth of a trace's time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.fx import Node
from torch.fx.experimental import proxy_tensor

from neurokit.capture.lines import calling_line

_TENSORS = "tensor_meta"  # sizes and types once more: `val` has them


@contextmanager
def unannotated(lines: bool = False) -> Iterator[None]:
    """Traces without the lines of Python and the second copy of sizes that torch.export keeps for each node.

    Where the torch that is installed has no such place any more, nothing is left out.

    Args:
        lines: Whether each node keeps, for its stack trace, the one line of the user's code that called it.
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
        if lines:
            self.create_node = partial(_with_line, self.create_node)

    tracer.__init__, place._extract_tensor_metadata = begun, lambda value: None
    try:
        yield
    finally:
        tracer.__init__, place._extract_tensor_metadata = begin, extract


def _with_line(create: Callable[..., Node], *args: Any, **kwargs: Any) -> Node:
    node = create(*args, **kwargs)
    node.meta["stack_trace"] = "{}:{}".format(*calling_line())
    return node


def without_empty_notes(program: Any) -> Any:
    """Returns a program whose nodes hold no note that was left empty."""
    for node in program.graph.nodes:
        if node.meta.get(_TENSORS, program) is None:
            del node.meta[_TENSORS]
    return program
