"""Functions between neurons see the rates so far, so that a converted network comes to its source as T grows.

A mean over time passes through what is linear, and through nothing else: the mean of the sigmoid of single spikes is
not the sigmoid of their mean. So every value that depends on neurons is in one of two forms. Spikes and what is linear
in them are a sequence whose mean counts. What any other function (a sigmoid, a softmax, a product of activations, a
deviation) is made of is the running mean of that sequence up to each step, and so is its result z_t. Where weights,
neurons or the network's output read such a result they get `t z_t - (t - 1) z_(t-1)`, whose mean over T steps is z_T:
the function of the mean, exactly. (The expectation compensation of Huang et al., Towards High-performance Spiking
Transformers from ANN to SNN Conversion, ACM MM 2024.) Maxima of spikes stay spikes, as before.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor, fx, nn

from neurokit.program.ops import Kind, is_kind, kind_of
from neurokit.transforms.qcfs.layers import Spikes

_ANY = frozenset({Kind.KEEP, Kind.MOVE, Kind.PAD, Kind.JOIN, Kind.ADD, Kind.SUM, Kind.POOL, Kind.INTERPOLATE})
_LINEAR = _ANY | {Kind.NORMALISE, Kind.MAXIMUM}
_OF_ONE = frozenset({Kind.CONVOLVE, Kind.LINEAR, Kind.PRODUCT, Kind.MULTIPLY})
_OF_WEIGHTS = (Kind.CONVOLVE, Kind.LINEAR)
_NO_VALUES = (Kind.SIZE, Kind.CREATE)


class RunningMean(nn.Module):
    """The mean of a sequence up to each of its steps."""

    def forward(self, x: Tensor, sequence: Tensor) -> Tensor:
        """Takes and returns `[T * B, ...]`; T and B are the first two sizes of `sequence`."""
        total = x.unflatten(0, sequence.shape[:2]).cumsum(0)
        return (total / counts(total)).flatten(0, 1)


class Differences(nn.Module):
    """The sequence that a running mean is the mean of."""

    def forward(self, x: Tensor, sequence: Tensor) -> Tensor:
        """Takes and returns `[T * B, ...]`; T and B are the first two sizes of `sequence`."""
        total = x.unflatten(0, sequence.shape[:2])
        total = total * counts(total)
        return torch.cat([total[:1], total[1:] - total[:-1]]).flatten(0, 1)


def counts(x: Tensor) -> Tensor:
    """Returns 1 to T, with axes to go with a sequence `[T, B, ...]`."""
    steps = torch.arange(1, x.shape[0] + 1, device=x.device, dtype=x.dtype)
    return steps.reshape(-1, *(1,) * (x.dim() - 1))


def with_expectations(graph: fx.GraphModule) -> int:
    """Lets the functions of a spiking graph see running means; returns how many operations that are.

    Args:
        graph: A network with `Spikes` in it, whose second placeholder is the sequence.
    """
    work = _Forms(graph)
    for node in list(graph.graph.nodes):
        work.visit(node)
    graph.graph.lint()
    graph.recompile()
    return work.functions


class _Forms:
    """Goes through a graph in order and knows of each value whether it is a sequence or its running means."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._graph = graph
        self._sequence = [node for node in graph.graph.nodes if node.op == "placeholder"][1]
        self._means: dict[fx.Node, bool] = {}  # of what depends on neurons
        self._made: dict[fx.Node, fx.Node] = {}
        self.functions = 0

    def visit(self, node: fx.Node) -> None:
        """Chooses the form of one node's result, and gives the node what it needs."""
        given = [arg for arg in node.all_input_nodes if arg in self._means]
        if node.op == "call_module" and isinstance(self._graph.get_submodule(str(node.target)), Spikes):
            self._differ(node, node.args[0])
            self._means[node] = False
        elif node.op == "output":
            for arg in given:
                self._differ(node, arg)
        elif given and not is_kind(node, *_NO_VALUES):
            linear = _is_linear(node, self._means)
            mean = not linear or (all(self._means[arg] for arg in given) and not is_kind(node, *_OF_WEIGHTS))
            for arg in given:
                if mean and not self._means[arg]:
                    node.replace_input_with(arg, self._mean(arg))
                elif not mean:
                    self._differ(node, arg)
            self._means[node] = mean
            self.functions += not linear

    def _mean(self, node: fx.Node) -> fx.Node:
        if node not in self._made:
            self._made[node] = self._insert(node, RunningMean(), "mean", node)
        return self._made[node]

    def _differ(self, user: fx.Node, node: object) -> None:
        if isinstance(node, fx.Node) and self._means.get(node):
            user.replace_input_with(node, self._insert(node, Differences(), "differences", user, before=True))

    def _insert(self, node: fx.Node, module: nn.Module, what: str, place: fx.Node, before: bool = False) -> fx.Node:
        name = f"{what}_{node.name}" + (f"_{place.name}" if before else "")
        self._graph.add_submodule(name, module)
        graph = self._graph.graph
        with graph.inserting_before(place) if before else graph.inserting_after(place):
            made = graph.call_module(name, (node, self._sequence))
        made.meta = dict(node.meta)
        return made


def _is_linear(node: fx.Node, changing: Container[fx.Node]) -> bool:
    """Whether a node's result is linear (or affine) in what depends on neurons."""
    kind = kind_of(node.target) if node.op == "call_function" else None
    factors = [arg for arg in node.args if isinstance(arg, fx.Node) and arg in changing]
    if kind is Kind.DIVIDE:
        return factors == [node.args[0]]
    return kind in _LINEAR or (kind in _OF_ONE and len(factors) == 1)
