"""Laws that numbers of the steps of a loop follow, found at two numbers of steps T."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import Graph, Node

aten = torch.ops.aten
_CLOSE = 1e-13  # of numbers that a loop has computed in another order, as `w = w * 0.9`: far below single precision
_DENOMINATORS = range(1, 101)
_FEWEST = 3  # steps that show a law
Form = Literal["linear", "quotient", "reciprocal", "power", "ramp"]


@dataclass(frozen=True)
class Law:
    """A number at step t of T: of `n = first + more * T + slope * t`, a whole number.

    Attributes:
        form: `scale * n + shift`, `n / q`, `q / n`, `scale * base ** n`, or `(scale * n + shift) * base ** n` ("ramp").
        first: As said.
        more: 0 or 1.
        slope: As said.
        q: Whole number.
        in_q: 0 or 1, how often T is added to q.
        base: Of a power or ramp.
        scale: As said.
        shift: As said.
    """

    form: Form
    first: int
    more: int
    slope: int
    q: int = 1
    in_q: int = 0
    base: float = 1.0
    scale: float = 1.0
    shift: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether it differs from step to step."""
        return self.slope != 0

    def values(self, steps: int, dtype: torch.dtype) -> Tensor:
        """Returns its numbers `[T]`, or one where all are equal, as `written` computes them."""
        return self._made(steps, dtype, lambda target, *args, **kwargs: target(*args, **kwargs))

    def written(self, graph: Graph, steps: int, dtype: torch.dtype) -> Node:
        """Returns the node of a graph that computes `values`; T stands in it as a number."""

        def call(target: Any, *args: Any, **kwargs: Any) -> Node:
            made = graph.call_function(target, args, kwargs)
            held = [arg.meta["val"] if isinstance(arg, Node) else arg for arg in args]
            made.meta["val"] = target(*held, **kwargs)
            return made

        return self._made(steps, dtype, call)

    def fits(self, values: Sequence[int | float], start: int, steps: int) -> bool:
        """Returns whether numbers of the steps from `start` on are what it says at T = `steps`."""
        if all(isinstance(value, int) for value in values) and self.form in ("quotient", "reciprocal"):
            return False
        made = self.values(steps, torch.float64).expand(steps)[start : start + len(values)].tolist()
        size = max(abs(float(value)) for value in values) if self.form in ("linear", "quotient") else 0.0
        return all(abs(a - b) <= _CLOSE * max(size, abs(b)) for a, b in zip(made, values, strict=True))

    def _made(self, steps: int, dtype: torch.dtype, call: Callable[..., Any]) -> Any:
        first = self.first + self.more * steps
        if not self.slope:
            n = call(aten.full.default, [], first, dtype=torch.int64)
        else:
            n = call(aten.arange.default, steps, dtype=torch.int64)
            n = call(aten.mul.Tensor, n, self.slope) if self.slope != 1 else n
            n = call(aten.add.Tensor, n, first) if first else n
        if self.form == "linear" and self.scale == 1.0 and not self.shift:
            return n if dtype == torch.int64 else call(aten.to.dtype, n, dtype)
        y, q = call(aten.to.dtype, n, torch.float64), self.q + self.in_q * steps
        if self.form == "quotient":
            y = call(aten.div.Tensor, y, q)
        elif self.form == "reciprocal":
            y = call(aten.mul.Tensor, call(aten.reciprocal.default, y), q)
        else:
            power = call(aten.pow.Scalar, self.base, y) if self.form == "ramp" else None
            if self.form == "power":
                y = call(aten.pow.Scalar, self.base, y)
            y = call(aten.mul.Tensor, y, self.scale) if self.scale != 1.0 else y
            y = call(aten.add.Tensor, y, self.shift) if self.shift else y
            y = call(aten.mul.Tensor, y, power) if power is not None else y
        return y if dtype == torch.float64 else call(aten.to.dtype, y, dtype)


def law_of(
    few: Sequence[int | float], many: Sequence[int | float], short: int, long: int, start: int = 0
) -> Law | None:
    """Returns the law of numbers of several steps at two T, or None.

    Args:
        few: Numbers of the steps from `start` on at T = `short`.
        many: The same at T = `long`.
        short: A number of steps.
        long: A larger one.
        start: The first step.
    """
    if len(few) < _FEWEST or not all(math.isfinite(v) for v in (*few, *many)):
        return None
    pairs = ((few, short), (many, long))
    return next(
        (law for law in _candidates(few, many, short, long, start) if all(law.fits(v, start, t) for v, t in pairs)),
        None,
    )


def _candidates(
    few: Sequence[int | float], many: Sequence[int | float], short: int, long: int, start: int
) -> Iterator[Law]:
    """Yields what the numbers may follow, the simplest first."""
    lines = [_line(values, start) for values in (few, many)]
    yield from _quotients(lines[0], lines[1], short, long, "quotient")
    first, slope = lines[0]
    if slope:
        yield Law("linear", 0, 0, 1, scale=slope, shift=first)
    if all(value for value in (*few, *many)):
        turned = [_line([1 / value for value in values], start) for values in (few, many)]
        yield from _quotients(turned[0], turned[1], short, long, "reciprocal")
        yield from _powers(few, many, short, long, start)
    yield from _ramps(few, start)


def _line(values: Sequence[int | float], start: int) -> tuple[float, float]:
    """Returns intercept (at t = 0) and slope of the first two numbers."""
    slope = values[1] - values[0]
    return values[0] - slope * start, slope


def _quotients(few: tuple[float, float], many: tuple[float, float], short: int, long: int, form: Form) -> Iterator[Law]:
    """Yields quotients of whole numbers, one of them with T in it or none."""
    denominators = [(q, 0) for q in _DENOMINATORS] + [(k, 1) for k in (0, 1, -1, 2, -2)]
    for q, in_q in denominators:
        ends = [_whole(value * (q + in_q * steps)) for pair, steps in ((few, short), (many, long)) for value in pair]
        if None in ends or ends[1] != ends[3]:
            continue
        first, slope, other, _ = ends
        for more in (0, 1):
            if first - more * short == other - more * long:  # type: ignore[operator]
                plain = form == "quotient" and (q, in_q) == (1, 0)
                yield Law("linear" if plain else form, first - more * short, more, slope, q, in_q)  # type: ignore[arg-type, operator]


def _powers(
    few: Sequence[int | float], many: Sequence[int | float], short: int, long: int, start: int
) -> Iterator[Law]:
    ratio = few[1] / few[0]
    if ratio <= 0 or ratio == 1:
        return
    base, slope = (ratio, 1) if ratio < 1 else (1 / ratio, -1)
    positive = (values[0] for values in (few, many) if values[0] > 0)
    offsets = [_whole(math.log(value) / math.log(base) - slope * start, 1e-9) for value in positive]
    if len(offsets) == 2 and None not in offsets:
        for more in (0, 1, -1):
            if offsets[0] - more * short == offsets[1] - more * long:  # type: ignore[operator]
                yield Law("power", offsets[0] - more * short, more, slope, base=base)  # type: ignore[operator]
    yield Law("power", -slope * start, 0, slope, base=base, scale=few[0])


def _ramps(values: Sequence[int | float], start: int) -> Iterator[Law]:
    """Yields lines times powers, as the response of a synapse `t * exp(-t / tau)` is, by the first three numbers."""
    a, b, c = values[:3]  # of n = 0, 1, 2 behind the start: a, (a + s) r and (a + 2 s) r ** 2
    root = b * b - a * c
    if root < 0 or (a == 0 and b == 0):
        return
    for base in (c / (2 * b),) if a == 0 else ((b + math.sqrt(root)) / a, (b - math.sqrt(root)) / a):
        if base > 0 and base != 1 and math.isfinite(base):
            slope = b / base - a
            scale, shift = (factor * base**-start for factor in (slope, a - slope * start))
            yield Law("ramp", 0, 0, 1, base=base, scale=scale, shift=shift)


def _whole(value: float, close: float = 1e-11) -> int | None:
    """Returns a number as a whole one, or None."""
    near = round(value)
    return near if abs(value - near) <= close * max(1.0, abs(value)) and abs(near) < 2**40 else None
