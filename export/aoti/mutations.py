"""Which of its tensors a kernel writes to: what it says itself, else what PyTorch finds out, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neurokit.program.launches import stated, unwrapped


@contextmanager
def found_once() -> Iterator[dict[Any, list[str]]]:
    """Has PyTorch ask a kernel what it writes to; of one that does not say, the intermediate code is read once.

    To functionalise a launch PyTorch lets Triton generate the kernel's code, of thousands of operations where loops are
    unrolled, and looks for its stores: at each of a network's launches, in the trace and in Inductor. That was 198 of
    the 236 s that tracing and lowering the small `metaspikeformer_15m` took under a profiler, 4.4 s a kernel. What a
    kernel writes to depends on its constants and on the types of its other arguments.

    Yields:
        What was found of kernels that do not say, by kernel and kind of arguments.
    """
    from torch._higher_order_ops import triton_kernel_wrap

    find = triton_kernel_wrap.identify_mutated_tensors
    found: dict[Any, list[str]] = {}

    def look_up(kernel: Any, kwargs: dict[str, Any], metadata: Any) -> list[str]:
        kernel, kwargs = unwrapped(kernel, kwargs)
        if (said := stated(kernel, kwargs)) is not None:
            return said
        key = (kernel, _kinds(kernel, kwargs), repr(metadata))
        if key not in found:
            found[key] = find(kernel, kwargs, metadata)
        return [*found[key]]

    triton_kernel_wrap.identify_mutated_tensors = look_up
    try:
        yield found
    finally:
        triton_kernel_wrap.identify_mutated_tensors = find


def _kinds(kernel: Any, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Returns what of a launch's arguments a kernel's code depends on."""
    constants = {parameter.name for parameter in kernel.params if parameter.is_constexpr}
    return tuple((name, value if name in constants else _kind(value)) for name, value in sorted(kwargs.items()))


def _kind(value: Any) -> Any:
    """Returns what code depends on of an argument that is no constant.

    That is the type of a tensor's elements, whichever of PyTorch's stages holds it, so that what the trace has found
    Inductor need not find again; of whole numbers whether it is 1 or a multiple of 16, for which Triton has code of its
    own; else the type.
    """
    if isinstance(value, int):  # and bool
        return type(value), value == 1, value % 16 == 0
    return str(getattr(value, "dtype", type(value)))
