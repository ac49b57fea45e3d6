"""Calibrated attention on a GPU: few keys rescaled in a fused kernel's output against SDPA, a hook, FlexAttention.

    python benchmarks/attention_calibration_gpu.py [--out benchmarks/results/attention_calibration_gpu.json]

bf16, 32 heads of 128, causal, one text. Times are medians of replayed CUDA graphs where the work can be captured, of
events otherwise; every opponent runs in the same process. Parity comes first, against weights in float32.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from gpu_timing import graph_time
from kernel_parts.record import event_time
from torch import Tensor

from neurokit.attention.rescale import rescaled

HEADS, WIDTH, GAMMA, BETA = 32, 128, 4.0, 0.4
SIZES = (2048, 8192, 32768)
LONGEST_HOOK = 8192  # its matrix alone takes 4 GiB there
SINKS = (7, 15, 101, 640)


def flash(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Returns output and log-sum-exps of causal attention by the fused kernel."""
    found = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, True)
    return found[0], found[1]


def act_factor(mass: Tensor) -> Tensor:
    """Returns ACT's factor of the sinks."""
    return BETA * (1 - mass) / (1 - BETA * mass).clamp_min(1e-6)


def calibrated(keys: tuple[int, ...], factor: Any) -> Callable[..., Tensor]:
    """Returns attention with some keys multiplied."""
    at = torch.tensor(keys, device="cuda")
    combine = torch.compile(rescaled, dynamic=False)

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, lse = flash(q, k, v)
        visible = at <= torch.arange(q.shape[2], device="cuda")[:, None]
        return combine(out, lse, q, k[:, :, at], v[:, :, at], visible, factor)

    return run


def hooked(keys: tuple[int, ...], factor: Any) -> Callable[..., Tensor]:
    """Returns what a hook on eager attention does: the whole matrix, multiplied and divided."""
    at = torch.tensor(keys, device="cuda")

    def run(q: Tensor, k: Tensor, v: Tensor, kind: torch.dtype | None = None) -> Tensor:
        q, k, v = (x.to(kind or x.dtype) for x in (q, k, v))
        scores = q @ k.transpose(-1, -2) * WIDTH**-0.5
        hidden = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device="cuda").triu(1)
        weights = scores.masked_fill_(hidden, float("-inf")).softmax(-1)
        mass = weights[..., at].sum(-1, keepdim=True).float()
        weights[..., at] *= factor if isinstance(factor, float) else factor(mass).to(weights.dtype)
        weights /= weights.sum(-1, keepdim=True)
        return weights @ v

    return run


def flexible(size: int) -> Callable[..., Tensor]:
    """Returns FlexAttention with log gamma added to key 0."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def causal(b: Any, h: Any, row: Any, key: Any) -> Any:
        return row >= key

    def biased(score: Any, b: Any, h: Any, row: Any, key: Any) -> Any:
        return torch.where(key == 0, score + math.log(GAMMA), score)

    mask, run = create_block_mask(causal, None, None, size, size, device="cuda"), torch.compile(flex_attention)
    return lambda q, k, v: run(q, k, v, score_mod=biased, block_mask=mask)


def measure(work: Callable[[], Any]) -> tuple[float, int]:
    """Returns seconds of a call (median) and bytes that it takes at its peak, inputs included."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    try:
        return graph_time(work), peak
    except RuntimeError:
        return event_time(work, 7), peak


def parity() -> dict[str, float]:
    """Returns the largest difference from weights in float32, in parts of the largest output, at 2,048 tokens."""
    q, k, v = (torch.randn(1, HEADS, 2048, WIDTH, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    found = {}
    for name, keys, factor in (("zerotuning", (0,), GAMMA), ("act", SINKS, act_factor)):
        wanted = hooked(keys, factor)(q, k, v, torch.float32)
        off = calibrated(keys, factor)(q, k, v).float() - wanted
        found[name] = float(off.abs().max() / wanted.abs().max())
    return found


def main() -> None:
    """Measures, prints, and writes the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    place = parser.parse_args().out
    torch.manual_seed(0)
    record: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "parity": parity()}
    print("largest difference from float32:", record["parity"])
    record["rows"] = []
    for size in SIZES:
        q, k, v = (torch.randn(1, HEADS, size, WIDTH, device="cuda", dtype=torch.bfloat16) for _ in range(3))
        ways: dict[str, Callable[..., Tensor]] = {
            "sdpa": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            "flash": lambda q, k, v: flash(q, k, v)[0],
            "zerotuning": calibrated((0,), GAMMA),
            "act": calibrated(SINKS, act_factor),
            "flex": flexible(size),
            **({"hook": hooked((0,), GAMMA)} if size <= LONGEST_HOOK else {}),
        }
        row: dict[str, Any] = {"tokens": size}
        for name, way in ways.items():
            seconds, peak = measure(functools.partial(way, q, k, v))
            row[name] = {"ms": seconds * 1e3, "peak_mib": peak / 2**20}
            torch.cuda.empty_cache()
        record["rows"].append(row)
        print(size, {name: (round(x["ms"], 3), round(x["peak_mib"])) for name, x in row.items() if name != "tokens"})
        for name in ("zerotuning", "act"):
            time, peak = row[name]["ms"] / row["sdpa"]["ms"], row[name]["peak_mib"] / row["sdpa"]["peak_mib"]
            print(f"  {name} over sdpa {time:.2f} (bar 1.25), peak {peak:.2f} (bar 1.1)")
        print(f"  flex over zerotuning {row['flex']['ms'] / row['zerotuning']['ms']:.2f} (bar 1.0)")
        if "hook" in row:
            print(f"  hook over zerotuning {row['hook']['ms'] / row['zerotuning']['ms']:.1f} (bar 5 at 8,192)")
    if place is not None:
        place.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
