"""A factor on what a node puts out, moved into the weights of everything that reads it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx

from neurokit.program import nodes
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.transforms.common.graph import linear_before, set_weights, weights_of

Reader = tuple[fx.Node, Tensor]


def readers(node: fx.Node, scale: Tensor, shape: tuple[int, ...]) -> list[Reader] | None:
    """Returns the convolutions and linear maps that read a node, each with the factors of its input channels.

    Args:
        node: The node; it may have been put into the graph later, so its shape is given.
        scale: Positive factors, `[C]` of its channels or `[1]`.
        shape: Its shape `[B, C, ...]`.

    Returns:
        None if something else reads it, to which a factor would matter.
    """
    found: list[Reader] = []
    for user in node.users:
        if nodes.is_weighted(user) and user.args[0] is node:
            if is_named(user, ("linear",)) and len(shape) != 2 and len(scale) > 1:
                return None
            found.append((user, scale))
            continue
        for value, passed in _passed_on(user, node, scale, shape):
            behind = None if passed is None else readers(value, passed, nodes.hints(value))
            if behind is None:
                return None
            found += behind
    return found or None


def _passed_on(
    user: fx.Node, node: fx.Node, scale: Tensor, shape: tuple[int, ...]
) -> list[tuple[fx.Node, Tensor | None]]:
    """Returns what an operation makes of a node, one or several values, each with its factors, or None for none."""
    if is_named(user, ("chunk",)) and len(user.args) == 3 and user.args[2] == 1:
        parts = [scale] * user.args[1] if len(scale) == 1 else scale.chunk(user.args[1])  # type: ignore[operator,arg-type]
        return [(part, parts[part.args[1]]) for part in user.users]  # type: ignore[index]
    if is_named(user, ("cat",)) and len(user.args) == 2 and user.args[1] == 1:
        return [(user, _beside_others(user, node, scale, shape))]
    return [(user, _passed(user, scale, shape))]


def _beside_others(user: fx.Node, node: fx.Node, scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns the factors of channels that are joined: the node's own, and ones for the others."""
    joined: Any = user.args[0]
    mine = scale.expand(shape[1])
    return torch.cat([mine if part is node else torch.ones(nodes.hints(part)[1]).to(scale) for part in joined])


def _passed(user: fx.Node, scale: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Returns the factors of a node's result where those of its input pass through it, else None."""
    padded = is_named(user, ("pad",)) and len(user.args[1]) <= 2 * (len(shape) - 2) and _is_padded_alike(user)  # type: ignore[arg-type]
    kept = padded or is_kind(user, Kind.KEEP) or nodes.is_average_pool(user) or nodes.is_max_pool(user)
    if kept or (is_named(user, ("mean",)) and _spatial(user, len(shape))):
        return scale
    if not is_kind(user, Kind.MOVE):
        return None
    if len(scale) == 1:
        return scale
    made = nodes.hints(user)
    flat = is_named(user, ("view", "reshape", "flatten")) and len(made) == 2
    if flat and made[1] == math.prod(shape[1:]):
        return scale.repeat_interleave(math.prod(shape[2:]))
    return None


def _is_padded_alike(node: fx.Node) -> bool:
    """Whether a pad puts elements of the input around it, or zeros, which no factor changes."""
    mode = node.args[2] if len(node.args) > 2 else "constant"
    return mode != "constant" or not (node.args[3] if len(node.args) > 3 else 0)


def _spatial(node: fx.Node, axes: int) -> bool:
    over = node.args[1] if len(node.args) > 1 else None
    return isinstance(over, list | tuple) and all(int(axis) % axes >= 2 for axis in over)


def scale_inputs(graph: fx.GraphModule, found: list[Reader]) -> None:
    """Multiplies the weights of each reader by the factors of its input channels."""
    for node, scale in found:
        weight, bias = weights_of(graph, node)
        set_weights(graph, node, weight * _of_weight(node, scale, weight), bias)


def _of_weight(node: fx.Node, scale: Tensor, weight: Tensor) -> Tensor:
    if len(scale) == 1:
        return scale
    groups = len(scale) // weight.shape[1]  # of a linear map 1
    rows = scale.reshape(groups, weight.shape[1]).repeat_interleave(weight.shape[0] // groups, 0)
    return rows.reshape(*rows.shape, *(1,) * (weight.dim() - 2))


def scale_outputs(graph: fx.GraphModule, node: fx.Node, scale: Tensor) -> None:
    """Multiplies what a convolution or linear map puts out, by its weights and bias; `scale` is `[C]` or `[1]`."""
    weight, bias = weights_of(graph, node)
    rows = scale.reshape(-1, *(1,) * (weight.dim() - 1))
    set_weights(graph, node, weight * rows, None if bias is None else bias * scale)


def takes_channels(node: fx.Node, channels: Tensor) -> bool:
    """Returns whether an activation may have a scale a channel: the weights on both of its sides can hold them."""
    return linear_before(node) is not None and readers(node, channels, nodes.hints(node)) is not None
