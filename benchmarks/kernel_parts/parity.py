"""Every kernel against its definition on this GPU, before anything is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from neurokit.kernels import checks
from neurokit.kernels.contract import KERNELS, tensors

if TYPE_CHECKING:
    from .record import Record


def definition(call: Callable[[], Any]) -> Any:
    """Returns what a call gives where every kernel runs its definition in plain PyTorch."""
    with checks.definitions():
        return call()


def same_bits(a: Any, b: Any) -> bool:
    """Returns whether two results are equal, bit for bit."""
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def measure(record: Record) -> None:
    """Compares all examples of all kernels, and all gradients; wrong ones are listed in the record."""
    results = {}
    device = torch.device("cuda")
    for name, kernel in KERNELS.items():
        found = [checks.parity(kernel, device, dtype) for dtype in checks.DTYPES]
        found.append(checks.gradients(kernel, device))
        results[name] = {
            "cases": sum(count for count, _ in found),
            "wrong": [fault for _, faults in found for fault in faults],
            "level": "equal" if kernel.judge is None else "float64, within the rounding bound",
        }
    record.data["parity"] = results
    record.write()
    print("parity", results, flush=True)
