"""What tests and benchmarks need of `block_sparse_attention`: judge, cost, workloads and opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.definition import attend
from neurokit.kernels.block_sparse_attention.examples import examples, gradient_cases, op_examples, random_index
from neurokit.kernels.block_sparse_attention.op import NAME, block_sparse_attention
from neurokit.kernels.common.close import judge_attention
from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """Compares with the definition in float64."""
    q, k, v, index = example.args
    if q.numel() == 0:
        return ""
    bias = example.kwargs.get("key_bias")
    given = [x.double() for x in (q, k, v)]
    exact, total = attend(
        *given, index.to_dense(), None if bias is None else bias.double(), example.kwargs.get("scale")
    )
    return judge_attention(*actual, exact, total, v, q.dtype)


def cost(example: Example) -> Cost:
    """Reads q, k, v and the tables once, writes outputs; two products of the listed pairs on tensor cores."""
    q, k, v, index = example.args
    listed = float((index.num.sum() + index.full_num.sum()) * index.block_q * index.block_k)
    heads = q.shape[1] / index.num.shape[1] * q.shape[0] / max(index.num.shape[0], 1)
    moved = nbytes(q, k, v, index.num, index.idx, index.full_num, index.full_idx)
    written = q[..., 0].numel() * (v.shape[3] * q.itemsize + 4)
    unit = "float32" if q.dtype == torch.float32 else "float16"
    return Cost(moved + written, 2.0 * listed * heads * (q.shape[3] + v.shape[3]), unit)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields a tenth of the causal blocks of 8,192 tokens, 32 heads on 8, bfloat16."""
    index = random_index(1, 8, 8192, 8192, 128, 128, share=0.1, device=device)
    q = normal(1, 32, 8192, 128, device=device, dtype=torch.bfloat16)
    k, v = (normal(1, 8, 8192, 128, device=device, dtype=torch.bfloat16) for _ in range(2))
    yield Example("N=8192 H=32/8 D=128 tenth bf16", (q, k, v, index))


def sdpa(example: Example) -> Callable[[], Any]:
    """Dense causal attention by torch's best backend: what computing everything costs."""
    q, k, v, _ = example.args
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def flex(example: Example) -> Callable[[], Any]:
    """FlexAttention's Triton backend with the same index."""
    from torch.nn.attention.flex_attention import flex_attention

    q, k, v, index = example.args
    mask = index.to_flex()
    if mask.kv_num_blocks.shape[1] not in (1, q.shape[1]):  # FlexAttention knows one list for all, or one a query head
        from dataclasses import replace

        names, group = ("num", "idx", "full_num", "full_idx"), q.shape[1] // index.num.shape[1]
        mask = replace(index, **{n: getattr(index, n).repeat_interleave(group, 1) for n in names}).to_flex()
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(q, k, v, block_mask=mask, enable_gqa=True)


register_kernel(
    Kernel(
        name=NAME,
        summary="attention to listed blocks of keys",
        function=block_sparse_attention,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        gradients=gradient_cases,
        workloads=workloads,
        opponents={"sdpa, dense": sdpa, "flex_attention": flex},
    )
)
