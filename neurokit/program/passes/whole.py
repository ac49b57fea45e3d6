"""Gives a kernel one tensor where all that it takes are parts of it, so that no part is copied."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from torch.fx import GraphModule, Node

from neurokit.program.fusions import FusedNeuron
from neurokit.program.passes.base import Pass
from neurokit.program.passes.carry import fused_nodes
from neurokit.program.passes.join import JoinedPart
from neurokit.program.walk import copied


def _whole_of(module: GraphModule, spikes: Any) -> tuple[Node, int, int] | None:
    """Returns what spikes are channels of: (all of them, first channel, channels); or None."""
    if not isinstance(spikes, Node) or spikes.target is not operator.getitem or spikes.args[1] != 0:
        return None
    source: Any = spikes.args[0]
    layer = module.get_submodule(str(source.target)) if source.op == "call_module" else None
    return (source.args[-1], layer.first, layer.count) if isinstance(layer, JoinedPart) else None


def _found(module: GraphModule) -> Iterator[tuple[Node, FusedNeuron, Node]]:
    """Yields the layers whose kernels can read one tensor, with the layers that do so and what they read."""
    for node, layer in list(fused_nodes(module)):
        parts = [_whole_of(module, one) for place, one in enumerate(node.args) if place != 1]
        known = [part for part in parts if part is not None]
        if len(known) < 2 or len(known) < len(parts) or len({(whole, count) for whole, _, count in known}) > 1:
            continue
        made = layer.of_one([first for _, first, _ in known], known[0][2])
        if made is not None:
            yield node, made, known[0][0]


def _rewrite(module: GraphModule) -> None:
    for node, made, whole in _found(module):
        name = f"{node.target}_of_one"
        module.add_module(name, made)
        node.target, node.args = name, (whole, node.args[1])
    module.graph.eliminate_dead_code()


def _left(module: GraphModule) -> list[str]:
    return [f"{node.name} is given parts of {whole.name}" for node, _, whole in _found(module)]


_PASS = Pass("give kernels one tensor in the place of its parts", _rewrite, after=_left)


def read_whole(module: GraphModule) -> GraphModule:
    """Returns a copy of a program in which attention reads query, key and value where their product put them.

    The probing twin stays as it is: it puts other spikes in the place of each.

    Args:
        module: The program, after `join`.
    """
    made = copied(module)
    _PASS(made)
    made.recompile()
    return made
