"""What the kernels with a product before the neuron share: checks of their rows, and the arguments of the tail."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.common.layout import one_step, repeats_one_step
from neurokit.kernels.common.neuron import FORMS, divisor, empty_spikes, leak_arguments, reset_kind
from neurokit.kernels.config import Config

_FAR = torch.finfo(torch.float32).max  # a limit that limits nothing: compiled programs cannot write infinity
WEIGHTS = (torch.bfloat16, torch.float16, torch.int8)
# Beside spikes: the rounded current itself, without a neuron, as the whole numbers that it is of its grid.
# "bytes" are those from 0 to 255, less 128.
LEVELS = {"levels8": torch.int8, "levels16": torch.float16, "bytes": torch.int8}
_FORMS = (*FORMS, *LEVELS)
_RANGES = {"levels8": (-127, 127), "levels16": (-2048, 2048), "bytes": (0, 255)}
LESS = 128  # what is subtracted of numbers from 0 to 255, so that int8 holds them


def activation(weight: Tensor) -> torch.dtype:
    """Returns the dtype of "same" spikes: the weight's, float16 beside int8 weights."""
    return torch.float16 if weight.dtype == torch.int8 else weight.dtype


def current_type(weight: Tensor) -> torch.dtype:
    """Returns the dtype of currents: the weight's; float32 beside int8 weights, whose sums it holds exactly."""
    return torch.float32 if weight.dtype == torch.int8 else weight.dtype


def check_product_form(
    form: str, grid: float | None, low: float | None, high: float | None, least: float | None
) -> None:
    """Checks the name of an output form, and what whole numbers need beside it.

    Args:
        form: One of spikes, or "levels8", "levels16" or "bytes".
        grid: What the current is rounded to.
        low: Least current in front of the rounding.
        high: Largest.
        least: What the current that is handed on is limited to from below.

    Raises:
        InputError: If there is no such form, its type does not hold the rounded current, or spikes have a `least`.
    """
    if form not in _FORMS:
        raise InputError(f"form={form!r} is unknown", expected=" or ".join(_FORMS))
    if form not in LEVELS:
        if least is not None:
            raise InputError(f"least={least!r} beside spikes", expected="it with a form of levels alone")
        return
    least_level, most = _RANGES[form]
    if grid is None or low is None or high is None or not least_level <= low / grid <= high / grid <= most:
        raise InputError(
            f"form={form!r} with grid={grid!r} between {low!r} and {high!r}",
            expected=f"{least_level} to {most} times the grid",
        )


def as_levels(rounded: Tensor, grid: float, form: str) -> Tensor:
    """Returns a rounded current as the whole numbers that it is of its grid, in a form of levels."""
    levels = rounded / grid
    return (levels - LESS if form == "bytes" else levels).to(LEVELS[form])


def limited(current: Tensor, least: float | None) -> Tensor:
    """Returns the current that is handed on: limited from below where there is a limit."""
    return current if least is None else current.clamp_min(least)


def added(spikes: Tensor, beside: Tensor | None) -> Tensor:
    """Returns spikes as they are put out: with what stands beside them, a shortcut's spikes or counts, added."""
    return spikes if beside is None else spikes + beside


def check_beside(beside: Tensor | None, shape: tuple[Any, ...], form: str, weight: Tensor) -> None:
    """Checks what is added to the spikes as they are put out.

    Args:
        beside: It, or None.
        shape: Of the spikes.
        form: Their form.
        weight: The weight, which says what type "same" is.

    Raises:
        InputError: If the form adds up to no numbers, or shape or type is not that of the spikes.
    """
    if beside is None:
        return
    if form not in ("int8", "same"):
        raise InputError(f"form={form!r} with something beside the spikes", expected="form='int8' or 'same'")
    kind = torch.int8 if form == "int8" else activation(weight)
    if beside.shape != shape or beside.dtype != kind:
        raise InputError(f"beside is {beside.dtype} {tuple(beside.shape)}", expected=f"{kind} {tuple(shape)}")


def form_number(form: str) -> int:
    """Returns the number by which the Triton kernels know a form of output."""
    return _FORMS.index(form)


def empty_result(shape: tuple[Any, ...], form: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Allocates spikes, or levels, of a logical shape in one of the forms of output."""
    if form in LEVELS:
        return torch.empty(shape, dtype=LEVELS[form], device=device)
    return empty_spikes(shape, form, dtype, device)


def check_rows(cols: int, scale: Tensor | None, bias: Tensor | None) -> None:
    """Checks the factor and the summand of each output channel.

    Raises:
        InputError: If one is no contiguous float32 `[N]`.
    """
    for name, row in (("scale", scale), ("bias", bias)):
        if row is not None and (row.shape != (cols,) or row.dtype != torch.float32 or not row.is_contiguous()):
            raise InputError(f"{name} is {row.dtype} {tuple(row.shape)}", expected=f"contiguous float32 ({cols},)")


def check_grid(
    weight: Tensor, grid: float | None, low: float | None, high: float | None, rounds: bool, whole: bool = False
) -> None:
    """Checks the rounding of a current.

    Args:
        weight: The weight.
        grid: What is rounded to.
        low: Least current.
        high: Largest.
        rounds: Whether the rounded current is handed on.
        whole: Whether sums are whole numbers beside a weight in 16 bits, too.

    Raises:
        InputError: If the grid is no power of two, something else is given without one, or sums are not exact.
    """
    if grid is None and (low is not None or high is not None or rounds):
        raise InputError("limits of a rounding without a grid", fix="give grid=, the power of two to round to")
    if grid is None:
        return
    if weight.dtype != torch.int8 and not whole:
        raise InputError(f"a grid belongs to int8 weights, and the weight is {weight.dtype}")
    if not (math.isfinite(grid) and grid > 0 and math.frexp(grid)[0] == 0.5):
        raise InputError(f"grid={grid!r}", expected="a power of two")


def rounding(
    grid: float | None, low: float | None, high: float | None, rounds: bool, least: float | None = None
) -> dict[str, Any]:
    """Returns a kernel's arguments for rounding the current: ROUND 0 not, 1 behind handing it on, 2 in front of it."""
    return {
        "spacing": 1.0 if grid is None else grid,
        "inverse": 1.0 if grid is None else 1.0 / grid,
        "low": -_FAR if low is None else low,
        "high": _FAR if high is None else high,
        "least": 0.0 if least is None else least,
        "LIMITED": least is not None,
        "ROUND": 0 if grid is None else 2 if rounds else 1,
    }


def tail(
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    out: Tensor,
    current: Tensor,
    steps: int,
    rows: int,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    chosen: Config,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    least: float | None = None,
    beside: Tensor | None = None,
    at_rest: bool = True,
) -> dict[str, Any]:
    """Returns the arguments by which a kernel with `neuron_tile` behind its product is launched.

    A tensor that is not given is stood for by the output, which the kernel does not read: of a view, as the weight may
    be, a compiler would make a copy an argument.

    Args:
        weight: Its first axis is the output channels.
        scale: A factor an output channel, or None.
        bias: A summand an output channel, or None.
        residual: Added to the current, contiguous or one step seen T times, or None.
        out: The spikes to fill.
        current: The current to fill; without elements where it is not wanted.
        steps: T.
        rows: Rows of a step.
        tau: Time constant, or None.
        threshold: Firing threshold.
        v_reset: Potential after a spike, or None.
        decay_input: Whether the input decays too.
        form: Form of the spikes.
        chosen: Launch parameters.
        grid: The power of two to whose multiples the current is rounded for the neuron, or None.
        low: Least current in front of the rounding, or None.
        high: Largest, or None.
        rounds: Whether the current is handed on rounded, too.
        decay: What the leak multiplies by in place of a division by `tau`, or None.
        least: What the current that is handed on is limited to from below, or None.
        beside: What is added to the spikes as they are put out, or None.
        at_rest: Whether every membrane starts at rest.
    """
    leak, factor = leak_arguments(tau, decay is not None, decay or 0.0, steps if at_rest else 0)
    cols = weight.shape[0]
    return {
        "scale": out if scale is None else scale,
        "bias": out if bias is None else bias,
        "residual": out if residual is None else one_step(residual),
        "spikes": out,
        "current": current if current.numel() else out,
        "beside": out if beside is None else beside.contiguous(),
        "cols": cols,
        "residual_rows": 0 if residual is None or repeats_one_step(residual) else rows,
        "factor": factor,
        "threshold": threshold,
        "v_reset": 0.0 if v_reset is None else v_reset,
        "T": steps,
        "CHUNK": divisor(steps, chosen["chunk"]),
        "LEAK": leak,
        "DECAY_INPUT": decay_input,
        "HARD": reset_kind(v_reset),
        "SCALE": scale is not None,
        "BIAS": bias is not None,
        "RESIDUAL": residual is not None,
        "WANT_CURRENT": current.numel() > 0,
        "INTEGER": weight.dtype == torch.int8,
        "UPCAST": INTERPRET and weight.dtype == torch.bfloat16,
        "OUT": form_number(form),
        "BESIDE": beside is not None,
        "EVEN": cols % chosen["cols"] == 0,
        "ROWS": chosen["rows"],
        "COLS": chosen["cols"],
        "num_warps": chosen["num_warps"],
        "num_stages": chosen["num_stages"],
        **rounding(grid, low, high, rounds, least),
    }


def tiles(rows: int, cols: int, chosen: Config) -> int:
    """Returns how many programs cover `rows` x `cols` neurons."""
    return -(-rows // chosen["rows"]) * -(-cols // chosen["cols"])
