"""The compiled main loop of the event engine: routes events to output rows and advances the neurons there.

Layout: a population is rows x places in a row x channels, channels last. A task of `advance` owns one output row and
one block of channels through all time steps: its membranes stay in the cache, no two tasks write to the same memory,
and the result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from neurokit.hw_sim.engine.kernels.compiled import on_threads
from neurokit.hw_sim.engine.kernels.neurons import (
    CURRENT,
    add_block,
    copy,
    flush,
    never_alone,
    step_neurons,
    store_block,
)


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
def add_scaled(out, to, weight, a, start, length, factor):
    """Adds one row of weights times the value of a graded event."""
    for j in range(length):
        out[to + j] += factor * weight[a, start + j]


@njit(cache=True, nogil=True)
def _route_row(
    partial, total, shift, first, last, place, channel, value, graded, weight, spans, group_start, used, limit
):
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
        # So many rows cannot overflow the narrow type whatever their weights: no sum has to be tested.
        if used + rows > limit:
            flush(total, partial, shift)
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
                add_scaled(partial, to, weight, a, start, length, value[e])
            else:
                _add_one(partial, to, weight, a, start, length)
        used += rows
        e += rows
    return used


@on_threads
def advance(
    rows,
    place,
    channel,
    value,
    graded,
    weight,
    geometry,
    spans,
    taps,
    group_start,
    narrow,
    limit,
    shift,
    bias,
    addend,
    threshold,
    reset,
    start,
    dynamics,
    currents,
    spikes,
    events,
    still,
):
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
        reset: Like `threshold`.
        start: Like `threshold`: the membrane before the first step.
        dynamics: Mode, leak numerator, leak shift, fraction bits, 1 for a soft reset.
        currents: Receives the currents in mode CURRENT, `[T, R_out, width x channels]`.
        spikes: Receives 0 or 1 in the other modes, of the same shape.
        events: Receives the weight rows x taps crossed by each task in each step, `[tasks, T]`.
        still: Whether every step has the events of the first: they are then listed and routed once.
    """
    stride, padding, dilation, width, channels = geometry
    blocks, kernel = weight.shape[0], weight.shape[1]
    block = bias.shape[2] // width
    for task in prange(events.shape[0]):
        out_row, b = task // blocks, task % blocks
        real = min(block, channels - b * block)  # the last block is padded with channels that do not exist
        row_bias = bias[out_row % bias.shape[0], b]
        row_threshold = threshold[out_row % threshold.shape[0], b]
        row_reset, row_start = reset[out_row % reset.shape[0], b], start[out_row % start.shape[0], b]
        partial = np.zeros(width * block, narrow.dtype)
        total = np.zeros(width * block, bias.dtype)
        v = row_start.copy()
        spiked = np.zeros(width * block, np.uint8)
        kept = total.copy()
        # Such neurons stay at rest in a step without an event, and their step can be left out.
        idle = not still and not addend.size and never_alone(row_bias, row_threshold, row_reset, row_start, dynamics)
        for t in range(events.shape[1]):
            again = still and t > 0  # a static input: its sums are those of the first step
            copy(total, kept if again else row_bias)
            used, crossed, arrived = 0, 0, 0
            for k in range(0 if again else kernel):
                row = out_row * stride - padding + k * dilation
                if row < 0 or row >= rows.shape[1] - 1:
                    continue
                first, last = rows[t, row], rows[t, row + 1]
                arrived += last - first
                used = _route_row(
                    partial,
                    total,
                    shift[b],
                    first,
                    last,
                    place,
                    channel,
                    value,
                    graded,
                    weight[b, k],
                    spans,
                    group_start,
                    used,
                    limit,
                )
                for e in range(first, last):
                    crossed += taps[place[e]]
            events[task, t] = events[task, 0] if again else crossed  # spikes are sent in every step all the same
            if idle and arrived == 0:
                spiked[:] = 0
                store_block(spikes[t, out_row], spiked, width, block, real, b * block, channels)
                continue
            if used:
                flush(total, partial, shift[b])
            if still and t == 0:
                copy(kept, total)
            if addend.size:
                add_block(total, addend[t, out_row], width, block, real, b * block, channels)
            if dynamics[0] == CURRENT:
                store_block(currents[t, out_row], total, width, block, real, b * block, channels)
            else:
                step_neurons(total, v, spiked, row_threshold, row_reset, dynamics)
                store_block(spikes[t, out_row], spiked, width, block, real, b * block, channels)
