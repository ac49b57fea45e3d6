"""SpikingJelly's encoders that code their first input and play the code back, as functions of input and state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import base, encoding
from torch import Tensor

_NOT_CODED = -1.0  # in the place of the number of the call: nothing was coded yet

Code = Callable[[Tensor], Tensor]


class Encoder(base.MemoryModule):  # type: ignore[misc]  # SpikingJelly carries no types
    """An encoder whose states are the code of every element, and the number of the next call.

    The first call codes its input `[B, *shape]` into T spikes each; call t gives the spikes of step `t mod T`,
    whatever its input is.

    Args:
        encoder: SpikingJelly's encoder, of a private copy.
    """

    def __init__(self, encoder: encoding.StatefulEncoder) -> None:
        super().__init__()
        self.T: int = encoder.T
        self.step_mode = encoder.step_mode
        self._code = _code_of(encoder)
        self.register_memory("code", 0.0)
        self.register_memory("turn", _NOT_CODED)

    def materialize_states(
        self, inputs: tuple[Tensor, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """Turns initial numbers into tensors: the code `[B, *shape, T]`, and the number of the call `[B, *shape]`."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        shapes = ((*x.shape, self.T), tuple(x.shape))
        return tuple(
            value if isinstance(value, Tensor) else x.new_full(shape, float(value))
            for value, shape in zip(states, shapes, strict=True)
        )

    def single_step_functional_forward(
        self, inputs: tuple[Tensor, ...], states: tuple[Tensor, ...], **_: Any
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Runs one call `[B, *shape]`."""
        (x,), (code, turn) = inputs, states
        first = turn < 0
        code = torch.where(first.unsqueeze(-1), self._code(x), code)
        turn = torch.where(first, torch.zeros_like(turn), turn)
        now = turn.unsqueeze(-1) == torch.arange(self.T, dtype=turn.dtype)
        spikes = torch.where(now, code, torch.zeros_like(code)).sum(-1)
        after = turn + 1.0
        return (spikes,), (code, torch.where(after >= self.T, torch.zeros_like(after), after))


def _code_of(encoder: Any) -> Code:
    """Returns what codes one input `[B, *shape]` as spikes `[B, *shape, T]`."""
    kind, steps = type(encoder), encoder.T
    if kind is encoding.LatencyEncoder:
        alpha = encoder.alpha if encoder.enc_function == "log" else None
        return lambda x: _latency(x, steps, alpha)
    if kind is encoding.WeightedPhaseEncoder:
        return lambda x: _phases(x, steps)
    return lambda x: encoder.single_step_encode(x).movedim(0, -1)


def _latency(x: Tensor, steps: int, alpha: float | None) -> Tensor:
    """One spike an element, the earlier the larger: at round((T - 1)(1 - x)), or round(T - 1 - ln(alpha x + 1))."""
    at = (steps - 1.0) * (1.0 - x) if alpha is None else steps - 1.0 - torch.log(alpha * x + 1.0)
    return (at.round().unsqueeze(-1) == torch.arange(steps, dtype=x.dtype)).to(x.dtype)


def _phases(x: Tensor, steps: int) -> Tensor:
    """The first T binary digits of a fraction, the weightiest first."""
    left, weight, digits = x, 0.5, []
    for _ in range(steps):
        digit = (left >= weight).to(x.dtype)
        left, weight = left - weight * digit, 0.5 * weight
        digits.append(digit)
    return torch.stack(digits, -1)
