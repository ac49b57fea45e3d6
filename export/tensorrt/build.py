"""Builds a TensorRT engine of an ONNX file: profiles, flags, timing cache; no GPU is needed with TensorRT for RTX."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurokit.dims import evaluate
from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.export.onnx.attention import AttentionForm, form_of
from neurokit.export.tensorrt import library as trt_library
from neurokit.target import LowerOptions

PRECISIONS = ("fp32", "fp16", "int8")
FORMS = ("sequence", "scan", "step")
_DEFAULTS: dict[str, Any] = {
    "form": "sequence",
    "precision": "fp32",
    "library": "auto",
    "batch_range": [1, 1, 8],
    "time_range": None,
    "capabilities": "",
    "version_compatible": False,
    "hardware_compatible": False,
    "refit": False,
    "timing_cache": "",
    "optimization_level": 3,
    "lif_plugin": False,
    "attention": "decomposed",
    "method": "minmax",
    "max_error": 0.3,
}


@dataclass(frozen=True)
class Settings:
    """How an engine is built.

    Attributes:
        form: "sequence", "scan" or "step".
        precision: "fp32", "fp16" with membranes kept in fp32, or "int8" for networks without neurons.
        library: "auto", "tensorrt" or "tensorrt_rtx".
        batch_range: Smallest, best and largest batch size, where it is free.
        time_range: The same of T, for the scan form; default from T / 2 to 4 T.
        capabilities: Compute capabilities to build for ("8.6,8.9"), with TensorRT for RTX; default is all it supports.
        version_compatible: Whether later versions of the library may run the engine.
        hardware_compatible: Whether other GPUs from Ampere on may (TensorRT; for RTX that is the default).
        refit: Whether weights can be exchanged in the engine.
        timing_cache: File to read the timing cache from and write it to.
        optimization_level: Effort of the builder, 0 to 5.
        lif_plugin: Whether neurons are the plugin `neurokit::FusedLIF` (TensorRT), not loops of TensorRT's own layers.
        method: For int8: how calibration finds the range of an activation, "minmax", "entropy" or "percentile".
        attention: What attention becomes, "decomposed" or, in fp16 alone, "standard" (there is no fp32 kernel for it).
        max_error: For int8: relative L2 error of the outputs that verification allows.
    """

    form: str
    precision: str
    library: str
    batch_range: tuple[int, int, int]
    time_range: tuple[int, int, int] | None
    capabilities: tuple[str, ...]
    version_compatible: bool
    hardware_compatible: bool
    refit: bool
    timing_cache: str
    optimization_level: int
    lif_plugin: bool
    method: str
    max_error: float
    attention: AttentionForm = "decomposed"


@dataclass(frozen=True)
class Built:
    """An engine.

    Attributes:
        plan: Its bytes.
        layers: The layers of the network that the builder was given, see `trt_library.layers`.
        said: What a manifest says of it; the layers' precisions are counted over their outputs.
    """

    plan: bytes
    layers: list[dict[str, Any]]
    said: dict[str, Any]


def settings_of(options: LowerOptions) -> Settings:
    """Returns the target's options, checked.

    Raises:
        InputError: If one is unknown or out of range.
    """
    given = options.over(_DEFAULTS, "tensorrt")
    for name, allowed in (("form", FORMS), ("precision", PRECISIONS), ("optimization_level", tuple(range(6)))):
        if given[name] not in allowed:
            raise InputError(f"{name} is {given[name]!r}", expected="one of " + ", ".join(map(str, allowed)))
    for name in ("version_compatible", "hardware_compatible", "refit", "lif_plugin"):
        if not isinstance(given[name], bool):
            raise InputError(f"{name} is {given[name]!r}", expected="true or false")
    if not isinstance(given["timing_cache"], str) or not Path(given["timing_cache"]).absolute().parent.is_dir():
        raise InputError(f"timing_cache is {given['timing_cache']!r}", expected="a file in a folder that exists")
    listed = [part.strip() for part in str(given["capabilities"]).split(",") if part.strip()]
    given["batch_range"] = _range("batch_range", given["batch_range"])
    given["time_range"] = None if given["time_range"] is None else _range("time_range", given["time_range"])
    form = form_of(given)
    if form == "ort" or (form == "standard" and given["precision"] != "fp16"):
        raise InputError(
            f"attention is {form!r} at {given['precision']}", expected="decomposed, or standard with precision=fp16"
        )
    return Settings(**{**given, "capabilities": tuple(listed)})


def _range(name: str, value: Any) -> tuple[int, int, int]:
    fits = isinstance(value, list | tuple) and len(value) == 3
    fits = fits and all(isinstance(v, int) and not isinstance(v, bool) and v >= 1 for v in value)
    if not fits or sorted(value) != list(value):
        raise InputError(f"{name} is {value!r}", expected="smallest, best and largest size", fix=f"{name}=[1,1,8]")
    return tuple(value)


def new_parser(trt: Any) -> tuple[Any, Any, Any]:
    """Returns a builder, an empty strongly typed network, and an ONNX parser that fills it."""
    log = trt_library.logger(trt.__name__)
    builder = trt.Builder(log)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    # From 11 on every network is strongly typed, and the flag may go.
    flags = 1 << int(typed) if typed is not None and trt_library.major(trt) >= 2 else 0
    network = builder.create_network(flags)
    return builder, network, trt.OnnxParser(network, log)


def build(trt: Any, model: Path, settings: Settings, ranges: Mapping[str, tuple[int, int, int]]) -> Built:
    """Builds an engine.

    Args:
        trt: The library.
        model: The ONNX file.
        settings: How to build.
        ranges: Smallest, best and largest size of every free axis, by its name in the ONNX file ("B", "T").

    Raises:
        UnsupportedError: If TensorRT refuses the network.
    """
    log = trt_library.logger(trt.__name__)
    log.take()
    builder, network, parser = new_parser(trt)
    if not parser.parse_from_file(str(model)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        fix = "see docs/tensorrt.md"
        raise _refused([Unsupported("", str(e.node_name() or "parser"), e.desc().strip(), fix) for e in errors])
    config = builder.create_builder_config()
    profile = _add_profile(builder, config, network, model, ranges)
    capabilities = _configure(trt, config, settings)
    rtx = trt_library.is_rtx(trt)
    cache = "not in TensorRT for RTX" if rtx else _read_cache(config, settings)  # it has had none since 1.2
    layers = trt_library.layers(network)
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        why = log.take() or "the builder gave no reason"
        fix = "build refittable engines on a machine with a GPU" if settings.refit else "try another precision or form"
        raise _refused([Unsupported("", "engine", why[:300], fix)])
    if settings.timing_cache and not rtx:
        _write_cache(config, settings)
    said = {
        "library": trt.__name__,
        "library_version": str(trt.__version__),
        "precision": settings.precision,
        "compute_capabilities": list(capabilities),
        "layers": len(layers),
        "profile": profile,
        "layer_types": dict(Counter(layer["type"] for layer in layers).most_common()),
        "layer_precisions": dict(Counter(kind for layer in layers for kind in layer["precisions"]).most_common()),
        "build_seconds": seconds,
        "version_compatible": settings.version_compatible,
        "refit": settings.refit,
        "timing_cache": cache,
    }
    return Built(bytes(plan), layers, said)


def _refused(reasons: list[Unsupported]) -> UnsupportedError:
    return UnsupportedError("TensorRT does not take the network", reasons)


def _add_profile(
    builder: Any, config: Any, network: Any, model: Path, ranges: Mapping[str, tuple[int, int, int]]
) -> dict[str, list[list[int]]]:
    """Adds an optimisation profile where an axis is free; returns smallest, best and largest shape of each input."""
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    shapes: dict[str, list[list[int]]] = {}
    profile = builder.create_optimization_profile()
    for value in graph.input:
        dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        sizes = [[d if isinstance(d, int) else _evaluate(d, ranges, k) for d in dims] for k in range(3)]
        if sizes[0] != sizes[2] or any(isinstance(d, str) for d in dims):
            profile.set_shape(value.name, *map(tuple, sizes))
            shapes[value.name] = sizes
    if shapes:
        config.add_optimization_profile(profile)
    return shapes


def _evaluate(symbol: str, ranges: Mapping[str, tuple[int, int, int]], which: int) -> int:
    """Returns the smallest, best or largest value of a size such as "B" or "3*B"."""
    try:
        return evaluate(symbol, {name: sizes[which] for name, sizes in ranges.items()})
    except InputError as error:
        reason = Unsupported("", symbol, "a free size of unknown range", "give a fixed --batch, or bounds of the Dim")
        raise _refused([reason]) from error


def _configure(trt: Any, config: Any, settings: Settings) -> tuple[str, ...]:
    config.builder_optimization_level = settings.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # its ten bits of mantissa would not be fp32
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    if trt_library.is_rtx(trt):
        _set_capabilities(trt, config, settings.capabilities)
    elif settings.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    return trt_library.capabilities(trt, settings.capabilities, settings.hardware_compatible)


def _set_capabilities(trt: Any, config: Any, wanted: tuple[str, ...]) -> None:
    known = {name: getattr(trt.ComputeCapability, name) for name in dir(trt.ComputeCapability) if name.startswith("SM")}
    for capability in wanted:
        if f"SM{capability.replace('.', '')}" not in known:
            expected = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in known)
            raise InputError(f"TensorRT for RTX cannot build for compute capability {capability}", expected=expected)
    if wanted:
        config.num_compute_capabilities = len(wanted)
        for index, capability in enumerate(wanted):
            config.set_compute_capability(known[f"SM{capability.replace('.', '')}"], index)


def _read_cache(config: Any, settings: Settings) -> str:
    """Gives the builder the timing cache; returns what a manifest says of it."""
    if not settings.timing_cache:
        return "none"
    path = Path(settings.timing_cache)
    held = path.read_bytes() if path.is_file() else b""
    if config.set_timing_cache(config.create_timing_cache(held), ignore_mismatch=False):
        return "used" if held else "begun"
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return "begun anew: the file was of another GPU or library version"


def _write_cache(config: Any, settings: Settings) -> None:
    path = Path(settings.timing_cache)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # appears whole or not at all
    beside.write_bytes(bytes(config.get_timing_cache().serialize()))
    beside.replace(path)
