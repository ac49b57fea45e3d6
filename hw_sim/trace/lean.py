"""The neurons without what only training reads: the same spikes and membranes to the last bit, with fewer passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neurokit.neurons.dynamics import charge_if, charge_lif, charge_plif


def lean(target: Any) -> Callable[..., Any]:
    """Returns what to call for an operation of a program when nothing but its values is wanted.

    The operations that neurokit registers keep every charged membrane; a run over a test set reads spikes alone.
    """
    packet = getattr(target, "overloadpacket", target)
    return _LEAN.get(str(packet), target)


def _if(x_seq: Tensor, v0: Tensor, v_threshold: float, v_reset: float | None, *rest: Any) -> tuple[Tensor, Tensor]:
    return _run(x_seq, v0, charge_if, v_threshold, v_reset, _subtracted(v_threshold, rest))


def _lif(
    x_seq: Tensor, v0: Tensor, tau: float, v_threshold: float, v_reset: float | None, decay_input: bool, *rest: Any
) -> tuple[Tensor, Tensor]:
    charge = partial(charge_lif, tau=tau, v_reset=v_reset, decay_input=decay_input)
    return _run(x_seq, v0, charge, v_threshold, v_reset, _subtracted(v_threshold, rest))


def _plif(
    x_seq: Tensor, v0: Tensor, decay: Tensor, v_threshold: float, v_reset: float | None, decay_input: bool, *rest: Any
) -> tuple[Tensor, Tensor]:
    charge = partial(charge_plif, decay=decay, v_reset=v_reset, decay_input=decay_input)
    return _run(x_seq, v0, charge, v_threshold, v_reset, _subtracted(v_threshold, rest))


_LEAN = {"neurokit.if_": _if, "neurokit.lif": _lif, "neurokit.plif": _plif}


def _subtracted(v_threshold: float, training: tuple[Any, ...]) -> float:
    """Returns what a soft reset subtracts: the last argument, behind three that training reads, or the threshold."""
    given = training[3] if len(training) > 3 else None
    return v_threshold if given is None else float(given)


def _run(
    x_seq: Tensor,
    v0: Tensor,
    charge: Callable[[Tensor, Tensor], Tensor],
    v_threshold: float,
    v_reset: float | None,
    subtracted: float,
) -> tuple[Tensor, Tensor]:
    """Returns spikes `[T, ...]` in the type of `x_seq` and the last membrane (`neurokit.neurons.ops`, step by step)."""
    spikes, v = torch.empty_like(x_seq), v0
    for step, x in enumerate(x_seq.to(v0.dtype)):
        h = charge(v, x)  # new memory: the reset below may be written into it
        fired = h >= v_threshold
        spikes[step] = fired
        v = h - fired.to(h.dtype) * subtracted if v_reset is None else h.masked_fill_(fired, v_reset)
    return spikes, v
