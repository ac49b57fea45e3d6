"""ONNX in three forms: a whole sequence with T fixed, with T free, and one time step a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.export.onnx.attention import form_of
from neurokit.export.onnx.caches import entries_of, in_form, no_fixed_cache
from neurokit.export.onnx.half import HalfProbe, no_half_form, precision_of, to_half
from neurokit.export.onnx.probe import OnnxProbe
from neurokit.export.onnx.sparse import no_sparse_form, sparse_of
from neurokit.manifest import TaskInfo
from neurokit.port_traits import PORT_TRAITS
from neurokit.target import LowerOptions, TargetInfo, check_known, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.ort import OnnxRunner

MODEL_FILE = "model.onnx"
_EXTERNAL_ABOVE = 1_900_000_000  # protobuf ends at 2 GiB
_RUNNER_OPTIONS = {"level", "threads", "providers", "spinning", "seed"}


class OnnxTarget:
    """Lowers to one form of ONNX; subclasses say which."""

    info: TargetInfo
    family = "onnx"  # name of the sequence form; the step form's has "-step" behind it
    form = "sequence"
    time_steps: str | None = None
    rewrites = True  # whether layers may become others that compute the same in less time

    @property
    def needs_steps(self) -> bool:
        """Whether a model without neurons and states has no such form."""
        return self.form == "step" or self.time_steps is not None

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that this form does not have."""
        own = options.over({"attention": "decomposed", "cache": "grow", "precision": "float32"}, self.info.name)
        form_of(own)
        entries_of(own)
        sparse_of(own)
        precision_of(own)

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why the model cannot take this form."""
        from neurokit.program.element_types import in_float64

        reasons = self._not_in_this_form(captured)
        reasons += in_float64(captured, "ONNX Runtime has no float64 convolution on a CPU", "aten.conv")
        self.check_options(options)
        reasons += no_half_form(captured, options)
        caches = no_fixed_cache(captured, entries_of(options.extra), self.form)
        return [*reasons, *caches, *no_sparse_form(captured, sparse_of(options.extra))]

    def _not_in_this_form(self, captured: Captured) -> list[Unsupported]:
        """Returns why the model's state, or its lack of one, does not go with this form."""
        if captured.spiking:
            return []
        keeps = [part.graph for part in captured.graphs if part.states]
        if self.form == "sequence" and captured.parts and keeps:
            why = "it keeps a state between calls, and this form starts every call anew"
            return [Unsupported(name, captured.spec.name, why, f"use --target {self.family}-step") for name in keeps]
        if self.time_steps is not None and keeps:
            why = "it has no neurons, so it has no time axis; the free axes of its ports are free in every form"
            return [Unsupported("", captured.spec.name, why, f"use --target {self.family} or {self.family}-step")]
        if self.needs_steps and not keeps:
            why = "it has no neurons and no declared states, so there is no step"
            return [Unsupported("", captured.spec.name, why, f"use --target {self.family}")]
        return []

    def prepare(self, captured: Captured) -> Captured:
        """Returns the capture in this target's form.

        Raises:
            UnsupportedError: If the model has no such form.
        """
        if not captured.spiking and not any(part.states for part in captured.graphs):
            return captured
        wanted: dict[str, Any] = {"form": self.form}
        if self.time_steps is not None:
            wanted["time_steps"] = self.time_steps
        same = all(part.form == self.form for part in captured.graphs if part.states or part.spiking)
        same = same and (self.time_steps is None or captured.time_steps == self.time_steps)
        return captured if same else captured.retrace(**wanted)

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes model.onnx (and model.flat.onnx where asked) and returns manifest entries."""
        import onnx
        import onnx_ir as ir

        from neurokit.export.describe import describe, file_of, metadata, save_initial_states
        from neurokit.export.onnx.agree import described
        from neurokit.export.onnx.complex_values import complex_refused
        from neurokit.export.onnx.convert import onnx_from_captured
        from neurokit.export.onnx.passes import node_count
        from neurokit.export.onnx.rewrites import faster
        from neurokit.export.onnx.wide_convolutions import widen

        attention = form_of(options.extra)
        sparse = sparse_of(options.extra)
        captured = self.prepare(in_form(captured, entries_of(options.extra), sparse))
        if self.form == "sequence" and captured.form != "sequence":
            raise UnsupportedError("a step capture cannot become a sequence", [])
        entries = describe(captured)
        nodes = inlined = opset = 0
        for at, part in enumerate(captured.graphs):
            model = onnx_from_captured(part, attention)
            if not captured.spiking:  # currents of neurons are read by their names and shapes
                widen(model)
            if self.rewrites and not captured.spiking:
                faster(model)
            opset = max(opset, int(model.opset_imports[""]))
            model.metadata_props.update(metadata(part, entries, self.info.name, at) | described(entries, at))
            path = folder / file_of(part, captured)
            save(model, path)
            half = precision_of(options.extra) == "float16"
            if half:
                to_half(path, captured.spec.name)
            with complex_refused(part):
                onnx.checker.check_model(str(path), full_check=True)
            if options.flat:
                _save_flat(path, path.with_suffix(".flat.onnx"))
            nodes += len(model.graph)
            inlined += node_count(ir.load(path) if half else model)
            save_initial_states(part, folder)
        entries["opset"] = opset
        if captured.spec.task is not None:  # of caches of fixed size: how long a text may be
            entries["task"] = TaskInfo(**asdict(captured.spec.task))
        entries["form"] = {"onnx-scan": "scan", "onnx-step": "step"}.get(self.info.name, "sequence")
        if precision_of(options.extra) == "float16":
            entries["target_info"]["precision"] = "float16"
        entries["target_info"] |= {"nodes": nodes, "nodes_inlined": inlined, "attention": sparse or attention}
        return entries

    def open(self, artifact: Artifact, **options: Any) -> OnnxRunner:
        """Opens the artifact on ONNX Runtime (options: level, threads, providers, spinning, seed)."""
        from neurokit.export.ort import OnnxRunner

        check_known(options, sorted(_RUNNER_OPTIONS))
        return OnnxRunner(artifact, **options)

    def probe(self, artifact: Artifact, **options: Any) -> Any:
        """Opens the artifact for verification."""
        half = artifact.manifest.target_info.get("precision") == "float16"
        return (HalfProbe if half else OnnxProbe)(artifact, **options)


def save(model: Any, path: Path) -> None:
    """Writes a model; weights go to a file beside it where one file could not hold them."""
    import onnx_ir as ir

    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    external = f"{path.name}.data" if size > _EXTERNAL_ABOVE else None
    ir.save(model, path, external_data=external)


def _save_flat(path: Path, flat: Path) -> None:
    import onnx
    import onnx.inliner

    model = onnx.inliner.inline_local_functions(onnx.load(str(path)))
    onnx.save(model, str(flat))


@register_target
class OnnxSequence(OnnxTarget):
    """The sequence form; also the one form of a model without neurons."""

    info = TargetInfo(
        name="onnx",
        summary="ONNX, a whole sequence a call, T fixed",
        requires=("onnx", "onnxscript"),
        opens_with=("onnxruntime",),
        install='pip install "neurokit-edge[onnx]"',
        takes=frozenset(PORT_TRAITS),
        runtime="onnxruntime",
    )


@register_target
class OnnxScan(OnnxTarget):
    """The sequence form with a dynamic T."""

    time_steps = "dynamic"
    info = TargetInfo(
        name="onnx-scan",
        summary="ONNX, a whole sequence a call, T free",
        requires=("onnx", "onnxscript"),
        opens_with=("onnxruntime",),
        install='pip install "neurokit-edge[onnx]"',
        takes=frozenset(PORT_TRAITS),
        runtime="onnxruntime",
    )


@register_target
class OnnxStep(OnnxTarget):
    """The step form."""

    form = "step"
    info = TargetInfo(
        name="onnx-step",
        summary="ONNX, one time step a call, states outside",
        requires=("onnx", "onnxscript"),
        opens_with=("onnxruntime",),
        install='pip install "neurokit-edge[onnx]"',
        takes=frozenset(PORT_TRAITS),
        runtime="onnxruntime",
        streaming=True,
    )
