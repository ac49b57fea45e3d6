"""Whether a forward that was read at two short lengths does the same at later steps, seen in one longer run.

Python may do otherwise from some step on: `if t >= 20`, `min(t, 50)`, `2 ** -(t % 8)`. What it calls of torch is noted,
line by line, with the numbers that it gives: of each line as many calls a step, and numbers of the same law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import CodeType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from neurokit.capture.fault_place import fault_place
from neurokit.capture.lines import calling_line
from neurokit.capture.rolling.laws import law_of

_STEPS, _MOST_STEPS = 67, 500  # of the longer run; more where the module's own code or attributes name such a number
_MOST_SECONDS = 10.0
_LIBRARIES = ("torch", "spikingjelly", "snntorch", "norse", "neurokit", "builtins")
_Calls = dict[Any, list[tuple[float, ...]]]


def other_later(net: nn.Module, run: Callable[[int], Any], few: int, many: int) -> str:
    """Returns the line at which a module does otherwise at later steps than at two short lengths, or "".

    A module that does not run for so long is taken for one that does not: there is no other answer of it.

    Args:
        net: The module.
        run: Runs it for T steps.
        few: A number of steps.
        many: A larger one.
    """
    run(few)  # what is made at the first call alone
    short, long = _calls(run, few), _calls(run, many)
    begun = perf_counter()
    run(many)
    affordable = int(many * _MOST_SECONDS / max(perf_counter() - begun, 1e-6))
    steps = max(many + 2, min(_longest(net), affordable))
    try:
        last = _calls(run, steps)
    except Exception:  # whatever a user's code raises
        return ""
    lengths = few, many, steps
    for line in {**short, **long, **last}:
        if not _alike([group.get(line, []) for group in (short, long, last)], lengths):
            return f"{Path(line[1]).name}:{line[2]}"
    return ""


def _calls(run: Callable[[int], Any], steps: int) -> _Calls:
    found: _Calls = {}
    with torch.no_grad(), _Noting(found):
        run(steps)
    return found


class _Noting(TorchFunctionMode):
    """Notes every call of torch's functions."""

    def __init__(self, found: _Calls) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Notes a call by its line, with its numbers."""
        numbers = tuple(leaf for leaf in tree_leaves((args, kwargs or {})) if type(leaf) in (int, float))
        self._found.setdefault((func, *calling_line()), []).append(numbers)
        return func(*args, **(kwargs or {}))


def _alike(calls: Sequence[list[tuple[float, ...]]], lengths: tuple[int, int, int]) -> bool:
    """Returns whether calls of one line are as many a step at all three lengths, and their numbers of one law."""
    short, long, last = calls
    few, many, steps = lengths
    each, rest = divmod(len(long) - len(short), many - few)
    if rest:
        return True  # no loop over time, or none that is alike over any T
    if len(last) != len(short) + each * (steps - few):
        return False
    if len({len(numbers) for group in calls for numbers in group}) != 1:
        return True
    columns = [list(zip(*group, strict=True)) for group in calls]
    return all(_same_law(values, each, lengths) for values in zip(*columns, strict=True))


def _same_law(values: Sequence[tuple[float, ...]], each: int, lengths: tuple[int, int, int]) -> bool:
    if each == 0:
        pairs = zip(*values, strict=True)
        return all(_one_number(numbers, lengths) for numbers in pairs)
    found = False
    for way in _ways(values, each, lengths):
        lawful = [_follows(lanes, lengths) for lanes in way]
        if all(follows is True for follows in lawful):
            return True
        found = found or all(follows is not None for follows in lawful)
    return not found


def _one_number(numbers: Sequence[float], lengths: tuple[int, int, int]) -> bool:
    """Returns whether a number outside of loops that is T and a difference, or always the same, is so here as well."""
    short, long, last = numbers
    if short == long:
        return last == short
    return long - short != lengths[1] - lengths[0] or last - short == lengths[2] - lengths[0]


def _ways(values: Sequence[Sequence[float]], each: int, lengths: Sequence[int]) -> Iterator[list[list[Any]]]:
    """Yields the numbers of each call of a step: one step after the other, or over all steps one after the other."""
    yield [[group[k::each] for group in values] for k in range(each)]
    if each > 1 and all(len(group) == each * steps for group, steps in zip(values, lengths, strict=True)):
        yield [[g[k * n : (k + 1) * n] for g, n in zip(values, lengths, strict=True)] for k in range(each)]


def _follows(lanes: Sequence[Sequence[float]], lengths: tuple[int, int, int]) -> bool | None:
    """Returns whether numbers of later steps follow the law of the first ones, or None where those have none."""
    short, long, last = lanes
    if len({*short, *long}) == 1:
        return len({*short, *last}) == 1
    law = law_of(short, long, lengths[0], lengths[1])
    return None if law is None else law.fits(last, 0, lengths[2])


def _longest(net: nn.Module) -> int:
    """Returns how many steps show what the numbers in a module's code and attributes may change."""
    named = [number for part in net.modules() if _own(type(part)) for number in _numbers(part)]
    return max([_STEPS, *(int(n) + 5 for n in named if 0 < n <= _MOST_STEPS)])


def _own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in _LIBRARIES


def _numbers(part: nn.Module) -> Iterator[float]:
    yield from (value for value in vars(part).values() if type(value) in (int, float))
    for kind in type(part).__mro__:
        for entry in vars(kind).values() if _own(kind) else ():
            yield from _named(getattr(entry, "__code__", None))


def _named(code: CodeType | None) -> Iterator[float]:
    for value in code.co_consts if code is not None else ():
        if type(value) in (int, float):
            yield value
        elif isinstance(value, CodeType):
            yield from _named(value)


def rows_that_end(net: nn.Module, run: Callable[[int], None], short: int, long: int) -> str:
    """Returns the line that asks for a row that is not there at a traced number of steps, or "" where none does.

    Args:
        net: The module.
        run: Runs it over so many steps.
        short: The smaller number of steps that is traced.
        long: The larger one.
    """
    for steps in range(1, long + 1):
        try:
            run(steps)
        except IndexError as error:
            asks = fault_place(error, net)[1] or type(net).__name__
            why = f"{asks} runs over {steps - 1} steps at most ({str(error).splitlines()[0]})"
            return f"{why}, and a form of any T is found from {short} and {long}"
        except Exception:  # something else is the matter
            return ""
    return ""
