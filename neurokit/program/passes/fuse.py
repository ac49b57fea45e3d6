"""Puts kernels in the place of layers of neurons and what stands before them, each checked on numbers at once."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from neurokit.neurons.parameters import NeuronParameters
from neurokit.program.fusions import (
    BEHIND,
    FUSIONS,
    MOST,
    Behind,
    FusedNeuron,
    Fusion,
    Match,
    Site,
    most_of,
    read_outside,
)
from neurokit.program.nodes import NEURONS, hints, is_op
from neurokit.program.passes.base import Pass, PassError

_TOLERANCE = 1e-4  # of a current in float32, relative to its largest element: another order of summation
_HALF = 3e-2  # in 16 bits
_FLIPS = 0.01  # share of decisions that rounding may turn in float numerics
_RATE = 0.3  # of the spikes that a match is tried on


@dataclass(frozen=True)
class Placed:
    """What became of one layer of neurons.

    Attributes:
        node: Name of its node in the program.
        kernel: The kernel that it went into, or "" where it stays in plain operations.
        inside: Operations that went with it.
        reasons: Why the kernels asked before did not take it, by their names.
    """

    node: str
    kernel: str = ""
    inside: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


def fuse(
    module: GraphModule,
    starts: Mapping[str, float | None],
    exact: bool,
    kernels: Sequence[str] | None = None,
    device: str = "cpu",
) -> list[Placed]:
    """Rewrites a program in place: every layer of common neurons goes into the first kernel that takes it.

    Args:
        module: The program, of flat inputs and outputs.
        starts: The number that the membrane of a neuron's node starts from, by the node's name; None where it is given
            from outside.
        exact: Whether sums are proven to have the same bits in every order; then a fused current must have them, too.
        kernels: Names of the kernels that are asked; default is all.
        device: Where a fused layer and what stood there are run to be compared.

    Returns:
        What became of every layer, in order.

    Raises:
        PassError: If a fused layer does not compute what stood there before.
    """
    placed: list[Placed] = []
    asked = sorted((f for name, f in FUSIONS.items() if kernels is None or name in kernels), key=lambda f: f.order)

    def rewrite(graph: GraphModule) -> None:
        neurons = [node for node in graph.graph.nodes if is_op(node, NEURONS)]
        placed.extend(_place(graph, node, starts.get(node.name), exact, asked, device) for node in neurons)

    Pass("put kernels in the place of neurons", rewrite, after=lambda graph: _unplaced(graph, placed))(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return placed


def _unplaced(module: GraphModule, placed: Sequence[Placed]) -> list[str]:
    names = {one.node for one in placed if one.kernel}
    return [f"{node.name} is still there" for node in module.graph.nodes if node.name in names and is_op(node, NEURONS)]


def _place(
    module: GraphModule, node: Node, start: float | None, exact: bool, asked: Sequence[Fusion], device: str
) -> Placed:
    arguments = tuple(_constant(module, value) for value in node.args[2:])
    parameters = NeuronParameters.from_arguments(NEURONS[node.target], _numbers(arguments))
    site = Site(node, module, parameters, start, exact, arguments)
    reasons: dict[str, str] = {}
    for fusion in asked:
        found: Match | str = site.not_one_number() or fusion.match(site)
        if isinstance(found, str):
            reasons[fusion.kernel] = found
            continue
        others = [one for one in read_outside(found.inside, node) if one not in found.handed]
        if others:
            reasons[fusion.kernel] = f"{others[0].name} is read by something else, too"
            continue
        if (early := _feeds_itself(site, found)) is not None:
            reasons[fusion.kernel] = f"{early.name} reads its sum before the neuron does, and leads to it"
            continue
        _check(site, found, fusion.kernel, device)
        _apply(site, found, fusion.kernel)
        nodes = (*reversed(found.inside), *(() if found.behind is None else (found.behind.node,)))
        return Placed(node.name, fusion.kernel, tuple(_word(one) for one in nodes), reasons)
    return Placed(node.name, reasons=reasons)


def _elsewhere(site: Site, match: Match) -> list[tuple[Node, Node]]:
    """Returns the sums that a kernel hands on, each with a node that reads it besides the layer itself."""
    own = {*match.inside, site.node}
    return [(one, user) for one in match.handed for user in one.users if user not in own]


def _feeds_itself(site: Site, match: Match) -> Node | None:
    """Returns a reader of the sum that what the kernel is given depends on, or None."""
    readers = {user for _, user in _elsewhere(site, match)}
    waiting, seen = list(match.given) if readers else [], set()
    while waiting:
        node = waiting.pop()
        if node in readers:
            return node
        if node not in seen:
            seen.add(node)
            waiting += node.all_input_nodes
    return None


def _constant(module: GraphModule, value: Any) -> Any:
    """Returns what a node computes that no input reaches; anything else as it is."""
    if not isinstance(value, Node) or value.op not in ("get_attr", "call_function"):
        return value
    run = Interpreter(module)
    for one in value.all_input_nodes:
        run.env[one] = _constant(module, one)
        if isinstance(run.env[one], Node):
            return value
    with torch.no_grad():
        found = run.run_node(value)
    return found.detach() if isinstance(found, Tensor) else found


def _numbers(values: Sequence[Any]) -> list[Any]:
    """Returns arguments with a number in the place of those that the program computes."""
    return [0.5 if isinstance(value, Node) else value for value in values]


def _word(node: Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _apply(site: Site, match: Match, kernel: str) -> None:
    """Puts the layer in the place of the nodes; who else reads its sum is given the kernel's."""
    module, node = site.module, site.node
    name = f"fused_{node.name}"
    module.add_module(name, match.layer)
    elsewhere = _elsewhere(site, match)
    match.layer.want_current = bool(elsewhere)
    with module.graph.inserting_after(_last_of(module, (node, *match.given))):
        made = module.graph.call_module(name, match.given)
    current = site.current.meta["val"]
    behind = () if match.behind is None else (match.behind.source.meta["val"],)
    made.meta = {**node.meta, "val": (*node.meta["val"], current, current, *behind), "fused": kernel}
    if match.behind is not None:
        made.meta[MOST] = match.behind.most
    sums: dict[Node, Node] = {}
    for one in dict.fromkeys(one for one, _ in elsewhere):
        sums[one] = _given_on(made, one, [made, *sums.values()][-1])
    for one, user in elsewhere:
        user.replace_input_with(one, sums[one])
    node.replace_all_uses_with(made)
    module.graph.erase_node(node)
    if match.behind is not None:
        _let_through(made, match.behind)
    for one in match.inside:
        if not one.users:
            module.graph.erase_node(one)
    if sums or match.behind is not None:
        _move_behind([made, *sums.values()])


def _last_of(module: GraphModule, nodes: Sequence[Node]) -> Node:
    """Returns the one of some nodes that comes last."""
    return next(node for node in reversed(module.graph.nodes) if node in nodes)


def _let_through(made: Node, behind: Behind) -> None:
    """Puts what a kernel computes behind its spikes, moved as it was, in the place of the product or the sum."""
    graph = made.graph
    with graph.inserting_before(behind.node):
        value = graph.call_function(operator.getitem, (made, BEHIND))
        value.meta["val"] = behind.source.meta["val"]
        known: dict[Node, Node] = {behind.source: value}
        for move in reversed(behind.moves):
            value = known[move] = graph.node_copy(move, lambda one: known.get(one, one))
    behind.node.replace_all_uses_with(value)
    graph.erase_node(behind.node)


def _move_behind(made: Sequence[Node]) -> None:
    """Moves what stands in front of a kernel and reads it, or its sums, behind these, in the order that it has."""
    given, at = set(made), made[-1]
    for node in list(made[0].graph.nodes):
        if node is made[0]:
            return
        if given & set(node.all_input_nodes):
            given.add(node)
            at.append(node)
            at = node


def _given_on(made: Node, like: Node, at: Node) -> Node:
    """Returns a kernel's current, behind `at`, in the shape of what it stands for; the batch is the one free axis."""
    graph, value = made.graph, like.meta["val"]
    with graph.inserting_after(at):
        current = graph.call_function(operator.getitem, (made, 2))
    current.meta["val"] = made.meta["val"][2]
    if value.shape == current.meta["val"].shape:
        return current
    shape = [size if isinstance(size, int) else -1 for size in value.shape]
    with graph.inserting_after(current):
        moved = graph.call_function(torch.ops.aten.reshape.default, (current, shape))
    moved.meta["val"] = value
    return moved


def _check(site: Site, match: Match, kernel: str, device: str) -> None:
    """Runs what stood there and what is to stand there on the same random numbers.

    Raises:
        PassError: If they differ by more than rounding, or in a bit of an exact program.
    """
    generator = torch.Generator(device).manual_seed(0)
    known = {node: _drawn(site, node, generator) for node in dict.fromkeys(match.given)}
    wanted = site.value(known, site.current)
    layer = match.layer.to(device)
    layer.watched = True
    given = [known[node] for node in match.given]
    with torch.no_grad():
        spikes, _, _, current, *behind = layer(*given)
        pairs = [(current, wanted)]
        if match.handed:
            layer.want_current, sums = True, site.value(known, match.handed[0]).reshape(wanted.shape)
            _, _, handed, shown = layer(*given)
            pairs += [(handed, sums), (shown, wanted)]
        layer.watched = layer.want_current = False
        wrong = (
            "" if match.behind is None else _wrong_behind(site, match.behind, layer, (spikes, *behind), known, given)
        )
    layer.to("cpu")
    if wrong := wrong or _difference(site, pairs, spikes, known[match.given[1]]):
        raise PassError(f"kernel {kernel!r} at {site.node.name}: {wrong}")


def _wrong_behind(
    site: Site,
    behind: Behind,
    layer: FusedNeuron,
    results: tuple[Tensor, ...],
    known: Mapping[Node, Tensor],
    given: Sequence[Tensor],
) -> str:
    """Returns how what a kernel computes behind its spikes differs from what stood there, or ""."""
    spikes, through = results
    operand = behind.moves[0] if behind.moves else behind.source
    wanted = site.value({**known, behind.fired: spikes}, behind.node)
    for found in (through, layer.behind(spikes, *given)):
        if not torch.equal(site.value({**known, behind.source: found}, operand), wanted):
            return "what it computes behind its spikes is not what stood there"
    return ""


def _difference(site: Site, pairs: Sequence[tuple[Tensor, Tensor]], spikes: Tensor, v0: Tensor) -> str:
    """Returns how a kernel differs from what stood there, or "": in a bit where it is exact, else beyond rounding."""
    current, wanted = pairs[0]
    half = wanted.dtype in (torch.float16, torch.bfloat16)
    slack = 0.0 if site.exact else (_HALF if half else _TOLERANCE) * max(1.0, float(wanted.abs().max()))
    for one, true in pairs:
        if one.shape != true.shape or not bool(((one - true).abs() <= slack).all()):
            return "its current is another" if one is current else "the sum that it hands on is another"
    own, _ = site.node.target(current.to(wanted.dtype), v0, *site.arguments)  # type: ignore[operator]
    off = float((own != spikes.to(own.dtype)).float().mean()) if own.numel() else 0.0
    return "its spikes do not follow from its current" if off > (0.0 if site.exact else _FLIPS) else ""


def _drawn(site: Site, node: Node, generator: torch.Generator) -> Tensor:
    """Returns numbers for a node: spikes where it holds them, its start for a membrane, else normal ones."""
    value = node.meta["val"]
    shape, place = hints(node), generator.device
    if node is site.node.args[1] and site.starts_at is not None:
        return torch.full(shape, site.starts_at, dtype=value.dtype, device=place)
    most = most_of(node)
    if most is None and (value.dtype == torch.int8 or (site.exact and value.dtype == torch.float16)):
        return torch.randint(-128, 128, shape, generator=generator, device=place).to(value.dtype)  # rounded numbers
    if most is not None:
        return (torch.rand(shape, generator=generator, device=place) < _RATE).to(value.dtype) * most
    numbers = torch.randn(shape, generator=generator, device=place)
    return ((numbers * 8).round() / 8 if site.exact else numbers).to(value.dtype)
