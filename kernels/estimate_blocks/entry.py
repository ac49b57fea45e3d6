"""What tests and benchmarks need of `estimate_blocks`: judge, cost and workload."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, register_kernel
from neurokit.kernels.estimate_blocks import reference
from neurokit.kernels.estimate_blocks.examples import arguments, examples, op_examples
from neurokit.kernels.estimate_blocks.op import NAME, estimate_blocks

# Roundings of one ratio in float32, relative to its parts: step, division, sum, product, difference.
_NEAR = 1e-4


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """A block may be judged otherwise only where its ratio is within rounding of the threshold, in float64."""
    q, k, *rest, tau, first, last = example.args
    if q.numel() == 0:
        return ""
    doubles = [x.double() for x in rest]
    block_q, block_k = example.kwargs.get("block_q", 64), example.kwargs.get("block_k", 32)
    best = reference.largest(reference.ratios(q, k, *doubles, example.kwargs["scale"]), block_q, block_k)
    index = torch.arange(best.shape[3], device=q.device)
    scored = (index >= first[:, None]) & (index < last[:, None])
    margin = best - tau.double().log()[:, None, None]
    wrong = actual[0] != ((margin > 0) & scored)
    # Where mean / step lies halfway between whole numbers, float32 may round it the other way: one step of the codes.
    allowed = _NEAR * best.abs().clamp(1.0, 1e6) + float(rest[0].max() * rest[1].max()) * example.kwargs["scale"]
    far = wrong & (margin.abs() > allowed)
    few = int(wrong.sum()) <= max(1, wrong.numel() // 200)
    return "" if few and not bool(far.any()) else f"{int(wrong.sum())} blocks differ, {int(far.sum())} of them clearly"


def cost(example: Example) -> Cost:
    """Reads codes, scales and sums once, writes a byte a block; a product of each estimated pair in int8."""
    q, k, *rest, _, first, last = example.args
    block_q, block_k = example.kwargs.get("block_q", 64), example.kwargs.get("block_k", 32)
    pairs = float((last - first).clamp(min=0).sum()) * block_q * block_k * q.shape[0] * q.shape[1]
    written = q.shape[0] * q.shape[1] * len(first) * -(-k.shape[2] // block_k)
    return Cost(nbytes(q, k, *rest) + written, 2.0 * pairs * q.shape[3], "int8")


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields 8,192 tokens, 32 heads on 8, in SALE's blocks."""
    yield Example("N=8192 H=32/8 D=128", arguments(1, 32, 8, 8192, 8192, 128, 64, 32, device), {"scale": 128**-0.5})


register_kernel(
    Kernel(
        name=NAME,
        summary="blocks of keys by int8 codes and a threshold",
        function=estimate_blocks,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        workloads=workloads,
    )
)
