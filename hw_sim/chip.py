"""Chips as data: what one costs, how fast it is and what fits on it, read from one .toml file each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from neurokit.errors import InputError
from neurokit.quantity import Kind, Quantity
from neurokit.registry import Registry

Basis = Literal["silicon", "simulation", "vendor", "derived", "assumed"]
Scope = Literal["marginal", "all-in"]
Component = Literal["synapse", "neuron", "routing", "memory", "static"]

COMPONENTS: tuple[Component, ...] = ("synapse", "neuron", "routing", "memory", "static")

# How far a constant can be trusted, as the kind of the quantity it becomes. A vendor's statement is not a
# measurement that anybody can repeat, so it counts as an assumption.
KIND_OF_BASIS: dict[str, Kind] = {
    "silicon": "measured",
    "simulation": "simulated",
    "derived": "analytic",
    "vendor": "assumed",
    "assumed": "assumed",
}

CHIP_FOLDER = Path(__file__).parent / "chips"


@dataclass(frozen=True)
class Term:
    """One thing that a chip can ask a price for.

    Attributes:
        component: The part of the total it belongs to.
        unit: Unit of its price: "J" an occurrence, or "W" while the chip is on.
        meaning: What is counted.
    """

    component: Component
    unit: str
    meaning: str


TERMS: dict[str, Term] = {
    "synaptic_event": Term("synapse", "J", "one spike reaching one neuron through one synapse"),
    "synaptic_event_dense": Term("synapse", "J", "the same, through a fully connected layer"),
    "synaptic_event_conv": Term("synapse", "J", "the same, through a convolution or pooling"),
    "synaptic_event_sparse": Term("synapse", "J", "the same, through explicitly listed connections"),
    "graded_event": Term("synapse", "J", "one value that is no spike reaching one neuron: a multiplication"),
    "shortcut_add": Term("synapse", "J", "one real value added one to one (a membrane shortcut)"),
    "product_operation": Term("synapse", "J", "one term of an activation times activation product"),
    "neuron_access": Term("neuron", "J", "one neuron looked at in one time step, active or not"),
    "neuron_update": Term("neuron", "J", "one neuron updated in one time step because it was active"),
    "neuron_idle": Term("neuron", "J", "one neuron of one time step that was not active"),
    "spike": Term("neuron", "J", "one spike emitted"),
    "packet": Term("routing", "J", "one spike sent to one core"),
    "local_delivery": Term("routing", "J", "one packet handed to a core by its tile"),
    "hop_x": Term("routing", "J", "one packet over one horizontal mesh link"),
    "hop_y": Term("routing", "J", "one packet over one vertical mesh link"),
    "chip_hop": Term("routing", "J", "one packet over one link between chips"),
    "weight_read": Term("memory", "J", "one weight read from memory (one a synaptic event)"),
    "state_read": Term("memory", "J", "one membrane potential read (one a synaptic event and one an update)"),
    "state_write": Term("memory", "J", "one membrane potential written (likewise)"),
    "static_chip": Term("static", "W", "one chip that is on"),
    "static_core": Term("static", "W", "one core in use"),
    "clock_cycle": Term("static", "J", "one cycle of the chip's clock, busy or not"),
    "reset_chip": Term("static", "J", "one chip set back to its initial state, once an inference"),
}

TIMES: dict[str, str] = {
    "synaptic_event": "one synaptic event in its core",
    "synaptic_event_dense": "the same, through a fully connected layer",
    "synaptic_event_conv": "the same, through a convolution or pooling",
    "synaptic_event_sparse": "the same, through explicitly listed connections",
    "neuron_access": "one neuron looked at",
    "neuron_update": "one active neuron updated",
    "neuron_idle": "one inactive neuron passed over",
    "spike": "one spike emitted",
    "packet_in": "one packet received by a core",
    "packet_out": "one packet sent by a core",
    "hop_x": "one packet over a horizontal link",
    "hop_y": "one packet over a vertical link",
    "local_delivery": "one packet handed to a core by its tile",
    "tick": "one time step of a chip that runs in step with a clock",
}


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

    def quantity(self) -> Quantity:
        """Returns the constant as a quantity."""
        return Quantity(self.value, self.low, self.high, self.unit, KIND_OF_BASIS[self.basis], self.source)


@dataclass(frozen=True)
class Topology:
    """How cores are joined.

    Attributes:
        kind: "mesh" (XY routing), "none" (one core, or cores joined without a mesh).
        width: Tiles in x of one chip.
        height: Tiles in y of one chip.
        cores_per_tile: Cores that share a router.
        chips_max: Largest system that was built or is documented.
        order: Whether tile numbers run down the columns first ("column") or along the rows first ("row").
        source: Where this was read.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Literal["mesh", "none"]
    source: str
    width: int = 1
    height: int = 1
    cores_per_tile: int = 1
    chips_max: int = 1
    order: Literal["column", "row"] = "row"


@dataclass(frozen=True)
class Limits:
    """What a mapper must respect; None means that no such limit is published.

    Attributes:
        cores: Cores of one chip.
        source: Where the limits were read.
        neurons_per_core: Neurons of one core.
        synapse_bits_per_core: Weight memory of one core, in bits.
        axons_in_per_core: Distinct source neurons that may send to one core.
        axons_out_per_core: Destinations (neuron, core) of the neurons of one core.
        fan_in: Synapses of one neuron.
        fan_out_cores: Cores that one neuron may send to.
        weight_bits: Widths of weights, smallest and largest.
        shares_weights: Whether a convolution's kernel is stored once a core and not once a neuron.
        whole_layer_per_core: Whether a layer takes a core of its own and must fit in it.
        core_neurons: Neurons of each core where cores differ.
        core_weight_bits: Weight memory of each core, in bits, where cores differ.
        kernel_max: Largest side of a convolution kernel.
        square_kernel: Whether kernels must be square.
        strides: Strides that a convolution may have.
        padding_max: Largest padding of a convolution.
        pool_sizes: Sizes (and strides) of pooling.
        input_size_max: Largest height and width of a layer's input.
        output_size_max: Largest height and width of a layer's output.
        features_max: Largest number of channels.
        fan_out_layers: Layers that one layer may send to.
        inputs_max: Input channels of the chip.
        outputs_max: Neurons of the last layer.
        neurons_per_chip: Neurons of a chip where that is less than cores times neurons.
        synapses_per_chip: Synapses of a chip.
        dense: Whether fully connected layers can be placed.
        conv: Whether convolutions can be placed.
        assumed: Names of the limits above that were recalled or inferred and not read in a source.
        note: What a reader must know.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    cores: int
    source: str
    neurons_per_core: int | None = None
    synapse_bits_per_core: int | None = None
    axons_in_per_core: int | None = None
    axons_out_per_core: int | None = None
    fan_in: int | None = None
    fan_out_cores: int | None = None
    weight_bits: tuple[int, int] | None = None
    shares_weights: bool = False
    whole_layer_per_core: bool = False
    core_neurons: tuple[int, ...] = ()
    core_weight_bits: tuple[int, ...] = ()
    kernel_max: int | None = None
    square_kernel: bool = False
    strides: tuple[int, ...] = ()
    padding_max: int | None = None
    pool_sizes: tuple[int, ...] = ()
    input_size_max: int | None = None
    output_size_max: int | None = None
    features_max: int | None = None
    fan_out_layers: int | None = None
    inputs_max: int | None = None
    outputs_max: int | None = None
    neurons_per_chip: int | None = None
    synapses_per_chip: int | None = None
    dense: bool = True
    conv: bool = True
    assumed: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Reference:
    """A published figure that is shown on the chip's card and never used as a price.

    Attributes:
        what: What was measured.
        value: The figure, with its unit, as text.
        why_not_a_price: Why it is not used.
        source: Where it was read.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    what: str
    value: str
    why_not_a_price: str
    source: str


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
        clock_hz: Clock at which `clock_cycle` is charged, in hertz.
        prices: Energy or power of each term of `TERMS`.
        times: Time of each term of `TIMES`.
        barrier: Time of the end-of-step barrier in seconds, by the number of tiles in use.
        barrier_rule: Between two entries: "step" takes the smaller one, "linear" interpolates.
        barrier_source: Where the barrier was read.
        absent: Components that this chip does not have (a chip of one core has no routing).
        references: Figures that are shown but not used.
        warnings: What a reader of any total must know.
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
    clock_hz: float | None = None
    prices: dict[str, Constant] = field(default_factory=dict)
    times: dict[str, Constant] = field(default_factory=dict)
    barrier: dict[int, float] = field(default_factory=dict)
    barrier_rule: Literal["step", "linear"] = "linear"
    barrier_source: str = ""
    absent: tuple[Component, ...] = ()
    references: tuple[Reference, ...] = ()
    warnings: tuple[str, ...] = ()
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
        return "per-term" if any(TERMS[term].component != "static" for term in self.prices) else "none"

    def priced_components(self) -> set[Component]:
        """Returns the components that have a price, are covered by one, or do not exist on this chip."""
        found: set[Component] = set(self.absent)
        for term, constant in self.prices.items():
            found |= {TERMS[term].component, *constant.covers}
        return set(COMPONENTS) if self.pricing == "all-in" else found

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
        "references": [vars(reference) for reference in profile.references],
        "warnings": list(profile.warnings),
        "path": profile.path,
    }


def _constant_row(term: str, constant: Constant) -> dict[str, Any]:
    meaning = TERMS[term].meaning if constant.unit != "s" and term in TERMS else TIMES[term]
    return {**vars(constant), "covers": list(constant.covers), "meaning": meaning, "text": constant.quantity().text()}


_ADAPTER = TypeAdapter(HardwareProfile)


def chip_names() -> list[str]:
    """Returns the name of every chip, shipped and added by other distributions through `neurokit.chips`."""
    return _registry().names()


def load_chip(name: str | Path | HardwareProfile) -> HardwareProfile:
    """Returns a chip by name, or from the path of a .toml file.

    Raises:
        UnknownNameError: If nobody registered that name.
        InputError: If the file is not there, is no TOML (with its line) or does not fit the schema (with its field).
    """
    if isinstance(name, HardwareProfile):
        return name
    if isinstance(name, Path) or name.endswith(".toml"):
        return read_chip(Path(name))
    return read_chip(_registry().get(name))


def read_chip(path: Path) -> HardwareProfile:
    """Reads one chip file.

    Raises:
        InputError: If the file is not there, is no TOML (with its line) or does not fit the schema (with its field).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read chip file {path}: {error}", expected="a readable .toml file") from error
    return _parse(text, str(path), path.stat().st_mtime_ns)


@cache
def _parse(text: str, path: str, _modified: int) -> HardwareProfile:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what = str(error).replace("at end of document", f"at line {len(text.splitlines())}, the end of the document")
        raise InputError(f"{path}: not valid TOML: {what}", expected="TOML", fix="correct that line") from error
    try:
        return replace(_ADAPTER.validate_python(data), path=path)
    except ValidationError as error:
        raise InputError(
            f"{path}: " + "; ".join(_explain(text, item) for item in error.errors()),
            expected="the fields of a chip file (see hw_sim/README.md)",
        ) from None


def _explain(text: str, item: Any) -> str:
    """Says which line and field of the file one validation error is about."""
    loc = tuple(str(part) for part in item["loc"])
    name = ".".join(loc) or "the file"
    message = item["msg"].removeprefix("Value error, ")
    line = _line_of(text, loc)
    return f"{'line ' + str(line) + ', ' if line else ''}field {name}: {message}"


def _line_of(text: str, loc: tuple[str, ...]) -> int | None:
    """Returns the line of a field, or of the nearest table around it; tomllib itself keeps no positions."""
    for depth in range(len(loc), 0, -1):
        header, key = ".".join(loc[: depth - 1]), loc[depth - 1]
        table = ".".join(loc[:depth])
        current = ""
        for number, line in enumerate(text.splitlines(), start=1):
            opened = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
            if opened:
                current = opened.group(1).replace('"', "")
                if current == table:
                    return number
            elif current == header and re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
                return number
    return None


@cache
def _registry() -> Registry[Path]:
    """Returns the shipped files and those of other distributions."""
    chips: Registry[Path] = Registry("chip")
    for path in sorted(CHIP_FOLDER.glob("*.toml")):
        chips.add(path.stem, path)
    for point in entry_points(group="neurokit.chips"):
        try:
            found = point.load()
            chips.add(point.name, Path(found() if callable(found) else found))
        except Exception as error:  # a third party's broken plug-in must not hide the rest
            chips.broken[point.name] = f"{type(error).__name__}: {error}"
    return chips
