"""ONNX for a whole sequence: T is given, layers are outermost, so that convolutions see T x B at once."""

from neurokit.export.onnx_target import OnnxTarget
from neurokit.target import TargetInfo, register_target


@register_target
class OnnxSequence(OnnxTarget):
    """The sequence form; also the one form of a model without neurons."""

    info = TargetInfo(
        name="onnx", summary="ONNX, a whole sequence a call, T fixed", requires=("onnx", "onnxscript"),
        opens_with=("onnxruntime",), install='pip install "neurokit-edge[onnx]"',
    )  # fmt: skip
