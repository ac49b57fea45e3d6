"""Lowers a captured model to a TensorRT engine, and keeps beside it the ONNX network that TensorRT was handed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.dims import Dim
from neurokit.errors import InputError, MissingRuntimeError, Unsupported, UnsupportedError
from neurokit.export.onnx.calibrated import SAMPLES_FILE, against_float, count_of
from neurokit.export.onnx.probe import OnnxProbe
from neurokit.export.onnx.quantise import quantise
from neurokit.export.onnx.quantise import settings_of as int8_settings
from neurokit.export.onnx.sensitivity import Choice
from neurokit.export.ort import new_session
from neurokit.export.targets.onnx_int8 import (
    Int8Probe,
    Int8Target,
    calibration_of,
    describe_quantisation,
    level_of,
    quantised_layers,
)
from neurokit.export.tensorrt import library as trt_library
from neurokit.export.tensorrt import plugin as trt_plugin
from neurokit.export.tensorrt.build import Settings, build, new_parser, settings_of
from neurokit.export.tensorrt.neurons import neurons_as_plugins
from neurokit.export.tensorrt.rewrite import rewrite, unknown_operators
from neurokit.export.tensorrt.run import ENGINE_FILE, MODEL_FILE, PLUGIN_FILE, TensorrtRunner
from neurokit.target import LowerOptions, TargetInfo, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.parity.vectors import Vectors

LAYERS_FILE = "layers.json"
# Unit roundoff of float16 over float32's, and the roundings of weights and inputs that come on top (at most one each
# a product, which doubles the count).
_HALF_OVER_SINGLE = 2.0 * 2.0**13


_HALF_TOLERANCE = 1e-2  # relative L2 error of the outputs of a network without neurons whose products are float16

_VERIFIED = "model.onnx, the network that TensorRT was handed, in ONNX Runtime; not the engine itself"
_VERIFIED_PLUGIN = (
    "model.onnx in ONNX Runtime: the network that TensorRT was handed, with plain operators where that has the plugin; "
    "not the engine itself"
)


@register_target
class TensorrtTarget:
    """The target `tensorrt`; its options are those of `neurokit.export.tensorrt.build.Settings`."""

    info = TargetInfo(
        name="tensorrt",
        summary="TensorRT engine for NVIDIA GPUs",
        requires=("onnx", "onnxscript"),
        one_of=trt_library.LIBRARIES,
        opens_with=("onnxruntime",),
        install=trt_library.INSTALL,
        streaming=True,
        calibrated=True,
        takes=frozenset({"inputs", "dims", "dtypes", "states"}),
        optional={"lif_plugin": ("tensorrt", "triton")},
        native=True,
    )

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that the target does not have, and a plugin for the library that was asked for by name."""
        settings = settings_of(options)
        if settings.lif_plugin and settings.library == "tensorrt_rtx":
            refused = _obstacle_of_plugins(trt_library.load(settings.library))
            assert refused is not None
            raise UnsupportedError("target 'tensorrt' cannot make a plugin", [refused])

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns why the model cannot take the form that was asked for; operators are checked when lowering."""
        settings = _of_states(captured, settings_of(options))
        trt = trt_library.load(settings.library)
        if settings.version_compatible and trt_library.is_rtx(trt):
            why, fix = "TensorRT for RTX has no lean runtime, so no version-compatible engines", "leave the option away"
            return [Unsupported("", "version_compatible", why, fix)]
        if settings.form != "step" and captured.spec.states:
            why = f"it keeps declared states from call to call, and form={settings.form} keeps none"
            return [Unsupported("", captured.spec.name, why, "--option form=step")]
        if settings.form != "sequence" and not captured.spiking and not captured.spec.states:
            why, fix = "it has no neurons, so it has no time axis", "--option form=sequence"
            return [Unsupported("", captured.spec.name, why, fix)]
        if settings.lif_plugin and (reason := _no_plugin(captured, trt)):
            return [reason]
        if settings.precision == "int8":
            return Int8Target().check(captured, LowerOptions(options.numerics, extra=quantisation(settings)))
        if options.calibration is not None:
            raise InputError("calibration data are for int8 engines", fix="--option precision=int8")
        return []

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes model.onnx, model.engine and layers.json and returns manifest entries.

        Raises:
            UnsupportedError: If TensorRT lacks an operator; lists each.
        """
        import onnx

        from neurokit.export.describe import describe, metadata, save_initial_states
        from neurokit.export.onnx.agree import described
        from neurokit.export.onnx.convert import onnx_from_captured
        from neurokit.export.targets.onnx import save

        settings = _of_states(captured, settings_of(options))
        trt = trt_library.load(settings.library)
        captured = _in_form(captured, settings)
        model = onnx_from_captured(captured, settings.attention, fused=False)
        done, reasons = rewrite(model, settings.precision == "fp16")
        reasons += unknown_operators(model, new_parser(trt)[2])
        if reasons:
            raise UnsupportedError(f"TensorRT cannot take model {captured.spec.name!r}", reasons)
        entries = describe(captured)
        model.metadata_props.update(metadata(captured, entries, self.info.name) | described(entries, 0))
        path = folder / MODEL_FILE
        save(model, path)
        save_initial_states(captured, folder)
        if settings.precision == "int8":
            entries["numerics"] = "int8"
            entries["target_info"] |= _quantise(captured, path, settings, options.calibration)
        onnx.checker.check_model(str(path), full_check=True)
        if settings.lif_plugin:
            path, said = _with_plugins(model, folder, trt)
            entries["target_info"] |= said
        built = build(trt, path, settings, _ranges(captured, settings))
        (folder / ENGINE_FILE).write_bytes(built.plan)
        (folder / LAYERS_FILE).write_text(json.dumps(built.layers, indent=0) + "\n", encoding="utf-8")
        entries["opset"] = int(model.opset_imports[""])
        entries["form"] = settings.form
        entries["target_info"] |= built.said | {
            "engine_form": settings.form,
            "rewrites": done,
            "engine_bytes": len(built.plan),
            "portable": trt_library.is_rtx(trt) and not settings.capabilities,
            "verified": _VERIFIED_PLUGIN if settings.lif_plugin else _VERIFIED,
        }
        return entries

    def open(self, artifact: Artifact, **options: Any) -> TensorrtRunner:
        """Opens the engine on this machine's GPU; it takes no options."""
        if options:
            raise InputError(f"unknown option {sorted(options)[0]!r} for opening", expected="none")
        return TensorrtRunner(artifact)

    def probe(self, artifact: Artifact, **options: Any) -> Any:
        """Opens the network that TensorRT was handed, for verification in ONNX Runtime."""
        if artifact.manifest.target_info["precision"] == "int8":
            return Int8NetworkProbe(artifact, **options)
        return NetworkProbe(artifact, **options)


def _no_plugin(captured: Captured, trt: Any) -> Unsupported | None:
    """Returns why neurons cannot be plugins here."""
    if refused := _obstacle_of_plugins(trt):
        return refused
    if not captured.spiking:
        return Unsupported("", "lif_plugin", "the model has no neurons", "leave lif_plugin away")
    need_triton()
    return None


def _obstacle_of_plugins(trt: Any) -> Unsupported | None:
    why = trt_plugin.obstacle(trt)
    fix = "--option library=tensorrt, or leave lif_plugin away"
    return Unsupported("", "lif_plugin", why, fix) if why else None


def need_triton() -> None:
    """Raises MissingRuntimeError if Triton, which compiles the plugin's kernel, is not installed."""
    from importlib.util import find_spec

    if find_spec("triton") is None:
        raise MissingRuntimeError("lif_plugin needs Triton to compile its kernel", fix="python -m pip install triton")


def _with_plugins(model: Any, folder: Path, trt: Any) -> tuple[Path, dict[str, Any]]:
    """Writes the network with plugins for neurons; returns its file, and what a manifest says of them.

    Raises:
        UnsupportedError: If a neuron cannot be one; lists each.
    """
    import onnx

    from neurokit.export.targets.onnx import save

    count, reasons = neurons_as_plugins(model)
    if reasons:
        raise UnsupportedError("not every neuron can be the plugin", reasons)
    path = folder / PLUGIN_FILE
    save(model, path)
    onnx.checker.check_model(str(path))
    trt_plugin.register(trt)
    return path, {"lif_plugin": {"plugin": f"{trt_plugin.NAMESPACE}::{trt_plugin.NAME}", "neurons": count}}


def quantisation(settings: Settings) -> dict[str, Any]:
    """Returns the options of the target `onnx-int8` that an int8 engine's network is made with."""
    return {"device": "tensorrt", "method": settings.method, "max_error": settings.max_error}


def _quantise(captured: Captured, path: Path, settings: Settings, calibration: Any) -> dict[str, Any]:
    """Quantises the network in place; returns what a manifest says of it."""
    import onnx

    how = int8_settings(LowerOptions(extra=quantisation(settings)))
    feeds, origin = calibration_of(captured, calibration)
    size, count = captured.batch if isinstance(captured.batch, int) else 1, count_of(feeds)
    if count < size:
        raise InputError(f"{count} calibration samples", expected=f"at least one batch of {size}")
    source = path.with_name("float.onnx")
    path.rename(source)
    layers = quantised_layers(captured, onnx.load(str(source)))
    quantise(source, path, feeds, size, how, [layer.node for layer in layers])
    said = {
        "quantisation": describe_quantisation(how, count, origin, layers, Choice([], {})),
        "against_float": against_float(
            new_session(source),
            new_session(path, level=level_of(how.device)),
            feeds,
            size,
            path.with_name(SAMPLES_FILE),
        ),
    }
    source.unlink()
    return said


_NOT_THE_ENGINE = "the network that TensorRT was handed was run in ONNX Runtime, not the engine"


class Int8NetworkProbe(Int8Probe):
    """Runs the quantised ONNX network behind an engine, and says that it is not the engine."""

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors of an int8 network with a note on what was run."""
        vectors = super().restrict(vectors)
        return replace(vectors, notes=(*vectors.notes, _NOT_THE_ENGINE))


class NetworkProbe(OnnxProbe):
    """Runs the ONNX network behind an engine, and says that it is not the engine."""

    def __init__(self, artifact: Artifact, **options: Any) -> None:
        super().__init__(artifact, **options)
        self._half = artifact.manifest.target_info["precision"] == "fp16"
        if self._half and not artifact.manifest.neurons:
            self.tolerance = _HALF_TOLERANCE
        self._note = _NOT_THE_ENGINE
        if "lif_plugin" in artifact.manifest.target_info:
            self._note += "; neurons were plain operators, not the plugin"

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors with bounds for the engine's precision."""
        vectors = super().restrict(vectors)
        notes = (*vectors.notes, self._note)
        if not self._half:
            return replace(vectors, notes=notes)
        # Currents of layers that fire everywhere at once may leave float16's range: no random spikes here.
        layers = tuple(replace(layer, bound=layer.bound * _HALF_OVER_SINGLE) for layer in vectors.layers)
        if vectors.text is not None:
            text = replace(vectors.text, bound=vectors.text.bound * _HALF_OVER_SINGLE)
            vectors = replace(vectors, text=text)
        bounds = {name: bound * _HALF_OVER_SINGLE for name, bound in vectors.output_bounds.items()}
        return replace(
            vectors,
            layers=layers,
            output_bounds=bounds,
            coverings=(),
            blind=(),
            notes=(*notes, "rounding bounds are those of float16 convolutions and products"),
        )


def _of_states(captured: Captured, settings: Settings) -> Settings:
    """Returns the settings of a model with declared states: such an engine takes one call's part at a time."""
    keeps = bool(captured.spec.states) and not captured.spiking
    return replace(settings, form="step") if keeps and settings.form == "sequence" else settings


def _in_form(captured: Captured, settings: Settings) -> Captured:
    if not captured.spiking:
        return captured.retrace(form="step") if captured.spec.states and captured.form != "step" else captured
    form = "step" if settings.form == "step" else "sequence"
    changes: dict[str, Any] = {} if captured.form == form else {"form": form}
    if settings.form == "scan" and captured.time_steps != "dynamic":
        changes["time_steps"] = "dynamic"
    if settings.form == "sequence" and captured.time_steps == "dynamic":
        changes["time_steps"] = captured.spec.time_steps or 4
    return captured.retrace(**changes) if changes else captured


def _ranges(captured: Captured, settings: Settings) -> dict[str, tuple[int, int, int]]:
    steps = captured.spec.time_steps or 4
    time_range = settings.time_range or (max(1, steps // 2), steps, 4 * steps)
    lengths = {name: _range(dim) for name, dim in captured.spec.as_graph().dims.items() if dim.max is not None}
    return {**lengths, "B": settings.batch_range, "T": time_range}


def _range(dim: Dim) -> tuple[int, int, int]:
    """Returns smallest, best and largest size of a free axis; TensorRT wants bounds. An empty cache has size 0."""
    low, high = dim.min if dim.min == 0 else dim.example(dim.min), dim.example(int(dim.max or 1))
    return low, dim.example((low + high) // 2), high


def runtime_or_reason() -> str:
    """Returns why engines cannot run here, or "" where they can."""
    try:
        trt = trt_library.load()
    except MissingRuntimeError as error:
        return error.what
    here = trt_library.device_capability()
    if here is None:
        return "no NVIDIA GPU that torch can use"
    if trt_library.is_rtx(trt) and not trt_library.loads_on(here, trt_library.RTX_PORTABLE, portable=True):
        return f"TensorRT for RTX does not run on compute capability {here}"
    return ""
