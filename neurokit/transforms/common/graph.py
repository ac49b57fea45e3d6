"""A network of ReLUs as a graph that may be changed: its ReLUs, what they put out, and its normalisations folded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.graph import CodeGen
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from neurokit.capture import capture
from neurokit.errors import UnsupportedError
from neurokit.program import nodes
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.walk import fetch, store, without_guards
from neurokit.spec import ModelSpec
from neurokit.transforms.common.refusals import no_relus

_RELUS = ("relu", "relu6")
# ReLU6 and its like are ReLUs to a conversion: their upper end is at or above what a spike in every step stands for.
_NORM = ("gain", "shift", "mean", "var")
_MOMENTUM, _EPS = 0.1, 1e-5
_LIMITS = ("hardtanh", "clamp", "clamp_min")


def relu_graph(spec: ModelSpec) -> tuple[fx.GraphModule, list[fx.Node]]:
    """Captures a network and returns its graph, as a module of its own, and the ReLUs in it in order.

    Raises:
        UnsupportedError: If it spikes already or has no ReLU.
    """
    if spec.spiking:
        raise UnsupportedError(f"{spec.name!r} has neurons already", [no_relus(spec, "it is a spiking network")])
    graph = plain(capture(spec).program.module())
    places = [node for node in graph.graph.nodes if is_relu(node)]
    if not places:
        raise UnsupportedError(f"{spec.name!r} cannot be converted", [no_relus(spec, "it has no ReLU")])
    return graph, places


def plain(module: fx.GraphModule) -> fx.GraphModule:
    """Returns an exported program's graph without its guards, as a module that may be copied and changed."""
    graph = without_guards(module).graph
    graph.set_codegen(CodeGen())
    outputs = next(node for node in graph.nodes if node.op == "output")
    first = outputs.args[0]
    outputs.args = (first[0] if isinstance(first, tuple | list) else first,)
    return fx.GraphModule(module, graph)


def is_relu(node: fx.Node) -> bool:
    """Returns whether a node is a ReLU, or one with an upper end."""
    limits = is_named(node, _LIMITS) and len(node.args) > 1 and bool(node.args[1] == 0)
    return limits or is_named(node, _RELUS)


class Watch(fx.Interpreter):
    """Runs a graph and shows, or replaces, the results of chosen nodes.

    Args:
        module: The graph.
        places: The nodes.
        see: Called with a node and its result; what it returns takes the result's place, unless it is None.
    """

    def __init__(
        self, module: fx.GraphModule, places: Collection[fx.Node], see: Callable[[fx.Node, Tensor], Tensor | None]
    ) -> None:
        super().__init__(module)
        self._places, self._see = set(places), see

    def run_node(self, n: fx.Node) -> Any:
        """Runs one node."""
        result = super().run_node(n)
        if n in self._places:
            replaced = self._see(n, result)
            return result if replaced is None else replaced
        return result


def fold_batch_norms(graph: fx.GraphModule) -> int:
    """Folds each normalisation behind a convolution or linear map of one user into its weights; returns how many."""
    done = 0
    for node in list(graph.graph.nodes):
        if not is_named(node, ("batch_norm",)) or not nodes.is_weighted(node.args[0]):
            continue
        before = node.args[0]
        if len(before.users) != 1 or not _constants(before):
            continue
        gain, shift, mean, var = (None if arg is None else fetch(graph, str(arg.target)) for arg in node.args[1:5])
        eps = next(arg for arg in reversed(node.args) if isinstance(arg, float))
        weight, bias = weights_of(graph, before)
        fuse = fuse_linear_bn_weights if is_named(before, ("linear",)) else fuse_conv_bn_weights
        set_weights(graph, before, *fuse(weight, bias, mean, var, eps, gain, shift))  # type: ignore[arg-type]
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
        done += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return done


def with_batch_norms(graph: fx.GraphModule, x: Tensor) -> None:
    """Puts a normalisation behind each convolution that changes nothing on inputs `[B, *shape]`, to train through.

    Its statistics are those of the convolution's outputs and its gain and shift undo them, so that weights whose own
    normalisation was folded, or that never had one, train as well as those that have one.
    """
    places = [node for node in graph.graph.nodes if is_kind(node, Kind.CONVOLVE) and nodes.is_weighted(node)]
    seen: dict[fx.Node, tuple[Tensor, Tensor]] = {}

    def see(node: fx.Node, value: Tensor) -> None:
        axes = [0, *range(2, value.dim())]
        seen[node] = value.mean(axes), value.var(axes, correction=0)

    with torch.no_grad():
        Watch(graph, places, see).run(x)
    for node in places:
        mean, var = seen[node]
        start = ((var + _EPS).sqrt(), mean.clone(), mean, var)
        for name, value in zip(_NORM, start, strict=True):
            graph.register_buffer(f"{node.name}_{name}", value.clone())
        for name in _NORM[:2]:
            store(graph, f"{node.name}_{name}", getattr(graph, f"{node.name}_{name}"))
        with graph.graph.inserting_after(node):
            new = graph.graph.call_function(torch.ops.aten.batch_norm.default)
        node.replace_all_uses_with(new)
        with graph.graph.inserting_before(new):
            given = [graph.graph.get_attr(f"{node.name}_{name}") for name in _NORM]
        new.args, new.meta = (node, *given, False, _MOMENTUM, _EPS, False), dict(node.meta)
    graph.recompile()


def set_norms_training(graph: fx.GraphModule, training: bool) -> None:
    """Lets normalisations use and follow the statistics of each batch, or those that they have."""
    for node in graph.graph.nodes:
        if is_named(node, ("batch_norm",)):
            node.args = (*node.args[:5], training, *node.args[6:])
    graph.recompile()


def _constants(node: fx.Node) -> bool:
    return all(isinstance(arg, fx.Node) and arg.op == "get_attr" for arg in node.args[1:3] if arg is not None)


def weights_of(graph: fx.GraphModule, node: fx.Node) -> tuple[Tensor, Tensor | None]:
    """Returns weight `[C_out, ...]` and bias `[C_out]` of a convolution or linear map."""
    found = [fetch(graph, str(arg.target)).detach() for arg in node.args[1:3] if isinstance(arg, fx.Node)]
    return found[0], found[1] if len(found) > 1 else None


def set_weights(graph: fx.GraphModule, node: fx.Node, weight: Tensor, bias: Tensor | None) -> None:
    """Gives a convolution or linear map weights of its own, as parameters of the graph."""
    arguments = list(node.args) + [None] * (3 - len(node.args))
    for place, name, value in ((1, "weight", weight), (2, "bias", bias)):
        if value is None:
            continue
        path = f"{node.name}.{name}"
        store(graph, path, value)
        with graph.graph.inserting_before(node):
            arguments[place] = graph.graph.get_attr(path)
    node.args = tuple(arguments)


def drop_unused(graph: fx.GraphModule) -> None:
    """Removes parameters and buffers that no node reads any more, such as those of folded normalisations."""
    read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    called = tuple(f"{node.target}." for node in graph.graph.nodes if node.op == "call_module")
    for name in [name for name, _ in (*graph.named_parameters(), *graph.named_buffers())]:
        if name not in read and not name.startswith(called):
            parent, _, leaf = name.rpartition(".")
            delattr(graph.get_submodule(parent), leaf)


def linear_before(node: fx.Node) -> fx.Node | None:
    """Returns the convolution or linear map whose result is this node's input and nobody else's, or None."""
    before = node.args[0]
    single = isinstance(before, fx.Node) and nodes.is_weighted(before) and len(before.users) == 1
    return before if single and _constants(before) else None  # type: ignore[arg-type,return-value]


def channels_of(node: fx.Node) -> int:
    """Returns the number of channels (or features) of a node's result."""
    shape = nodes.hints(node)
    return shape[1] if len(shape) > 1 else 1


def channel_axis(node: fx.Node) -> int:
    """Returns the axis of the channels of an activation: the last behind a linear map, which may act on tokens."""
    before = linear_before(node)
    return -1 if before is not None and is_named(before, ("linear",)) else 1


def mean_of_channels(value: Tensor, axis: int) -> Tensor:
    """Returns the mean `[C]` of the channels of a tensor, which lie along an axis."""
    return value.movedim(axis, 0).flatten(1).mean(1)


def as_channels(values: Tensor, like: Tensor) -> Tensor:
    """Returns values `[C]` (or `[1]`) with axes to go with a tensor `[B, C, ...]`."""
    return values.reshape(1, -1, *(1,) * (like.dim() - 2))
