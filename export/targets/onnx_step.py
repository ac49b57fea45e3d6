"""ONNX for streaming: one time step a call, every state a named and typed input and output."""

from neurokit.export.onnx_target import OnnxTarget
from neurokit.target import TargetInfo, register_target


@register_target
class OnnxStep(OnnxTarget):
    """The step form."""

    form = "step"
    info = TargetInfo(
        name="onnx-step", summary="ONNX, one time step a call, states outside", requires=("onnx", "onnxscript"),
        opens_with=("onnxruntime",), install='pip install "neurokit-edge[onnx]"', streaming=True,
    )  # fmt: skip
