"""Compiled loops over dense values: convolutions channel by channel, maximum pooling, products of activations."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from neurokit.hw_sim.engine.kernels.compiled import on_threads
from neurokit.hw_sim.engine.kernels.neurons import CURRENT, add_block, copy, flush, step_neurons, store_block
from neurokit.hw_sim.engine.kernels.route import add_scaled


@on_threads
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
                if left[n, i, k]:  # spikes on the left are sparse: a row of the right costs only where one is
                    add_scaled(total, zero, terms, np.uint64(k), zero, columns, left[n, i, k])


@on_threads
def count_places(values, channels, counts):
    """Counts the values other than zero at each place, `[T, R, places x channels]` to `counts` `[T, R, places]`."""
    steps, rows, size = values.shape
    for task in prange(steps * rows):
        t, r = task // rows, task % rows
        # A count a place is what lets the convolution skip places without a spike, and is the number of events too.
        for x in range(size // channels):
            found = 0
            start = np.uint64(x * channels)
            for c in range(np.uint64(channels)):
                found += values[t, r, start + c] != 0
            counts[t, r, x] = found


@njit(cache=True, nogil=True)
def _add_products(out, to, weight, tap, values, start, channels):
    """Adds one place's values, each times its channel's weight."""
    for c in range(channels):
        out[to + c] += weight[tap, c] * values[start + c]


@on_threads
def advance_each(
    values,
    counts,
    weight,
    rows,
    places,
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
):
    """Computes one population from a convolution of each channel by itself, dense, through all time steps.

    Where more than a few of a channel's inputs are not zero this beats single events, since all channels of a place
    are added at once.

    Args:
        values: `[T, R_in, places x channels]`.
        counts: Values other than zero at each place, `[T, R_in, places]`.
        weight: `[kernel rows, taps, channels]`, of the type of the partial sums, which hold any sum.
        rows: Stride, padding and dilation across rows.
        places: The same across places, and the number of output places.
        shift: Left shift onto the target's grid, `[width x channels]`.
        bias: `[1 or R_out, 1, width x channels]`, of the type of the sums.
        addend: As for `advance`, like everything after it.
        threshold: See there.
        reset: See there.
        start: See there.
        dynamics: See there.
        currents: See there.
        spikes: See there.
        events: Receives the crossed connections of each task in each step, `[R_out, T]`.
    """
    stride, padding, dilation, width = places
    kernel, taps, channels = weight.shape
    inputs = values.shape[2] // channels
    for out_row in prange(events.shape[0]):
        row_bias, row_threshold = bias[out_row % bias.shape[0], 0], threshold[out_row % threshold.shape[0], 0]
        row_reset = reset[out_row % reset.shape[0], 0]
        # Narrow sums hold a whole step here (the caller chose their type so): they are flushed once, not by a limit.
        partial = np.zeros(width * channels, weight.dtype)
        total = np.zeros(width * channels, bias.dtype)
        v = start[out_row % start.shape[0], 0].copy()
        spiked = np.zeros(width * channels, np.uint8)
        for t in range(values.shape[0]):
            copy(total, row_bias)
            crossed = 0
            for k in range(kernel):
                row = out_row * rows[0] - rows[1] + k * rows[2]
                if row < 0 or row >= values.shape[1]:
                    continue
                for tap in range(taps):
                    for x in range(width):
                        read = x * stride - padding + tap * dilation
                        if read < 0 or read >= inputs or counts[t, row, read] == 0:
                            continue
                        crossed += counts[t, row, read]
                        _add_products(
                            partial,
                            np.uint64(x * channels),
                            weight[k],
                            np.uint64(tap),
                            values[t, row],
                            np.uint64(read * channels),
                            np.uint64(channels),
                        )
            events[out_row, t] = crossed
            flush(total, partial, shift)
            if addend.size:
                add_block(total, addend[t, out_row], width, channels, channels, 0, channels)
            if dynamics[0] == CURRENT:
                store_block(currents[t, out_row], total, width, channels, channels, 0, channels)
            else:
                step_neurons(total, v, spiked, row_threshold, row_reset, dynamics)
                store_block(spikes[t, out_row], spiked, width, channels, channels, 0, channels)


@njit(cache=True, nogil=True)
def _keep_larger(out, to, values, start, channels):
    for c in range(channels):
        out[to + c] = max(out[to + c], values[start + c])


@on_threads
def pool_maximum(values, rows, places, channels, out):
    """Writes the largest value of each window.

    Args:
        values: `[T, R_in, places x channels]`.
        rows: Kernel, stride, padding and dilation across rows.
        places: The same across places.
        channels: Channels of a place.
        out: `[T, R_out, places x channels]`, filled with the smallest number.
    """
    inputs, count = values.shape[2] // channels, out.shape[1]
    width = out.shape[2] // channels
    for task in prange(len(out) * count):
        t, out_row = task // count, task % count
        for k in range(rows[0]):
            row = out_row * rows[1] - rows[2] + k * rows[3]
            if row < 0 or row >= values.shape[1]:
                continue
            for x in range(width):
                for tap in range(places[0]):
                    read = x * places[1] - places[2] + tap * places[3]
                    if 0 <= read < inputs:
                        _keep_larger(
                            out[t, out_row],
                            np.uint64(x * channels),
                            values[t, row],
                            np.uint64(read * channels),
                            np.uint64(channels),
                        )


@on_threads
def rescale(values, shift, low, high):
    """Divides by `2**shift`, rounds half to even and limits to `low` to `high`, in place (see `Rescale`)."""
    half = (1 << shift) >> 1
    for task in prange((values.size + 65535) // 65536):
        for i in range(task * 65536, min(values.size, (task + 1) * 65536)):
            kept = values[i] >> shift  # rounds down, also below zero, so the rest is never negative
            rest = values[i] - (kept << shift)
            # Half to even, as ONNX's Round and torch.round do it: up from a half only if what is kept is odd.
            kept += (rest > half) | ((rest == half) & ((kept & 1) == 1)) if shift else 0
            values[i] = min(max(kept, low), high)


@on_threads
def weigh(values, fan_out, total):
    """Adds up the fan-out of the values other than zero, `[T, N]` and `[N]` to `[T]`."""
    for t in prange(len(values)):
        found = 0
        for i in range(values.shape[1]):
            found += fan_out[i] * (values[t, i] != 0)
        total[t] = found
