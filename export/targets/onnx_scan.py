"""ONNX for sequences of any length: T is free, each neuron is one Scan over it."""

from neurokit.export.onnx_target import OnnxTarget
from neurokit.target import TargetInfo, register_target


@register_target
class OnnxScan(OnnxTarget):
    """The sequence form with a dynamic T."""

    time_steps = "dynamic"
    info = TargetInfo(
        name="onnx-scan", summary="ONNX, a whole sequence a call, T free", requires=("onnx", "onnxscript"),
        opens_with=("onnxruntime",), install='pip install "neurokit-edge[onnx]"',
    )  # fmt: skip
