"""Spares torch's exporter a trace of a program that would come to the same program."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from neurokit.export.onnx.pooling import is_written_here
from neurokit.export.onnx.table import read_table


def ready(program: Any, written: Collection[Any], opset: int) -> Any:
    """Returns a program that torch's exporter takes as it is, or the program itself where it must decompose it.

    The exporter decomposes what ONNX has no operator for, which is a trace of the whole program and half the time of
    an export. A captured program is written out of place already; where each of its operations has a translation,
    there is nothing to decompose.

    Args:
        program: A captured program.
        written: Operations that have a translation of neurokit's own.
        opset: The opset that the exporter is asked for.
    """
    import torch
    from torch.onnx._internal.exporter import _decomp, _registration

    if any(isinstance(part, torch.fx.GraphModule) for _, part in program.graph_module.named_children()):
        return program  # the body of a loop
    known = {*_decomp.get_onnx_implemented_overloads(_table(opset, _registration.ONNXRegistry.from_torchlib)), *written}
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OperatorBase):
            continue
        if node.target not in known and not is_written_here(node):
            return program
    made = copy.copy(program)
    made._graph_module = copy.deepcopy(program.graph_module)  # the exporter writes into what it did not trace
    return made


@contextmanager
def one_registry() -> Iterator[None]:
    """Lets torch's exporter take its table of translations from the one that was read before.

    It parses a thousand functions for it at every export: a third of what is left of exporting a small model.
    """
    from torch.onnx._internal.exporter import _registration

    kind: Any = _registration.ONNXRegistry
    before, read = kind.__dict__["from_torchlib"], kind.from_torchlib

    def shared(opset_version: int = _registration._constants.TORCHLIB_OPSET) -> Any:
        made = copy.copy(_table(opset_version, read))
        made.functions = {name: list(found) for name, found in made.functions.items()}  # a caller's are added
        return made

    kind.from_torchlib = staticmethod(shared)
    try:
        yield
    finally:
        kind.from_torchlib = before


@contextmanager
def known_values() -> Iterator[None]:
    """Lets torch's exporter promote types by the shapes and types that a program holds already.

    It runs every node again for them, which was half of what is left of lowering a small model. A node that it changes
    is run as before, and so are all behind one whose result has another type by that.
    """
    import torch
    from torch.onnx._internal.fx.passes import type_promotion

    kind: Any = type_promotion._TypePromotionInterpreter
    before = kind.run_node

    def run_node(self: Any, node: Any) -> Any:
        if node.op != "call_function" or "val" not in node.meta or getattr(self, "changed", False):
            return before(self, node)
        _limit_by_floats(node)
        rule = type_promotion.get_type_promotion_rule(node, self.type_promotion_table)
        if rule is not None:
            given, held = (node.target, node.args, dict(node.kwargs)), node.meta["val"]
            with self._set_current_node(node):
                self._maybe_promote_node(node, rule)
            if given != (node.target, node.args, dict(node.kwargs)):
                found = torch.fx.Interpreter.run_node(self, node)
                self.changed = _types(found) != _types(held)
                return found
        return node.meta["val"]

    kind.run_node = run_node
    try:
        yield
    finally:
        kind.run_node = before


def _limit_by_floats(node: Any) -> None:
    """Writes whole-number limits of real numbers with a point.

    Torch's exporter would make a tensor of `clamp(x, 0, 0.95)`'s first limit alone, and there is no such `clamp`.
    """
    import torch

    if node.target is torch.ops.aten.clamp.default and node.meta["val"].is_floating_point():
        node.args = tuple(float(value) if isinstance(value, int) else value for value in node.args)
        node.kwargs = {name: float(v) if isinstance(v, int) else v for name, v in node.kwargs.items()}


def _types(value: Any) -> list[Any]:
    """Returns the types of a node's results."""
    import torch

    return [getattr(leaf, "dtype", type(leaf)) for leaf in torch.utils._pytree.tree_leaves(value)]


@contextmanager
def as_it_is(program: Any, given: Any) -> Iterator[None]:
    """Lets torch's exporter take a program that is ready without the table by which it would decompose it.

    Args:
        program: What `ready` returned.
        given: What it was given; the same program is not ready, and decomposed as ever.
    """
    if program is given:
        yield
        return
    from torch.onnx._internal.exporter import _fx_passes

    kind: Any = _fx_passes
    before = kind.decompose_with_registry
    kind.decompose_with_registry = lambda asked, registry: asked if asked is program else before(asked, registry)
    try:
        yield
    finally:
        kind.decompose_with_registry = before


_TABLES: dict[int, Any] = {}


def _table(opset: int, read: Callable[[int], Any]) -> Any:
    """Returns what has a translation at an opset; nobody may add to it."""
    if opset not in _TABLES:
        _TABLES[opset] = read_table(opset, read)
    return _TABLES[opset]
