"""What a target is: something that a captured model can be lowered to, opened and run on."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from neurokit.errors import InputError, MissingRuntimeError, Unsupported, UnsupportedError
from neurokit.port_traits import needs_of, not_taken
from neurokit.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled
    from neurokit.parity.vectors import Vectors
    from neurokit.spec import ModelSpec


def check_ports(spec: ModelSpec, target: str) -> None:
    """Refuses a model whose ports a target does not take, before it is captured.

    Raises:
        UnsupportedError: If so; lists every reason.
    """
    reasons = _target_refusals(spec, TARGETS.get(target).info)
    if reasons:
        raise UnsupportedError(f"target {target!r} cannot take model {spec.name!r}", reasons)


def check_request(target: str, options: LowerOptions) -> None:
    """Refuses, before any model is captured, what a target cannot honour or this machine lacks for it.

    Raises:
        InputError: If the numerics, or an option or its value, is none that the target has.
        MissingRuntimeError: If a library for lowering is missing, or one that an option needs on top.
    """
    chosen = TARGETS.get(target)
    if options.numerics not in ("float", "exact"):
        raise InputError(f"unknown numerics {options.numerics!r}", expected="one of float, exact")
    if options.numerics not in chosen.info.numerics:
        (only,) = chosen.info.numerics
        fix = f"use --numerics {only}" if only == "exact" else "leave --numerics away"
        raise InputError(f"target {target!r} has no numerics {options.numerics!r}", expected=only, fix=fix)
    _require(target, chosen.info.missing(running=False))
    if isinstance(chosen, ChecksOptions):
        chosen.check_options(options)
    asked = [libraries for name, libraries in chosen.info.optional.items() if options.extra.get(name)]
    _require(target, [library for libraries in asked for library in libraries if find_spec(library) is None])


def check_known(options: Mapping[str, Any], names: Sequence[str], what: str = "opening") -> None:
    """Refuses options of opening, or of verification, that a target does not know.

    Raises:
        InputError: Names the first of them.
    """
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise InputError(f"unknown option {unknown[0]!r} for {what}", expected="one of " + ", ".join(names))


def _require(target: str, lacking: Iterable[str]) -> None:
    names = ", ".join(dict.fromkeys(lacking))
    if names:
        fix = TARGETS.get(target).info.install or "install it"
        raise MissingRuntimeError(f"target {target!r} needs {names}", fix=fix)


def _target_refusals(spec: ModelSpec, info: TargetInfo) -> list[Unsupported]:
    needed = set(needs_of(spec))
    able = [name for name, other in TARGETS.items() if needed <= other.info.takes and _has_form_of(spec, other)]
    able.sort(key=lambda name: not name.startswith("onnx"))  # what runs anywhere is named first
    fix = f"use --target {' or '.join(able[:2])}" if able else "no target takes all of them"
    return not_taken(spec, info.takes, f"target {info.name!r}", fix)


def _has_form_of(spec: ModelSpec, target: Target) -> bool:
    """Returns whether a target's form goes with a model: a step wants something that is kept, a free T a time axis."""
    keeps = any(graph.states for graph in spec.graphs or (spec.as_graph(),))
    if target.info.streaming:
        return keeps or spec.spiking
    if getattr(target, "time_steps", None) is not None:
        return spec.spiking
    return not (keeps and spec.graphs)


@dataclass(frozen=True)
class TargetInfo:
    """What a listing says of a target.

    Attributes:
        name: Name on the command line.
        summary: One line.
        requires: Import names of the libraries that lowering needs.
        one_of: Import names of libraries of which lowering needs one, whichever is installed.
        opens_with: Import names of the libraries that running needs.
        install: Command that installs what is missing.
        streaming: Whether a runner of this target can `step`.
        calibrated: Whether lowering takes calibration data.
        quantised: Whether it lowers to integers without being asked to, so that it wants calibration data.
        optional: What an option needs on top, by the option: import names of libraries.
        takes: What it takes beyond one input of fractions with sizes that are numbers: of `PORT_TRAITS`.
        runtime: "onnxruntime" where ONNX Runtime alone runs its artifacts, as on a device; else "".
        numerics: Which numerics it takes; the first is what it is lowered in where nothing is asked for.
        programs: Programs of which running needs one, such as C compilers.
        fixed_batch: Whether its files have a fixed batch size alone: 1, where none is asked for.
        native: Whether its files hold machine code, or source that opening compiles: its runner and its probe call
            `neurokit.native.need_noted` before they load it.
        threaded: Whether opening takes `threads`; where ONNX Runtime alone runs it, it does anyhow.
    """

    name: str
    summary: str
    requires: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    opens_with: tuple[str, ...] = ()
    install: str = ""
    streaming: bool = False
    calibrated: bool = False
    quantised: bool = False
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    takes: frozenset[str] = frozenset()
    runtime: str = ""
    numerics: tuple[str, ...] = ("float", "exact")
    programs: tuple[str, ...] = ()
    threaded: bool = False
    fixed_batch: bool = False
    native: bool = False

    def missing(self, lowering: bool = True, running: bool = True) -> list[str]:
        """Returns the libraries and programs that are not here, for lowering to the target or running its artifacts."""
        wanted = dict.fromkeys((*(self.requires if lowering else ()), *(self.opens_with if running else ())))
        found = [name for name in wanted if find_spec(name) is None]
        if lowering and self.one_of and not any(find_spec(name) for name in self.one_of):
            found.append(" or ".join(self.one_of))
        if running and self.programs and not any(shutil.which(name) for name in self.programs):
            found.append(" or ".join(self.programs))
        return found


@dataclass(frozen=True)
class LowerOptions:
    """How to lower; a target refuses what it cannot honour.

    Attributes:
        numerics: "float", or "exact" for the dyadic form.
        batch: "dynamic", or a fixed batch size.
        flat: Whether to inline local functions into plain operators.
        extra: Options of one target only, by name.
        calibration: Inputs that ranges are chosen on, for targets that are calibrated.
        dry_run: Whether nothing is lowered, so that no device and no compiler is needed.
        tuned: What a target's own fine-tuning decided (`FineTunes`).
    """

    numerics: str = "float"
    batch: str | int = "dynamic"
    flat: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    calibration: Any = None
    dry_run: bool = False
    tuned: Any = None

    def over(self, defaults: Mapping[str, Any], target: str) -> dict[str, Any]:
        """Returns a target's own options: its defaults, and what was given instead.

        Raises:
            InputError: If an option was given that the target does not have.
        """
        unknown = sorted(set(self.extra) - set(defaults))
        if unknown:
            raise InputError(f"target {target!r} has no option {unknown[0]!r}", expected=", ".join(defaults))
        return {**defaults, **self.extra}


@runtime_checkable
class Runner(Protocol):
    """A lowered model that is open and can be run; a context manager.

    Inputs and outputs go by name. Where there is one input and one output, an array may be given, and is returned:
    `neurokit.feeds.call_by_name` does that for every runner, and says so where there are more.
    """

    def __call__(self, given: Mapping[str, np.ndarray] | np.ndarray) -> Any:
        """Runs whole sequences `[T, B, ...]` (a model without neurons: `[B, ...]`)."""
        ...

    def reset(self, batch: int = 1) -> None:
        """Sets every state to its initial value."""
        ...

    def step(self, given: Mapping[str, np.ndarray] | np.ndarray) -> Any:
        """Runs one time step `[B, ...]` from the present state."""
        ...

    def close(self) -> None:
        """Frees the runtime's memory."""
        ...

    def __enter__(self) -> Runner: ...

    def __exit__(self, *exc: object) -> None: ...


class Probe(Protocol):
    """What verification needs of an open artifact: its layers seen, fed and run one by one.

    A target's probe subclasses this; what has a body here is right for most. Values of a layer are `[T, B, ...]`.
    A layer is one neuron module; where it is called several times, its calls follow one another along T.
    docs/verification.md says what is concluded from which method.
    """

    has_levels: bool = False
    """Whether the target's `probe` takes `level` and `threads`, so that an artifact can be verified thoroughly."""
    fixed_input: bool = False
    """Whether it runs on input that the artifact holds, whatever it is given."""
    tolerance: float | None = None
    """Relative L2 error of the outputs that is allowed where there are no layers; None for the verifier's own."""
    batch_tolerance: float | None = None
    """How far a sample's answer in a batch may be from the one that it has alone, where there are no layers.

    Relative to its largest element; None for `tolerance`.
    """

    @abstractmethod
    def layers(self) -> list[str]:
        """Returns the name of every layer that can be seen, in the order of execution."""

    @abstractmethod
    def can_force(self) -> bool:
        """Returns whether every layer can be given spikes in place of its own (`currents`, `fire` and `run` work)."""

    @abstractmethod
    def free(self, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs the artifact as it is on whole inputs by name; returns its outputs, and every layer's own spikes."""

    @abstractmethod
    def currents(
        self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs with the given spikes in place of every layer's own; returns outputs and every layer's current."""

    @abstractmethod
    def run(self, index: int, current: np.ndarray, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs one layer's own neuron alone over time.

        Args:
            index: Which layer.
            current: Input current, `[T, N]`; any T, also one that the model does not have.
            v0: Membrane before the first step, `[N]`.

        Returns:
            Spikes `[T, N]` and the membrane after the last step `[N]`.
        """

    def fire(self, index: int, current: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs one layer's own neuron for every time step at once, each from its own given membrane.

        Returns:
            Spikes and membranes after each step, both in the shape of `current`.
        """
        spikes, after = self.run(index, current.reshape(1, -1), before.reshape(-1))
        return spikes.reshape(current.shape), after.reshape(current.shape)

    def membranes(self) -> list[np.ndarray | None]:
        """Returns every layer's membrane after the last free run, where the artifact shows it; [] if it shows none."""
        return []

    def initial_membranes(self) -> list[np.ndarray | None]:
        """Returns every layer's membranes before its calls in the last free run, where the artifact shows them.

        One array a layer, `[calls, B, ...]`, of calls of the same number of steps each: the first is the initial
        membrane. [] if it shows none.
        """
        return []

    def run_steps(
        self, index: int, current: np.ndarray, states: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Runs one layer of rare neurons, which is known by its step alone, over time.

        Args:
            index: Which layer.
            current: Its input, `[T, B, ...]`; any T.
            states: Its states before the first step, `[B, ...]` each.

        Returns:
            Its outputs `[T, B, ...]` and its states after the last step.
        """
        kind = type(self).__name__
        raise NotImplementedError(f"{kind} shows no steps of rare neurons")

    def states_before(self, index: int) -> tuple[np.ndarray | None, ...]:
        """Returns a stepwise layer's states before its calls in the last free run, `[calls, B, ...]`; () if unknown."""
        return ()

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors of what this artifact shows: without layers that it hides, with its own bounds."""
        return vectors

    def runner(self) -> Runner | None:
        """Opens what calls in a row are made on; None for what the target itself opens."""
        return None

    def inspect(self, vectors: Vectors) -> tuple[list[str], list[str]]:
        """Makes the checks that only this target knows; returns faults and notes, one line each."""
        return [], []


@runtime_checkable
class Probed(Protocol):
    """A target whose artifacts can be opened for verification; of others only the outputs are compared."""

    def probe(self, artifact: Artifact, **options: Any) -> Probe:
        """Opens an artifact for verification.

        Raises:
            InputError: If an option is not one of the target's.
        """
        ...


@runtime_checkable
class ChecksOptions(Protocol):
    """A target that can tell wrong options without a model: it is asked before one is captured."""

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that the target does not have, and values that they cannot take.

        Raises:
            InputError: If so.
        """
        ...


@runtime_checkable
class FineTunes(Protocol):
    """A target in float numerics that trains a model with its own roundings before it is lowered."""

    def fine_tune(self, captured: Captured, options: LowerOptions, data: Labelled) -> tuple[Captured, LowerOptions]:
        """Returns the fine-tuned model, and the options that it is to be lowered with.

        Raises:
            InputError: If the data do not fit.
            UnsupportedError: If the model cannot be fine-tuned.
        """
        ...


@runtime_checkable
class Prepares(Protocol):
    """A target whose first lowering installs something: it is not begun unless the target was asked for by name."""

    def unprepared(self) -> str:
        """Returns what is not there yet and how to make it, or ""."""
        ...


@runtime_checkable
class Plans(Protocol):
    """A target that can say, without lowering, what it would make of every layer of neurons."""

    def plan(self, captured: Captured, options: LowerOptions) -> list[dict[str, Any]]:
        """Returns one row a layer: "layer", "kernel" ("" for plain operations), "with" (operations), "reasons"."""
        ...


class Target(Protocol):
    """Where a model can be lowered to. `check` lists every obstacle before `lower` does any work."""

    info: TargetInfo

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why `captured` cannot be lowered here."""
        ...

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes the target's files into `folder` and returns what the manifest says of them."""
        ...

    def open(self, artifact: Artifact, **options: Any) -> Runner:
        """Opens a lowered model for running."""
        ...


_T = TypeVar("_T", bound=Target)

TARGETS: Registry[Target] = Registry(
    "target", "neurokit.export.targets", "neurokit.targets", command="neurokit targets"
)


def register_target(cls: type[_T]) -> type[_T]:
    """Registers a target class under `cls.info.name`; it is instantiated without arguments."""
    TARGETS.add(cls.info.name, cls())
    return cls
