"""Parity of the kernels of sparse attention on a GPU, case by case, in several processes: compiling is most of it."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from neurokit.kernels import checks
from neurokit.kernels.contract import KERNELS, tensors

NAMES = ("block_sparse_attention", "sparse_decode", "estimate_blocks", "search_blocks", "rescale_keys")
HALF_GRADIENTS = ((64, 64, False), (128, 128, False), (128, 128, True), (1, 16, False), (128, 16, True))


@dataclass(frozen=True)
class Case:
    """One comparison, which a process of its own can make.

    Attributes:
        kernel: Name of the kernel.
        kind: "float32", "float16", "bfloat16" for an example in that type, "gradients", or "half gradients".
        at: Which example, or which case of gradients.
    """

    kernel: str
    kind: str
    at: int


def cases(names: tuple[str, ...]) -> Iterator[Case]:
    """Yields every case of some kernels, those that take longest to compile first."""
    device = torch.device("cuda")
    for name in names:
        kernel = KERNELS.get(name)
        if kernel.gradients:
            yield from (Case(name, "half gradients", at) for at in range(len(HALF_GRADIENTS)))
            yield from (Case(name, "gradients", at) for at, _ in enumerate(kernel.gradients(device)))
        for dtype in reversed(checks.DTYPES):
            kind = str(dtype).removeprefix("torch.")
            yield from (Case(name, kind, at) for at, _ in enumerate(kernel.examples(device, dtype)))


def run(case: Case) -> dict[str, Any]:
    """Makes one comparison; returns its label, seconds (compiling included) and what is wrong, or ""."""
    start = time.monotonic()
    try:
        label, fault = _compared(case)
    except Exception as error:  # a case that does not run is a fault, and the next one runs
        label, fault = "", f"{type(error).__name__}: {str(error)[:300]}"
    return {
        "case": f"{case.kernel} {case.kind} {label or case.at}",
        "fault": fault,
        "seconds": round(time.monotonic() - start, 1),
    }


def _compared(case: Case) -> tuple[str, str]:
    kernel, device = KERNELS.get(case.kernel), torch.device("cuda")
    if case.kind == "gradients":
        assert kernel.gradients is not None
        chosen = next(itertools.islice(kernel.gradients(device), case.at, None))
        return chosen.label, "; ".join(checks.gradient_faults(chosen))
    if case.kind == "half gradients":
        return _half_gradients(kernel.function, *HALF_GRADIENTS[case.at])
    example = next(itertools.islice(kernel.examples(device, getattr(torch, case.kind)), case.at, None))
    with checks.definitions():
        expected = tensors(kernel.function(*example.args, **example.kwargs))
    actual = tensors(kernel.function(*example.args, **example.kwargs))
    return example.label, checks.compare(kernel, example, actual, expected)


def _half_gradients(function: Callable[..., Any], block_q: int, block_k: int, bias: bool) -> tuple[str, str]:
    """Compares gradients in bfloat16 with the definition in float64."""
    from attention import GROUPS, HEADS, WIDTH, index_of
    from attention import tensors as drawn

    from neurokit.attention import attend

    index = index_of(512, 0.4, block_q, block_k)
    given = drawn(512)
    extra = torch.randn(1, GROUPS, 512, device="cuda") if bias else None
    ours = [x.clone().requires_grad_() for x in given]
    theirs = [x.double().requires_grad_() for x in given]
    weight = torch.randn(1, HEADS, 512, WIDTH, device="cuda")
    out = function(*ours, index, key_bias=extra)[0]
    exact = attend(*theirs, index.to_dense(), None if extra is None else extra.double())[0]
    mine = torch.autograd.grad((out.float() * weight).sum(), ours)
    right = torch.autograd.grad((exact * weight.double()).sum(), theirs)
    off = [float((a.double() - b).norm() / b.norm()) for a, b in zip(mine, right, strict=True)]
    return f"blocks of {block_q} x {block_k}, bias {bias}", "" if max(off) < 2e-2 else f"off by {off}"


def parity(names: tuple[str, ...], seconds: float, processes: int) -> Iterator[dict[str, Any]]:
    """Yields the result of every case as it ends; what has not ended in time is a result that says so.

    Args:
        names: Kernels.
        seconds: When to stop.
        processes: How many cases are compiled and run at a time.
    """
    end, wanted = time.monotonic() + seconds, list(cases(names))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        waiting = {at: pool.apply_async(run, (case,)) for at, case in enumerate(wanted)}
        while waiting and time.monotonic() < end:
            for at in [at for at, result in waiting.items() if result.ready()]:
                yield waiting.pop(at).get()
            time.sleep(0.05)
        pool.terminate()
    for at in waiting:
        case = wanted[at]
        yield {"case": f"{case.kernel} {case.kind} {case.at}", "fault": "not ended in time", "seconds": seconds}
