"""The operator `rescale_keys` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.rescale import Ratio
from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.common.layout import power_of_two
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.rescale_keys import reference

NAME = "rescale_keys"
DEFAULT = {"rows": 64, "num_warps": 4}
MOST = 64  # keys: the columns of one product
WIDEST = 256


def _fake(
    out: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    scale: float,
    above: float,
    above_mass: float,
    below: float,
    below_mass: float,
) -> None:
    return None


def _forward(
    out: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    scale: float,
    above: float,
    above_mass: float,
    below: float,
    below_mass: float,
) -> None:
    if out.numel() == 0 or keys.numel() == 0:
        return
    if not use_triton(NAME, q) or lse.dtype == torch.float64:
        ratio = Ratio(above, above_mass, below, below_mass)
        out.copy_(reference.forward(out, lse, q, k, v, keys, scale, ratio))
        return
    from neurokit.kernels.rescale_keys.triton import rescale_kernel

    chosen = config.lookup(NAME, (q.shape[3], keys.numel()), q.device, DEFAULT)
    rows = chosen["rows"] if max(q.shape[3], v.shape[3]) <= 128 else 32
    launch(rescale_kernel)[(-(-q.shape[2] // rows), q.shape[1], q.shape[0])](
        out,
        lse,
        q,
        k,
        v,
        keys,
        q.shape[2],
        k.shape[2] - q.shape[2],
        scale,
        above,
        above_mass,
        below,
        below_mass,
        *(stride for x in (out, q, k, v) for stride in x.stride()[:3]),
        GROUP=q.shape[1] // k.shape[1],
        COUNT=keys.numel(),
        NP=max(16, power_of_two(keys.numel())),
        D=q.shape[3],
        DP=max(16, power_of_two(q.shape[3])),
        DV=v.shape[3],
        DVP=max(16, power_of_two(v.shape[3])),
        ROWS=rows,
        PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
        num_warps=chosen["num_warps"],
    )


rescale_keys_op = register_op(NAME, _fake, mutates=("out",))(_forward)


def rescale_keys(
    out: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    ratio: Ratio,
    *,
    scale: float | None = None,
    in_place: bool = False,
) -> Tensor:
    """Multiplies the weights of a few keys in attention that is there, and divides every row. Inference only.

    Args:
        out: Output of causal attention `[B, H, S, Dv]`, float32, float16 or bfloat16; queries are the last of the text.
        lse: Its log-sum-exps `[B, H, S]`, natural, float32.
        q: Queries `[B, H, S, D]`.
        k: All keys `[B, Hk, T, D]`.
        v: All values `[B, Hk, T, Dv]`.
        keys: Positions of the few keys, int64 `[n]`, at most 64; a query before a key does not see it.
        ratio: The factor, from the mass of the keys in a row.
        scale: Factor of the products; default is D^-0.5.
        in_place: Whether `out` itself is changed and returned.

    Raises:
        InputError: If shapes or types do not fit.
    """
    whole = q.dim() == k.dim() == v.dim() == out.dim() == 4 and k.shape[:3] == v.shape[:3]
    if (
        not whole
        or q.shape[0] != k.shape[0]
        or q.shape[3] != k.shape[3]
        or k.shape[1] < 1
        or q.shape[1] % k.shape[1]
        or q.shape[2] > k.shape[2]
        or out.shape != (*q.shape[:3], v.shape[3])
        or lse.shape != q.shape[:3]
        or not q.dtype == k.dtype == v.dtype == out.dtype
    ):
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in (("out", out), ("q", q), ("k", k), ("v", v)))
        raise InputError(
            f"{shapes}, lse {list(lse.shape)} do not fit",
            expected="[B, H, S, Dv], [B, H, S, D], [B, Hk, T, D], [B, Hk, T, Dv], [B, H, S], of one type",
        )
    if keys.dim() != 1 or keys.dtype != torch.int64 or keys.numel() > MOST:
        raise InputError(f"keys are {keys.dtype} {list(keys.shape)}", expected=f"int64 [n], at most {MOST}")
    if max(q.shape[3], v.shape[3]) > WIDEST:
        raise InputError(f"heads of width {max(q.shape[3], v.shape[3])}", expected=f"at most {WIDEST}")
    result = out if in_place and out.stride(3) == 1 else out.clone(memory_format=torch.contiguous_format)
    given = [x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v)]
    torch.ops.neurokit_kernels.rescale_keys(
        result,
        lse.contiguous(),
        *given,
        keys,
        q.shape[3] ** -0.5 if scale is None else scale,
        ratio.above,
        ratio.above_mass,
        ratio.below,
        ratio.below_mass,
    )
    return out.copy_(result) if in_place and result is not out else result
