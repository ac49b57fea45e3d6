"""The operator `spike_gemv_lif` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.common.neuron import check_neuron, leak_arguments, reset_kind
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.spike_gemv_lif import reference

NAME = "spike_gemv_lif"
DEFAULT = {"cols": 32, "block_k": 128, "num_warps": 4, "num_stages": 3}
MAX_STEPS = 64


def _fake(
    spikes: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None, tau: float | None, threshold: float,
    v_reset: float | None, decay_input: bool,
) -> Tensor:  # fmt: skip
    return weight.new_empty((spikes.shape[0], spikes.shape[1], weight.shape[1]), dtype=torch.int8)


def _forward(
    spikes: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None, tau: float | None, threshold: float,
    v_reset: float | None, decay_input: bool,
) -> Tensor:  # fmt: skip
    out = _fake(spikes, weight, scale, bias, tau, threshold, v_reset, decay_input)
    if out.numel() == 0:
        return out
    if not use_triton(NAME, spikes):
        return out.copy_(reference.forward(spikes, weight, scale, bias, tau, threshold, v_reset, decay_input))
    from neurokit.kernels.spike_gemv_lif.triton import spike_gemv_lif_kernel

    steps, rows, width = spikes.shape
    inner, cols = weight.shape
    leak, factor = leak_arguments(tau, False)
    chosen = config.lookup(NAME, (steps, inner, cols), spikes.device, DEFAULT)
    launch(spike_gemv_lif_kernel)[((cols + chosen["cols"] - 1) // chosen["cols"], rows)](
        spikes.contiguous(), weight.contiguous(), weight if scale is None else scale,
        weight if bias is None else bias, out, rows, cols, width, factor, threshold,
        0.0 if v_reset is None else v_reset, T=steps, PAD_T=max(16, 1 << (steps - 1).bit_length()), INNER=inner,
        LEAK=leak, DECAY_INPUT=decay_input, HARD=reset_kind(v_reset), SCALE=scale is not None, BIAS=bias is not None,
        PACKED=spikes.dtype == torch.int32, INTEGER=weight.dtype == torch.int8,
        UPCAST=INTERPRET and weight.dtype == torch.bfloat16, COLS=chosen["cols"], BLOCK_K=chosen["block_k"],
        num_warps=chosen["num_warps"], num_stages=chosen["num_stages"],
    )  # fmt: skip
    return out


spike_gemv_lif_op = register_op(NAME, _fake)(_forward)


def spike_gemv_lif(
    spikes: Tensor,
    weight: Tensor,
    *,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    tau: float | None = 2.0,
    threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
) -> Tensor:
    """Multiplies the spikes of a few rows by a weight, fetching only the weight's rows that a spike selects.

    For batch 1. No other function of neurokit calls it by itself: benchmarks/results/kernels-h200.md says where
    it was faster than the dense product.

    Args:
        spikes: `[T, M, K]` int8 (0 or 1), or packed int32 `[T, M, ceil(K / 32)]`; T up to 64.
        weight: `[K, N]` (transposed) bfloat16, float16 or int8.
        scale: A factor an output channel, `[N]` float32.
        bias: A summand an output channel, `[N]` float32.
        tau: Time constant in steps, > 1; None for an IF neuron.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.

    Returns:
        Spikes `[T, M, N]` int8.

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    check_neuron(tau, threshold, v_reset)
    if weight.dim() != 2 or weight.dtype not in (torch.bfloat16, torch.float16, torch.int8):
        raise InputError(f"weight is {weight.dtype} {tuple(weight.shape)}",
                         expected="bfloat16, float16 or int8 of shape [K, N]")  # fmt: skip
    inner, cols = weight.shape
    if spikes.dim() != 3 or not 1 <= spikes.shape[0] <= MAX_STEPS or spikes.dtype not in (torch.int8, torch.int32):
        raise InputError(f"spikes are {spikes.dtype} {tuple(spikes.shape)}",
                         expected=f"int8 or packed int32 [T, M, K] with 1 <= T <= {MAX_STEPS}")  # fmt: skip
    if spikes.shape[2] != (-(-inner // 32) if spikes.dtype == torch.int32 else inner):
        raise InputError(f"spikes have {spikes.shape[2]} columns for a weight of K={inner}")
    for name, one in (("scale", scale), ("bias", bias)):
        if one is not None and (one.shape != (cols,) or one.dtype != torch.float32 or not one.is_contiguous()):
            raise InputError(f"{name} is {one.dtype} {tuple(one.shape)}", expected=f"contiguous float32 ({cols},)")
    return torch.ops.neurokit_kernels.spike_gemv_lif(spikes, weight, scale, bias, tau, threshold, v_reset, decay_input)
