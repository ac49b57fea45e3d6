"""AOTInductor: a compiled package that runs on PyTorch without the model's Python source, for a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, Unsupported
from neurokit.export.aoti.settings import Settings
from neurokit.port_traits import PORT_TRAITS
from neurokit.target import LowerOptions, TargetInfo, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.aoti.probe import AotiProbe
    from neurokit.export.aoti.run import AotiRunner


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
        native=True,
    )

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that the target does not have, and what this machine lacks for them."""
        from neurokit.export.aoti.place import need_compiler, need_device

        settings = Settings.of(options)
        if not options.dry_run:
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
        kept = {state.name for part in captured.graphs for state in part.states if not state.neuron}
        if settings.precision != "float32" and kept:
            why = f"it keeps declared states ({', '.join(sorted(kept))}), which would be rounded at every call"
            return [Unsupported("", name, why, "leave precision away")]
        return []

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Compiles model.pt2 and probe.pt2 and returns manifest entries."""
        from neurokit.export.aoti.build import build

        settings = Settings.of(options)
        return build(_in_form(captured, settings.form), folder, settings, options.numerics == "exact")

    def plan(self, captured: Captured, options: LowerOptions) -> list[dict[str, Any]]:
        """Returns which kernel every layer of neurons would go into, and why the others would not take it."""
        from neurokit.export.aoti.build import rewritten

        settings = Settings.of(options)
        parts = _in_form(captured, settings.form).graphs
        return [row for part in parts for row in rewritten(part, settings, options.numerics == "exact")[1]]

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
