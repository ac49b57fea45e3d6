"""Which of its tensors a launch of a Triton kernel writes to, as the kernel states it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any


def unwrapped(kernel: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Returns the kernel and the arguments of a launch.

    PyTorch makes an autotuner of its own, with one configuration, of every launch that says its warps.
    """
    while hasattr(kernel, "configs"):
        kwargs = {**kwargs, **(kernel.configs[0].kwargs if kernel.configs else {})}
        kernel = kernel.fn
    return kernel, kwargs


def stated(kernel: Any, kwargs: Mapping[str, Any]) -> list[str] | None:
    """Returns what a kernel says that it writes to, in the order of its arguments; None where it does not say."""
    written = getattr(kernel, "writes", None)
    if written is None:
        return None
    return [
        name for name in kernel.arg_names if name in written and (written[name] is None or bool(kwargs[written[name]]))
    ]


def state_to_pytorch() -> None:
    """Has PyTorch take a kernel's word for what it writes to, wherever it traces a launch; other kernels it reads.

    To functionalise a launch PyTorch looks for the stores in the kernel's intermediate code. PyTorch 2.11 gives up at
    assembly with side effects, as waiting for the kernel before is, and takes every tensor for written: an operator
    then seems to change its inputs, which torch.compile copies and `opcheck` refuses.
    """
    from torch._higher_order_ops import triton_kernel_wrap

    find: Any = triton_kernel_wrap.identify_mutated_tensors
    if hasattr(find, "__wrapped__"):
        return

    @functools.wraps(find)
    def ask(kernel: Any, kwargs: dict[str, Any], metadata: Any) -> list[str]:
        said = stated(*unwrapped(kernel, kwargs))
        return find(kernel, kwargs, metadata) if said is None else said

    triton_kernel_wrap.identify_mutated_tensors = ask  # type: ignore[assignment]
