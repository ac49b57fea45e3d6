"""Compiled lists of events: from dense values to places and channels, and to packed bits."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from neurokit.hw_sim.engine.kernels.compiled import on_threads

# Spikes are bytes of 0 or 1: this multiple of eight of them has their sum in its highest byte.
_SUM_OF_BYTES = np.uint64(0x0101010101010101)
_HIGHEST = np.uint64(56)
_ONE = np.uint64(1)


@on_threads
def _count_rows(values, words, rows):
    """Counts the values other than zero in each row, `[T, R, n]` to `rows` `[T, R + 1]` (not yet summed up)."""
    steps, count, size = values.shape
    for task in prange(steps * count):
        t, r = task // count, task % count
        found = 0
        if words.size:
            for w in range(size // 8):
                found += (words[t, r, w] * _SUM_OF_BYTES) >> _HIGHEST
        else:
            for i in range(size):
                found += values[t, r, i] != 0
        rows[t, r + 1] = found


@njit(cache=True, nogil=True)
def _fill_stretch(values, start, stop, channels, place, channel, value, graded, e):
    """Writes the events of `values[start:stop]` from number `e` on and returns the next number."""
    # Place and channel are counted along: a division for each value would cost more than the test.
    at = start // channels
    c = start - at * channels
    for i in range(start, stop):
        if values[i]:
            place[e] = at
            channel[e] = c
            if graded:
                value[e] = values[i]
            e += 1
        c += 1
        if c == channels:
            c = 0
            at += 1
    return e


@on_threads
def _fill_rows(values, words, channels, rows, place, channel, value, graded):
    """Writes place and channel (and value) of each value other than zero; `words` are the same bytes by eights."""
    steps, count, size = values.shape
    for task in prange(steps * count):
        t, r = task // count, task % count
        e = rows[t, r]
        if e == rows[t, r + 1]:
            continue
        if words.size == 0:
            _fill_stretch(values[t, r], 0, size, channels, place, channel, value, graded, e)
            continue
        for w in range(size // 8):
            left = words[t, r, w]
            if left:
                at = 8 * w // channels
                c = 8 * w - at * channels
            while left:  # one round a spike: its byte is the number of bytes below its bit
                below = (left & (~left + _ONE)) - _ONE
                i = np.int64(((below & _SUM_OF_BYTES) * _SUM_OF_BYTES) >> _HIGHEST)
                left &= left - _ONE
                x, k = at, c + i
                while k >= channels:  # a word of eight bytes may reach into the places that follow
                    k -= channels
                    x += 1
                place[e] = x
                channel[e] = k
                if graded:
                    value[e] = 1
                e += 1


def list_events(values: np.ndarray, channels: int, graded: bool) -> tuple[np.ndarray, ...]:
    """Returns the events of dense values.

    Args:
        values: `[T, R, places x channels]`.
        channels: Channels of a place.
        graded: Whether the values are wanted too.

    Returns:
        rows `[T, R + 1]`, place `[E]`, channel `[E]`, value `[E]` (empty unless graded).
    """
    values = np.ascontiguousarray(values)
    steps, count, size = values.shape
    by_eights = values.dtype == np.uint8 and size % 8 == 0  # spikes
    words = values.view(np.uint64) if by_eights else np.empty((0, 0, 0), np.uint64)
    rows = np.zeros((steps, count + 1), np.int64)
    _count_rows(values, words, rows)
    np.cumsum(rows, axis=1, out=rows)
    ends = np.cumsum(rows[:, -1])  # events of all steps lie one after the other
    rows[1:] += ends[:-1, None]
    total = int(ends[-1])
    place, channel = np.empty(total, np.int32), np.empty(total, np.int32)
    value = np.empty(total if graded else 0, values.dtype if graded else np.int32)
    _fill_rows(values, words, channels, rows, place, channel, value, graded)
    return rows, place, channel, value


@on_threads
def channels_last(values, out):
    """Moves spikes `[T, channels, positions]` to `out` `[T, positions, channels]`, which holds zeros."""
    steps, channels, positions = values.shape
    for t in prange(steps):
        for c in range(channels):
            for i in range(positions):
                if values[t, c, i]:
                    out[t, i, c] = 1


@on_threads
def pack_events(rows, place, channel, width, channels, channels_first, bits):
    """Sets the bit of each event in `bits` `[T, ceil(N / 8)]`, which holds zeros, as numpy packs bits."""
    for t in prange(rows.shape[0]):
        count = rows.shape[1] - 1
        for r in range(count):
            for e in range(rows[t, r], rows[t, r + 1]):
                position = r * width + place[e]
                n = channel[e] * count * width + position if channels_first else position * channels + channel[e]
                bits[t, n >> 3] |= np.uint8(128 >> (n & 7))
