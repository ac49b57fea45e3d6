"""Average pooling with a divisor of its own (a sum has 1) as ONNX; torch's exporter drops the divisor silently."""

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
