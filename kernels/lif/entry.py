"""What tests and benchmarks need of `lif`: gradients, cost, workloads and opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels.common.differentiable import neuron
from neurokit.kernels.contract import Cost, Example, GradientCase, Kernel, nbytes, normal, register_kernel
from neurokit.kernels.lif.examples import examples, op_examples
from neurokit.kernels.lif.op import NAME, lif

# Surrogate, slope, detached reset, tau ("plif" learns it), reset potential, whether the input decays.
GRADIENTS: tuple[tuple[Any, ...], ...] = (
    ("sigmoid", 4.0, False, 2.0, 0.0, True),
    ("atan", 2.0, True, 2.0, 0.0, True),
    ("triangle", 1.0, False, 4.0, None, True),
    ("atan", 2.0, False, 4.0, 0.25, False),
    ("sigmoid", 4.0, True, None, None, True),
    ("sigmoid", 4.0, False, "plif", 0.0, True),
    ("atan", 2.0, False, "plif", None, False),
)


def gradients(device: torch.device) -> Iterator[GradientCase]:
    """Yields a case a surrogate, leak and reset over 1, 4 and 16 steps, one over 5, and steps that are repeated."""
    for steps in (1, 4, 16):
        for settings in GRADIENTS:
            yield _case(steps, device, *settings)
    yield _case(5, device, *GRADIENTS[1])
    for once in (False, True):
        yield _repeated_case(once, device)


def _case(
    steps: int,
    device: torch.device,
    surrogate: str,
    alpha: float,
    detach: bool,
    tau: float | str | None,
    v_reset: float | None,
    decay_input: bool,
) -> GradientCase:
    learnt = tau == "plif"
    shape = (steps, 5, 24)
    tensors = [normal(*size, device=device) + 0.3 for size in (shape, shape[1:], shape, (24,), (24,))]
    if learnt:
        tensors.append(torch.tensor(0.3, device=device))
    settings = {"surrogate": surrogate, "alpha": alpha, "detach_reset": detach}
    kind = {"v_reset": v_reset, "decay_input": decay_input}

    def ours(x: Tensor, v0: Tensor, residual: Tensor, scale: Tensor, bias: Tensor, *decay: Tensor) -> Any:
        given = {"scale": scale, "bias": bias, "residual": residual, "decay": decay[0] if decay else None}
        return lif(x, v0, **given, tau=None if learnt else tau, want_current=True, **kind, **settings)  # type: ignore[arg-type]

    def oracle(x: Tensor, v0: Tensor, residual: Tensor, scale: Tensor, bias: Tensor, *decay: Tensor) -> Any:
        y = x * scale + bias + residual
        rate = decay[0] if decay else None if tau is None else 1.0 / float(tau)
        return (*neuron(y, v0, rate, **kind, **settings), y)  # type: ignore[arg-type]

    return GradientCase(f"T={steps} {surrogate} tau={tau} v_reset={v_reset}", tuple(tensors), ours, oracle)


def _repeated_case(once: bool, device: torch.device) -> GradientCase:
    """Returns channels-last pictures, of one step seen five times or of five, beside a residual of one step."""
    x, residual = normal(1 if once else 5, 2, 3, 24, device=device) + 0.3, normal(1, 2, 24, 3, device=device)

    def both(x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        shape = (5, *residual.shape[1:])
        return x.movedim(-1, 2).expand(shape), residual.expand(shape)

    def ours(x: Tensor, residual: Tensor) -> Any:
        x, residual = both(x, residual)
        return lif(x, residual=residual, surrogate="atan", alpha=2.0)[:2]

    def oracle(x: Tensor, residual: Tensor) -> Any:
        y = sum(both(x, residual))
        return neuron(y, torch.zeros_like(y[0]), 0.5, v_reset=0.0, decay_input=True, surrogate="atan", alpha=2.0)  # type: ignore[index, arg-type]

    return GradientCase(f"channels last beside a residual seen five times, once={once}", (x, residual), ours, oracle)


def cost(example: Example) -> Cost:
    """Reads input, residual and states once, writes spikes, last membrane and current once: bound by memory."""
    x, given = example.args[0], example.kwargs
    moved = nbytes(x, *example.args[1:], *(given.get(name) for name in ("residual", "scale", "bias", "v0", "decay")))
    size = {"same": x.itemsize, "int8": 1, "packed": 1 / 8}[given.get("spikes", "same")]
    moved += x.numel() * size
    if given.get("want_v", True) and x.dim() > 1:
        moved += 4 * x.numel() / max(x.shape[0], 1)
    return Cost(moved + (nbytes(x) if given.get("want_current") else 0.0), 6.0 * x.numel())


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields a stage of Meta-SpikeFormer 55M at batch 32 and at batch 1, bfloat16."""
    for batch in (32, 1):
        x = normal(4, batch * 56**2, 256, device=device, dtype=torch.bfloat16, mean=0.3)
        yield Example(f"[4, {batch * 56**2}, 256] bf16 to packed", (x,), {"spikes": "packed", "want_v": False})


def _spikingjelly(example: Example) -> Callable[[], Any]:
    from spikingjelly.activation_based import functional, surrogate

    x = example.args[0].float()
    v, slope = torch.zeros_like(x[0]), surrogate.Sigmoid()
    return lambda: functional.lif_multi_step(x, v, 2.0, True, 1.0, 0.0, slope, True)


register_kernel(
    Kernel(
        name=NAME,
        summary="affine, residual and IF, LIF or PLIF over T in one pass",
        function=lif,
        op="lif_forward",
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        gradients=gradients,
        workloads=workloads,
        opponents={"spikingjelly_fp32": _spikingjelly},
    )
)
