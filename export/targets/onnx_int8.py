"""ONNX in int8; see neurokit/export/int8_target.py."""

from neurokit.export.int8_target import Int8Target
from neurokit.target import register_target

register_target(Int8Target)
