"""The operator `spike_gemv_lif` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.common.neuron import check_neuron, leak_arguments, reset_kind
from neurokit.kernels.common.product import WEIGHTS, check_rows
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.lif.op import lif
from neurokit.kernels.pack.op import unpack
from neurokit.kernels.spike_gemv_lif import reference

NAME = "spike_gemv_lif"
DEFAULT = {"cols": 128, "block_k": 64, "programs": 1056, "num_warps": 4, "num_stages": 3}
# Neurons of one program of the second kernel: few, so that their sums over the slices run side by side.
_NEURONS = 32
MAX_STEPS = 64
# Elements of a weight from which gathering its rows beat the dense product (benchmarks/results/kernels-h100.md): it won
# from 67 million on and lost up to 17 million, at every rate from 0.01 to 0.2.
GATHER_FROM = 2**26
PATHS = ("auto", "gather", "dense")


def _fake(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
) -> Tensor:
    return weight.new_empty((spikes.shape[0], spikes.shape[1], weight.shape[1]), dtype=torch.int8)


def _forward(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
) -> Tensor:
    out = _fake(spikes, weight, scale, bias, tau, threshold, v_reset, decay_input)
    if out.numel() == 0:
        return out
    if not use_triton(NAME, spikes):
        return out.copy_(reference.forward(spikes, weight, scale, bias, tau, threshold, v_reset, decay_input))
    partial = _slices(spikes.contiguous(), weight.contiguous())
    _neuron(partial, scale, bias, tau, threshold, v_reset, decay_input, out)
    return out


def _slices(spikes: Tensor, weight: Tensor) -> Tensor:
    """Returns the product's parts `[splits, T, M, N]`, each over its own slice of K.

    One row of spikes alone gives too few programs to keep the memory busy; cut along K there are enough.
    """
    from neurokit.kernels.spike_gemv_lif.triton import spike_gemv_kernel

    steps, rows, width = spikes.shape
    inner, cols = weight.shape
    kind = str(weight.dtype).removeprefix("torch.")
    chosen = config.lookup(NAME, (steps, inner, cols, kind), spikes.device, DEFAULT)
    blocks = -(-inner // chosen["block_k"])
    across = -(-cols // chosen["cols"])
    per_slice = -(-blocks // max(1, min(blocks, chosen["programs"] // (across * rows))))
    splits = -(-blocks // per_slice)
    integer = weight.dtype == torch.int8
    partial = spikes.new_empty((splits, steps, rows, cols), dtype=torch.int32 if integer else torch.float32)
    launch(spike_gemv_kernel)[(across, rows, splits)](
        spikes,
        weight,
        partial,
        rows,
        cols,
        width,
        T=steps,
        PAD_T=max(16, 1 << (steps - 1).bit_length()),
        INNER=inner,
        SLICE=per_slice * chosen["block_k"],
        PACKED=spikes.dtype == torch.int32,
        INTEGER=integer,
        UPCAST=INTERPRET and weight.dtype == torch.bfloat16,
        COLS=chosen["cols"],
        BLOCK_K=chosen["block_k"],
        num_warps=chosen["num_warps"],
        num_stages=chosen["num_stages"],
    )
    return partial


def _neuron(
    partial: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    out: Tensor,
) -> None:
    """Adds the parts and runs the neuron; fills `out`."""
    from neurokit.kernels.spike_gemv_lif.triton import spike_gemv_neuron_kernel

    splits, steps, rows, cols = partial.shape
    leak, factor = leak_arguments(tau, False, steps_from_rest=steps)
    launch(spike_gemv_neuron_kernel)[(-(-cols // _NEURONS), rows)](
        partial,
        partial if scale is None else scale,
        partial if bias is None else bias,
        out,
        rows,
        cols,
        factor,
        threshold,
        0.0 if v_reset is None else v_reset,
        T=steps,
        SPLITS=splits,
        PAD=1 << (splits - 1).bit_length(),
        LEAK=leak,
        DECAY_INPUT=decay_input,
        HARD=reset_kind(v_reset),
        SCALE=scale is not None,
        BIAS=bias is not None,
        COLS=_NEURONS,
        num_warps=4,
    )


spike_gemv_lif_op = register_op(NAME, _fake)(_forward)


def _small(weight: Tensor) -> bool:
    """Returns whether the dense product is faster, and logs why."""
    small = weight.is_cuda and weight.dtype != torch.int8 and weight.numel() < GATHER_FROM
    if small:
        log_once(NAME, f"dense product, because the weight has fewer than {GATHER_FROM} elements")
    return small


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
    path: str = "auto",
) -> Tensor:
    """Multiplies the spikes of a few rows by a weight, fetching only the weight's rows that a spike selects.

    For batch 1 and large weights; its README has the figures.

    Args:
        spikes: `[T, M, K]` int8 (0 or 1), or packed int32 `[T, M, ceil(K / 32)]`; T up to 64.
        weight: `[K, N]` (transposed) bfloat16, float16 or int8.
        scale: A factor an output channel, `[N]` float32.
        bias: A summand an output channel, `[N]` float32.
        tau: Time constant in steps, > 1; None for an IF neuron.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        path: "gather", "dense" (the vendor's product, rounded to 16 bits, then `lif`), or "auto": on a GPU, float
            weights below 2^26 elements are multiplied whole.

    Returns:
        Spikes `[T, M, N]` int8.

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    check_neuron(tau, threshold, v_reset)
    if weight.dim() != 2 or weight.dtype not in WEIGHTS:
        raise InputError(
            f"weight is {weight.dtype} {tuple(weight.shape)}", expected="bfloat16, float16 or int8 of shape [K, N]"
        )
    inner, cols = weight.shape
    if spikes.dim() != 3 or not 1 <= spikes.shape[0] <= MAX_STEPS or spikes.dtype not in (torch.int8, torch.int32):
        raise InputError(
            f"spikes are {spikes.dtype} {tuple(spikes.shape)}",
            expected=f"int8 or packed int32 [T, M, K] with 1 <= T <= {MAX_STEPS}",
        )
    if spikes.shape[2] != (-(-inner // 32) if spikes.dtype == torch.int32 else inner):
        raise InputError(f"spikes have {spikes.shape[2]} columns for a weight of K={inner}")
    check_rows(cols, scale, bias)
    if path not in PATHS or (path == "dense" and weight.dtype == torch.int8):
        raise InputError(
            f"path={path!r} does not fit {weight.dtype} weights", expected="auto, gather, or for floats dense"
        )
    if path == "dense" or (path == "auto" and _small(weight)):
        dense = unpack(spikes, inner, weight.dtype) if spikes.dtype == torch.int32 else spikes.to(weight.dtype)
        return lif(
            dense @ weight,
            scale=scale,
            bias=bias,
            tau=tau,
            threshold=threshold,
            v_reset=v_reset,
            decay_input=decay_input,
            spikes="int8",
            want_v=False,
        )[0]
    return torch.ops.neurokit_kernels.spike_gemv_lif(spikes, weight, scale, bias, tau, threshold, v_reset, decay_input)
