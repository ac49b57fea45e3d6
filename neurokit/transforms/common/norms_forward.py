"""Normalisations behind ReLUs, folded into the convolutions that read them, so that those read spikes alone.

ECAPA-TDNN normalises after its ReLUs, where no convolution before can take the normalisation in. A normalisation in
evaluation mode is `gain * x + shift` a channel, which is carried forward through chunks of channels, reflecting and
replicating pads (which only repeat elements), joins of channels and sums, up to the convolutions: these get weights
times the gain, and the shift in their bias. A convolution of a sum reads the summands side by side, with its weights
twice. All of it is exact in real numbers. A convolution that pads with zeros itself is left alone: at its border the
shift would be missing.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from neurokit.program import nodes
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.walk import fetch
from neurokit.transforms.common.graph import is_relu, set_weights, weights_of

_REPEATING = ("reflect", "replicate", "circular")


@dataclass(frozen=True)
class Term:
    """A summand of a value: `gain * node + shift`, with a gain and a shift for each channel `[C]`, in float64."""

    node: fx.Node
    gain: Tensor
    shift: Tensor

    @property
    def plain(self) -> bool:
        """Whether it is the node itself."""
        return bool((self.gain == 1).all() and (self.shift == 0).all())


def fold_norms_forward(graph: fx.GraphModule) -> int:
    """Folds normalisations behind ReLUs into the convolutions that read nothing but ReLUs; returns how many those are.

    Args:
        graph: A captured network, in evaluation mode. It is changed; what other nodes read of a normalisation stays.
    """
    found = _Terms(graph)
    done = 0
    for node in list(graph.graph.nodes):
        if not (is_kind(node, Kind.CONVOLVE) and nodes.is_weighted(node) and _takes_shifts(node)):
            continue
        terms = found.of(node.args[0])
        if terms is None or all(term.plain for term in terms):
            continue
        _read(graph, node, terms)
        done += 1
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.recompile()
    return done


class _Terms:
    """Finds the summands of values, and puts what carries them into the graph."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._graph = graph
        self._known: dict[fx.Node, list[Term] | None] = {}

    def of(self, node: Any) -> list[Term] | None:
        """Returns the summands of a node, each made of ReLUs alone; None where there is something else in it."""
        if not isinstance(node, fx.Node):
            return None
        if node not in self._known:
            self._known[node] = self._found(node)
        return self._known[node]

    def _found(self, node: fx.Node) -> list[Term] | None:
        if is_relu(node):
            count = nodes.hints(node)[1]
            return [Term(node, torch.ones(count).double(), torch.zeros(count).double())]
        if is_named(node, ("batch_norm",)):
            return self._normalised(node)
        if node.target is operator.getitem:
            return self._part(node)
        if is_named(node, ("pad",)) and len(node.args) > 2 and node.args[2] in _REPEATING:
            return self._again(node)
        if is_named(node, ("cat",)) and (node.args[1] if len(node.args) > 1 else 0) == 1:
            return self._joined(node)
        if is_named(node, ("add",)) and len(node.args) == 2 and not node.kwargs:
            return self._sum(node)
        return None

    def _normalised(self, node: fx.Node) -> list[Term] | None:
        inner, training = self.of(node.args[0]), bool(node.args[5])
        if inner is None or len(inner) != 1 or training:
            return None
        given = [None if arg is None else fetch(self._graph, str(arg.target)).detach() for arg in node.args[1:5]]  # type: ignore[union-attr]
        weight, bias, mean, var = (None if value is None else value.double() for value in given)
        if mean is None or var is None:
            return None
        eps = next(float(arg) for arg in reversed(node.args) if isinstance(arg, float))
        gain = (var + eps).rsqrt() * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - mean * gain
        return [Term(inner[0].node, inner[0].gain * gain, inner[0].shift * gain + shift)]

    def _part(self, node: fx.Node) -> list[Term] | None:
        cut: Any = node.args[0]
        along = is_named(cut, ("chunk",)) and len(cut.args) == 3 and cut.args[2] == 1
        inner = self.of(cut.args[0]) if along else None
        if inner is None or len(inner) != 1:
            return None
        which: Any = node.args[1]
        (term,) = inner
        if term.node is cut.args[0]:
            raw = node
        else:
            with self._graph.graph.inserting_before(cut):
                made = self._copy(cut, term.node, *cut.args[1:])
            with self._graph.graph.inserting_before(node):
                raw = self._copy(node, made, *node.args[1:])
        return [Term(raw, term.gain.chunk(cut.args[1])[which], term.shift.chunk(cut.args[1])[which])]

    def _again(self, node: fx.Node) -> list[Term] | None:
        """Repeats an operation that only repeats elements on every summand."""
        inner = self.of(node.args[0])
        widths: Any = node.args[1]
        if inner is None or len(widths) > 2 * (len(nodes.hints(node)) - 2):
            return None
        made = []
        with self._graph.graph.inserting_before(node):
            for term in inner:
                raw = node if term.node is node.args[0] else self._copy(node, term.node, *node.args[1:])
                made.append(Term(raw, term.gain, term.shift))
        return made

    def _joined(self, node: fx.Node) -> list[Term] | None:
        parts: Any = node.args[0]
        inner = [self.of(part) for part in parts]
        if any(terms is None or len(terms) != 1 for terms in inner):
            return None
        each = [terms[0] for terms in inner if terms is not None]
        with self._graph.graph.inserting_before(node):
            raw = self._copy(node, [term.node for term in each], *node.args[1:])
        return [Term(raw, torch.cat([term.gain for term in each]), torch.cat([term.shift for term in each]))]

    def _sum(self, node: fx.Node) -> list[Term] | None:
        first, second = (self.of(arg) for arg in node.args)
        if first is None or second is None or nodes.hints(node.args[0]) != nodes.hints(node.args[1]):  # type: ignore[arg-type]
            return None
        return first + second

    def _copy(self, node: fx.Node, *arguments: Any) -> fx.Node:
        made = self._graph.graph.call_function(node.target, arguments, dict(node.kwargs))  # type: ignore[arg-type]
        made.meta = dict(node.meta)
        return made


def _takes_shifts(node: fx.Node) -> bool:
    """Whether a convolution without groups reads no zeros that it puts around its input."""
    arguments = dict(enumerate(node.args))
    padding, groups = arguments.get(4, 0), arguments.get(6, 1)
    none = padding == "valid" or (not isinstance(padding, str) and set(nodes.pair(padding)) == {0})
    return none and bool(groups == 1)


def _read(graph: fx.GraphModule, node: fx.Node, terms: list[Term]) -> None:
    """Lets a convolution read its summands side by side, with gains and shifts in its weights and bias."""
    weight, bias = weights_of(graph, node)
    full = weight.double()
    raw = terms[0].node
    if len(terms) > 1:
        with graph.graph.inserting_before(node):
            raw = graph.graph.call_function(torch.ops.aten.cat.default, ([term.node for term in terms], 1))
        raw.meta = dict(node.args[0].meta)  # type: ignore[union-attr]
        raw.meta["val"] = torch.cat([term.node.meta["val"] for term in terms], 1)
    shift = sum((full.flatten(2).sum(2) @ term.shift for term in terms), torch.zeros(len(weight)).double())
    scaled = torch.cat([full * term.gain.reshape(1, -1, *(1,) * (full.dim() - 2)) for term in terms], 1)
    set_weights(
        graph, node, scaled.to(weight.dtype), (shift if bias is None else bias.double() + shift).to(weight.dtype)
    )
    node.args = (raw, *node.args[1:])
