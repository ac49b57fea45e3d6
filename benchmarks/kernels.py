"""Measures the fused kernels against their roofline bounds and their strongest opponents, parity first.

    python benchmarks/kernels.py --out benchmarks/results/kernels-h200.json [--part ceilings lif linear ...]

Every figure is a median of CUDA-graph replays (benchmarks/gpu_timing.py) unless it says otherwise. Opponents run in
the same process: SpikingJelly 2.0, torch.compile of the unrolled neuron, eager PyTorch, cuBLAS and cuDNN.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from gpu_timing import graph_time
from torch import Tensor, nn

from neurokit.kernels import (
    config,
    depthwise,
    lif,
    pack,
    sdsa_lif,
    spike_conv_lif,
    spike_gemv_lif,
    spike_linear_lif,
    spike_stats,
    unpack,
)
from neurokit.kernels.contract import KERNELS

HALF, BRAIN = torch.float16, torch.bfloat16
DEVICE = torch.device("cuda")
LINEAR_SHAPES = (
    (32 * 112**2, 48, 96), (32 * 112**2, 64, 128), (32 * 56**2, 96, 192), (32 * 56**2, 128, 256),
    (32 * 28**2, 192, 384), (32 * 28**2, 256, 512), (6272, 512, 512), (6272, 512, 2048),
)  # fmt: skip
SIZES = {"31m": (96, 192, 384, 480), "55m": (128, 256, 512, 640)}


def unrolled(x: Tensor, threshold: float = 1.0) -> Tensor:
    """The neuron in plain PyTorch with a float32 membrane: what torch.compile fuses into one pass."""
    v = torch.zeros_like(x[0], dtype=torch.float32)
    out = []
    for now in x:
        v = v + (now.float() - v) * 0.5
        s = v >= threshold
        out.append(s.to(x.dtype))
        v = torch.where(s, 0.0, v)
    return torch.stack(out)


def unrolled_training(x: Tensor) -> Tensor:
    """The same with the sigmoid surrogate gradient."""
    v = torch.zeros_like(x[0], dtype=torch.float32)
    out = []
    for now in x:
        h = v + (now.float() - v) * 0.5
        soft = torch.sigmoid(4.0 * (h - 1.0))
        s = (h >= 1.0).float().detach() + soft - soft.detach()
        out.append(s.to(x.dtype))
        v = (1.0 - s) * h
    return torch.stack(out)


class Record:
    """The figures measured so far, written after every one, so that an interrupted run keeps them."""

    def __init__(self, path: Path, limit: float) -> None:
        self.path = path
        self.start = time.monotonic()
        self.limit = limit
        self.data: dict[str, Any] = {"about": about(), "rows": []}

    def left(self) -> float:
        """Returns the seconds left."""
        return self.limit - (time.monotonic() - self.start)

    def write(self) -> None:
        """Writes the record."""
        self.path.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")

    def add(self, kernel: str, shape: str, ours: Callable[[], Any] | float, bound: float | None = None,
            note: str = "", **opponents: Callable[[], Any] | float) -> dict[str, Any]:  # fmt: skip
        """Times a kernel and its opponents; bound is the roofline time in seconds."""
        times: dict[str, float | str] = {}
        for name, work in {"ours": ours, **opponents}.items():
            if self.left() < 0:
                break
            try:
                times[name] = graph_time(work, 8.0, 5) if callable(work) else work
            except Exception as error:  # one opponent that fails must not lose the others
                torch.cuda.synchronize()
                times[name] = f"{type(error).__name__}: {str(error)[:160]}"
        row: dict[str, Any] = {"kernel": kernel, "shape": shape, "seconds": times, "note": note}
        mine = times.get("ours")
        if isinstance(mine, float):
            row["bound_seconds"] = bound
            row["share_of_bound"] = None if bound is None else bound / mine
            row["speedup"] = {n: t / mine for n, t in times.items() if n != "ours" and isinstance(t, float)}
        self.data["rows"].append(row)
        self.write()
        shown = " ".join(f"{n}={t * 1e6:.1f}us" if isinstance(t, float) else f"{n}={t}" for n, t in times.items())
        share = f" {row['share_of_bound']:.0%} of bound" if row.get("share_of_bound") else ""
        print(f"{kernel} {shape}: {shown}{share} {note}", flush=True)
        torch.cuda.empty_cache()
        return row


def about() -> dict[str, Any]:
    import triton

    return {
        "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__,
        "timing": "median of CUDA-graph replays; inputs below the L2's size are read from it",
        "kind": "measured",
    }  # fmt: skip


class Ceilings:
    """What this GPU reaches: bytes a second of a copy, operations a second of a large product."""

    def __init__(self, record: Record) -> None:
        x = torch.randn(2**30, device=DEVICE, dtype=BRAIN)
        y = torch.empty_like(x)
        # By events: a copy in a graph becomes a memcpy node, which is slower than the copy kernel.
        self.bandwidth = 2 * x.numel() * 2 / event_time(lambda: y.copy_(x))
        a = torch.randn(8192, 8192, device=DEVICE, dtype=BRAIN)
        self.brain = 2 * 8192**3 / graph_time(lambda: a @ a)
        i = torch.randint(-127, 127, (8192, 8192), device=DEVICE, dtype=torch.int8)
        self.integer = 2 * 8192**3 / graph_time(lambda: torch._int_mm(i, i.t()))
        record.data["ceilings"] = {"copy_bytes_per_s": self.bandwidth, "bf16_flop_per_s": self.brain,
                                   "int8_op_per_s": self.integer}  # fmt: skip
        print(record.data["ceilings"], flush=True)


def parity(record: Record) -> None:
    """Compares every kernel with its definition on this GPU before anything is timed."""
    results = {}
    for name, kernel in KERNELS.items():
        cases = 0
        wrong: list[str] = []
        for dtype in (torch.float32, HALF, BRAIN):
            for example in kernel.examples(DEVICE, dtype):
                os.environ["NEUROKIT_KERNELS"] = "reference"
                expected = kernel.function(*example.args, **example.kwargs)
                os.environ["NEUROKIT_KERNELS"] = "auto"
                actual = kernel.function(*example.args, **example.kwargs)
                pairs = [(actual, expected)] if isinstance(actual, Tensor) else zip(actual, expected, strict=True)
                for a, e in pairs:
                    equal = (
                        torch.equal(a, e) if kernel.parity == "equal" else (a != e).float().sum() <= 0.01 * a.numel()
                    )
                    close = a.is_floating_point() and torch.allclose(a.float(), e.float(), rtol=1e-2, atol=1e-5)
                    if not (equal or (kernel.parity == "margin" and close)):
                        wrong.append(f"{example.label} {dtype}")
                cases += 1
        results[name] = {"cases": cases, "wrong": wrong, "level": kernel.parity}
    record.data["parity"] = results
    record.write()
    print("parity", results, flush=True)


def measure_lif(record: Record, top: Ceilings) -> None:
    from spikingjelly.activation_based import functional, surrogate

    compiled = torch.compile(unrolled, mode="max-autotune-no-cudagraphs", dynamic=False)
    sigmoid = surrogate.Sigmoid()

    def spikingjelly(x: Tensor, v: Tensor) -> Any:
        return functional.lif_multi_step(x, v, 2.0, True, 1.0, 0.0, sigmoid, True)

    for steps, rows in ((4, 32 * 56 * 56), (8, 16 * 56 * 56), (16, 8 * 56 * 56), (32, 4 * 56 * 56), (4, 56 * 56)):
        x = torch.randn(steps, rows, 256, device=DEVICE, dtype=BRAIN) + 0.3
        single, half, v = x.float(), x.half(), torch.zeros(rows, 256, device=DEVICE)
        shape = f"[{steps}, {rows}, 256]"
        opponents: dict[str, Any] = {"spikingjelly_fp32": lambda: spikingjelly(single, v)}  # noqa: B023
        opponents["compile_fp16"] = lambda: compiled(half)  # noqa: B023
        if steps == 4:
            opponents |= {"compile_bf16": lambda: compiled(x), "eager_bf16": lambda: unrolled(x),  # noqa: B023
                          "spikingjelly_fp16": lambda: spikingjelly(half, v)}  # noqa: B023  # fmt: skip
        with torch.no_grad():
            record.add("lif", shape + " bf16 -> packed", lambda: lif(x, spikes="packed", want_v=False),  # noqa: B023
                       x.numel() * 2.125 / top.bandwidth, **opponents)  # fmt: skip
            record.add("lif", shape + " bf16 -> bf16", lambda: lif(x, want_v=False),  # noqa: B023
                       x.numel() * 4 / top.bandwidth)  # fmt: skip
    measure_training(record, top, spikingjelly)


def measure_training(record: Record, top: Ceilings, spikingjelly: Callable[..., Any]) -> None:
    """Forward and backward, eager autograd: timed with events around both, launch overhead included."""
    from triton.testing import do_bench

    def both(forward: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> float:
        x = x.detach().requires_grad_()

        def work() -> None:
            forward(x).backward(g)

        return do_bench(work, warmup=30, rep=120, return_mode="median", grad_to_none=[x]) * 1e-3

    compiled = torch.compile(unrolled_training, dynamic=False)
    for steps, rows in ((4, 32 * 56 * 56), (16, 8 * 56 * 56)):
        x = torch.randn(steps, rows, 256, device=DEVICE, dtype=BRAIN) + 0.3
        g, v = torch.randn_like(x), torch.zeros(rows, 256, device=DEVICE)
        record.add(
            "lif fwd+bwd", f"[{steps}, {rows}, 256] bf16", both(lambda x: lif(x, detach_reset=True)[0], x, g),
            x.numel() * (2 + 2 + 6) / top.bandwidth, "do_bench medians, host overhead included",
            spikingjelly_fp32=both(lambda x: spikingjelly(x, v)[0], x.float(), g.float()),  # noqa: B023
            spikingjelly_bf16=both(lambda x: spikingjelly(x, v)[0], x, g),  # noqa: B023
            compile_bf16=both(compiled, x, g),
        )  # fmt: skip


def measure_linear(record: Record, top: Ceilings) -> None:
    def product_then_neuron(s: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return unrolled(F.linear(s, w) + b)

    compiled = torch.compile(product_then_neuron, dynamic=False)
    for rows, inner, cols in LINEAR_SHAPES:
        s8 = (torch.rand(4, rows, inner, device=DEVICE) < 0.2).to(torch.int8)
        s, words = s8.to(BRAIN), pack(s8)
        w = torch.randn(cols, inner, device=DEVICE, dtype=BRAIN) / inner**0.5
        w8 = torch.randint(-127, 127, (cols, inner), device=DEVICE, dtype=torch.int8)
        b, scale = torch.randn(cols, device=DEVICE) * 0.1, torch.rand(cols, device=DEVICE) * 0.01
        operations = 2 * 4 * rows * inner * cols
        packed_bytes = 4 * rows * (inner + cols) / 8
        call = lambda s, w, path, scale=None: spike_linear_lif(s, w, scale=scale, bias=b, path=path)  # noqa: B023, E731
        opponents = {
            "cublas_compile_epilogue": lambda: compiled(s, w, b.to(BRAIN)),  # noqa: B023
            "cublas_then_lif": lambda: call(s, w, "gemm"),  # noqa: B023
            "cublas_alone": lambda: F.linear(s, w),  # noqa: B023
        }
        shape = f"T=4 M={rows} K={inner} N={cols}"
        bound = max(operations / top.brain, packed_bytes / top.bandwidth)
        dense_bound = max(operations / top.brain, 4 * rows * (2 * inner + cols / 8) / top.bandwidth)
        record.add("spike_linear_lif", shape + " bf16 spikes x bf16", lambda: call(s, w, "fused"), dense_bound,  # noqa: B023
                   **opponents)  # fmt: skip
        record.add("spike_linear_lif", shape + " packed x bf16", lambda: call(words, w, "fused"), bound)  # noqa: B023
        int_bound = max(operations / top.integer, 4 * rows * (inner + cols / 8) / top.bandwidth)
        record.add("spike_linear_lif", shape + " int8 x int8", lambda: call(s8, w8, "fused", scale), int_bound,  # noqa: B023
                   int_mm_then_lif=lambda: call(s8, w8, "gemm", scale))  # noqa: B023  # fmt: skip


def measure_attention(record: Record, top: Ceilings) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.unflatten(3, (8, -1)).transpose(2, 3) for x in (q, k, v))
        y = (q @ (k.transpose(-1, -2) @ v)) * 0.125
        return unrolled(y.transpose(2, 3).flatten(3), 0.5)

    compiled = torch.compile(attention, dynamic=False)
    for channels in (384, 480, 512, 640):
        q, k, v = ((torch.rand(4, 32, 196, channels, device=DEVICE) < 0.2).to(BRAIN) for _ in range(3))
        a, b, c = (x.to(torch.int8) for x in (q, k, v))
        shape = f"[4, 32, 196, {channels}] 8 heads of {channels // 8}"
        with torch.no_grad():
            record.add("sdsa_lif", shape + " bf16", lambda: sdsa_lif(q, k, v, 8), q.numel() * 8 / top.bandwidth,  # noqa: B023
                       eager_bf16=lambda: attention(q, k, v), compile_bf16=lambda: compiled(q, k, v))  # noqa: B023  # fmt: skip
        record.add("sdsa_lif", shape + " int8 -> fp16", lambda: sdsa_lif(a, b, c, 8),  # noqa: B023
                   q.numel() * 5 / top.bandwidth)  # fmt: skip


def measure_convolution(record: Record, top: Ceilings) -> None:
    """3x3 convolutions: fused against cuDNN with `lif` behind it; depthwise 7x7 against cuDNN."""
    best = {"rows": 128, "cols": 128, "block_k": 64, "num_warps": 8, "num_stages": 3}
    for cin, cout, size in ((48, 192, 112), (192, 48, 112), (96, 384, 56), (384, 96, 56), (192, 768, 28)):
        s = (torch.rand(4, 32, size, size, cin, device=DEVICE) < 0.2).to(HALF)
        w = torch.randn(cout, 3, 3, cin, device=DEVICE, dtype=HALF) / (9 * cin) ** 0.5
        b = torch.randn(cout, device=DEVICE) * 0.1

        def work(path: str, s: Tensor = s, w: Tensor = w, b: Tensor = b) -> Any:
            with config.override("spike_conv_lif", best):
                return spike_conv_lif(s, w, bias=b, padding=1, path=path, form="packed")

        bound = 2 * s.numel() * 9 * cout / top.brain
        record.add("spike_conv_lif", f"3x3 {cin} -> {cout} at {size}, TB=128 fp16", lambda: work("fused"), bound,
                   cudnn_then_lif=lambda: work("conv"))  # fmt: skip
    for width, size in ((96, 112), (192, 56), (384, 28)):
        x = (torch.rand(128, size, size, width, device=DEVICE) < 0.2).to(HALF)
        w = torch.randn(7, 7, width, device=DEVICE, dtype=HALF)
        plain = w.permute(2, 0, 1).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        record.add("depthwise", f"7x7 {width} at {size}, TB=128 fp16", lambda: depthwise(x, w, padding=3),  # noqa: B023
                   x.numel() * 4 / top.bandwidth,
                   cudnn=lambda: F.conv2d(x.permute(0, 3, 1, 2), plain, padding=3, groups=width))  # noqa: B023  # fmt: skip
    x = torch.randn(128, 14, 14, 1152, device=DEVICE, dtype=HALF)
    w = torch.randn(3, 3, 1152, device=DEVICE, dtype=HALF)
    plain = w.permute(2, 0, 1).unsqueeze(1).contiguous(memory_format=torch.channels_last)
    record.add("depthwise", "3x3 1152 at 14, TB=128 fp16", lambda: depthwise(x, w, padding=1),
               x.numel() * 4 / top.bandwidth,
               cudnn=lambda: F.conv2d(x.permute(0, 3, 1, 2), plain, padding=1, groups=1152))  # fmt: skip


def measure_rest(record: Record, top: Ceilings) -> None:
    x = (torch.rand(4, 32 * 56 * 56, 256, device=DEVICE) < 0.2).to(BRAIN)
    words = pack(x)
    elements = x.numel()
    record.add("pack", "102.8 M bf16", lambda: pack(x), elements * 2.125 / top.bandwidth)
    record.add("unpack", "102.8 M bf16", lambda: unpack(words, 256, BRAIN), elements * 2.125 / top.bandwidth)
    record.add("spike_stats", "102.8 M spikes", lambda: spike_stats(words, 256), elements / 8 / top.bandwidth,
               dense_sum_bf16=lambda: x.sum(1, dtype=torch.float32))  # fmt: skip
    for inner, cols in ((512, 2048), (4096, 16384), (25088, 4096)):
        for rate in (0.01, 0.05, 0.2):
            s = (torch.rand(4, 1, inner, device=DEVICE) < rate).to(torch.int8)
            w = torch.randn(inner, cols, device=DEVICE, dtype=BRAIN)
            dense = s.to(BRAIN)
            touched = float((s.amax((0, 1)) > 0).float().mean())
            record.add("spike_gemv_lif", f"T=4 {inner} -> {cols}, rate {rate}", lambda: spike_gemv_lif(s, w),  # noqa: B023
                       touched * w.numel() * 2 / top.bandwidth, f"{touched:.1%} of the rows touched",
                       cublas_then_lif=lambda: lif((dense @ w), spikes="int8", want_v=False))  # noqa: B023  # fmt: skip


class PlainNeuron(nn.Module):
    """SpikingJelly's neuron as an unrolled plain PyTorch loop, which Inductor fuses with the normalisation."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """Maps currents `[T, ...]` to spikes."""
        return unrolled(x, self.threshold)


def build(size: str) -> nn.Module:
    from neurokit.nets.calibrate import build_untrained
    from neurokit.nets.inputs import repeated_images
    from neurokit.nets.meta_spikeformer import MetaSpikeFormer

    model = build_untrained(lambda: MetaSpikeFormer(SIZES[size]), repeated_images(2, 4, 0, (3, 64, 64)))
    return model.eval().to(DEVICE)


def opponent(model: nn.Module, batch: int) -> Callable[[Tensor], Tensor]:
    """The strongest opponent found: float16, channels last, plain neurons, torch.compile (with CUDA graphs at B=1)."""
    from spikingjelly.activation_based import neuron

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, neuron.LIFNode):
                setattr(module, name, PlainNeuron(child.v_threshold))
    model = model.half().to(memory_format=torch.channels_last)
    return torch.compile(model, mode="reduce-overhead" if batch == 1 else None, dynamic=False)


def event_time(work: Callable[[], Any], repeats: int = 20) -> float:
    """Returns the median time of one call by events, in seconds."""
    times = []
    for _ in range(repeats):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        work()
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last) * 1e-3)
    return statistics.median(times)


def breakdown(work: Callable[[], Any]) -> dict[str, float]:
    """Returns the GPU time of one call by kernel, in seconds."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    total: dict[str, float] = {}
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            name = event.name[:60]
            total[name] = total.get(name, 0.0) + event.time_range.elapsed_us() * 1e-6
    return dict(sorted(total.items(), key=lambda item: -item[1])[:14])


def blockwise(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Feeds every block of the fused float16 model the float32 model's own currents; returns relative L2 errors.

    Block by block, because a random network is chaotic: one spike that rounding flips changes all that follows.
    """
    from spikingjelly.activation_based import functional

    from neurokit.kernels.meta_spikeformer import FusedMetaSpikeFormer

    names = ["downsample1_1", "ConvBlock1_1.0", "downsample1_2", "ConvBlock1_2.0", "downsample2", "ConvBlock2_1.0",
             "ConvBlock2_2.0", "downsample3", *(f"block3.{i}" for i in range(6)), "downsample4", "block4.0",
             "block4.1"]  # fmt: skip
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    outputs: dict[str, Tensor] = {}
    hooks = [model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: outputs.update({n: o})) for n in names]
    functional.reset_net(model)
    with torch.no_grad():
        model(images)
    functional.reset_net(model)
    for hook in hooks:
        hook.remove()
    fused = FusedMetaSpikeFormer(model)
    errors = {}
    for before, name, block in zip(names, names[1:], fused.blocks, strict=False):
        x = outputs[before].permute(0, 1, 3, 4, 2).contiguous()
        spikes = lif(x, want_v=False)[0].half()
        current, _ = block(x.half(), spikes)
        expected = outputs[name].permute(0, 1, 3, 4, 2)
        errors[name] = float((current.float() - expected).norm() / expected.norm())
    return errors


def measure_end_to_end(record: Record, variants: list[tuple[str, int]]) -> None:
    from neurokit.kernels.meta_spikeformer import FusedMetaSpikeFormer
    from neurokit.nets.inputs import repeated_images

    torch.backends.cudnn.benchmark = True
    for size, batch in variants:
        torch.manual_seed(0)
        images = repeated_images(batch, 4, 1, (3, 224, 224))[0].to(DEVICE)
        model = build(size)
        fused = FusedMetaSpikeFormer(model)
        replay = fused.graph(images)
        row: dict[str, Any] = {"model": f"metaspikeformer_{size}", "T": 4, "batch": batch, "dtype": "float16"}
        replay(images)
        row["ours_seconds"] = event_time(lambda: replay(images))  # noqa: B023
        row["breakdown_seconds"] = breakdown(lambda: replay(images))  # noqa: B023
        if batch > 1:
            row["blockwise_relative_l2"] = blockwise(model, images[:4])
        print(row, flush=True)
        record.data.setdefault("end_to_end", []).append(row)
        record.write()
        replay = fused = None  # their memory is the opponent's now
        torch.cuda.empty_cache()
        if record.left() < 40:
            row["opponent"] = "not measured: out of time"
            continue
        torch._dynamo.reset()
        try:
            with torch.no_grad():
                half = images.half().contiguous(memory_format=torch.channels_last)
                run = opponent(model, batch)
                start = time.monotonic()
                for _ in range(4):
                    run(half)
                torch.cuda.synchronize()
                row["opponent_compile_seconds"] = time.monotonic() - start
                row["opponent_seconds"] = event_time(lambda: run(half))  # noqa: B023
                row["speedup"] = row["opponent_seconds"] / row["ours_seconds"]
        except Exception as error:
            row["opponent"] = f"{type(error).__name__}: {str(error)[:200]}"
        row["images_per_second"] = batch / row["ours_seconds"]
        print({k: v for k, v in row.items() if "breakdown" not in k}, flush=True)
        record.write()
        del model


def prepare(size: str, batch: int) -> None:
    """Compiles the opponent once, so that a later process finds it in the compiler's cache."""
    from neurokit.nets.inputs import repeated_images

    torch.manual_seed(0)
    images = repeated_images(batch, 4, 1, (3, 224, 224))[0].to(DEVICE).half()
    with torch.no_grad():
        opponent(build(size), batch)(images.contiguous(memory_format=torch.channels_last))
    torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("kernels.json"))
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which nothing more is started")
    parser.add_argument("--part", nargs="*", default=["parity", "lif", "attention", "linear", "convolution", "rest"])
    parser.add_argument("--model", nargs="*", default=["31m:32", "31m:1", "55m:32", "55m:1"], help="size:batch")
    parser.add_argument("--prepare", help="size:batch whose opponent is only compiled")
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare.split(":")[0], int(arguments.prepare.split(":")[1]))
        return
    record = Record(arguments.out, arguments.limit)
    top = Ceilings(record)
    if "parity" in arguments.part:
        parity(record)
    measure_end_to_end(record, [(m.split(":")[0], int(m.split(":")[1])) for m in arguments.model])
    parts = {"lif": measure_lif, "attention": measure_attention, "linear": measure_linear,
             "convolution": measure_convolution, "rest": measure_rest}  # fmt: skip
    for name, part in parts.items():
        if name in arguments.part and record.left() > 0:
            part(record, top)
    record.write()


if __name__ == "__main__":
    main()
