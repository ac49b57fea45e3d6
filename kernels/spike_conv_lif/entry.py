"""What tests and benchmarks need of `spike_conv_lif`: judge, cost, workloads and opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.kernels.common.judge import Current, current, decode, different, judge_call, judge_current
from neurokit.kernels.common.product import LEVELS
from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel, spikes
from neurokit.kernels.lif.op import lif
from neurokit.kernels.spike_conv_lif import reference
from neurokit.kernels.spike_conv_lif.examples import examples, op_examples
from neurokit.kernels.spike_conv_lif.op import NAME, output_size, spike_conv_lif


def exact_current(s: Tensor, weight: Tensor, given: dict[str, Any]) -> Current:
    """Returns the currents in float64 with their rounding bound; a convolution with int8 weights is exact."""
    scale, bias, residual = (given.get(name) for name in ("scale", "bias", "residual"))
    place = (given.get("stride", 1), given.get("padding", 0), torch.float64)
    value = reference.current(s, weight, scale, bias, residual, *place)
    sizes = [None if x is None else x.to(torch.float64).abs() for x in (scale, bias, residual)]
    magnitude = reference.current(s, weight.to(torch.float64).abs(), *sizes, *place)
    return current(value, magnitude, 0 if weight.dtype == torch.int8 else weight[0].numel())


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """Judges spikes and current against float64; with int8 weights every bit must be the definition's."""
    (s, weight), given = example.args, example.kwargs
    if not expected[0].numel():
        return ""
    if weight.dtype == torch.int8 or given.get("form") in LEVELS:
        return different(actual, expected)
    exact = exact_current(s, weight, given)
    fired = decode(actual[0], given.get("form", "packed"), weight.shape[0], given.get("beside"))
    return judge_call(fired, exact, given) or judge_current(actual[1], exact)


def cost(example: Example) -> Cost:
    """Reads spikes, weight, residual and counts, writes spikes; a multiply-add a tap, input and output channel."""
    (s, weight), given = example.args, example.kwargs
    cols, kernel = weight.shape[:2]
    place = (kernel, given.get("stride", 1), given.get("padding", 0))
    outputs = s.shape[0] * s.shape[1] * output_size(s.shape[2], *place) * output_size(s.shape[3], *place)
    size = {"packed": 1 / 8, "int8": 1}.get(given.get("form", "packed"), 2)
    moved = (
        nbytes(s, weight, *(given.get(name) for name in ("scale", "bias", "residual", "beside")))
        + outputs * cols * size
    )
    unit = "int8" if weight.dtype == torch.int8 else "float16"
    return Cost(moved, 2.0 * outputs * cols * weight[0].numel(), unit)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields a 3x3 convolution of Meta-SpikeFormer 31M at batch 32, float16."""
    s = spikes(4, 32, 28, 28, 192, rate=0.2, device=device, dtype=torch.float16)
    w = normal(768, 3, 3, 192, device=device, dtype=torch.float16) / (9 * 192) ** 0.5
    given = {"bias": normal(768, device=device) * 0.1, "padding": 1, "form": "same"}
    yield Example("3x3 192 to 768 at 28, TB=128 fp16", (s, w), given)


def _cudnn_then_lif(example: Example) -> Callable[[], Any]:
    (s, weight), given = example.args, example.kwargs
    image, plain = s.flatten(0, 1).permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2)

    def call() -> Any:
        y = F.conv2d(image, plain, padding=given["padding"]).permute(0, 2, 3, 1).unflatten(0, s.shape[:2])
        return lif(y, bias=given["bias"], want_v=False)

    return call


register_kernel(
    Kernel(
        name=NAME,
        summary="convolution of spikes with the neuron behind it",
        function=spike_conv_lif,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        workloads=workloads,
        opponents={"cudnn_then_lif": _cudnn_then_lif},
    )
)
