"""Example calls of `block_sparse_attention`, and cases for its gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.attention.definition import attend
from neurokit.attention.index import BlockIndex
from neurokit.kernels.block_sparse_attention import grad as grad  # registers how autograd reaches the operator
from neurokit.kernels.block_sparse_attention.op import block_sparse_attention
from neurokit.kernels.contract import Example, GradientCase, normal


def random_index(
    batch: int,
    heads: int,
    q_len: int,
    kv_len: int,
    block_q: int,
    block_k: int,
    causal: bool = True,
    share: float = 0.5,
    device: torch.device | None = None,
) -> BlockIndex:
    """Returns an index of random blocks, the same on every device."""
    shape = (batch, heads, -(-q_len // block_q), -(-kv_len // block_k))
    table = torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) < share
    index = BlockIndex.from_blocks(table, q_len, kv_len, block_q, block_k, causal)
    return index if device is None else index.to(device)


def _call(
    label: str,
    q: tuple[int, ...],
    k: tuple[int, ...],
    index: BlockIndex,
    device: torch.device,
    kind: torch.dtype,
    **more: Any,
) -> Example:
    made = {"key_bias": normal(*k[:3], device=device)} if more.pop("bias", False) else {}
    values = (*k[:3], more.pop("values", k[3]))
    tensors = (normal(*q, device=device, dtype=kind), normal(*k, device=device, dtype=kind))
    v = normal(*values, device=device, dtype=kind, mean=0.5)
    return Example(label, (*tensors, v, index.to(device)), {**made, **more})


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over block sizes, grouped heads, odd lengths and widths, biases, and an empty one."""
    if dtype == torch.bfloat16 and device.type == "cpu":  # the interpreter truncates where a GPU rounds
        return
    index = random_index(1, 2, 40, 56, 16, 16)
    yield _call("index a key head", (1, 4, 40, 32), (1, 2, 56, 32), index, device, dtype, bias=True)
    index = random_index(2, 4, 33, 33, 32, 16)
    yield _call(
        "index a query head, width 24", (2, 4, 33, 24), (2, 2, 33, 24), index, device, dtype, values=20, scale=0.3
    )
    index = random_index(1, 1, 20, 50, 16, 32, causal=False)
    yield _call("one index, not causal", (1, 2, 20, 16), (1, 1, 50, 16), index, device, dtype)
    index = random_index(1, 2, 9, 40, 1, 16, share=0.4)
    yield _call("one query a block", (1, 8, 9, 16), (1, 2, 40, 16), index, device, dtype)
    index = random_index(1, 1, 24, 24, 8, 16, share=0.0)
    yield _call("nothing is visible", (1, 2, 24, 16), (1, 2, 24, 16), index, device, dtype)
    index = random_index(1, 1, 64, 64, 64, 64, share=1.0)
    yield _call("blocks of 64", (1, 2, 64, 32), (1, 2, 64, 32), index, device, dtype)
    index = random_index(1, 1, 64, 160, 64, 128, share=0.7)
    yield _call("blocks of 64 x 128", (1, 2, 64, 32), (1, 2, 160, 32), index, device, dtype)
    if device.type != "cpu":
        for block_q, block_k in ((64, 16), (64, 64), (128, 32), (128, 64), (128, 128), (16, 128)):
            index = random_index(1, 2, 400, 530, block_q, block_k)
            yield _call(f"blocks of {block_q} x {block_k}", (1, 8, 400, 128), (1, 2, 530, 128), index, device, dtype)
        index = random_index(2, 4, 300, 700, 128, 128)
        yield _call("blocks of 128", (2, 8, 300, 128), (2, 4, 700, 128), index, device, dtype, bias=True)
        index = random_index(1, 2, 130, 1030, 1, 64, share=0.2)
        yield _call("one query a block, long", (1, 32, 130, 128), (1, 2, 1030, 128), index, device, dtype)
    index = random_index(1, 1, 4, 20, 4, 16)
    yield _call("empty", (0, 2, 4, 16), (0, 2, 20, 16), index, device, dtype)


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    index = random_index(1, 2, 20, 40, 16, 16, device=device)
    q, k, v = (normal(*s, device=device) for s in ((1, 4, 20, 16), (1, 2, 40, 16), (1, 2, 40, 16)))
    tables = (index.num, index.idx, index.full_num, index.full_idx)
    yield (q, k, v, *tables, None, 0.25, 16, 16, True)
    yield (q, k, v, *tables, normal(1, 2, 40, device=device), 0.25, 16, 16, True)


def gradient_cases(device: torch.device) -> Iterator[GradientCase]:
    """Yields cases whose oracle is the definition under a dense mask, in float64."""
    for label, heads, block_q, kv_len in (
        ("grouped, bias", 2, 16, 40),
        ("one query a block", 2, 1, 32),
        ("a head", 4, 8, 24),
    ):
        index = random_index(1, heads, 20, kv_len, block_q, 16, share=0.6, device=device)
        q, k = normal(1, 4, 20, 16, device=device), normal(1, 2, kv_len, 16, device=device, mean=0.1)
        v, bias = normal(1, 2, kv_len, 12, device=device), normal(1, 2, kv_len, device=device)

        def ours(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, index: BlockIndex = index) -> tuple[Tensor, ...]:
            out, lse = block_sparse_attention(q, k, v, index, key_bias=bias)
            return out, lse.masked_fill(lse == float("-inf"), 0.0)

        def oracle(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, index: BlockIndex = index) -> tuple[Tensor, ...]:
            out, lse = attend(q, k, v, index.to_dense(), bias)
            return out, lse.masked_fill(lse == float("-inf"), 0.0)

        yield GradientCase(label, (q, k, v, bias), ours, oracle)
