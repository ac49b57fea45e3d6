"""What the C source is put together from: values, buffers, and loops whose bodies grow while operations are fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from neurokit.export.c.bounds import Integers

_WIDTHS = (("int8_t", 8), ("int16_t", 16), ("int32_t", 32), ("int64_t", 64))
#: Types of working memory; each has a region of its own, as C's rules on aliasing ask for.
STORED = (*(name for name, _ in _WIDTHS), "float")
BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "int64_t": 8, "float": 4}


def c_type(low: int, high: int) -> str:
    """Returns the narrowest signed type for whole numbers from `low` to `high`.

    Raises:
        OverflowError: If 64 bits do not hold them.
    """
    for name, bits in _WIDTHS:
        if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1):
            return name
    raise OverflowError(f"{low} to {high} is wider than 64 bits")


@dataclass(eq=False)
class Buffer:
    """A region of memory.

    Attributes:
        name: Name in the C source.
        type: Element type.
        size: Number of elements.
        first: Number of the loop that writes it.
        last: Number of the last loop that reads it.
        planned: Whether it lies in working memory; else it is an input or a table.
        offset: Where it lies in the working memory of its type, in elements.
    """

    name: str
    type: str
    size: int
    first: int = 0
    last: int = 0
    planned: bool = False
    offset: int = 0


@dataclass
class Loop:
    """One loop nest: what opens it, statements for every element of its result, what closes it.

    Attributes:
        number: Place in the order of execution.
        title: What it computes, for a comment.
        head: Lines that open it; they define `i`, the flat index of an element, and the first variable.
        body: Statements for one element.
        tail: Lines that close it.
    """

    number: int
    title: str
    head: list[str]
    body: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Value:
    """A tensor: its variable in the loop that computes it, a buffer, or both.

    Attributes:
        shape: Of one sample, the batch axis included.
        kind: Whole numbers on a grid, or None for float32.
        loop: The loop in whose body `name` holds an element of it.
        name: Variable in that loop.
        buffer: Where it is stored, or None while it is not.
        offset: Of its first element in the buffer.
    """

    shape: tuple[int, ...]
    kind: Integers | None
    loop: Loop | None = None
    name: str = ""
    buffer: Buffer | None = None
    offset: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def type(self) -> str:
        """Type it is stored in."""
        return "float" if self.kind is None else c_type(self.kind.low, self.kind.high)

    @property
    def wide(self) -> str:
        """Type it is computed in."""
        return "float" if self.kind is None else wide(self.kind)


def wide(kind: Integers) -> str:
    """Returns the type in which whole numbers are computed: 32 bits, or 64 where that is too narrow."""
    return "int64_t" if c_type(kind.low, kind.high) == "int64_t" else "int32_t"


def plan(buffers: Sequence[Buffer]) -> dict[str, int]:
    """Places buffers so that those which are alive together do not overlap; returns elements needed by type."""
    sizes: dict[str, int] = {}
    for kind in STORED:
        placed: list[Buffer] = []
        for buffer in sorted((b for b in buffers if b.planned and b.type == kind), key=lambda b: (-b.size, b.first)):
            at = 0
            together = [b for b in placed if b.first <= buffer.last and buffer.first <= b.last]
            for other in sorted(together, key=lambda b: b.offset):
                if at + buffer.size <= other.offset:
                    break
                at = max(at, other.offset + other.size)
            buffer.offset = at
            placed.append(buffer)
            sizes[kind] = max(sizes.get(kind, 0), at + buffer.size)
    return sizes


def shifted(name: str, bits: int, kind: str = "int32_t") -> str:
    """Returns an expression for a whole number times 2**bits; shifting a negative number is undefined in C."""
    if bits < 0:
        raise ValueError(f"{name} cannot lose {-bits} bits without rounding")
    return name if bits == 0 else f"({name} * {number(1 << bits, kind)})"


def number(value: int, kind: str = "int32_t") -> str:
    """Returns a whole number as a C constant of a type."""
    if kind == "int64_t":
        return f"INT64_C({value})" if value >= 0 else f"(-INT64_C({-value}))"
    if value == -(2**31):
        return "INT32_MIN"
    return f"{value}" if value >= 0 else f"({value})"


def real(value: float) -> str:
    """Returns a float32 as a C constant, to the bit."""
    return f"{float(value).hex()}f"


@dataclass(frozen=True)
class Nest:
    """Loops over a shape, and each operand's flat index in them."""

    head: list[str]
    indices: list[str]
    depth: int


def nest(shape: Sequence[int], strides: Sequence[Sequence[int]], offsets: Sequence[int], counter: bool = True) -> Nest:
    """Returns loops over a shape in order, with axes merged where every operand allows it.

    Args:
        shape: Sizes.
        strides: For every operand its stride along each axis; 0 repeats it.
        offsets: Every operand's first index.
        counter: Whether the loops count the elements in `i`.
    """
    axes = [(size, [s[at] for s in strides]) for at, size in enumerate(shape) if size != 1]
    merged: list[tuple[int, list[int]]] = []
    for size, step in axes:
        if merged and all(a == b * size for a, b in zip(merged[-1][1], step, strict=True)):
            merged[-1] = (merged[-1][0] * size, step)
        else:
            merged.append((size, step))
    names = [f"j{at}" for at in range(len(merged))]
    head = ["int32_t i = 0;"] if counter else []
    for at, (name, (size, _)) in enumerate(zip(names, merged, strict=True)):
        step = f"++{name}, ++i" if counter and at == len(merged) - 1 else f"++{name}"
        head.append(f"for (int32_t {name} = 0; {name} < {size}; {step}) {{")
    indices = []
    for operand, offset in enumerate(offsets):
        terms = [
            name if step[operand] == 1 else f"{name} * {step[operand]}"
            for name, (_, step) in zip(names, merged, strict=True)
            if step[operand]
        ]
        indices.append(" + ".join([*terms, *([str(offset)] if offset or not terms else [])]))
    return Nest(head, indices, len(merged))
