"""Spares torch's exporter a trace of a program that would come to the same program."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from neurokit.export.onnx.pooling import is_written_here


def ready(program: Any, written: Collection[Any]) -> Any:
    """Returns a program that torch's exporter takes as it is, or the program itself where it must decompose it.

    The exporter decomposes what ONNX has no operator for, which is a trace of the whole program and half the time of
    an export. A captured program is written out of place already; where each of its operations has a translation,
    there is nothing to decompose.

    Args:
        program: A captured program.
        written: Operations that have a translation of neurokit's own.
    """
    import torch
    from torch.onnx._internal.exporter import _decomp, _registration

    if any(isinstance(part, torch.fx.GraphModule) for _, part in program.graph_module.named_children()):
        return program  # the body of a loop
    known = {*_decomp.get_onnx_implemented_overloads(_registration.ONNXRegistry.from_torchlib()), *written}
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OperatorBase):
            continue
        if node.target not in known and not is_written_here(node):
            return program
    made = copy.copy(program)
    made._graph_module = copy.deepcopy(program.graph_module)  # the exporter writes into what it did not trace
    made.run_decompositions = lambda *_: made
    return made
