"""Every kernel against its definition on this GPU, before anything is timed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurokit.kernels.contract import KERNELS

if TYPE_CHECKING:
    from .record import Record


def definition(call: Callable[[], Any]) -> Any:
    """Returns what a call gives where every kernel runs its definition in plain PyTorch."""
    os.environ["NEUROKIT_KERNELS"] = "reference"
    try:
        return call()
    finally:
        os.environ.pop("NEUROKIT_KERNELS")


def tensors(result: Any) -> list[Tensor]:
    """Returns the tensors that a kernel gave."""
    return [result] if isinstance(result, Tensor) else list(result)


def same_bits(a: Any, b: Any) -> bool:
    """Returns whether two results are equal, bit for bit."""
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def measure(record: Record) -> None:
    """Compares all examples of all kernels; wrong ones are listed in the record."""
    results = {}
    for name, kernel in KERNELS.items():
        cases = 0
        wrong: list[str] = []
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for example in kernel.examples(torch.device("cuda"), dtype):
                call = lambda kernel=kernel, e=example: kernel.function(*e.args, **e.kwargs)  # noqa: E731
                pairs = zip(tensors(call()), tensors(definition(call)), strict=True)
                if not all(_agree(a, e, kernel.parity) for a, e in pairs):
                    wrong.append(f"{name} {example.label} {str(dtype).removeprefix('torch.')}")
                cases += 1
        results[name] = {"cases": cases, "wrong": wrong, "level": kernel.parity}
    record.data["parity"] = results
    record.write()
    print("parity", results, flush=True)


def _agree(a: Tensor, e: Tensor, level: str) -> bool:
    if level == "equal":
        return torch.equal(a, e)
    if a.is_floating_point() and torch.allclose(a.float(), e.float(), rtol=1e-2, atol=1e-5):
        return True
    return bool((a != e).float().sum() <= 0.01 * a.numel())
