"""A number that carries its unit, its interval, how it was obtained and where from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from neurokit.errors import InputError

Kind = Literal["measured", "simulated", "analytic", "assumed"]

# From the most to the least trustworthy: a derived quantity is as good as its worst input.
_TRUST: tuple[Kind, ...] = ("measured", "simulated", "analytic", "assumed")
_PREFIXES = (
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
    (1e-15, "f"),
)


def worst_kind(*kinds: Kind) -> Kind:
    """Returns the least trustworthy of `kinds`, which is the kind of what is computed from them."""
    return max(kinds, key=_TRUST.index)


@dataclass(frozen=True)
class Quantity:
    """A value with interval, unit, kind and source.

    Attributes:
        value: The best estimate, in SI units.
        low: Lower end of the interval, in the same unit.
        high: Upper end of the interval, in the same unit.
        unit: SI unit without a prefix, for example "J", "s", "W", "B" or "" for a count.
        kind: How the value was obtained.
        source: Paper and table, tool and version, or the run that measured it.

    Raises:
        InputError: If the interval does not hold the value, or a number is NaN.
    """

    value: float
    low: float
    high: float
    unit: str
    kind: Kind
    source: str

    def __post_init__(self) -> None:
        if self.kind not in _TRUST:
            raise InputError(f"quantity kind {self.kind!r} is unknown", expected="one of " + ", ".join(_TRUST))
        if not self.low <= self.value <= self.high:  # also refuses NaN
            raise InputError(
                f"quantity {self.value!r} {self.unit} lies outside its interval [{self.low!r}, {self.high!r}]",
                expected="low <= value <= high",
            )

    @classmethod
    def exact(cls, value: float, unit: str, kind: Kind, source: str) -> Quantity:
        """Returns a quantity whose interval is its value."""
        return cls(value, value, value, unit, kind, source)

    def __add__(self, other: Quantity) -> Quantity:
        if self.unit != other.unit:
            raise InputError(f"cannot add {self.unit!r} and {other.unit!r}", expected="equal units")
        source = self.source if self.source == other.source else f"{self.source}; {other.source}"
        return Quantity(
            self.value + other.value,
            self.low + other.low,
            self.high + other.high,
            self.unit,
            worst_kind(self.kind, other.kind),
            source,
        )

    def scaled(self, factor: float, unit: str | None = None, kind: Kind | None = None) -> Quantity:
        """Returns the quantity times a factor >= 0 that is known exactly (a count, a duration)."""
        if factor < 0 or math.isnan(factor):
            raise InputError(f"scale factor {factor!r} is not usable", expected="a number >= 0")
        return replace(
            self,
            value=self.value * factor,
            low=self.low * factor,
            high=self.high * factor,
            unit=self.unit if unit is None else unit,
            kind=self.kind if kind is None else worst_kind(self.kind, kind),
        )

    def widened(self, share: float) -> Quantity:
        """Returns the quantity with its interval wider by a share of its ends: the error of the model behind it."""
        return replace(self, low=self.low * (1 - share), high=self.high * (1 + share)) if share else self

    def to_json(self) -> dict[str, Any]:
        """Returns the quantity as a JSON object."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "kind": self.kind,
            "source": self.source,
        }

    def text(self) -> str:
        """Returns the value and its interval, scaled to a readable prefix: `1.4 mJ [1.2, 1.6]`."""
        scale, prefix = _prefix(self.value if self.value else self.high) if self.unit else (1.0, "")
        body = f"{self.value / scale:.4g} {prefix}{self.unit}".rstrip()
        if self.low == self.high:
            return body
        return f"{body} [{self.low / scale:.3g}, {self.high / scale:.3g}]"


def _prefix(value: float) -> tuple[float, str]:
    """Returns the SI prefix under which `value` reads as 1 to 1000."""
    size = abs(value)
    for scale, prefix in _PREFIXES:
        if size >= scale:
            return scale, prefix
    return (1.0, "") if size == 0 else _PREFIXES[-1]
