"""Every kernel compiles for the GPUs it claims, on a machine that has none: Triton brings its assembler."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neurokit.attention import BlockIndex, TokenSet
from neurokit.attention.patterns.hip import HiP
from neurokit.attention.rescale import Ratio
from neurokit.kernels import (
    block_sparse_attention,
    depthwise,
    estimate_blocks,
    gate_lif,
    lif,
    pack,
    pool_lif,
    rescale_keys,
    sdsa_lif,
    search_blocks,
    select_blocks,
    sparse_decode,
    spike_conv_lif,
    spike_gemv_lif,
    spike_linear_lif,
    spike_stats,
)
from neurokit.kernels._compat import INTERPRET

pytestmark = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")


def calls():
    half = torch.float16
    x = torch.zeros(4, 64, 64, dtype=torch.bfloat16)
    s8 = torch.zeros(4, 64, 64, dtype=torch.int8)
    q = torch.zeros(4, 1, 49, 128, dtype=half)
    weight = torch.zeros(64, 64, dtype=half)
    listed = BlockIndex.from_blocks(torch.ones(1, 2, 2, 2, dtype=torch.bool), 256, 256, 128, 128)
    single = BlockIndex.from_blocks(torch.ones(1, 2, 32, 8, dtype=torch.bool), 32, 128, 1, 16)
    one, keys = torch.zeros(1, 8, 128, dtype=half), torch.zeros(1, 2, 256, 128, dtype=half)
    some = TokenSet(torch.arange(100).view(1, 1, 1, 100), torch.tensor([[[100]]], dtype=torch.int32), 1, 256)
    codes, row, block = s8[:1, None], torch.ones(1, 1, 64), torch.tensor([0], dtype=torch.int32)
    image, taps = q.view(4, 1, 7, 7, 128), torch.zeros(64, 3, 3, 128, dtype=half)
    levels: dict[str, Any] = {"grid": 0.125, "low": 0.0, "high": 6.0}
    return {
        "lif": lambda: lif(x, spikes="packed"),
        "pack": lambda: pack(x),
        "sdsa_lif": lambda: sdsa_lif(q, q, q, 2),
        "sdsa_lif one wide head": lambda: sdsa_lif(q, q, q, 1),
        "gate_lif": lambda: gate_lif(s8.view(4, 1, 64, 64), s8.view(4, 1, 64, 64), s8.view(4, 1, 64, 64)),
        "gate_lif over channels": lambda: gate_lif(q, q, over="channels", heads=2, want_gate=True),
        "pool_lif": lambda: pool_lif(
            q.float().view(4, 1, 7, 7, 128), (3, 3), stride=(2, 2), padding=(1, 1), want_current=True
        ),
        "spike_stats": lambda: spike_stats(torch.zeros(4, 9, 2, dtype=torch.int32), 64),
        "spike_linear_lif": lambda: spike_linear_lif(s8, weight, path="fused"),
        "spike_linear_lif int8": lambda: spike_linear_lif(s8, weight.to(torch.int8), path="fused"),
        "spike_conv_lif": lambda: spike_conv_lif(image, taps, path="fused"),
        "spike_conv_lif levels": lambda: spike_conv_lif(image, taps, form="levels16", whole=True, least=0.0, **levels),
        "spike_linear_lif levels": lambda: spike_linear_lif(
            s8, weight.to(torch.int8), path="fused", form="levels8", want_current=True, **levels
        ),
        "depthwise levels": lambda: depthwise(
            image[0], torch.zeros(3, 3, 128, dtype=torch.int8), stride=2, halves=True, **levels
        ),
        "depthwise": lambda: depthwise(image[0], torch.zeros(3, 3, 128, dtype=half), padding=1),
        "depthwise 7x7": lambda: depthwise(image[0], torch.zeros(7, 7, 128, dtype=half), padding=3, path="stream"),
        "depthwise dots": lambda: depthwise(
            image[0].to(torch.int8), torch.zeros(3, 3, 128, dtype=torch.int8), padding=1
        ),
        "block_sparse_attention": lambda: block_sparse_attention(
            one[:, :, None].repeat(1, 1, 256, 1), keys, keys, listed
        ),
        "block_sparse_attention one query a block": lambda: block_sparse_attention(
            one[:, :, None].repeat(1, 1, 32, 1), keys[:, :, :128], keys[:, :, :128], single
        ),
        "sparse_decode": lambda: sparse_decode(one, keys, keys, some),
        "estimate_blocks": lambda: estimate_blocks(
            codes, codes, row, row, row, row, torch.ones(1), block, block + 1, scale=1.0, block_k=32
        ),
        "select_blocks": lambda: select_blocks(one[:, :, None].repeat(1, 1, 64, 1), keys[:, :, :4], block=64, count=4),
        "search_blocks": lambda: search_blocks(
            one[:, :, None].repeat(1, 1, 256, 1), keys, HiP(count=128, block_q=64, block_k=16, window=64)
        ),
        "rescale_keys": lambda: rescale_keys(
            keys, torch.zeros(1, 2, 256), keys, keys, keys, torch.tensor([0, 3]), Ratio(4.0)
        ),
        "spike_gemv_lif": lambda: spike_gemv_lif(s8[:, :1], weight, path="gather"),
    }


# What has least room is asked of all in every run; another GPU takes the same text, and other tests assemble for it.
NEWER = ("lif", "sdsa_lif", "spike_linear_lif int8", "depthwise", "spike_conv_lif levels")


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        pytest.param(name, capability, marks=pytest.mark.slow if capability == 90 and name not in NEWER else ())
        for name in calls()
        for capability in (80, 90)
    ],
)
def test_compiles(name, capability, offline):
    with offline.capture(capability) as done:
        calls()[name]()
    assert len(done) == (2 if name in ("spike_gemv_lif", "sparse_decode") else 1)
    for launched in done:
        assert launched.count(r"\.target sm_" + str(capability)) == 1
        assert launched.binary.asm["cubin"]
        # The defaults must run where a program has least shared memory: 99 KiB (compute capability 8.6 and 8.9).
        assert capability > 80 or launched.binary.metadata.shared <= 99 * 1024


def test_affine_is_not_contracted(offline):
    """A fused multiply-add in the affine would round once where the reference rounds twice."""
    row = torch.zeros(64)
    with offline.capture(90) as done:
        lif(torch.zeros(4, 64, 64), scale=row, bias=row)
    assert done[0].count(r"mul\.rn\.f32") > 0


@pytest.mark.parametrize(
    ("batch", "kernel", "name"), [(16, 7, "stream"), (3, 7, "tile"), (16, 3, "tile"), (16, 9, "tile")]
)
def test_depthwise_streams_where_that_fills_the_gpu(batch, kernel, name, offline, monkeypatch):
    from neurokit.kernels.depthwise import op

    run = []
    monkeypatch.setattr(op, "_stream", lambda *args: run.append("stream"))
    monkeypatch.setattr(op, "_tile", lambda *args: run.append("tile"))
    with offline.capture(90):
        depthwise(torch.zeros(batch, 7, 7, 32), torch.zeros(kernel, kernel, 32), padding=kernel // 2)
    assert run == [name]


@pytest.mark.parametrize("kernel", [3, 7])
def test_depthwise_of_int8_by_int8_takes_four_products_at_once(kernel, offline, monkeypatch):
    from neurokit.kernels.depthwise import op

    run = []
    monkeypatch.setattr(op, "_dots", lambda *args: run.append("dots"))
    taps = torch.zeros(kernel, kernel, 32, dtype=torch.int8)
    with offline.capture(90):
        depthwise(torch.zeros(1, 7, 7, 32, dtype=torch.int8), taps, padding=kernel // 2)
    assert run == ["dots"]


@pytest.mark.parametrize(
    ("batch", "size", "processors", "found"),
    [
        (128, 112, 132, (True, {"wide": 14, "segment": 112, "ahead": 0})),
        (4, 112, 132, (False, {"wide": 14, "segment": 7, "ahead": 1})),
        (70, 56, 132, (False, {"wide": 14, "segment": 28, "ahead": 1})),
        (4, 16, 1, (True, {"wide": 8, "segment": 16, "ahead": 0})),
        (1, 5, 132, (False, {"wide": 8, "segment": 5, "ahead": 1})),
    ],
)
def test_dots_cuts_columns_until_the_gpu_is_full(batch, size, processors, found, monkeypatch):
    from neurokit.kernels.depthwise import op

    monkeypatch.setattr(op.config, "processors", lambda device: processors)
    assert op.dots_default(torch.empty(batch, size, size, 96, device="meta")) == found


def test_lif_loads_whole_vectors(offline):
    with offline.capture(90) as done:
        lif(torch.zeros(4, 64, 64, dtype=torch.bfloat16), spikes="packed", want_v=False)
    assert done[0].count(r"ld\.global[^\n]*v4\.b32") == 4
