"""Puts the standard's own operators of opset 23 in the place of norms and rotations that were written out."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir


def fuse(model: ir.Model) -> None:
    """Replaces x rsqrt(mean(x^2) + eps) w by RMSNormalization, and the half-split rotation by RotaryEmbedding."""
    from onnxscript.rewriter import pattern, rewrite

    rules = pattern.RewriteRuleSet(
        [
            pattern.RewriteRule(_norm, _normalisation, _is_norm),
            pattern.RewriteRule(_rotation, _rotary, _is_rotation),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rewrite(model, pattern_rewrite_rules=rules)


def _norm(op: Any, x: Any, axes: Any, eps: Any, weight: Any) -> Any:
    mean = op.ReduceMean(op.Mul(x, x), axes, keepdims=1)
    return op.Mul(op.Mul(x, op.Reciprocal(op.Sqrt(op.Add(mean, eps)))), weight)


def _is_norm(context: Any, axes: Any, eps: Any, weight: Any, **_: Any) -> bool:
    """Whether it is over the last axis alone, with constants."""
    over, small = _constant(axes), _constant(eps)
    vector = weight.const_value is not None and len(weight.const_value.shape) == 1
    return over == [-1] and small is not None and len(small) == 1 and vector


def _normalisation(op: Any, x: Any, eps: Any, weight: Any, **_: Any) -> Any:
    (small,) = _constant(eps)
    return op.RMSNormalization(x, weight, axis=-1, epsilon=float(small))


def _rotation(op: Any, x: Any, cos: Any, sin: Any, first: Any, half: Any, end: Any, last: Any, one: Any) -> Any:
    a, b = op.Slice(x, first, half, last, one), op.Slice(x, half, end, last, one)
    return op.Concat(op.Sub(op.Mul(a, cos), op.Mul(b, sin)), op.Add(op.Mul(b, cos), op.Mul(a, sin)), axis=-1)


def _is_rotation(context: Any, cos: Any, sin: Any, **cut: Any) -> bool:
    """Whether the parts are the two halves of the last of four axes, and cosines are the same for all heads."""
    first, half, end, last, one = (_constant(cut[name]) for name in ("first", "half", "end", "last", "one"))
    if half is None or end is None or end[0] < 2 * half[0]:
        return False
    shared = all(_without_heads(value) is not None for value in (cos, sin))
    return shared and first == [0] and one == [1] and last in ([3], [-1])


def _rotary(op: Any, x: Any, cos: Any, sin: Any, **_: Any) -> Any:
    return op.RotaryEmbedding(x, _without_heads(cos), _without_heads(sin))


def _without_heads(value: Any) -> Any:
    """Returns `[B, S, D / 2]` for the `[B, 1, S, D / 2]` that is made of it, else None."""
    node = value.producer()
    if node is None or node.op_type != "Unsqueeze" or _constant(node.inputs[1]) != [1]:
        return None
    return node.inputs[0]


def _constant(value: Any) -> list[Any] | None:
    """Returns the numbers of a constant."""
    return None if value.const_value is None else value.const_value.numpy().reshape(-1).tolist()
