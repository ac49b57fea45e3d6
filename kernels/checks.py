"""The checks that registering a kernel brings: parity, gradients and coverage of its examples.

Each returns what is wrong, one line a fault, so that tests, benchmarks and other distributions share them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from neurokit.kernels.common.judge import different
from neurokit.kernels.contract import Example, GradientCase, Kernel, tensors
from neurokit.program.fusions import definitions

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def parity(
    kernel: Kernel,
    device: torch.device,
    dtype: torch.dtype,
    function: Callable[..., Any] | None = None,
    *,
    part: tuple[int, int] = (0, 1),
) -> tuple[int, list[str]]:
    """Compares every example of a kernel with its definition.

    Args:
        kernel: The kernel.
        device: Where to run.
        dtype: Type of the examples.
        function: What to run instead of the kernel's own public function.
        part: (k, n) for every n-th example from the k-th on.

    Returns:
        How many examples ran, and the faults.
    """
    faults, count = [], 0
    for example in itertools.islice(kernel.examples(device, dtype), part[0], None, part[1]):
        count += 1
        with definitions():
            expected = tensors(kernel.function(*example.args, **example.kwargs))
        actual = tensors((function or kernel.function)(*example.args, **example.kwargs))
        fault = compare(kernel, example, actual, expected)
        if fault:
            faults.append(f"{kernel.name} {example.label} {_name(dtype)}: {fault}")
    return count, faults


def compare(kernel: Kernel, example: Example, actual: list[torch.Tensor], expected: list[torch.Tensor]) -> str:
    """Returns what is wrong with the result of one call, or ""."""
    if len(actual) != len(expected):
        return f"{len(actual)} outputs, expected {len(expected)}"
    for index, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return (
                f"output {index} is {_name(ours.dtype)} {list(ours.shape)}, "
                f"expected {_name(theirs.dtype)} {list(theirs.shape)}"
            )
    if kernel.judge is not None:
        return kernel.judge(example, actual, expected)
    return different(actual, expected)


def gradients(kernel: Kernel, device: torch.device) -> tuple[int, list[str]]:
    """Compares the gradients of every gradient case with automatic differentiation in float64.

    Returns:
        How many cases ran, and the faults.
    """
    faults, count = [], 0
    for case in kernel.gradients(device) if kernel.gradients else ():
        count += 1
        faults += [f"{kernel.name} {case.label}: {fault}" for fault in gradient_faults(case)]
    return count, faults


def gradient_faults(case: GradientCase) -> list[str]:
    """Returns what is wrong with the outputs or gradients of one case."""
    inputs = [x.detach().clone().requires_grad_() for x in case.inputs]
    doubles = [x.detach().double().requires_grad_() for x in case.inputs]
    ours, theirs = case.ours(*inputs), case.oracle(*doubles)
    faults = [
        f"output {index} is off by {_relative(a, b):.2g}"
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True))
        if _relative(a.detach(), b.detach()) > case.tolerance
    ]
    weights = [_cotangent(x) for x in ours]
    mine = torch.autograd.grad(sum((y * w).sum() for y, w in zip(ours, weights, strict=True)), inputs)
    exact = torch.autograd.grad(sum((y * w.double()).sum() for y, w in zip(theirs, weights, strict=True)), doubles)
    faults += [
        f"the gradient of input {index} is off by {_relative(a, b):.2g}, allowed {case.tolerance:.2g}"
        for index, (a, b) in enumerate(zip(mine, exact, strict=True))
        if not _relative(a, b) <= case.tolerance
    ]
    return faults


def coverage(kernel: Kernel, device: torch.device) -> list[str]:
    """Returns what a kernel's examples leave out: they must hold an empty call and a width that no block divides."""
    widths, empty = set(), False
    for example in kernel.examples(device, torch.float16):
        given = [x for x in example.args if isinstance(x, torch.Tensor)]
        empty |= any(x.numel() == 0 for x in given)
        widths |= {size for x in given for size in x.shape[-1:]}
    faults = [] if empty else [f"{kernel.name}: no example is empty"]
    return faults if any(width % 32 for width in widths) else [*faults, f"{kernel.name}: no example has an odd width"]


def _cotangent(x: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(x.numel())
    return torch.randn(x.shape, generator=generator).to(x.device, x.dtype)


def _relative(a: torch.Tensor, b: torch.Tensor) -> float:
    distance = float((a.double() - b.double()).norm())
    return distance / max(float(b.double().norm()), 1e-30)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
