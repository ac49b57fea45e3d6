"""Products and convolutions of spikes with the neuron behind them, and the attention."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F

from neurokit.kernels import (
    depthwise,
    lif,
    pack,
    sdsa_lif,
    spike_conv_lif,
    spike_gemv_lif,
    spike_linear_lif,
)

from . import opponents, shapes
from .record import Record

HALF, BRAIN = torch.float16, torch.bfloat16


def _spikes(*shape: int, rate: float = 0.2) -> torch.Tensor:
    return (torch.rand(*shape, device="cuda") < rate).to(torch.int8)


def measure_linear(record: Record) -> None:
    """1x1 products: bf16, packed and int8 spikes; the path that the dispatcher takes is `auto`."""
    listed: dict[tuple[int, int, int], str] = {}
    for size in shapes.WIDTHS:
        for batch in (32, 1):
            tag = f"{size}, B={batch}"
            for shape in shapes.expansions(size, batch) + shapes.mixers(size, batch):
                if batch == 32 or (size == "31m" and shape[0] != 3136):
                    listed.setdefault(shape, tag)
    for shape in shapes.shortcuts(32):
        listed.setdefault(shape, "SEW, B=32")
    for (rows, inner, cols), tag in listed.items():
        _linear(record, rows, inner, cols, tag)


def _linear(record: Record, rows: int, inner: int, cols: int, tag: str) -> None:
    s8 = _spikes(4, rows, inner)
    s, words = s8.to(BRAIN), pack(s8)
    w = torch.randn(cols, inner, device="cuda", dtype=BRAIN) / inner**0.5
    w8 = torch.randint(-127, 127, (cols, inner), device="cuda", dtype=torch.int8)
    b, scale = torch.randn(cols, device="cuda") * 0.1, torch.rand(cols, device="cuda") * 0.01
    narrow = b.to(BRAIN)
    shape = f"T=4 M={rows} K={inner} N={cols}, {tag}"
    call = lambda s, w, path, scale=None: lambda: spike_linear_lif(s, w, scale=scale, bias=b, path=path)  # noqa: E731
    operations, moved = 8 * rows * inner * cols, 4 * rows * cols / 8
    bound = lambda bits, rate: max(operations / rate, (4 * rows * inner * bits / 8 + moved) / record.bandwidth)  # noqa: E731
    compiled = opponents.compiled(opponents.product_then_neuron)
    record.add(
        "spike_linear_lif, bf16 weights",
        shape,
        call(s, w, "auto"),
        bound(16, record.brain),
        fused=call(s, w, "fused"),
        cublas_then_lif=call(s, w, "gemm"),
        cublas_compiled_epilogue=lambda: compiled(s, w, narrow),
        cublas_alone=lambda: F.linear(s, w),
        packed_input=call(words, w, "fused"),
    )
    record.add(
        "spike_linear_lif, int8 weights",
        shape,
        call(s8, w8, "auto", scale),
        bound(8, record.integer),
        bf16_auto=call(s, w, "auto"),
        int_mm_then_lif=call(s8, w8, "gemm", scale),
        cublas_bf16_compiled_epilogue=lambda: compiled(s, w, narrow),
    )


def measure_attention(record: Record) -> None:
    """Spike-driven self-attention at the shapes of stages 3 and 4."""
    compiled = opponents.compiled(opponents.attention)
    for batch in (32, 1):
        for channels in shapes.attention_widths():
            q, k, v = (_spikes(4, batch, shapes.TOKENS, channels, rate=0.06).to(BRAIN) for _ in range(3))
            a, b, c = (x.to(torch.int8) for x in (q, k, v))
            shape = f"[4, {batch}, 196, {channels}], 8 heads of {channels // 8}"
            with torch.no_grad():
                record.add(
                    "sdsa_lif, bf16",
                    shape,
                    lambda q=q, k=k, v=v: sdsa_lif(q, k, v, 8),
                    q.numel() * 8 / record.bandwidth,
                    exact=True,
                    eager_bf16=lambda q=q, k=k, v=v: opponents.attention(q, k, v),
                    compile_bf16=lambda q=q, k=k, v=v: compiled(q, k, v),
                )
                record.add(
                    "sdsa_lif, int8 to fp16",
                    shape,
                    lambda a=a, b=b, c=c: sdsa_lif(a, b, c, 8),
                    q.numel() * 5 / record.bandwidth,
                    exact=True,
                )


def measure_convolution(record: Record) -> None:
    """3x3 convolutions against cuDNN with `lif` behind it."""
    torch.backends.cudnn.benchmark = True
    for network, cin, cout, size, _ in shapes.convolutions():
        s = _spikes(4, 32, size, size, cin).to(HALF)
        w = torch.randn(cout, 3, 3, cin, device="cuda", dtype=HALF) / (9 * cin) ** 0.5
        b = torch.randn(cout, device="cuda") * 0.1
        image, plain = s.flatten(0, 1).permute(0, 3, 1, 2), w.permute(0, 3, 1, 2)
        call = lambda path, s=s, w=w, b=b: lambda: spike_conv_lif(s, w, bias=b, padding=1, path=path, form="same")  # noqa: E731
        record.add(
            "spike_conv_lif",
            f"3x3 {cin} to {cout} at {size}, TB=128 fp16, {network}",
            call("auto"),
            18 * s.numel() * cout / record.brain,
            fused=call("fused"),
            cudnn_then_lif=call("conv"),
            cudnn_alone=lambda image=image, plain=plain: F.conv2d(image, plain, padding=1),
        )


def measure_depthwise(record: Record) -> None:
    """Depthwise convolutions of Meta-SpikeFormer against cuDNN; which path was taken stands beside the other."""
    torch.backends.cudnn.benchmark = True
    large = [(7, width, size, kind) for width, size in ((96, 112), (192, 56), (384, 28)) for kind in (HALF, torch.int8)]
    large += [(7, width, size, torch.int8) for width, size in ((128, 112), (256, 56), (512, 28))]
    for samples, shape in itertools.product((128, 4), [*large, (3, 1152, 14, HALF)]):
        kernel, width, size, kind = shape
        x = _spikes(samples, size, size, width).to(kind)
        w = torch.randn(kernel, kernel, width, device="cuda", dtype=HALF)
        plain = w.permute(2, 0, 1).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        image, pad = x.to(HALF).permute(0, 3, 1, 2), kernel // 2
        call = lambda path, x=x, w=w, pad=pad: lambda: depthwise(x, w, padding=pad, path=path)  # noqa: E731
        bound = max(x.numel() * (x.itemsize + 2) / record.bandwidth, x.numel() * kernel**2 / record.fma)
        typed = "int8" if kind == torch.int8 else "fp16"
        record.add(
            "depthwise",
            f"{kernel}x{kernel} {width} at {size}, TB={samples} {typed}",
            call("auto"),
            bound,
            tile=call("tile"),
            stream=call("stream"),
            cudnn_fp16=lambda image=image, plain=plain, pad=pad, n=width: F.conv2d(image, plain, padding=pad, groups=n),
        )


def measure_batch_one(record: Record) -> None:
    """One row of spikes by a large weight: rows that a spike selects, against the whole weight."""
    for inner, cols in ((512, 2048), (4096, 4096), (4096, 16384), (25088, 4096)):
        for rate in (0.01, 0.05, 0.2):
            s = _spikes(4, 1, inner, rate=rate)
            w = torch.randn(inner, cols, device="cuda", dtype=BRAIN)
            w8 = torch.randint(-127, 127, (inner, cols), device="cuda", dtype=torch.int8)
            dense, touched = s.to(BRAIN), float((s.amax((0, 1)) > 0).float().mean())
            shape, note = f"T=4 {inner} to {cols}, rate {rate}", f"{touched:.0%} of the rows touched"
            record.add(
                "spike_gemv_lif",
                shape,
                lambda s=s, w=w: spike_gemv_lif(s, w),
                touched * w.numel() * 2 / record.bandwidth,
                note,
                cublas_then_lif=lambda dense=dense, w=w: lif(dense @ w, spikes="int8", want_v=False),
                int8_weights=lambda s=s, w8=w8: spike_gemv_lif(s, w8),
            )
