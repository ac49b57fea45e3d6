"""What a connection rule must satisfy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neurokit.hw_sim.graph.projection import Projection

WINDOWED = ("conv", "pool", "maxpool")


def problem_of(projection: Projection) -> str:
    """Returns what is wrong with a description, or an empty string."""
    source, target = projection.source_shape, projection.target_shape
    if not source or not target or min(*source, *target) < 1:
        return f"shapes {source} and {target} must have axes of at least 1"
    for side, shape in (("source", source), ("target", target)):
        index, size = getattr(projection, f"{side}_index"), getattr(projection, f"{side}_size")
        if index is None and size != math.prod(shape):
            return f"the {side} has {size} neurons but its view {shape} has {math.prod(shape)} and no index is given"
        if index is not None and (index.shape != (math.prod(shape),) or index.min() < -1 or index.max() >= size):
            return f"the {side} index must have {math.prod(shape)} numbers from -1 to {size - 1}"
    if projection.kind == "identity" and source != target:
        return f"an identity cannot join the shapes {source} and {target}"
    if projection.kind == "linear" and source[:-1] != target[:-1]:
        return f"the leading axes of {source} and {target} differ"
    if projection.kind in WINDOWED:
        return _window_problem(projection)
    return ""


def _window_problem(projection: Projection) -> str:
    axes = len(projection.source_shape) - 1
    options = (projection.kernel, projection.stride, projection.padding, projection.dilation)
    if not 1 <= axes <= 3 or len(projection.target_shape) != axes + 1 or any(len(option) != axes for option in options):
        return f"needs shapes with 1 to 3 spatial axes and one kernel, stride, padding and dilation each, got {options}"
    if min(*projection.kernel, *projection.stride, *projection.dilation) < 1 or min(projection.padding) < 0:
        return "kernel, stride and dilation must be at least 1 and padding at least 0"
    if projection.source_shape[0] % projection.groups or projection.target_shape[0] % projection.groups:
        return f"channels {projection.source_shape[0]} and {projection.target_shape[0]} do not divide by the groups"
    if projection.kind != "conv" and not projection.groups == projection.source_shape[0] == projection.target_shape[0]:
        return "pooling keeps the channels apart: groups must be the number of channels on both sides"
    return ""
