"""The feature maps of a captured program: which there are, and a copy of the program that gives them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.over_time import first_is_a_sequence
from neurokit.program.nodes import ancestors, hint
from neurokit.program.ops import Kind, is_kind
from neurokit.program.walk import copied

if TYPE_CHECKING:
    from neurokit.capture import Captured

LEAST = 4  # rows and columns of a map that a picture can be made of
_SPATIAL = (Kind.CONVOLVE, Kind.POOL, Kind.MAXIMUM)


class Tap(nn.Module):
    """Stands behind a feature map and hands it on; `seen` has it as `[B, T*C, h, w]`, as captum wants its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Identity()
        self.batch = 1  # samples of the call, by which a map [T*B, C, h, w] is told from [B, C, h, w]

    def forward(self, x: Tensor) -> Tensor:
        """Returns the map as it is, with a gradient."""
        x = x if x.requires_grad or not torch.is_grad_enabled() else x.detach().requires_grad_()
        timed = x.reshape(-1, self.batch, *x.shape[-3:])  # [T, B, C, h, w]
        steps, batch, channels, *size = timed.shape
        seen: Tensor = self.seen(timed.transpose(0, 1).reshape(batch, steps * channels, *size))
        return seen.reshape(batch, steps, channels, *size).transpose(0, 1).reshape(x.shape)


@dataclass(frozen=True)
class Tapped:
    """A program whose feature maps can be read.

    Attributes:
        scores: From an input of the program to its scores `[B, classes]`.
        last: The last feature map.
        shown: The last one of at least `LEAST` rows and columns, else the largest of the last.
        shown_name: Module path of what makes it.
        channels: Channels of `shown`.
        last_channels: Channels of `last`.
    """

    scores: Callable[[Tensor], Tensor]
    last: Tap
    shown: Tap
    shown_name: str
    channels: int
    last_channels: int


def tapped(captured: Captured) -> Tapped:
    """Returns a captured program with taps on its feature maps.

    Raises:
        UnsupportedError: If no layer gives a feature map.
    """
    program = copied(captured.program.module())
    nodes = feature_maps(program, len(captured.output_names))
    if not nodes:
        reason = "no convolution or pooling leads to its outputs"
        raise UnsupportedError(
            f"{captured.spec.name} has no feature map",
            [Unsupported("", captured.spec.name, reason, "a network of images")],
        )
    last = nodes[-1]
    shown = next((node for node in reversed(nodes) if min(_size(node)[1:]) >= LEAST), last)
    taps = {node: Tap() for node in (last, shown)}
    for number, (node, tap) in enumerate(taps.items()):
        name = f"neurokit_tap_{number}"
        program.add_submodule(name, tap)
        with program.graph.inserting_after(node):
            call = program.graph.call_module(name, (node,))
        users = [user for user in node.users if user is not call]
        for user in users:
            user.replace_input_with(node, call)
    program.recompile()
    timed = captured.inputs[0].time_axis is not None

    def scores(x: Tensor) -> Tensor:
        batch = x.shape[1] if timed else x.shape[0]
        for tap in taps.values():
            tap.batch = batch
        y = program(x, *captured.initial_states(batch))
        y = y[0] if isinstance(y, tuple | list) else y
        return y.mean(0) if captured.spiking and first_is_a_sequence(captured.time_output) else y

    return Tapped(scores, taps[last], taps[shown], _path(shown), _size(shown)[0], _size(last)[0])


def feature_maps(program: GraphModule, outputs: int) -> list[Node]:
    """Returns the nodes that give a feature map `[..., C, h, w]` on the way from an input to the outputs, in order.

    A feature map has the size of what a convolution or a pooling gives; attention's matrices, which have as many axes,
    do not.
    """
    given = next(node for node in program.graph.nodes if node.op == "output").args[0]
    leaves = torch.utils._pytree.tree_leaves(given)[:outputs]
    behind = ancestors([leaf for leaf in leaves if isinstance(leaf, Node)])
    from_input: set[Node] = set()
    sizes: set[tuple[int, ...]] = set()
    found = []
    for node in program.graph.nodes:
        if node.op == "placeholder" or any(source in from_input for source in node.all_input_nodes):
            from_input.add(node)
        if node.op != "call_function" or node not in behind or node not in from_input:
            continue
        size = _size(node)
        if is_kind(node, *_SPATIAL):
            sizes.add(size)
        value = node.meta.get("val")
        if len(size) == 3 and size in sizes and min(size[1:]) > 1 and value.is_floating_point():
            found.append(node)
    return found


def _size(node: Node) -> tuple[int, ...]:
    """Returns the last three sizes of a node's tensor; () of anything else."""
    value: Any = node.meta.get("val")
    return tuple(int(hint(size)) for size in value.shape[-3:]) if isinstance(value, Tensor) and value.dim() > 3 else ()


def _path(node: Node) -> str:
    """Returns the module path that a node was traced from."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return str(paths[-1]) if paths else node.name
