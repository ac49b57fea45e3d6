"""HiP's search against numbers of version 1.1, its recall on smooth keys, and its work."""

import math

import numpy as np
import pytest
import torch

from neurokit.attention import Call, pattern
from neurokit.attention.patterns.hip import HiP

from . import oracle

CASES = oracle.load("hip")["cases"]


def call_of(name):
    case = CASES[name]
    drawn = oracle.draw_all("hip", case)
    q, k = (x for x in drawn.values())
    if name.startswith("smooth"):
        w = np.hanning(35)[1:-1]
        w = w / np.sqrt((w**2).sum())
        k = np.stack([[np.convolve(k[n, :, d].astype(float), w, "same") for d in range(k.shape[2])] for n in range(4)])
        k = k.transpose(0, 2, 1).astype(np.float32)
    q, k = (torch.from_numpy(np.ascontiguousarray(x)).double()[None] for x in (q, k))
    c = case["config"]
    hip = HiP(c["mask_k"], c["block_size_q"], c["block_size_k"], c["sliding_window_size"])
    return case, hip, Call(q, k, k)


@pytest.mark.parametrize("name", CASES)
def test_indices_are_the_released_ones(name):
    case, hip, call = call_of(name)
    stored = case["outputs"]
    key = next(key for key in stored if key.startswith("indices"))
    table = hip.blocks(call)[0]
    for head, (rows, counts) in enumerate(zip(stored[key], stored["ks_[N][q block]"], strict=True)):
        for at, (row, count) in enumerate(zip(rows, counts, strict=True)):
            held = hip.candidates(at, call.new, call.length)
            ours = table[head, at].nonzero()[:, 0]
            ours = ours[ours < -(-held // hip.block_k)] * hip.block_k
            assert sorted(row[:count]) == ours.tolist(), (head, at)


def test_recall_on_smooth_keys_and_the_work_of_a_search():
    _, hip, call = call_of("smooth_keys_bk2_mk32")
    table, hits, total = hip.blocks(call)[0], 0, 0
    for at in range(8):
        blocks = hip.candidates(at, 256, 256) // 2
        rows = call.q[0, :, at * 32 : (at + 1) * 32][:, 1::2]
        scores = (rows @ call.k[0].transpose(-1, -2)).amax(1).unflatten(-1, (-1, 2)).amax(-1)[:, :blocks]
        best = scores.topk(min(16, blocks), -1).indices
        hits += int(table[:, at].gather(-1, best).sum())
        total += best.numel()
    assert hits / total >= 0.98
    for length in (1024, 4096, 16384):
        search = pattern("hip", count=512, window=64)
        last = search.candidates(length // 64 - 1, length, length)
        assert search.rounds(last) == math.ceil(math.log2(last / 512)) if last > 512 else True
        assert search.work(length, length) <= 512 * length * math.log2(length)
    assert search.work(16384, 16384) < 0.35 * 16384**2 / 2


def test_a_largest_length_is_asked_for_before_any_work():
    assert pattern("hip").obstacles("masked")
    assert not pattern("hip").obstacles("gathered", longest=1024)
