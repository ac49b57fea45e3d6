"""A stable sort as ONNX: TopK over the whole axis, which takes the lower index first where values are equal."""

from __future__ import annotations

from typing import Any

INT32, BOOL = 6, 9  # element types of ONNX


def sort_stable(x: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """Returns what torch's exporter calls for a stable sort: values and indices.

    ONNX's TopK promises the order of equal values (the lower index first), torch's sort only where it is stable.
    """
    from onnxscript import opset20 as op

    shape = op.Shape(x, start=dim, end=dim + 1 or None) if dim != -1 else op.Shape(x, start=-1)
    if x.dtype is not None and x.dtype.numpy().kind == "b":  # TopK takes numbers alone
        values, order = op.TopK(op.Cast(x, to=INT32), shape, axis=dim, largest=int(descending), sorted=1)
        return op.Cast(values, to=BOOL), order
    return op.TopK(x, shape, axis=dim, largest=int(descending), sorted=1)
