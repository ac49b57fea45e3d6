"""What a target would make of a model, without lowering it: which layers go into which kernel, and why not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, UnsupportedError
from neurokit.pipeline import exact
from neurokit.target import TARGETS, LowerOptions, Plans, check_request

if TYPE_CHECKING:
    from neurokit.capture import Captured


@dataclass(frozen=True)
class LayerPlan:
    """What would become of one layer of neurons, or of one without that goes into a kernel.

    Attributes:
        layer: Module path.
        kernel: The kernel that it would go into, or "" for plain operations.
        inside: Operations that go with it.
        reasons: Why the kernels that were asked before do not take it, by their names.
        neurons: Whether it is a layer of neurons.
    """

    layer: str
    kernel: str
    inside: tuple[str, ...]
    reasons: dict[str, str]
    neurons: bool = True


@dataclass(frozen=True)
class LoweringPlan:
    """What a target would make of a model.

    Attributes:
        model: Name of the model.
        target: Name of the target.
        numerics: "float" or "exact".
        layers: Every layer of neurons, in the order of the program.
    """

    model: str
    target: str
    numerics: str
    layers: tuple[LayerPlan, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return asdict(self)


def plan(
    captured: Captured, target: str, *, numerics: str = "float", calibration: Any = None, bits: int = 8, **extra: Any
) -> LoweringPlan:
    """Says what a target would make of a model's layers of neurons; nothing is written or compiled.

    Args:
        captured: The captured model.
        target: Name of the target.
        numerics: "float" or "exact".
        calibration: For "exact": inputs that ranges and roundings are chosen on.
        bits: For "exact": bits of a weight, 2 to 8.
        extra: Options of the target.

    Raises:
        InputError: If the target has no such plan, or an option is wrong.
        UnsupportedError: If the target cannot take the model; lists every reason.
    """
    from neurokit.capture.equal_choices import other_choices  # torch comes with it

    options = LowerOptions(numerics, captured.batch, extra=extra, dry_run=True)
    chosen = planning(target)
    check_request(target, options)
    if numerics == "exact":
        captured = exact(captured, calibration, bits=bits).captured
    reasons = [*chosen.check(captured, options), *other_choices(captured, chosen.info)]
    if reasons:
        raise UnsupportedError(f"target {target!r} cannot take model {captured.spec.name!r}", reasons)
    rows = chosen.plan(captured, options)
    layers = tuple(LayerPlan(r["layer"], r["kernel"], tuple(r["with"]), dict(r["reasons"]), r["neurons"]) for r in rows)
    return LoweringPlan(captured.spec.name, target, numerics, layers)


def planning(target: str) -> Any:
    """Returns a target that says what it would do.

    Raises:
        InputError: If it does not.
    """
    chosen = TARGETS.get(target)
    if not isinstance(chosen, Plans):
        able = [name for name, other in TARGETS.items() if isinstance(other, Plans)]
        raise InputError(
            f"target {target!r} has nothing to say before it lowers", expected=f"--dry-run with --target {able[0]}"
        )
    return chosen
