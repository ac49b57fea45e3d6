"""OpenVINO for x86 and ARM processors: reads the flat ONNX form; a whole sequence, one step, and int8 by NNCF."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, InputError, Unsupported, UnsupportedError
from neurokit.export.onnx.calibrated import SAMPLES_FILE, against_float, count_of
from neurokit.export.targets.onnx import OnnxTarget
from neurokit.port_traits import PORT_TRAITS
from neurokit.target import LowerOptions, TargetInfo, check_known, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.openvino.run import OpenVinoProbe, OpenVinoRunner

_INSTALL = 'pip install "neurokit-edge[openvino,onnx]"'
_XML = "model.xml"


class OpenVinoTarget(OnnxTarget):
    """Lowers to ONNX in plain operators, which OpenVINO reads."""

    family = "openvino"

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why the model cannot take this form."""
        from neurokit.program.element_types import in_float64

        wide = in_float64(captured, "it computes in float64, and OpenVINO's CPU plugin runs that in float32")
        return wide or super().check(captured, options)

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options: there are none."""
        if options.extra:
            raise InputError(f"target {self.info.name!r} has no option {sorted(options.extra)[0]!r}", expected="none")

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes model.onnx, which says what its neurons are, and model.flat.onnx, which OpenVINO reads."""
        entries = dict(super().lower(captured, folder, replace(options, flat=True)))
        files = {graph["name"]: graph["file"].replace(".onnx", ".flat.onnx") for graph in entries["graphs"]}
        entries["form"] = "step" if self.form == "step" else "sequence"
        entries["target_info"] |= {"openvino": files, "read_by_other_tools": next(iter(files.values()))}
        if find_spec("openvino") is not None:  # lowering does without it; where it is, what it refuses is said now
            self._refuse_unread({name: folder / file for name, file in files.items()}, captured.spec.name)
        return entries

    def _refuse_unread(self, files: Mapping[str, Path], model: str) -> None:
        from neurokit.export.openvino.session import read

        reasons = []
        for graph, file in files.items():
            try:
                read(file)
            except ArtifactError as error:
                where = graph if len(files) > 1 else ""
                reasons.append(Unsupported(where, model, error.what, "use --target onnx"))
        if reasons:
            raise UnsupportedError(f"target {self.info.name!r} cannot take model {model!r}", reasons)

    def open(self, artifact: Artifact, **options: Any) -> OpenVinoRunner:  # type: ignore[override]
        """Opens the artifact (options: threads, seed)."""
        from neurokit.export.openvino.run import OpenVinoRunner

        check_known(options, ("threads", "seed"))
        return OpenVinoRunner(artifact, **options)

    def probe(self, artifact: Artifact, **options: Any) -> OpenVinoProbe:
        """Opens the artifact for verification (option: threads)."""
        from neurokit.export.openvino.run import OpenVinoProbe

        check_known(options, ("threads",))
        return OpenVinoProbe(artifact, **options)


@register_target
class OpenVinoSequence(OpenVinoTarget):
    """The sequence form; also the one form of a model without neurons."""

    info = TargetInfo(
        name="openvino",
        summary="OpenVINO, a whole sequence a call, T fixed",
        requires=("onnx", "onnxscript"),
        opens_with=("openvino", "onnx"),
        install=_INSTALL,
        takes=frozenset(PORT_TRAITS),
        threaded=True,
    )


@register_target
class OpenVinoStep(OpenVinoTarget):
    """The step form."""

    form = "step"
    info = TargetInfo(
        name="openvino-step",
        summary="OpenVINO, one time step a call, states outside",
        requires=("onnx", "onnxscript"),
        opens_with=("openvino", "onnx"),
        install=_INSTALL,
        streaming=True,
        takes=frozenset(PORT_TRAITS),
        threaded=True,
    )


@register_target
class OpenVinoInt8(OpenVinoTarget):
    """int8 through NNCF, for networks without neurons."""

    info = TargetInfo(
        name="openvino-int8",
        summary="OpenVINO in int8 (NNCF) for networks without neurons",
        requires=("onnx", "onnxscript", "nncf"),
        opens_with=("openvino", "onnx"),
        install='pip install "neurokit-edge[openvino,onnx]" nncf',
        calibrated=True,
        quantised=True,
        takes=frozenset({"inputs", "dtypes"}),
        threaded=True,
    )

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that quantising does not have."""
        _settings(options)

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns why the model cannot be quantised."""
        from neurokit.program.element_types import other_types

        self.check_options(options)
        name = captured.spec.name
        if captured.spiking:
            why, fix = "rounding activations would flip its spikes", "--target openvino --numerics exact"
            return [Unsupported("", name, why, fix)]
        if options.numerics == "exact":
            why = "int8 rounds activations in its own way"
            return [Unsupported("", "--numerics exact", why, "leave --numerics away, or --target openvino")]
        others = [reason for part in captured.graphs for reason in other_types(part, "8 bits are calibrated in")]
        return others or self._not_in_this_form(captured)

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Quantises the flat form by NNCF; writes model.xml and model.bin beside the float network."""
        from neurokit.export.openvino.session import OpenVinoSession
        from neurokit.export.targets.onnx_int8 import calibration_of

        settings = _settings(options)
        feeds, origin = calibration_of(captured, options.calibration)
        entries = dict(super().lower(captured, folder, LowerOptions(batch=options.batch)))
        size = captured.batch if isinstance(captured.batch, int) else 1
        (name,) = entries["target_info"]["openvino"]
        source = folder / entries["target_info"]["openvino"][name]
        version = _quantise(source, folder / _XML, feeds, size, settings)
        entries["numerics"] = "int8"
        entries["target_info"]["openvino"] = {name: _XML}
        count = count_of(feeds)
        entries["target_info"]["quantisation"] = {
            "quantizer": f"nncf {version}",
            "device": "cpu",
            "method": "NNCF post-training",
            "activations": "8-bit",
            "weights": "8-bit S8, one scale a channel",
            "calibration_samples": count,
            "calibrated_on": origin,
            **settings,
        }
        before, after = OpenVinoSession(source), OpenVinoSession(folder / _XML)
        entries["target_info"]["against_float"] = against_float(before, after, feeds, size, folder / SAMPLES_FILE)
        source.unlink()
        return entries

    def probe(self, artifact: Artifact, **options: Any) -> OpenVinoProbe:
        """Opens the artifact for verification (option: threads)."""
        from neurokit.export.openvino.run import OpenVinoInt8Probe

        check_known(options, ("threads",))
        return OpenVinoInt8Probe(artifact, **options)


def _settings(options: LowerOptions) -> dict[str, Any]:
    settings = options.over({"max_error": 0.1, "preset": "mixed"}, "openvino-int8")
    error = settings["max_error"]
    if isinstance(error, bool) or not isinstance(error, int | float) or not error > 0:
        raise InputError(f"max_error is {error!r}", expected="a relative error above 0")
    if settings["preset"] not in ("mixed", "performance"):
        raise InputError(f"preset is {settings['preset']!r}", expected="mixed or performance")
    return settings


def _quantise(source: Path, out: Path, feeds: Mapping[str, np.ndarray], size: int, settings: Mapping[str, Any]) -> str:
    """Quantises a network on batches of calibration data and writes it; returns the version of NNCF."""
    import logging

    from neurokit.export.openvino.session import read, report_nothing

    report_nothing()
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.ERROR)
    batches = [{n: x[at : at + size] for n, x in feeds.items()} for at in range(0, count_of(feeds) - size + 1, size)]
    preset = nncf.QuantizationPreset.MIXED if settings["preset"] == "mixed" else nncf.QuantizationPreset.PERFORMANCE
    with redirect_stdout(io.StringIO()):  # it draws its progress
        made = nncf.quantize(read(source), nncf.Dataset(batches), preset=preset, subset_size=len(batches))
    openvino.save_model(made, str(out), compress_to_fp16=False)
    return str(nncf.__version__)
