"""Chooses how ranges of activations are found: by which int8 network answers nearest to the float network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurokit.export.onnx.calibrated import against_float, count_of
from neurokit.export.onnx.quantise import Settings, quantise
from neurokit.feeds import Feeds

TRIED = ("minmax", "percentile")
_FEW, _LEAST = 256, 8  # samples that a percentile is found from, and below which none is tried
_MEMORY = 1 << 30  # bytes: ONNX Runtime's histograms keep every activation of every sample until they are made


def with_method(
    source: Path, feeds: Feeds, size: int, settings: Settings, layers: Sequence[str], level: int, scratch: Path
) -> tuple[Settings, Feeds, dict[str, float]]:
    """Returns settings with a method in the place of "auto", what to calibrate on, and the error of each method tried.

    The largest value seen makes a step coarse where it is an outlier, and cutting it off clips where it is not; which
    of both costs more, the outputs say, on all of the data.

    Args:
        source: ONNX file in float.
        feeds: Calibration data by the names of the inputs, `[N, *shape]`.
        size: Batch size.
        settings: How to quantise.
        layers: Names of the nodes to quantise.
        level: ONNX Runtime's optimisation level of the int8 network.
        scratch: Folder for trials; the ranges of each method are kept there (`kept_ranges`).
    """
    if settings.method != "auto":
        return settings, feeds, {}
    plain = replace(settings, method=TRIED[0])
    count = min(_FEW, count_of(feeds), _MEMORY // max(1, _activations(source))) // size * size
    if settings.activations == "float" or count < _LEAST:
        return plain, feeds, {}
    given = dict(zip(TRIED, (feeds, {name: x[:count] for name, x in feeds.items()}), strict=True))
    errors = {}
    for method, ranges in given.items():
        errors[method] = _error(source, feeds, ranges, size, replace(plain, method=method), layers, level, scratch)
    best = min(TRIED, key=errors.__getitem__)
    return replace(plain, method=best), given[best], errors


def kept_ranges(scratch: Path, settings: Settings) -> Path:
    """Returns the file in which the ranges that a method found are kept, for further calls of `quantise`."""
    return scratch / f"{settings.method}.json"


def _error(
    source: Path,
    feeds: Feeds,
    ranges: Feeds,
    size: int,
    settings: Settings,
    layers: Sequence[str],
    level: int,
    scratch: Path,
) -> float:
    """Returns the relative error of the outputs on data, of a network whose ranges come from some of them."""
    from neurokit.export.ort import new_session

    path = scratch / "int8.onnx"
    quantise(source, path, ranges, size, settings, layers, kept_ranges(scratch, settings))
    found = against_float(new_session(source), new_session(path, level=level), feeds, size)
    return float(found["output_relative_l2"])


def _activations(source: Path) -> int:
    """Returns the bytes of all activations of one sample, in float32; axes without a number count as one."""
    import onnx

    inferred: Any = onnx.shape_inference.infer_shapes(onnx.load(str(source)))
    total = 0
    for value in inferred.graph.value_info:
        elements = 1
        for dim in value.type.tensor_type.shape.dim[1:]:
            elements *= max(1, dim.dim_value)
        total += 4 * elements
    return total
