"""Sizes of axes: numbers, named free axes with bounds, and linear expressions of these such as "2*B" or "P+S"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from neurokit.errors import InputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_TERM = re.compile(r"(?:(\d+)\*)?([A-Za-z_][A-Za-z_0-9]*)|(\d+)")

# What a user says of inputs: the sizes of one sample, or (dtype, sizes) of several by name.
InputShape = Sequence[int | str] | Mapping[str, tuple[str, Sequence[int | str]]] | None

BATCH = "B"
TIME = "T"


@dataclass(frozen=True)
class Dim:
    """A named free axis: its size is known only when the model is called.

    Attributes:
        name: Name, the same wherever the same size is meant ("B", "T", "frames").
        min: Smallest size. A state that grows starts with its growing axis this long (0 for an empty cache).
        max: Largest size, or None.
        multiple: The size is a multiple of this.
        beyond: Sizes with which a model is traced are larger than this: what it computes of the axis is often a number
            of blocks of so many, and a program that is traced at one block is a program for one.
    """

    name: str
    min: int = 1
    max: int | None = None
    multiple: int = 1
    beyond: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InputError(f"a free axis is named {self.name!r}", expected="a name such as B, T or frames")
        sizes = (self.min, self.multiple, self.min if self.max is None else self.max)
        if any(isinstance(size, bool) or not isinstance(size, int) for size in sizes) or self.min < 0:
            raise InputError(f"axis {self.name!r} has bounds {sizes}", expected="whole numbers, min >= 0")
        if self.multiple < 1 or (self.max is not None and self.max < max(self.min, self.multiple)):
            raise InputError(
                f"axis {self.name!r} goes from {self.min} to {self.max} in multiples of {self.multiple}",
                expected="min <= max, and at least one multiple between them",
            )

    def refusal(self, size: int) -> str:
        """Returns why `size` is none of this axis, or ""."""
        if size < self.min or (self.max is not None and size > self.max):
            return f"{self.name} is {size}, outside of {self.min} to {'any' if self.max is None else self.max}"
        return f"{self.name} is {size}, no multiple of {self.multiple}" if size % self.multiple else ""

    def example(self, wanted: int) -> int:
        """Returns the size of this axis that is nearest to `wanted` from above, or the largest."""
        size = -(-max(wanted, self.min, self.beyond + 1) // self.multiple) * self.multiple
        if self.max is None or size <= self.max:
            return size
        return self.max // self.multiple * self.multiple

    def __str__(self) -> str:
        return self.name

    def __add__(self, other: Dim | Linear | int) -> Linear | int:
        return _sum(self, other)

    __radd__ = __add__

    def __mul__(self, factor: int) -> Linear:
        return Linear(0, ((self.name, factor),))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Linear:
    """A size that depends on free axes: `constant + sum of factor * axis`.

    Attributes:
        constant: What is added.
        terms: Names of free axes with their factors (not 0), sorted by name.
    """

    constant: int = 0
    terms: tuple[tuple[str, int], ...] = field(default_factory=tuple)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free axes."""
        return tuple(name for name, _ in self.terms)

    def __str__(self) -> str:
        parts = [name if factor == 1 else f"{factor}*{name}" for name, factor in self.terms]
        return "+".join([*parts, str(self.constant)] if self.constant else parts)

    def __add__(self, other: Dim | Linear | int) -> Linear | int:
        return _sum(self, other)

    __radd__ = __add__


Size = int | Linear


def _sum(*parts: Dim | Linear | int | str) -> Size:
    constant, factors = 0, dict[str, int]()
    for part in parts:
        size = as_size(part)
        if isinstance(size, int):
            constant += size
            continue
        constant += size.constant
        for name, factor in size.terms:
            factors[name] = factors.get(name, 0) + factor
    terms = tuple(sorted((name, factor) for name, factor in factors.items() if factor))
    return Linear(constant, terms) if terms else constant


def as_size(value: int | str | Dim | Linear) -> Size:
    """Returns a size in its one form: a number, or a `Linear`.

    Args:
        value: A number, a `Dim`, an expression of those, or its text ("B", "2*B", "P+S", "B+1").

    Raises:
        InputError: If it is none of these, or a number below 0.
    """
    if isinstance(value, Linear):
        return value
    if isinstance(value, Dim):
        return Linear(0, ((value.name, 1),))
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    matches = [_TERM.fullmatch(part.strip()) for part in value.split("+")] if isinstance(value, str) else [None]
    if not all(matches):
        raise InputError(f"{value!r} is no size", expected="a whole number, or names of axes: B, 2*B, P+S")
    total: Size = 0
    for match in matches:
        factor, name, number = match.groups()  # type: ignore[union-attr]
        total = _sum(total, Linear(0, ((name, int(factor or 1)),)) if name and factor != "0" else int(number or 0))
    return total


def text_of(size: Size) -> int | str:
    """Returns a size as files hold it: a number, or its text."""
    return size if isinstance(size, int) else str(size)


def names_in(sizes: Iterable[Size]) -> tuple[str, ...]:
    """Returns the names of the free axes in some sizes, each once."""
    return tuple(dict.fromkeys(name for size in sizes if isinstance(size, Linear) for name in size.names))


def evaluate(size: Size | str, values: Mapping[str, int]) -> int:
    """Returns a size as a number.

    Raises:
        InputError: If one of its axes has no value.
    """
    size = as_size(size)
    if isinstance(size, int):
        return size
    missing = [name for name in size.names if name not in values]
    if missing:
        raise InputError(f"the size {size} is not known", expected=f"a value of {', '.join(missing)}")
    return size.constant + sum(factor * values[name] for name, factor in size.terms)


def substitute(size: Size, values: Mapping[str, Size]) -> Size:
    """Returns a size with some of its axes replaced by other sizes."""
    if isinstance(size, int):
        return size
    parts: list[Size] = [size.constant]
    for name, factor in size.terms:
        parts += [values.get(name, Linear(0, ((name, 1),)))] * factor
    return _sum(*parts)


def solve(
    wanted: Sequence[tuple[str, Sequence[Size | str], Sequence[int]]], known: Mapping[str, int]
) -> dict[str, int]:
    """Finds the sizes of all free axes from the shapes of some arrays, and that the arrays agree on them.

    Args:
        wanted: For each array its name, its sizes, and the shape that it has.
        known: Axes whose size is known already.

    Returns:
        The size of every axis that occurs.

    Raises:
        InputError: If an array has another number of axes or does not fit; says which, and what would fit.
    """
    found = dict(known)
    pending: list[_Axis] = []
    for name, given, shape in wanted:
        sizes = tuple(as_size(size) for size in given)
        if len(sizes) != len(shape):
            raise _misfit(name, sizes, shape, found)
        pending += [(name, sizes, tuple(shape), place) for place in range(len(sizes))]
    while pending:
        late = [axis for axis in pending if not _settle(axis, found)]
        if len(late) == len(pending):
            open_sizes = ", ".join(str(sizes[place]) for _, sizes, _, place in late)
            raise InputError(f"the sizes {open_sizes} do not follow from the inputs")
        pending = late
    return found


_Axis = tuple[str, tuple[Size, ...], tuple[int, ...], int]  # name, sizes and shape of an array, and which axis of it


def _settle(axis: _Axis, found: dict[str, int]) -> bool:
    """Checks one axis, or finds the one free axis in its size; returns whether that was possible already."""
    name, sizes, shape, place = axis
    size = as_size(sizes[place])
    terms = () if isinstance(size, int) else size.terms
    unknown = [(each, factor) for each, factor in terms if each not in found]
    if len(unknown) > 1:
        return False
    rest = shape[place] - evaluate(size, {**dict.fromkeys((each for each, _ in unknown), 0), **found})
    if not unknown and rest:
        raise _misfit(name, sizes, shape, found)
    for each, factor in unknown:
        if rest < 0 or rest % factor:
            raise _misfit(name, sizes, shape, found)
        found[each] = rest // factor
    return True


def _misfit(name: str, sizes: Sequence[Size], shape: Sequence[int], found: Mapping[str, int]) -> InputError:
    values = {n: found[n] for n in names_in(sizes) if n in found}
    where = " with " + ", ".join(f"{key} = {value}" for key, value in values.items()) if values else ""
    expected = f"[{', '.join(str(size) for size in sizes)}]{where}"
    return InputError(f"{name!r} has shape {list(shape)}", expected=expected, fix="reshape it")


def collect(*shapes: Iterable[int | str | Dim | Linear]) -> dict[str, Dim]:
    """Returns every free axis that occurs in some shapes, by name; one that is only named has no bounds.

    Raises:
        InputError: If one name has two different bounds.
    """
    found: dict[str, Dim] = {}
    for value in (value for shape in shapes for value in shape):
        if isinstance(value, Dim) and found.setdefault(value.name, value) != value:
            raise InputError(
                f"axis {value.name!r} is {found[value.name]!r} and {value!r}", expected="one meaning of a name"
            )
    for name in names_in(as_size(value) for shape in shapes for value in shape):
        found.setdefault(name, Dim(name))
    return found


def example_sizes(dims: Iterable[Dim], first: int = 3) -> dict[str, int]:
    """Returns a size for every axis, unequal to each other and to 0 and 1 where their bounds allow it.

    An axis that goes in multiples has as many of them: what is computed of it is often their number (frames of a
    recording), and a program that is traced at one of those is a program for one.
    """
    chosen: dict[str, int] = {}
    wanted = first
    for dim in dims:
        size = dim.example(wanted * dim.multiple)
        while size in chosen.values() and dim.example(size + 1) > size:
            size = dim.example(size + 1)
        chosen[dim.name] = size
        wanted = max(wanted, size // dim.multiple) + 1
    return chosen
