"""What tests and benchmarks need of `spike_linear_lif`: judge, cost, workloads and opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.kernels.common.judge import Current, current, decode, different, judge_call, judge_current
from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel, spikes
from neurokit.kernels.lif.op import lif
from neurokit.kernels.spike_linear_lif import reference
from neurokit.kernels.spike_linear_lif.examples import examples, op_examples
from neurokit.kernels.spike_linear_lif.op import NAME, spike_linear_lif


def exact_current(s: Tensor, weight: Tensor, given: dict[str, Any]) -> Current:
    """Returns the currents in float64 with their rounding bound; a product with int8 weights is exact."""
    scale, bias, residual = (given.get(name) for name in ("scale", "bias", "residual"))
    value = reference.current(s, weight, scale, bias, residual, torch.float64)
    sizes = [None if x is None else x.to(torch.float64).abs() for x in (scale, bias, residual)]
    magnitude = reference.current(s, weight.to(torch.float64).abs(), *sizes, torch.float64)
    return current(value, magnitude, 0 if weight.dtype == torch.int8 else weight.shape[1])


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """Judges spikes, last membrane and current against float64; with int8 weights all must be the definition's."""
    (s, weight), given = example.args, example.kwargs
    if not expected[0].numel():
        return ""
    if weight.dtype == torch.int8:
        return different(actual, expected)
    exact = exact_current(s, weight, given)
    fired = decode(actual[0], given.get("form", "packed"), weight.shape[0], given.get("beside"))
    return judge_call(fired, exact, given, actual[1]) or judge_current(actual[2], exact)


def cost(example: Example) -> Cost:
    """Reads spikes, weight, residual and counts beside, writes spikes; a multiply-add a spike, input and output."""
    (s, weight), given = example.args, example.kwargs
    cols, inner = weight.shape
    rows = s.shape[0] * s.shape[1]
    size = {"packed": 1 / 8, "int8": 1}.get(given.get("form", "packed"), 2)
    moved = (
        nbytes(s, weight, *(given.get(name) for name in ("scale", "bias", "residual", "v0", "beside")))
        + rows * cols * size
    )
    return Cost(moved, 2.0 * rows * inner * cols, "int8" if weight.dtype == torch.int8 else "float16")


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields a 1x1 convolution of Meta-SpikeFormer 31M at batch 32: bfloat16 weights, then int8."""
    s = spikes(4, 32 * 56**2, 96, rate=0.2, device=device)
    bias, scale = normal(384, device=device) * 0.1, normal(384, device=device).abs() * 0.01
    w = normal(384, 96, device=device, dtype=torch.bfloat16) / 96**0.5
    yield Example("M=100352 K=96 N=384 bf16", (s.to(torch.bfloat16), w), {"bias": bias})
    w8 = (normal(384, 96, device=device) * 30).clamp(-127, 127).round().to(torch.int8)
    yield Example("M=100352 K=96 N=384 int8", (s, w8), {"bias": bias, "scale": scale})


def _cublas_then_lif(example: Example) -> Callable[[], Any]:
    s, weight = (x.to(torch.bfloat16) for x in example.args)
    bias = example.kwargs["bias"]
    return lambda: lif(F.linear(s, weight), bias=bias, spikes="packed", want_v=False)


register_kernel(
    Kernel(
        name=NAME,
        summary="product or 1x1 convolution on spikes with the neuron behind it",
        function=spike_linear_lif,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        workloads=workloads,
        opponents={"cublas_bf16_then_lif": _cublas_then_lif},
    )
)
