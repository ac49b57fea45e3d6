"""Choices of the k largest among equal numbers: torch takes any of them, and another runtime another one."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule
from torch.utils._python_dispatch import TorchDispatchMode

from neurokit.capture.drawing import uniform
from neurokit.capture.probe import example_values
from neurokit.capture.types import Captured
from neurokit.dims import names_in
from neurokit.errors import Unsupported
from neurokit.target import TargetInfo

aten = torch.ops.aten
_SAMPLES, _STEPS = 16, 4


def other_choices(captured: Captured, target: TargetInfo) -> list[Unsupported]:
    """Returns every operation that chooses places of equal numbers, as spike counts are, on random inputs.

    Args:
        captured: The captured model. One whose inputs have free sizes of their own is not run, and has none.
        target: What is to run it; torch itself chooses as it does.
    """
    graphs = (graph for part in captured.graphs for graph in _graphs(part.program.graph_module))
    if "torch" in target.opens_with or not any(map(_reads_places, graphs)):
        return []
    if captured.time_steps == "dynamic":  # a scan shows nothing of its steps
        captured = captured.retrace(time_steps=captured.known_steps)
    return [reason for part in captured.graphs for reason in _of_part(part)]


def _of_part(part: Captured) -> list[Unsupported]:
    ports, single = part.spec.inputs, part.form == "step"
    if any(names_in(port.sizes) for port in ports):
        return []
    size = part.batch if isinstance(part.batch, int) else _SAMPLES
    generator = torch.Generator().manual_seed(0)
    like = example_values(part.spec, part.known_steps, size, single)
    given = [uniform(port, tuple(x.shape), generator) for port, x in zip(ports, like, strict=False)]
    seen = _Equal()
    module: Any = part.program.module()
    with torch.no_grad(), seen:
        states = part.initial_states(size)
        for _ in range(_STEPS if single else 1):
            states = module(*given, *states)[len(part.output_names) :]
    why = "it chooses places of the largest of equal numbers, of which torch takes any and other runtimes others"
    fix = "sort with stable=True, which takes the first, or add a little that tells them apart"
    return [Unsupported("", "topk", why, fix)] if seen.found else []


class _Equal(TorchDispatchMode):
    """Notes whether a choice is one among equal numbers."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Looks at what a choice is made of."""
        if func is aten.topk.default:
            self.found = self.found or _equal(*args[:4])
        return func(*args, **(kwargs or {}))


def _equal(x: Tensor, k: int, axis: int = -1, largest: bool = True) -> bool:
    ordered = x.sort(dim=axis, descending=largest)[0].movedim(axis, -1)
    pairs = (ordered[..., 1:] == ordered[..., :-1]) & ordered[..., 1:].isfinite()
    return bool(pairs[..., :k].any())


def _graphs(module: GraphModule) -> Iterator[Graph]:
    return (part.graph for part in module.modules() if isinstance(part, GraphModule))


def _reads_places(graph: Graph) -> bool:
    return any(
        user.target is operator.getitem and user.args[1] == 1 and user.users
        for node in graph.nodes
        if node.target == aten.topk.default
        for user in node.users
    )
