"""How far floating-point rounding may move a membrane: a running error analysis over the captured program.

Between two neurons a network sums products. However a runtime orders, fuses or folds these sums, each term is
rounded at most n times, so the result is off by at most gamma(n) * M, where M is the same sum over absolute values.
gamma is the probabilistic bound of Higham and Mary (SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4),

    gamma(n) = exp(lambda sqrt(n) u + n u^2 / (1 - u)) - 1,   u = 2^-24,

or the deterministic n u / (1 - n u) where that is smaller. With lambda = 10 a single sum breaks it with probability
below 2 n exp(-50): never, over any number of spikes that anybody counts. Spikes are exact, so every neuron starts
the analysis anew.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from neurokit.parity.curved import Numbers, curve, numbers
from neurokit.parity.magnitudes import RULES, UNIT, Magnitude, gamma, is_real, same, size_of, unknown, whole_numbers
from neurokit.parity.units import unit_of
from neurokit.program.ops import Kind, kind_of
from neurokit.program.walk import PlainWalker

__all__ = ["UNIT", "ErrorAnalysis", "Magnitude", "analyse", "gamma"]


_COARSEST: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


class ErrorAnalysis(PlainWalker):
    """Runs a program on magnitudes.

    Args:
        module: The program as a graph module.
        forced: Reference spikes of every neuron node, in order; what the nodes put out.
        steps: Whether these hold the outputs of rare neurons, too; else theirs are estimated.
        numbers: What the functions without a largest slope read in the reference.
    """

    rules = RULES

    def __init__(
        self, module: torch.fx.GraphModule, forced: list[Tensor], steps: bool = False, numbers: Numbers | None = None
    ) -> None:
        super().__init__(module)
        self._numbers = numbers or {}
        self._unit = coarsest(module) if self._numbers else UNIT
        self._steps = steps
        self._forced = iter(forced)
        self.currents: list[Magnitude] = []

    def is_value(self, value: Any) -> bool:
        """Returns whether a value takes part in the analysis."""
        return is_real(value)

    def plain(self, value: Any) -> Any:
        """Returns the tensor of a magnitude."""
        return size_of(value)

    def neuron(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Notes the current; puts out the reference's spikes."""
        current = args[0] if isinstance(args[0], Magnitude) else Magnitude(args[0].abs(), 0)
        self.currents.append(current)
        return Magnitude(next(self._forced), 0), _membrane(current, args[1])

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Notes the current of a layer of rare neurons as well; puts out the reference's output."""
        if whole_numbers(args, kwargs):
            return same(self, target, args, kwargs)
        if self.node in self._numbers:
            return curve(target, args, self._numbers[self.node], self._unit)
        if not self._steps or kind_of(target) is not Kind.STEPWISE:
            return super().call_function(target, args, kwargs)
        current = args[0] if isinstance(args[0], Magnitude) else Magnitude(args[0].abs(), 0)
        self.currents.append(current)
        output = next(self._forced)
        return [Magnitude(output.abs(), 0), *(_state(current, value) for value in args[1])]

    def unknown(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns an estimate."""
        return unknown(self, target, args, kwargs)


def _membrane(current: Magnitude, before: Any) -> Magnitude:
    """Returns an estimate for the last membrane: no larger than what it began with and all that came in."""
    roundings = max(current.roundings, before.roundings if isinstance(before, Magnitude) else 0) + 64
    return Magnitude(size_of(before) + current.size.sum(0), roundings, rigorous=False)


def _state(current: Magnitude, before: Any) -> Magnitude:
    """Returns an estimate for the last state of a rare neuron."""
    if isinstance(before, Tensor) and not before.is_floating_point():
        return Magnitude(torch.zeros(before.shape), 0)
    size = size_of(before)
    top = max(float(size.max()) if size.numel() else 0.0, float(current.size.sum(0).max()) if size.numel() else 0.0)
    return Magnitude(torch.full_like(size, top), current.roundings + 64, rigorous=False)


def analyse(
    module: torch.fx.GraphModule,
    forced: list[Tensor],
    inputs: tuple[Tensor, ...],
    computed: Collection[int] = (),
    steps: bool = False,
) -> tuple[list[Magnitude], list[Magnitude]]:
    """Returns the magnitudes of every neuron's input current and of every output.

    Args:
        module: The program as a graph module.
        forced: Reference spikes of every neuron node, in order.
        inputs: The program's inputs.
        computed: Places of inputs that were computed (fed-back values), taken as accurate to 64 roundings.
        steps: Whether `forced` holds the outputs of rare neurons, and their currents are wanted, too.
    """
    # Without neurons outputs are held to a relative error, and no bound is read.
    run = ErrorAnalysis(module, forced, steps, numbers(module, forced, inputs, steps) if forced else None)
    with torch.no_grad():
        outputs = run.run(
            *(
                value  # token ids and masks are not rounded
                if not value.is_floating_point()
                else Magnitude(value.abs(), 64, rigorous=False)
                if at in computed
                else Magnitude(value.abs(), 0)
                for at, value in enumerate(inputs)
            )
        )
    outputs = outputs if isinstance(outputs, list | tuple) else (outputs,)
    # Whole numbers and booleans are not rounded; they keep their place among the outputs.
    leaves = [v if isinstance(v, Magnitude) else Magnitude(torch.zeros(v.shape), 0) for v in outputs]
    unit = coarsest(module)
    return [replace(m, unit=unit) for m in run.currents], [replace(m, unit=unit) for m in leaves]


def coarsest(module: Any) -> float:
    """Returns the unit roundoff of the coarsest type that a program works in, also in the middle; looked for once."""
    if module not in _COARSEST:
        _COARSEST[module] = _coarsest(module)
    return _COARSEST[module]


def _coarsest(module: Any) -> float:
    inner = (leaf for node in module.graph.nodes for leaf in tree_leaves(node.meta.get("val")))
    values = [*inner, *module.parameters(), *module.buffers()]
    return max((unit_of(v.dtype) for v in values if isinstance(v, Tensor) and v.is_floating_point()), default=UNIT)
