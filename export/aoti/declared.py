"""Arrays of sizes and strides in compiled C++: each is declared where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from neurokit.export.aoti.replaced import replaced


@contextmanager
def arrays_declared_where_used() -> Iterator[None]:
    """Has the compiler's C++ declare every array of sizes or strides anew.

    PyTorch 2.11 names arrays again that it has declared in the same buffer of text, and tells buffers apart by the
    address of a method that is gone after the call: another buffer's may have the same. Then a package now and then
    names an array that is declared elsewhere ("'int_array_246' was not declared in this scope", two of some hundred
    packages), by where memory happened to be free. PyTorch 2.14 tells them apart by the buffer.
    """
    from torch._inductor.codegen.cpp_wrapper_cpu import CppWrapperCpu

    def anew(
        self: Any, int_array: str, writeline: Callable[..., None], known_statically: bool = False, graph: Any = None
    ) -> Any:
        return self._codegen_int_array_var_impl(int_array, writeline, known_statically)

    with replaced(CppWrapperCpu, "codegen_int_array_var", anew):
        yield
