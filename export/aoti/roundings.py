"""Bounds of a program in 16 bits: how often a number is rounded to them between one layer of neurons and the next."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

from neurokit.program.nodes import NEURONS, is_op
from neurokit.program.ops import UNROUNDED, Kind, kind_of

if TYPE_CHECKING:
    from neurokit.parity.vectors import Vectors

_HALVES = (torch.float16, torch.bfloat16)
# Unit roundoff over float32's, twice: weights and inputs are rounded, too (at most once each a product). For networks
# with operations that do more to their terms than round them.
_COARSER = {"float16": 2.0 * 2.0**13, "bfloat16": 2.0 * 2.0**16}
Count = int | None  # None: not known, since an operation does more to its terms than round them

# How often an operation rounds to its own type, at most; what is added inside of it is added in float32. A product's
# bias may be added to the rounded sum, and a mean divided. A normalisation's parameters are rounded, one of them within
# a root.
_OWN = {
    Kind.CAST: 1,
    Kind.CREATE: 1,
    Kind.ADD: 1,
    Kind.MULTIPLY: 1,
    Kind.CONVOLVE: 2,
    Kind.LINEAR: 2,
    Kind.PRODUCT: 2,
    Kind.SUM: 2,
    Kind.POOL: 2,
    Kind.NORMALISE: 4,
}
_FACTORS = (Kind.MULTIPLY, Kind.CONVOLVE, Kind.LINEAR, Kind.PRODUCT)  # whose operands' roundings add up


def roundings(module: GraphModule) -> tuple[list[Count], list[Count]]:
    """Returns how often any term of each layer's current, and of each output, is rounded to 16 bits at most.

    Sums count as rounded once, at their end: the kernels, their definitions and PyTorch on a CPU add 16 bits in
    float32. Spikes are exact, and membranes are in float32.

    Args:
        module: The program, its weights in 16 bits, before kernels take in anything.

    Returns:
        One number a layer, in the order of the program, and one an output; None where it is not known.
    """
    counts: dict[Node, Count] = {}
    currents: list[Count] = []
    for node in module.graph.nodes:
        counts[node] = _count(node, counts)
        if is_op(node, NEURONS) or node.op == "call_module":  # a rare neuron
            currents.append(counts.get(node.args[0]))  # type: ignore[arg-type]
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    return currents, [counts.get(value) if isinstance(value, Node) else None for value in output.args[0]]  # type: ignore[union-attr]


def _count(node: Node, counts: dict[Node, Count]) -> Count:
    if node.op == "placeholder":
        return 0
    if node.op == "get_attr":
        return 1 if _half(node) else 0
    if node.op != "call_function":
        return None
    if node.target is operator.getitem and is_op(node.args[0], NEURONS):
        return 0 if node.args[1] == 0 else None  # a membrane that something reads
    kind = kind_of(node.target)
    if kind is Kind.SIZE:
        return 0
    if kind not in _OWN and kind not in UNROUNDED:
        return None
    parts = [counts[one] for one in tree_leaves((node.args, node.kwargs)) if isinstance(one, Node)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or (len(parts) > 3 and kind in _FACTORS):
        return None
    own = _OWN.get(kind, 0) if _half(node) else 0
    return (sum(known) if kind in _FACTORS else max(known, default=0)) + own


def _half(node: Node) -> bool:
    return getattr(node.meta.get("val"), "dtype", None) in _HALVES


def most_by_name(names: Sequence[str], counts: Sequence[Count]) -> dict[str, int]:
    """Returns the largest count under every name, of which a layer's calls have the same; unknown ones are left out."""
    found: dict[str, list[Count]] = {}
    for name, count in zip(names, counts, strict=False):
        found.setdefault(name, []).append(count)
    return {name: max(filter(None, each), default=0) for name, each in found.items() if None not in each}


def in_16_bits(vectors: Vectors, precision: str, roundings: Mapping[str, Mapping[str, int]]) -> Vectors:
    """Returns the vectors with bounds of a coarser type; currents of layers that all fire may leave its range.

    Where it is known how often a term is rounded to 16 bits, that is what is added to the bound of float32; else each
    of its roundings is taken for one to 16 bits.

    Args:
        vectors: The test vectors, with bounds of float32.
        precision: "float16" or "bfloat16".
        roundings: By "layers" and "outputs", by name: how often a term is rounded to 16 bits.
    """
    of_layers, of_outputs = (roundings.get(name, {}) for name in ("layers", "outputs"))
    layers = tuple(
        replace(layer, bound=layer.bound * _coarser(precision, layer.rounded, of_layers.get(layer.path)))
        for layer in vectors.layers
    )
    outputs = {
        name: bound * _coarser(precision, vectors.rounded.get(name, 0), of_outputs.get(name))
        for name, bound in vectors.output_bounds.items()
    }
    said = f"rounding bounds are those of {precision} weights and currents"
    return replace(vectors, layers=layers, output_bounds=outputs, coverings=(), blind=(), notes=(*vectors.notes, said))


def _coarser(precision: str, fine: int, coarse: int | None) -> float:
    """Returns how much larger an error bound is where some of the roundings are to 16 bits.

    Args:
        precision: Which 16 bits.
        fine: How often a term is rounded in float32; 0 where that is not known.
        coarse: How often it is rounded to 16 bits; None where that is not known.
    """
    from neurokit.parity.rounding import UNIT, gamma
    from neurokit.parity.units import unit_of

    if not fine or coarse is None:
        return _COARSER[precision]
    own = gamma(fine, UNIT)
    return min(_COARSER[precision], 1.0 + gamma(coarse, unit_of(precision)) * (1.0 + own) / own)
