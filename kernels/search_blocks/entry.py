"""What tests and benchmarks need of `search_blocks`: cost and workload; its sets are the definition's, each one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neurokit.attention.index import BlockIndex
from neurokit.attention.patterns.hip import HiP
from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, register_kernel
from neurokit.kernels.search_blocks.examples import arguments, examples, op_examples
from neurokit.kernels.search_blocks.op import NAME, search_blocks


def tables(q: Tensor, k: Tensor, pattern: HiP) -> tuple[Tensor, ...]:
    """Returns the tables of the set: counts and lists of partial, then of full blocks."""
    index: BlockIndex = search_blocks(q, k, pattern)
    return index.num, index.idx, index.full_num, index.full_idx


def cost(example: Example) -> Cost:
    """Reads queries once and the keys of every half, writes the lists; the products of the pattern's own count.

    Left halves are known from the round before: all but the first round multiply half of what the definition counts.
    """
    q, k, pattern = example.args
    halves = pattern.work(q.shape[2], k.shape[2]) / 2 * q.shape[0] * q.shape[1]
    written = 8 * q.shape[0] * q.shape[1] * (q.shape[2] / pattern.block_q) * (pattern.count / pattern.block_k + 2)
    return Cost(nbytes(q, k) + written, 2.0 * halves * q.shape[3], "float16")


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields 32,768 tokens, 32 heads on 8 of 128, 32 blocks of 32 keys kept for 64 queries."""
    given = arguments(1, 32, 8, 32768, 32768, 128, device, torch.bfloat16)
    yield Example("N=32768 H=32/8 D=128", (*given, HiP(1024, 64, 32, 64)), {})


register_kernel(
    Kernel(
        name=NAME,
        summary="blocks of keys by a tree search for a block of queries",
        function=tables,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        workloads=workloads,
    )
)
