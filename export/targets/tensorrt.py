"""TensorRT engines; see neurokit/export/trt_target.py."""

from neurokit.export.trt_target import TensorrtTarget
from neurokit.target import register_target

register_target(TensorrtTarget)
