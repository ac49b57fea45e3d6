"""Kernels written in Gluon in PyTorch's compiler, which knows those of Triton: stubs stand for them in what it writes.

PyTorch 2.11 copies a kernel's source into a module of its own and compiles that as Triton's language. A Gluon kernel is
left where it is: its stub has the same parameters and names it, and where the stub would be compiled, it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from neurokit.export.aoti.replaced import replaced

_STUB = '''def {name}({parameters}):
    """{place}, {code}"""
from neurokit.export.aoti.gluon_kernels import stands_for
stands_for({name}, {place!r})
'''


@contextmanager
def stubs() -> Iterator[None]:
    """Has the compiler write stubs of Gluon kernels into its modules."""
    from torch._inductor.codegen import wrapper

    name = "user_defined_triton_kernel_transitive_closure_source_code"
    usual = vars(wrapper)[name]
    with replaced(wrapper, name, lambda kernel: stub_of(kernel) if _is_gluon(kernel) else usual(kernel)):
        yield


def _is_gluon(kernel: Any) -> bool:
    return bool(getattr(kernel, "is_gluon", lambda: False)())


def stub_of(kernel: Any) -> str:
    """Returns a function with a kernel's parameters, and the call that says which kernel it stands for.

    It holds the key of the kernel's code, so that what is cached by its text is of that code.
    """
    parameters = [f"{one.name}: tl.constexpr" if one.is_constexpr else one.name for one in kernel.params]
    place = f"{kernel.fn.__module__}:{kernel.fn.__name__}"
    return _STUB.format(name=kernel.__name__, parameters=", ".join(parameters), place=place, code=kernel.cache_key)


def stands_for(autotuner: Any, place: str) -> None:
    """Has a stub's kernel compiled in its place.

    Args:
        autotuner: What PyTorch has made of the stub.
        place: Module and name of the kernel.
    """
    from torch._inductor.runtime import triton_heuristics

    autotuner.fn.gluon = place
    if triton_heuristics.ASTSource is not _source:
        _usual.append(triton_heuristics.ASTSource)
        triton_heuristics.ASTSource = _source  # type: ignore[assignment]


_usual: list[Any] = []


def _source(fn: Any, signature: Any, constants: Any = None, attributes: Any = None) -> Any:
    """Returns what Triton compiles: of a stub the kernel that it stands for."""
    place = getattr(fn, "gluon", None)
    if place is None:
        return _usual[0](fn, signature, constants, attributes)
    module, _, name = place.partition(":")
    kernel = inspect.getattr_static(import_module(module), name)
    return kernel.source(fn, signature, constants, attributes)
