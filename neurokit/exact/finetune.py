"""Fine-tuning under the grid: gradients go straight through every rounding, so that training sees what will run.

Forward, weights, biases and activations are what the exact form will have; backward, a rounding counts as the
identity (Bengio, Leonard, Courville, "Estimating or propagating gradients through stochastic neurons", 2013). Weights
are trained in units of their own grid, so one learning rate suits every layer and every number of bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Interpreter

from neurokit.capture import Captured
from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.exact.folded import Folded
from neurokit.exact.quantise import Quantised, levels
from neurokit.exact.rewrite import Plan
from neurokit.over_time import first_is_a_sequence
from neurokit.program.nodes import aten

_DECAY = 1e-4


@dataclass(frozen=True)
class Training:
    """How to fine-tune.

    Attributes:
        epochs: Passes over the data.
        learning_rate: Largest step of a weight, in units of its grid.
        batch: Samples a step.
        seed: Of the order of the samples.
    """

    epochs: int = 20
    learning_rate: float = 0.02
    batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise InputError(
                f"fine-tuning with {self.epochs} epochs, batch {self.batch}, learning rate {self.learning_rate}",
                expected="positive numbers",
            )


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """Returns `rounded`, with the gradient of x."""
    return x + (rounded - x).detach()


class _Grid:
    """Weight and bias of one linear map in training."""

    def __init__(self, weight: Tensor, numbers: Quantised, bits: int) -> None:
        self._numbers, self._top = numbers, levels(bits)
        self._scale = torch.exp2(numbers.exponent.float()).reshape([-1] + [1] * (weight.dim() - 1))
        found, units = numbers.integers.float(), weight.detach().float() / self._scale
        # What the rounding search chose stays chosen; the rest keeps its remainder.
        start = torch.where(torch.round(units) == found, units, found)
        self.units = torch.nn.Parameter(start)
        self._bias_scale = self._scale.reshape(-1)
        self.bias_units = torch.nn.Parameter(numbers.real_bias / self._bias_scale)

    def weight(self) -> Tensor:
        inside = self.units.clamp(-self._top, self._top)
        return straight_through(inside, torch.round(inside)) * self._scale

    def bias(self) -> Tensor:
        value = self.bias_units * self._bias_scale
        unit = torch.exp2(self._numbers.bias_exponent.float())
        return straight_through(value, torch.round(value / unit) * unit)


class _Run(Interpreter):
    """Runs a placed graph with tensors in training, and roundings that let gradients through."""

    def __init__(self, placed: Folded, grids: list[_Grid]) -> None:
        super().__init__(placed.module)
        self._read = {}
        for node, grid in zip(placed.linears, grids, strict=True):
            self._read[str(node.args[1].target)] = grid.weight  # type: ignore[union-attr]
            self._read[str(node.args[2].target)] = grid.bias  # type: ignore[union-attr]

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        read = self._read.get(str(target))
        return read() if read is not None else super().get_attr(target, args, kwargs)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is aten.round.default:
            return straight_through(args[0], torch.round(args[0]))
        return super().call_function(target, args, kwargs)


def train(
    captured: Captured, folded: Folded, placed: Folded, plan: Plan, bits: int, data: Labelled, how: Training
) -> list[tuple[Tensor, Tensor]]:
    """Trains weights and biases; returns them on their grids, one pair a linear map.

    Args:
        captured: The model in the form that was planned for.
        folded: The same, folded, with its float weights.
        placed: The same with the plan's numbers and roundings in place.
        plan: The plan.
        bits: Bits of a weight.
        data: Labelled training data.
        how: Epochs, learning rate, batch, seed.
    """
    grids = [_Grid(folded.weight(i), plan.linears[i], bits) for i in range(len(folded.linears))]
    run = _Run(placed, grids)
    size = captured.batch if isinstance(captured.batch, int) else how.batch
    order = np.random.default_rng(how.seed)
    steps = how.epochs * -(-len(data.y) // size)
    optimiser = torch.optim.AdamW(
        [p for grid in grids for p in (grid.units, grid.bias_units)], lr=how.learning_rate, weight_decay=_DECAY
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    (given,) = data.named([captured.spec.inputs[0].name]).values()
    if data.y.ndim != 1 or data.y.dtype.kind not in "iu":
        raise InputError(f"labels are {data.y.dtype} of shape {list(data.y.shape)}", expected="one class a sample, [N]")
    x, y = torch.from_numpy(given), torch.from_numpy(data.y).long()
    _check_labels(logits(run, captured, x[:1].expand(size, *x.shape[1:])), y)
    for _ in range(how.epochs):
        rows = order.permutation(len(y))
        for start in range(0, len(rows), size):
            picked = torch.from_numpy(np.resize(rows[start : start + size], size))
            loss = F.cross_entropy(logits(run, captured, x[picked]), y[picked])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return [(grid.weight().detach(), grid.bias().detach()) for grid in grids]


def _check_labels(scores: Tensor, y: Tensor) -> None:
    if scores.dim() != 2:
        raise InputError(f"the output has shape {list(scores.shape)}", expected="scores of classes, [N, classes]")
    if int(y.min()) < 0 or int(y.max()) >= scores.shape[1]:
        raise InputError(
            f"labels go from {int(y.min())} to {int(y.max())}", expected=f"numbers from 0 to {scores.shape[1] - 1}"
        )


def logits(run: Any, captured: Captured, x: Tensor) -> Tensor:
    """Returns the classes' scores `[N, classes]` of inputs `[N, *shape]`, or `[N, T, *shape]` over time."""
    timed = captured.spiking and captured.spec.time_input != "image"
    given = x.transpose(0, 1).contiguous() if timed else x
    outputs = run.run(given, *captured.initial_states(len(x)))
    scores = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return scores.mean(0) if captured.spiking and first_is_a_sequence(captured.time_output) else scores
