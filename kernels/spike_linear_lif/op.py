"""The operator `spike_linear_lif` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.common.layout import steps_of
from neurokit.kernels.common.neuron import check_neuron
from neurokit.kernels.common.product import (
    LEVELS,
    WEIGHTS,
    activation,
    added,
    check_beside,
    check_grid,
    check_product_form,
    check_rows,
    current_type,
    empty_result,
    tail,
    tiles,
)
from neurokit.kernels.dispatch import log_once, use_triton
from neurokit.kernels.lif.op import lif
from neurokit.kernels.pack.op import unpack
from neurokit.kernels.spike_conv_lif import boxes, place
from neurokit.kernels.spike_linear_lif import reference

NAME = "spike_linear_lif"
DEFAULT = {"path": "auto", "rows": 64, "cols": 128, "block_k": 64, "chunk": 1, "num_warps": 4, "num_stages": 3}
# Where no measurement decides: on an H200 the fused kernel won at K <= 128, and lost to the vendor's GEMM with `lif`
# behind it at K = 256 and above for float weights.
FUSED_MAX_INNER = 128
FEW_ROWS = 2048


def _outputs(
    spikes: Tensor, weight: Tensor, form: str, want_v: bool, want_current: bool
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (spikes.shape[0], spikes.shape[1], weight.shape[0])
    dtype = activation(weight)
    v = weight.new_empty(shape[1:] if want_v else 0, dtype=torch.float32)
    y = weight.new_empty(shape if want_current else 0, dtype=current_type(weight))
    return empty_result(shape, form, dtype, spikes.device), v, y


def _fake(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    v0: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_v: bool,
    want_current: bool,
    path: str,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    least: float | None = None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(spikes, weight, form, want_v, want_current)


def _kind(dtype: torch.dtype) -> str:
    return "packed" if dtype == torch.int32 else ("int8" if dtype == torch.int8 else "16")


def key_of(spikes: Tensor, weight: Tensor, current: bool) -> tuple[object, ...]:
    """Returns what the best launch parameters depend on; few rows (batch 1) are a case of their own."""
    cols, inner = weight.shape
    rows = "many" if spikes.shape[1] >= FEW_ROWS else "few"
    return (spikes.shape[0], rows, inner, cols, _kind(spikes.dtype), _kind(weight.dtype)) + ("current",) * current


def parameters_of(spikes: Tensor, weight: Tensor, current: bool) -> config.Config:
    """Returns the launch parameters; those of the product without its current where it was measured without alone."""
    plain = config.lookup(NAME, key_of(spikes, weight, False), spikes.device, DEFAULT)
    return config.lookup(NAME, key_of(spikes, weight, True), spikes.device, plain) if current else plain


def choose_path(spikes: Tensor, weight: Tensor, chosen: config.Config) -> str:
    """Returns "fused" (one kernel) or "gemm" (the vendor's product, then `lif`), and logs why."""
    if INTERPRET:
        return "fused"
    inner = weight.shape[1]
    path = chosen["path"]
    if path == "auto":
        # The vendor's int8 product writes 4 bytes a sum: it lost at every shape that was measured with aligned rows.
        path = "fused" if inner <= FUSED_MAX_INNER or weight.dtype == torch.int8 else "gemm"
    log_once(NAME, f"K={inner} N={weight.shape[0]} takes the {path} path")
    return path


def _forward(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    v0: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_v: bool,
    want_current: bool,
    path: str,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    least: float | None = None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _outputs(spikes, weight, form, want_v, want_current)
    rounding = (grid, low, high, rounds)
    if outputs[0].numel() == 0:
        return outputs
    if not use_triton(NAME, spikes):
        results = reference.forward(
            spikes,
            weight,
            scale,
            bias,
            residual,
            v0,
            tau,
            threshold,
            v_reset,
            decay_input,
            form,
            activation(weight),
            *rounding,
            decay,
            least,
            beside,
        )
        outputs[0].copy_(results[0])
        if want_v:
            outputs[1].copy_(results[1])
        if want_current:
            outputs[2].copy_(results[2])
        return outputs
    if _takes_boxes(path, spikes, weight, v0, want_v, form):
        neuron, targets = (tau, threshold, v_reset, decay_input), (outputs[0], outputs[2])
        ending = (*rounding, decay, form, least)
        _product_by_boxes(spikes, weight, scale, bias, steps_of(residual), neuron, targets, ending, beside)
        return outputs
    chosen = parameters_of(spikes, weight, want_current)
    if _groups(spikes, weight) > 1:
        path = "gemm"
    if grid is None and (choose_path(spikes, weight, chosen) if path == "auto" else path) == "gemm":
        return _gemm_then_lif(
            spikes,
            weight,
            scale,
            bias,
            residual,
            v0,
            tau,
            threshold,
            v_reset,
            decay_input,
            form,
            want_v,
            want_current,
            decay,
            beside,
        )
    _launch(
        spikes.contiguous(),
        weight.contiguous(),
        scale,
        bias,
        residual,
        v0,
        tau,
        threshold,
        v_reset,
        decay_input,
        form,
        chosen,
        outputs,
        (*rounding, decay, least),
        beside,
    )
    return outputs


def _boxes_obstacle(spikes: Tensor, weight: Tensor, v0: Tensor | None, want_v: bool, form: str) -> str:
    """Returns why the convolution's kernel by boxes cannot take a call as a 1x1 convolution, or ""."""
    if v0 is not None or want_v:
        return "a membrane is given or wanted"
    if _groups(spikes, weight) > 1 and weight.shape[-1] % place.WHOLE:
        return f"groups of {weight.shape[-1]} channels are no multiple of {place.WHOLE}"
    return boxes.obstacle(spikes, weight, 1, 0, form)


def _takes_boxes(path: str, spikes: Tensor, weight: Tensor, v0: Tensor | None, want_v: bool, form: str) -> bool:
    """Returns whether a call goes by tensor descriptors: on request, or where that is what was measured faster."""
    if path not in ("auto", "boxes") or _boxes_obstacle(spikes, weight, v0, want_v, form):
        return False
    steps, rows, _ = spikes.shape
    cols, inner = weight.shape
    key = boxes.typed(boxes.key(steps, 1, inner, cols, 1, 1, boxes.hint(rows)), weight.dtype)
    whole = weight.dtype == torch.int8 and inner > FUSED_MAX_INNER
    default = "boxes" if whole or _groups(spikes, weight) > 1 else "fused"
    return path == "boxes" or boxes.preferred(key, spikes.device, default) == "boxes"


def _product_by_boxes(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    neuron: tuple[float | None, float, float | None, bool],
    outputs: tuple[Tensor, Tensor],
    ending: tuple[float | None, float | None, float | None, bool, float | None, str, float | None],
    beside: Tensor | None,
) -> None:
    """Runs the product as the 1x1 convolution of one image of one row."""
    image = lambda x: x[:, None, None]  # noqa: E731
    given = (image(spikes), image(weight), scale, bias, None if residual is None else image(residual))
    more = None if beside is None else image(beside)
    out, current = outputs
    boxes.run(*given, 1, 0, *neuron, (image(out), image(current) if current.numel() else current), *ending, beside=more)


def _gemm_then_lif(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    v0: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    want_v: bool,
    want_current: bool,
    decay: float | None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with the vendor's product: its output is rounded to 16 bits before the neuron (int8: exact)."""
    steps, rows = spikes.shape[:2]
    dense = unpack(spikes, weight.shape[1], weight.dtype) if spikes.dtype == torch.int32 else spikes.to(weight.dtype)
    flat = dense.flatten(0, 1)
    product = torch._int_mm(flat, weight.t()) if weight.dtype == torch.int8 else _halves(flat, weight)
    fired, v, y = lif(
        product.reshape(steps, rows, weight.shape[0]),
        v0,
        scale=scale,
        bias=bias,
        residual=residual,
        decay=None if decay is None else torch.full((), decay, device=product.device),
        tau=tau,
        threshold=threshold,
        v_reset=v_reset,
        decay_input=decay_input,
        spikes=form,
        want_v=want_v,
        want_current=want_current,
    )
    fired = added(fired if form != "same" else fired.to(activation(weight)), beside)
    return fired, v, y.to(current_type(weight))


def _groups(spikes: Tensor, weight: Tensor) -> int:
    """Returns the groups of input channels, each in front of its own outputs: as many as fill the spikes' columns."""
    return 1 if spikes.dtype == torch.int32 else spikes.shape[-1] // max(1, weight.shape[-1]) or 1


def _halves(rows: Tensor, weight: Tensor) -> Tensor:
    """Returns the vendor's product `[rows, N]` in 16 bits, of each group where there are several."""
    groups = _groups(rows, weight)
    if groups == 1:
        return rows @ weight.t()
    apart = rows.unflatten(-1, (groups, -1)).transpose(0, 1), weight.unflatten(0, (groups, -1)).transpose(1, 2)
    return torch.bmm(*apart).transpose(0, 1).flatten(1)


def _launch(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    v0: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    chosen: config.Config,
    outputs: tuple[Tensor, Tensor, Tensor],
    rounding: tuple[float | None, float | None, float | None, bool, float | None, float | None],
    beside: Tensor | None = None,
) -> None:
    from neurokit.kernels.spike_linear_lif.triton import spike_linear_lif_kernel

    out, v, y = outputs
    steps, rows, width = spikes.shape
    cols, inner = weight.shape
    block_k = min(chosen["block_k"], max(32, 1 << (inner - 1).bit_length()))
    launch(spike_linear_lif_kernel)[(tiles(rows, cols, chosen),)](
        spikes_in=spikes,
        weight=weight,
        v0=out if v0 is None else v0.contiguous(),
        v_last=v if v.numel() else out,
        rows=rows,
        words=width,
        stride=width,
        step_stride=rows * width,
        INNER=inner,
        HAS_V0=v0 is not None,
        WANT_V=v.numel() > 0,
        PACKED=spikes.dtype == torch.int32,
        ONE_BLOCK=inner <= block_k,
        BLOCK_K=block_k,
        **tail(
            weight,
            scale,
            bias,
            steps_of(residual),
            out,
            y,
            steps,
            rows,
            tau,
            threshold,
            v_reset,
            decay_input,
            form,
            chosen,
            *rounding,
            beside=beside,
            at_rest=v0 is None,
        ),
    )


spike_linear_lif_op = register_op(NAME, _fake)(_forward)


def spike_linear_lif(
    spikes: Tensor,
    weight: Tensor,
    *,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    v0: Tensor | None = None,
    tau: float | None = 2.0,
    threshold: float = 1.0,
    v_reset: float | None = 0.0,
    decay_input: bool = True,
    form: str = "packed",
    want_v: bool = False,
    want_current: bool = False,
    path: str = "auto",
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    least: float | None = None,
    beside: Tensor | None = None,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Multiplies spikes by a weight and runs the neuron on the accumulators, without storing the product.

    Inference only. A 1x1 convolution on channels-last data is this product over its pixels.

    Args:
        spikes: `[T, M, K]` int8 (0 or 1), or in the weight's dtype, or packed int32 `[T, M, ceil(K / 32)]`.
        weight: `[N, K]`, or `[N, K / groups]`, bfloat16, float16 or int8 (then the spikes are int8 or packed).
        scale: A factor an output channel, `[N]` float32 (de-quantisation, a folded batch normalisation).
        bias: A summand an output channel, `[N]` float32.
        residual: Added to the current, `[T, M, N]`.
        v0: Membrane before the first step, `[M, N]` float32.
        tau: Time constant in steps, > 1; None for an IF neuron.
        threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the input decays too.
        form: Form of the output spikes: "packed", "int8" or "same" (the weight's dtype; float16 for int8). "levels8"
            and "levels16" put out the rounded current itself, without a neuron: int8 or float16, times `grid`.
        want_v: Whether the last membrane is returned.
        want_current: Whether the current is returned.
        path: "fused", "boxes" (by tensor descriptors), "gemm" (the vendor's product, rounded to 16 bits,
            then `lif`), or "auto": by shape.
        grid: With an int8 weight: the power of two to whose multiples the current is rounded, halves to even, before it
            reaches the neuron; None for a current as it is.
        low: Least current in front of the rounding, or None.
        high: Largest, or None.
        rounds: Whether the current that is returned is the rounded one.
        decay: A learnt leak: what the membrane's distance from rest is multiplied by, in place of a division by `tau`,
            which is None then.
        least: With levels: what the current that is returned is limited to from below (0 of a ReLU), or None.
        beside: What is added to the spikes as they are put out, `[T, M, N]` of the type that "int8" or "same" has: the
            spikes or counts of a shortcut. The sums must fit that type.
        groups: Into which the K channels, unpacked, and the N outputs fall, as those of a convolution; one, or beside a
            weight in 16 bits several.

    Returns:
        Spikes `[T, M, N]` or packed `[T, M, ceil(N / 32)]`, the last membrane `[M, N]` float32, and the current
        `[T, M, N]` in the weight's dtype (float32 for int8); what is not wanted has no elements.

    Raises:
        InputError: If a shape, dtype or parameter does not fit.
    """
    check_neuron(tau, threshold, v_reset, decay)
    check_product_form(form, grid, low, high, least)
    if form in LEVELS and (want_v or v0 is not None):
        raise InputError(f"form={form!r} with a membrane", expected="neither v0 nor want_v: there is no neuron")
    _check_shapes(spikes, weight, scale, bias, residual, v0, groups)
    check_beside(beside, (*spikes.shape[:2], weight.shape[0]), form, weight)
    check_grid(weight, grid, low, high, rounds)
    if path == "fused" and groups > 1:
        raise InputError(f"path='fused' of {groups} groups", expected="auto, boxes or gemm")
    if path not in ("auto", "fused", "boxes", "gemm") or (path == "gemm" and grid is not None):
        raise InputError(f"path={path!r} is unknown here", expected="auto, fused, boxes or (without a grid) gemm")
    if path == "boxes" and use_triton(NAME, spikes) and (why := _boxes_obstacle(spikes, weight, v0, want_v, form)):
        raise InputError(f"path='boxes' cannot take this: {why}", fix="path='auto'")
    return torch.ops.neurokit_kernels.spike_linear_lif(
        spikes,
        weight,
        scale,
        bias,
        residual,
        v0,
        tau,
        threshold,
        v_reset,
        decay_input,
        form,
        want_v,
        want_current,
        path,
        grid,
        low,
        high,
        rounds,
        decay,
        least,
        beside,
    )


def _check_shapes(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    v0: Tensor | None,
    groups: int,
) -> None:
    if weight.dtype not in WEIGHTS or weight.dim() != 2:
        raise InputError(
            f"weight is {weight.dtype} {tuple(weight.shape)}", expected="bfloat16, float16 or int8 of shape [N, K]"
        )
    cols, inner = weight.shape[0], weight.shape[1] * groups
    if groups < 1 or cols % groups or (groups > 1 and (weight.dtype == torch.int8 or spikes.dtype == torch.int32)):
        raise InputError(
            f"{groups} groups of {cols} outputs, the weight {weight.dtype}, spikes {spikes.dtype}",
            expected="one, or a divisor of the outputs beside a weight in 16 bits and unpacked spikes",
        )
    if spikes.dtype not in (torch.int32, torch.int8, weight.dtype) or spikes.dim() != 3 or spikes.shape[0] == 0:
        raise InputError(
            f"spikes are {spikes.dtype} {tuple(spikes.shape)}",
            expected=f"[T, M, K] of int8, packed int32 or {weight.dtype}, T >= 1",
        )
    width = -(-inner // 32) if spikes.dtype == torch.int32 else inner
    if spikes.shape[2] != width:
        raise InputError(f"spikes have {spikes.shape[2]} columns for a weight of K={inner}", expected=f"{width}")
    check_rows(cols, scale, bias)
    shape = (*spikes.shape[:2], cols)
    if residual is not None and residual.shape != shape:
        raise InputError(f"residual has shape {tuple(residual.shape)}", expected=f"{shape}")
    if v0 is not None and (v0.shape != shape[1:] or v0.dtype != torch.float32):
        raise InputError(f"v0 is {v0.dtype} {tuple(v0.shape)}", expected=f"float32 {shape[1:]}")
