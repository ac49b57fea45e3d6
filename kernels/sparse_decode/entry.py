"""What tests and benchmarks need of `sparse_decode`: judge, cost, workloads and opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.index import BlockIndex, compact
from neurokit.kernels.common.close import judge_attention
from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel
from neurokit.kernels.sparse_decode import reference
from neurokit.kernels.sparse_decode.examples import examples, op_examples, random_tokens
from neurokit.kernels.sparse_decode.op import NAME, sparse_decode


def _tables(keys: Any) -> tuple[Tensor, Tensor, int]:
    if isinstance(keys, BlockIndex):
        num, idx = compact(keys.blocks()[:, :, 0])
        return idx, num, keys.block_k
    return keys.idx[:, :, 0], keys.num[:, :, 0], 1


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """Compares with the definition in float64."""
    q, k, v, keys = example.args
    if q.numel() == 0:
        return ""
    idx, num, block = _tables(keys)
    lists = max(num.shape[1], k.shape[1])
    idx, num = idx.expand(q.shape[0], lists, -1), num.expand(q.shape[0], lists)
    bias = example.kwargs.get("key_bias")
    scale = example.kwargs.get("scale") or q.shape[2] ** -0.5
    doubles = [x.double() for x in (q, k, v)]
    bias = None if bias is None else bias.double()
    exact, total, scores = reference.forward(*doubles, idx, num, bias, scale, block)
    fault = judge_attention(actual[0], actual[1], exact, total, v, q.dtype)
    if fault or len(actual) < 3:
        return fault
    off = (actual[2].double() - scores).nan_to_num(0.0, 0.0, 0.0).abs().max()
    gone = torch.equal(actual[2] == float("-inf"), scores == float("-inf"))
    return "" if gone and float(off) < 1e-4 else f"scores are off by {float(off):.3g}"


def cost(example: Example) -> Cost:
    """Reads the listed keys and values once, and the query; two products of each listed pair."""
    q, k, v, keys = example.args
    _, num, block = _tables(keys)
    lists = max(num.shape[1], k.shape[1])
    listed = float(num.sum()) * block * q.shape[0] * lists / max(num.numel(), 1)
    widths = k.shape[3] + v.shape[3]
    moved = (
        nbytes(q, num) + listed * (widths * k.itemsize + 4 / block) + q[..., 0].numel() * (v.shape[3] * q.itemsize + 4)
    )
    unit = "float32" if q.dtype == torch.float32 else "float16"
    return Cost(moved, 2.0 * listed * widths * q.shape[1] / lists, unit)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields a partial step of recycled attention: an eighth of 32,768 keys, 32 heads on 8, bfloat16."""
    q = normal(1, 32, 128, device=device, dtype=torch.bfloat16)
    k, v = (normal(1, 8, 32768, 128, device=device, dtype=torch.bfloat16) for _ in range(2))
    yield Example("eighth of 32768, H=32/8 D=128 bf16", (q, k, v, random_tokens(1, 8, 32768, 0.125, device)))


def sdpa(example: Example) -> Callable[[], Any]:
    """Dense attention of the same query by torch: what a full step costs."""
    q, k, v, _ = example.args
    return lambda: F.scaled_dot_product_attention(q[:, :, None], k, v, enable_gqa=True)


register_kernel(
    Kernel(
        name=NAME,
        summary="attention of one token to a set of keys",
        function=sparse_decode,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        workloads=workloads,
        opponents={"sdpa, dense": sdpa},
    )
)
