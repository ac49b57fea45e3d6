"""What PyTorch finds out about kernels is found out once: which of its tensors a kernel writes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def found_once() -> Iterator[dict[Any, list[str]]]:
    """Has PyTorch generate and read a kernel's intermediate code once, not at every launch in every pass of a trace.

    To functionalise a launch PyTorch lets Triton generate the kernel's code, of thousands of operations where loops are
    unrolled, and looks for its stores: at each of a network's launches once in the trace, once in its decompositions
    and once in Inductor. What a kernel writes to depends on its constants and on the types of its other arguments.

    Yields:
        What was found, by kernel and kind of arguments.
    """
    from torch._higher_order_ops import triton_kernel_wrap

    find = triton_kernel_wrap.identify_mutated_tensors
    found: dict[Any, list[str]] = {}

    def look_up(kernel: Any, kwargs: dict[str, Any], metadata: Any) -> list[str]:
        key = (*_kinds(kernel, kwargs), repr(metadata))
        if key not in found:
            found[key] = find(kernel, kwargs, metadata)
        return [*found[key]]

    triton_kernel_wrap.identify_mutated_tensors = look_up
    try:
        yield found
    finally:
        triton_kernel_wrap.identify_mutated_tensors = find


def _kinds(kernel: Any, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns a launch's kernel, and what of its arguments the kernel's code depends on.

    PyTorch makes an autotuner of its own, with one configuration, of every launch that says its warps.
    """
    while hasattr(kernel, "configs"):
        kwargs = {**kwargs, **(kernel.configs[0].kwargs if kernel.configs else {})}
        kernel = kernel.fn
    constants = {parameter.name for parameter in kernel.params if parameter.is_constexpr}
    return kernel, tuple((name, value if name in constants else _kind(value)) for name, value in sorted(kwargs.items()))


def _kind(value: Any) -> Any:
    """Returns what code depends on of an argument that is no constant.

    That is the type of a tensor's elements, whichever of PyTorch's stages holds it, so that what the trace has found
    Inductor need not find again; of whole numbers whether it is 1 or a multiple of 16, for which Triton has code of its
    own; else the type.
    """
    if isinstance(value, int):  # and bool
        return type(value), value == 1, value % 16 == 0
    return str(getattr(value, "dtype", type(value)))
