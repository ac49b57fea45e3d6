"""Unit roundoff of every floating-point type that a network may work in."""

from __future__ import annotations

from typing import Any

_UNITS = {"float64": 2.0**-53, "float16": 2.0**-11, "bfloat16": 2.0**-8}
_SINGLE = 2.0**-24
UNITS = frozenset({*_UNITS.values(), _SINGLE})


def unit_of(dtype: Any) -> float:
    """Returns the unit roundoff of a floating-point type of NumPy or PyTorch; 2^-24, that of float32, for others."""
    name = str(dtype).rpartition(".")[2]
    return _UNITS.get(name, _SINGLE)
