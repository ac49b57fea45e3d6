"""Triton kernel of `spike_stats`: counts the bits of each channel eight at a time."""

import triton
import triton.language as tl


@triton.jit
def spike_counts_kernel(
    words, counts, rows, width, channels, ITERATIONS: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr
):
    """Adds the bits of ITERATIONS x ROWS rows.

    A mask of every eighth bit makes four byte-wide counters of a word,
    which hold up to 255 rows; the counters are widened to 16 bits before they are added across rows.
    """
    t = tl.program_id(2).to(tl.int64)
    word = tl.program_id(1) * WORDS + tl.arange(0, WORDS)
    shift = tl.arange(0, 8)
    bytes_ = tl.zeros((ROWS, WORDS, 8), tl.int32)
    for i in range(ITERATIONS):
        row = (tl.program_id(0).to(tl.int64) * ITERATIONS + i) * ROWS + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & (word < width)[None, :]
        w = tl.load(words + (t * rows + row)[:, None] * width + word[None, :], mask=mask, other=0)
        bytes_ += (w[:, :, None] >> shift[None, None, :]) & 0x01010101
    even = tl.sum(bytes_ & 0x00FF00FF, axis=0)
    odd = tl.sum((bytes_ >> 8) & 0x00FF00FF, axis=0)
    first = word[:, None] * 32 + shift[None, :]
    at = counts + t * channels + first
    live = (word < width)[:, None]
    tl.atomic_add(at, even & 0xFFFF, mask=live & (first < channels))
    tl.atomic_add(at + 8, odd & 0xFFFF, mask=live & (first + 8 < channels))
    tl.atomic_add(at + 16, (even >> 16) & 0xFFFF, mask=live & (first + 16 < channels))
    tl.atomic_add(at + 24, (odd >> 16) & 0xFFFF, mask=live & (first + 24 < channels))
