"""What is compiled of a captured program: the network, its probing twin, and its neurons alone."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.fx import GraphModule, Node

from neurokit.dims import Linear
from neurokit.neurons.stepwise import STEPWISE, Step, step_of
from neurokit.program.fusions import BEHIND, FusedNeuron
from neurokit.program.nodes import NEURONS, hints, is_op
from neurokit.program.walk import fetch, without_guards

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.capture.types import StateInfo

_PLACE = "place_of_layer"  # where a layer's node stands among those of the captured program
FORCE = "force"  # of the probing twin: whether given spikes stand for every layer's own


class StepLoop(nn.Module):
    """A layer of rare neurons: their own step, once a time step.

    Args:
        step: The step.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step, self.module = step, step.module

    def forward(self, x_seq: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
        """Returns the output `[T, B, ...]`, and the states after the last step."""
        outputs, held = [], list(states)
        for x in x_seq:
            y, *held = self.step(x, *held)
            outputs.append(y)
        return [torch.stack(outputs), *(value.clone() for value in held)]


def body_of(captured: Captured) -> GraphModule:
    """Returns a captured program as a module of flat inputs and outputs, its rare neurons as modules."""
    module = without_guards(captured.program.module())
    module.graph.set_codegen(fx.graph.CodeGen())
    for at, node in enumerate(list(module.graph.nodes)):
        if is_op(node, {STEPWISE}):
            name = f"neurokit_step_{at}"
            module.add_module(name, StepLoop(step_of(str(node.args[2]))))
            with module.graph.inserting_before(node):
                loop = module.graph.call_module(name, node.args[:2])
            loop.meta = dict(node.meta)
            node.replace_all_uses_with(loop)
            module.graph.erase_node(node)
    module.recompile()
    for at, node in enumerate(layer_nodes(module)):
        node.meta[_PLACE] = at
    return module


def layer_nodes(module: GraphModule) -> list[Node]:
    """Returns the nodes of layers of neurons: common ones, rare ones, and those inside a kernel.

    They are in the order of the captured program: a kernel that takes in what follows its neurons may come later.
    """
    found = [
        node
        for node in module.graph.nodes
        if is_op(node, NEURONS) or isinstance(_module(module, node), StepLoop | FusedNeuron)
    ]
    return sorted(found, key=lambda node: node.meta.get(_PLACE, 0))


def _module(module: GraphModule, node: Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def twin_of(module: GraphModule) -> GraphModule:
    """Returns the probing twin: it takes, last, FORCE and the spikes of every call, and puts them out, too.

    Its outputs are the network's, then the current of every call, its own spikes, and its membranes before.
    """
    made = copy.deepcopy(module)
    graph = made.graph
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    nodes = layer_nodes(made)
    with graph.inserting_before(last.next):
        force = graph.placeholder(FORCE)
        given = [graph.placeholder(f"forced_{at}") for at in range(len(nodes))]
    force.meta["val"] = torch.zeros((), dtype=torch.bool)
    with graph.inserting_after([node for node in graph.nodes if node.op == "placeholder"][-1]):
        free = graph.call_function(torch.logical_not, (force,))
    currents, own = [], []
    for node, forced in zip(nodes, given, strict=True):
        forced.meta["val"] = _value_of(node, 0)
        inside = _module(made, node)
        if isinstance(inside, FusedNeuron):
            inside.watched = True
        taken = [user for user in node.users if user.target is operator.getitem and user.args[1] == 0]
        with graph.inserting_after(node):
            spikes = graph.call_function(operator.getitem, (node, 0))
            current = graph.call_function(operator.getitem, (node, 3)) if isinstance(inside, FusedNeuron) else None
        with graph.inserting_after(spikes):  # which come first: the result lies in memory as they do
            used = graph.call_function(torch.where, (free, spikes, forced))
        for user in taken:
            user.replace_all_uses_with(used)
            graph.erase_node(user)
        if isinstance(inside, FusedNeuron):
            _behind(made, node, inside, used)
        currents.append(current)
        own.append(spikes)
    shown = [node.args[0] if current is None else current for node, current in zip(nodes, currents, strict=True)]
    v0s = [node.args[1] for node in nodes]
    before = [one for v0 in v0s for one in (v0 if isinstance(v0, list | tuple) else [v0])]
    _output_more(graph, (*shown, *own, *before))
    made.recompile()
    return made


def _behind(module: GraphModule, node: Node, layer: FusedNeuron, used: Node) -> None:
    """Has the twin compute what a kernel computes behind its spikes of those that are used, by its definition."""
    for user in [user for user in node.users if user.target is operator.getitem and user.args[1] == BEHIND]:
        name = f"{node.target}_behind"
        module.add_module(name, _OfSpikes(layer))
        with module.graph.inserting_after(used):
            value = module.graph.call_module(name, (used, *node.args))
        value.meta["val"] = user.meta["val"]
        user.replace_all_uses_with(value)
        module.graph.erase_node(user)


class _OfSpikes(nn.Module):
    """What a layer's kernel computes behind its spikes."""

    def __init__(self, layer: FusedNeuron) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *given: Tensor) -> Tensor:
        return self.layer.behind(*given)


def _value_of(node: Node, place: int) -> Any:
    """Returns what is known of one result of a node: its fake tensor."""
    value = node.meta["val"]
    return value[place] if isinstance(value, list | tuple) else value


def _output_more(graph: fx.Graph, more: tuple[Any, ...]) -> None:
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = ((*output.args[0], *more),)


class Network(nn.Module):
    """A captured program that starts its states itself, in the sequence form, or takes and returns them.

    Args:
        body: The program, of flat inputs (then states) and outputs (then states).
        captured: What is known of it.
    """

    def __init__(self, body: GraphModule, captured: Captured) -> None:
        super().__init__()
        self.body = body
        self.starts = nn.ModuleList(_Start(state, captured) for state in captured.states)
        self.inside = captured.form == "sequence"
        self.counts = (len(captured.inputs), len(captured.output_names), len(captured.states))

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Runs it: inputs, states where they are outside, and whatever else the body takes."""
        inputs, outputs, states = self.counts
        if not self.inside:
            return tuple(self.body(*given))
        started = [start(given) for start in self.starts]
        found = self.body(*given[:inputs], *started, *given[inputs:])
        return (*found[:outputs], *found[outputs + states :])


class _Start(nn.Module):
    """A state before the first step, as large as the inputs say."""

    def __init__(self, state: StateInfo, captured: Captured) -> None:
        super().__init__()
        self.shape = tuple(_known(size, captured.start_sizes) for size in state.shape)
        self.places = {
            str(size): (at, axis)
            for at, port in enumerate(captured.inputs)
            for axis, size in enumerate(port.shape)
            if isinstance(size, Linear) and str(size) in size.names
        }
        if isinstance(captured.batch, int):
            self.shape = tuple(_known(size, {"B": captured.batch}) for size in self.shape)
        self.dtype = getattr(torch, state.dtype)
        self.number = float(state.init) if state.uniform else None  # type: ignore[arg-type]
        self.register_buffer("value", None if state.uniform else torch.from_numpy(state.start()).to(self.dtype))

    def forward(self, given: tuple[Tensor, ...]) -> Tensor:
        """Returns the state for these inputs."""
        shape = [size if isinstance(size, int) else self._size(size, given) for size in self.shape]
        if self.number is not None:
            return torch.full(shape, self.number, dtype=self.dtype, device=given[0].device)
        return self.value.expand(shape).clone()  # type: ignore[union-attr]

    def _size(self, size: Linear, given: tuple[Tensor, ...]) -> Any:
        total: Any = size.constant
        for name, factor in size.terms:
            at, axis = self.places[name]
            total = total + factor * given[at].shape[axis]
        return total


def _known(size: Any, sizes: Mapping[str, int]) -> Any:
    """Returns a size with the axes put in whose sizes are known."""
    if isinstance(size, int) or not set(size.names) <= set(sizes):
        return size
    return size.constant + sum(factor * sizes[name] for name, factor in size.terms)


@dataclass(frozen=True)
class Alone:
    """One kind of neuron, as it is called alone.

    Attributes:
        call: One step: (input, states) -> (output, states).
        example: An input and states.
    """

    call: Any
    example: tuple[Tensor, ...]


class Neurons(nn.Module):
    """One step of every kind of neuron in a network, side by side, each with inputs of its own.

    Args:
        kinds: The kinds.
    """

    def __init__(self, kinds: Sequence[Alone]) -> None:
        super().__init__()
        self.kinds = kinds
        self.held = nn.ModuleList(kind.call for kind in kinds)

    @property
    def counts(self) -> list[int]:
        """How many tensors each kind takes, and returns."""
        return [len(kind.example) for kind in self.kinds]

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Returns output and states of every kind, one after the other."""
        found: list[Tensor] = []
        for call, count in zip(self.held, self.counts, strict=True):
            found += call(*given[:count])
            given = given[count:]
        return tuple(found)


def neurons_of(module: GraphModule) -> tuple[Neurons, list[int]]:
    """Returns the kinds of neurons of a network, and which kind every call is of."""
    kinds: dict[Any, Alone] = {}
    of_call: list[int] = []
    for node in layer_nodes(module):
        key, alone = _alone(module, node)
        of_call.append(list(kinds).index(key) if key in kinds else len(kinds))
        kinds.setdefault(key, alone)
    return Neurons(list(kinds.values())), of_call


def _alone(module: GraphModule, node: Node) -> tuple[Any, Alone]:
    inside = _module(module, node)
    current, before = node.args[0], node.args[1]
    if isinstance(inside, StepLoop):
        shapes = [(*hints(one),) for one in before]  # type: ignore[union-attr, arg-type]
        types = [one.meta["val"].dtype for one in (current, *before)]  # type: ignore[union-attr, misc]
        sizes = [hints(current)[1:], *shapes]  # type: ignore[arg-type]
        example = tuple(torch.zeros(size, dtype=kind) for size, kind in zip(sizes, types, strict=True))
        return node.name, Alone(_OneStep(inside), example)
    if isinstance(inside, FusedNeuron):
        settings = inside.neuron
        dtype = torch.float32
    else:
        settings = (node.target, *(_constant(module, value) for value in node.args[2:]))
        dtype = current.meta["val"].dtype  # type: ignore[union-attr]
    held = before.meta["val"].dtype if isinstance(before, Node) else torch.float32
    key = (str(settings[0]), *(str(value) for value in settings[1:]), dtype, held)
    return key, Alone(_OneNeuron(settings), (torch.zeros(6, dtype=dtype), torch.zeros(6, dtype=held)))


class _OneStep(nn.Module):
    def __init__(self, loop: StepLoop) -> None:
        super().__init__()
        self.loop = loop

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y, *after = self.loop(x[None], states)
        return (y[0], *after)


class _OneNeuron(nn.Module):
    def __init__(self, settings: tuple[Any, ...]) -> None:
        super().__init__()
        self.target, self.settings = settings[0], settings[1:]
        for at, value in enumerate(self.settings):
            if isinstance(value, Tensor):
                self.register_buffer(f"setting_{at}", value.detach().clone())

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        given = [getattr(self, f"setting_{at}", value) for at, value in enumerate(self.settings)]
        spikes, after = self.target(x[None], v, *given)
        return spikes[0], after


def _constant(module: GraphModule, value: Any) -> Any:
    """Returns an argument as it is, or, of a node that no input reaches, what it computes."""
    if not isinstance(value, Node):
        return value
    if value.op == "get_attr":
        return fetch(module, str(value.target))
    if value.op != "call_function":
        raise ValueError(f"{value.name} depends on an input")
    with torch.no_grad():
        return value.target(*(_constant(module, one) for one in value.args), **value.kwargs)  # type: ignore[operator]
