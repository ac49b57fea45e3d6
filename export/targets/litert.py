"""LiteRT (TensorFlow Lite) for phones and boards: a whole sequence, and one step, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, Unsupported
from neurokit.port_traits import PORT_TRAITS
from neurokit.target import LowerOptions, TargetInfo, check_known, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.litert.run import LiteRtProbe, LiteRtRunner

_TAKES = frozenset(PORT_TRAITS) - {"dims"}  # sizes are fixed
_INSTALL = 'pip install "neurokit-edge[torch,litert]"'


class LiteRtTarget:
    """Lowers to LiteRT through litert-torch, in an environment of its own; subclasses say which form."""

    info: TargetInfo
    form = "sequence"

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options: there are none."""
        if options.extra:
            raise InputError(f"target {self.info.name!r} has no option {sorted(options.extra)[0]!r}", expected="none")

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why the model cannot take this form."""
        self.check_options(options)
        name = captured.spec.name
        keeps = any(part.states for part in captured.graphs)
        reasons = [
            Unsupported(n.path, n.kind, "its step is not converted alone, so it could not be verified", "--target onnx")
            for n in captured.neurons
            if n.op not in ("if_", "lif", "plif")
        ]
        for part in captured.graphs:
            reasons += _without_kernels(part)
        if captured.time_steps == "dynamic":
            why = "a LiteRT file has fixed sizes, T among them"
            reasons.append(Unsupported("", name, why, "leave --time-steps dynamic away, or --target litert-step"))
        free = sorted({axis for part in captured.graphs for axis in part.dims} - {"B"})
        if free:
            why = f"a LiteRT file has fixed sizes, and it has the free axes {', '.join(free)}"
            reasons.append(Unsupported("", name, why, "--target onnx"))
        if self.form == "step" and not captured.spiking and not keeps:
            why = "it has no neurons and no declared states, so there is no step"
            reasons.append(Unsupported("", name, why, "--target litert"))
        if self.form == "sequence" and not captured.spiking and captured.parts and keeps:
            why = "it keeps a state between calls, and this form starts every call anew"
            reasons.append(Unsupported("", name, why, "--target litert-step"))
        return reasons

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Converts the model and returns manifest entries."""
        from neurokit.export.litert.build import build

        keeps = captured.spiking or any(part.states for part in captured.graphs)
        other = keeps and captured.form != self.form
        one = captured.retrace(form=self.form, batch=captured.batch) if other else captured
        return build(one, folder, options.numerics == "exact")

    def unprepared(self) -> str:
        """Returns what the first export makes, and "" where it is there."""
        from neurokit.export.litert.environment import is_made

        name = self.info.name
        return "" if is_made() else f"litert-torch has no environment yet (neurokit export --target {name} makes it)"

    def open(self, artifact: Artifact, **options: Any) -> LiteRtRunner:
        """Opens the artifact (options: threads, seed)."""
        from neurokit.export.litert.run import LiteRtRunner

        check_known(options, ("threads", "seed"))
        return LiteRtRunner(artifact, **options)

    def probe(self, artifact: Artifact, **options: Any) -> LiteRtProbe:
        """Opens the artifact for verification (option: threads)."""
        from neurokit.export.litert.run import LiteRtProbe

        check_known(options, ("threads",), "verification")
        return LiteRtProbe(artifact, **options)


def _without_kernels(part: Captured) -> list[Unsupported]:
    """Returns the operations that litert-torch converts to what LiteRT does not open, each module once."""
    from neurokit.program.nodes import module_paths

    nodes = [n for n in part.program.graph.nodes if str(n.target).startswith("aten.conv_transpose3d")]
    paths = dict.fromkeys((module_paths(node) or [""])[-1] for node in nodes)
    why = "LiteRT has no kernel for what litert-torch makes of a transposed convolution of volumes"
    return [Unsupported(path, "conv_transpose3d", why, "--target onnx") for path in paths]


@register_target
class LiteRtSequence(LiteRtTarget):
    """The sequence form; also the one form of a model without neurons."""

    info = TargetInfo(
        name="litert",
        summary="LiteRT (.tflite), a whole sequence a call, T and batch fixed",
        requires=("torch",),
        opens_with=("ai_edge_litert",),
        install=_INSTALL,
        takes=_TAKES,
        threaded=True,
        fixed_batch=True,
    )


@register_target
class LiteRtStep(LiteRtTarget):
    """The step form."""

    form = "step"
    info = TargetInfo(
        name="litert-step",
        summary="LiteRT (.tflite), one time step a call, states outside, batch fixed",
        requires=("torch",),
        opens_with=("ai_edge_litert",),
        install=_INSTALL,
        streaming=True,
        takes=_TAKES,
        threaded=True,
        fixed_batch=True,
    )
