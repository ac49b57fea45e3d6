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

import math
import operator
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter

UNIT = 2.0**-24
LAMBDA = 10.0

aten = torch.ops.aten


def gamma(roundings: int) -> float:
    """Returns the relative error bound of a sum whose terms are each rounded `roundings` times."""
    if roundings == 0:
        return 0.0
    certain = roundings * UNIT / (1.0 - roundings * UNIT)
    return min(certain, math.expm1(LAMBDA * math.sqrt(roundings) * UNIT + roundings * UNIT * UNIT / (1.0 - UNIT)))


@dataclass(frozen=True)
class Magnitude:
    """A tensor's sum of absolute values, and how often each of its terms was rounded."""

    size: Tensor
    roundings: int
    rigorous: bool = True

    def error(self) -> Tensor:
        """Returns the largest error that rounding may have made, element by element."""
        return self.size * gamma(self.roundings)


def _is_real(value: Any) -> bool:
    return isinstance(value, Magnitude) or (isinstance(value, Tensor) and value.is_floating_point())


def _tensor(value: Any) -> Any:
    if isinstance(value, Magnitude):
        return value.size
    return value.abs() if isinstance(value, Tensor) and value.dtype != torch.bool else value


def _count(value: Any) -> int:
    return value.roundings if isinstance(value, Magnitude) else 0


class ErrorAnalysis(Interpreter):
    """Runs a program on magnitudes.

    Args:
        module: The program as a graph module.
        is_neuron: Tells a neuron's node by its target.
        forced: Reference spikes of every neuron node, in order; what the nodes put out.
    """

    def __init__(self, module: torch.fx.GraphModule, is_neuron: Callable[[Any], bool], forced: list[Tensor]) -> None:
        super().__init__(module)
        self._is_neuron = is_neuron
        self._forced = iter(forced)
        self.currents: list[Magnitude] = []

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Propagates magnitudes through one operation."""
        if self._is_neuron(target):
            current = args[0] if isinstance(args[0], Magnitude) else Magnitude(args[0].abs(), 0)
            self.currents.append(current)
            return Magnitude(next(self._forced), 0), args[1]
        if not any(map(_is_real, torch.utils._pytree.tree_leaves((args, kwargs)))):  # sizes and places
            return super().call_function(target, args, kwargs)
        rule = _RULES.get(target)
        if rule is not None:
            return rule(target, args, kwargs)
        if target in _SHAPE_ONLY or "sym_size" in str(target):
            return _same(target, args, kwargs)
        if target is _getitem:
            return target(*args)
        return _unknown(target, args, kwargs)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Skips the guards that torch.export adds; a captured program holds no other modules."""
        return None


def analyse(
    module: torch.fx.GraphModule,
    is_neuron: Callable[[Any], bool],
    forced: list[Tensor],
    inputs: tuple[Tensor, ...],
    computed: Collection[int] = (),
) -> tuple[list[Magnitude], list[Magnitude]]:
    """Returns the magnitudes of every neuron's input current and of every output.

    Args:
        module: The program as a graph module.
        is_neuron: Tells a neuron's node by its target.
        forced: Reference spikes of every neuron node, in order.
        inputs: The program's inputs.
        computed: Places of inputs that were computed (fed-back values), taken as accurate to 64 roundings.
    """
    run = ErrorAnalysis(module, is_neuron, forced)
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
    return run.currents, leaves


def _same(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation that only moves numbers (or reads a size)."""
    leaves = torch.utils._pytree.tree_leaves((args, kwargs))
    size = target(*torch.utils._pytree.tree_map(_tensor, args), **torch.utils._pytree.tree_map(_tensor, kwargs))
    count = max((_count(leaf) for leaf in leaves), default=0)
    rigorous = all(leaf.rigorous for leaf in leaves if isinstance(leaf, Magnitude))
    wrap = lambda value: Magnitude(value, count, rigorous) if isinstance(value, Tensor) else value  # noqa: E731
    return type(size)(wrap(part) for part in size) if isinstance(size, list | tuple) else wrap(size)


def _added(extra: Callable[[tuple[Any, ...]], int]) -> Callable[..., Any]:
    """A sum of products of its operands: run it on absolute values and count its roundings."""

    def rule(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude:
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        moved = torch.utils._pytree.tree_map(_tensor, (args, kwargs))
        numbers = tuple(abs(a) if isinstance(a, int | float) and not isinstance(a, bool) else a for a in moved[0])
        size = target(*numbers, **moved[1])
        count = sum(_count(leaf) for leaf in leaves) + extra(args)
        return Magnitude(size, count, all(leaf.rigorous for leaf in leaves if isinstance(leaf, Magnitude)))

    return rule


def _plus(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude:
    a, b = args[0], args[1]
    size = _tensor(a) + (abs(b) if isinstance(b, int | float) else _tensor(b))
    return Magnitude(size, max(_count(a), _count(b)) + 1, getattr(a, "rigorous", True) and getattr(b, "rigorous", True))


def _batch_norm(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude:
    x, weight, bias, mean, var = args[:5]
    eps = next(a for a in reversed(args) if isinstance(a, float))
    scale = torch.rsqrt(var + eps) * (weight.abs() if weight is not None else 1.0)
    shift = mean.abs() * scale + (bias.abs() if bias is not None else 0.0)
    shape = [1, -1] + [1] * (_tensor(x).dim() - 2)
    size = _tensor(x) * scale.reshape(shape) + shift.reshape(shape)
    return Magnitude(size, _count(x) + 6, getattr(x, "rigorous", True))


def _unknown(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation outside the analysis: taken as accurate to 64 roundings of its largest result."""
    made = _same(target, args, kwargs)
    if isinstance(made, list | tuple):
        return type(made)(_estimate(part) for part in made)
    return _estimate(made)


def _estimate(made: Any) -> Any:
    if not isinstance(made, Magnitude):
        return made
    if made.size.dtype == torch.bool:  # the result of a comparison
        return Magnitude(torch.ones_like(made.size), made.roundings + 64, rigorous=False)
    size = torch.full_like(made.size, float(made.size.abs().max()) if made.size.numel() else 0.0)
    return Magnitude(size, made.roundings + 64, rigorous=False)


def _fan_in(args: tuple[Any, ...]) -> int:
    """Roundings of one output of a convolution: its products, their sum and the bias."""
    weight = args[1].size if isinstance(args[1], Magnitude) else args[1]
    return int(math.prod(weight.shape[1:])) + 2


def _depth(args: tuple[Any, ...]) -> int:
    left = args[0].size if isinstance(args[0], Magnitude) else args[0]
    return int(left.shape[-1]) + 2


def _depth_addmm(args: tuple[Any, ...]) -> int:
    return _depth(args[1:]) + 1


def _reduced(args: tuple[Any, ...]) -> int:
    x = args[0].size if isinstance(args[0], Magnitude) else args[0]
    axes = args[1] if len(args) > 1 and args[1] is not None else range(x.dim())
    axes = [axes] if isinstance(axes, int) else axes
    return int(math.prod(x.shape[axis] for axis in axes)) + 1


def _window(args: tuple[Any, ...]) -> int:
    x = args[0].size if isinstance(args[0], Magnitude) else args[0]
    return int(math.prod(x.shape[2:])) + 1


_getitem = operator.getitem
_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        (aten.conv2d.default, aten.conv1d.default, aten.conv3d.default, aten.convolution.default, aten.conv2d.padding),
        _added(_fan_in),
    ),
    **dict.fromkeys((aten.linear.default, aten.matmul.default, aten.mm.default, aten.bmm.default), _added(_depth)),
    aten.addmm.default: _added(_depth_addmm),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar), _added(lambda args: 1)),
    **dict.fromkeys((aten.mean.dim, aten.mean.default, aten.sum.dim_IntList, aten.sum.default), _added(_reduced)),
    **dict.fromkeys((aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default), _added(_window)),
    **dict.fromkeys((aten.add.Tensor, aten.add_.Tensor, aten.sub.Tensor, aten.add.Scalar, aten.sub.Scalar), _plus),
    aten.batch_norm.default: _batch_norm,
}
_SHAPE_ONLY = {
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.permute.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.expand.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.cat.default,
    aten.stack.default,
    aten.pad.default,
    aten.constant_pad_nd.default,
    aten.max_pool2d.default,
    aten.relu.default,
    aten.relu_.default,
    aten.dropout.default,
    aten.repeat.default,
    aten.chunk.default,
    aten.split.Tensor,
    aten.to.dtype,
    aten.detach.default,
    aten.unbind.int,
    aten.max_pool1d.default,
    aten.upsample_nearest2d.vec,
    aten.gather.default,
}
