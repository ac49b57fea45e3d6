"""What a block of targets listens to: the sources of a connection rule as a box of channels, rows and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.graph.block import Block, row_of, view_of
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.windows import Window
from neurokit.hw_sim.traffic.sender import Sender, as_rectangles

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Reach:
    """The sources of blocks of targets.

    Attributes:
        boxes: (first channel, past the last, top, bottom, left, right) in the sender's rows, `[n, 6]`.
        exact: Which blocks listen to all of their box (within the comb) and nothing else, `[n]`.
        comb: Places that the rule reads at all, `[P]`, where a stride leaves some out; None for all.
    """

    boxes: Ints = field(repr=False)
    exact: Bools = field(repr=False)
    comb: Bools | None = field(default=None, repr=False)


def reach_of(projection: Projection, blocks: Sequence[Block], sender: Sender) -> Reach:
    """Returns what each block of a projection's targets listens to, of the sender's neurons."""
    unknown = Reach(np.tile(sender.whole, (len(blocks), 1)), np.zeros(len(blocks), np.bool_))
    # An index map may scatter a box over the whole population, and then nothing short of the neurons says where.
    indexed = projection.source_index is not None or projection.target_index is not None
    if indexed or not sender.rectangular or blocks[0].view != view_of(projection.target_shape):
        return unknown
    edges = np.array([(*b.channels, *b.places) for b in blocks], np.int64)
    if projection.kind == "linear":
        found = _linear(projection, edges)
    elif projection.kind == "identity":
        row = row_of(projection.target_shape)
        rectangles, exact = as_rectangles(edges[:, 2], edges[:, 3], row)
        found = Reach(np.concatenate([edges[:, :2], rectangles], axis=1), exact)
    elif len(projection.kernel) <= 2:
        found = _windowed(projection, edges)
    else:
        return unknown
    return _in_rows_of(sender, projection.source_shape, found)


def same_sources(projection: Projection, block: Block) -> tuple[object, ...]:
    """Returns what two blocks of a projection have in common if they listen to the same sources.

    All output channels of a group read the same inputs, and a dense layer's targets all of them, so that blocks which
    divide channels alone have one answer.
    """
    if projection.kind == "identity" or projection.target_index is not None:
        return projection.name, block.channels, block.places
    if projection.kind == "linear":
        return projection.name, *(() if len(projection.source_shape) == 1 else (block.channels, block.places))
    outputs = max(1, projection.target_shape[0] // projection.groups)
    return projection.name, block.channels[0] // outputs, (block.channels[1] - 1) // outputs, block.places


def mark_read(projection: Projection, block: Block, sources: Bools) -> bool:
    """Marks the sources of one block in `sources` `[N]`; returns False where no box describes them.

    A rectangle of targets reads a product of channels, rows and columns of the rule's view, gaps of a stride or a
    dilation left out axis by axis; the index map, if any, then says which neurons stand there.
    """
    axes = _axes_read(projection, block)
    if axes is None:
        return False
    sizes, read = axes
    if projection.source_index is None:
        sources.reshape(sizes)[np.ix_(*read)] = True  # a view: nothing but the bits of the box is written
        return True
    places = np.ravel_multi_index(np.ix_(*read), sizes).reshape(-1)
    neurons = projection.source_index[places]
    sources[neurons[neurons >= 0]] = True  # a constant zero is no neuron
    return True


def _axes_read(projection: Projection, block: Block) -> tuple[tuple[int, ...], list[Ints]] | None:
    """Returns the sizes of the rule's view and the places of each of its axes that a block reads."""
    shape, target = projection.source_shape, projection.target_shape
    if projection.target_index is not None or block.view != view_of(target) or len(projection.kernel) > 2:
        return None
    row = row_of(target)
    # `as_rectangles` for one block: its arrays of one element would take a fifth of the time of a mapping.
    first, past = block.places
    inside, whole = (past - 1) // row == first // row, first % row == 0 and past % row == 0
    if not (inside or whole) or past <= first:
        return None
    top, bottom = first // row, -(-past // row)
    left, right = (0, row) if whole else (first % row, (past - 1) % row + 1)
    channels = np.arange(*block.channels)
    if projection.kind == "linear":
        if len(shape) == 1:  # every target of a dense layer reads every source
            return shape, [np.arange(shape[0])]
        sizes = (shape[0], view_of(shape)[1] // shape[-1], shape[-1])
        return sizes, [channels, np.arange(top, bottom), np.arange(shape[-1])]
    if projection.kind == "identity":
        sizes = (shape[0], view_of(shape)[1] // row, row)
        return sizes, [channels, np.arange(top, bottom), np.arange(left, right)]
    inputs, outputs = shape[0] // projection.groups, target[0] // projection.groups
    # One output channel is enough to read all input channels of its group.
    groups = block.channels[0] // outputs, (block.channels[1] - 1) // outputs + 1
    spans = ((top, bottom), (left, right))[2 - len(projection.kernel) :]
    windows = projection.windows()
    read = [_read(window, *span) for window, span in zip(windows, spans, strict=True)]
    return (shape[0], *(window.size_in for window in windows)), [
        np.arange(groups[0] * inputs, groups[1] * inputs),
        *read,
    ]


@lru_cache(maxsize=1 << 16)
def _read(window: Window, first: int, last: int) -> Ints:
    """Returns the inputs of one axis that the outputs from `first` to before `last` read."""
    starts = np.arange(first, last) * window.stride - window.padding
    # Places outside are padding: zeros that no neuron sends.
    places = (starts[:, None] + np.arange(window.kernel) * window.dilation).reshape(-1)
    return np.unique(places[(places >= 0) & (places < window.size_in)])


def _linear(projection: Projection, edges: Ints) -> Reach:
    shape, exact = projection.source_shape, np.ones(len(edges), np.bool_)
    if len(shape) == 1:
        return Reach(np.tile([0, shape[0], 0, 1, 0, 1], (len(edges), 1)), exact)
    features = projection.target_shape[-1]
    # A linear map over the last axis reads whole rows, also for a target row of which the block holds a part.
    top, bottom = edges[:, 2] // features, -(-edges[:, 3] // features)
    columns = np.broadcast_to([0, shape[-1]], (len(edges), 2))
    return Reach(np.column_stack([edges[:, :2], top, bottom, columns]), exact)


def _windowed(projection: Projection, edges: Ints) -> Reach:
    windows = projection.windows()
    inputs, outputs = (s[0] // projection.groups for s in (projection.source_shape, projection.target_shape))
    channels = np.stack([edges[:, 0] // outputs * inputs, ((edges[:, 1] - 1) // outputs + 1) * inputs], axis=1)
    rectangles, exact = as_rectangles(edges[:, 2], edges[:, 3], projection.target_shape[-1])
    spans, read = [], []
    for axis, window in enumerate(windows):
        place = 2 * (axis + 2 - len(windows))  # a signal's one axis stands where an image has its columns
        span, filled, places = _span(window, rectangles[:, place], rectangles[:, place + 1])
        exact &= filled
        spans.append(span)
        read.append(places)
    if len(windows) == 1:
        spans.insert(0, np.broadcast_to([0, 1], (len(edges), 2)))
    comb = None
    if any(places is not None for places in read):
        full = [np.ones(w.size_in, np.bool_) if r is None else r for w, r in zip(windows, read, strict=True)]
        comb = full[0] if len(full) == 1 else np.outer(*full).reshape(-1)
    return Reach(np.concatenate([channels, *spans], axis=1), exact, comb)


def _span(window: Window, first: Ints, last: Ints) -> tuple[Ints, Bools, Bools | None]:
    """Returns the inputs from the first to the last that outputs read, whether they read all, and all ever read.

    Where the stride is longer than the kernel some inputs are read by no output; between the ends of a span all
    others are then read by its own outputs.
    """
    start = first * window.stride - window.padding
    stop = (last - 1) * window.stride - window.padding + (window.kernel - 1) * window.dilation + 1
    span = np.clip(np.stack([start, stop], axis=1), 0, window.size_in)
    # A dilated window jumps over places, and whether its neighbours fill them depends on the stride: not exact.
    spread = window.dilation > 1 and window.kernel > 1
    filled = np.full(len(first), not spread)
    if spread or window.stride <= window.kernel:
        return span, filled, None
    return span, filled, window.scatter(np.ones(window.size_out, np.bool_), 0)


def _in_rows_of(sender: Sender, shape: Sequence[int], found: Reach) -> Reach:
    """Returns a reach over a view of the population in the rows that the sender counts in."""
    boxes, row = found.boxes, row_of(shape)
    if view_of(shape) != sender.view:
        size = (shape[0], math.prod(shape[1:]) // row, row)
        # Between views that cut the neurons otherwise, only the whole population is the same box in both.
        everything = (boxes[:, ::2] == 0).all(axis=1) & (boxes[:, 1::2] == size).all(axis=1)
        return Reach(np.tile(sender.whole, (len(boxes), 1)), found.exact & everything & (found.comb is None))
    if row == sender.row:
        return found
    # The same places in rows of another length: whole rows stay whole, part of one row may break in two.
    top, bottom, left, right = boxes[:, 2:].T
    whole = (left == 0) & (right == row)
    one = bottom - top == 1
    start = top * row + np.where(whole, 0, left)
    stop = np.where(whole, bottom * row, top * row + right)
    rectangles, fits = as_rectangles(start, stop, sender.row)
    exact = found.exact & (whole | one) & fits
    return Reach(np.concatenate([boxes[:, :2], rectangles], axis=1), exact, found.comb)
