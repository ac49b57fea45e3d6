"""What tests and benchmarks need of `spike_gemv_lif`: judge, cost, workloads and opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels.common.judge import judge_call
from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel, spikes
from neurokit.kernels.lif.op import lif
from neurokit.kernels.spike_gemv_lif.examples import examples, op_examples
from neurokit.kernels.spike_gemv_lif.op import NAME, spike_gemv_lif
from neurokit.kernels.spike_linear_lif.entry import exact_current


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """Judges the spikes against float64."""
    (s, weight), given = example.args, example.kwargs
    if not expected[0].numel():
        return ""
    return judge_call(actual[0] != 0, exact_current(s, weight.t(), given), given)


def cost(example: Example) -> Cost:
    """Reads the spikes and the weight's rows that a spike selects, writes int8 spikes."""
    s, weight = example.args
    inner, cols = weight.shape
    touched = float((s != 0).flatten(0, 1).any(0).float().mean()) if s.dtype != torch.int32 else 1.0
    moved = nbytes(s) + touched * inner * cols * weight.itemsize + s.shape[0] * s.shape[1] * cols
    return Cost(moved, 2.0 * float((s != 0).sum()) * cols)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields one row of spikes by 67 million weights, 5 % firing."""
    w = normal(4096, 16384, device=device, dtype=torch.bfloat16)
    yield Example("T=4 4096 to 16384, rate 0.05", (spikes(4, 1, 4096, rate=0.05, device=device), w))


def _cublas_then_lif(example: Example) -> Callable[[], Any]:
    s, weight = example.args
    dense = s.to(weight.dtype)
    return lambda: lif(dense @ weight, spikes="int8", want_v=False)


register_kernel(
    Kernel(
        name=NAME,
        summary="product of few spikes by the weight rows they select, with the neuron",
        function=spike_gemv_lif,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        workloads=workloads,
        opponents={"cublas_then_lif": _cublas_then_lif},
    )
)
