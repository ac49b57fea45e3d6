"""What tests and benchmarks need of `select_blocks`: judge, cost and workload."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, register_kernel
from neurokit.kernels.select_blocks import reference
from neurokit.kernels.select_blocks.examples import arguments, examples, op_examples
from neurokit.kernels.select_blocks.op import NAME, select_blocks

# Worths are exponentials of sums in float32, times the size of the exponent; exp2 and log2 of a GPU add a few units.
_NEAR = 1e-4


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """Sets are right where no block left out is worth clearly more, in float64, than one that was taken."""
    q, means = example.args
    if q.numel() == 0:
        return ""
    given = example.kwargs
    block, offset = given["block"], given.get("offset", 0)
    scale = given.get("scale") or q.shape[3] ** -0.5
    worth = reference.worth(q.double(), means.double(), scale, block, offset)
    num, idx = actual
    if not torch.equal(num, expected[0]):
        return f"{int((num != expected[0]).sum())} rows have another number of blocks"
    live = torch.arange(idx.shape[3], device=idx.device) < num[..., None]
    if bool((idx[~live] != 0).any()) or bool(((idx.diff(dim=3) <= 0) & live[..., 1:]).any()):
        return "blocks do not rise, or something is behind a row's count"
    place = offset + torch.arange(q.shape[2], device=q.device)[:, None]
    own = torch.arange(worth.shape[3], device=q.device) == place // block
    spare = torch.where(live, idx, worth.shape[3]).long()
    taken = torch.zeros(*worth.shape[:3], worth.shape[3] + 1, dtype=torch.bool, device=q.device)
    taken = taken.scatter_(3, spare, True)[..., :-1]
    if not bool(taken[own.expand_as(taken)].all()):
        return "a query's own block is missing"
    least = worth.masked_fill(~taken | own, float("inf")).amin(-1)
    most = worth.masked_fill(taken | own, float("-inf")).amax(-1)
    wrong = most > least * (1 + _NEAR) + 1e-30
    return f"{int(wrong.sum())} rows leave a block out that is worth more" if bool(wrong.any()) else ""


def cost(example: Example) -> Cost:
    """Reads queries and means once, writes the lists; two products of each query with each block before it."""
    q, means = example.args
    block, offset, count = example.kwargs["block"], example.kwargs.get("offset", 0), example.kwargs["count"]
    new, length = q.shape[2], offset + q.shape[2]
    pairs = q.shape[0] * q.shape[1] * new * (offset + length) / 2 / block
    written = 4 * q.shape[0] * means.shape[1] * new * (count + 1)
    return Cost(nbytes(q, means) + written, 4.0 * pairs * q.shape[3], "float16")


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields 32,768 tokens, 32 heads on 2, 16 blocks of 64 keys."""
    given = arguments(1, 32, 2, 32768, 32768, 128, 64, device, torch.bfloat16)
    yield Example("N=32768 H=32/2 D=128", given, {"block": 64, "count": 16})


register_kernel(
    Kernel(
        name=NAME,
        summary="blocks of keys by products with their means, the best of each query",
        function=select_blocks,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        workloads=workloads,
    )
)
