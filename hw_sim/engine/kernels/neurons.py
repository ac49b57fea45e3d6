"""Compiled steps of neurons and of their sums; `advance` and its kin put them together."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from neurokit.hw_sim.engine.kernels.compiled import on_threads

# Neuron modes.
CURRENT, INTEGRATE, LEAK, LEAK_WITH_INPUT = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def flush(total, partial, shift):
    """Adds the narrow partial sums, brought to the target's grid, to the wide ones and clears them."""
    for i in range(total.size):
        total[i] += partial[i] << shift[i]
        partial[i] = 0


@njit(cache=True, nogil=True)
def step_neurons(total, v, spikes, threshold, reset, dynamics):
    """Advances the neurons of one task by one step; `total` is their current and is used up."""
    mode, numerator, shift, fraction, soft = dynamics
    # Leaks need bits below the grid of the weights: membranes carry `fraction` of them, currents get them here.
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
def never_alone(bias, threshold, reset, start, dynamics):
    """Returns whether neurons that receive nothing keep their membrane and do not spike."""
    if dynamics[0] != INTEGRATE or dynamics[4]:
        return False
    # Summed without leaving early: a loop without a branch is vector code.
    moved = 0
    for i in range(bias.size):
        moved += bias[i] != 0 or reset[i] >= threshold[i] or start[i] >= threshold[i]
    return moved == 0


@njit(cache=True, nogil=True)
def copy(out, values):
    """Copies values."""
    for i in range(out.size):
        out[i] = values[i]


@njit(cache=True, nogil=True)
def add_block(total, values, width, block, real, first, channels):
    """Adds one row of other currents to the sums of one block of channels."""
    for x in range(width):
        to, start = np.uint64(x * block), np.uint64(x * channels + first)
        for c in range(np.uint64(real)):
            total[to + c] += values[start + c]


@njit(cache=True, nogil=True)
def store_block(out, values, width, block, real, first, channels):
    """Writes the values of one block of channels to one row."""
    if real == channels:
        copy(out, values)
        return
    for x in range(width):
        to, start = np.uint64(x * channels + first), np.uint64(x * block)
        for c in range(np.uint64(real)):
            out[to + c] = values[start + c]


@on_threads
def integrate(current, threshold, reset, start, dynamics, spikes):
    """Advances neurons that receive nothing but currents `[T, N]`; `current` is used up."""
    steps, size = current.shape
    chunk = 4096  # membranes and currents of so many neurons stay in the cache through all steps
    for task in prange((size + chunk - 1) // chunk):
        a, b = task * chunk, min(size, (task + 1) * chunk)
        v = start[a:b].copy()
        for t in range(steps):
            step_neurons(current[t, a:b], v, spikes[t, a:b], threshold[a:b], reset[a:b], dynamics)
