"""Layers of a network without neurons become others that compute the same in less time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.export.onnx.few_queries import read_tokens
from neurokit.export.onnx.merged_convolutions import merge
from neurokit.export.onnx.narrow_first import classify_first
from neurokit.export.onnx.pointwise import convolve_tokens
from neurokit.export.onnx.products import drop_columns
from neurokit.export.onnx.tokens_last import keep_tokens_last

if TYPE_CHECKING:
    import onnx_ir as ir


def faster(model: ir.Model) -> None:
    """Rewrites a model in place; weights are multiplied and added, so that it rounds otherwise in the last bits."""
    drop_columns(model)
    read_tokens(model)
    merge(model)
    convolve_tokens(model)
    keep_tokens_last(model)
    classify_first(model)
