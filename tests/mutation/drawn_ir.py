"""Edits drawn from a seed of OpenVINO's own files (`model.xml`, `model.bin`)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np

from tests.mutation.drawn_values import numbers
from tests.mutation.graph import need

_KINDS = {"Add": "Subtract", "Subtract": "Add", "Multiply": "Add", "ReLU": "Abs", "Maximum": "Minimum"}
_TYPES = {"i8": np.int8, "u8": np.uint8, "f16": np.float16, "f32": np.float32, "i32": np.int32, "i64": np.int64}
# Settings of operators; of a constant, where it lies among the weights.
_NUMBERS = ("strides", "pads_begin", "pads_end", "dilations", "kernel", "levels", "axis", "offset")


def ir(files: Mapping[str, bytes], r: random.Random) -> dict[str, bytes]:
    """Edits a network: numbers of a constant, a number or kind of an operator, or what one reads.

    Raises:
        NotApplicableError: If it has no place for the edit.
    """
    root = ElementTree.fromstring(files["model.xml"])
    how = r.choice(("constant", "constant", "constant", "number", "kind", "wire"))
    if how == "constant":
        return {"model.bin": _constant(root, files["model.bin"], r)}
    {"number": _number, "kind": _kind, "wire": _wire}[how](root, r)
    return {"model.xml": ElementTree.tostring(root)}


def _constant(root: Any, content: bytes, r: random.Random) -> bytes:
    held = [data for data in root.iterfind(".//layer[@type='Const']/data") if data.get("element_type") in _TYPES]
    need(held)
    data = r.choice(held)
    begin, size = int(data.get("offset")), int(data.get("size"))
    value = np.frombuffer(content[begin : begin + size], _TYPES[data.get("element_type")])
    shape = [int(size) for size in data.get("shape").split(",") if size.strip()]
    made = np.ascontiguousarray(numbers(value.reshape(shape), r)).astype(value.dtype)
    return content[:begin] + made.tobytes() + content[begin + size :]


def _number(root: Any, r: random.Random) -> None:
    found = [(data, name) for data in root.iterfind(".//layer/data") for name in _NUMBERS if data.get(name)]
    need(found)
    data, name = r.choice(found)
    sizes = [int(size) for size in data.get(name).split(",")]
    at = r.randrange(len(sizes))
    sizes[at] = max(0, sizes[at] + r.choice((-1, 1)))
    data.set(name, ",".join(map(str, sizes)))


def _kind(root: Any, r: random.Random) -> None:
    found = [layer for layer in root.iterfind(".//layer") if layer.get("type") in _KINDS]
    need(found)
    layer = r.choice(found)
    layer.set("type", _KINDS[layer.get("type")])


def _wire(root: Any, r: random.Random) -> None:
    edges = root.findall(".//edge")
    edge, other = r.choice(edges), r.choice(edges)
    need(edge.get("from-layer") != other.get("from-layer"))
    edge.set("from-layer", other.get("from-layer"))
    edge.set("from-port", other.get("from-port"))
