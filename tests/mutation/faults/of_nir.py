"""Faults of NIR files: numbers of nodes and edges, edited with the nir library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.mutation.faults.registry import POWERS
from tests.mutation.graph import need

NIR_FAULTS: dict[str, Callable[[Any], None]] = {}
_NEURONS, _WEIGHTED = ("IF", "LIF", "CubaLIF"), ("Linear", "Affine", "Conv1d", "Conv2d")


def _ordered(graph: Any, kinds: tuple[str, ...]) -> list[Any]:
    """Returns the nodes of some kinds in the order of the graph's edges."""
    following = dict(graph.edges)
    name, found = "input", []
    for _ in range(len(graph.nodes) + 1):
        if name in graph.nodes and type(graph.nodes[name]).__name__ in kinds:
            found.append(graph.nodes[name])
        name = following.get(name, "")
    rest = [n for n in graph.nodes.values() if type(n).__name__ in kinds and not any(n is m for m in found)]
    need(found + rest)
    return found + rest


def _number(at: int, field: str, change: Callable[[np.ndarray], np.ndarray], kinds: Any = _NEURONS) -> Any:
    def plant(graph: Any) -> None:
        node = _ordered(graph, kinds)[at]
        need(getattr(node, field, None) is not None)
        value = np.asarray(getattr(node, field))
        setattr(node, field, change(value.copy()).astype(value.dtype))

    return plant


def _one(value: np.ndarray, by: float) -> np.ndarray:
    value.reshape(-1)[value.size // 3] += by * np.abs(value).max()
    return value


for _at, _where in ((0, "first"), (-1, "last")):
    for _size in POWERS:
        for _field, _said in (("v_threshold", "threshold"), ("tau", "tau"), ("r", "gain")):
            NIR_FAULTS[f"NIR: {_where} {_said}, {_size:g}"] = _number(_at, _field, lambda v, e=_size: v * (1 + e))
        for _field, _said in (("v_reset", "reset potential"), ("v_leak", "leak potential")):
            NIR_FAULTS[f"NIR: {_where} {_said}, {_size:g}"] = _number(_at, _field, lambda v, e=_size: v + e)
        NIR_FAULTS[f"NIR: {_where} weights scaled, {_size:g}"] = _number(
            _at, "weight", lambda v, e=_size: v * (1 + e), _WEIGHTED
        )
        NIR_FAULTS[f"NIR: one weight of the {_where} layer, {_size:g}"] = _number(
            _at, "weight", lambda v, e=_size: _one(v, e), _WEIGHTED
        )
        NIR_FAULTS[f"NIR: {_where} bias, {_size:g}"] = _number(_at, "bias", lambda v, e=_size: v + e, _WEIGHTED)
    NIR_FAULTS[f"NIR: {_where} bias dropped"] = _number(_at, "bias", lambda v: 0 * v, _WEIGHTED)
    NIR_FAULTS[f"NIR: {_where} weights through float16"] = _number(
        _at, "weight", lambda v: v.astype(np.float16).astype(v.dtype), _WEIGHTED
    )
    NIR_FAULTS[f"NIR: two output channels of the {_where} layer swapped"] = _number(
        _at, "weight", lambda v: v[[1, 0, *range(2, len(v))]], _WEIGHTED
    )
    NIR_FAULTS[f"NIR: threshold of one neuron of the {_where} layer, 0.001"] = _number(
        _at, "v_threshold", lambda v: _one(v, 1e-3)
    )


def _without_node(graph: Any) -> None:
    """The last weighted node is left out: what came before it goes on to what came behind it."""
    name = next(n for n, node in graph.nodes.items() if node is _ordered(graph, _NEURONS)[0])
    sources = [a for a, b in graph.edges if b == name]
    targets = [b for a, b in graph.edges if a == name]
    graph.edges = [e for e in graph.edges if name not in e] + [(a, b) for a in sources for b in targets]
    del graph.nodes[name]


def _doubled(graph: Any) -> None:
    """One more edge: a layer's input is added to its own output's reader."""
    name = next(n for n, node in graph.nodes.items() if node is _ordered(graph, _NEURONS)[0])
    (source,) = [a for a, b in graph.edges if b == name]
    (target,) = [b for a, b in graph.edges if a == name]
    graph.edges.append((source, target))


def _missing(graph: Any) -> None:
    graph.edges.pop(len(graph.edges) // 2)


def _dt(graph: Any) -> None:
    graph.metadata["dt"] = 2.0 * float(graph.metadata["dt"])


NIR_FAULTS["NIR: a layer of neurons left out"] = _without_node
NIR_FAULTS["NIR: currents added past a layer of neurons"] = _doubled
NIR_FAULTS["NIR: an edge left out"] = _missing
NIR_FAULTS["NIR: another time step noted"] = _dt
NIR_FAULTS["NIR: kernel turned over"] = _number(0, "weight", lambda v: v[..., ::-1], ("Conv1d", "Conv2d"))
NIR_FAULTS["NIR: another padding"] = lambda graph: _padding(_ordered(graph, ("Conv1d", "Conv2d"))[0])


def _padding(node: Any) -> None:
    need(np.asarray(node.padding).dtype.kind in "iu" and np.asarray(node.padding).any())
    node.padding = 0 * np.asarray(node.padding)


def _field(kinds: tuple[str, ...], name: str, change: Callable[[np.ndarray], np.ndarray], at: int = 0) -> Any:
    """Changes a field of a node, and asks that it is another then."""

    def plant(graph: Any) -> None:
        node = _ordered(graph, kinds)[at]
        need(getattr(node, name, None) is not None)
        old = np.asarray(getattr(node, name))
        new = np.asarray(change(old.copy()))
        need(not np.array_equal(old, new))
        new = new.astype(old.dtype)
        setattr(node, name, new if new.ndim else new.item())  # the writer takes no scalars of NumPy

    return plant


def _swapped(name: str) -> Any:
    """Exchanges a field of the first two layers of neurons."""

    def plant(graph: Any) -> None:
        found = _ordered(graph, _NEURONS)
        need(len(found) > 1)
        a, b = np.asarray(getattr(found[0], name)), np.asarray(getattr(found[1], name))
        need(a.flat[0] != b.flat[0])
        setattr(found[0], name, np.full_like(a, b.flat[0]))
        setattr(found[1], name, np.full_like(b, a.flat[0]))

    return plant


for _at, _where in ((0, "first"), (-1, "last")):
    NIR_FAULTS[f"NIR: {_where} weights in another order"] = _field(_WEIGHTED, "weight", lambda w: w[::-1], _at)
    NIR_FAULTS[f"NIR: {_where} weights: one row lost"] = _field(
        _WEIGHTED, "weight", lambda w: np.concatenate([0 * w[:1], w[1:]]), _at
    )
    NIR_FAULTS[f"NIR: {_where} weights: the largest negated"] = _field(
        _WEIGHTED, "weight", lambda w: np.where(np.abs(w) == np.abs(w).max(), -w, w), _at
    )
    NIR_FAULTS[f"NIR: {_where} bias negated"] = _field(_WEIGHTED, "bias", lambda b: -b, _at)
    NIR_FAULTS[f"NIR: {_where} bias in another order"] = _field(_WEIGHTED, "bias", lambda b: np.roll(b, 1), _at)
    NIR_FAULTS[f"NIR: {_where} time constant of one neuron"] = _field(_NEURONS, "tau", lambda v: _one(v, 0.01), _at)
    NIR_FAULTS[f"NIR: {_where} gain of one neuron"] = _field(_NEURONS, "r", lambda v: _one(v, 0.01), _at)
    NIR_FAULTS[f"NIR: {_where} reset potential of one neuron"] = _field(
        _NEURONS, "v_reset", lambda v: np.where(np.arange(v.size).reshape(v.shape) == 1, v + 0.1, v), _at
    )
NIR_FAULTS["NIR: thresholds of two layers exchanged"] = _swapped("v_threshold")
NIR_FAULTS["NIR: another stride"] = _field(("Conv1d", "Conv2d"), "stride", lambda s: s + 1, -1)
NIR_FAULTS["NIR: another dilation"] = _field(("Conv1d", "Conv2d"), "dilation", lambda d: d + 1)
