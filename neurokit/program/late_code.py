"""Python code of graphs that torch makes on the way, generated when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def code_when_called() -> Iterator[None]:
    """Lets a graph module generate its Python when it is called or read, not at every change of its graph.

    A trace and an export make some twenty graph modules of one program, and each writes and compiles the source of all
    its nodes at once; four of them are ever called. What a module computes, and its source, are as before.
    """
    from torch.fx import GraphModule

    before: Any = GraphModule.recompile
    at_once = getattr(before, "at_once", before)  # of a context in a context

    def recompile(self: Any) -> None:
        flat = self._graph._codegen
        if hasattr(flat, "pytree_info"):
            self._in_spec, self._out_spec = flat.pytree_info.in_spec, flat.pytree_info.out_spec
        own = type(self)  # of this module alone
        own.forward = property(lambda module: (at_once(module), module.forward)[1])
        own.code = property(lambda module: _source(own, module, at_once))

    recompile.at_once = at_once  # type: ignore[attr-defined]
    kind: Any = GraphModule
    kind.recompile = recompile
    try:
        yield
    finally:
        kind.recompile = before


def _source(own: type, module: Any, generate: Any) -> str:
    if isinstance(vars(own).get("forward"), property):
        generate(module)
    return str(module._code)
