"""What a QDQ model means: every operator in numpy by ONNX's own reference, convolutions in float64.

Independent of ONNX Runtime's integer kernels, which this is compared with layer by layer: each layer gets the
reference's integers as its input, so that a difference has one cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx


def reference_run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs, and the integers behind every QuantizeLinear, by name."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {value.name for value in copy.graph.output}
    for node in quantizers(copy):
        if node.output[0] not in known:
            copy.graph.output.append(
                onnx.helper.make_tensor_value_info(node.output[0], _element_type(copy, node), None)
            )
    names = [value.name for value in copy.graph.output]
    own = [_conv(), _conv_transpose(), _max_pool()]
    results = ReferenceEvaluator(copy, new_ops=own).run(names, dict(feeds))
    return dict(zip(names, results, strict=True))


def quantizers(model: onnx.ModelProto) -> list[Any]:
    """Returns the nodes that quantise activations (weights are stored as integers)."""
    return [node for node in model.graph.node if node.op_type == "QuantizeLinear"]


def forced_model(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Returns the model with every dequantizer of an activation reading an input, and the names of its integers.

    The input for the integers NAME is called `NAME.forced`; the outputs are the integers that each layer gives.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = {node.output[0]: node for node in quantizers(copy)}
    for node in copy.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in nodes:
            node.input[0] = f"{node.input[0]}.forced"
    del copy.graph.output[:]
    del copy.graph.value_info[:]
    read = {name for node in copy.graph.node for name in node.input}
    for name, node in nodes.items():
        kind = _element_type(copy, node)
        copy.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
        if f"{name}.forced" in read:
            copy.graph.input.append(onnx.helper.make_tensor_value_info(f"{name}.forced", kind, None))
    return copy, list(nodes)


def _element_type(model: onnx.ModelProto, node: Any) -> int:
    """Returns the element type of a quantizer's result: that of its zero point."""
    return next(int(t.data_type) for t in model.graph.initializer if t.name == node.input[2])


def _conv() -> Any:
    """Returns a convolution for the reference evaluator: windows as views, one product a group, in float64."""
    from onnx.reference.op_run import OpRun

    class Conv(OpRun):
        def _run(
            self,
            x: np.ndarray,
            w: np.ndarray,
            b: np.ndarray | None = None,
            auto_pad: Any = None,
            dilations: Any = None,
            group: Any = None,
            kernel_shape: Any = None,
            pads: Any = None,
            strides: Any = None,
        ) -> tuple[np.ndarray]:
            return (convolve(x, w, b, dilations, group or 1, pads, strides),)

    return Conv


def _max_pool() -> Any:
    """Returns a maximum over windows for the reference evaluator, whose own takes too many of them (ceil_mode)."""
    from onnx.reference.op_run import OpRun

    class MaxPool(OpRun):
        def _run(
            self,
            x: np.ndarray,
            auto_pad: Any = None,
            ceil_mode: Any = None,
            dilations: Any = None,
            kernel_shape: Any = None,
            pads: Any = None,
            storage_order: Any = None,
            strides: Any = None,
        ) -> tuple[np.ndarray]:
            return (largest(x, kernel_shape, dilations, pads, strides, bool(ceil_mode)),)

    return MaxPool


def largest(
    x: np.ndarray, kernel: Any, dilations: Any = None, pads: Any = None, strides: Any = None, rounds_up: bool = False
) -> np.ndarray:
    """Returns the largest element of every window, as torch and ONNX Runtime place them.

    Args:
        x: `[N, C, ...]`.
        kernel: Elements of a window, a number an axis.
        dilations: A number an axis; default 1.
        pads: What counts as smaller than any element before each axis, then after each; default 0.
        strides: A number an axis; default 1.
        rounds_up: Whether a last window may reach beyond the end; one that begins there is none.
    """
    axes = x.ndim - 2
    dilations, strides, pads = dilations or [1] * axes, strides or [1] * axes, pads or [0] * 2 * axes
    sizes, room = [], []
    for n, k, d, s, before, after in zip(
        x.shape[2:], kernel, dilations, strides, pads[:axes], pads[axes:], strict=True
    ):
        free = n + before + after - (k - 1) * d - 1
        count = (-(-free // s) if rounds_up else free // s) + 1
        count -= bool(rounds_up and (count - 1) * s >= n + before)
        sizes.append(count)
        room.append((before, max(0, (count - 1) * s + (k - 1) * d + 1 - n - before)))
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    padded = np.pad(x, [(0, 0), (0, 0), *room], constant_values=least)
    result = np.full((*x.shape[:2], *sizes), least, x.dtype)
    for place in np.ndindex(*kernel):
        cut = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilations, sizes, strides, strict=True)
        )
        result = np.maximum(result, padded[(slice(None), slice(None), *cut)])
    return result


def _conv_transpose() -> Any:
    """Returns a transposed convolution for the reference evaluator, whose own one takes no groups."""
    from onnx.reference.op_run import OpRun

    class ConvTranspose(OpRun):
        def _run(
            self,
            x: np.ndarray,
            w: np.ndarray,
            b: np.ndarray | None = None,
            auto_pad: Any = None,
            dilations: Any = None,
            group: Any = None,
            kernel_shape: Any = None,
            output_padding: Any = None,
            output_shape: Any = None,
            pads: Any = None,
            strides: Any = None,
        ) -> tuple[np.ndarray]:
            return (transposed(x, w, b, dilations, group or 1, pads, strides, output_padding),)

    return ConvTranspose


def transposed(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    dilations: Any = None,
    group: int = 1,
    pads: Any = None,
    strides: Any = None,
    more: Any = None,
) -> np.ndarray:
    """Returns a transposed convolution as ONNX defines it, summed in float64.

    Args:
        x: `[N, C, ...]`.
        w: `[C, M / group, ...]`.
        b: `[M]`, or None.
        dilations: A number an axis; default 1.
        group: Number of groups.
        pads: What is cut off before each axis, then after each; default 0.
        strides: A number an axis; default 1.
        more: Zeros behind each axis (ONNX's output_padding); default 0.
    """
    axes = x.ndim - 2
    dilations, strides = dilations or [1] * axes, strides or [1] * axes
    pads, more = pads or [0] * 2 * axes, more or [0] * axes
    sides, kernel = x.shape[2:], w.shape[2:]
    whole = [
        (n - 1) * s + (k - 1) * d + 1 + m for n, s, k, d, m in zip(sides, strides, kernel, dilations, more, strict=True)
    ]
    grouped = x.astype(np.float64).reshape(len(x), group, x.shape[1] // group, -1)
    weight = w.astype(np.float64).reshape(group, x.shape[1] // group, *w.shape[1:])
    total = np.zeros((len(x), group, w.shape[1], *whole))
    for place in np.ndindex(*kernel):
        cut = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilations, sides, strides, strict=True)
        )
        part = weight[(..., *place)].transpose(0, 2, 1) @ grouped
        total[(slice(None), slice(None), slice(None), *cut)] += part.reshape(len(x), group, w.shape[1], *sides)
    kept = tuple(
        slice(before, size - after) for before, size, after in zip(pads[:axes], whole, pads[axes:], strict=True)
    )
    result = total.reshape(len(x), -1, *whole)[(slice(None), slice(None), *kept)]
    result = result if b is None else result + b.astype(np.float64).reshape(-1, *[1] * axes)
    return result.astype(x.dtype)


def convolve(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    dilations: Any = None,
    group: int = 1,
    pads: Any = None,
    strides: Any = None,
) -> np.ndarray:
    """Returns a convolution as ONNX defines it, summed in float64.

    Args:
        x: `[N, C, ...]`.
        w: `[M, C / group, ...]`.
        b: `[M]`, or None.
        dilations: A number an axis; default 1.
        group: Number of groups.
        pads: Zeros before each axis, then after each; default 0.
        strides: A number an axis; default 1.
    """
    axes = x.ndim - 2
    dilations, strides, pads = dilations or [1] * axes, strides or [1] * axes, pads or [0] * 2 * axes
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *zip(pads[:axes], pads[axes:], strict=True)])
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    sizes = [(n - r) // s + 1 for n, r, s in zip(padded.shape[2:], reach, strides, strict=True)]
    grouped = padded.reshape(len(x), group, -1, *padded.shape[2:])
    weight = w.astype(np.float64).reshape(group, -1, *w.shape[1:])
    total = np.zeros((len(x), group, weight.shape[1], *sizes))
    for place in np.ndindex(*w.shape[2:]):
        cut = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilations, sizes, strides, strict=True)
        )
        window = grouped[(slice(None), slice(None), slice(None), *cut)].reshape(len(x), group, grouped.shape[2], -1)
        total += (weight[(..., *place)] @ window).reshape(total.shape)
    result = total.reshape(len(x), len(w), *sizes)
    result = result if b is None else result + b.astype(np.float64).reshape(-1, *[1] * axes)
    return result.astype(x.dtype)
