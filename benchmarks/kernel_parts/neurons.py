"""`lif` alone, forward and in training; packing and counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels import lif, pack, spike_stats, unpack

from . import opponents
from .record import Record

BRAIN = torch.bfloat16
# (T, rows, channels, whose): 102.8 million elements over several T, then layers of the networks.
SHAPES = (
    (4, 32 * 56**2, 256, "55m"),
    (8, 16 * 56**2, 256, ""),
    (16, 8 * 56**2, 256, ""),
    (32, 4 * 56**2, 256, ""),
    (4, 56**2, 256, "55m, B=1"),
    (4, 32 * 112**2, 96, "31m"),
    (4, 32 * 112**2, 64, "15m, SEW"),
    (4, 6272, 1536, "31m"),
    (4, 6272, 512, "SEW stage 3"),
    (4, 32 * 28**2, 128, "SEW stage 2"),
    (4, 196, 1536, "31m, B=1"),
)


def measure(record: Record) -> None:
    """Measures the forward pass beside SpikingJelly, torch.compile and eager PyTorch."""
    for steps, rows, channels, whose in SHAPES:
        x = torch.randn(steps, rows, channels, device="cuda", dtype=BRAIN) + 0.3
        single, half, v = x.float(), x.half(), torch.zeros(rows, channels, device="cuda")
        shape = f"[{steps}, {rows}, {channels}] {whose}".strip()
        others: dict[str, Callable[[], Any]] = {
            "spikingjelly_fp32": lambda single=single, v=v: opponents.spikingjelly(single, v),
            "compile_bf16": lambda x=x: opponents.compiled(opponents.unrolled)(x),
        }
        if (steps, rows) == (4, 32 * 56**2):
            best = opponents.compiled(opponents.unrolled, "max-autotune-no-cudagraphs")
            others |= {
                "max_autotune_bf16": lambda x=x, best=best: best(x),
                "compile_fp16": lambda half=half: opponents.compiled(opponents.unrolled)(half),
                "max_autotune_fp16": lambda half=half, best=best: best(half),
                "spikingjelly_fp16": lambda half=half, v=v: opponents.spikingjelly(half, v),
                "eager_bf16": lambda x=x: opponents.unrolled(x),
            }
        with torch.no_grad():
            record.add(
                "lif, bf16 to packed",
                shape,
                lambda x=x: lif(x, spikes="packed", want_v=False),
                x.numel() * 2.125 / record.bandwidth,
                exact=True,
                **others,
            )
            record.add(
                "lif, bf16 to bf16",
                shape,
                lambda x=x: lif(x, want_v=False),
                x.numel() * 4 / record.bandwidth,
                exact=True,
            )
    _training(record)


def _training(record: Record) -> None:
    def both(forward: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Callable[[], Any]:
        x = x.detach().requires_grad_()
        return lambda: torch.autograd.grad(forward(x), x, g)

    for steps, rows in ((4, 32 * 56**2), (8, 16 * 56**2), (16, 8 * 56**2), (32, 4 * 56**2)):
        x = torch.randn(steps, rows, 256, device="cuda", dtype=BRAIN) + 0.3
        g, v = torch.randn_like(x), torch.zeros(rows, 256, device="cuda")
        record.add(
            "lif, forward and backward",
            f"[{steps}, {rows}, 256] bf16",
            both(lambda x: lif(x, detach_reset=True, want_v=False)[0], x, g),
            x.numel() * 10 / record.bandwidth,
            spikingjelly_fp32=both(lambda x, v=v: opponents.spikingjelly(x, v)[0], x.float(), g.float()),
            spikingjelly_bf16=both(lambda x, v=v: opponents.spikingjelly(x, v)[0], x, g),
            compile_bf16=both(opponents.compiled(opponents.unrolled_training), x, g),
        )


def measure_words(record: Record) -> None:
    """Measures packing, unpacking and counting."""
    x = (torch.rand(4, 32 * 56 * 56, 256, device="cuda") < 0.2).to(BRAIN)
    words, elements = pack(x), x.numel()
    record.add("pack", "102.8 M bf16", lambda: pack(x), elements * 2.125 / record.bandwidth)
    record.add("unpack", "102.8 M bf16", lambda: unpack(words, 256, BRAIN), elements * 2.125 / record.bandwidth)
    record.add(
        "spike_stats",
        "102.8 M spikes",
        lambda: spike_stats(words, 256),
        elements / 8 / record.bandwidth,
        dense_sum_bf16=lambda: x.sum(1, dtype=torch.float32),
    )
