"""Registers operators so that they work on a GPU, under torch.compile and under the Triton interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from neurokit.program.launches import state_to_pytorch

NAMESPACE = "neurokit_kernels"

# Read once: Triton itself decides at the definition of a kernel whether it is interpreted.
INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"


def register_op(
    name: str, fake: Callable[..., Any], mutates: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Any]:
    """Registers a function as the operator `neurokit_kernels::<name>`.

    On a GPU the operator is a `triton_op`: torch.compile and AOTInductor see the kernel inside it. The
    interpreter works on real data only, so there the operator is an opaque `custom_op` with `fake` as its
    shape function (a `triton_op` derives its own by tracing).

    Args:
        name: Name of the operator, without the namespace.
        fake: Allocates the outputs; takes the operator's arguments.
        mutates: Names of the arguments that it writes to.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        qualified = f"{NAMESPACE}::{name}"
        if not INTERPRET:
            state_to_pytorch()
            return torch.library.triton_op(qualified, function, mutates_args=mutates)
        op = torch.library.custom_op(qualified, function, mutates_args=mutates)
        op.register_fake(fake)
        return op

    return decorate


def writes(*always: str, **on: str) -> Callable[[Any], Any]:
    """Says which of its tensors a kernel writes to; a compiler that asks need not read the kernel's code for it.

    That takes seconds where loops are unrolled, and is asked of every launch; some code it cannot read at all
    (`neurokit/program/launches.py`). tests/export/aoti/test_mutations.py holds it against what PyTorch finds.

    Args:
        always: Names of tensors that every launch writes to.
        on: By name of a tensor the constant that has to be true for it.
    """

    def decorate(kernel: Any) -> Any:
        kernel.writes = {**dict.fromkeys(always), **on}
        return kernel

    return decorate


def launches_overlap() -> bool:
    """Returns whether every GPU can launch a kernel while the one before it runs (compute capability 9.0 on).

    A process that was forked from one that uses a GPU, as those that compile are, cannot ask it: there it is False.
    """
    if INTERPRET or torch.cuda._is_in_bad_fork() or not torch.cuda.is_available() or torch.version.hip:
        return False
    return all(torch.cuda.get_device_capability(i) >= (9, 0) for i in range(torch.cuda.device_count()))


def fewest_processors() -> int:
    """Returns the multiprocessors of the GPU that has the fewest; 0 where launches do not overlap."""
    if not launches_overlap():
        return 0
    return min(torch.cuda.get_device_properties(i).multi_processor_count for i in range(torch.cuda.device_count()))


def restores(*names: str) -> Callable[[Any], Any]:
    """Says which of its tensors a kernel leaves as they were, although it writes to them on its way.

    Args:
        names: Of the tensors. Launches that follow each other may share them.
    """

    def decorate(kernel: Any) -> Any:
        kernel.restores = names
        return kernel

    return decorate


def launch(kernel: Any) -> Any:
    """Returns the kernel in the form that torch.compile can trace through."""
    return kernel if INTERPRET else torch.library.wrap_triton(kernel)


def lend_scratch(like: torch.Tensor) -> None:
    """Lets Triton take the memory from PyTorch in which a kernel keeps the descriptors that it makes.

    Traced programs bring their own. Triton keeps the allocator by context, so that a new thread has none.
    """
    if INTERPRET or like.device.type != "cuda":
        return
    import triton

    device = like.device
    triton.set_allocator(lambda size, alignment, stream: torch.empty(size, dtype=torch.int8, device=device))
