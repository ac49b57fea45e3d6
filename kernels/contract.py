"""What a kernel brings for tests and benchmarks: definition, judge, gradients, cost, workloads, opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from neurokit.registry import Registry


@dataclass(frozen=True)
class Example:
    """One call of a kernel's public function.

    Attributes:
        label: What is special about it.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    label: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GradientCase:
    """One call whose gradients are compared with automatic differentiation in float64.

    Attributes:
        label: What is special about it.
        inputs: Tensors that the gradient flows to, float32.
        ours: The kernel's public function of those tensors; returns its differentiable outputs.
        oracle: The same in plain, differentiable PyTorch, written apart from the kernel; runs in float64.
        tolerance: Largest relative L2 error of a gradient.
    """

    label: str
    inputs: tuple[torch.Tensor, ...]
    ours: Callable[..., tuple[torch.Tensor, ...]]
    oracle: Callable[..., tuple[torch.Tensor, ...]]
    tolerance: float = 2e-5


@dataclass(frozen=True)
class Cost:
    """What a call has to move and to compute at least; with a GPU's ceilings that is its roofline.

    Attributes:
        moved: Bytes read and written once, to and from memory.
        operations: Additions and multiplications (a multiply-add counts as two).
        unit: What computes them: "float32" (outside of tensor cores), "float16" or "int8" (on tensor cores).
    """

    moved: float
    operations: float = 0.0
    unit: str = "float32"


Examples = Callable[[torch.device, torch.dtype], Iterator[Example]]
# Given a call, what it returned and what the definition returns: what is wrong, or "".
Judge = Callable[[Example, list[torch.Tensor], list[torch.Tensor]], str]


@dataclass(frozen=True)
class Kernel:
    """A kernel. With NEUROKIT_KERNELS=reference its public function runs the definition in plain PyTorch.

    Registering it yields, by `neurokit.kernels.checks` and the contract tests: parity on all examples with poisoned
    outputs, gradients, torch.library.opcheck, compilation and export, and a row of the roofline benchmark.

    Attributes:
        name: Name of the folder, of the registry entry and of the configuration table.
        summary: One line.
        function: The public function, which dispatches between the Triton kernel and the definition.
        op: Name of the registered operator, without the namespace.
        examples: Yields calls for (device, dtype): odd shapes, every mode, every output form, an empty one.
        op_examples: Yields argument tuples of the operator for torch.library.opcheck, for (device,).
        cost: Bytes and operations of a call.
        judge: Decides whether a result is right where a floating-point sum may be ordered freely: by float64 currents
            and their rounding bound, decision by decision. None where every bit must be the definition's.
        gradients: Yields gradient cases for (device,); None for a kernel of inference only.
        workloads: Yields calls of realistic size for (device,): the rows of the roofline benchmark.
        opponents: What else computes the same, by name: from an example to a call without arguments.
    """

    name: str
    summary: str
    function: Callable[..., Any]
    op: str
    examples: Examples
    op_examples: Callable[[torch.device], Iterator[tuple[Any, ...]]]
    cost: Callable[[Example], Cost]
    judge: Judge | None = None
    gradients: Callable[[torch.device], Iterator[GradientCase]] | None = None
    workloads: Callable[[torch.device], Iterator[Example]] | None = None
    opponents: Mapping[str, Callable[[Example], Callable[[], Any]]] = field(default_factory=dict)


KERNELS: Registry[Kernel] = Registry("kernel", "neurokit.kernels", "neurokit.kernels", command="neurokit list kernels")


def register_kernel(kernel: Kernel) -> Kernel:
    """Registers a kernel under its name."""
    return KERNELS.add(kernel.name, kernel)


def tensors(result: Any) -> list[torch.Tensor]:
    """Returns the tensors that a kernel gave."""
    return [result] if isinstance(result, torch.Tensor) else list(result)


def nbytes(*values: Any) -> float:
    """Returns the bytes of tensors; what is no tensor counts nothing, and a repeated time step counts once."""
    total = 0
    for x in values:
        if isinstance(x, torch.Tensor):
            repeated = x.dim() > 0 and x.stride(0) == 0 and x.shape[0] > 1
            total += x.numel() * x.itemsize // (x.shape[0] if repeated else 1)
    return float(total)


def spikes(*shape: int, rate: float = 0.3, device: torch.device, dtype: torch.dtype = torch.int8) -> torch.Tensor:
    """Returns random spikes of 0 and 1, the same on every device."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) < rate).to(device, dtype)


def normal(*shape: int, device: torch.device, dtype: torch.dtype = torch.float32, mean: float = 0.0) -> torch.Tensor:
    """Returns random numbers of unit variance, the same on every device."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) + mean).to(device, dtype)
