"""Attention as ONNX in three forms: plain operators, the standard's own, and those of ONNX Runtime.

"decomposed" is products and a softmax at opset 20. "standard" is one Attention a layer at opset 23 (LinearAttention at
opset 27): one output, and the mask with all its query rows, as runtimes refuse one that would have to be repeated.
"ort" is GroupQueryAttention and LinearAttention of ONNX Runtime's own domain.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal, get_args

from neurokit.errors import InputError
from neurokit.export.onnx.sparse import SPARSE

AttentionForm = Literal["decomposed", "standard", "ort"]
FORMS: tuple[str, ...] = get_args(AttentionForm)
PLAIN, ATTENTION, LINEAR = 20, 23, 27  # the opsets that have what a form needs
MICROSOFT = "com.microsoft"


def form_of(options: Mapping[str, Any]) -> AttentionForm:
    """Returns the form that the target's options ask for; masked and gathered attention is decomposed.

    Raises:
        InputError: If it is none of them.
    """
    asked = options.get("attention", "decomposed")
    if asked in SPARSE:
        return "decomposed"
    for form in get_args(AttentionForm):
        if asked == form:
            return form
    raise InputError(f"--option attention={asked}", expected="one of " + ", ".join((*FORMS, *SPARSE)))


def opset_of(program: Any, form: AttentionForm) -> int:
    """Returns the opset that a captured program needs in a form."""
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    if form == "decomposed":
        return PLAIN
    if form == "standard" and any("linear_attention" in name for name in called):
        return LINEAR
    return ATTENTION if any("scaled_dot_product_attention" in name for name in called) else PLAIN


def translations(form: AttentionForm) -> dict[Any, Any]:
    """Returns what torch's exporter calls for softmax attention and linear attention."""
    import torch

    softmax = torch.ops.aten.scaled_dot_product_attention.default
    table: dict[Any, Any] = {softmax: _decomposed if form == "decomposed" else _standard}
    if "neurokit.attention.linear" in sys.modules:  # it registers the operation; who holds a call of it has imported it
        named = {"decomposed": _decomposed_linear, "standard": _linear, "ort": _linear_ort}
        table[torch.ops.neurokit.linear_attention.default] = named[form]
    return table


def _decomposed(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(scale q k^T + mask) v; the queries of a group are rows of one product, so keys are never repeated."""
    from onnxscript import opset20 as op

    rank = len(q.shape)
    heads, groups = (int(q.shape[1]), int(k.shape[1])) if enable_gqa and rank == 4 else (1, 1)
    rows = op.Mul(q, _number(op, scale if scale is not None else int(q.shape[-1]) ** -0.5, q))
    if heads != groups:
        rows = op.Reshape(rows, op.Constant(value_ints=[0, groups, -1, int(q.shape[3])]))
    scores = op.MatMul(rows, op.Transpose(k, perm=[*range(rank - 2), rank - 1, rank - 2]))
    if heads != groups:
        # 0 is the size that stands at its place: texts, and keys.
        scores = op.Reshape(scores, op.Constant(value_ints=[0, heads, -1, 0]))
    if is_causal:
        scores = op.Where(_not_later(op, q, k, rank), scores, _number(op, float("-inf"), q))
    elif attn_mask is not None:
        scores = _masked(op, scores, attn_mask, q)
    weights = op.Softmax(scores, axis=-1)
    if heads == groups:
        return op.MatMul(weights, v)
    weights = op.Reshape(weights, op.Constant(value_ints=[0, groups, -1, 0]))
    return op.Reshape(op.MatMul(weights, v), op.Constant(value_ints=[0, heads, -1, int(v.shape[3])]))


def _not_later(op: Any, q: Any, k: Any, rank: int) -> Any:
    """Returns where a query is at or behind a key, `[queries, keys]`; both begin at the first, as torch has it."""
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    counts = [op.Squeeze(op.Shape(x, start=rank - 2, end=rank - 1)) for x in (q, k)]
    queries, keys = (op.Range(zero, count, one) for count in counts)
    return op.GreaterOrEqual(op.Unsqueeze(queries, op.Constant(value_ints=[1])), keys)


def _of_torch(q: Any, k: Any, v: Any, *rest: Any) -> Any:
    """Softmax attention as torch's exporter has it, for calls that no decoder makes."""
    from torch.onnx._internal.exporter._torchlib.ops.nn import aten_scaled_dot_product_attention_23

    return aten_scaled_dot_product_attention_23(q, k, v, *rest)


def _masked(op: Any, scores: Any, mask: Any, like: Any) -> Any:
    import onnx_ir as ir

    if mask.dtype == ir.DataType.BOOL:
        return op.Where(mask, scores, _number(op, float("-inf"), like))
    return op.Add(scores, mask)


def _number(op: Any, value: float, like: Any) -> Any:
    import numpy as np
    import onnx

    return op.Constant(value=onnx.numpy_helper.from_array(np.asarray(value, like.dtype.numpy())))


def _standard(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """One Attention node with the mask as an input.

    Never is_causal: runtimes disagree where the diagonal starts when there are fewer queries than keys.
    """
    if is_causal or len(q.shape) != 4:
        return _of_torch(q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    factor = float(scale if scale is not None else int(q.shape[3]) ** -0.5)
    (out,) = _node("", "Attention", [q, k, v, attn_mask], {"scale": factor}, 1)
    out.dtype = q.dtype
    return out


def _decomposed_linear(q: Any, k: Any, v: Any, decay: Any, state: Any) -> Any:
    """The block form over all tokens of a call, as `Lightning.block` does it for one block."""
    from onnxscript import opset20 as op

    one, zero = op.Constant(value_ints=[1]), op.Constant(value_int=0)
    count = op.Shape(q, start=2, end=3)
    index = op.Range(zero, op.Squeeze(count), op.Constant(value_int=1))
    apart = op.Sub(op.Unsqueeze(index, one), index)
    rate = op.Reshape(decay, op.Constant(value_ints=[-1, 1, 1]))
    # Where the key is later than the query the decay's exponent would grow: it is cut before, and the weight after.
    weights = op.Exp(op.Mul(rate, op.CastLike(op.Max(apart, zero), q)))
    weights = op.Where(op.GreaterOrEqual(apart, zero), weights, _number(op, 0.0, q))
    turned = op.Transpose(k, perm=[0, 1, 3, 2])
    inside = op.MatMul(op.Mul(op.MatMul(q, turned), weights), v)
    column = op.Unsqueeze(index, one)
    since = op.Exp(op.Mul(rate, op.CastLike(op.Add(column, one), q)))
    left = op.Exp(op.Mul(rate, op.CastLike(op.Sub(op.Sub(count, one), column), q)))
    fresh = op.MatMul(op.Transpose(op.Mul(k, left), perm=[0, 1, 3, 2]), v)
    kept = op.Mul(op.Exp(op.Mul(rate, op.CastLike(count, q))), state)
    return op.Add(inside, op.MatMul(op.Mul(q, since), state)), op.Add(kept, fresh)


def _linear(q: Any, k: Any, v: Any, decay: Any, state: Any) -> Any:
    return _linear_node(q, k, v, decay, state, "")


def _linear_ort(q: Any, k: Any, v: Any, decay: Any, state: Any) -> Any:
    return _linear_node(q, k, v, decay, state, MICROSOFT)


def _linear_node(q: Any, k: Any, v: Any, decay: Any, state: Any, domain: str) -> Any:
    """One LinearAttention node: tokens by heads side by side, and the logarithm of the decay for every token."""
    from onnxscript import opset20 as op

    heads = int(q.shape[1])

    def packed(x: Any) -> Any:
        return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), op.Constant(value_ints=[0, 0, heads * int(x.shape[3])]))

    rows = op.Concat(op.Shape(q, start=0, end=1), op.Shape(q, start=2, end=3), op.Constant(value_ints=[heads]), axis=0)
    attributes = {"q_num_heads": heads, "kv_num_heads": heads, "scale": 1.0, "update_rule": "gated"}
    inputs = [packed(q), packed(k), packed(v), state, op.Expand(decay, rows)]
    out, after = _node(domain, "LinearAttention", inputs, attributes, 2)
    out.dtype = after.dtype = q.dtype
    shape = op.Constant(value_ints=[0, 0, heads, int(v.shape[3])])
    return op.Transpose(op.Reshape(out, shape), perm=[0, 2, 1, 3]), after


def _node(domain: str, name: str, inputs: list[Any], attributes: dict[str, Any], outputs: int) -> Any:
    """Records a node with as many outputs as are wanted; onnxscript would give it all that the operator may have."""
    import onnx_ir as ir
    import onnxscript

    attributes = ir.convenience.convert_attributes(attributes)
    node = ir.Node(domain, name, inputs, attributes, num_outputs=outputs)
    onnxscript.evaluator.default().nodes.append(node)  # the exporter's recorder
    return node.outputs
