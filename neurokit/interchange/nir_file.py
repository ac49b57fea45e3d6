"""Reads a `.nir` file (HDF5) into plain nodes and edges; trusts nothing in it and executes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import MissingRuntimeError, ModelLoadError
from neurokit.plain import no_file

DEFAULT_DT = 1e-4  # seconds a time step; SpikingJelly's and snnTorch's NIR exchange assume it
_MAX_BYTES = 2**31  # of all arrays together, unpacked; NEUROKIT_MAX_MODEL_BYTES changes it
_MAX_NODES = 100_000
_MAX_DEPTH = 8  # of graphs within graphs
_MAX_TEXT = 65_536  # characters of a name or note
# HDF5's own filters and h5py's lzf; any other would be loaded from a plug-in, which is code.
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}

# Fields of every node of NIR 1.0.8: (needed, optional).
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": ((), ("shape",)),
    "Affine": (("weight", "bias"), ()),
    "Linear": (("weight",), ()),
    "Scale": (("scale",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": (("start_dim", "end_dim"), ("input_type",)),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
}
NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")


@dataclass(frozen=True)
class NirNode:
    """One node: its kind ("LIF") and its fields, arrays or text."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class NirGraph:
    """Nodes by name, and edges; several edges into one node mean their sum.

    Attributes:
        nodes: Nodes in the order of the file.
        edges: Pairs (from, to).
        metadata: Free texts and numbers of the graph.
    """

    nodes: dict[str, NirNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


def read_graph(path: Path) -> NirGraph:
    """Reads a file and flattens graphs within the graph.

    Raises:
        ModelLoadError: If the file is no NIR graph, is damaged, or would need more memory than it may.
        MissingRuntimeError: If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingRuntimeError("reading .nir files needs h5py", fix="python -m pip install nir") from error
    if lacks := no_file(path):
        raise ModelLoadError(f"model file {path} {lacks}", expected="a .nir file", fix="check the path")
    reader = _Reader(path)
    try:
        with h5py.File(path, "r") as file:
            return flatten_graph(reader.graph(reader.group(file, "node"), 0), path)
    except ModelLoadError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, RecursionError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _bad(path, f"cannot be read: {first[:200]}") from error


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.left = _limit()
        self.nodes_left = _MAX_NODES

    def group(self, parent: Any, name: str) -> Any:
        import h5py

        if name not in parent:
            raise _bad(self.path, f"has no group {name!r}")
        if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
            raise _bad(self.path, f"{name!r} is a link, which may lead out of the file")
        found = parent[name]
        if not isinstance(found, h5py.Group):
            raise _bad(self.path, f"{name!r} is no group")
        return found

    def value(self, parent: Any, name: str) -> Any:
        """Reads one dataset after looking at its declared size, links, filters and type."""
        import h5py

        if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
            raise _bad(self.path, f"{parent.name}/{name} is a link, which may lead out of the file")
        data = parent[name]
        where = f"{parent.name}/{name}"
        if not isinstance(data, h5py.Dataset):
            raise _bad(self.path, f"{where} is no array")
        if data.external or data.is_virtual:
            raise _bad(self.path, f"{where} keeps its numbers in another file")
        settings = data.id.get_create_plist()
        foreign = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
        if any(code not in _FILTERS for code in foreign):
            raise _bad(self.path, f"{where} is packed with a filter that HDF5 would load as a plug-in")
        text = h5py.check_string_dtype(data.dtype) is not None
        if not text and data.dtype.kind not in "biuf":
            raise _bad(self.path, f"{where} holds {data.dtype}, not numbers or text")
        if data.shape is None:
            return None
        self.left -= int(np.prod(data.shape, dtype=object)) * max(data.dtype.itemsize, 1)
        if self.left < 0:
            raise _bad(
                self.path,
                f"would unpack to more than {_limit()} bytes (at {where})",
                "set NEUROKIT_MAX_MODEL_BYTES if the file is trusted",
            )
        value = self._text(data, where) if text else data[()]
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise _bad(self.path, f"{where} holds numbers that are not finite")
        return value

    def _text(self, data: Any, where: str) -> Any:
        """Reads text one by one: many places may name one long text of the file, and each would be a copy."""
        count = int(np.prod(data.shape, dtype=object))
        if count > 4 * _MAX_NODES:
            raise _bad(self.path, f"{where} holds {count} texts")
        flat = []
        for at in np.ndindex(data.shape):
            flat.append(str(data.asstr()[at]))
            self.left -= len(flat[-1])
            if self.left < 0 or len(flat[-1]) > _MAX_TEXT:
                raise _bad(self.path, f"{where} holds too long a text")
        return flat[0] if data.shape == () else np.array(flat, dtype=object).reshape(data.shape)

    def graph(self, group: Any, depth: int) -> NirGraph:
        if depth > _MAX_DEPTH:
            raise _bad(self.path, f"nests graphs more than {_MAX_DEPTH} deep")
        found = NirGraph(metadata=self._metadata(group))
        nodes = self.group(group, "nodes")
        inner: dict[str, NirGraph] = {}
        for name in nodes:
            self.nodes_left -= 1
            if self.nodes_left < 0:
                raise _bad(self.path, f"has more than {_MAX_NODES} nodes")
            node = self.group(nodes, name)
            kind = str(self.value(node, "type")) if "type" in node else ""
            if kind == "NIRGraph":
                inner[name] = self.graph(node, depth + 1)
                found.nodes[name] = NirNode("NIRGraph", {"graph": inner[name]})
            else:
                found.nodes[name] = self._node(node, name, kind)
        for edge in np.asarray(self.value(group, "edges") if "edges" in group else [], dtype=object).reshape(-1, 2):
            found.edges.append((str(edge[0]), str(edge[1])))
        return found

    def _node(self, group: Any, name: str, kind: str) -> NirNode:
        if kind not in FIELDS:
            raise _bad(self.path, f"node {name!r} is of the unknown kind {kind!r}", f"one of {', '.join(FIELDS)}")
        needed, optional = FIELDS[kind]
        missing = [key for key in needed if key not in group]
        if missing:
            raise _bad(self.path, f"node {name!r} ({kind}) has no {missing[0]!r}")
        wanted = [*needed, *(key for key in optional if key in group)]
        return NirNode(kind, {key: self.value(group, key) for key in wanted})

    def _metadata(self, group: Any) -> dict[str, Any]:
        import h5py

        if "metadata" not in group or not isinstance(group["metadata"], h5py.Group):
            return {}
        held = group["metadata"]
        return {key: self.value(held, key) for key in held if isinstance(held[key], h5py.Dataset)}


def flatten_graph(graph: NirGraph, path: Path) -> NirGraph:
    """Replaces every graph within the graph by its nodes, named "outer.inner"."""
    flat = NirGraph(metadata=graph.metadata)
    entry: dict[str, str] = {}  # what an edge to an inner graph really leads to
    leave: dict[str, str] = {}
    for name, node in graph.nodes.items():
        if node.kind != "NIRGraph":
            flat.nodes[name] = node
            continue
        inner = flatten_graph(node.fields["graph"], path)
        for kind, ends in (("Input", entry), ("Output", leave)):
            found = [key for key, part in inner.nodes.items() if part.kind == kind]
            if len(found) != 1:
                raise _bad(path, f"graph {name!r} within the graph has {len(found)} {kind} nodes", "exactly one")
            ends[name] = f"{name}.{found[0]}"
        for key, part in inner.nodes.items():
            renamed = "Identity" if part.kind in ("Input", "Output") else part.kind
            flat.nodes[f"{name}.{key}"] = NirNode(renamed, part.fields if renamed == part.kind else {})
        flat.edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner.edges]
    flat.edges += [(leave.get(a, a), entry.get(b, b)) for a, b in graph.edges]
    return flat


def _limit() -> int:
    try:
        return int(os.environ.get("NEUROKIT_MAX_MODEL_BYTES", _MAX_BYTES))
    except ValueError:
        return _MAX_BYTES


def _bad(path: Path, what: str, fix: str = "") -> ModelLoadError:
    return ModelLoadError(f"{path.name} {what}", expected="a NIR graph (NIR 1.0)", fix=fix or "write it again")
