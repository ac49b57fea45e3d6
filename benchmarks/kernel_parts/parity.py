"""Every kernel against its definition on this GPU, before anything is timed."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from neurokit.kernels.contract import KERNELS

from .record import Record


def measure(record: Record) -> None:
    """Compares all examples of all kernels; wrong ones are listed in the record."""
    results = {}
    for name, kernel in KERNELS.items():
        cases = 0
        wrong: list[str] = []
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for example in kernel.examples(torch.device("cuda"), dtype):
                os.environ["NEUROKIT_KERNELS"] = "reference"
                expected = kernel.function(*example.args, **example.kwargs)
                os.environ["NEUROKIT_KERNELS"] = "auto"
                actual = kernel.function(*example.args, **example.kwargs)
                pairs = [(actual, expected)] if isinstance(actual, Tensor) else zip(actual, expected, strict=True)
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
