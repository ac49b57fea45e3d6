"""`--input-shape`: sizes of one input, or of several by name, with free axes."""

from __future__ import annotations

from neurokit.dims import InputShape, as_size
from neurokit.errors import InputError

__all__ = ["INPUT_SHAPE_HELP", "InputShape", "parse_shapes"]

INPUT_SHAPE_HELP = (
    "Sizes of one sample without T and B, for a bare nn.Module: 3,224,224. Several inputs: repeat it as "
    "NAME:DTYPE:SIZES, in the order of forward's arguments; a size may there be free: ids:int64:S, mask:bool:S,S."
)


def parse_shapes(entries: list[str]) -> InputShape:
    """Reads `3,224,224`, or one `NAME:DTYPE:SIZES` for each input.

    Returns:
        None for nothing, the sizes of the one input, or the inputs by name as (dtype, sizes).

    Raises:
        InputError: If an entry is neither, or a name comes twice.
    """
    if not entries:
        return None
    if len(entries) == 1 and ":" not in entries[0]:
        return _sizes(entries[0], entries[0])
    named: dict[str, tuple[str, tuple[int | str, ...]]] = {}
    for entry in entries:
        name, dtype, sizes = [*entry.split(":"), "", ""][:3]
        if entry.count(":") != 2 or not _is_name(name) or name in named or not dtype:
            raise _refusal(entry)
        named[name] = (dtype, _sizes(sizes, entry))
    return named


def _is_name(name: str) -> bool:
    """Whether a text names an input, or a part of a nested one: "events.left", "frames.0"."""
    first, *parts = name.split(".")
    return first.isidentifier() and all(part.isidentifier() or part.isdigit() for part in parts)


def _sizes(text: str, entry: str) -> tuple[int | str, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not parts and ":" not in entry:
        raise _refusal(entry)
    try:
        sizes = [as_size(part) for part in parts]
    except InputError as error:
        raise _refusal(entry) from error
    free = any(not isinstance(size, int) for size in sizes)
    if 0 in sizes or (free and ":" not in entry):  # a slip of the pen in 3,224,224 is no free axis
        raise _refusal(entry)
    return tuple(size if isinstance(size, int) else str(size) for size in sizes)


def _refusal(entry: str) -> InputError:
    return InputError(
        f"--input-shape is {entry!r}",
        expected="positive whole numbers, without T and B",
        fix="write 3,224,224, or NAME:DTYPE:SIZES once for each of several inputs",
    )
