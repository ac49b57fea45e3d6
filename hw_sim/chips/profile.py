"""Chips as data: what one costs, how fast it is and what fits on it, read from one .toml file each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ConfigDict

from neurokit.errors import InputError
from neurokit.hw_sim.chips.limits import Limits, Reference, Topology
from neurokit.hw_sim.chips.supply import Supply
from neurokit.hw_sim.chips.terms import (
    COMPONENTS,
    KIND_OF_BASIS,
    TERMS,
    TIMED_COMPONENTS,
    TIMES,
    Basis,
    Component,
    Scope,
)
from neurokit.quantity import Quantity


@dataclass(frozen=True)
class Constant:
    """A price, a power or a time of a chip, with where it comes from.

    Attributes:
        value: Best estimate, SI.
        low: Lower end of its interval.
        high: Upper end of its interval.
        unit: "J", "W" or "s".
        basis: How the number was obtained.
        scope: "marginal": what one more occurrence adds; "all-in": the whole chip's power divided by a count.
        source: Paper, table, page.
        voltage: Supply voltage it holds at, in volts, if stated.
        node_nm: Process node it holds for, in nanometres, if another than the chip's.
        covers: Components that the number includes besides its own, so that nothing is charged twice.
        note: What a reader must know.

    Raises:
        InputError: If the interval does not hold the value, a number is negative, or the source is empty.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    value: float
    low: float
    high: float
    unit: Literal["J", "W", "s"]
    basis: Basis
    source: str
    scope: Scope = "marginal"
    voltage: float | None = None
    node_nm: float | None = None
    covers: tuple[Component, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.value <= self.high < float("inf"):
            raise InputError(
                f"constant {self.value!r} with interval [{self.low!r}, {self.high!r}]",
                expected="0 <= low <= value <= high",
            )
        if not self.source.strip():
            raise InputError("a constant has no source", expected="the paper, table or file that it was read in")

    def at(self, end: str) -> float:
        """Returns the best estimate ("value") or an end of the interval ("low", "high")."""
        return float(getattr(self, end))

    def quantity(self) -> Quantity:
        """Returns the constant as a quantity."""
        return Quantity(self.value, self.low, self.high, self.unit, KIND_OF_BASIS[self.basis], self.source)


@dataclass(frozen=True)
class HardwareProfile:
    """Everything neurokit knows about a chip.

    Attributes:
        name: Name on the command line.
        title: Name in tables.
        maker: Who made it.
        node_nm: Process node in nanometres, if a source that was read states it.
        summary: One line.
        topology: How its cores are joined.
        limits: What fits on it.
        voltage: Supply voltage in volts, if one is stated.
        supply: The range of voltages and the law between them, if known.
        clock_hz: Clock at which `clock_cycle` is charged, in hertz.
        prices: Energy or power of each term of `TERMS`.
        times: Time of each term of `TIMES`.
        barrier: Time of the end-of-step barrier in seconds, by the number of tiles in use.
        barrier_rule: Between two entries: "step" takes the smaller one, "linear" interpolates.
        barrier_source: Where the barrier was read.
        absent: Components that this chip does not have (a chip of one core has no routing).
        references: Figures that are shown but not used.
        warnings: What a reader of any total must know.
        energy_error: Error of the model that the prices belong to, as a share: every energy is wider by it.
        time_error: The same for the time that cores and links take.
        error_source: Where these two were read, or how they were found.
        lower_bound: What no price of this chip covers, where every total of it is a bound; "" where that is not so.
        path: File it was read from.

    Raises:
        InputError: If a term is unknown or has the wrong unit, or all-in and per-term prices are mixed.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    title: str
    maker: str
    summary: str
    topology: Topology
    limits: Limits
    node_nm: float | None = None
    voltage: float | None = None
    supply: Supply | None = None
    clock_hz: float | None = None
    prices: dict[str, Constant] = field(default_factory=dict)
    times: dict[str, Constant] = field(default_factory=dict)
    barrier: dict[int, float] = field(default_factory=dict)
    barrier_rule: Literal["step", "linear"] = "linear"
    barrier_source: str = ""
    absent: tuple[Component, ...] = ()
    references: tuple[Reference, ...] = ()
    warnings: tuple[str, ...] = ()
    energy_error: float = 0.0
    time_error: float = 0.0
    error_source: str = ""
    lower_bound: str = ""
    path: str = ""

    def __post_init__(self) -> None:
        for term, constant in self.prices.items():
            if term not in TERMS:
                raise InputError(f"unknown price {term!r}", expected="one of " + ", ".join(TERMS))
            if constant.unit != TERMS[term].unit:
                raise InputError(f"price {term!r} is in {constant.unit}", expected=f"unit {TERMS[term].unit}")
        for term, constant in self.times.items():
            if term not in TIMES:
                raise InputError(f"unknown time {term!r}", expected="one of " + ", ".join(TIMES))
            if constant.unit != "s":
                raise InputError(f"time {term!r} is in {constant.unit}", expected="unit s")
        if "clock_cycle" in self.prices and not self.clock_hz:
            raise InputError("price 'clock_cycle' without clock_hz", expected="the clock at which it is charged")
        if not 0.0 <= max(self.energy_error, self.time_error) < 1.0:
            raise InputError("a model's error is no share", expected="energy_error and time_error from 0 to below 1")
        if (self.energy_error or self.time_error) and not self.error_source.strip():
            raise InputError("a model's error without error_source", expected="where it was read")
        self._refuse_mixed_scopes()

    def _refuse_mixed_scopes(self) -> None:
        all_in = [term for term, constant in self.prices.items() if constant.scope == "all-in"]
        if all_in and len(self.prices) > len(all_in):
            others = [term for term in self.prices if term not in all_in]
            raise InputError(
                f"all-in price of {', '.join(all_in)} is mixed with per-term prices of {', '.join(others)}",
                expected="either one all-in price or per-term prices: an all-in price includes everything else",
                fix="move the all-in figure to [[references]], or remove the other prices",
            )
        if len(all_in) > 1:
            raise InputError(f"{len(all_in)} all-in prices: {', '.join(all_in)}", expected="at most one")

    @property
    def pricing(self) -> Literal["per-term", "all-in", "none"]:
        """How the chip is priced; "none" when no event of it has a price."""
        if any(constant.scope == "all-in" for constant in self.prices.values()):
            return "all-in"
        events = any(TERMS[term].component not in TIMED_COMPONENTS for term in self.prices)
        return "per-term" if events else "none"

    def priced_components(self) -> set[Component]:
        """Returns the components that have a price, are covered by one, or do not exist on this chip."""
        found: set[Component] = set(self.absent)
        for term, constant in self.prices.items():
            found |= {TERMS[term].component, *constant.covers}
        return set(COMPONENTS) if self.pricing == "all-in" else found

    def at_voltage(self, volts: float) -> HardwareProfile:
        """Returns the chip at another supply voltage: energy of events by `V^2`, static power by the file's own law.

        Times stay as they are: no file states how they change.

        Raises:
            InputError: If the file states no range of voltages, or the voltage is outside it.
        """
        if self.supply is None:
            fix = "leave --voltage out, or add [supply] to the chip's file"
            raise InputError(
                f"{self.title}: no range of supply voltages is stated", expected="a chip with one", fix=fix
            )
        dynamic, static = self.supply.factors(volts, self.title)
        prices = {}
        for term, constant in self.prices.items():
            factor = static if constant.unit == "W" else dynamic
            value, low, high = (constant.at(end) * factor for end in ("value", "low", "high"))
            prices[term] = replace(constant, value=value, low=low, high=high, voltage=volts)
        power, known = self.supply.static_exponent, self.supply.volts
        law = f"at {volts:g} V: events by V^2, static power by V^{power:g} from {known:g} V"
        return replace(self, voltage=volts, prices=prices, warnings=(*self.warnings, law))

    def with_prices(self, prices: Mapping[str, float | Constant], source: str = "given by the user") -> HardwareProfile:
        """Returns the chip with prices that the user answers for.

        Args:
            prices: Price by term, in J or W; a bare number becomes an assumed constant without an interval.
            source: Where the numbers come from.

        Raises:
            InputError: If a term is unknown, a number is negative, or scopes are mixed.
        """
        unknown = [term for term in prices if term not in TERMS]
        if unknown:
            raise InputError(f"unknown price {unknown[0]!r}", expected="one of " + ", ".join(TERMS))
        given = {
            term: price
            if isinstance(price, Constant)
            else Constant(price, price, price, TERMS[term].unit, "assumed", source)  # type: ignore[arg-type]
            for term, price in prices.items()
        }
        return replace(self, prices={**self.prices, **given})


def chip_card(profile: HardwareProfile) -> dict[str, Any]:
    """Returns what `neurokit chips NAME` shows: limits, prices, times and figures, each with its source."""
    limits = {
        name: value
        for name, value in vars(profile.limits).items()
        if value not in (None, (), "", False) and name not in ("source", "assumed", "note")
    }
    return {
        "name": profile.name,
        "title": profile.title,
        "maker": profile.maker,
        "summary": profile.summary,
        "node_nm": profile.node_nm,
        "voltage": profile.voltage,
        "supply": vars(profile.supply) if profile.supply else None,
        "pricing": profile.pricing,
        "unpriced": sorted(set(COMPONENTS) - profile.priced_components()),
        "topology": {key: value for key, value in vars(profile.topology).items() if value != ""},
        "limits": limits,
        "limits_source": profile.limits.source,
        "limits_assumed": list(profile.limits.assumed),
        "prices": {term: _constant_row(term, constant) for term, constant in profile.prices.items()},
        "times": {term: _constant_row(term, constant) for term, constant in profile.times.items()},
        "barrier": {str(tiles): seconds for tiles, seconds in profile.barrier.items()},
        "barrier_source": profile.barrier_source,
        "energy_error": profile.energy_error,
        "time_error": profile.time_error,
        "error_source": profile.error_source,
        "lower_bound": profile.lower_bound,
        "references": [vars(reference) for reference in profile.references],
        "warnings": list(profile.warnings),
        "path": profile.path,
    }


def _constant_row(term: str, constant: Constant) -> dict[str, Any]:
    meaning = TERMS[term].meaning if constant.unit != "s" and term in TERMS else TIMES[term]
    return {**vars(constant), "covers": list(constant.covers), "meaning": meaning, "text": constant.quantity().text()}
