"""Calibration: what a folded network's linear maps see on given data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Interpreter, Node

from neurokit.exact.folded import Folded
from neurokit.program import nodes
from neurokit.program.nodes import aten

# Columns of an operand's second moments above which a search costs more than it brings on a CPU.
WIDEST_SEARCH = 2304
_SAMPLES = 4096


@dataclass
class Observed:
    """What one linear map saw.

    Attributes:
        largest: Largest magnitude of its operand; if that is a mean over time, of what the mean is taken of.
        result: Largest magnitude of its result.
        moments: Second moments of the operand's columns, `[K, K]` with K the fan-in, or None.
        mean: Mean column, `[K]`, or None.
    """

    largest: float = 0.0
    result: float = 0.0
    moments: Tensor | None = None
    mean: Tensor | None = None


@dataclass
class Calibration:
    """What all linear maps saw, and the rates of all neurons.

    Attributes:
        linears: By number.
        rates: Spikes a decision, by neuron number.
        currents: Largest magnitude of the input, by neuron number.
        scales: Largest magnitude of what a constant factor makes, by number.
    """

    linears: dict[int, Observed] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    currents: list[float] = field(default_factory=list)
    scales: dict[int, float] = field(default_factory=dict)


class _Observer(Interpreter):
    def __init__(self, folded: Folded, moments: bool) -> None:
        super().__init__(folded.module)
        self._index = {node: i for i, node in enumerate(folded.linears)}
        self._scales = {node: i for i, node in enumerate(folded.scales)}
        self._neurons = {node: i for i, node in enumerate(folded.neurons)}
        self._moments = moments
        self._before_mean: dict[Node, float] = {}
        self.made = Calibration(rates=[0.0] * len(self._neurons), currents=[0.0] * len(self._neurons))
        self._runs = 0

    def once(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Runs the network and adds what it saw to what was seen before."""
        self._runs += 1
        return tuple(self.run(*given))

    def run_node(self, n: Node) -> Any:
        if n in self._index:
            args, _ = self.fetch_args_kwargs_from_env(n)
            self._see(self._index[n], n, args)
        result = super().run_node(n)
        if nodes.is_op(n, {aten.mean.dim}):
            given = self.fetch_args_kwargs_from_env(n)[0][0]
            self._before_mean[n] = float(given.abs().max()) if given.numel() else 0.0
        if n in self._index and result.numel():
            seen = self.made.linears[self._index[n]]
            seen.result = max(seen.result, _largest(result))
        if n in self._scales and result.numel():
            at = self._scales[n]
            self.made.scales[at] = max(self.made.scales.get(at, 0.0), _largest(result))
        if n in self._neurons:
            at = self._neurons[n]
            self.made.currents[at] = max(self.made.currents[at], _largest(self.fetch_args_kwargs_from_env(n)[0][0]))
            self.made.rates[at] += (float(result[0].mean()) - self.made.rates[at]) / self._runs
        return result

    def _see(self, index: int, node: Node, args: tuple[Any, ...]) -> None:
        seen = self.made.linears.setdefault(index, Observed())
        seen.largest = max(seen.largest, _largest(args[0]))
        mean = nodes.time_mean(node.args[0])
        if mean is not None:
            seen.largest = max(seen.largest, self._before_mean[mean])
        columns = operand_columns(node, args)
        if columns is None:
            return
        seen.mean = _averaged(seen.mean, columns.mean(0), self._runs)
        if self._moments and columns.shape[1] <= WIDEST_SEARCH:
            seen.moments = _averaged(seen.moments, columns.T @ columns / len(columns), self._runs)


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def _averaged(before: Tensor | None, now: Tensor, runs: int) -> Tensor:
    """Returns the mean over all runs."""
    return now if before is None else before + (now - before) / runs


def operand_columns(node: Node, args: tuple[Any, ...]) -> Tensor | None:
    """Returns up to some thousand columns that a linear map multiplies its weights with, `[N, K]`, in float64."""
    x, weight = args[0], args[1]
    if node.target is aten.linear.default:
        columns = x.reshape(-1, x.shape[-1])
    elif node.target in (aten.conv1d.default, aten.conv2d.default):
        rest = [*args[3:]]
        dims = weight.dim() - 2
        stride, padding, dilation = (_get(rest, i, default, dims) for i, default in enumerate((1, 0, 1)))
        if (rest[3] if len(rest) > 3 else 1) != 1:
            return None
        if dims == 1:
            x, stride, padding, dilation = x.unsqueeze(2), (1, *stride), (0, *padding), (1, *dilation)
        kernel = weight.shape[2:] if dims == 2 else (1, *weight.shape[2:])
        every = max(1, len(x) * x.shape[-1] * x.shape[-2] // (_SAMPLES * 4 * stride[0] * stride[1]))
        x = x[:: min(every, len(x))]
        columns = F.unfold(x, kernel, dilation, padding, stride).transpose(1, 2).flatten(0, 1)
    else:
        return None
    every = max(1, len(columns) // _SAMPLES)
    return columns[::every].double()


def _get(rest: list[Any], place: int, default: int, dims: int) -> tuple[int, ...]:
    value = rest[place] if len(rest) > place else default
    return tuple(value) * (dims // len(value)) if isinstance(value, list | tuple) else (value,) * dims


def observe(folded: Folded, inputs: tuple[Tensor, ...], moments: bool) -> Calibration:
    """Runs a folded network once.

    Args:
        folded: The network.
        inputs: x and the initial states.
        moments: Whether to collect second moments, for the rounding search.
    """
    run = _Observer(folded, moments)
    with torch.no_grad():
        run.once(*inputs)
    return run.made


def observe_steps(folded: Folded, xs: tuple[Tensor, ...], states: tuple[Tensor, ...], moments: bool) -> Calibration:
    """Runs a folded single step once a step.

    Args:
        folded: The step.
        xs: Every input, `[T, B, ...]`.
        states: The initial states.
        moments: As for `observe`.
    """
    run = _Observer(folded, moments)
    with torch.no_grad():
        for t in range(len(xs[0])):
            made = run.once(*(x[t] for x in xs), *states)
            states = made[len(made) - len(states) :]
    return run.made
