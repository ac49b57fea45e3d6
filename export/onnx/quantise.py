"""Quantises an ONNX file to int8 with ONNX Runtime's own quantizer, calibrated on given data."""

from __future__ import annotations

import io
import logging
import platform
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import InputError
from neurokit.export.onnx.int8_layers import OPERATORS
from neurokit.export.onnx.weights_only import weights_only
from neurokit.feeds import Feeds
from neurokit.scratch import scratch
from neurokit.target import LowerOptions

_METHODS = ("auto", "minmax", "entropy", "percentile")
_DEVICES = ("cpu", "tensorrt")
_DEFAULTS: dict[str, Any] = {
    **{"device": "cpu", "method": "auto", "reduce_range": "auto", "max_error": 0.3},
    **{"keep": "", "auto": None, "sensitivity": False, "times": False, "activations": "int8"},
    **{"epochs": 10, "learning_rate": 0.001},
}
OF_TRAINING = ("epochs", "learning_rate")


@dataclass(frozen=True)
class Settings:
    """How a network is quantised.

    Attributes:
        device: "cpu": U8 activations and S8 weights a channel, with int32 biases. "tensorrt": symmetric S8 for both,
            and biases left in float, as TensorRT wants it.
        method: How calibration finds the range of an activation: "minmax", "entropy" or "percentile"; "auto" tries
            the first and the last (`neurokit.export.onnx.ranges`).
        reduce_range: Whether weights take 7 bits. x86 processors without VNNI add two products of U8 and S8 in
            16 bits, which saturate with 8-bit weights.
        max_error: Relative L2 error of the outputs, against the float model, that verification allows.
        keep: Layers that stay in float: names or patterns ("head*"), with commas between.
        auto: Points that int8 may lose on the calibration data; the layers that cost most stay in float until it loses
            less. None keeps what `keep` says alone.
        sensitivity: Whether to measure what each layer costs alone, which `auto` does anyway.
        times: Whether to say where the time goes, layer by layer, beside float; `auto` and `sensitivity` do it too.
        activations: "int8", or "float": the weights alone take 8 bits (`neurokit.export.onnx.weights_only`).
        epochs: Of fine-tuning: passes over the training data.
        learning_rate: Of fine-tuning: largest step of a weight, as a share of the largest one of its channel.
    """

    device: str
    method: str
    reduce_range: bool
    max_error: float
    keep: str = ""
    auto: float | None = None
    sensitivity: bool = False
    times: bool = False
    activations: str = "int8"
    epochs: int = 10
    learning_rate: float = 0.001


def settings_of(options: LowerOptions) -> Settings:
    """Returns the target's options, checked.

    Raises:
        InputError: If one is unknown or out of range.
    """
    given = options.over(_DEFAULTS, "onnx-int8")
    for name, allowed in (("device", _DEVICES), ("method", _METHODS), ("reduce_range", ("auto", True, False))):
        if given[name] not in allowed:
            said = ", ".join(str(value).lower() for value in allowed)
            raise InputError(f"{name} is {given[name]!r}", expected=f"one of {said}")
    if given["activations"] not in ("int8", "float"):
        raise InputError(f"activations is {given['activations']!r}", expected="int8 or float")
    if given["activations"] == "float" and given["device"] != "cpu":
        raise InputError("activations=float is for a CPU", expected="device=cpu", fix="leave device away")
    error = given["max_error"]
    if isinstance(error, bool) or not isinstance(error, int | float) or not 0 < error < 1:
        raise InputError(f"max_error is {error!r}", expected="a relative error between 0 and 1")
    if not isinstance(given["keep"], str):
        raise InputError(f"keep is {given['keep']!r}", expected="names of layers with commas between")
    auto = given["auto"]
    if auto is not None and (isinstance(auto, bool) or not isinstance(auto, int | float) or not 0 < auto < 100):
        raise InputError(f"auto is {auto!r}", expected="points that may be lost, between 0 and 100, such as 0.5")
    for name in ("sensitivity", "times"):
        if not isinstance(given[name], bool):
            raise InputError(f"{name} is {given[name]!r}", expected="true or false")
    epochs, rate = given["epochs"], given["learning_rate"]
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise InputError(f"epochs is {epochs!r}", expected="a whole number from 1 on")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1:
        raise InputError(f"learning_rate is {rate!r}", expected="a share between 0 and 1")
    if given["reduce_range"] == "auto":
        given["reduce_range"] = given["device"] == "cpu" and not multiplies_bytes_safely()
    return Settings(**given)


def multiplies_bytes_safely() -> bool:
    """Returns whether this processor adds products of U8 and S8 without saturating: all but x86 before VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


class _Samples:
    """Hands calibration data to the quantizer, a batch at a time."""

    def __init__(self, feeds: Feeds, size: int) -> None:
        count = len(next(iter(feeds.values())))
        starts = range(0, count - count % size, size)
        self._feeds = iter([{name: x[at : at + size] for name, x in feeds.items()} for at in starts])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantise(
    source: Path,
    out: Path,
    feeds: Feeds,
    size: int,
    settings: Settings,
    layers: Sequence[str],
    ranges: Path | None = None,
) -> None:
    """Writes a QDQ model: quantize and dequantize operators around convolutions and matrix products, nothing else.

    Args:
        source: ONNX file in float, batch normalisation folded.
        out: ONNX file to write.
        feeds: Calibration data by the names of the inputs, `[N, *shape]`.
        size: Batch size; N is cut to a multiple of it.
        settings: How to quantise.
        layers: Names of the nodes to quantise (`neurokit.export.onnx.int8_layers`).
        ranges: File that keeps the ranges of all activations: written by the first call, read by others of its model.
    """
    if settings.activations == "float":
        weights_only(source, out, layers)
        return
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    symmetric = settings.device == "tensorrt"
    extra = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False} if symmetric else {}
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a pre-processing that has been done
    try:
        with scratch("int8") as folder, redirect_stdout(io.StringIO()):
            copy = folder / "float.onnx"  # the quantizer writes beside its input
            copy.write_bytes(source.read_bytes())
            quantize_static(
                copy,
                out,
                _Samples(feeds, size),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATORS),
                nodes_to_quantize=list(layers),
                per_channel=True,
                reduce_range=settings.reduce_range,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=methods[settings.method],
                extra_options=extra,
                calibration_cache_path=ranges,
            )
    finally:
        root.setLevel(level)
