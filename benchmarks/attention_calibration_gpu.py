"""Calibrated attention on a GPU: few keys rescaled in a fused kernel's output against SDPA, a hook, FlexAttention.

    python benchmarks/attention_calibration_gpu.py [--out benchmarks/results/attention_calibration_gpu.json]

bf16, 32 heads of 128, causal, one text. Times are medians of replayed CUDA graphs where the work can be captured, of
events otherwise; every opponent runs in the same process. Parity comes first, against weights in float32. Both fused
kernels of torch that return log-sum-exps are taken, and compared with SDPA by the faster of the two.
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
from torch.nn.attention import SDPBackend, sdpa_kernel

from neurokit.attention.rescale import Ratio, fused_attention
from neurokit.kernels import config, rescale_keys
from neurokit.kernels.attention_path import calibrated_attention

HEADS, WIDTH, GAMMA, BETA = 32, 128, 4.0, 0.4
SIZES = (2048, 8192, 32768)
LONGEST_HOOK = 8192  # its matrix alone takes 4 GiB there
SINKS = (7, 15, 101, 640)
KERNELS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
FARTHEST = 0.02  # of the largest output: bf16 has 8 bits, in the products and in the output


METHODS: dict[str, tuple[tuple[int, ...], Any]] = {
    "zerotuning": ((0,), GAMMA),
    "act": (SINKS, Ratio(BETA, -BETA, 1.0, -BETA)),
}
#: What tells apart the number of keys, their places and the factor, where the pass is timed by itself.
CONTROLS: dict[str, tuple[tuple[int, ...], Any]] = {
    "four keys, zerotuning's factor": (SINKS, GAMMA),
    "four first keys, zerotuning's factor": ((0, 1, 2, 3), GAMMA),
    "one key, act's factor": (SINKS[:1], METHODS["act"][1]),
}
#: Launch parameters of the pass behind the fused kernel that are tried; the fastest is the row's.
LAUNCHES = tuple({"rows": rows, "num_warps": warps} for rows, warps in ((64, 4), (32, 2), (32, 4), (128, 8), (128, 4)))


def calibrated(keys: tuple[int, ...], factor: Any, kernel: str) -> Callable[..., Tensor]:
    """Returns attention with some keys multiplied, over one of the fused kernels."""
    at = torch.tensor(keys, device="cuda")
    return lambda q, k, v: calibrated_attention(q, k, v, at, factor, kernel=kernel)


def plain(backend: SDPBackend) -> Callable[..., Tensor]:
    """Returns SDPA by one of its backends."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

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

    mask, run = (
        create_block_mask(causal, None, None, size, size, device="cuda"),
        torch.compile(flex_attention, dynamic=False),
    )
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
    for name, (keys, factor) in METHODS.items():
        wanted = hooked(keys, factor)(q, k, v, torch.float32)
        for kernel in KERNELS:
            off = calibrated(keys, factor, kernel)(q, k, v).float() - wanted
            found[f"{name} {kernel}"] = float(off.abs().max() / wanted.abs().max())
    return found


def tried(work: Callable[[], Any]) -> dict[str, Any]:
    """Returns time and peak of a way, or why there are none: one that fails must not lose the others."""
    try:
        seconds, peak = measure(work)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"}
    return {"ms": seconds * 1e3, "peak_mib": peak / 2**20}


def passes(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Callable[..., Tensor]]:
    """Returns the kernel's pass alone, on one output again and again, and behind the fused kernel at every length."""
    out, lse = fused_attention(q, k, v)

    def run(keys: Tensor, ratio: Ratio, *_: Tensor) -> Tensor:
        return rescale_keys(out, lse, q, k, v, keys, ratio, in_place=True)

    def behind(keys: Tensor, ratio: Ratio, *_: Tensor) -> Tensor:
        return rescale_keys(*fused_attention(q, k, v), q, k, v, keys, ratio, in_place=True)

    found: dict[str, Callable[..., Tensor]] = {}
    for name, (keys, factor) in (METHODS | CONTROLS).items():
        given = torch.tensor(keys, device="cuda"), factor if isinstance(factor, Ratio) else Ratio(factor)
        found[f"{name}_pass"] = functools.partial(run, *given)
        if name in METHODS:
            found[f"{name}_kernel"] = functools.partial(behind, *given)
    return found


def launched(work: Callable[[], Any]) -> dict[str, Any]:
    """Returns the fastest of a way with each of the launch parameters, and the times of all."""
    found = []
    for launch in LAUNCHES:
        with config.override("rescale_keys", launch):
            found.append(tried(work))
    label = "rows {rows} warps {num_warps}"
    times = {label.format(**x): y.get("ms") for x, y in zip(LAUNCHES, found, strict=True)}
    return min(found, key=lambda x: x.get("ms", math.inf)) | {"by_launch_ms": times}


def best(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the faster of a method's two kernels."""
    return min(
        (row[f"{name}_{kernel}"] for kernel in KERNELS if f"{name}_{kernel}" in row),
        key=lambda x: x.get("ms", math.inf),
    )


def judged(row: dict[str, Any]) -> dict[str, float]:
    """Returns a row's ratios beside the bars; SDPA is the faster of its two backends."""
    sdpa, found = best(row, "sdpa"), {}
    for name in METHODS:
        ours = best(row, name)
        found[f"{name} over sdpa, time (bar 1.25)"] = ours["ms"] / sdpa["ms"]
        found[f"{name} over sdpa, peak memory (bar 1.1)"] = ours["peak_mib"] / sdpa["peak_mib"]
    for name, bar in (("flex", "bar 1.0"), ("hook", "bar 5 at 8,192")):
        if "ms" in row.get(name, {}):
            found[f"{name} over zerotuning, time ({bar})"] = row[name]["ms"] / best(row, "zerotuning")["ms"]
    return found


def main() -> None:
    """Measures, prints, and writes the record after every size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="tokens")
    parser.add_argument("--alone", action="store_true", help="time SDPA, ours and the pass behind it alone")
    given = parser.parse_args()
    place = given.out
    torch.manual_seed(0)
    torch._dynamo.config.recompile_limit = 64
    record: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "parity": parity()}
    print("largest difference from float32:", record["parity"], flush=True)
    record["parity_within"], record["rows"] = all(x < FARTHEST for x in record["parity"].values()), []
    for size in given.sizes:
        q, k, v = (torch.randn(1, HEADS, size, WIDTH, device="cuda", dtype=torch.bfloat16) for _ in range(3))
        ways: dict[str, Callable[..., Tensor]] = {f"sdpa_{name}": plain(backend) for name, backend in KERNELS.items()}
        for name, (keys, factor) in METHODS.items():
            ways |= {f"{name}_{kernel}": calibrated(keys, factor, kernel) for kernel in KERNELS}
        if given.alone:
            ways = {name: way for name, way in ways.items() if "flash" not in name} | passes(q, k, v)
        else:
            ways["flex"] = flexible(size)
        if size <= LONGEST_HOOK and not given.alone:
            ways["hook"] = hooked((0,), GAMMA)
        row: dict[str, Any] = {"tokens": size}
        for name, way in ways.items():
            work = functools.partial(way, q, k, v)
            ours = name.split("_")[0] in METHODS | CONTROLS
            row[name] = launched(work) if ours and (given.alone or size == min(SIZES)) else tried(work)
            print(size, name, row[name], flush=True)
            torch.cuda.empty_cache()
        row["ratios"] = judged(row)
        print(size, {name: round(x, 3) for name, x in row["ratios"].items()}, flush=True)
        record["rows"].append(row)
        if place is not None:
            place.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
