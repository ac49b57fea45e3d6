"""What verification found, layer by layer, in simulators, and in every way that an artifact can run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from neurokit.reports._base import Report
from neurokit.reports.parity_meaning import meaning

ParityVerdict = Literal["exact", "benign rounding", "within tolerance", "failed"]


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
        contradictions: Decisions of the free run that the layer's own current and earlier spikes do not lead to.
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
    contradictions: int = 0

    @property
    def explained(self) -> bool:
        """Whether rounding explains whatever differs: forced flips, currents, and what it did on its own."""
        forced = self.max_current_error <= self.bound and (self.flips_forced == 0 or self.worst_margin <= self.bound)
        return forced and (self.covering_error or 0.0) <= 1.0 and not self.contradictions

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
        fault: What of its flips does not follow from the artifact's own currents and states, in one line, or "".
        judged: Whether its flips were held against these.
    """

    level: int
    threads: int
    batch: int
    decisions: int
    flips: int
    outputs_equal: bool
    output_error: float
    fault: str = ""
    judged: bool = False


@dataclass(frozen=True)
class ParityReport(Report):
    """How a lowered model compares with its source.

    Attributes:
        model: Name of the model.
        target: Name of the target.
        form: Form within the target.
        verdict: "exact": every spike and bit equal in all runs that were compared, within the declared range of
            inputs; "benign rounding": what differs, spikes or only sums, is within its layer's rounding bound;
            "within tolerance": a model without neurons; "failed": anything else.
        layers: One entry a spiking layer.
        output_error_forced: Largest relative error of the output when forced, or None where that was not run.
        output_error_free: Largest relative error of the output when free-running.
        output_tolerance: Relative error that was allowed.
        top1_agreement: Share of samples with the same strongest output, or None for a single output.
        spikes_compared: Number of spike decisions compared over all layers.
        spikes_flipped: Number of forced flips over all layers.
        tokens_compared: Number of tokens of a language model that were compared, over all ways to feed its text.
        tokens_undecided: Number of those that differ where the reference's margin is within its rounding bound.
        notes: One line each: what a reader should know.
        equal: Runs beside the free one that gave the reference's bits, as `parity_meaning` names them.
        rounded: Runs that gave other bits than the reference, within its rounding bounds.
        free_run: How a free run that parts from the reference was judged: "all" of its decisions against the layer's
            own current and state, the "first" one alone, or "none".
        proof: What the artifact's proof of exactness promises, in a sentence; "" where it has none.
        warning: What the verdict does not say and a reader must know: that the lowered network is far from its float
            model; "" where it is not, or where no such distance was measured.
        unseen: What no check exercised, one line each: the verdict says nothing of it.
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
    tokens_compared: int = 0
    tokens_undecided: int = 0
    notes: tuple[str, ...] = ()
    ways: tuple[WayParity, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    simulators: tuple[SimulatorParity, ...] = ()
    unseen: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    free_run: Literal["all", "first", "none"] = "all"
    proof: str = ""
    warning: str = ""

    def __repr__(self) -> str:
        flips = f", {self.spikes_flipped} of {self.spikes_compared} spikes flipped" if self.spikes_compared else ""
        where = f"{self.model!r} on {self.target!r} ({self.form})"
        return f"ParityReport({where}: {self.verdict}, {len(self.layers)} layers{flips})"

    @property
    def passed(self) -> bool:
        """Whether the lowered model may be used."""
        return self.verdict != "failed"

    @property
    def meaning(self) -> str:
        """What the verdict claims, in one sentence; "" where verification failed."""
        return meaning(self)

    @property
    def first_divergence(self) -> tuple[int, str, int] | None:
        """(t, layer, flat index) of the earliest forced flip, by time step and then by order of layers."""
        found = [(layer.first_divergence, layer.layer) for layer in self.layers if layer.first_divergence]
        if not found:
            return None
        (t, index), layer = min(found, key=lambda entry: entry[0][0])
        return t, layer, index

    def _derived(self) -> dict[str, Any]:
        return {"passed": self.passed, "meaning": self.meaning}
