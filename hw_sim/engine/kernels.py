"""The compiled loops of the event engine (numba): route events, advance neurons, list the spikes.

Layout: a population is rows x places in a row x channels, channels last. A task of `advance` owns one output row and
one block of channels through all time steps: its membranes stay in the cache, no two tasks write to the same memory,
and the result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# Neuron modes of `advance`.
CURRENT, INTEGRATE, LEAK, LEAK_WITH_INPUT = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def _flush(total, partial, shift):
    """Adds the narrow partial sums, brought to the target's grid, to the wide ones and clears them."""
    for i in range(total.size):
        total[i] += partial[i] << shift[i]
        partial[i] = 0


@njit(cache=True, nogil=True)
def _add_four(out, to, weight, a, b, c, d, start, length):
    """Adds four rows of weights at once: a quarter of the loads and stores of the partial sums."""
    for j in range(length):
        out[to + j] += (weight[a, start + j] + weight[b, start + j]) + (weight[c, start + j] + weight[d, start + j])


@njit(cache=True, nogil=True)
def _add_one(out, to, weight, a, start, length):
    """Adds one row of weights."""
    for j in range(length):
        out[to + j] += weight[a, start + j]


@njit(cache=True, nogil=True)
def _add_scaled(out, to, weight, a, start, length, factor):
    """Adds one row of weights times the value of a graded event."""
    for j in range(length):
        out[to + j] += factor * weight[a, start + j]


@njit(cache=True, nogil=True)
def _route_row(partial, total, shift, first, last, place, channel, value, graded, weight, spans, group_start, used,
               limit):  # fmt: skip
    """Adds what the events `first` to `last` of one input row send to one output row.

    Places in arrays are unsigned here: numba then needs no test for negative ones, and the loops become vector code;
    slices would cost more than the additions.

    Returns:
        Rows of weights added since the partial sums were last flushed.
    """
    span_to, span_from, span_length, span_count = spans
    grouped = group_start.size > 0
    e = first
    while e < last:
        x = place[e]
        four = not graded and not grouped and e + 3 < last and place[e + 3] == x  # events are sorted by place
        rows = 4 if four else 1
        if used + rows > limit:
            _flush(total, partial, shift)
            used = 0
        a = np.uint64(channel[e])
        offset = np.uint64(group_start[a]) if grouped else np.uint64(0)
        for s in range(span_count[x]):
            to = np.uint64(span_to[x, s]) + offset
            start, length = np.uint64(span_from[x, s]), np.uint64(span_length[x, s])
            if four:
                b, c, d = np.uint64(channel[e + 1]), np.uint64(channel[e + 2]), np.uint64(channel[e + 3])
                _add_four(partial, to, weight, a, b, c, d, start, length)
            elif graded:
                _add_scaled(partial, to, weight, a, start, length, value[e])
            else:
                _add_one(partial, to, weight, a, start, length)
        used += rows
        e += rows
    return used


@njit(cache=True, nogil=True)
def _step_neurons(total, v, spikes, threshold, reset, dynamics):
    """Advances the neurons of one task by one step; `total` is their current and is used up."""
    mode, numerator, shift, fraction, soft = dynamics
    if fraction:
        for i in range(v.size):
            total[i] = total[i] << fraction
    if mode == LEAK:
        for i in range(v.size):
            total[i] -= (numerator * (v[i] - reset[i])) >> shift
    elif mode == LEAK_WITH_INPUT:
        for i in range(v.size):
            total[i] = (numerator * (total[i] - (v[i] - reset[i]))) >> shift
    if soft:
        for i in range(v.size):
            u = v.dtype.type(v[i] + total[i])  # the narrow type, so that more neurons fit into one instruction
            spikes[i] = u >= threshold[i]
            v[i] = u - threshold[i] if u >= threshold[i] else u
    else:
        for i in range(v.size):
            u = v.dtype.type(v[i] + total[i])
            spikes[i] = u >= threshold[i]
            v[i] = reset[i] if u >= threshold[i] else u


@njit(cache=True, nogil=True)
def _never_alone(bias, threshold, reset, dynamics):
    """Returns whether neurons that receive nothing keep their membrane and do not spike."""
    if dynamics[0] != INTEGRATE or dynamics[4]:
        return False
    moved = 0
    for i in range(bias.size):
        moved += bias[i] != 0 or reset[i] >= threshold[i]
    return moved == 0


@njit(cache=True, nogil=True)
def _copy(out, values):
    for i in range(out.size):
        out[i] = values[i]


@njit(cache=True, nogil=True)
def _add_block(total, values, width, block, real, first, channels):
    """Adds one row of other currents to the sums of one block of channels."""
    for x in range(width):
        to, start = np.uint64(x * block), np.uint64(x * channels + first)
        for c in range(np.uint64(real)):
            total[to + c] += values[start + c]


@njit(cache=True, nogil=True)
def _store_block(out, values, width, block, real, first, channels):
    """Writes the values of one block of channels to one row."""
    if real == channels:
        _copy(out, values)
        return
    for x in range(width):
        to, start = np.uint64(x * channels + first), np.uint64(x * block)
        for c in range(np.uint64(real)):
            out[to + c] = values[start + c]


@njit(cache=True, nogil=True, parallel=True)
def advance(
    rows, place, channel, value, graded, weight, geometry, spans, taps, group_start, narrow, limit, shift, bias, addend,
    threshold, reset, dynamics, currents, spikes, events,
):  # fmt: skip
    """Computes one population from events, through all time steps.

    Args:
        rows: Where the events of each step and input row begin, and the end, `[T, R_in + 1]`.
        place: Place of each event in its row, ascending in a row, `[E]`.
        channel: Channel of each event, `[E]`.
        value: Value of each event where `graded`, `[E]`.
        graded: Whether events carry values (multiply) or not (add).
        weight: `[blocks, kernel rows, C_in, taps x channels of a block]`.
        geometry: Stride, padding and dilation across rows; output places; output channels.
        spans: Stretches of one input place: start in the output row, start in the weights, length; and how many.
        taps: Taps that reach the output from each input place, `[W_in]`.
        group_start: First output channel of the group of each input channel; empty for one group.
        narrow: Empty, of the type of the partial sums.
        limit: Rows of weights that a partial sum takes before it could overflow.
        shift: Left shift onto the target's grid, `[blocks, width x channels of a block]`.
        bias: `[1 or R_out, blocks, width x channels of a block]`, of the type of the sums.
        addend: Currents from elsewhere, `[T, R_out, width x channels]`, or empty.
        threshold: Scaled by the fraction bits, of the same form as `bias`.
        reset: Like `threshold`; also the value to start from.
        dynamics: Mode, leak numerator, leak shift, fraction bits, 1 for a soft reset.
        currents: Receives the currents in mode CURRENT, `[T, R_out, width x channels]`.
        spikes: Receives 0 or 1 in the other modes, of the same shape.
        events: Receives the weight rows x taps crossed by each task in each step, `[tasks, T]`.
    """
    stride, padding, dilation, width, channels = geometry
    blocks, kernel = weight.shape[0], weight.shape[1]
    block = bias.shape[2] // width
    for task in prange(events.shape[0]):
        out_row, b = task // blocks, task % blocks
        real = min(block, channels - b * block)
        row_bias = bias[out_row % bias.shape[0], b]
        row_threshold = threshold[out_row % threshold.shape[0], b]
        row_reset = reset[out_row % reset.shape[0], b]
        partial = np.zeros(width * block, narrow.dtype)
        total = np.zeros(width * block, bias.dtype)
        v = row_reset.copy()
        spiked = np.zeros(width * block, np.uint8)
        idle = not addend.size and _never_alone(row_bias, row_threshold, row_reset, dynamics)
        for t in range(rows.shape[0]):
            _copy(total, row_bias)
            used, crossed, arrived = 0, 0, 0
            for k in range(kernel):
                row = out_row * stride - padding + k * dilation
                if row < 0 or row >= rows.shape[1] - 1:
                    continue
                first, last = rows[t, row], rows[t, row + 1]
                arrived += last - first
                used = _route_row(partial, total, shift[b], first, last, place, channel, value, graded, weight[b, k],
                                  spans, group_start, used, limit)  # fmt: skip
                for e in range(first, last):
                    crossed += taps[place[e]]
            events[task, t] = crossed
            if idle and arrived == 0:
                spiked[:] = 0
                _store_block(spikes[t, out_row], spiked, width, block, real, b * block, channels)
                continue
            if used:
                _flush(total, partial, shift[b])
            if addend.size:
                _add_block(total, addend[t, out_row], width, block, real, b * block, channels)
            if dynamics[0] == CURRENT:
                _store_block(currents[t, out_row], total, width, block, real, b * block, channels)
            else:
                _step_neurons(total, v, spiked, row_threshold, row_reset, dynamics)
                _store_block(spikes[t, out_row], spiked, width, block, real, b * block, channels)


@njit(cache=True, nogil=True, parallel=True)
def _count_rows(values, rows):
    """Counts the values other than zero in each row, `[T, R, n]` to `rows` `[T, R + 1]` (not yet summed up)."""
    steps, count, size = values.shape
    for task in prange(steps * count):
        t, r = task // count, task % count
        found = 0
        for i in range(size):
            found += values[t, r, i] != 0
        rows[t, r + 1] = found


@njit(cache=True, nogil=True)
def _fill_stretch(values, start, stop, channels, place, channel, value, graded, e):
    """Writes the events of `values[start:stop]` from number `e` on and returns the next number."""
    for i in range(start, stop):
        if values[i]:
            place[e] = i // channels
            channel[e] = i % channels
            if graded:
                value[e] = values[i]
            e += 1
    return e


@njit(cache=True, nogil=True, parallel=True)
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
            if words[t, r, w]:
                e = _fill_stretch(values[t, r], 8 * w, 8 * w + 8, channels, place, channel, value, graded, e)


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
    rows = np.zeros((steps, count + 1), np.int64)
    _count_rows(values, rows)
    np.cumsum(rows, axis=1, out=rows)
    ends = np.cumsum(rows[:, -1])
    rows[1:] += ends[:-1, None]
    total = int(ends[-1])
    place, channel = np.empty(total, np.int32), np.empty(total, np.int32)
    value = np.empty(total if graded else 0, values.dtype if graded else np.int32)
    by_eights = values.itemsize == 1 and size % 8 == 0
    words = values.view(np.uint64) if by_eights else np.empty((0, 0, 0), np.uint64)
    _fill_rows(values, words, channels, rows, place, channel, value, graded)
    return rows, place, channel, value


@njit(cache=True, nogil=True, parallel=True)
def channels_last(values, out):
    """Moves spikes `[T, channels, positions]` to `out` `[T, positions, channels]`, which holds zeros."""
    steps, channels, positions = values.shape
    for t in prange(steps):
        for c in range(channels):
            for i in range(positions):
                if values[t, c, i]:
                    out[t, i, c] = 1


@njit(cache=True, nogil=True, parallel=True)
def pack_events(rows, place, channel, width, channels, channels_first, bits):
    """Sets the bit of each event in `bits` `[T, ceil(N / 8)]`, which holds zeros, as numpy packs bits."""
    for t in prange(rows.shape[0]):
        count = rows.shape[1] - 1
        for r in range(count):
            for e in range(rows[t, r], rows[t, r + 1]):
                position = r * width + place[e]
                n = channel[e] * count * width + position if channels_first else position * channels + channel[e]
                bits[t, n >> 3] |= np.uint8(128 >> (n & 7))


@njit(cache=True, nogil=True, parallel=True)
def integrate(current, threshold, reset, dynamics, spikes):
    """Advances neurons that receive nothing but currents `[T, N]`; `current` is used up."""
    steps, size = current.shape
    chunk = 4096
    for task in prange((size + chunk - 1) // chunk):
        a, b = task * chunk, min(size, (task + 1) * chunk)
        v = reset[a:b].copy()
        for t in range(steps):
            _step_neurons(current[t, a:b], v, spikes[t, a:b], threshold[a:b], reset[a:b], dynamics)


@njit(cache=True, nogil=True, parallel=True)
def multiply(left, right, out):
    """Activation times activation: `out[n, i, :] += left[n, i, k] * right[n, k, :]` for every left != 0.

    Args:
        left: `[T x b, rows, inner]`; its zeros are skipped.
        right: `[T x b, inner, columns]`.
        out: `[T x b, rows, columns]`, zero.
    """
    columns = np.uint64(right.shape[2])
    zero = np.uint64(0)
    for n in prange(left.shape[0]):
        terms = right[n]
        for i in range(left.shape[1]):
            total = out[n, i]
            for k in range(left.shape[2]):
                if left[n, i, k]:
                    _add_scaled(total, zero, terms, np.uint64(k), zero, columns, left[n, i, k])
