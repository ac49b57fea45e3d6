"""What tests and benchmarks need of `rescale_keys`: judge, cost and workload."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel
from neurokit.kernels.rescale_keys import reference
from neurokit.kernels.rescale_keys.examples import ACT, examples, op_examples
from neurokit.kernels.rescale_keys.op import NAME, rescale_keys

_ROUNDINGS = 8.0  # of weights, products and the output


def judge(example: Example, actual: list[Tensor], expected: list[Tensor]) -> str:
    """Compares with the definition in float64, within roundings of the largest value; unseen keys change nothing.

    The output that is given was rounded, and a row is divided by what is left of it, 1 + (f - 1) m.
    """
    out, lse, q, k, v, keys, ratio = example.args
    if q.numel() == 0:
        return ""
    scale = example.kwargs.get("scale") or q.shape[3] ** -0.5
    exact = reference.forward(*(x.double() for x in (out, lse, q, k, v)), keys, scale, ratio)
    unit = max(torch.finfo(q.dtype).eps, 4 * torch.finfo(torch.float32).eps)
    place = k.shape[2] - q.shape[2] + torch.arange(q.shape[2], device=q.device)
    blind = place < keys.min()
    seen = keys <= place[:, None]
    few = k.index_select(2, keys).repeat_interleave(q.shape[1] // k.shape[1], 1).double()
    mass = ((q.double() @ few.mT * scale - lse.double()[..., None]).exp() * seen).sum(-1)
    left = (1 + (ratio(mass) - 1) * mass).clamp(1e-6, 1.0)
    allowed = _ROUNDINGS * unit * max(float(v.double().abs().max()), float(exact.abs().max())) / left
    off = (actual[0].double() - exact).abs().amax(-1)
    if not torch.equal(actual[0][:, :, blind], out[:, :, blind]):
        return "queries that see none of the keys have changed"
    worst = int((off / allowed).argmax())
    off, allowed = float(off.flatten()[worst]), float(allowed.flatten()[worst])
    return "" if off <= allowed else f"the output is off by {off:.3g}, allowed {allowed:.3g}"


def cost(example: Example) -> Cost:
    """Reads queries, output and log-sum-exps once and writes the output; two products with the few keys."""
    out, lse, q, _, v, keys, _ = example.args
    pairs = q.shape[0] * q.shape[1] * q.shape[2] * keys.numel()
    return Cost(nbytes(out, out, lse, q), 2.0 * pairs * (q.shape[3] + v.shape[3]), "float16")


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields ACT's four sinks at 2,048 tokens, 32 heads of 128, bfloat16."""
    q, k, v = (normal(1, 32, 2048, 128, device=device, dtype=torch.bfloat16) for _ in range(3))
    lse = normal(1, 32, 2048, device=device, mean=20.0)
    keys = torch.tensor([7, 15, 101, 640], device=device)
    yield Example("S=2048 H=32 D=128 n=4", (v, lse, q, k, v, keys, ACT), {})


register_kernel(
    Kernel(
        name=NAME,
        summary="a few keys' weights multiplied in attention that is there",
        function=rescale_keys,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        judge=judge,
        workloads=workloads,
    )
)
