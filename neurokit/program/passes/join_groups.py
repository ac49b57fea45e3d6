"""Joins products that are each given a part of one value into one product of the whole, in groups of channels."""

from __future__ import annotations

import functools
import math
from typing import Any

from torch.fx import GraphModule, Node

from neurokit.program.fusions import FusedNeuron
from neurokit.program.nodes import aten, hints, is_op
from neurokit.program.passes.base import Pass
from neurokit.program.passes.join import alike, join_nodes
from neurokit.program.passes.join_parts import whole_groups

# Rows up to which fewer launches are known to be a gain: three products of 384 to 384 channels of 784 rows and their
# neurons took 15.6 us of a float16 Meta-SpikeFormer at batch 1, and take 5 as groups of one (an H200,
# benchmarks/results/float16-products-h200.md). More rows fill the GPU by themselves, and were not measured.
_ROWS = 4096


def _key(module: GraphModule, node: Node) -> Any:
    """Returns what products must have in common to be joined, or None of one that cannot be."""
    layer: Any = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    if not isinstance(layer, FusedNeuron) or layer.want_current or len(node.args) != 2:
        return None
    kind = layer.joins_parts
    part: Any = node.args[0]
    if kind is None or not is_op(part, {aten.narrow.default}) or part.args[1] != 1:
        return None
    batch, channels, *size = hints(part)
    return (part.args[0], channels, kind) if batch * math.prod(size) <= _ROWS else None


def _rewrite(module: GraphModule, device: str) -> None:
    for nodes in whole_groups(alike(module, _key)):
        layers: list[Any] = [module.get_submodule(str(node.target)) for node in nodes]
        source: Node = nodes[0].args[0].args[0]  # type: ignore[union-attr, assignment]
        join_nodes(module, nodes, layers[0].of_parts(layers[1:]), source, device)


def _left(module: GraphModule) -> list[str]:
    groups = whole_groups(alike(module, _key))
    return [f"{', '.join(node.name for node in nodes)} are apart" for nodes in groups]


def join_groups(device: str = "cpu") -> Pass:
    """Returns the pass that joins products of the parts of one value, few rows, that go into one kind of neuron.

    Args:
        device: Where the layers are run, alone and joined, to be compared.
    """
    words = "join products of the parts of one value that go into one kind of neuron"
    return Pass(words, functools.partial(_rewrite, device=device), after=_left)
