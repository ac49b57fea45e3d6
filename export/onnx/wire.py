"""Reads the fields of a protobuf message as they lie in its bytes: numbers, and parts that are not copied.

ONNX Runtime alone runs an artifact on a device, where there is no onnx; and of a model of gigabytes only the names of
its operators are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT, _PART, _FOUR = 0, 1, 2, 5


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields number and value of every field: whole numbers as they are, everything else as its bytes.

    Raises:
        ValueError: If the bytes are no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _PART:
            size, at = _varint(data, at)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > end:
            raise ValueError("a field that is longer than its message")
        yield key >> 3, data[at : at + size]
        at += size


def text(value: int | memoryview) -> str:
    """Returns a name; what is no UTF-8 stays apart from every name that is."""
    return bytes(value).decode("utf-8", "surrogateescape") if isinstance(value, memoryview) else ""


def part(value: int | memoryview) -> memoryview:
    """Returns the bytes of a part.

    Raises:
        ValueError: If it is a number.
    """
    if not isinstance(value, memoryview):
        raise ValueError("a number in the place of a part")
    return value


def signed(value: int) -> int:
    """Returns a whole number of 64 bits with its sign."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def numbers(value: int | memoryview) -> list[int]:
    """Returns whole numbers, packed or one by one."""
    if isinstance(value, int):
        return [signed(value)]
    at, found = 0, []
    while at < len(value):
        number, at = _varint(value, at)
        found.append(signed(number))
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = data[at] if at < len(data) else 128
    if value < 128:
        return value, at + 1
    value, shift = 0, 0
    while shift < 70:
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number without an end")
