"""What kernels take in of a program: patterns that end in a layer of neurons, registered by the kernels themselves.

A kernel registers a `Fusion`. For every layer of neurons, in the order of the program, the fusions are asked in their
order, and the first that has a match is applied (`neurokit.program.passes.fuse`).
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from neurokit.neurons.parameters import NeuronParameters
from neurokit.program.nodes import NEURONS, hint, hints, is_op
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.registry import Registry

RESHAPES = ("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "_unsafe_view", "contiguous", "clone")
_KEEPS_SPIKES = ("max_pool1d", "max_pool2d", "max_pool3d", "dropout", "detach")
BEHIND = 4  # place, among the results of a fused layer, of what it computes behind its spikes
MOST = "most_behind"  # where a fused layer's node keeps the largest number of that, if it is not spikes


@contextmanager
def definitions() -> Iterator[None]:
    """Within it every kernel runs its definition in plain PyTorch."""
    before = os.environ.get("NEUROKIT_KERNELS")
    os.environ["NEUROKIT_KERNELS"] = "reference"
    try:
        yield
    finally:
        os.environ.pop("NEUROKIT_KERNELS")
        if before is not None:
            os.environ["NEUROKIT_KERNELS"] = before


@contextmanager
def comparing(device: str) -> Iterator[None]:
    """Context in which layers are run on a device to be compared: on a GPU, as definitions and with plain sums.

    A GPU then adds what is multiplied: cuDNN may take Winograd's way, or TF32, which round elsewhere.
    """
    if device == "cpu":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with definitions(), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class OnDevice(Interpreter):
    """Runs nodes of a program on a device, wherever its parameters are.

    Args:
        module: The program.
        device: What parameters are copied to as they are read, and where new tensors are made.
    """

    def __init__(self, module: GraphModule, device: torch.device) -> None:
        super().__init__(module)
        self.device = device

    def fetch_attr(self, target: str) -> Any:
        """Returns a parameter, or a layer, on the device."""
        value = super().fetch_attr(target)
        if isinstance(value, nn.Module) and self.device.type != "cpu":
            value = copy.deepcopy(value)
        return value.to(self.device) if isinstance(value, Tensor | nn.Module) else value

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Makes new tensors on the device, too."""
        return super().call_function(target, args, {**kwargs, "device": self.device} if "device" in kwargs else kwargs)


class FusedNeuron(nn.Module):
    """A layer of neurons inside a kernel, with what stands before it.

    It maps `(first, v0, ...)` to `(spikes, v, handed, current)`. `handed` is the sum that something else reads: the
    current, or what it is rounded from. `current` is what a probing twin shows: of what the kernel hands on, where it
    does, so that a twin reads the same sums as the network; else computed beside the kernel. A kernel that takes in
    what follows its spikes gives that as a fifth result, of spikes or counts; `behind` is its definition.

    Args:
        neuron: The neuron's operation and its arguments after input and membrane, as in the program.

    Attributes:
        want_current: Whether the kernel hands its sum on, since something else reads it.
        watched: Whether this is a probing twin, which shows its current.
        kind: Type of the spikes that it gives.
        int8_places: Places of what it takes where int8 will do.
        channels: How many channels it has.
        channel_axis: Where they are in its spikes.
    """

    int8_places: tuple[int, ...] = ()

    def __init__(self, neuron: tuple[Any, ...]) -> None:
        super().__init__()
        self.neuron = neuron
        self.want_current = False
        self.watched = False
        self.kind = torch.float32
        self.channels, self.channel_axis = 0, 2

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Returns spikes `[T, B, ...]`, the last membrane, what is handed on, a twin's current, and what is behind."""
        raise NotImplementedError

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the current by the operations that the program had, without the kernel."""
        raise NotImplementedError

    def current_of(self, handed: Tensor) -> Tensor:
        """Returns the current, of what the kernel hands on."""
        return handed

    def behind(self, spikes: Tensor, *given: Tensor) -> Tensor:
        """Returns what the kernel computes behind its spikes, of any spikes: of those that a twin is forced to, too."""
        raise NotImplementedError

    @property
    def joins_with(self) -> Any:
        """What another layer of the same input must have in common to be computed beside this one; None: it cannot."""
        return None

    def beside(self, others: Sequence[FusedNeuron]) -> FusedNeuron:
        """Returns one layer that computes this one and others of equal `joins_with`, side by side."""
        raise NotImplementedError

    @property
    def joins_parts(self) -> Any:
        """What a layer of another part of one input must share to be computed with this one; None: it cannot."""
        return None

    def of_parts(self, others: Sequence[FusedNeuron]) -> FusedNeuron:
        """Returns one layer of all parts that computes this one and others of equal `joins_parts`, side by side."""
        raise NotImplementedError

    def of_one(self, firsts: Sequence[int], count: int) -> FusedNeuron | None:
        """Returns this layer as one that takes `(whole, v0)`, or None where its kernel cannot.

        Args:
            firsts: First channel, in one tensor, of each of the spikes that this layer takes.
            count: Channels of each.
        """
        return None

    def results(
        self, spikes: Tensor, v: Tensor, handed: Tensor | None, given: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns what a layer gives, of what its kernel gave; what is not wanted has no elements."""
        none = v.new_empty(0)
        own = handed if self.want_current else None
        shown = none
        if self.watched:
            shown = self.plain(*given) if own is None else self.current_of(own)
        return spikes, v, none if own is None else own, shown


@dataclass(frozen=True)
class Site:
    """A layer of common neurons in a program.

    Attributes:
        node: The neuron's node.
        module: The program.
        parameters: Its parameters.
        starts_at: The number its membrane starts from, where every call starts from it (sequence form); else None.
        exact: Whether sums are proven to have the same bits in every order.
        arguments: The neuron's arguments after input and membrane; what no input reaches is a number or a tensor.
    """

    node: Node
    module: GraphModule
    parameters: NeuronParameters
    starts_at: float | None
    exact: bool
    arguments: tuple[Any, ...]

    @property
    def current(self) -> Node:
        """What the neuron is given."""
        return self.node.args[0]  # type: ignore[return-value]

    @property
    def neuron(self) -> tuple[Any, ...]:
        """The operation and its arguments after input and membrane."""
        return (self.node.target, *self.arguments)

    @property
    def keywords(self) -> dict[str, Any]:
        """The neuron as kernels take it; a learnt leak that is a power of two is a time constant of the same bits."""
        known: Any = self.parameters
        product = self.leak_multiplies
        taus = {"lif": known.leak, "plif": 1.0 / known.leak if known.op == "plif" and not product else None}
        return {
            "tau": taus.get(known.op),
            "decay": float(known.leak) if product else None,
            "threshold": known.v_threshold,
            "v_reset": known.v_reset,
            "decay_input": known.decay_input,
        }

    @property
    def leak_multiplies(self) -> bool:
        """Whether the leak is a product with a number that is no power of two, which a division does not equal."""
        return self.parameters.op == "plif" and math.frexp(float(self.parameters.leak))[0] != 0.5

    @property
    def at_rest(self) -> bool:
        """Whether the membrane starts where a spike puts it, or at 0 where a spike subtracts."""
        return self.starts_at is not None and self.starts_at == self.parameters.rest

    def value(self, known: Mapping[Node, Tensor], wanted: Node) -> Tensor:
        """Returns what a node of the program computes from given values of nodes before it."""
        run = OnDevice(self.module, next(iter(known.values())).device)
        run.env = dict(known)

        def compute(node: Node) -> None:
            if node not in run.env and isinstance(node.meta.get("val"), int | torch.SymInt):
                run.env[node] = hint(node.meta["val"])  # a size that was read of an input
            if node not in run.env:
                for one in node.all_input_nodes:
                    compute(one)
                run.env[node] = run.run_node(node)

        with torch.no_grad():
            compute(wanted)
        found: Tensor = run.env[wanted]
        return found

    def not_one_number(self) -> str:
        """Returns why a kernel cannot have this neuron, or ""."""
        if not self.parameters.scalar or any(isinstance(value, Node) for value in self.arguments):
            return "its parameters differ by channel, or are computed"
        if self.parameters.v_subtract is not None:
            return "its reset subtracts another number than the threshold"
        return ""


@dataclass(frozen=True)
class Behind:
    """A product, or a sum, of a layer's spikes with others, which a kernel computes with the layer.

    Attributes:
        node: The product or the sum.
        source: What is multiplied or added: the kernel takes it, and gives the result as it is shaped.
        moves: What moves `source` to the operand, the last one first.
        fired: The layer's spikes in the program, which reshapes alone may stand between and the product or the sum.
        most: The largest of the whole numbers that the result holds.
    """

    node: Node
    source: Node
    moves: tuple[Node, ...]
    fired: Node
    most: int = 1


@dataclass(frozen=True)
class Match:
    """What a kernel takes in at one site.

    Attributes:
        layer: What stands for it.
        given: What the layer takes: nodes of the program; the second is the membrane before.
        inside: Nodes that it computes itself, the neuron's not among them.
        handed: Those of them whose value the layer hands on where something else reads it.
        behind: What it computes behind its spikes, or None.
    """

    layer: FusedNeuron
    given: tuple[Node, ...]
    inside: tuple[Node, ...]
    handed: tuple[Node, ...] = ()
    behind: Behind | None = None


@dataclass(frozen=True)
class Fusion:
    """One pattern of one kernel.

    Attributes:
        kernel: Name of the kernel.
        order: Fusions of smaller numbers are asked first: those that take in more.
        match: Returns what it takes in at a site, or in a few words why nothing.
    """

    kernel: str
    order: int
    match: Callable[[Site], Match | str]


@dataclass(frozen=True)
class Taken:
    """What a kernel computes that ends in no neuron.

    Attributes:
        node: The last node that it stands for.
        data: What it takes.
        layer: What stands for it: of `data`, and `beside`, it computes `node`, and `handed` behind it.
        inside: The nodes that it computes itself, `node` among them.
        beside: What else it takes: a shortcut that is added.
        handed: A value on the way that something else reads, or None.
    """

    node: Node
    data: Node
    layer: nn.Module
    inside: tuple[Node, ...]
    beside: tuple[Node, ...] = ()
    handed: Node | None = None

    @property
    def given(self) -> tuple[Node, ...]:
        """All that the layer takes."""
        return (self.data, *self.beside)

    @property
    def results(self) -> tuple[Node, ...]:
        """All that it computes for others."""
        return (self.node,) if self.handed is None else (self.node, self.handed)


@dataclass(frozen=True)
class Rewrite:
    """What one kernel takes in where no neuron follows.

    Attributes:
        kernel: Name of the kernel.
        take: Returns what it takes of a program, given whether sums are proven to have the same bits in every order.
        last: Whether it is asked behind the fusions, of what they left, and not in front of them.
        bytes: Returns whether the kernel takes the numbers that a product is given as int8, less 128; None: of none.
    """

    kernel: str
    take: Callable[[GraphModule, bool], list[Taken]]
    last: bool = False
    bytes: Callable[[GraphModule, Node], bool] | None = None


FUSIONS: Registry[Fusion] = Registry("fusion", "neurokit.kernels")


REWRITES: Registry[Rewrite] = Registry("rewrite", "neurokit.kernels")


def register_rewrite(rewrite: Rewrite) -> Rewrite:
    """Registers what a kernel takes in without a neuron under the kernel's name."""
    return REWRITES.add(rewrite.kernel, rewrite)


def register_fusion(fusion: Fusion) -> Fusion:
    """Registers a kernel's fusion under the kernel's name."""
    return FUSIONS.add(fusion.kernel, fusion)


def through_reshapes(node: Any) -> tuple[Any, list[Node]]:
    """Returns what a value is a reshaping of, and the nodes between; elements keep their order in memory."""
    between = []
    while isinstance(node, Node) and is_named(node, RESHAPES):
        between.append(node)
        node = node.args[0]
    return node, between


def is_spikes(node: Any) -> bool:
    """Returns whether every element is known to be 0 or 1: a layer's spikes, moved or maximised over windows."""
    return most_of(node) == 1


def most_of(node: Any) -> int | None:
    """Returns the largest of the whole numbers, from 0 on, that a value is known to hold: of spikes 1, of sums more."""
    while isinstance(node, Node) and node.op == "call_function":
        if is_named(node, ("getitem",)):
            source: Any = node.args[0]
            if is_op(source, NEURONS) or is_fused(source):
                known: dict[Any, int] = {0: 1, BEHIND: source.meta.get(MOST, 1)}
                return known.get(node.args[1])
            if not is_kind(source, Kind.MOVE):  # one of the parts that a tensor is split into
                return None
            node = source.args[0]
            continue
        several = _several(node)
        if several is not None:
            parts = [most_of(one) for one in several[1]]
            return None if None in parts else several[0](parts)  # type: ignore[arg-type]
        if not (is_kind(node, Kind.MOVE, Kind.KEEP, Kind.CAST) or is_named(node, (*RESHAPES, *_KEEPS_SPIKES))):
            return None
        node = node.args[0]
    return None


def _several(node: Node) -> tuple[Callable[[list[int]], int], Sequence[Any]] | None:
    """Returns what becomes of the largest numbers where several tensors meet, and these; None elsewhere."""
    if is_named(node, ("cat",)):
        return max, node.args[0]  # type: ignore[return-value]
    if node.kwargs or len(node.args) != 2 or not all(isinstance(one, Node) for one in node.args):
        return None
    if is_named(node, ("add",)):
        return sum, node.args
    return (math.prod, node.args) if is_named(node, ("mul",)) else None


def is_fused(node: Any) -> bool:
    """Returns whether a node is a layer of neurons inside a kernel."""
    return isinstance(node, Node) and node.op == "call_module" and node.meta.get("fused") is not None


def is_fired(node: Any) -> bool:
    """Returns whether a node is the spikes that a kernel gives: of its neurons, or of what it computes behind them."""
    return is_named(node, ("getitem",)) and is_fused(node.args[0]) and node.args[1] in (0, BEHIND)


def read_outside(nodes: tuple[Node, ...], neuron: Node) -> list[Node]:
    """Returns those of the nodes that something else than they and the neuron reads."""
    known = {*nodes, neuron}
    return [node for node in nodes if any(user not in known for user in node.users)]


def shape_of(node: Node) -> tuple[int, ...]:
    """Returns a node's shape in numbers: those that it was traced with."""
    return hints(node)
