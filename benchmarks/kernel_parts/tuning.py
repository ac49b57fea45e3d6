"""What benchmarks/tune_kernels.py tries: for every kernel and shape the candidates, and the call that they are in."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from neurokit.attention import BlockIndex, TokenSet
from neurokit.kernels import (
    block_sparse_attention,
    depthwise,
    lif,
    pack,
    sdsa_lif,
    sparse_decode,
    spike_conv_lif,
    spike_gemv_lif,
    spike_linear_lif,
    unpack,
)
from neurokit.kernels.block_sparse_attention.examples import random_index
from neurokit.kernels.depthwise.op import dots_key
from neurokit.kernels.sdsa_lif.op import key_of as attention_key
from neurokit.kernels.spike_conv_lif.op import key_of as conv_key
from neurokit.kernels.spike_linear_lif.op import key_of as linear_key

from . import shapes

Config = dict[str, Any]
HALF, BRAIN = torch.float16, torch.bfloat16
PRODUCT = ("rows", "cols", "block_k", "num_warps", "num_stages", "chunk")


@dataclass(frozen=True)
class Job:
    """A kernel at one shape: the candidates, and the call they are tried with.

    Attributes:
        kernel: Name in the table.
        key: What the parameters are chosen by.
        candidates: Parameters to try.
        work: Makes the inputs and returns the call.
        rival: As work, for the other path that does the same, if the fastest of the two is to be noted.
        names: What the table calls the kernel's own path and the rival's.
        exact: Whether a candidate must give the definition's bits; one that does not is no candidate.
        close: Whether a candidate must come near to the output with the default parameters; likewise.
    """

    kernel: str
    key: tuple[Any, ...]
    candidates: list[Config]
    work: Callable[[], Callable[[], Any]]
    rival: Callable[[], Callable[[], Any]] | None = None
    names: tuple[str, str] = ("fused", "gemm")
    exact: bool = False
    close: bool = False


def grid(names: tuple[str, ...], *rows: tuple[int, ...]) -> list[Config]:
    """Returns rows of values as parameters."""
    return [dict(zip(names, row, strict=True)) for row in rows]


def product(**axes: list[int]) -> list[Config]:
    """Returns every combination of the given values."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def spikes(*shape: int, rate: float = 0.2) -> torch.Tensor:
    """Returns random int8 spikes on the GPU."""
    return (torch.rand(*shape, device="cuda") < rate).to(torch.int8)


def lif_jobs() -> Iterator[Job]:
    blocks = grid(("block", "num_warps"), (512, 2), (512, 4), (1024, 2), (1024, 4), (2048, 8))
    small = grid(("block", "num_warps"), (128, 2), (256, 2), (256, 4), (512, 4))
    backward = torch.ops.neurokit_kernels.lif_backward
    for steps in (4, 8, 16, 32):
        make = lambda steps=steps: torch.randn(steps, 401408 // steps, 256, device="cuda", dtype=BRAIN) + 0.3  # noqa: E731
        for form in ("packed", "int8", "same") if steps == 4 else ("packed", "same"):

            def forward(form: str = form, make: Any = make) -> Callable[[], Any]:
                x = make()
                return lambda: lif(x, spikes=form, want_v=False)

            yield Job("lif", (steps, 2, form), blocks, forward)

        def back(make: Any = make) -> Callable[[], Any]:
            x = make()
            g = torch.randn_like(x)
            arguments = (g, None, None, x, None, None, None, None, None, 2.0, 1.0, 0.0, True, "sigmoid", 4.0, False)
            return lambda: backward(*arguments)

        yield Job("lif_backward", (steps, 2), blocks if steps == 4 else small, back)


def linear_job(rows: int, inner: int, cols: int, kind: str, current: bool, candidates: list[Config]) -> Job:
    weight_type = torch.int8 if kind.endswith("x int8") else BRAIN
    shape = torch.zeros((4, rows, inner), device="meta", dtype=torch.int8 if kind.startswith("int8") else BRAIN)
    if kind.startswith("packed"):
        shape = torch.zeros((4, rows, -(-inner // 32)), device="meta", dtype=torch.int32)
    key = linear_key(shape, torch.zeros((cols, inner), device="meta", dtype=weight_type), current)

    def make(path: str) -> Callable[[], Any]:
        s = spikes(4, rows, inner)
        s = pack(s) if kind.startswith("packed") else (s if kind.startswith("int8") else s.to(BRAIN))
        bias, scale = torch.randn(cols, device="cuda") * 0.1, None
        if weight_type == torch.int8:
            w = torch.randint(-127, 127, (cols, inner), device="cuda", dtype=torch.int8)
            scale = torch.rand(cols, device="cuda") * 0.01
        else:
            w = torch.randn(cols, inner, device="cuda", dtype=BRAIN) / inner**0.5
        residual = torch.randn(4, rows, cols, device="cuda", dtype=BRAIN) if current else None
        form = "same" if current else "packed"
        return lambda: spike_linear_lif(
            s, w, scale=scale, bias=bias, residual=residual, want_current=current, form=form, path=path
        )

    return Job("spike_linear_lif", key, candidates, lambda: make("fused"), lambda: make("gemm"))


def linear_jobs() -> Iterator[Job]:
    narrow = grid(
        PRODUCT,
        (64, 128, 64, 4, 3, 1),
        (64, 64, 64, 4, 3, 1),
        (64, 128, 64, 8, 3, 4),
        (64, 64, 64, 4, 3, 4),
        (64, 64, 128, 4, 2, 1),
        (64, 128, 128, 8, 2, 4),
    )
    wide = grid(
        PRODUCT,
        (64, 128, 64, 8, 3, 4),
        (64, 64, 64, 4, 3, 4),
        (64, 128, 64, 8, 2, 4),
        (64, 128, 64, 4, 3, 1),
    )
    integer = grid(
        PRODUCT,
        (64, 128, 128, 8, 3, 4),
        (64, 64, 128, 4, 3, 4),
        (64, 128, 64, 8, 3, 4),
        (64, 64, 64, 4, 3, 1),
    )
    done = set()
    for size in shapes.WIDTHS:
        listed = [(*s, False) for s in shapes.expansions(size, 32) + shapes.mixers(size, 32)]
        listed += [(*s, True) for s in shapes.reductions(size, 32)]
        listed += [(*s, False) for s in shapes.mixers(size, 1)] if size == "31m" else []
        for rows, inner, cols, current in listed:
            floats = narrow if inner <= 128 else wide
            for kind, candidates in (("16 x 16", floats), ("int8 x int8", integer), ("packed x 16", narrow[:3])):
                if kind != "16 x 16" and (current or (kind == "packed x 16" and inner > 128)):
                    continue
                job = linear_job(rows, inner, cols, kind, current, candidates)
                if job.key not in done:
                    done.add(job.key)
                    yield job


def attention_jobs() -> Iterator[Job]:
    names = ("rows", "cols", "inner", "num_warps", "num_stages", "whole")
    many = grid(
        names,
        (256, 64, 64, 8, 3, False),
        (256, 64, 256, 8, 2, False),
        (256, 64, 128, 8, 2, False),
        (256, 32, 128, 8, 2, True),
        (256, 32, 64, 8, 3, True),
    )
    wide = grid(
        names,
        (256, 32, 128, 8, 2, False),
        (256, 32, 256, 8, 2, False),
        (128, 32, 64, 4, 2, False),
        (256, 32, 64, 8, 2, True),
        (256, 32, 64, 8, 3, True),
        (256, 32, 128, 8, 2, True),
        (128, 32, 64, 4, 2, True),
        (128, 32, 64, 8, 2, True),
    )
    few = grid(
        names,
        (64, 32, 64, 4, 2, False),
        (64, 16, 256, 4, 2, False),
        (64, 64, 64, 4, 2, False),
        (64, 32, 256, 4, 2, False),
        (64, 16, 128, 4, 2, False),
    )
    for batch, channels in itertools.product((32, 1), shapes.attention_widths()):
        dim = channels // shapes.HEADS
        for kind in ("1", "2", "packed"):
            if kind == "packed" and (dim != 64 or batch == 1):
                continue
            cast = {"1": lambda x: x, "2": lambda x: x.to(BRAIN), "packed": pack}[kind]

            def work(channels: int = channels, batch: int = batch, cast: Any = cast) -> Callable[[], Any]:
                torch.manual_seed(batch * channels)
                # At this rate a fifth to a hundredth of the outputs fire: neither none nor all.
                q, k, v = (cast(spikes(4, batch, shapes.TOKENS, channels, rate=0.06)) for _ in range(3))
                return lambda: sdsa_lif(q, k, v, shapes.HEADS, channels=channels)

            kinds = {"1": torch.int8, "2": BRAIN, "packed": torch.int32}
            like = torch.zeros((4, batch, shapes.TOKENS, 1), device="meta", dtype=kinds[kind])
            key = attention_key(like, channels, shapes.HEADS)
            yield Job("sdsa_lif", key, few if batch == 1 else (wide if dim > 64 else many), work, exact=True)


def convolution_jobs() -> Iterator[Job]:
    candidates = grid(PRODUCT, (128, 128, 64, 8, 3, 1), (64, 128, 64, 8, 3, 4), (64, 64, 64, 4, 3, 4))
    for _, cin, cout, size, stride in shapes.convolutions():

        def make(path: str, cin: int = cin, cout: int = cout, size: int = size, stride: int = stride) -> Any:
            torch.backends.cudnn.benchmark = True  # the rival takes its fastest algorithm
            s = spikes(4, 32, size, size, cin).to(HALF)
            w = torch.randn(cout, 3, 3, cin, device="cuda", dtype=HALF) / (9 * cin) ** 0.5
            b = torch.randn(cout, device="cuda") * 0.1
            return lambda: spike_conv_lif(s, w, bias=b, padding=1, stride=stride, path=path, form="same")

        shape = torch.zeros((4, 32, size, size, cin), device="meta", dtype=HALF)
        key = conv_key(shape, torch.zeros((cout, 3, 3, cin), device="meta", dtype=HALF), stride)
        yield Job(
            "spike_conv_lif",
            key,
            candidates,
            lambda make=make: make("fused"),
            lambda make=make: make("conv"),
            ("fused", "conv"),
        )


def depthwise_jobs() -> Iterator[Job]:
    names = ("tall", "wide", "cols", "num_warps")
    three = grid(names, (7, 4, 64, 4), (7, 8, 64, 4), (14, 4, 64, 4), (7, 4, 128, 4))
    # A candidate of 7 x 7 takes many seconds to compile.
    seven = grid(names, (14, 4, 32, 4), (14, 4, 32, 2), (14, 8, 32, 4), (7, 8, 32, 4))
    listed = [(7, width, across, HALF, seven) for width, across in ((96, 112), (192, 56))]
    listed += [(7, 96, 112, torch.int8, seven[:3])]
    listed += [(3, width, 14, HALF, three) for width in (384, 1152, 480, 1440)]
    for kernel, width, across, kind, candidates in listed:

        def work(kernel: int = kernel, width: int = width, across: int = across, kind: Any = kind) -> Any:
            x = spikes(128, across, across, width).to(kind)
            w = torch.randn(kernel, kernel, width, device="cuda", dtype=HALF)
            return lambda: depthwise(x, w, padding=kernel // 2, path="tile")

        yield Job("depthwise", (kernel, across, width, kind.itemsize), candidates, work)


def image_jobs() -> Iterator[Job]:
    """Depthwise convolutions of exact mobilenet_v2 at batch 32: numbers as float16, in and out."""
    names = ("tall", "wide", "cols", "num_warps")
    rows = [(7, 4, 64, 4), (7, 8, 64, 4), (7, 8, 64, 2), (7, 8, 32, 2), (14, 8, 32, 2), (14, 4, 64, 2), (7, 4, 64, 2)]
    candidates = grid(names, *rows, (4, 8, 64, 2), (7, 16, 32, 4), (7, 4, 128, 4), (7, 4, 32, 1))
    listed = ((32, 112, 1), (96, 112, 2), (144, 56, 1), (144, 56, 2), (192, 28, 1), (192, 28, 2), (384, 14, 1))
    for width, across, stride in (*listed, (576, 14, 1), (576, 14, 2), (960, 7, 1)):

        def work(width: int = width, across: int = across, stride: int = stride) -> Any:
            x = torch.randint(0, 193, (32, across, across, width), device="cuda").to(HALF)
            w = torch.randint(-127, 128, (3, 3, width), device="cuda").to(torch.int8)
            given: dict[str, Any] = {"scale": torch.full((width,), 2.0**-12, device="cuda"), "grid": 2.0**-5}
            given |= {"low": 0.0, "high": 6.0, "halves": True, "padding": 1, "stride": stride}
            return lambda: depthwise(x, w, **given)

        yield Job("depthwise", (3, across, width, 2) + (stride,) * (stride > 1), candidates, work, exact=True)


def dots_jobs() -> Iterator[Job]:
    """Depthwise convolutions of int8 by int8; the bits of every candidate are checked against the definition."""
    many = product(wide=[8, 14], segment=[28, 56, 112], ahead=[0, 1])
    few = product(wide=[7, 14], segment=[4, 7, 14, 28], ahead=[0, 1])
    for kernel, width, across in ((7, 96, 112), (7, 192, 56), (7, 384, 28), (3, 384, 14), (3, 480, 14)):
        for samples, candidates in ((128, many), (4, few)):
            key = dots_key(torch.empty(samples, across, across, width, device="cuda", dtype=torch.int8), kernel)

            def work(kernel: int = kernel, width: int = width, across: int = across, samples: int = samples) -> Any:
                x = spikes(samples, across, across, width)
                w = torch.randint(-127, 128, (kernel, kernel, width), device="cuda", dtype=torch.int8)
                scale = torch.rand(width, device="cuda") / 1024
                return lambda: depthwise(x, w, scale, padding=kernel // 2, scale=scale, grid=0.25, path="dots")

            yield Job("depthwise_dots", key, candidates, work, exact=True)


def gemv_jobs() -> Iterator[Job]:
    names = ("cols", "block_k", "programs", "num_warps", "num_stages")
    candidates = grid(
        names,
        (128, 64, 528, 4, 3),
        (128, 64, 1056, 4, 3),
        (128, 64, 2112, 4, 3),
        (256, 32, 1056, 4, 3),
        (128, 128, 1056, 4, 3),
        (128, 32, 1056, 2, 3),
    )
    for inner, cols in ((512, 2048), (4096, 4096), (4096, 16384), (25088, 4096)):
        for kind in (BRAIN, torch.int8):

            def work(inner: int = inner, cols: int = cols, kind: Any = kind) -> Callable[[], Any]:
                s = spikes(4, 1, inner, rate=0.05)
                w = torch.randn(inner, cols, device="cuda", dtype=BRAIN)
                w = w.mul(30).clamp(-127, 127).to(kind)
                return lambda: spike_gemv_lif(s, w, path="gather")

            yield Job("spike_gemv_lif", (4, inner, cols, str(kind).removeprefix("torch.")), candidates, work)


def rest_jobs() -> Iterator[Job]:
    blocks = product(block=[32, 64, 128], num_warps=[4])
    make = lambda: spikes(4, 32 * 56 * 56, 256)  # noqa: E731

    def packing() -> Callable[[], Any]:
        x = make().to(BRAIN)
        return lambda: pack(x)

    def unpacking() -> Callable[[], Any]:
        words = pack(make())
        return lambda: unpack(words, 256, BRAIN)

    def counting() -> Callable[[], Any]:
        words = pack(make())
        return lambda: torch.ops.neurokit_kernels.spike_counts(words, 256)

    yield Job("pack", (2,), blocks, packing)
    yield Job("unpack", (2,), blocks, unpacking)
    yield Job("spike_stats", (8,), product(tile=[256, 512], iterations=[8, 16], num_warps=[4]), counting)


def sparse_jobs() -> Iterator[Job]:
    """Attention to listed blocks and keys, bf16, 32 heads on 8 of width 128; one query a block has 32 heads on 2."""
    for block_q, block_k in ((128, 128), (64, 64)):
        tiles = [tile for tile in (64, 128) if tile <= block_k]
        wide = product(rows=[128], tile=tiles, num_warps=[8], num_stages=[2, 3, 4], ahead=[0, 1])
        narrow = product(rows=[64], tile=[64], num_warps=[4], num_stages=[3, 4], ahead=[1])
        work = functools.partial(_listed, 32768, 8, block_q, block_k)
        yield Job("block_sparse_attention", (block_q, block_k, 128, 2), wide + narrow, work, close=True)
    for block in (64, 16):
        alone = product(rows=[16], tile=[32, 64], num_warps=[2, 4], num_stages=[2, 3, 4], ahead=[0])
        work = functools.partial(_listed, 16384, 2, 1, block)
        yield Job("block_sparse_attention", (1, block, 128, 2), alone, work, close=True)
    few = grid(("tile", "programs"), (64, 2), (64, 4), (128, 2), (128, 4), (32, 4))
    yield Job("sparse_decode", (32, 8, 128, 1), few, _decoded, close=True)


def _listed(length: int, groups: int, block_q: int, block_k: int) -> Callable[[], Any]:
    """Makes attention to a tenth of the blocks, or to 16 blocks a query."""
    q, k, v = (torch.randn(1, heads, length, 128, device="cuda", dtype=BRAIN) for heads in (32, groups, groups))
    if block_q > 1:
        index = random_index(1, groups, length, length, block_q, block_k, share=0.1, device=torch.device("cuda"))
    else:
        own = torch.arange(length, device="cuda")[:, None] // block_k
        idx = (own - torch.arange(16, device="cuda").flip(0)).clamp(min=0).to(torch.int32).expand(1, groups, -1, -1)
        num = torch.full(idx.shape[:3], 16, dtype=torch.int32, device="cuda")
        index = BlockIndex(num, idx.contiguous(), num * 0, idx[..., :1] * 0, length, length, 1, block_k)
    return lambda: block_sparse_attention(q, k, v, index)[0]


def _decoded() -> Callable[[], Any]:
    """Makes a step over an eighth of 32,768 keys."""
    q = torch.randn(1, 32, 128, device="cuda", dtype=BRAIN)
    k, v = (torch.randn(1, 8, 32768, 128, device="cuda", dtype=BRAIN) for _ in range(2))
    idx = torch.rand(1, 8, 1, 32768, device="cuda").argsort(-1)[..., :4096].sort(-1).values
    keys = TokenSet(idx, torch.full((1, 8, 1), 4096, dtype=torch.int32, device="cuda"), 1, 32768)
    return lambda: sparse_decode(q, k, v, keys)[0]


PARTS: dict[str, Callable[[], Iterator[Job]]] = {
    "linear": linear_jobs,
    "attention": attention_jobs,
    "gemv": gemv_jobs,
    "convolution": convolution_jobs,
    "depthwise": depthwise_jobs,
    "dots": dots_jobs,
    "images": image_jobs,
    "lif": lif_jobs,
    "rest": rest_jobs,
    "sparse": sparse_jobs,
}
