"""Faults of what lies beside the graph: manifest fields that contradict it, and test vectors that are not its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.mutation.graph import need

Plant = Callable[[dict[str, Any], dict[str, np.ndarray]], None]
FILE_FAULTS: dict[str, Plant] = {}


def _manifest(name: str, *path: str | int, change: Callable[[Any], Any]) -> None:
    def plant(manifest: dict[str, Any], vectors: dict[str, np.ndarray]) -> None:
        held: Any = manifest
        for part in path[:-1]:
            need(part in held if isinstance(part, str) else len(held) > part)
            held = held[part]
        need(not isinstance(held, dict) or path[-1] in held)
        old = held[path[-1]]
        held[path[-1]] = change(old)
        need(held[path[-1]] != old)

    FILE_FAULTS[f"manifest: {name}"] = plant


def _head(name: str, change: Callable[[dict[str, Any]], None]) -> None:
    def plant(manifest: dict[str, Any], vectors: dict[str, np.ndarray]) -> None:
        head = json.loads(bytes(vectors["head"]))
        before = json.dumps(head)
        change(head)
        need(json.dumps(head) != before)
        vectors["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)

    FILE_FAULTS[f"vectors: {name}"] = plant


def _array(name: str, key: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    def plant(manifest: dict[str, Any], vectors: dict[str, np.ndarray]) -> None:
        need(key in vectors)
        vectors[key] = np.ascontiguousarray(change(vectors[key].copy())).astype(vectors[key].dtype)

    FILE_FAULTS[f"vectors: {name}"] = plant


_N = ("neurons", 0)
_G = ("graphs", 0)
_manifest("threshold of a neuron", *_N, "parameters", "v_threshold", change=lambda v: v + 0.01)
_manifest("reset potential of a neuron", *_N, "parameters", "v_reset", change=lambda v: (v or 0.0) + 0.1)
_manifest("time constant of a neuron", *_N, "parameters", "tau", change=lambda v: v + 0.1)
_manifest("leak of the input of a neuron", *_N, "parameters", "decay_input", change=lambda v: not v)
_manifest("kind of a neuron", *_N, "kind", change=lambda v: "IFNode" if v != "IFNode" else "LIFNode")
_manifest("path of a neuron", *_N, "path", change=lambda v: v + "x")
_manifest("a neuron left out", "neurons", change=lambda v: v[1:])
_manifest("a neuron twice", "neurons", change=lambda v: [v[0], *v])
_manifest("neurons in another order", "neurons", change=lambda v: v[::-1])
_manifest("meaning of the output", *_G, "outputs", 0, "meaning", change=lambda v: "degrees Celsius")
_manifest("shape of the output", *_G, "outputs", 0, "shape", change=lambda v: [*v[:-1], v[-1] + 1])
_manifest("type of the output", *_G, "outputs", 0, "dtype", change=lambda v: "float64")
_manifest("name of the output", *_G, "outputs", 0, "name", change=lambda v: v + "x")
_manifest("shape of the input", *_G, "inputs", 0, "shape", change=lambda v: [*v[:-1], v[-1] + 1])
_manifest("type of the input", *_G, "inputs", 0, "dtype", change=lambda v: "float16")
_manifest("name of the input", *_G, "inputs", 0, "name", change=lambda v: v + "x")
_manifest("initial value of a state", *_G, "states", 0, "init", change=lambda v: 0.25)
_manifest("shape of a state", *_G, "states", 0, "shape", change=lambda v: [*v[:-1], v[-1] + 1])
_manifest("type of a state", *_G, "states", 0, "dtype", change=lambda v: "float64")
_manifest("output of a state", *_G, "states", 0, "output", change=lambda v: v + "x")
_manifest("a state left out", *_G, "states", change=lambda v: v[1:])
_manifest("a state twice", *_G, "states", change=lambda v: [v[0], *v])
_manifest("T", "time_steps", change=lambda v: 9)
_manifest("form", "form", change=lambda v: "sequence")
_manifest("numerics", "numerics", change=lambda v: "exact")
_manifest("reduction over time", "target_info", "time_output", change=lambda v: "last" if v != "last" else "sum")
_manifest("how the input is given", "target_info", "time_input", change=lambda v: "image")
_manifest("reset policy", "reset_policy", change=lambda v: "never")
_manifest("model", "model", "name", change=lambda v: "another")
_head("threshold of a layer", lambda h: h["layers"][0]["parameters"].__setitem__("v_threshold", 0.9))
_head("initial membrane of a layer", lambda h: h["layers"][0].__setitem__("init", 0.25))
_head("a layer left out", lambda h: h["layers"].pop())
_head("layers in another order", lambda h: h["layers"].reverse())
_head("reduction over time", lambda h: h.__setitem__("time_output", "last" if h["time_output"] != "last" else "sum"))
_array("another output", "y0", lambda y: y + 0.1)
_array("output elements in another order", "y0", lambda y: y[..., ::-1])
_array("another input", "in0", lambda x: x[..., ::-1])
_array("spikes of a layer turned over", "s0", lambda s: ~s)
_array("membranes of a layer", "h0", lambda h: h + 0.01)
_array("currents of a covering run", "cover0.c0", lambda c: c + 0.01)
