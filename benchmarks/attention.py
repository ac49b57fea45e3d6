"""Measures the kernels of sparse attention beside dense attention and FlexAttention on the same index, parity first.

    python benchmarks/attention.py --out benchmarks/results/attention-h200.json [--limit 420] [--lengths 8192 32768]
    python benchmarks/attention.py --parity-only [--kernel block_sparse_attention] [--processes 8]
    python benchmarks/attention.py --no-parity --only sparse decode

Every case and every row is printed as it ends. bfloat16, 32 heads on 8, width 128, causal. Every figure is a median of
CUDA-graph replays (benchmarks/gpu_timing.py) of the kernel with a given index; what selects blocks is timed on rows of
its own. Compiling is done before, has a bound of its own, and its seconds stand beside. Density is the share of causal
blocks.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from gpu_timing import graph_time

from neurokit.attention import BlockIndex, TokenSet
from neurokit.kernels import block_sparse_attention, config, estimate_blocks, sparse_decode
from neurokit.kernels.estimate_blocks.examples import arguments

HEADS, GROUPS, WIDTH = 32, 8, 128
COMPILING = 60.0  # seconds that one form may take to compile
#: (128, 128, 8, 2, 0) was best on an H100 before the next block's number could be loaded ahead.
TUNED = [
    {"rows": rows, "tile": tile, "num_warps": warps, "num_stages": stages, "ahead": ahead}
    for rows, tile, warps, stages, ahead in (
        (128, 128, 8, 2, 1),
        (128, 128, 8, 2, 0),
        (128, 64, 8, 2, 1),
        (128, 64, 8, 3, 1),
        (128, 64, 8, 4, 1),
        (128, 128, 8, 3, 1),
    )
]


class TooLongError(Exception):
    """Something took longer than it may."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Ends what is inside, at the next line of Python, by `TooLongError`."""

    def ring(*_: Any) -> None:
        raise TooLongError(f"longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Log:
    """Rows of results, written after each one."""

    def __init__(self, path: Path, limit: float) -> None:
        self.path, self.end = path, time.monotonic() + limit
        self.data: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": []}

    def add(self, **row: Any) -> None:
        """Adds a row."""
        self.data["rows"].append(row)
        self.write()
        print(row, flush=True)

    def write(self) -> None:
        """Writes what there is."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.data, indent=1), encoding="utf-8")

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self.end - time.monotonic()


def timed(work: Callable[[], Any]) -> float | str:
    """Returns milliseconds, or why there are none."""
    try:
        with bounded(COMPILING):
            work()
        return graph_time(work, replays=5) * 1e3
    except Exception as error:  # an opponent that does not run is a row that says so
        torch.cuda.synchronize()
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"


def proven(log: Log, names: tuple[str, ...], seconds: float, processes: int) -> None:
    """Compares the kernels with their definitions, and prints each case as it ends."""
    from attention_parity import parity

    found = []
    for row in parity(names, seconds, processes):
        found.append(row)
        log.data["parity"] = found
        log.write()
        print("parity", "WRONG" if row["fault"] else "right", row, flush=True)
    wrong = [row["case"] for row in found if row["fault"]]
    print(f"parity: {len(found)} cases, {len(wrong)} wrong or not ended: {wrong}", flush=True)


def tensors(length: int, new: int | None = None) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator(device="cuda").manual_seed(length)

    def drawn(heads: int, tokens: int) -> torch.Tensor:
        return torch.randn(1, heads, tokens, WIDTH, generator=generator, device="cuda", dtype=torch.bfloat16)

    return drawn(HEADS, new or length), drawn(GROUPS, length), drawn(GROUPS, length)


def index_of(length: int, share: float, block_q: int, block_k: int) -> BlockIndex:
    generator = torch.Generator(device="cuda").manual_seed(1)
    shape = (1, GROUPS, -(-length // block_q), -(-length // block_k))
    table = torch.rand(shape, generator=generator, device="cuda") < share
    rows = torch.arange(shape[2], device="cuda") * block_q // block_k
    table.scatter_(3, rows.clamp(max=shape[3] - 1)[None, None, :, None].expand(1, GROUPS, -1, 1), True)
    return BlockIndex.from_blocks(table, length, length, block_q, block_k)


def blocks_of(index: BlockIndex) -> float:
    """Returns the listed blocks as a share of those on or below the diagonal."""
    reach = (torch.arange(index.num.shape[2], device="cuda") * index.block_q + index.block_q - 1) // index.block_k + 1
    return float((index.num + index.full_num).sum()) / float(reach.sum() * index.num.shape[1])


def flex(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, index: BlockIndex) -> Callable[[], Any]:
    from torch.nn.attention.flex_attention import flex_attention

    names = ("num", "idx", "full_num", "full_idx")
    wide = replace(index, **{name: getattr(index, name).repeat_interleave(HEADS // GROUPS, 1) for name in names})
    mask, run = wide.to_flex(), torch.compile(flex_attention, dynamic=False)
    return lambda: run(q, k, v, block_mask=mask, enable_gqa=True)


def against_flex(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, index: BlockIndex, out: torch.Tensor) -> Any:
    """Returns FlexAttention's time with the same index, the seconds of its compilation, and how far it is from ours."""
    try:
        start, other = time.monotonic(), flex(q, k, v, index)
        with bounded(COMPILING):
            off = float((other().float() - out.float()).abs().max())
        compiled = round(time.monotonic() - start, 1)
        return {"flex_ms": timed(other), "flex_compile_s": compiled, "largest_difference_from_flex": off}
    except Exception as error:
        return {"flex_ms": f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"}


def sparse(log: Log, lengths: list[int], tune: bool) -> None:
    """Times the kernel with an index, dense attention and FlexAttention."""
    best = TUNED[0]
    for at, length in enumerate(lengths):
        if log.left() < 60:
            return
        q, k, v = tensors(length)
        dense = timed(partial(F.scaled_dot_product_attention, q, k, v, is_causal=True, enable_gqa=True))
        for share in (0.1, 0.25):
            index = index_of(length, share, 128, 128)
            run = partial(block_sparse_attention, q, k, v, index)
            if tune and at == 0 and share == 0.1:
                times = {}
                for chosen in TUNED:
                    with config.override("block_sparse_attention", chosen):
                        times[json.dumps(chosen)] = timed(run)
                log.add(part="tuning", length=length, ms=times)
                good = {key: ms for key, ms in times.items() if isinstance(ms, float)}
                best = json.loads(min(good, key=good.get)) if good else best
            with config.override("block_sparse_attention", best):
                ours, out = timed(run), run()[0]
            row = {"part": "sparse", "length": length, "density": blocks_of(index), "sdpa_ms": dense, "ours_ms": ours}
            log.add(config=best, **row, **against_flex(q, k, v, index, out))
        torch.cuda.empty_cache()


def per_query(log: Log) -> None:
    """Times one query a block, SSA's form: 16 blocks of 16 and 16 of 64 keys."""
    for length, block in ((8192, 16), (32768, 16), (32768, 64)):
        q, k, v = tensors(length)
        rows = torch.arange(length, device="cuda") // block
        generator = torch.Generator(device="cuda").manual_seed(2)
        picked = (torch.rand(1, GROUPS, length, 16, generator=generator, device="cuda") * (rows[:, None] + 1)).long()
        picked[..., 0] = rows
        picked = picked.sort(-1).values
        new = torch.cat([torch.ones_like(picked[..., :1], dtype=torch.bool), picked.diff(dim=-1) > 0], -1)
        num = new.sum(-1).to(torch.int32)
        idx = picked.gather(-1, torch.sort((~new).int(), dim=-1, stable=True).indices).to(torch.int32)
        none = torch.zeros_like(num)
        index = BlockIndex(num, idx, none, idx[..., :1] * 0, length, length, 1, block)
        dense = timed(partial(F.scaled_dot_product_attention, q, k, v, is_causal=True, enable_gqa=True))
        times = {}
        for tile, warps in ((64, 4), (64, 2), (128, 4), (32, 2)):
            with config.override("block_sparse_attention", {"tile": tile, "num_warps": warps}):
                times[f"tile {tile} warps {warps}"] = timed(partial(block_sparse_attention, q, k, v, index))
        log.add(part="one query a block", length=length, block=block, sdpa_ms=dense, ours_ms=times)


def decode(log: Log) -> None:
    """Times a partial step of recycled attention, an eighth of the keys, and HiP's step, blocks of 64."""
    for length in (8192, 32768, 65536, 131072):
        q, k, v = tensors(length, 1)
        one = q[:, :, 0].contiguous()
        generator = torch.Generator(device="cuda").manual_seed(3)
        order = torch.rand(1, GROUPS, 1, length, generator=generator, device="cuda").argsort(-1)
        idx = order[..., : length // 8].sort(-1).values
        num = torch.full((1, GROUPS, 1), length // 8, dtype=torch.int32, device="cuda")
        keys = TokenSet(idx, num, 1, length)
        row: dict[str, Any] = {"part": "decode", "length": length, "keys": length // 8}
        row["sdpa_ms"] = timed(partial(F.scaled_dot_product_attention, q, k, v, enable_gqa=True))
        for tile, programs in ((64, 2), (64, 4), (128, 2), (32, 4)):
            with config.override("sparse_decode", {"tile": tile, "programs": programs}):
                row[f"ours_ms tile {tile} programs {programs}"] = timed(partial(sparse_decode, one, k, v, keys))
        log.add(**row)


def estimate(log: Log) -> None:
    """Times SALE's selection beside dense attention: given codes and the sums over sink and window."""
    for length in (8192, 32768, 65536):
        given = arguments(1, HEADS, GROUPS, length, length, WIDTH, 64, 32, torch.device("cuda"))
        q, k, v = tensors(length)
        dense = timed(partial(F.scaled_dot_product_attention, q, k, v, is_causal=True, enable_gqa=True))
        times = {}
        for tile, warps in ((128, 4), (128, 8), (64, 4), (256, 8)):
            with config.override("estimate_blocks", {"tile": tile, "num_warps": warps}):
                times[f"tile {tile} warps {warps}"] = timed(partial(estimate_blocks, *given, scale=WIDTH**-0.5))
        log.add(part="estimate", length=length, sdpa_ms=dense, ours_ms=times)
        torch.cuda.empty_cache()


PARTS = ("decode", "estimate", "one query a block", "sparse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("attention.json"))
    parser.add_argument("--limit", type=float, default=420.0, help="seconds after which nothing more is started")
    parser.add_argument("--lengths", type=int, nargs="*", default=[8192, 32768, 65536, 131072])
    parser.add_argument("--no-tune", action="store_true", help="take the default launch parameters")
    parser.add_argument("--parity-only", action="store_true", help="compare, and time nothing")
    parser.add_argument("--no-parity", action="store_true", help="time what was compared before")
    parser.add_argument("--parity-limit", type=float, default=150.0, help="seconds of comparing")
    parser.add_argument("--processes", type=int, default=8, help="cases that are compared at a time")
    parser.add_argument("--kernel", nargs="*", help="the kernels to compare; default is all")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help="what to time")
    given = parser.parse_args()
    # One form a length and index: beyond its limit of recompilations torch would run the dense form.
    torch._dynamo.config.recompile_limit = 64
    log = Log(given.out, given.limit)
    if not given.no_parity:
        from attention_parity import NAMES

        proven(log, tuple(given.kernel or NAMES), min(given.parity_limit, log.left()), given.processes)
    parts = {
        "decode": lambda: decode(log),
        "estimate": lambda: estimate(log),
        "one query a block": lambda: per_query(log),
        "sparse": lambda: sparse(log, given.lengths, not given.no_tune),
    }
    for name in () if given.parity_only else given.only:
        if log.left() > 30:
            parts[name]()


if __name__ == "__main__":
    main()
