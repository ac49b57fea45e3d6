"""What a target is: something that a captured model can be lowered to, opened and run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from neurokit.errors import InputError, Unsupported
from neurokit.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from neurokit.artifact import Artifact
    from neurokit.capture import Captured


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
    """A lowered model that is open and can be run; a context manager."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Runs a whole sequence `[T, B, ...]` (a model without neurons: `[B, ...]`)."""
        ...

    def reset(self, batch: int = 1) -> None:
        """Sets every state to its initial value."""
        ...

    def step(self, x_t: np.ndarray) -> np.ndarray:
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
