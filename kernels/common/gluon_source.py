"""How a kernel written in Gluon is compiled: with tensor descriptors as every way into it describes them.

Gluon is Triton's lower level, at which a kernel places its data and its warps itself. PyTorch's compiler (2.11) knows
kernels of Triton alone; `neurokit/export/aoti/gluon_kernels.py` brings them together.
"""

from __future__ import annotations

import re
from typing import Any

from triton.experimental.gluon._runtime import GluonASTSource, GluonJITFunction
from triton.experimental.gluon.language import NVMMASharedLayout

_DESCRIPTOR = re.compile(r"tensordesc<(\w+)(\[[^\]]*\])>")
_WIDTHS = {"i8": 8, "fp16": 16, "bf16": 16, "fp32": 32}


def layout_of(shape: tuple[int, ...], bits: int) -> Any:
    """Returns how a box of so many bits a number lies in shared memory: swizzled by the bytes of its last axis.

    As `host_makes` allows it, which every maker of descriptors takes for granted.
    """
    return NVMMASharedLayout(shape[-1] * bits // 8, bits, rank=len(shape))


class Source(GluonASTSource):
    """A launch as it is compiled.

    Descriptors are given as Triton writes their types, without a layout. The constant REGISTERS of a kernel is what a
    thread has on average where several of its programs share a multiprocessor.
    """

    def __init__(self, fn: Any, signature: dict[str, str], constexprs: Any = None, attrs: Any = None) -> None:
        types = {name: _with_layout(kind) for name, kind in signature.items()}
        super().__init__(fn, types, constexprs, attrs)
        self.stub: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "fn": self.stub or self.fn}

    def parse_options(self) -> dict[str, Any]:
        """Returns options beside those of the launch."""
        index = self.fn.arg_names.index("REGISTERS") if "REGISTERS" in self.fn.arg_names else None
        return {} if index is None else {"maxnreg": self.constants[(index,)]}


class Function(GluonJITFunction[Any]):
    """A kernel that is compiled so, whoever launches it."""

    def create_binder(self) -> Any:
        """Returns what reads a launch's arguments, as Triton does."""
        binder = super().create_binder()
        self.ASTSource = Source
        return binder

    def source(self, stub: Any, signature: dict[str, str], constexprs: Any, attrs: Any) -> Source:
        """Returns a launch of the kernel as it is compiled.

        Args:
            stub: A function of Triton's with the same parameters; it takes the kernel's place where the launch goes to
                another process.
            signature: Types by name; descriptors as Triton writes them.
            constexprs: Constants by name.
            attrs: What is known of the others.
        """
        source = Source(self, signature, constexprs, attrs)
        source.stub = stub
        return source


def _with_layout(kind: Any) -> Any:
    found = _DESCRIPTOR.fullmatch(kind) if isinstance(kind, str) else None
    if found is None:
        return kind
    name, shape = found.groups()
    sizes = tuple(int(size) for size in shape[1:-1].split(","))
    return f"tensordesc<{name}{shape},{layout_of(sizes, _WIDTHS[name])!r}>"
