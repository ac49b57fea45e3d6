"""What a target is: something that a captured model can be lowered to, opened and run on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.spec import ModelSpec


# What models may have beyond one input of fractions whose sizes are numbers, and how a reason says it.
PORT_TRAITS = {
    "graphs": "several graphs",
    "inputs": "several inputs",
    "states": "declared states",
    "dims": "free axes",
    "dtypes": "inputs of whole numbers or booleans",
}


def needs_of(spec: ModelSpec) -> dict[str, str]:
    """Returns what a model has of `PORT_TRAITS`, each with the names of what has it."""
    graphs = spec.graphs or (spec.as_graph(),)
    inputs = [port for graph in graphs for port in graph.inputs]
    found = {
        "graphs": [graph.name for graph in graphs] if len(graphs) > 1 else [],
        "inputs": [port.name for port in inputs] if any(len(graph.inputs) > 1 for graph in graphs) else [],
        "states": [state.name for graph in graphs for state in graph.states],
        "dims": list(dict.fromkeys(name for graph in graphs for name in graph.dims)),
        "dtypes": [f"{port.name} {port.dtype}" for port in inputs if "float" not in port.dtype],
    }
    return {trait: ", ".join(names) for trait, names in found.items() if names}


def not_taken(spec: ModelSpec, takes: Collection[str], what: str, fix: str) -> list[Unsupported]:
    """Returns every reason why something that takes only some traits does not take a model.

    Args:
        spec: The model.
        takes: Which of `PORT_TRAITS` it takes.
        what: What that is, as the subject of a sentence.
        fix: What to do instead.
    """
    return [
        Unsupported("", spec.name, f"it has {PORT_TRAITS[trait]} ({names}), and {what} takes none", fix)
        for trait, names in needs_of(spec).items()
        if trait not in takes
    ]


def check_ports(spec: ModelSpec, target: str) -> None:
    """Refuses a model whose ports a target does not take, before it is captured.

    Raises:
        UnsupportedError: If so; lists every reason.
    """
    reasons = _target_refusals(spec, TARGETS.get(target).info)
    if reasons:
        raise UnsupportedError(f"target {target!r} cannot take model {spec.name!r}", reasons)


def refuse_ports(spec: ModelSpec, takes: Collection[str], what: str, fix: str) -> None:
    """Refuses a model whose ports something does not take.

    Raises:
        UnsupportedError: If so; lists every reason.
    """
    reasons = not_taken(spec, takes, what, fix)
    if reasons:
        raise UnsupportedError(f"{what} cannot take model {spec.name!r}", reasons)


def _target_refusals(spec: ModelSpec, info: TargetInfo) -> list[Unsupported]:
    able = [name for name, other in TARGETS.items() if set(needs_of(spec)) <= other.info.takes]
    fix = f"use --target {' or '.join(able[:2])}" if able else "no target takes all of them"
    return not_taken(spec, info.takes, f"target {info.name!r}", fix)


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
        optional: What an option needs on top, by the option: import names of libraries.
        takes: What it takes beyond one input of fractions with sizes that are numbers: of `PORT_TRAITS`.
        runtime: "onnxruntime" where ONNX Runtime alone runs its artifacts, as on a device; else "".
    """

    name: str
    summary: str
    requires: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    opens_with: tuple[str, ...] = ()
    install: str = ""
    streaming: bool = False
    calibrated: bool = False
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    takes: frozenset[str] = frozenset()
    runtime: str = ""


@dataclass(frozen=True)
class LowerOptions:
    """How to lower; a target refuses what it cannot honour.

    Attributes:
        numerics: "float", or "exact" for the dyadic form.
        batch: "dynamic", or a fixed batch size.
        flat: Whether to inline local functions into plain operators.
        extra: Options of one target only, by name.
        calibration: Inputs that ranges are chosen on, for targets that are calibrated.
    """

    numerics: str = "float"
    batch: str | int = "dynamic"
    flat: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    calibration: Any = None

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


class Target(Protocol):
    """A road out. `check` lists every obstacle before `lower` does any work."""

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
