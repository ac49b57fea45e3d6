"""HiP on a GPU: its search by a kernel, attention to what it finds, and one token's step, beside dense attention."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from attention import GROUPS, HEADS, WIDTH, Log, tensors

from kernel_parts.timed import dense, timed
from neurokit.attention import Call, attend, pattern
from neurokit.attention.patterns.hip import HiP
from neurokit.kernels import block_sparse_attention, config, search_blocks, sparse_decode

SEARCHES = tuple(
    {"tile": tile, "num_warps": warps, "num_stages": stages}
    for tile, warps, stages in ((128, 4, 2), (64, 4, 3), (128, 4, 3), (64, 4, 2), (128, 8, 2))
)


def hip(log: Log) -> None:
    """HiP's search by the kernel `search_blocks`, attention to what it finds, and both in one new token's step."""
    chosen = pattern("hip", count=1024, block_q=64, block_k=32, window=64)
    assert isinstance(chosen, HiP)
    _hip_parity(log, chosen)
    for length in (65536, 8192, 32768, 131072):
        if log.left() < 20:
            return
        _hip_prompt(log, chosen, length)
        _hip_step(log, chosen, length)
        torch.cuda.empty_cache()


def _hip_parity(log: Log, chosen: HiP, length: int = 8192) -> None:
    """Whole numbers give the definition's tables, each entry; of random ones the share of lists that differ is told."""
    from neurokit.kernels.search_blocks.examples import arguments

    q, k = arguments(1, HEADS, GROUPS, length, length, WIDTH, torch.device("cuda"), torch.bfloat16)
    own, right = search_blocks(q, k, chosen), chosen.select(Call(q.float(), k.float(), k))
    row: dict[str, Any] = {
        "part": "hip, parity",
        "length": length,
        "equal": bool(torch.equal(own.blocks(), right.blocks())),
    }
    q, k, v = tensors(length)
    own, right = search_blocks(q, k, chosen), chosen.select(Call(q.float(), k.float(), k))
    row["lists_that_differ_on_random_keys"] = float((own.blocks() != right.blocks()).any(-1).float().mean())
    last = slice(length - 64, length)
    seen = own.blocks()[:, :, -1:].repeat_interleave(64, 2).repeat_interleave(chosen.block_k, 3)
    exact = attend(q[:, :, last].float(), k.float(), v.float(), seen & Call(q[:, :, last], k, v).seen())[0]
    off = block_sparse_attention(q, k, v, own)[0][:, :, last].float() - exact
    log.add(**row, differs_from_definition_by=float(off.abs().max()))


def _hip_prompt(log: Log, chosen: HiP, length: int) -> None:
    q, k, v = tensors(length)
    index, times = search_blocks(q, k, chosen), {}
    for launch in SEARCHES if length == 65536 else SEARCHES[:2]:
        with config.override("search_blocks", launch):
            times[" ".join(f"{key} {x}" for key, x in launch.items())] = timed(partial(search_blocks, q, k, chosen))
    good = [ms for ms in times.values() if isinstance(ms, float)]
    row = {"part": "hip", "length": length, "keys": 1024, **dense(q, k, v)}
    row["ours_selecting_ms"] = min(good) if good else str(times)
    log.add(**row, ours_ms=timed(partial(block_sparse_attention, q, k, v, index)), selecting_by_launch_ms=times)


def _hip_step(log: Log, chosen: HiP, length: int) -> None:
    q, k, v = tensors(length, 1)
    one, index = q[:, :, 0].contiguous(), search_blocks(q, k, chosen)

    def both() -> Any:
        return sparse_decode(one, k, v, search_blocks(q, k, chosen))[0]

    exact = attend(q.float(), k.float(), v.float(), index.to_dense())[0][:, :, 0]
    row = {"part": "hip, one token", "length": length, "keys": 1024, **dense(q, k, v)}
    row["differs_from_definition_by"] = float((both().float() - exact).abs().max())
    row["ours_ms"] = timed(partial(sparse_decode, one, k, v, index))
    log.add(**row, ours_selecting_ms=timed(partial(search_blocks, q, k, chosen)), ours_with_selecting_ms=timed(both))
