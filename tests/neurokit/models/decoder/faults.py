"""Faults that are planted into tiny_lm's graph: what `verify` must find, in every form."""

from contextlib import contextmanager

import numpy as np
import onnx
from onnx import helper, numpy_helper

from neurokit.models.decoder import TINY_LM

WEIGHTS = ("q", "k", "v", "o", "gate", "up", "down")


def graphs_of(graph):
    """Returns a graph and every branch in it."""
    inner = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [graph, *(found for branch in inner for found in graphs_of(branch))]


def nothing(model, weights):
    """The file as it is, which must pass."""


def restart_positions(model, weights):
    """The rotation of a call begins at 0, whatever is in the cache."""
    made = {name: node for node in model.graph.node for name in node.output}
    range_ = next(node.output[0] for node in model.graph.node if node.op_type == "Range")
    row = next(node.output[0] for node in model.graph.node if list(node.input)[:1] == [range_])
    place = next(node for node in model.graph.node if node.op_type == "Sub" and row in made[node.input[0]].input)
    place.input[0] = row


def begin_at_the_upper_left(model, weights):
    """A query sees the keys up to its place in the call, as where causality is counted without the past."""
    made = {name: node for node in model.graph.node for name in node.output}
    range_ = next(node.output[0] for node in model.graph.node if node.op_type == "Range")
    row = next(node.output[0] for node in model.graph.node if list(node.input)[:1] == [range_])
    seen = next(n for g in graphs_of(model.graph) for n in g.node if n.op_type == "LessOrEqual" and n.input[1] in made)
    made[seen.input[1]].input[0] = row


def repeat_in_the_wrong_order(model, weights):
    """Query head h reads key and value head h % Hk: the same as query heads in another order."""
    heads = np.arange(TINY_LM.heads).reshape(-1, TINY_LM.kv_heads).T.ravel()
    for layer in range(TINY_LM.layers):
        for name in ("q", "o"):
            with weights(layer, name) as w:
                by_head = w.reshape(64, 4, 16) if name == "q" else w.reshape(4, 16, 64)
                w[:] = (by_head[:, heads] if name == "q" else by_head[heads]).reshape(64, 64)


def interleave(model, weights):
    """Pairs (2i, 2i + 1) are rotated: the same as the rows of q and k in another order."""
    order = np.concatenate([np.arange(0, 16, 2), np.arange(1, 16, 2)])
    for layer in range(TINY_LM.layers):
        for name in ("q", "k"):
            with weights(layer, name) as w:
                w[:] = w.reshape(64, -1, 16)[:, :, order].reshape(w.shape)


def one_row(model, weights):
    """One row of one weight of the last layer is 1 % too large."""
    with weights(TINY_LM.layers - 1, "down") as w:
        w[:, 7] *= 1.01


def interleave_by_attribute(model, weights):
    """The rotation's own operator is told to take pairs (2i, 2i + 1)."""
    turned = [node for node in model.graph.node if node.op_type == "RotaryEmbedding"]
    assert len(turned) == 2 * TINY_LM.layers
    for node in turned:
        node.attribute.append(helper.make_attribute("interleaved", 1))


FAULTS = (nothing, restart_positions, begin_at_the_upper_left, repeat_in_the_wrong_order, interleave, one_row)


def planted(fault):
    """The edit of a model that plants a fault."""

    def edit(model):
        held = {tensor.name: tensor for tensor in model.graph.initializer}
        matrices = [n.input[1] for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in held]
        assert len(matrices) == 7 * TINY_LM.layers + 1

        @contextmanager
        def weights(layer, name):
            tensor = held[matrices[7 * layer + WEIGHTS.index(name)]]
            value = numpy_helper.to_array(tensor).copy()
            yield value
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))

        fault(model, weights)

    return edit


def check(report, fault):
    """A report says what it must of a fault, or of none."""
    assert report.verdict == ("within tolerance" if fault is nothing else "failed")
    assert any(note.startswith("text ") for note in report.notes) == (fault is not nothing)
    assert report.tokens_undecided == 0
    if fault in (restart_positions, begin_at_the_upper_left):  # the first call is right
        assert any("call 2 of 3" in note for note in report.notes)
        assert not any("call 1 of 3" in note for note in report.notes)
