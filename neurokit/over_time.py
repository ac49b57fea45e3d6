"""What each output of a model is over time, written as one word or, where outputs differ, one word an output."""

from __future__ import annotations

from collections.abc import Sequence

#: One output a step `[T, B, ...]`; what is made of all of them; "auto" where it is none of these.
KINDS = ("sequence", "mean", "sum", "last", "max", "auto")


def joined(kinds: Sequence[str]) -> str:
    """Returns the kinds of several outputs as one text: one word where they are equal, else separated by commas."""
    return kinds[0] if kinds and len(set(kinds)) == 1 else ",".join(kinds)


def of_each(said: str, count: int) -> tuple[str, ...]:
    """Returns what each of `count` outputs is over time."""
    kinds = tuple(said.split(","))
    return kinds if len(kinds) > 1 else kinds * count


def first_is_a_sequence(said: str) -> bool:
    """Returns whether the first output, which a task reads, has a time axis."""
    return said.partition(",")[0] == "sequence"


def batch_axes(said: str, count: int, shapes: Sequence[Sequence[object]] = (), batch: int = 0) -> tuple[int, ...]:
    """Returns the axis of the batch in each of `count` outputs of a sequence form.

    Args:
        said: What the outputs are over time.
        count: How many there are.
        shapes: Declared sizes of each, for outputs of some of the steps `[T / 2, B, ...]`, of which the word does not
            say where the batch is, and those that have it elsewhere, as the states `[layers, B, hidden]` of an LSTM.
        batch: The batch size, where it is a number.
    """
    axes = [1 if kind == "sequence" else 0 for kind in of_each(said, count)]
    for at, (kind, shape) in enumerate(zip(of_each(said, count), shapes, strict=False)):
        named = [axis for axis, size in enumerate(shape) if "B" in str(size) or (batch and size == batch)]
        if kind == "auto":
            axes[at] = named[0] if named else 0
        elif kind != "sequence" and named and axes[at] not in named:  # declared sizes of a step have no time
            axes[at] = named[0]
    return tuple(axes)


def is_known(said: str) -> bool:
    """Returns whether a text says what outputs are over time."""
    return all(kind in KINDS for kind in said.split(","))
