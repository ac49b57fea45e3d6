"""Chooses how ranges of activations are found: by which int8 network answers nearest to the float network."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurokit.export.onnx.calibrated import against_float, count_of
from neurokit.export.onnx.quantise import Settings, quantise
from neurokit.feeds import Feeds

TRIED = ("minmax", "percentile")
_FEW, _LEAST = 256, 8  # samples that methods are compared on, and below which they are not
_MEMORY = 1 << 30  # bytes: ONNX Runtime's histograms keep every activation of every sample until they are made


def with_method(
    source: Path, feeds: Feeds, size: int, settings: Settings, layers: Sequence[str], level: int
) -> tuple[Settings, dict[str, float]]:
    """Returns settings with a method in the place of "auto", and the error of each that was tried.

    The largest value seen makes a step coarse where it is an outlier, and cutting it off clips where it is not; which
    of both costs more, the outputs say.

    Args:
        source: ONNX file in float.
        feeds: Calibration data by the names of the inputs, `[N, *shape]`.
        size: Batch size.
        settings: How to quantise.
        layers: Names of the nodes to quantise.
        level: ONNX Runtime's optimisation level of the int8 network.
    """
    if settings.method != "auto":
        return settings, {}
    plain = replace(settings, method=TRIED[0])
    count = min(_FEW, count_of(feeds), _MEMORY // max(1, _activations(source))) // size * size
    if settings.activations == "float" or count < _LEAST:
        return plain, {}
    few = {name: x[:count] for name, x in feeds.items()}
    errors = {method: _error(source, few, size, replace(plain, method=method), layers, level) for method in TRIED}
    return replace(plain, method=min(TRIED, key=errors.__getitem__)), errors


def _error(source: Path, feeds: Feeds, size: int, settings: Settings, layers: Sequence[str], level: int) -> float:
    from neurokit.export.ort import new_session

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantise(source, path, feeds, size, settings, layers)
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
