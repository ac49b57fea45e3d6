"""The connections of a projection, edge by edge: the slow, plain form that the counting rules are tested by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from neurokit.hw_sim.graph.projection import Projection


def rule_edges(projection: Projection) -> Iterator[tuple[int, int, int]]:
    """Yields (source position, target position, weight index) of every connection of the rule."""
    source, target = projection.source_shape, projection.target_shape
    if projection.kind == "identity":
        yield from ((i, i, 0) for i in range(math.prod(source)))
    elif projection.kind == "linear":
        inputs, outputs = source[-1], target[-1]
        for position, i, o in itertools.product(range(math.prod(source[:-1])), range(inputs), range(outputs)):
            yield position * inputs + i, position * outputs + o, o * inputs + i
    else:
        yield from _window_edges(projection)


def _window_edges(projection: Projection) -> Iterator[tuple[int, int, int]]:
    source, target, groups = projection.source_shape, projection.target_shape, projection.groups
    channels_in, channels_out = source[0] // groups, target[0] // groups
    places = itertools.product(*map(range, target), *map(range, projection.kernel))
    for place in places:
        out_channel, spot, taps = place[0], place[1 : len(target)], place[len(target) :]
        read = [
            o * s - p + k * d
            for o, k, s, p, d in zip(
                spot, taps, projection.stride, projection.padding, projection.dilation, strict=True
            )
        ]
        if any(not 0 <= r < n for r, n in zip(read, source[1:], strict=True)):
            continue
        end = np.ravel_multi_index((out_channel, *spot), target)
        for i in range(channels_in):
            start = np.ravel_multi_index((out_channel // channels_out * channels_in + i, *read), source)
            weight = (
                np.ravel_multi_index((out_channel, i, *taps), (target[0], channels_in, *projection.kernel))
                if projection.kind == "conv"
                else 0
            )
            yield int(start), int(end), int(weight)
