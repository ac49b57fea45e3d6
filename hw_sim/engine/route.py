"""One projection in the form that the event engine's main loop reads: packed weights and tables of stretches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurokit.hw_sim.engine.layout import Layout, positions, view_layouts
from neurokit.hw_sim.graph.projection import Projection

_CACHE_BYTES = 4 * 1024 * 1024  # weights of one block of output channels; smaller blocks cost more than they save
_LANES = 32  # channels of a block are a multiple of this many bytes where there is more than one block
_UNLIMITED = 2**62


@dataclass(frozen=True)
class Route:
    """A projection, ready to run.

    Attributes:
        projection: What it computes.
        source: Layout that it reads.
        target: Layout that it writes.
        read: For each position of `source` the inner position in the source population (-1: zero); None where
            the two are the same.
        written: The same for `target` and the target population.
        flat: Whether the source population is read as one row, its weights being reordered to fit.
        weight: `[blocks, kernel rows, C_in, taps x channels of a block]`.
        geometry: Stride, padding and dilation across rows; output places; output channels.
        spans: Stretches of each input place: start in the output row, start in the weights, length; and how many.
        taps: Taps that reach the output from each input place.
        group_start: First output channel of the group of each input channel; empty for one group.
        shift: Left shift onto the target's grid, `[blocks, width x channels of a block]`.
        connections: Connections of one tap in each block.
        limit: Rows of weights that a narrow partial sum takes before it could overflow.
        gain: Largest sum of absolute weights (shifted) of an output: bounds the current.
    """

    projection: Projection
    source: Layout
    target: Layout
    read: NDArray[np.int64] | None
    written: NDArray[np.int64] | None
    flat: bool
    weight: NDArray[np.signedinteger]
    geometry: tuple[int, int, int, int, int]
    spans: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    taps: NDArray[np.int64]
    group_start: NDArray[np.int64]
    shift: NDArray[np.int32]
    connections: NDArray[np.int64]
    limit: int
    gain: int
    _unpacked: dict[type[np.signedinteger], NDArray[np.signedinteger]] = field(default_factory=dict, repr=False)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return self.weight.shape[0]

    @property
    def block(self) -> int:
        """Channels of a block, with padding."""
        return self.shift.shape[1] // self.target.width

    @property
    def nbytes(self) -> int:
        """Bytes of the weights and tables."""
        tables = (self.weight, *self.spans, self.taps, self.group_start, self.shift)
        return sum(table.nbytes for table in tables)

    @property
    def each_by_itself(self) -> bool:
        """Whether every channel is convolved with itself alone, in partial sums that cannot overflow."""
        p = self.projection
        return p.groups > 1 and p.groups == p.source_shape[0] == p.target_shape[0] and self.limit == _UNLIMITED

    @property
    def strides(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Stride, padding and dilation across rows and across places."""
        stride, padding, dilation = _rows_and_places(self.projection)
        return (stride[0], padding[0], dilation[0]), (stride[1], padding[1], dilation[1])

    def unpacked(self, dtype: type[np.signedinteger]) -> NDArray[np.signedinteger]:
        """Returns the weights of a convolution channel by channel as `[kernel rows, taps, channels]`."""
        if dtype not in self._unpacked:
            self._unpacked[dtype] = np.ascontiguousarray(self.weight[0, :, :, ::-1].transpose(0, 2, 1), dtype)
        return self._unpacked[dtype]

    def blocked(self, values: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
        """Returns values of the target in inner order, `[size]`, as `[1 or rows, blocks, width x block]`."""
        rows = values.reshape(self.target.rows, self.target.width, self.target.channels)
        if (rows == rows[:1]).all():
            rows = rows[:1]
        padded = np.zeros((len(rows), self.target.width, self.blocks * self.block), values.dtype)
        padded[:, :, : self.target.channels] = rows
        split = padded.reshape(len(rows), self.target.width, self.blocks, self.block)
        return np.ascontiguousarray(split.transpose(0, 2, 1, 3)).reshape(len(rows), self.blocks, -1)


def build_route(
    projection: Projection,
    weight: NDArray[np.signedinteger] | None,
    shift: ArrayLike,
    source_population: Layout,
    target_population: Layout,
    tasks: int,
) -> Route:
    """Returns the route of a conv, linear or pool projection.

    Args:
        projection: The projection.
        weight: Its integer weights, or None for pooling (ones).
        shift: Left shift onto the target's grid, one number or one an output channel.
        source_population: Layout of the source population.
        target_population: Layout of the target population.
        tasks: Tasks wanted at least, to keep all threads busy.

    Raises:
        UnsupportedError: If it has three spatial axes.
    """
    source, target = view_layouts(projection)
    kernel = _as_convolution(projection, weight)
    read = positions(source, projection.source_index, source_population)
    flat = projection.kind == "linear" and source.rows == 1 and read is not None and projection.source_index is None
    if flat:
        kernel = kernel[:, source_population.numbers()]
        read = None
    groups = projection.groups
    blocks, block = (1, target.channels) if groups > 1 else _blocks(kernel, target, tasks)
    packed = _pack_grouped(kernel, groups) if groups > 1 else _pack(kernel, blocks, block)
    per_channel = np.broadcast_to(np.asarray(shift, np.int64), (target.channels,))
    padded = np.zeros(blocks * block, np.int32)
    padded[: target.channels] = per_channel
    stride, padding, dilation = _rows_and_places(projection)
    width_out = block if groups == 1 else target.channels
    per_tap = block if groups == 1 else target.channels // groups
    spans, taps = _spans(
        source.width, target.width, kernel.shape[3], stride[1], padding[1], dilation[1], width_out, per_tap, groups == 1
    )
    sums = np.abs(kernel.astype(np.int64)).sum(axis=(1, 2, 3))
    largest = int(np.abs(kernel.astype(np.int64)).max(initial=1))
    room = np.iinfo(np.int16 if packed.dtype == np.int8 else np.int32).max
    return Route(
        projection,
        source,
        target,
        read,
        positions(target, projection.target_index, target_population),
        flat,
        packed,
        (stride[0], padding[0], dilation[0], target.width, target.channels),
        spans,
        taps,
        _group_start(projection),
        np.tile(padded.reshape(blocks, 1, block), (1, target.width, 1)).reshape(blocks, -1),
        _connections(target.channels, blocks, block, groups),
        _UNLIMITED if int(sums.max(initial=0)) <= room else max(4, room // max(1, largest)),
        int((sums << per_channel).max(initial=0)),
    )


def _as_convolution(projection: Projection, weight: NDArray[np.signedinteger] | None) -> NDArray[np.signedinteger]:
    """Returns the weights as `[C_out, C_in / groups, kernel rows, taps]`."""
    if weight is None:
        weight = np.ones((projection.target_shape[0], 1, *projection.kernel), np.int8)
    return weight.reshape(*weight.shape, *(1,) * (4 - weight.ndim))


def _rows_and_places(projection: Projection) -> tuple[tuple[int, int], ...]:
    """Returns (rows, places) of stride, padding and dilation."""
    if not projection.kernel:
        return (1, 1), (0, 0), (1, 1)
    if len(projection.kernel) == 1:
        return (projection.stride[0], 1), (projection.padding[0], 0), (projection.dilation[0], 1)
    return projection.stride[:2], projection.padding[:2], projection.dilation[:2]  # type: ignore[return-value]


def _blocks(kernel: NDArray[np.signedinteger], target: Layout, tasks: int) -> tuple[int, int]:
    """Returns number and size of the blocks of output channels: small enough for the cache, enough tasks."""
    wanted = max(-(-kernel.nbytes // _CACHE_BYTES), -(-tasks // target.rows))
    if wanted == 1 or target.channels < 2 * _LANES:
        return 1, target.channels
    block = -(-target.channels // wanted)
    block = -(-block // _LANES) * _LANES
    return -(-target.channels // block), block


def _pack(kernel: NDArray[np.signedinteger], blocks: int, block: int) -> NDArray[np.signedinteger]:
    """Returns dense weights as `[blocks, rows, C_in, taps x block]`, taps last to first (ascending outputs)."""
    outputs, inputs, rows, taps = kernel.shape
    padded = np.zeros((blocks * block, inputs, rows, taps), kernel.dtype)
    padded[:outputs] = kernel[..., ::-1]
    split = padded.reshape(blocks, block, inputs, rows, taps).transpose(0, 3, 2, 4, 1)
    return np.ascontiguousarray(split).reshape(blocks, rows, inputs, taps * block)


def _pack_grouped(kernel: NDArray[np.signedinteger], groups: int) -> NDArray[np.signedinteger]:
    """Returns grouped weights as `[1, rows, C_in, taps x outputs of a group]`."""
    outputs, inputs, rows, taps = kernel.shape
    split = kernel[..., ::-1].reshape(groups, outputs // groups, inputs, rows, taps).transpose(3, 0, 2, 4, 1)
    return np.ascontiguousarray(split).reshape(1, rows, groups * inputs, taps * (outputs // groups))


def _group_start(projection: Projection) -> NDArray[np.int64]:
    if projection.groups == 1:
        return np.zeros(0, np.int64)
    channels = np.arange(projection.source_shape[0])
    group = channels // (projection.source_shape[0] // projection.groups)
    return group * (projection.target_shape[0] // projection.groups)


def _connections(channels: int, blocks: int, block: int, groups: int) -> NDArray[np.int64]:
    if groups > 1:
        return np.array([channels // groups], np.int64)
    return np.minimum(block, channels - block * np.arange(blocks)).astype(np.int64)


def _spans(
    width_in: int,
    width_out: int,
    taps: int,
    stride: int,
    padding: int,
    dilation: int,
    place_size: int,
    per_tap: int,
    merge: bool,
) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64]]:
    """Returns the stretches of weights that each input place adds to the output row, and its number of taps.

    Neighbouring taps that reach neighbouring places are one stretch.
    """
    table = np.zeros((3, width_in, taps), np.int64)
    count, reached = np.zeros(width_in, np.int64), np.zeros(width_in, np.int64)
    for x in range(width_in):
        previous = (-2, -2)
        for tap in range(taps):  # packed last to first
            out, rest = divmod(x + padding - (taps - 1 - tap) * dilation, stride)
            if rest or not 0 <= out < width_out:
                continue
            reached[x] += 1
            if merge and previous == (out - 1, tap - 1):
                table[2, x, count[x] - 1] += per_tap
            else:
                table[:, x, count[x]] = out * place_size, tap * per_tap, per_tap
                count[x] += 1
            previous = (out, tap)
    return (table[0], table[1], table[2], count), reached
