"""What a chip's memories take for a block of neurons, by the rule that its maker's own tools follow."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.chips.limits import Limits
from neurokit.hw_sim.graph.projection import Projection

# Loihi's synapse lists, as nengo-loihi 1.1.0 (block.py, SynapseConfig) builds them: up to 64 synapses share one header
# of 10 bits, and each list ends on a whole 64-bit word. A dense row needs no indices; a population axon of a
# convolution has one for each synapse. Not every width exists.
_LIST, _HEADER, _WORD = 64, 10, 64
# An axon's first compartment is at most this far; what is beyond needs a list of its own.
_AXON_OFFSET = 256
_INDEX_WIDTHS = (6, 7, 8, 9, 10, 11, 12)
_WEIGHT_WIDTHS = (1, 2, 3, 4, 5, 6, 8, 9)


def stored_bits(projection: Projection, limits: Limits) -> int:
    """Returns the width in which a chip keeps a projection's weights.

    A chip has widths from a smallest to a largest one. Narrower weights take the smallest; floats, which somebody has
    yet to quantise, take the largest, but not more than their own.
    """
    if not limits.weight_bits:
        return projection.weight_bits
    narrowest, widest = limits.weight_bits
    bits = min(projection.weight_bits, widest) if projection.weights_are_floats else projection.weight_bits
    return max(bits, narrowest)


def up_to_power_of_two(number: int) -> int:
    """Returns the smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()


def dynapcnn_kernel_words(projection: Projection, shape: tuple[int, ...]) -> int:
    """Returns the kernel memory of a DynapCNN layer: `c 2^(ceil(log2 kx ky) + ceil(log2 f))` words.

    The rule of sinabs 3.1.3 (backend/dynapcnn/dynapcnn_layer.py): addresses are made of bit fields, so each factor
    but the first is rounded up to a power of two. A fully connected layer is a convolution as large as its input.

    Args:
        projection: A convolution or a fully connected layer.
        shape: Shape of the population that it reads.
    """
    if projection.kind == "conv":
        channels, area = projection.source_shape[0] // projection.groups, math.prod(projection.kernel)
    else:
        channels, area = shape[0], math.prod(shape[1:])
    return channels * up_to_power_of_two(area) * up_to_power_of_two(projection.target_shape[0])


def dynapcnn_neuron_words(shape: tuple[int, ...]) -> int:
    """Returns the neuron memory of a DynapCNN layer: `f 2^(ceil(log2 fx) + ceil(log2 fy))` words."""
    return shape[0] * math.prod(up_to_power_of_two(side) for side in shape[1:])


def loihi_list_bits(synapses: int, weight_bits: int, index_bits: int = 0) -> int:
    """Returns the bits that the synapses of one input axon take, headers and alignment included."""
    each = weight_bits + index_bits
    full, rest = divmod(synapses, _LIST)
    return full * _words(_LIST * each + _HEADER) + (_words(rest * each + _HEADER) if rest else 0)


def _words(bits: int) -> int:
    """Returns bits rounded up to whole words."""
    return -(-bits // _WORD) * _WORD


def loihi_need(projection: Projection, channels: int, places: int, weight_bits: int) -> tuple[int, int]:
    """Returns (synapse bits, input axons) of a block of targets on one Loihi core.

    A convolution's channels at one pixel send over one population axon, and pixels that see the same part of the
    kernel share one synapse list. A fully connected layer has one axon and one dense row for each source neuron.

    Args:
        projection: A projection whose views are the populations themselves.
        channels: Channels of the block.
        places: Places of the block: whole rows, or part of one.
        weight_bits: Width of a weight.
    """
    width = next((w for w in _WEIGHT_WIDTHS if w >= weight_bits), weight_bits)
    if projection.kind == "identity":
        return channels * places * loihi_list_bits(1, width), channels * places
    if projection.kind == "linear":
        flat = len(projection.target_shape) == 1
        features = channels if flat else min(places, projection.target_shape[-1])
        rows = 1 if flat else channels * -(-places // projection.target_shape[-1])
        sources = projection.source_shape[-1]
        return sources * loihi_list_bits(features, width), min(projection.source_size, rows * sources)
    return _loihi_windows(projection, channels, places, width)


def _loihi_windows(projection: Projection, channels: int, places: int, width: int) -> tuple[int, int]:
    outputs = projection.target_shape[0] // projection.groups
    groups = -(-channels // outputs)  # population axons: one for the channels of each group
    inputs = projection.source_shape[0] // projection.groups
    windows, axes, left = projection.windows(), [], places
    for axis in range(len(windows) - 1, -1, -1):
        window = windows[axis]
        span = min(left, window.size_out)
        axes.append(
            (window.kernel, window.stride, window.padding, window.dilation, window.size_in, window.size_out, span)
        )
        left = -(-left // window.size_out)
    sizes, pixels, reach = _pixel_lists(tuple(axes), channels)
    index = next((w for w in _INDEX_WIDTHS if 1 << w >= reach), _INDEX_WIDTHS[-1])
    each = inputs * min(channels, outputs)
    bits = sum(many * loihi_list_bits(size * each, width, index) for size, many in sizes)
    return bits * groups, pixels * groups


@lru_cache(maxsize=4096)
def _pixel_lists(axes: tuple[tuple[int, ...], ...], channels: int) -> tuple[tuple[tuple[int, int], ...], int, int]:
    """Returns the synapse lists of a convolution's pixels, the pixels that are read, and the span of the indices.

    Args:
        axes: (kernel, stride, padding, dilation, inputs, outputs, outputs in the block) of each axis, columns first.
        channels: Channels of the block; its compartments are numbered rows, columns, channels.

    Returns:
        (targets of one channel, number of such lists), pixels, largest index plus one.
    """
    # One axis after the other, as an outer product: a pixel's first target, its part of the kernel, its taps and the
    # distance to its last target are each made of those of its column and of its row.
    first, crop, taps, last = (np.zeros(1, np.int64) for _ in range(4))
    taps = taps + 1
    stride, kinds = channels, 1
    for axis in axes:
        place, size, kind, different = _taps_of(*axis)
        first = (place[:, None] * stride + first[None]).reshape(-1)
        last = ((size[:, None] - 1) * stride + last[None]).reshape(-1)
        taps = (size[:, None] * taps[None]).reshape(-1)
        crop = (kind[:, None] * kinds + crop[None]).reshape(-1)
        kinds *= different
        stride *= axis[-1]
    base = first // _AXON_OFFSET * _AXON_OFFSET
    reach = int((base + last).max(initial=0)) + channels
    # Pixels share a list if they see the same part of the kernel and start from the same base; one of each counts.
    _, one = np.unique(crop * (int(base.max(initial=0)) + 1) + base, return_index=True)
    sizes, many = np.unique(taps[one], return_counts=True)
    return tuple(zip(sizes.tolist(), many.tolist(), strict=True)), len(first), reach


@lru_cache(maxsize=65536)
def _taps_of(
    kernel: int, stride: int, padding: int, dilation: int, inputs: int, outputs: int, span: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """Returns what every input position of one axis that is read sees of the kernel.

    A block inside the layer sees whole windows; the middle of the layer stands for it.

    Returns:
        First target in the block, taps, and the number of the set of taps, each `[positions]`; how many sets there are.
    """
    start = (outputs - span) // 2  # at the edge, padding would cut windows short and understate the need
    taps = np.arange(kernel)
    places = (start + np.arange(span))[:, None] * stride - padding + taps[None] * dilation  # [span, kernel]
    read, at = np.unique(places, return_inverse=True)
    sees = np.zeros((len(read), kernel), bool)
    sees[at.reshape(-1), np.tile(taps, span)] = True
    first = np.full(len(read), span, np.int64)
    np.minimum.at(first, at.reshape(-1), np.repeat(np.arange(span), kernel))
    inside = (read >= 0) & (read < inputs)
    known: dict[bytes, int] = {}
    kind = [known.setdefault(row.tobytes(), len(known)) for row in sees[inside]]
    return first[inside], sees[inside].sum(axis=1), np.array(kind, np.int64), len(known)
