"""Older forms of a manifest, turned into the present one; standard library only, as a device's pack reads them, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ON_ONNXRUNTIME = ("onnx", "onnx-scan", "onnx-step", "onnx-int8")  # the targets of version 0.1 that it runs alone
_PORTS = ("inputs", "outputs", "states")


def with_graphs(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a manifest's content with its one graph under `graphs`, where its ports stand at the top."""
    if "graphs" in data or not any(side in data for side in _PORTS):
        return dict(data)
    ports = {side: data[side] for side in _PORTS if side in data}
    rest = {key: value for key, value in data.items() if key not in _PORTS}
    return {**rest, "graphs": [{"name": "model", "file": _file(data), **ports}]}


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a manifest of any schema version that is known as schema 2 says it.

    Version 1 (neurokit 0.1) had one graph, whose ports stood at the top, and no bounds of free axes.
    """
    made = with_graphs(data)
    if data.get("schema_version") != 1:
        return made
    runtime = "onnxruntime" if str(data.get("target")) in _ON_ONNXRUNTIME else ""
    return {**made, "schema_version": 2, "runtime": runtime}


def _file(data: Mapping[str, Any]) -> str:
    files = data.get("files") or {}
    return "model.onnx" if "model.onnx" in files else ""
