"""What a kernel brings so that tests and the benchmark find it: its definition, its fused form and examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from neurokit.registry import Registry

Parity = Literal["equal", "margin"]


@dataclass(frozen=True)
class Example:
    """One call of a kernel.

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
    """A kernel: a definition in plain PyTorch and a fused form with the same signature.

    Attributes:
        name: Name of the folder, of the registry entry and of the configuration table.
        summary: One line.
        reference: The definition, in plain PyTorch.
        fused: The public function, which dispatches between the Triton kernel and the reference.
        op: The registered operator that `fused` calls.
        parity: "equal" where every bit must agree; "margin" where a floating-point sum is ordered freely, so
            that a decision may differ where the membrane is within rounding of the threshold.
        examples: Yields calls for (device, dtype): odd shapes, every mode, every output form.
        op_examples: Yields argument tuples of `op` for torch.library.opcheck, for (device,).
    """

    name: str
    summary: str
    reference: Callable[..., Any]
    fused: Callable[..., Any]
    op: Any
    parity: Parity
    examples: Callable[[torch.device, torch.dtype], Iterator[Example]]
    op_examples: Callable[[torch.device], Iterator[tuple[Any, ...]]]


KERNELS: Registry[Kernel] = Registry("kernel", "neurokit.kernels")


def register_kernel(kernel: Kernel) -> Kernel:
    """Registers a kernel under its name."""
    return KERNELS.add(kernel.name, kernel)
