"""Torch's table of ONNX translations, read without parsing what nobody asks for.

Torch's exporter has half a thousand translations, each a Python function. To list them it parses the source of each one
for a domain that it does not read, and works out the signature of each one though an export calls a few: most of what
the first export in a process took of a small model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any


def read_table(opset: int, read: Callable[[int], Any]) -> Any:
    """Returns torch's `ONNXRegistry` of an opset, whose entries get their signatures when they are asked for.

    Args:
        opset: The opset that the exporter is asked for.
        read: Torch's own reading of it, `ONNXRegistry.from_torchlib`.
    """
    from torch.onnx._internal.exporter import _registration
    from torch.onnx._internal.exporter._torchlib import ops  # its entries are torch's own: they are signed as ever

    del ops
    with _domains_alone(), _unsigned(_registration.OnnxDecompMeta):
        made = read(opset)
    made.__class__ = _signing(_registration.ONNXRegistry)
    return made


def _signing(kind: Any) -> Any:
    """Returns a class of tables that sign what they are asked for."""

    class Signing(kind):  # type: ignore[misc]
        def get_decomps(self, target: Any) -> list[Any]:
            """Returns the translations of an operation, signed."""
            found = super().get_decomps(target)
            for entry in found:
                if entry.signature is None and not entry.is_custom:
                    entry.__post_init__()  # an entry without signature takes any arguments
            return found  # type: ignore[no-any-return]

    return Signing


@contextmanager
def _domains_alone() -> Iterator[None]:
    """Lets the list of onnxscript's functions be made without parsing any: it reads the domain of each."""
    import onnxscript

    kind: Any = onnxscript.TracedOnnxFunction
    before = kind.__dict__["function_ir"]
    kind.function_ir = property(lambda self: SimpleNamespace(domain=self.opset.domain))
    try:
        yield
    finally:
        kind.function_ir = before


@contextmanager
def _unsigned(kind: Any) -> Iterator[None]:
    """Lets entries be made without their signatures."""
    before = kind.__post_init__
    kind.__post_init__ = lambda self: None
    try:
        yield
    finally:
        kind.__post_init__ = before
