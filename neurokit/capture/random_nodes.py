"""Refuses a program that draws random numbers: what runs of the module show, a draw behind silent neurons does not."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from neurokit.capture.blame import RANDOM_FIX
from neurokit.errors import RandomNumbersError, Unsupported
from neurokit.program.nodes import module_paths
from neurokit.program.ops import Kind, kind_of, names_of
from neurokit.spec import ModelSpec

_OVERWRITES = {"zero", "zero_", "fill", "fill_"}


def refuse_draws(program: ExportedProgram, spec: ModelSpec, net: nn.Module) -> None:
    """Refuses operations that draw, by the module that they run in.

    Args:
        program: The captured program.
        spec: What it is of.
        net: The module that it was traced of.

    Raises:
        RandomNumbersError: If there are any whose numbers something reads.
    """
    drawing = [
        node
        for part in program.graph_module.modules()  # those of loops as well
        if isinstance(part, GraphModule)
        for node in part.graph.nodes
        if _draws(node) and any(map(_reads, node.users))
    ]
    reasons = list(dict.fromkeys(_reason(node, net) for node in drawing))
    if reasons:
        raise RandomNumbersError(f"model {spec.name!r} draws random numbers", reasons)


def _draws(node: Node) -> bool:
    """Returns whether an operation draws: a dropout does so in training, and with a share above 0, alone."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    given: dict[str, Any] = {argument.name: argument.default_value for argument in schema.arguments}
    given |= dict(zip(given, node.args, strict=False)) | dict(node.kwargs)
    trains = given.get("train", given.get("training"))
    if trains is None:
        return given.get("dropout_p", 1) != 0
    return bool(trains) and given.get("dropout", given.get("p", 1)) != 0


def _reads(node: Node) -> bool:
    """Returns whether an operation reads its operand's numbers: `torch.rand(n).zero_()` is published code."""
    return names_of(node.target)[1] not in _OVERWRITES and kind_of(node.target) not in (Kind.SIZE, Kind.CREATE)


def _reason(node: Node, net: nn.Module) -> Unsupported:
    paths = [path for path in module_paths(node) if _part(net, path) is not None]
    path = paths[-1] if paths else ""
    drawn = names_of(node.target)[1]
    why = f"it draws random numbers at inference ({drawn}): the same input has two answers"
    return Unsupported(path, type(_part(net, path) or net).__name__, why, RANDOM_FIX)


def _part(net: nn.Module, path: str) -> nn.Module | None:
    try:
        return net.get_submodule(path)
    except AttributeError:
        return None
