"""Computes once what is the same at every time step: all that an image which is repeated over time goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.program.nodes import aten, is_weighted
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.passes.base import Pass

_ELEMENTWISE = (Kind.KEEP, Kind.CAST, Kind.LIMIT, Kind.ROUND, Kind.MULTIPLY, Kind.DIVIDE, Kind.ADD, Kind.SIGN)
_RESHAPES = ("view", "reshape", "unflatten", "_unsafe_view")


@dataclass(frozen=True)
class _Still:
    """A value that is one step, repeated.

    Attributes:
        step: The step, `[B, ...]`.
        joined: Whether time and batch are one axis, `[T * B, ...]`; else it is `[T, B, ...]`.
        worth: Whether a convolution or linear map is in it.
    """

    step: Node
    joined: bool
    worth: bool


def _rewrite(module: GraphModule) -> None:
    still: dict[Node, _Still] = {}
    for node in list(module.graph.nodes):
        found = _still(module, node, still)
        if found is not None:
            still[node] = found
    for node, one in still.items():
        users = [user for user in node.users if user not in still]
        if one.worth and users and not one.joined:
            _repeat(module, node, one, users)
    module.graph.eliminate_dead_code()


def _steps(node: Node) -> int | None:
    """Returns T where a node repeats one step over a new first axis."""
    source: Any = node.args[0] if node.args else None
    if not (is_named(node, ("expand", "repeat")) and is_named(source, ("unsqueeze",)) and source.args[1] == 0):
        return None
    before, after = source.meta["val"].shape, node.meta["val"].shape
    same = len(before) == len(after) and tuple(before[1:]) == tuple(after[1:])
    return after[0] if same and isinstance(after[0], int) and after[0] > 1 else None


def _still(module: GraphModule, node: Node, known: dict[Node, _Still]) -> _Still | None:
    """Returns one step of a value, where all are the same; what computes it is put in front of the node."""
    if _steps(node) is not None:
        return _Still(node.args[0].args[0], joined=False, worth=False)  # type: ignore[union-attr, arg-type]
    tensors = [one for one in node.all_input_nodes if one.op != "get_attr" and isinstance(one.meta.get("val"), Tensor)]
    if node.op != "call_function" or len(tensors) != 1 or tensors[0] not in known or node.args[0] is not tensors[0]:
        return None
    below = known[tensors[0]]
    if is_named(node, ("flatten",)) and tuple(node.args[1:]) == (0, 1) and not below.joined:
        return _Still(below.step, joined=True, worth=below.worth)
    if is_named(node, _RESHAPES) and below.joined and _apart(node, below.step):
        return _Still(below.step, joined=False, worth=below.worth)
    folded = below.joined and (
        is_weighted(node) or is_kind(node, Kind.POOL, Kind.NORMALISE) or is_named(node, ("max_pool2d",))
    )
    if not (folded or (is_kind(node, *_ELEMENTWISE) and len(node.all_input_nodes) == 1)):
        return None
    with module.graph.inserting_before(node):
        step = module.graph.call_function(node.target, (below.step, *node.args[1:]), node.kwargs)  # type: ignore[arg-type]
    value = node.meta["val"]
    step.meta = {
        **node.meta,
        "val": value.unflatten(0, (_count(tensors[0], below), -1))[0] if below.joined else value[0],
    }
    return _Still(step, below.joined, below.worth or is_weighted(node))


def _count(node: Node, one: _Still) -> int:
    """Returns T of a joined value: sizes were traced with the same batch."""
    return int(node.meta["val"].shape[0] // one.step.meta["val"].shape[0])


def _apart(node: Node, step: Node) -> bool:
    """Returns whether a reshape takes time and batch apart and leaves the rest."""
    shape, own = node.meta["val"].shape, step.meta["val"].shape
    return len(shape) == len(own) + 1 and isinstance(shape[0], int) and tuple(shape[2:]) == tuple(own[1:])


def _repeat(module: GraphModule, node: Node, one: _Still, users: list[Node]) -> None:
    with module.graph.inserting_before(node):
        lifted = module.graph.call_function(aten.unsqueeze.default, (one.step, 0))
        sizes = [node.meta["val"].shape[0], *[-1] * one.step.meta["val"].dim()]
        repeated = module.graph.call_function(aten.expand.default, (lifted, sizes))
    lifted.meta["val"], repeated.meta["val"] = one.step.meta["val"].unsqueeze(0), node.meta["val"]
    for user in users:
        user.replace_input_with(node, repeated)


def _again(module: GraphModule) -> list[str]:
    """Returns the products that are given one step again and again."""
    found, joined = [], set()
    for node in module.graph.nodes:
        source = node.args[0] if node.args else None
        if is_named(node, ("flatten",)) and isinstance(source, Node) and _steps(source) is not None:
            joined.add(node)
        if source in joined and is_weighted(node) and all(_told_apart(user) for user in node.users):
            found.append(f"{node.name} computes one step again and again")
    return found


def _told_apart(user: Node) -> bool:
    return is_named(user, _RESHAPES)


STATIC_INPUT = Pass("compute once what every time step of a repeated image goes through", _rewrite, after=_again)
