"""Puts kernels in the place of operations that end in no neuron, each checked on numbers at once."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace

import torch
from torch.fx import GraphModule, Node

from neurokit.program.fusions import REWRITES, OnDevice, Taken
from neurokit.program.grids import RANGE
from neurokit.program.nodes import hints, is_weighted, module_paths
from neurokit.program.passes.base import Pass, PassError

_HALF = 3e-2  # of a result in 16 bits, relative to its largest element: another order of summation
_LESS = "numbers less 128 as int8"  # among a layer's operations, where it is given those
_MOST = 3  # of the whole numbers that a layer is tried on, where it is not known what it will be given


@dataclass(frozen=True)
class Part:
    """A layer without neurons that went into a kernel.

    Attributes:
        layer: Path of its module.
        kernel: Name of the kernel.
        inside: Its operations.
    """

    layer: str
    kernel: str
    inside: tuple[str, ...]


def take(module: GraphModule, exact: bool, *, last: bool = False, device: str = "cpu") -> list[Part]:
    """Rewrites a program in place: what a kernel computes without a neuron goes into it.

    Args:
        module: The program, of flat inputs and outputs.
        exact: Whether sums are proven to have the same bits in every order; then a kernel must have them, too.
        last: Whether the rewrites are asked that come behind the fusions, and not those in front of them.
        device: Where a layer and what stood there are run to be compared.

    Returns:
        The layers that went into kernels.

    Raises:
        PassError: If a kernel does not compute what stood there before.
    """
    found: list[Part] = []
    names: list[str] = []
    replaced: dict[Node, Node] = {}

    def rewrite(graph: GraphModule) -> None:
        for kernel, one in ((name, one) for name, one in REWRITES.items() if one.last == last):
            for asked in one.take(graph, exact):
                taken = _with(asked, replaced)
                _check(graph, taken, kernel, exact, device)
                first = next((node for node in taken.inside if is_weighted(node)), taken.inside[-1])
                words = tuple(_word(node) for node in reversed(taken.inside))
                words = (*((_LESS,) if getattr(taken.layer, "less", 0) else ()), *words)
                found.append(Part(next(iter(module_paths(first)[::-1]), "") or first.name, kernel, words))
                names.extend(node.name for node in taken.results)
                replaced.update(_apply(graph, taken, kernel))

    def left(graph: GraphModule) -> list[str]:
        return [f"{node.name} is still there" for node in graph.graph.nodes if node.name in names]

    Pass("put kernels in the place of operations without a neuron", rewrite, after=left)(module)
    return found


def _word(node: object) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]  # type: ignore[attr-defined]


def _with(taken: Taken, replaced: dict[Node, Node]) -> Taken:
    """Returns what is taken, of the nodes that stand now for those that it was found with."""
    data, *beside = (replaced.get(node, node) for node in taken.given)
    return replace(taken, data=data, beside=tuple(beside))


def _apply(module: GraphModule, taken: Taken, kernel: str) -> dict[Node, Node]:
    """Puts a layer in; returns what stands for each node that it computes."""
    name = f"taken_{taken.node.name}"
    module.add_module(name, taken.layer)
    first = min(taken.results)  # in the order of the program: what the layer takes comes before all that it computes
    with module.graph.inserting_before(first):
        made = module.graph.call_module(name, taken.given)
        parts = [made]
        if taken.handed is not None:
            parts = [module.graph.call_function(operator.getitem, (made, at)) for at in (0, 1)]
    made.meta = {**taken.node.meta, "taken": kernel, "val": taken.node.meta["val"]}
    if len(parts) > 1:
        made.meta["val"] = tuple(node.meta["val"] for node in taken.results)
    for part, node in zip(parts, taken.results, strict=True):
        part.meta = made.meta if part is made else dict(node.meta)
        node.replace_all_uses_with(part)
    for node in taken.inside:
        if not node.users:
            module.graph.erase_node(node)
    return dict(zip(taken.results, parts, strict=True))


def _check(module: GraphModule, taken: Taken, kernel: str, exact: bool, device: str) -> None:
    generator = torch.Generator(device).manual_seed(0)
    given = []
    for one in taken.given:
        least, most = one.meta.get(RANGE, (0, _MOST))
        whole = torch.randint(least, most + 1, hints(one), generator=generator, device=device)
        given.append(whole.to(one.meta["val"].dtype))
    run = OnDevice(module, given[0].device)
    run.env = dict(zip(taken.given, given, strict=True))
    with torch.no_grad():
        for node in reversed(taken.inside):
            for one in node.all_input_nodes:
                if one not in run.env:
                    run.env[one] = run.run_node(one)
            run.env[node] = run.run_node(node)
        results = taken.layer.to(device)(*given)
    taken.layer.to("cpu")
    for found, node in zip(results if len(taken.results) > 1 else (results,), taken.results, strict=True):
        wanted = run.env[node]
        slack = 0.0 if exact else _HALF * max(1.0, float(wanted.abs().max()))
        same = found.shape == wanted.shape and found.dtype == wanted.dtype
        if not same or not bool(((found - wanted).abs() <= slack).all()):
            raise PassError(f"kernel {kernel!r} at {taken.inside[-1].name}: its result is another")
