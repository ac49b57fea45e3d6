"""Attention to selected keys by the path that was measured fastest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from torch import Tensor

from neurokit.attention.definition import attend
from neurokit.attention.index import BlockIndex
from neurokit.attention.pattern import AttentionPattern, Call
from neurokit.attention.tokens import TokenSet
from neurokit.errors import InputError
from neurokit.kernels.attention_path.choose import path_for
from neurokit.kernels.attention_path.measured import Kind
from neurokit.kernels.attention_path.select import selected
from neurokit.kernels.block_sparse_attention.op import block_sparse_attention
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.sparse_decode.op import sparse_decode

Wish = Literal["auto", "kernel", "flex", "definition"]


def sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    chosen: BlockIndex | TokenSet,
    *,
    key_bias: Tensor | None = None,
    scale: float | None = None,
    selection: Literal["given", "sale"] | Callable[[int], float] = "given",
    path: Wish = "auto",
) -> Tensor:
    """Attends to selected keys by the fastest path for the shape.

    On a GPU "auto" takes the kernel or FlexAttention, by measured rows, and refuses where dense attention is faster:
    what selects would cost and gain nothing. Without one it is the definition.

    Args:
        q: Queries `[B, H, S, D]`.
        k: Keys `[B, Hk, T, D]`.
        v: Values `[B, Hk, T, Dv]`.
        chosen: The selected blocks or tokens.
        key_bias: What is added to scores, `[B, Hk, T]`.
        scale: Factor of the products; default is D^-0.5.
        selection: What selecting costs, as `path_for`.
        path: "auto", or which one.

    Returns:
        Outputs `[B, H, S, Dv]`.

    Raises:
        InputError: If dense attention is faster and no path was named, or the named one cannot take the call.
    """
    if path not in ("auto", "kernel", "flex", "definition"):
        raise InputError(f"path is {path!r}", expected="auto, kernel, flex or definition")
    if path == "auto":
        path = _auto(q, k, chosen, selection) if use_triton("sparse_attention", q) else "definition"
    if path == "definition":
        return attend(q, k, v, chosen.to_dense(), key_bias, scale)[0]
    if path == "flex":
        return _flex(q, k, v, chosen, key_bias, scale)
    if q.shape[2] == 1:
        return sparse_decode(q[:, :, 0], k, v, chosen, key_bias=key_bias, scale=scale)[0][:, :, None]
    if isinstance(chosen, TokenSet):
        raise InputError("a set of tokens for several queries has no kernel", expected="blocks, or one query")
    return block_sparse_attention(q, k, v, chosen, key_bias=key_bias, scale=scale)[0]


def pattern_attention(
    pattern: AttentionPattern,
    call: Call,
    *,
    selection: Literal["given", "sale"] | Callable[[int], float] = "given",
    path: Wish = "auto",
) -> Tensor:
    """Attends as a pattern selects, by the fastest path; the same as `pattern.attend`.

    Rows that begin with padding (`Call.first`), and queries that are not the last entries (`Call.at`: a cache of fixed
    size), are calls of their own: kernels read whole rows, and what is not there is not read.

    Args:
        pattern: The pattern; its output is one softmax over the selected keys.
        call: The call.
        selection: What selecting costs, as `path_for`.
        path: As `sparse_attention`.

    Returns:
        Outputs `[B, H, S, Dv]`; queries of padding give 0.

    Raises:
        InputError: If the pattern takes a mean of several softmaxes, or as `sparse_attention`.
    """
    if not pattern.one_softmax:
        raise InputError(f"pattern {pattern.card.name!r} takes a mean of several softmaxes", fix="pattern.attend(call)")
    given = {"key_bias": call.key_bias, "scale": call.scale, "selection": selection, "path": path}
    if call.plain:
        return sparse_attention(call.q, call.k, call.v, selected(pattern, call), **given)  # type: ignore[arg-type]
    out = call.v.new_zeros(*call.q.shape[:3], call.v.shape[3])
    for at in range(call.q.shape[0]):
        alone = call.row(at)
        if alone.new:
            out[at, :, call.new - alone.new :] = pattern_attention(pattern, alone, selection=selection, path=path)[0]
    return out


def kind_of(chosen: BlockIndex | TokenSet) -> Kind | None:
    """Returns which measured rows a selection belongs to, or None where there are none."""
    if chosen.q_len == 1:
        return "decode"
    if isinstance(chosen, TokenSet):
        return None
    return "one query" if chosen.block_q == 1 else "blocks"


def share_of(chosen: BlockIndex | TokenSet) -> float:
    """Returns the listed keys as a share of those that a dense call reads, from the counts alone."""
    if isinstance(chosen, TokenSet):
        return min(1.0, float(chosen.num.float().mean()) / chosen.kv_len)
    listed = float((chosen.num + chosen.full_num).float().mean()) * chosen.block_k
    mean = chosen.kv_len - (chosen.q_len - 1) / 2 if chosen.causal else chosen.kv_len
    return min(1.0, listed / mean)


def _auto(
    q: Tensor, k: Tensor, chosen: BlockIndex | TokenSet, selection: Literal["given", "sale"] | Callable[[int], float]
) -> Wish:
    kind = kind_of(chosen)
    if kind is None:
        log_once("sparse_attention", "definition, because a set of tokens for several queries has no kernel")
        return "definition"
    found = path_for(kind, k.shape[2], max(share_of(chosen), 1e-9), selection=selection)
    if found.path == "dense":
        raise InputError(
            f"attention to selected keys of {k.shape[2]:,}: {found.why}",
            expected="a shape where selecting is faster",
            fix="use dense attention, or name a path",
        )
    log_once("sparse_attention", f"{found.path}: {found.why}")
    return found.path


def _flex(
    q: Tensor, k: Tensor, v: Tensor, chosen: BlockIndex | TokenSet, bias: Tensor | None, scale: float | None
) -> Tensor:
    if isinstance(chosen, TokenSet) or bias is not None:
        raise InputError("FlexAttention is given blocks without a bias here", expected="a BlockIndex, no key_bias")
    if not q.is_cuda:  # uncompiled it looks at the mask inside of blocks alone, not at which are listed
        raise InputError(f"FlexAttention on {q.device.type}", expected="a CUDA GPU", fix="path='definition'")
    heads, group = q.shape[1], q.shape[1] // k.shape[1]
    if chosen.num.shape[1] not in (1, heads):  # it knows one list for all, or one a query head
        names = ("num", "idx", "full_num", "full_idx")
        chosen = replace(chosen, **{name: getattr(chosen, name).repeat_interleave(group, 1) for name in names})
    out: Tensor = _compiled()(q, k, v, block_mask=chosen.to_flex(), scale=scale, enable_gqa=group > 1)
    return out


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)
