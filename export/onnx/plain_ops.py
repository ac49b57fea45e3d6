"""Casts and Python's operators as ONNX: what torch's exporter would trace a whole program again for."""

from __future__ import annotations

from typing import Any


def translations() -> dict[Any, Any]:
    """Returns what torch's exporter calls for them, by operation of torch."""
    import torch

    aten = torch.ops.aten
    return {
        aten.to.dtype: cast,
        aten.rsub.Scalar: reverse_subtraction,
        **{getattr(aten.__and__, form): _logical("And") for form in ("Tensor", "Scalar")},
        **{getattr(aten.__or__, form): _logical("Or") for form in ("Tensor", "Scalar")},
        **{getattr(aten.__xor__, form): _logical("Xor") for form in ("Tensor", "Scalar")},
    }


def cast(x: Any, dtype: Any, *_: Any, **__: Any) -> Any:
    """x.to(dtype); where it is stored is nothing that a graph says."""
    from onnxscript import opset20 as op

    return x if x.dtype == dtype else op.Cast(x, to=int(dtype))


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
