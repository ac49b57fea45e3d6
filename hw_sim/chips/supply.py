"""The supply that a chip's prices hold at, and the law by which they change with it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict

from neurokit.errors import InputError


@dataclass(frozen=True)
class Supply:
    """A chip's supply voltage.

    Attributes:
        volts: Voltage that the prices hold at.
        low: Lowest voltage at which the chip was shown to work.
        high: Highest.
        source: Where these were read.
        static_exponent: Static power goes with this power of the voltage; energy of an event goes with its square
            (`C V^2`).
        static_source: Where the exponent is from.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    volts: float
    low: float
    high: float
    source: str
    static_exponent: float = 3.0
    static_source: str = "assumed: leakage current grows about with the square of the voltage"

    def __post_init__(self) -> None:
        if not 0.0 < self.low <= self.volts <= self.high:
            raise InputError(
                f"supply of {self.volts!r} V in a range of {self.low!r} to {self.high!r} V",
                expected="0 < low <= volts <= high",
            )

    def factors(self, volts: float, chip: str) -> tuple[float, float]:
        """Returns by how much dynamic energy and static power change at another voltage.

        Raises:
            InputError: If the chip was not shown to work at that voltage.
        """
        if not self.low <= volts <= self.high:
            only = f"{self.low:g} V" if self.low == self.high else f"{self.low:g} to {self.high:g} V"
            raise InputError(f"{chip} at {volts:g} V", expected=f"{only} ({self.source})", fix="leave --voltage out")
        ratio = volts / self.volts
        return ratio**2, ratio**self.static_exponent
