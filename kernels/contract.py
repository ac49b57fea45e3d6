"""What a kernel brings so that tests and the benchmark find it: its public function, its operator and examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from neurokit.registry import Registry

Parity = Literal["equal", "margin"]


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
class Kernel:
    """A kernel. With NEUROKIT_KERNELS=reference its public function runs the definition in plain PyTorch.

    Attributes:
        name: Name of the folder, of the registry entry and of the configuration table.
        summary: One line.
        function: The public function, which dispatches between the Triton kernel and the reference.
        op: Name of the registered operator, without the namespace.
        parity: "equal" where every bit must agree; "margin" where a floating-point sum is ordered freely, so
            that a decision may differ where the membrane is within rounding of the threshold.
        examples: Yields calls for (device, dtype): odd shapes, every mode, every output form.
        op_examples: Yields argument tuples of the operator for torch.library.opcheck, for (device,).
    """

    name: str
    summary: str
    function: Callable[..., Any]
    op: str
    parity: Parity
    examples: Callable[[torch.device, torch.dtype], Iterator[Example]]
    op_examples: Callable[[torch.device], Iterator[tuple[Any, ...]]]


KERNELS: Registry[Kernel] = Registry("kernel", "neurokit.kernels")


def register_kernel(kernel: Kernel) -> Kernel:
    """Registers a kernel under its name."""
    return KERNELS.add(kernel.name, kernel)


def spikes(*shape: int, rate: float = 0.3, device: torch.device, dtype: torch.dtype = torch.int8) -> torch.Tensor:
    """Returns random spikes of 0 and 1, the same on every device."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) < rate).to(device, dtype)


def normal(*shape: int, device: torch.device, dtype: torch.dtype = torch.float32, mean: float = 0.0) -> torch.Tensor:
    """Returns random numbers of unit variance, the same on every device."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) + mean).to(device, dtype)
