"""Pooling and batch normalisation as ONNX: what torch's exporter drops silently, or traces a whole program for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def avg_pool2d(
    x: Any,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Returns what torch's exporter calls for an average pooling.

    With a divisor it is a depthwise convolution with equal weights: a sum of spikes stays a sum of whole numbers.
    """
    import onnx
    from onnxscript import opset20 as op
    from onnxscript.function_libs.torch_lib.ops.nn import aten_avg_pool2d

    if divisor_override is None:
        return aten_avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad)
    if ceil_mode:
        raise NotImplementedError("an average pooling with a divisor of its own that rounds sizes up (ceil_mode)")
    kernel, pads = _pair(kernel_size), _pair(padding)
    weight = np.full((int(x.shape[1]), 1, *kernel), 1.0 / divisor_override, x.dtype.numpy())
    ones = op.Constant(value=onnx.numpy_helper.from_array(weight))
    return op.Conv(x, ones, group=int(x.shape[1]), kernel_shape=kernel, pads=pads * 2, strides=_pair(stride or kernel))


def _pair(value: Sequence[int]) -> list[int]:
    flat = list(value)
    return [int(flat[0]), int(flat[-1])]


def batch_norm(
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Any:
    """Returns what torch's exporter calls for a batch normalisation in evaluation mode with scale and shift."""
    from onnxscript import opset20 as op

    return op.BatchNormalization(x, weight, bias, mean, var, epsilon=eps, momentum=1.0 - momentum, training_mode=0)


def global_pool(x: Any, output_size: Sequence[int]) -> Any:
    """Returns what torch's exporter calls for an adaptive average pooling to one pixel: the mean over it."""
    import onnx
    from onnxscript import opset20 as op

    axes = op.Constant(value=onnx.numpy_helper.from_array(np.array([-1, -2], np.int64)))
    return op.ReduceMean(x, axes, keepdims=1)


def is_written_here(node: Any) -> bool:
    """Returns whether an operation is one that `batch_norm` or `global_pool` stands for as it is."""
    import torch

    if node.target is torch.ops.aten.batch_norm.default:
        # In evaluation mode, with scale, shift and statistics.
        return len(node.args) >= 8 and all(value is not None for value in node.args[1:5]) and node.args[5] is False
    return node.target is torch.ops.aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]
