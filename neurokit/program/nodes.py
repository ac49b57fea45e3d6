"""What a rewrite asks about single nodes of a captured program: their shapes, neurons and windows."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import torch
from torch.fx import Node

import neurokit.neurons.ops  # noqa: F401 - registers the operations below
from neurokit.neurons.parameters import ARGUMENTS
from neurokit.program.ops import Kind, is_kind, is_named, operation

aten = torch.ops.aten

IF, LIF, PLIF = (getattr(torch.ops.neurokit, name).default for name in ("if_", "lif", "plif"))
NEURONS = {IF: "if_", LIF: "lif", PLIF: "plif"}
# Where the named arguments of a neuron's node stand.
PLACES = {op: {name: 2 + place for place, name in enumerate(names)} for op, names in ARGUMENTS.items()}


#: The convolutions of a captured program, by the axes of their windows.
CONVOLUTIONS = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}
# Their settings where none are given: stride, padding, dilation and groups.
_USUAL: tuple[Any, ...] = ([1], [0], [1], 1)


def is_op(node: Any, targets: Container[Any]) -> bool:
    """Returns whether `node` calls one of `targets`."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def is_constant(value: Any) -> bool:
    """Returns whether an argument is a tensor of the module: a parameter, a buffer or what was folded."""
    return isinstance(value, Node) and value.op == "get_attr"


def ancestors(nodes: Iterable[Node]) -> set[Node]:
    """Returns nodes and all that they depend on."""
    found, waiting = set[Node](), list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def is_weighted(node: Any) -> bool:
    """Returns whether `node` is a convolution or linear map whose second argument is a weight `[C_out, ...]`."""
    return is_kind(node, Kind.CONVOLVE, Kind.LINEAR) and weighted(node.target)


def weighted(target: Any) -> bool:
    """Returns whether an operation's second argument is a weight `[C_out, ...]`."""
    known = operation(target)
    return known is not None and known.weighted


def hint(size: Any) -> int:
    """Returns a number for a size that may be symbolic: the one it was traced with."""
    return int(size) if isinstance(size, int) else int(size.node.hint)


def hints(node: Node) -> tuple[int, ...]:
    """Returns the shape of a node's tensor in numbers."""
    return tuple(hint(size) for size in node.meta["val"].shape)


def module_paths(node: Node) -> list[str]:
    """Returns the paths, in the user's module, of the modules that an operation runs in, the innermost last.

    A capture holds that module as `net`; "" is the module itself.
    """
    stack = node.meta.get("nn_module_stack") or {}
    return [_of_user(str(entry[0]).removeprefix("L['self'].")) for entry in stack.values()]


def _of_user(path: str) -> str:
    return "" if path == "net" else path.removeprefix("net.")


def time_mean(node: Any) -> Node | None:
    """Returns the mean over time that a value is, behind moves, or None.

    The streaming form has no such mean: it takes the mean of its outputs. What is rounded behind the mean here would
    be rounded at every step there, so roundings go before it.
    """
    while is_kind(node, Kind.MOVE, Kind.KEEP) and len(node.users) == 1:
        node = node.args[0]
    if not is_op(node, {aten.mean.dim}) or len(node.users) != 1:
        return None
    return node if list(node.args[1]) == [0] else None


def window_count(node: Node) -> tuple[int, tuple[int, int] | None]:
    """Returns how many elements an average pooling divides by and its kernel (with stride as large for adaptive ones).

    A kernel of None means that the count differs from place to place.
    """
    data: Any = node.args[0]
    if is_named(node, {"adaptive_avg_pool2d"}):
        size, out = hints(data)[-2:], hints(node)[-2:]
        if any(s % o and o % s for s, o in zip(size, out, strict=True)):
            return 0, None
        kernel = tuple(max(1, s // o) for s, o in zip(size, out, strict=True))
        if any(s % o for s, o in zip(size, out, strict=True)) and max(kernel) > 1:
            return 0, None
        return kernel[0] * kernel[1], (kernel[0], kernel[1])
    if not is_named(node, {"avg_pool2d"}):
        return 0, None
    kernel = pair(node.args[1])
    padding = pair(node.args[3]) if len(node.args) > 3 else (0, 0)
    includes = node.args[5] if len(node.args) > 5 else True
    ceil = node.args[4] if len(node.args) > 4 else False
    divisor: Any = node.args[6] if len(node.args) > 6 else None
    if divisor is not None:
        return int(divisor), kernel
    if ceil or (any(padding) and not includes):
        return 0, None
    return kernel[0] * kernel[1], kernel


def convolution_settings(node: Node) -> tuple[Any, Any, Any, int]:
    """Returns stride, padding, dilation and groups of a convolution; one number an axis, or one for all."""
    given: list[Any] = [*node.args[3:], *[None] * 4][:4]
    stride, padding, dilation, groups = (
        usual if value is None else value for usual, value in zip(_USUAL, given, strict=True)
    )
    return stride, padding, dilation, groups


def pair(value: Any) -> tuple[int, int]:
    """Returns a setting of windows, one number or one an axis, as those down and across."""
    return (int(value[0]), int(value[-1])) if isinstance(value, list | tuple) else (int(value), int(value))


def is_average_pool(node: Any) -> bool:
    """Returns whether a node averages over windows of pictures."""
    return is_named(node, {"avg_pool2d", "adaptive_avg_pool2d"})


def is_max_pool(node: Any) -> bool:
    """Returns whether a node takes the largest of each window and returns nothing else."""
    return is_named(node, {"max_pool1d", "max_pool2d", "max_pool3d"})
