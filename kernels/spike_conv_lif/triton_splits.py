"""Triton function for a sum whose parts are those of several programs."""

import triton
import triton.language as tl


@triton.jit
def joined(
    acc,
    partials,
    counters,
    tile,
    part,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    """The whole sum `[ROWS, LANES]` in the program that is the last to end, and whether this is the one.

    No program waits for another one. The last one leaves the counter at zero, as it was.
    """
    PART: tl.constexpr = ROWS * LANES
    at = tl.arange(0, ROWS)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    first = partials + tl.cast(tile, tl.int64) * (PARTS * PART)
    tl.store(first + part * PART + at, acc)
    # All threads have stored before the first of them counts, and it counts before any of them loads.
    tl.debug_barrier()
    ends = tl.atomic_add(counters + tile, 1, sem="acq_rel", scope="gpu") == PARTS - 1
    if ends:
        tl.store(counters + tile, 0)
        acc = tl.load(first + at, cache_modifier=".cg")
        for p in tl.static_range(1, PARTS):
            acc += tl.load(first + p * PART + at, cache_modifier=".cg")
    return acc, ends
