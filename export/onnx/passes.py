"""Rewrites of the ONNX graph: what torch's exporter and onnxscript leave to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir


def clean(model: ir.Model) -> None:
    """Folds constants and batch normalisation, shares equal subgraphs, drops what is unused and every note."""
    import onnx_ir as ir
    import onnx_ir.passes.common as common
    import onnxscript.optimizer
    from onnxscript import rewriter
    from onnxscript.rewriter.rules.common import _fuse_batchnorm

    general = rewriter.RewritePass(by_operator(rewriter._DEFAULT_REWRITE_RULES))
    normalisations = by_operator(_fuse_batchnorm.rules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnxscript.optimizer.fold_constants(model, onnx_shape_inference=False, should_fold=_of_no_parameter(model))
        for step in (
            general,
            common.RemoveUnusedNodesPass(),
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            common.LiftSubgraphInitializersToMainGraphPass(),
            common.DeduplicateInitializersPass(),
            common.CommonSubexpressionEliminationPass(),
            common.OutputFixPass(),
            common.NameFixPass(),
        ):
            step(model)
        pad_inside_convolution(model)
        for _ in range(2):  # a batch normalisation after another one meets a convolution in the second round
            rewriter.rewrite(model, pattern_rewrite_rules=normalisations)
        for step in (
            common.CommonSubexpressionEliminationPass(),
            common.IdentityEliminationPass(),
            common.RemoveUnusedNodesPass(),
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            common.DeduplicateInitializersPass(),
            common.RemoveUnusedFunctionsPass(),
            common.RemoveUnusedOpsetsPass(),
        ):
            step(model)
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in graph.all_nodes():
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    distinct_outputs(attribute.as_graph())
    strip_metadata(model)


def _of_no_parameter(model: ir.Model) -> Callable[[ir.Node], bool | None]:
    """Returns what says True of nodes that are made of constants and no parameter, else None: what suits their size.

    A network may draw a mask when it is called, region by region: of 48 voxels a side that is more than onnxscript
    folds by itself, and was 162 nodes of `swin_unetr`.
    """
    held = {id(value) for value in model.graph.initializers.values()}
    return lambda node: None if any(id(value) in held for value in node.inputs) else True


class _OneOperator:
    """A rule that is tried only at nodes of the operator that its pattern ends with.

    onnxscript tries every rule at every node, and lists the whole graph anew for each try of a pattern with several
    outputs: with a few thousand nodes, a third of the time of an export.
    """

    def __init__(self, rule: Any, operator: Any) -> None:
        self._rule, self._operator = rule, operator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rule, name)

    def try_rewrite(self, model: ir.Model, graph: Any, node: ir.Node, **options: Any) -> Any:
        """Returns what the rule makes of a node, or None."""
        if node.op_identifier() != self._operator or not self._has_others(node):
            return None
        return self._rule.try_rewrite(model, graph, node, **options)

    def _has_others(self, node: ir.Node) -> bool:
        """Whether a node may be the first output of a pattern with several that read the same value.

        onnxscript tries it with every other node of the graph, which of a thousand slices is a million times.
        """
        first, *others = self._rule._target_pattern.output_nodes
        alike = all(o.inputs[:1] == first.inputs[:1] and o.op_identifier() == self._operator for o in others)
        if not others or not first.inputs or not alike:
            return True
        read = node.inputs[0]
        return read is not None and sum(user.op_identifier() == self._operator for user in read.consumers()) > 1


def by_operator(rules: Sequence[Any]) -> Any:
    """Returns onnxscript's rules as a set in which each is tried at nodes of its own operator alone."""
    from onnxscript.rewriter import RewriteRuleSet

    made = []
    for rule in rules:
        last = getattr(getattr(rule, "_target_pattern", None), "output_nodes", ())
        operator = last[0].op_identifier() if last else None
        made.append(rule if operator is None else _OneOperator(rule, operator))
    return RewriteRuleSet(made)


def distinct_outputs(graph: ir.Graph, names: Sequence[str] = ()) -> None:
    """Gives outputs of equal values nodes and names of their own.

    A loop's state may be the output of the network. In the body of a Scan, ONNX Runtime mixes such outputs up.
    Where two outputs have become one value, it may have kept the name of either.
    """
    import onnx_ir as ir

    seen: set[int] = set()
    for index, value in enumerate(list(graph.outputs)):
        if id(value) not in seen:
            seen.add(id(value))
            continue
        name = names[index] if names else f"{value.name}_{index}"
        copy = ir.Node("", "Identity", [value], num_outputs=1, name=name)
        made = copy.outputs[0]
        made.name, made.shape, made.type = name, value.shape, value.type
        graph.append(copy)
        graph.outputs[index] = made
    for value, name in zip(graph.outputs, names, strict=False):
        value.name = name


def pad_inside_convolution(model: ir.Model) -> None:
    """Moves a zero padding that follows a 1x1 convolution without bias into that convolution.

    The convolution maps zeros to zeros, so the two commute; batch normalisation can then be folded behind it.
    """
    import onnx_ir as ir

    for pad in list(model.graph):
        if pad.op_type != "Pad" or not _pads_zeros(pad):
            continue
        conv = pad.inputs[0].producer() if pad.inputs[0] is not None else None
        pads = _spatial_pads(pad)
        if pads is None or conv is None or not _is_plain_pointwise(conv):
            continue
        conv.attributes["pads"] = ir.AttrInt64s("pads", pads)
        conv.outputs[0].shape = pad.outputs[0].shape
        ir.convenience.replace_all_uses_with(pad.outputs[0], conv.outputs[0])
        model.graph.remove(pad, safe=True)


def _pads_zeros(pad: ir.Node) -> bool:
    mode = pad.attributes.get("mode")
    if mode is not None and mode.as_string() != "constant":
        return False
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    return value is None or (value.const_value is not None and float(value.const_value.numpy().reshape(-1)[0]) == 0.0)


def _spatial_pads(pad: ir.Node) -> list[int] | None:
    """Returns the padding of the axes after batch and channel, or None if it is unknown or pads those two."""
    amounts = pad.inputs[1].const_value if pad.inputs[1] is not None else None
    if amounts is None or (len(pad.inputs) > 3 and pad.inputs[3] is not None):
        return None
    flat = [int(value) for value in amounts.numpy()]
    half = len(flat) // 2
    if half < 3 or any(flat[i] for i in (0, 1, half, half + 1)) or min(flat) < 0:
        return None
    return flat[2:half] + flat[half + 2 :]


def _is_plain_pointwise(conv: ir.Node) -> bool:
    if conv.op_type != "Conv" or len(conv.outputs[0].uses()) != 1:
        return False
    if len(conv.inputs) > 2 and conv.inputs[2] is not None:
        return False
    weight = conv.inputs[1]
    strides, pads = conv.attributes.get("strides"), conv.attributes.get("pads")
    return (
        weight is not None
        and weight.shape is not None
        and all(size == 1 for size in list(weight.shape)[2:])
        and (strides is None or all(stride == 1 for stride in strides.as_ints()))
        and (pads is None or not any(pads.as_ints()))
    )


def strip_metadata(model: ir.Model) -> None:
    """Drops the exporter's notes (they hold stack traces with paths of this machine); keeps module paths."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph.all_nodes():  # the body of a Scan has notes as well
            kept = {k: v for k, v in node.metadata_props.items() if k.startswith("neurokit.")}
            node.metadata_props.clear()
            node.metadata_props.update(kept)
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
        graph.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
        value.doc_string = None
    model.metadata_props.clear()
    model.doc_string = None
    model.graph.name = "neurokit"
    model.graph.doc_string = None
    model.producer_name = "neurokit"
    model.producer_version = None


def node_count(model: ir.Model) -> int:
    """Returns the number of nodes of a model with its functions inlined and its subgraphs counted.

    They are counted where they stand: inlining copies the whole model, weights too, several times.
    """
    import onnx_ir as ir

    known: dict[Any, int] = {}

    def body(identifier: Any) -> int:
        if identifier not in known:
            known[identifier] = count(model.functions[identifier])
        return known[identifier]

    def count(nodes: Iterable[ir.Node]) -> int:
        return sum(
            body(identifier)
            if (identifier := node.op_identifier()) in model.functions
            else 1 + sum(count(a.as_graph()) for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH)
            for node in nodes
        )

    return count(model.graph)
