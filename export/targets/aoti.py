"""AOTInductor: a compiled package that runs on PyTorch without the model's Python source, for a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, Unsupported
from neurokit.port_traits import PORT_TRAITS
from neurokit.target import LowerOptions, TargetInfo, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.aoti.probe import AotiProbe
    from neurokit.export.aoti.run import AotiRunner

FORMS, DEVICES = ("sequence", "step"), ("cpu", "cuda")


@dataclass(frozen=True)
class Settings:
    """The target's own options.

    Attributes:
        form: "sequence", a whole sequence a call, or "step", one time step a call with states outside.
        device: "cpu" or "cuda".
        tune: Whether products and convolutions are timed in several forms while compiling (max-autotune).
    """

    form: str = "sequence"
    device: str = "cpu"
    tune: bool = False

    @classmethod
    def of(cls, options: LowerOptions) -> Settings:
        """Reads them.

        Raises:
            InputError: If there is no such option, or it has no such value.
        """
        given = options.over({name: getattr(cls, name) for name in cls.__annotations__}, "aoti")
        for name, allowed in (("form", FORMS), ("device", DEVICES)):
            if given[name] not in allowed:
                raise InputError(f"{name} is {given[name]!r}", expected=" or ".join(allowed))
        if str(given["tune"]).lower() not in ("true", "false"):
            raise InputError(f"tune is {given['tune']!r}", expected="true or false")
        return cls(given["form"], given["device"], str(given["tune"]).lower() == "true")


@register_target
class AotiTarget:
    """The target `aoti`; its options are those of `Settings`."""

    info = TargetInfo(
        name="aoti",
        summary="AOTInductor package for PyTorch in Python and C++, compiled for this machine",
        requires=("torch",),
        opens_with=("torch",),
        install='pip install "neurokit-edge[torch]"',
        streaming=True,
        takes=frozenset(PORT_TRAITS),
    )

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that the target does not have, and what this machine lacks for them."""
        from neurokit.export.aoti.place import need_compiler, need_device

        settings = Settings.of(options)
        need_device(settings.device)
        need_compiler()

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why the model cannot take the form that was asked for."""
        self.check_options(options)
        settings, name = Settings.of(options), captured.spec.name
        keeps = any(part.states for part in captured.graphs)
        if captured.time_steps == "dynamic":
            why = "a package has its time steps unrolled, so T is a number"
            return [Unsupported("", name, why, "leave --time-steps dynamic away, or --option form=step")]
        if settings.form == "step" and not captured.spiking and not keeps:
            why = "it has no neurons and no declared states, so there is no step"
            return [Unsupported("", name, why, "leave form=step away")]
        if settings.form == "sequence" and not captured.spiking and captured.parts and keeps:
            why = "it keeps a state between calls, and this form starts every call anew"
            return [Unsupported("", name, why, "--option form=step")]
        return []

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Compiles model.pt2 and probe.pt2 and returns manifest entries."""
        from neurokit.export.aoti.build import build

        settings = Settings.of(options)
        return build(_in_form(captured, settings.form), folder, settings.form, settings.device, settings.tune)

    def open(self, artifact: Artifact, **options: Any) -> AotiRunner:
        """Opens the package on PyTorch (options: threads, seed)."""
        from neurokit.export.aoti.run import AotiRunner

        _refuse(options, ("threads", "seed"), "opening")
        return AotiRunner(artifact, **options)

    def probe(self, artifact: Artifact, **options: Any) -> AotiProbe:
        """Opens the package and its probing twin for verification (option: threads)."""
        from neurokit.export.aoti.probe import AotiProbe

        _refuse(options, ("threads",), "verification")
        return AotiProbe(artifact, **options)


def _refuse(options: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            f"target 'aoti' has no option {unknown[0]!r} for {what}", expected="one of " + ", ".join(known)
        )


def _in_form(captured: Captured, form: str) -> Captured:
    """Returns the capture in a form; a model without neurons and states has one alone."""
    if not captured.spiking and not any(part.states for part in captured.graphs):
        return captured
    same = all(part.form == form for part in captured.graphs if part.states or part.spiking)
    return captured if same else captured.retrace(form=form)
