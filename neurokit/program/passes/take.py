"""Puts kernels in the place of operations that end in no neuron, each checked on numbers at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.fx import GraphModule

from neurokit.program.fusions import REWRITES, OnDevice, Taken
from neurokit.program.nodes import hints, module_paths
from neurokit.program.passes.base import Pass, PassError

_HALF = 3e-2  # of a result in 16 bits, relative to its largest element: another order of summation
_MOST = 3  # of the whole numbers that a layer is tried on


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

    def rewrite(graph: GraphModule) -> None:
        for kernel, one in ((name, one) for name, one in REWRITES.items() if one.last == last):
            for taken in one.take(graph, exact):
                _check(graph, taken, kernel, exact, device)
                first = taken.inside[-1]
                words = tuple(_word(node) for node in reversed(taken.inside))
                found.append(Part(next(iter(module_paths(first)[::-1]), "") or first.name, kernel, words))
                names.append(taken.node.name)
                _apply(graph, taken, kernel)

    def left(graph: GraphModule) -> list[str]:
        return [f"{node.name} is still there" for node in graph.graph.nodes if node.name in names]

    Pass("put kernels in the place of operations without a neuron", rewrite, after=left)(module)
    return found


def _word(node: object) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]  # type: ignore[attr-defined]


def _apply(module: GraphModule, taken: Taken, kernel: str) -> None:
    name = f"taken_{taken.inside[-1].name}"
    module.add_module(name, taken.layer)
    with module.graph.inserting_before(taken.node):
        made = module.graph.call_module(name, (taken.data,))
    made.meta = {**taken.node.meta, "taken": kernel}
    taken.node.replace_all_uses_with(made)
    for node in taken.inside:
        if not node.users:
            module.graph.erase_node(node)


def _check(module: GraphModule, taken: Taken, kernel: str, exact: bool, device: str) -> None:
    generator = torch.Generator(device).manual_seed(0)
    value = taken.data.meta["val"]
    whole = torch.randint(0, _MOST + 1, hints(taken.data), generator=generator, device=device)
    given = whole.to(value.dtype)
    run = OnDevice(module, given.device)
    run.env = {taken.data: given}
    with torch.no_grad():
        for node in reversed(taken.inside):
            for one in node.all_input_nodes:
                if one not in run.env:
                    run.env[one] = run.run_node(one)
            run.env[node] = run.run_node(node)
        found, wanted = taken.layer.to(device)(given), run.env[taken.node]
    taken.layer.to("cpu")
    slack = 0.0 if exact else _HALF * max(1.0, float(wanted.abs().max()))
    if found.shape != wanted.shape or not bool(((found - wanted).abs() <= slack).all()):
        raise PassError(f"kernel {kernel!r} at {taken.inside[-1].name}: its result is another")
