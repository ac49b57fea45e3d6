"""What verification and measurement found: frozen records that survive a trip through JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import TypeAdapter, ValidationError

from neurokit import samples
from neurokit.errors import InputError
from neurokit.quantity import Quantity

SCHEMA_VERSION = 1

ParityVerdict = Literal["exact", "benign rounding", "within tolerance", "failed"]
LatencyVerdict = Literal["VALID", "INVALID"]


class _Report:
    """Gives a report dataclass its JSON form, marked with the report's kind and the schema version."""

    KIND: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the report as a JSON object; a number that is not finite becomes "inf", "-inf" or "nan"."""
        head = {"report": self.KIND, "schema_version": SCHEMA_VERSION}
        return {**head, **_plain(asdict(self)), **_plain(self._derived())}  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            InputError: If `data` is another kind of report, of another schema version, or incomplete.
        """
        if data.get("report") != cls.KIND:
            raise InputError(f"this is a {data.get('report')!r} report", expected=f"a {cls.KIND!r} report")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"the {cls.KIND} report has schema {data.get('schema_version')!r}",
                expected=f"schema {SCHEMA_VERSION}",
                fix="make the report again with this version of neurokit",
            )
        fields = {name: data[name] for name in cls.__dataclass_fields__ if name in data}  # type: ignore[attr-defined]
        try:
            return TypeAdapter(cls).validate_python(fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"the {cls.KIND} report is invalid at {place or 'the top'}: {first['msg']}") from error

    def _derived(self) -> dict[str, Any]:
        """Returns what readers of the JSON want although it follows from the fields."""
        return {}


@dataclass(frozen=True)
class LayerParity:
    """How one spiking layer of a lowered model compares with its source.

    Forced means teacher-forced: at every time step the layer is fed the reference's input current and state,
    so that a flip cannot cascade. Free means that the lowered model ran on its own.

    Attributes:
        layer: Module path of the neuron in the source.
        neuron: Its class, for example "LIFNode".
        decisions: Number of spike decisions compared, T x B x neurons.
        flips_forced: Decisions that differ when forced.
        worst_margin: Largest |v - threshold| at a forced flip, in units of the membrane; 0 without flips.
        bound: Float rounding bound on the membrane of this layer, in the same unit.
        max_current_error: Largest difference of the input current when forced, in the same unit.
        first_divergence: (t, flat index) of the first forced flip, or None.
        flips_free: Decisions that differ when free-running.
        spike_rate: Spikes a decision in the reference.
        covering_error: Largest error of the input current while every layer before it fires at random, in units of
            its rounding bound (above 1 the layer computes something else), or None where that was not run.
    """

    layer: str
    neuron: str
    decisions: int
    flips_forced: int
    worst_margin: float
    bound: float
    max_current_error: float
    first_divergence: tuple[int, int] | None
    flips_free: int
    spike_rate: float
    covering_error: float | None = None

    @property
    def explained(self) -> bool:
        """Whether rounding explains every forced flip, and every difference under random spikes."""
        return (self.flips_forced == 0 or self.worst_margin <= self.bound) and (self.covering_error or 0.0) <= 1.0

    @property
    def flip_rate_free(self) -> float:
        """Share of decisions that differ when free-running."""
        return self.flips_free / self.decisions if self.decisions else 0.0


@dataclass(frozen=True)
class SimulatorParity:
    """How another simulator runs the same file.

    Attributes:
        simulator: Its name.
        status: "ran", "refused" (with the reason as the remark) or "not installed".
        demanded: Whether an exact network must give the same spikes there.
        neurons: Number of neurons whose spikes are compared.
        version: Its version.
        spikes_compared: Spike decisions compared, T x B x neurons.
        spikes_differ: How many of them differ, free-running.
        remark: Where and why they differ, why it refused, or what would install it.
    """

    simulator: str
    status: Literal["ran", "refused", "not installed"]
    demanded: bool
    neurons: int
    version: str = ""
    spikes_compared: int = 0
    spikes_differ: int = 0
    remark: str = ""


@dataclass(frozen=True)
class WayParity:
    """One way to run an artifact, compared with its reference.

    Attributes:
        level: ONNX Runtime's graph optimisation level.
        threads: Threads within an operator.
        batch: Batch size.
        decisions: Spike decisions compared.
        flips: Decisions that differ.
        outputs_equal: Whether every bit of the outputs is equal.
        output_error: Largest relative L2 error of a sample's outputs.
    """

    level: int
    threads: int
    batch: int
    decisions: int
    flips: int
    outputs_equal: bool
    output_error: float


@dataclass(frozen=True)
class ParityReport(_Report):
    """How a lowered model compares with its source.

    Attributes:
        model: Name of the model.
        target: Name of the target.
        form: Form within the target.
        verdict: "exact": every spike and output bit equal; "benign rounding": what differs, spikes or only the
            output, is within its layer's rounding bound; "within tolerance": a model without neurons; "failed":
            anything else.
        layers: One entry a spiking layer.
        output_error_forced: Largest relative error of the output when forced, or None where that was not run.
        output_error_free: Largest relative error of the output when free-running.
        output_tolerance: Relative error that was allowed.
        top1_agreement: Share of samples with the same strongest output, or None for a single output.
        spikes_compared: Number of spike decisions compared over all layers.
        spikes_flipped: Number of forced flips over all layers.
        notes: One line each: what a reader should know.
        ways: Every way to run it, where verification was thorough.
        provenance: Versions and machine of the run.
        simulators: How other simulators run the same file, where the target has any.
    """

    KIND: ClassVar[str] = "parity"

    model: str
    target: str
    form: str
    verdict: ParityVerdict
    layers: tuple[LayerParity, ...] = ()
    output_error_forced: float | None = None
    output_error_free: float = 0.0
    output_tolerance: float = 0.0
    top1_agreement: float | None = None
    spikes_compared: int = 0
    spikes_flipped: int = 0
    notes: tuple[str, ...] = ()
    ways: tuple[WayParity, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    simulators: tuple[SimulatorParity, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the lowered model may be used."""
        return self.verdict != "failed"

    @property
    def first_divergence(self) -> tuple[int, str, int] | None:
        """(t, layer, flat index) of the earliest forced flip, by time step and then by order of layers."""
        found = [(layer.first_divergence, layer.layer) for layer in self.layers if layer.first_divergence]
        if not found:
            return None
        (t, index), layer = min(found, key=lambda entry: entry[0][0])
        return t, layer, index

    def _derived(self) -> dict[str, Any]:
        return {"passed": self.passed}


@dataclass(frozen=True)
class LatencyReport(_Report):
    """How long one inference takes on one machine.

    Attributes:
        model: Name of the model.
        target: Name of the target.
        scenario: What one sample is: "single" (one call), "offline" (one large batch), "multi" (one call on each of
            several streams at once), "stream" (one time step); or a measurement's own words.
        batch: Batch size.
        samples_s: Every timed sample, in seconds, in the order of measurement.
        verdict: "VALID", or "INVALID" if the run cannot carry a claim.
        reasons: Why it is INVALID.
        environment: Machine, threads, clocks, load and versions of the run.
        variant: What tells subjects of one target apart, for example "CPU, 2 threads".
        form: Form within the target, for example "sequence" or "step".
        numerics: "float", "exact", "int8" and the like.
        time_steps: Time steps in one sample, or None for a model without time.
        streams: Streams that run at once.
        deadline_s: Period in which each time step is due, or None.
        elapsed_s: How long the measurement took, with the waits between samples.
        load_s: Time to open the model.
        first_s: Time of the first inference.
        bytes_on_disk: Size of the artifact's files.
        memory: Peak memory in bytes: "cpu", "cpu_added" (by loading and running), "gpu".
        phases_s: On a GPU, seconds of each sample in "h2d", "compute" and "d2h", by events of the device.
        energy: Measured energy of one inference, or None without a meter.
        energy_note: Which meter measured, or why none did.
        accuracy: "correct", "total" and "data" where labelled data was given.
        parity: Verdict of the artifact's verification, or "" for a subject that is no artifact.
        parity_overridden: Whether it was measured although that verification had failed.
        output_error: Relative error of the output on the artifact's test vectors, or None.
        warm_up: Runs, seconds and whether the times had settled.
    """

    KIND: ClassVar[str] = "latency"

    model: str
    target: str
    scenario: str
    batch: int
    samples_s: tuple[float, ...]
    verdict: LatencyVerdict
    reasons: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    variant: str = ""
    form: str = ""
    numerics: str = "float"
    time_steps: int | None = None
    streams: int = 1
    deadline_s: float | None = None
    elapsed_s: float | None = None
    load_s: float | None = None
    first_s: float | None = None
    bytes_on_disk: int | None = None
    memory: dict[str, float] = field(default_factory=dict)
    phases_s: dict[str, tuple[float, ...]] = field(default_factory=dict)
    energy: Quantity | None = None
    energy_note: str = ""
    accuracy: dict[str, Any] | None = None
    parity: str = ""
    parity_overridden: bool = False
    output_error: float | None = None
    warm_up: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.samples_s or not all(math.isfinite(sample) and sample >= 0 for sample in self.samples_s):
            raise InputError("a latency report needs samples", expected="at least one finite time >= 0 s")

    @classmethod
    def judged(
        cls, model: str, target: str, scenario: str, samples_s: Sequence[float], *, batch: int = 1,
        reasons: Sequence[str] = (), environment: Mapping[str, Any] | None = None, **more: Any,
    ) -> LatencyReport:  # fmt: skip
        """Returns a report whose verdict follows from its samples and from `reasons` seen elsewhere."""
        found = (*reasons, *samples.faults(samples_s, more.get("elapsed_s")))
        verdict: LatencyVerdict = "INVALID" if found else "VALID"
        return cls(model, target, scenario, batch, tuple(samples_s), verdict, found, dict(environment or {}), **more)

    def percentile(self, percent: float) -> Quantity:
        """Returns a percentile of the samples with its 95 % interval, both by order statistics.

        Raises:
            InputError: If `percent` is not between 0 and 100.
        """
        if not 0 < percent < 100:
            raise InputError(f"percentile {percent}", expected="more than 0 and less than 100")
        value, low, high = samples.percentile(self.samples_s, percent)
        return Quantity(value, low, high, "s", "measured", f"p{percent:g} of {len(self.samples_s)} samples")

    @property
    def p50(self) -> Quantity:
        """The median, in seconds."""
        return self.percentile(50)

    @property
    def p90(self) -> Quantity:
        """The 90th percentile, in seconds."""
        return self.percentile(90)

    @property
    def p95(self) -> Quantity:
        """The 95th percentile, in seconds."""
        return self.percentile(95)

    @property
    def p99(self) -> Quantity | None:
        """The 99th percentile, in seconds, or None with fewer than 1000 samples."""
        return self.percentile(99) if len(self.samples_s) >= samples.MIN_SAMPLES_P99 else None

    @property
    def mean(self) -> Quantity:
        """The mean, in seconds, with its 95 % interval."""
        value, low, high = samples.mean(self.samples_s)
        return Quantity(value, low, high, "s", "measured", f"mean of {len(self.samples_s)} samples")

    @property
    def variation(self) -> float:
        """Coefficient of variation: standard deviation over mean."""
        return samples.variation(self.samples_s)

    @property
    def throughput(self) -> Quantity:
        """Inferences (in the scenario "stream": time steps) a second."""
        total, count = self.elapsed_s or sum(self.samples_s), len(self.samples_s) * self.batch * self.streams
        rate = count / total if total else 0.0
        return Quantity.exact(rate, "1/s", "measured", f"{count} in {total:.3g} s")

    @property
    def per_step(self) -> Quantity | None:
        """The median of one time step, in seconds, or None for a model without time."""
        if not self.time_steps:
            return None
        return self.p50.scaled(1 / self.time_steps) if self.scenario != "stream" else self.p50

    @property
    def misses(self) -> int | None:
        """Time steps that were not done within their period, or None without a deadline."""
        return None if self.deadline_s is None else sum(sample > self.deadline_s for sample in self.samples_s)

    @property
    def jitter(self) -> Quantity | None:
        """How much later than the median a late time step is (p99, or p95 below 1000 samples); None if not a stream."""
        if self.scenario != "stream":
            return None
        late = self.p99 or self.p95
        return Quantity.exact(late.value - self.p50.value, "s", "measured", f"{late.source.split()[0]} minus p50")

    def _derived(self) -> dict[str, Any]:
        quantities = {
            "p50": self.p50, "p90": self.p90, "p95": self.p95, "p99": self.p99, "mean": self.mean,
            "per_step": self.per_step, "throughput": self.throughput, "jitter": self.jitter,
        }  # fmt: skip
        summary: dict[str, Any] = {name: value and value.to_json() for name, value in quantities.items()}
        summary |= {
            "min_s": min(self.samples_s), "max_s": max(self.samples_s), "variation": self.variation,
            "misses": self.misses,
        }  # fmt: skip
        return {"summary": summary}


def _plain(value: Any) -> Any:
    """Returns `value` with tuples as lists and with numbers that JSON cannot hold as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
