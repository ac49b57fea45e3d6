"""Joins products of one input into one: rows of the weights one below the other, results as views of the whole."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.program.fusions import FusedNeuron, through_reshapes
from neurokit.program.nodes import aten, hints, is_op, is_weighted
from neurokit.program.passes.base import Pass, PassError
from neurokit.program.walk import fetch, store

_HALVES = (torch.float16, torch.bfloat16)


class Joined(nn.Module):
    """Layers of one input and one kind of neuron in one call of their kernel.

    Args:
        whole: The layer that computes them all.
    """

    def __init__(self, whole: FusedNeuron) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x: Tensor, v0: Tensor) -> Tensor:
        """Returns the spikes of all layers, side by side on the axis of channels."""
        spikes: Tensor = self.whole(x, v0)[0]
        return spikes


class JoinedPart(FusedNeuron):
    """One of the layers: its channels of what all of them gave.

    Args:
        layer: What it was alone, for its current in a probing twin.
        first: Its first channel.
    """

    int8_places = (0, 2)

    def __init__(self, layer: FusedNeuron, first: int) -> None:
        super().__init__(layer.neuron)
        self.layer, self.kind = layer, layer.kind
        self.axis, self.first, self.count = layer.channel_axis, first, layer.channels

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Takes input, membrane and the spikes of all; returns its own."""
        spikes = given[2].narrow(self.axis, self.first, self.count).to(self.kind)
        return self.results(spikes, given[1].clone(), None, given)

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the current by the operations that the program had."""
        return self.layer.plain(*given[:2])


def _key(module: GraphModule, node: Node) -> Any:
    """Returns what layers must have in common to be joined, or None of one that cannot be."""
    layer = module.get_submodule(str(node.target)) if node.op == "call_module" and node.meta.get("fused") else None
    if not isinstance(layer, FusedNeuron) or layer.want_current or len(node.args) != 2:
        return None
    kind = layer.joins_with
    source, _ = through_reshapes(node.args[0])
    shape = tuple(str(size) for size in node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    return None if kind is None else (source, shape, kind)


def alike(module: GraphModule, key_of: Callable[[GraphModule, Node], Any]) -> list[list[Node]]:
    """Returns the nodes of a program that have a key in common with others, in its order.

    Args:
        module: The program.
        key_of: Returns a node's key, or None of one that is like no other.
    """
    found: dict[Any, list[Node]] = {}
    for node in module.graph.nodes:
        key = key_of(module, node)
        if key is not None:
            found.setdefault(key, []).append(node)
    return [nodes for nodes in found.values() if len(nodes) > 1]


def _rewrite(module: GraphModule, device: str) -> None:
    for nodes in alike(module, _key):
        layers: list[Any] = [module.get_submodule(str(node.target)) for node in nodes]
        join_nodes(module, nodes, layers[0].beside(layers[1:]), nodes[0].args[0], device)


def join_nodes(module: GraphModule, nodes: Sequence[Node], layer: FusedNeuron, source: Any, device: str) -> None:
    """Has one layer compute the spikes of several, of which each is then its channels of the whole.

    Args:
        module: The program.
        nodes: The layers' nodes, of input and membrane, in the order of their channels.
        layer: What computes them all.
        source: What it is given.
        device: Where the layers are run, alone and joined, to be compared.

    Raises:
        PassError: If a spike differs.
    """
    layers: list[Any] = [module.get_submodule(str(node.target)) for node in nodes]
    name = f"joined_{nodes[0].name}"
    module.add_module(name, Joined(layer))
    _check(module.get_submodule(name), layers, nodes, source, device)
    first_of_all = min(nodes)  # in the program's order, which need not be that of the channels
    with module.graph.inserting_before(first_of_all):
        whole = module.graph.call_module(name, (source, first_of_all.args[1]))
    whole.meta = {
        "val": torch.cat([node.meta["val"][0] for node in nodes], layers[0].channel_axis),
        "taken": "joined",
    }
    first = 0
    for node, one in zip(nodes, layers, strict=True):
        module.add_module(f"{node.target}_part", JoinedPart(one, first))
        node.target, node.args = f"{node.target}_part", (*node.args, whole)
        node.meta["joined"] = name
        first += one.channels


def _check(joined: nn.Module, layers: Sequence[FusedNeuron], nodes: Sequence[Node], source: Node, device: str) -> None:
    """Runs the layers alone and joined on the same spikes.

    Raises:
        PassError: If a spike differs.
    """
    generator = torch.Generator(device).manual_seed(0)
    start: Any = nodes[0].args[1]
    rest, whole = (
        (torch.rand(hints(one), generator=generator, device=device) < 0.3).to(one.meta["val"].dtype)
        for one in (start, source)
    )
    rest.zero_()

    def given(node: Node) -> Tensor:
        """Returns the input of a layer: the whole (by reshapes of its own, too), or its part."""
        part: Any = node.args[0]
        is_part = is_op(part, {aten.narrow.default}) and part.args[0] is source
        return whole.narrow(*part.args[1:]) if is_part else whole

    with torch.no_grad():
        alone = torch.cat(
            [layer.to(device)(given(node), rest)[0].float() for layer, node in zip(layers, nodes, strict=True)],
            layers[0].channel_axis,
        )
        together = joined.to(device)(whole, rest).float()
    for layer in (joined, *layers):
        layer.to("cpu")
    if alone.shape != together.shape or not bool(((alone != together).float().mean() <= _flips(layers)).all()):
        raise PassError(f"layers {', '.join(node.name for node in nodes)} give other spikes when they are joined")


def _flips(layers: Sequence[FusedNeuron]) -> float:
    """Returns the share of decisions that another order of summation may turn: none of whole numbers."""
    return 0.0 if all(value.dtype == torch.int8 for value in (layer.weight for layer in layers)) else 0.01


def _left(module: GraphModule) -> list[str]:
    return [f"{', '.join(node.name for node in nodes)} are apart" for nodes in alike(module, _key)]


def join(device: str = "cpu") -> Pass:
    """Returns the pass that joins products of one input that go into one kind of neuron.

    Args:
        device: Where the layers are run, alone and joined, to be compared.
    """
    words = "join products of one input that go into one kind of neuron"
    return Pass(words, functools.partial(_rewrite, device=device), after=_left)


def _plain_key(module: GraphModule, node: Node) -> Any:
    """Returns what plain convolutions in 16 bits must have in common to differ in their weights alone, or None."""
    if node.op != "call_function" or not is_weighted(node) or len(node.meta["val"].shape) != 4 or node.kwargs:
        return None
    given: list[Any] = [*node.args[1:3], None][:2]
    if not all(isinstance(one, Node) and one.op == "get_attr" for one in given if one is not None):
        return None
    weight = fetch(module, str(given[0].target))
    alone = node.args[6] == 1 if len(node.args) > 6 else True
    if weight.dtype not in _HALVES or weight.dim() != 4 or not alone:
        return None
    source, _ = through_reshapes(node.args[0])
    return source, tuple(weight.shape[1:]), given[1] is None, str(node.args[3:]), str(node.target)


def _rewrite_plain(module: GraphModule) -> None:
    for nodes in alike(module, _plain_key):
        first, graph = nodes[0], module.graph
        made: list[Any] = []
        for place, what in ((1, "weight"), (2, "bias")):
            held: list[Any] = [node.args[place] if len(node.args) > place else None for node in nodes]
            if held[0] is None:
                made.append(None)
                continue
            path = f"joined_{first.name}.{what}"
            store(module, path, torch.cat([fetch(module, str(one.target)).detach() for one in held]))
            with graph.inserting_before(first):
                made.append(graph.get_attr(path))
            made[-1].meta["val"] = torch.cat([one.meta["val"] for one in held])
        with graph.inserting_before(first):
            whole = graph.call_function(first.target, (first.args[0], *made, *first.args[3:]))  # type: ignore[arg-type]
        whole.meta = {**first.meta, "val": torch.cat([node.meta["val"] for node in nodes], 1)}
        begin = 0
        for node in nodes:
            count = node.meta["val"].shape[1]
            with graph.inserting_before(node):
                part = graph.call_function(aten.narrow.default, (whole, 1, begin, count))
            part.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(part)
            graph.erase_node(node)
            begin += count


def _left_plain(module: GraphModule) -> list[str]:
    return [f"{', '.join(node.name for node in nodes)} are apart" for nodes in alike(module, _plain_key)]


JOIN_PLAIN = Pass("join plain convolutions of one input in 16 bits", _rewrite_plain, after=_left_plain)
