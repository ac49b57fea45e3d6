"""Finds every kernel's launch parameters on the GPU at hand, in the form that kernels/configs ships.

python benchmarks/tune_kernels.py --out kernels/configs/NVIDIA_H200.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_timing import graph_time

from neurokit.kernels import config, depthwise, lif, pack, sdsa_lif, spike_gemv_lif, spike_linear_lif, unpack
from neurokit.kernels.spike_linear_lif.op import _key as linear_key

Config = dict[str, Any]
HALF, BRAIN = torch.float16, torch.bfloat16


def grid(**axes: list[Any]) -> list[Config]:
    """Returns every combination of the given values."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


class Tuner:
    """Collects the fastest parameters a kernel and shape."""

    def __init__(self, limit: float) -> None:
        self.kernels: dict[str, dict[str, Config]] = {}
        self.deadline = time.monotonic() + limit

    def tune(self, kernel: str, key: tuple[Any, ...], candidates: list[Config], work: Callable[[], Any]) -> float:
        """Times every candidate and keeps the best; returns its time in seconds."""
        best, fastest = None, float("inf")
        for candidate in candidates:
            if time.monotonic() > self.deadline:
                break
            with config.override(kernel, candidate):
                try:
                    seconds = graph_time(work, target_ms=4.0, replays=5)
                except Exception as error:  # a candidate that needs too many resources is no candidate
                    torch.cuda.synchronize()
                    print(f"  {kernel} {candidate}: {type(error).__name__} {str(error)[:80]}", flush=True)
                    continue
            if seconds < fastest:
                best, fastest = candidate, seconds
        if best is not None:
            self.kernels.setdefault(kernel, {})[",".join(map(str, key))] = best
            print(f"{kernel} {key}: {fastest * 1e6:.1f} us {best}", flush=True)
        return fastest


def tune_lif(tuner: Tuner) -> None:
    blocks = [{"block": b, "num_warps": w} for b, w in
              [(512, 2), (512, 4), (1024, 2), (1024, 4), (2048, 8)]]  # fmt: skip
    small = [{"block": b, "num_warps": w} for b, w in [(128, 2), (256, 2), (256, 4), (512, 4)]]
    backward = torch.ops.neurokit_kernels.lif_backward
    for steps in (4, 8, 16, 32):
        x = torch.randn(steps, 401408 // steps, 256, device="cuda", dtype=BRAIN) + 0.3
        for form in ("packed", "int8", "same") if steps == 4 else ("packed", "same"):
            tuner.tune("lif", (steps, 2, form), blocks, lambda x=x, form=form: lif(x, spikes=form, want_v=False))
        g = torch.randn_like(x)
        arguments = (g, None, None, x, None, None, None, None, None, 2.0, 1.0, 0.0, True, "sigmoid", 4.0, False)
        tuner.tune("lif_backward", (steps, 2), blocks if steps == 4 else small, lambda a=arguments: backward(*a))


def linear_shapes() -> Iterator[tuple[int, int, int]]:
    """Yields (M, K, N) of the 1x1 products of metaspikeformer_31m and 55m at B=32."""
    yield from [(32 * 112**2, 48, 96), (32 * 112**2, 64, 128), (32 * 56**2, 96, 192), (32 * 56**2, 128, 256)]
    yield from [(32 * 28**2, 192, 384), (32 * 28**2, 256, 512), (6272, 512, 512), (6272, 512, 2048)]


def tune_linear(tuner: Tuner) -> None:
    tiles = [(64, 128, 64, 4, 3), (128, 64, 64, 4, 3), (128, 64, 128, 4, 2), (128, 128, 64, 8, 3),
             (32, 128, 64, 4, 3), (64, 64, 64, 4, 3)]  # fmt: skip
    names = ("rows", "cols", "block_k", "num_warps", "num_stages")
    candidates = [dict(zip(names, tile, strict=True)) for tile in tiles]
    for rows, inner, cols in linear_shapes():
        s8 = (torch.rand(4, rows, inner, device="cuda") < 0.2).to(torch.int8)
        bias, scale = torch.randn(cols, device="cuda") * 0.1, torch.rand(cols, device="cuda") * 0.01
        weight = torch.randn(cols, inner, device="cuda", dtype=BRAIN) / inner**0.5
        integer = torch.randint(-127, 127, (cols, inner), device="cuda", dtype=torch.int8)
        for spikes, w in ((pack(s8), weight), (s8.to(BRAIN), weight), (s8, integer), (pack(s8), integer)):
            key = linear_key(spikes, w)

            def work(path: str, spikes: torch.Tensor = spikes, w: torch.Tensor = w) -> Any:
                return spike_linear_lif(spikes, w, scale=scale if w is integer else None, bias=bias, path=path)  # noqa: B023

            fused = tuner.tune("spike_linear_lif", key, candidates, lambda work=work: work("fused"))
            gemm = graph_time(lambda work=work: work("gemm"), 4.0, 5)
            found = tuner.kernels.get("spike_linear_lif", {}).get(",".join(map(str, key)))
            if found is not None:
                found["path"] = "fused" if fused < gemm else "gemm"
            print(f"   gemm path {gemm * 1e6:.1f} us", flush=True)


def tune_attention(tuner: Tuner) -> None:
    candidates = [dict(zip(("rows", "inner", "num_warps", "num_stages"), c, strict=True)) for c in
                  [(64, 64, 4, 2), (128, 64, 4, 2), (256, 32, 8, 3)]]  # fmt: skip
    for channels in (384, 480, 512, 640):
        q, k, v = ((torch.rand(4, 32, 196, channels, device="cuda") < 0.2).to(torch.int8) for _ in range(3))
        for cast, kind in ((lambda x: x, "1"), (lambda x: x.to(BRAIN), "2"), (pack, "packed")):
            if kind == "packed" and channels // 8 % 32:
                continue
            a, b, c = cast(q), cast(k), cast(v)
            tuner.tune("sdsa_lif", (4, 196, channels // 8, kind), candidates,
                       lambda a=a, b=b, c=c, n=channels: sdsa_lif(a, b, c, 8, channels=n))  # fmt: skip


def tune_depthwise(tuner: Tuner) -> None:
    # The 7x7 kernel takes seconds to compile a candidate; DEFAULT_LARGE was the best of four at 112x112 and 56x56.
    names = ("tall", "wide", "cols", "num_warps")
    three = [dict(zip(names, c, strict=True)) for c in
             [(7, 4, 64, 4), (7, 8, 64, 4), (14, 4, 64, 4), (7, 4, 128, 4)]]  # fmt: skip
    for width in (384, 1152):
        x = torch.randn(128, 14, 14, width, device="cuda", dtype=HALF)
        w = torch.randn(3, 3, width, device="cuda", dtype=HALF)
        tuner.tune("depthwise", (3, 14, width, 2), three, lambda x=x, w=w: depthwise(x, w, padding=1))


def tune_rest(tuner: Tuner) -> None:
    x = (torch.rand(4, 32 * 56 * 56, 256, device="cuda") < 0.2).to(BRAIN)
    words = pack(x)
    blocks = grid(block=[32, 64, 128], num_warps=[4])
    tuner.tune("pack", (2,), blocks, lambda: pack(x))
    tuner.tune("unpack", (2,), blocks, lambda: unpack(words, 256, BRAIN))
    tuner.tune("spike_stats", (8,), grid(tile=[256, 512], iterations=[8, 16], num_warps=[4]),
               lambda: torch.ops.neurokit_kernels.spike_counts(words, 256))  # fmt: skip
    for inner, cols in ((512, 2048), (4096, 16384), (25088, 4096)):
        spikes = (torch.rand(4, 1, inner, device="cuda") < 0.05).to(torch.int8)
        weight = torch.randn(inner, cols, device="cuda", dtype=BRAIN)
        candidates = grid(cols=[32, 128], block_k=[64, 128], num_warps=[4], num_stages=[3])
        tuner.tune("spike_gemv_lif", (4, inner, cols), candidates, lambda s=spikes, w=weight: spike_gemv_lif(s, w))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which nothing more is tried")
    parts = {"lif": tune_lif, "attention": tune_attention, "linear": tune_linear, "depthwise": tune_depthwise,
             "rest": tune_rest}  # fmt: skip
    parser.add_argument(
        "--part", nargs="*", default=list(parts), help="what to tune; the rest of an existing file stays"
    )
    arguments = parser.parse_args()
    tuner = Tuner(arguments.limit)
    if arguments.out.exists():
        tuner.kernels = json.loads(arguments.out.read_text(encoding="utf-8"))["kernels"]
    for name in arguments.part:
        parts[name](tuner)
        torch.cuda.empty_cache()
    import triton

    record = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "kernels": tuner.kernels,
    }
    arguments.out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
