"""Measures the kernels of sparse and linear attention beside other libraries', parity first.

    python benchmarks/attention_opponents.py --out benchmarks/results/attention-opponents.json [--limit 250]
    python benchmarks/attention_opponents.py --only lightning selection --limit 120

bfloat16, 32 heads, width 128, causal; the density stands beside each time, and so does the largest difference from our
own output or from the float32 definition. Opponents: every backend of SDPA, FlexAttention with BACKEND "TRITON" and
"FLASH", flashinfer's variable block-sparse wrapper, parallel_nsa, simple_gla and fused_recurrent of
flash-linear-attention. One that is not installed, or does not run, is a row with its reason. Selecting is timed apart
from attending, and both are given.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from attention import GROUPS, HEADS, WIDTH, Log, blocks_of, index_of, tensors
from kernel_parts.hip import hip
from kernel_parts.timed import compared, dense, eager_time, reason, timed

from neurokit.attention import BlockIndex, Call, attend, pattern
from neurokit.attention.fast_linear import lightning_attention
from neurokit.attention.mixers.lightning import transnormer_decay
from neurokit.kernels import block_sparse_attention, sparse_decode
from neurokit.kernels.attention_path.select import by_mean_key

LENGTHS = (8192, 32768, 65536, 131072)
BLOCK, COUNT, NSA_GROUPS = 64, 16, 2  # parallel_nsa takes groups of 16 query heads and more


def flex(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, index: BlockIndex, backend: str) -> Callable[[], Any]:
    """Returns FlexAttention over an index with one of its backends."""
    from dataclasses import replace

    from torch.nn.attention.flex_attention import flex_attention

    names = ("num", "idx", "full_num", "full_idx")
    wide = replace(index, **{name: getattr(index, name).repeat_interleave(HEADS // GROUPS, 1) for name in names})
    mask, run = wide.to_flex(), torch.compile(flex_attention, dynamic=False)
    return lambda: run(q, k, v, block_mask=mask, enable_gqa=True, kernel_options={"BACKEND": backend})


def flashinfer_run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, index: BlockIndex) -> Callable[[], Any]:
    """Returns flashinfer's variable block-sparse attention over an index; its plan is not timed.

    Its causal mask counts from the end of a row's list, which is the block of the row itself.
    """
    import flashinfer

    work = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    wrapper = flashinfer.VariableBlockSparseAttentionWrapper(work, backend="auto")
    table = index.blocks()[0]
    sizes = [
        torch.full((GROUPS, n), size, dtype=torch.int32, device="cuda")
        for n, size in zip(table.shape[1:], (index.block_q, index.block_k), strict=True)
    ]
    wrapper.plan(table, *sizes, HEADS, GROUPS, WIDTH, causal=True, q_data_type=torch.bfloat16)
    return lambda: wrapper.run(q[0], k[0], v[0])[None]


def blocks(log: Log, lengths: tuple[int, ...], with_flashinfer: bool) -> None:
    """Blocks of 128 x 128 given an index, and every library that takes one."""
    for length in lengths:
        q, k, v = tensors(length)
        base = {"part": "blocks", "length": length}
        if not with_flashinfer:
            base |= dense(q, k, v)
        for share in (0.1, 0.25):
            if log.left() < 25:
                return
            index = index_of(length, share, 128, 128)
            ours = partial(block_sparse_attention, q, k, v, index)
            wanted = ours()[0]
            row = base | {"density": blocks_of(index), "ours_ms": timed(ours)}
            if with_flashinfer:
                row |= _flashinfer(q, k, v, index, wanted)
            else:
                for backend in ("TRITON", "FLASH"):
                    row |= _opponent(flex, (q, k, v, index, backend), wanted, f"flex_{backend.lower()}")
            log.add(**row)
        torch.cuda.empty_cache()


def _opponent(make: Callable[..., Any], given: tuple[Any, ...], wanted: torch.Tensor, name: str) -> dict[str, Any]:
    try:
        work = make(*given)
    except Exception as error:
        return {f"{name}_ms": reason(error)}
    return compared(work, wanted, name)


def _flashinfer(*given: Any) -> dict[str, Any]:
    return _opponent(flashinfer_run, given[:4], given[4], "flashinfer")


def lightning(log: Log) -> None:
    """Linear attention with a decay a head: ours, and flash-linear-attention's two forms."""
    log_decay = transnormer_decay(HEADS, 1, 4)
    for length in LENGTHS:
        q, k, v = (x.repeat_interleave(HEADS // x.shape[1], 1) for x in tensors(length))
        first = [x.contiguous() for x in (q / WIDTH**0.5, k / WIDTH**0.5, v)]  # heads first, then tokens
        flat = [x.transpose(1, 2).contiguous() for x in first]  # tokens first, as projections and the library have them
        del q, k, v
        state = torch.zeros(1, HEADS, WIDTH, WIDTH, device="cuda")
        forms = {"ours": [x.transpose(1, 2) for x in flat], "ours_heads_first": first}
        ways = {name: partial(lightning_attention, *given, log_decay, state) for name, given in forms.items()}
        row: dict[str, Any] = {"part": "lightning", "length": length}
        if length == LENGTHS[0]:
            row |= _off_float64(ways, first, log_decay, state)
        try:
            from fla.ops.simple_gla import chunk_simple_gla, fused_recurrent_simple_gla

            gamma = torch.tensor(log_decay, device="cuda")
            same = {"initial_state": state, "output_final_state": True}
            chunk = partial(chunk_simple_gla, *flat, g_gamma=gamma, scale=1.0, **same)
            row["simple_gla_ms"] = timed(chunk)
            row |= {f"{name}_ms": timed(way) for name, way in ways.items()}
            row["simple_gla_again_ms"] = timed(chunk)
            row["differs_from_simple_gla_by"] = float((ways["ours"]()[0] - chunk()[0].transpose(1, 2)).abs().max())
            if length == LENGTHS[0] and log.left() > 90:
                row["fused_recurrent_ms"] = timed(partial(fused_recurrent_simple_gla, *flat, g_gamma=gamma, scale=1.0))
        except Exception as error:
            row["simple_gla_ms"] = reason(error)
            row |= {f"{name}_ms": timed(way) for name, way in ways.items()}
        log.add(**row)
        torch.cuda.empty_cache()


def _off_float64(ways: dict[str, Any], given: list[torch.Tensor], decay: Any, state: torch.Tensor) -> dict[str, float]:
    """Returns how far each form is from the definition in float64."""
    from neurokit.attention.mixers.lightning import Lightning

    exact = Lightning(decay).block(*(x.double() for x in given), state.double())[0]
    off = {f"{name}_differs_from_float64_by": float((way()[0] - exact).abs().max()) for name, way in ways.items()}
    return {**off, "largest_output": float(exact.abs().max())}


def by_query(log: Log) -> None:
    """SSA's form, one list a query, with and without selecting: 16 blocks of 64 keys, 32 heads on 2."""
    for length in (65536, 8192, 32768):
        if log.left() < 30:
            return
        generator = torch.Generator(device="cuda").manual_seed(length)
        q, k, v = (
            torch.randn(1, heads, length, WIDTH, generator=generator, device="cuda", dtype=torch.bfloat16)
            for heads in (HEADS, NSA_GROUPS, NSA_GROUPS)
        )
        choose = partial(by_mean_key, q, k, BLOCK, COUNT)
        index = choose()
        num, idx = index.num, index.idx
        ours = partial(block_sparse_attention, q, k, v, index)
        wanted = ours()[0]
        row: dict[str, Any] = {"part": "one query a block", "length": length, "block": BLOCK, "count": COUNT}
        row |= dense(q, k, v) | {"ours_ms": timed(ours), "ours_selecting_ms": timed(choose)}
        row["definition_selecting_ms"] = eager_time(partial(chosen_blocks, q, k))
        row["rows_that_differ_from_definition"] = _differing(chosen_blocks(q, k)[1], idx)
        row |= _opponent(nsa, (q, k, v, num, idx), wanted, "parallel_nsa")
        row |= _nsa_selecting(q, k)
        if length == 8192:
            last = slice(length - 64, length)
            table = torch.zeros(1, NSA_GROUPS, 64, length // BLOCK, dtype=torch.bool, device="cuda")
            live = torch.arange(COUNT, device="cuda") < num[:, :, last, None]
            table.scatter_(3, torch.where(live, idx[:, :, last], idx[:, :, last, :1]).long(), True)
            seen = Call(q[:, :, last], k, v).seen() & table.repeat_interleave(BLOCK, 3)
            exact = attend(q[:, :, last].float(), k.float(), v.float(), seen)[0]
            row["ours_differs_from_definition_by"] = float((wanted[:, :, last].float() - exact).abs().max())
        log.add(**row)
        torch.cuda.empty_cache()


def _differing(a: torch.Tensor, b: torch.Tensor) -> float:
    """Returns the share of queries whose sets differ: the definition's scores are rounded to bfloat16."""
    return float((a.sort(-1).values != b.sort(-1).values).any(-1).float().mean())


def chosen_blocks(q: torch.Tensor, k: torch.Tensor, step: int = 2048) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns SSA's lists of blocks by the registered pattern, some queries at a time; the work of plain torch."""
    length, ssa = q.shape[2], pattern("ssa", block=BLOCK, count=COUNT)
    nums, idxs = [], []
    for first in range(0, length, step):
        call = Call(q[:, :, first : first + step], k[:, :, : first + step], k[:, :, : first + step])
        table = ssa.blocks(call)
        order = table.to(torch.int8).topk(min(COUNT, table.shape[3]), sorted=False).indices
        there = table.gather(3, order)
        order = torch.where(there, order, table.shape[3]).sort(-1).values
        num = there.sum(-1).to(torch.int32)
        order = torch.where(order < table.shape[3], order, 0)
        nums.append(num)
        idxs.append(F.pad(order, (0, COUNT - order.shape[3])).to(torch.int32))
    return torch.cat(nums, 2), torch.cat(idxs, 2)


def nsa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num: torch.Tensor, idx: torch.Tensor) -> Callable[[], Any]:
    """Returns parallel_nsa over the same lists."""
    from fla.ops.nsa import parallel_nsa

    flat = [x.transpose(1, 2).contiguous() for x in (q, k, v)]
    lists, counts = idx.permute(0, 2, 1, 3).contiguous(), num.transpose(1, 2).contiguous()
    return lambda: parallel_nsa(*flat, block_indices=lists, block_counts=counts, block_size=BLOCK).transpose(1, 2)


def _nsa_selecting(q: torch.Tensor, k: torch.Tensor) -> dict[str, Any]:
    """Returns the time that flash-linear-attention takes to select as many blocks, by a rule of its own."""
    try:
        from fla.ops.nsa.parallel import parallel_nsa_topk
        from fla.ops.utils.pooling import mean_pooling

        flat = [x.transpose(1, 2).contiguous() for x in (q, k)]
        run = lambda: parallel_nsa_topk(  # noqa: E731
            flat[0], mean_pooling(flat[1], BLOCK), TK=k.shape[2], lse=None, block_counts=COUNT, block_size=BLOCK
        )
        return {"parallel_nsa_selecting_ms": timed(run)}
    except Exception as error:
        return {"parallel_nsa_selecting_ms": reason(error)}


def steps(log: Log) -> None:
    """One new token over the 2,048 keys of largest bias: dynamic mask, selecting included, beside gather and SDPA."""
    from neurokit.attention import TokenSet

    for length in LENGTHS:
        q, k, v = tensors(length, 1)
        bias = torch.randn(1, GROUPS, length, device="cuda")

        def select(bias: torch.Tensor = bias) -> torch.Tensor:
            return bias.topk(2048, sorted=False).indices.sort(-1).values

        def ours(q: Any = q, k: Any = k, v: Any = v, bias: Any = bias, length: int = length) -> torch.Tensor:
            num = torch.full((1, GROUPS, 1), 2048, dtype=torch.int32, device="cuda")
            chosen = TokenSet(select()[:, :, None], num, 1, length)
            return sparse_decode(q[:, :, 0], k, v, chosen, key_bias=bias)[0][:, :, None]

        def gather(q: Any = q, k: Any = k, v: Any = v, bias: Any = bias) -> torch.Tensor:
            kept = select()
            some = [x.gather(2, kept[..., None].expand(-1, -1, -1, WIDTH)) for x in (k, v)]
            mask = bias.gather(2, kept).repeat_interleave(HEADS // GROUPS, 1)[:, :, None].to(q.dtype)
            return F.scaled_dot_product_attention(q, *some, attn_mask=mask, enable_gqa=True)

        row = {"part": "dynamic mask, one token", "length": length, "keys": 2048, **dense(q, k, v)}
        row |= {"ours_with_selecting_ms": timed(ours), "selecting_ms": timed(select)}
        log.add(**row, **compared(gather, ours(), "gather_sdpa"))


def spiking(log: Log) -> None:
    """spiking_tnl on the GPU: the bits of its logits and counts beside those of the CPU, for 2,048 tokens."""
    from neurokit.loading import load

    spec = load("spiking_tnl")
    module = spec.build()
    ids = torch.randint(0, 256, (2, 2048), generator=torch.Generator().manual_seed(0))
    empty = [torch.zeros(2, *(int(size) for size in state.sizes)) for state in spec.states]
    with torch.no_grad():
        here = module(ids, *empty)
        there = module.cuda()(ids.cuda(), *(x.cuda() for x in empty))
    same = {name: bool(torch.equal(x, there[name].cpu())) for name, x in here.items()}
    log.add(part="spiking_tnl", tokens=2048, bits_equal_to_cpu=same)


def warm(what: str, count: int = 1) -> list[subprocess.Popen[bytes]]:
    """Starts to compile an opponent in processes of their own, which leave what they compiled in its cache."""
    command = [sys.executable, __file__, "--warm", what, "--share"]
    return [subprocess.Popen([*command, str(at), str(count)], stdout=subprocess.DEVNULL) for at in range(count)]


def warm_here(what: str, share: int, count: int) -> None:
    """Compiles flashinfer's kernel on a small problem, or this share of what flash-linear-attention tunes over."""
    if what == "flashinfer":
        q, k, v = tensors(1024)
        return flashinfer_run(q, k, v, index_of(1024, 0.3, 128, 128))()
    from triton.runtime.autotuner import Autotuner

    begin = Autotuner.__init__

    def some(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.configs = self.configs[share::count] or self.configs[:1]

    Autotuner.__init__ = some
    q, k, v = (torch.randn(1, HEADS, 8192, WIDTH, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    state, decay = torch.zeros(1, HEADS, WIDTH, WIDTH, device="cuda"), transnormer_decay(HEADS, 1, 4)
    lightning_attention(q, k, v, decay, state)
    lightning_attention(*(x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)), decay, state)
    return None


def ended(helpers: list[subprocess.Popen[bytes]], seconds: float) -> bool:
    """Waits for processes, ends those that take longer, and returns whether all ended well."""
    until = time.monotonic() + seconds
    for helper in helpers:
        try:
            helper.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            helper.kill()
    return all(helper.poll() == 0 for helper in helpers)


PARTS: dict[str, Callable[[Log], None]] = {
    "spiking": spiking,
    "steps": steps,
    "lightning": lightning,
    "blocks": partial(blocks, lengths=(65536, 8192, 32768, 131072), with_flashinfer=False),
    "selection": by_query,
    "hip": hip,
}


def main() -> None:
    """Runs all parts; every row is written as it ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("attention-opponents.json"))
    parser.add_argument("--limit", type=float, default=250.0, help="seconds after which nothing more is started")
    parser.add_argument("--warm", choices=("flashinfer", "lightning"), help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help="processes that compile what others tune over")
    parser.add_argument("--only", nargs="*", choices=[*PARTS, "flashinfer"], default=[*PARTS, "flashinfer"])
    given = parser.parse_args()
    torch._dynamo.config.recompile_limit = 64
    if given.warm:
        return warm_here(given.warm, *given.share)
    log = Log(given.out, given.limit)
    compiling = warm("flashinfer") if "flashinfer" in given.only else []
    if "lightning" in given.only and given.processes > 1:
        done = ended(warm("lightning", given.processes), 60)
        print(f"compiled for lightning after {given.limit - log.left():.0f} s, all of it: {done}", flush=True)
    for name in (name for name in PARTS if name in given.only):
        try:
            PARTS[name](log)
        except Exception as error:
            log.add(part=name, failed=reason(error))
        torch.cuda.empty_cache()
    if not compiling:
        return None
    if ended(compiling, max(log.left() - 30, 1)):
        blocks(log, (65536, 8192, 32768), True)
    else:
        log.add(part="blocks", flashinfer_ms=f"not compiled within {given.limit:.0f} s")
    return None


if __name__ == "__main__":
    main()
