"""Operations that torch's exporter would trace a whole program again for, as ONNX: casts, squares, rolls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_OVERLOAD = {1: "default", 2: "input", 3: "input"}  # of the transposed convolutions over so many axes


def translations() -> dict[Any, Any]:
    """Returns what torch's exporter calls for them, by operation of torch."""
    import torch

    aten = torch.ops.aten
    return {
        aten.to.dtype: cast,
        aten.rsub.Scalar: reverse_subtraction,
        aten.square.default: square,
        aten.numpy_T.default: reverse_axes,
        aten.roll.default: roll,
        aten.index.Tensor: index,
        **{getattr(getattr(aten, f"conv_transpose{n}d"), name): conv_transpose for n, name in _OVERLOAD.items()},
        **{getattr(aten.__and__, form): _logical("And") for form in ("Tensor", "Scalar")},
        **{getattr(aten.__or__, form): _logical("Or") for form in ("Tensor", "Scalar")},
        **{getattr(aten.__xor__, form): _logical("Xor") for form in ("Tensor", "Scalar")},
    }


def cast(x: Any, dtype: Any, *_: Any, **__: Any) -> Any:
    """x.to(dtype); where it is stored is nothing that a graph says."""
    from onnxscript import opset20 as op

    return _handed_on(x) if x.dtype == dtype else op.Cast(x, to=int(dtype))


def _handed_on(x: Any) -> Any:
    """Returns what is x; torch's exporter names results, and a parameter or an input has its name already."""
    from onnxscript import opset20 as op

    return x if x.producer() is not None else op.Identity(x)


def square(x: Any) -> Any:
    """Returns x * x."""
    from onnxscript import opset20 as op

    return op.Mul(x, x)


def reverse_axes(x: Any) -> Any:
    """Returns x with its axes in reverse order, x.T."""
    from onnxscript import opset20 as op

    return op.Transpose(x, perm=list(range(len(x.shape)))[::-1])


def index(x: Any, indices: Sequence[Any]) -> Any:
    """Returns the elements of x at places along its axes; along one axis by whole numbers it is one Gather."""
    import onnx_ir as ir
    from onnxscript import opset20 as op
    from onnxscript.function_libs.torch_lib.ops.core import aten_index

    axes = [axis for axis, places in enumerate(indices) if places is not None]
    if len(axes) != 1 or indices[axes[0]].dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return aten_index(x, indices)
    return op.Gather(x, indices[axes[0]], axis=axes[0])


def roll(x: Any, shifts: Sequence[int], dims: Sequence[int] = ()) -> Any:
    """Returns x with its elements moved along axes, those that leave at one end entering at the other.

    Of an axis of known size that is two slices put together; torch's exporter reads the size in the graph.
    """
    from onnxscript import opset20 as op

    def each(value: Sequence[int] | int) -> list[int]:
        return [value] if isinstance(value, int) else list(value)

    sizes = list(x.shape) if x.shape is not None else None
    if not each(dims):  # of the elements in a row
        known = sizes is not None and all(isinstance(size, int) for size in sizes)
        count = math.prod(sizes) if known else None
        whole = _integers(*sizes) if known else op.Shape(x)
        return op.Reshape(_rolled(op.Reshape(x, _integers(-1)), each(shifts)[0], 0, count), whole)
    for shift, axis in zip(each(shifts), each(dims), strict=True):
        x = _rolled(x, shift, axis, sizes[axis] if sizes is not None else None)
    return _handed_on(x)


def _rolled(x: Any, shift: int, axis: int, size: Any) -> Any:
    """Returns x rolled along one axis, of a number of elements or of an unknown one."""
    from onnxscript import opset20 as op

    last, place = _integers(2**63 - 1), _integers(axis)
    if isinstance(size, int):
        if not size or not shift % size:
            return x
        start = _integers(size - shift % size)
    else:
        whole = op.Gather(op.Shape(x), place)
        start = op.Sub(whole, op.Mod(_integers(shift), whole))
    return op.Concat(op.Slice(x, start, last, place), op.Slice(x, _integers(0), start, place), axis=axis)


def _integers(*values: int) -> Any:
    import numpy as np
    import onnx
    from onnxscript import opset20 as op

    return op.Constant(value=onnx.numpy_helper.from_array(np.asarray(values, np.int64)))


def conv_transpose(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    output_padding: Sequence[int] = (0,),
    groups: int = 1,
    dilation: Sequence[int] = (1,),
) -> Any:
    """Returns a transposed convolution over one, two or three axes; a setting of one number is that of every axis."""
    from onnxscript import opset20 as op

    axes = len(weight.shape) - 2

    def each(value: Sequence[int] | int) -> list[int]:
        given = [value] if isinstance(value, int) else list(value)
        return given * axes if len(given) == 1 else given

    return op.ConvTranspose(
        *(x, weight) if bias is None else (x, weight, bias),
        kernel_shape=[int(size) for size in weight.shape[2:]],
        strides=each(stride),
        pads=each(padding) * 2,
        output_padding=each(output_padding),
        group=groups,
        dilations=each(dilation),
    )


def reverse_subtraction(x: Any, other: Any, alpha: float = 1) -> Any:
    """Returns other - alpha x; a fraction less whole numbers is float32, as in torch."""
    import onnx_ir as ir
    from onnxscript import opset20 as op

    if (isinstance(other, float) or isinstance(alpha, float)) and x.dtype.numpy().kind in "iu":
        x = op.Cast(x, to=int(ir.DataType.FLOAT))
        x.dtype = ir.DataType.FLOAT
    scaled = x if alpha == 1 else op.Mul(x, _number(alpha, x))
    return op.Sub(_number(other, x), scaled)


def _number(value: Any, like: Any) -> Any:
    import numpy as np
    import onnx
    import onnx_ir as ir
    from onnxscript import opset20 as op

    if isinstance(value, ir.Value):  # the size of a free axis
        return op.Cast(value, to=int(like.dtype))
    return op.Constant(value=onnx.numpy_helper.from_array(np.asarray(value, like.dtype.numpy())))


def _logical(name: str) -> Any:
    """Returns a translation to the operator of truth values, or to the bitwise one of whole numbers."""

    def translate(x: Any, y: Any) -> Any:
        import onnx_ir as ir
        from onnxscript import opset20 as op

        y = _number(y, x) if isinstance(y, int) else y
        both_true = x.dtype == ir.DataType.BOOL and (y.dtype or x.dtype) == ir.DataType.BOOL
        return getattr(op, name if both_true else f"Bitwise{name}")(x, y)

    return translate
