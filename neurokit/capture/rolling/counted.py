"""Numbers that differ from step to step of a loop: where two lengths show one law of t and T, elements of a sequence.

`v / (t + 1)`, `0.9 ** t` and `1 - t / T` are other numbers in every step of an unrolled graph. Calls of one line of
code are told apart by their order; what the law gives must be the loop's own number, bit for bit in the type that it
is used in, at every step of both lengths. Whether it holds at later steps, too, is seen in `later_steps`.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_flatten, tree_unflatten

from neurokit.capture.rolling.laws import Law, law_of

aten = torch.ops.aten
LINE = "stack_trace"  # the one line that a trace with lines keeps there
_MOST_SKIPPED = 2  # steps that a loop may leave out at its start

# What takes a number, by what takes a tensor in its place and computes the same bits.
_WITH_TENSOR: dict[Any, Any] = {
    **{target: target for target in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)},
    aten.rsub.Scalar: aten.rsub.Tensor,
    aten.eq.Scalar: aten.eq.Tensor,
    aten.ne.Scalar: aten.ne.Tensor,
    aten.lt.Scalar: aten.lt.Tensor,
    aten.le.Scalar: aten.le.Tensor,
    aten.gt.Scalar: aten.gt.Tensor,
    aten.ge.Scalar: aten.ge.Tensor,
    aten.where.ScalarSelf: aten.where.self,
    aten.where.ScalarOther: aten.where.self,
    aten.masked_fill.Scalar: aten.masked_fill.Tensor,
}
_COMPARES = {name.Tensor for name in (aten.eq, aten.ne, aten.lt, aten.le, aten.gt, aten.ge)}
_FILLS = (aten.full.default, aten.full_like.default)
_ROW = 2  # which flattened argument of `select` is the number
_WHOLE = -1  # the node itself, a constant
_TYPES = (torch.float32, torch.float64, torch.int64)


@dataclass(frozen=True)
class _Place:
    """A number in an unrolled graph.

    Attributes:
        node: What takes it.
        at: Which of its flattened arguments, or `_WHOLE`.
        value: The number.
    """

    node: Node
    at: int
    value: int | float


@dataclass(frozen=True)
class _Lanes:
    """One call of every step, at both lengths.

    Attributes:
        start: The first step.
        short: Its numbers from there on.
        long: The same of more steps.
    """

    start: int
    short: list[_Place]
    long: list[_Place]


@dataclass(frozen=True)
class Unrolled:
    """A graph of so many steps.

    Attributes:
        graph: The graph; it is changed.
        steps: T.
        constants: What placeholders of constants hold.
        tables: Placeholders of parameters and buffers, of which a step may read the row of its number.
    """

    graph: Graph
    steps: int
    constants: Mapping[Node, Tensor]
    tables: Collection[Node] = ()


def count_steps(short: Unrolled, long: Unrolled) -> tuple[bool, str]:
    """Lets numbers that follow a law of t and T be read from sequences, in place.

    Args:
        short: A graph of some steps.
        long: The same of more.

    Returns:
        Whether there were any; and of a number that differs with t or T and follows no law its line and values, or "".
    """
    places, others = _places(short), _places(long)
    found, lawless = False, ""
    for key, group in places.items():
        lawless = lawless or _lawless(group, others.get(key, []), short.steps, long.steps)
        for lanes in _lanes(group, others.get(key, []), short.steps, long.steps):
            lawless = lawless or _without_law(lanes, short.steps, long.steps)
            found = _replaced(lanes, short, long) or found
    for unrolled in (short, long):
        unrolled.graph.eliminate_dead_code()
        for node in unrolled.constants:
            if not node.users:
                unrolled.graph.erase_node(node)
        for node in unrolled.graph.nodes:
            node.meta.pop(LINE, None)  # a line is a path on its user's disk
    return found, lawless


def _lawless(short: Sequence[_Place], long: Sequence[_Place], few: int, many: int) -> str:
    """Returns line and values of a number outside of the steps that differs with T and is not T and a difference."""
    if len(short) != 1 or len(long) != 1:
        return ""
    (one,), (other,) = short, long
    line = one.node.meta.get(LINE)
    if not line or one.value == other.value or other.value - one.value == many - few:
        return ""
    return f"at {line} a number is {one.value:.6g} over {few} steps and {other.value:.6g} over {many}"


def _without_law(lanes: _Lanes, few: int, many: int) -> str:
    """Returns line and values of a number that differs from step to step by no law, or ""."""
    line = lanes.short[0].node.meta.get(LINE) if lanes.short else None
    if not line or _same(lanes) or _law(lanes, few, many) is not None:
        return ""
    values = ", ".join(f"{place.value:.6g}" for place in lanes.long)
    return f"at {line} a number of the steps is {values}"


def line_of(node: Node) -> tuple[Any, ...]:
    """Returns what tells the calls of one place in the code: the operation, its line, and the module that called it."""
    modules = node.meta.get("nn_module_stack") or {}  # its keys number the calls of a module
    return node.target, node.meta.get(LINE), tuple(path for path, _ in modules.values())


def _known(unrolled: Unrolled) -> dict[Node, Tensor]:
    """Returns every single number that is computed of constants alone, as a counter `t = t + 1` is."""
    found = dict(unrolled.constants)
    for node in unrolled.graph.nodes:
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, Tensor) or value.numel() != 1:
            continue
        drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        if not drawn and all(source in found for source in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), found.__getitem__)
            found[node] = node.target(*args, **kwargs)
    return found


def _places(unrolled: Unrolled) -> dict[Any, list[_Place]]:
    found: dict[Any, list[_Place]] = {}
    known = _known(unrolled)
    for node in unrolled.graph.nodes:
        if node.op != "call_function":
            continue
        line = line_of(node)
        if node in known:
            value = known[node].item()
            if type(value) in (int, float):
                found.setdefault((*line, _WHOLE), []).append(_Place(node, _WHOLE, value))
            continue
        leaves, _ = tree_flatten(node.args)
        for at, leaf in enumerate(leaves):
            takes = node.target in _WITH_TENSOR or (node.target in _FILLS and at == _filling(node))
            takes = takes or (at == _ROW and _reads_row(node, unrolled.tables))
            if takes and type(leaf) in (int, float):
                found.setdefault((*line, at), []).append(_Place(node, at, leaf))
    return found


def _reads_row(node: Node, tables: Collection[Node]) -> bool:
    """Returns whether a node reads a row of a table by its number."""
    return bool(node.target == aten.select.int and node.args[1] == 0 and node.args[0] in tables)


def _filling(node: Node) -> int:
    """Returns which flattened argument of `full` or `full_like` is the number."""
    return len(tree_flatten(node.args[0])[0])


def _lanes(short: Sequence[_Place], long: Sequence[_Place], few: int, many: int) -> list[_Lanes]:
    """Returns the calls of one line, step by step at both lengths, for each of its calls in a step."""
    each, rest = divmod(len(long) - len(short), many - few)
    missing = each * few - len(short)
    if rest or each < 1 or missing < 0:
        return []
    skipped, rest = divmod(missing, each)
    if not rest and 0 < skipped <= _MOST_SKIPPED:
        starts = [_first_read(short[0].node, few)] if skipped == 1 else [skipped]
    elif missing < each:
        starts = [0]
    else:
        return []
    for start in starts:
        whole = few - skipped if not rest else few - 1
        ways = [_in_turn(short, long, each, whole, many - few)]
        if each > 1 and not missing:
            ways.append(_one_after_the_other(short, long, few, many))
        found = [[_Lanes(start, *lanes) for lanes in way] for way in ways]
        lawful = (way for way in found if all(_same(lanes) or _law(lanes, few, many) is not None for lanes in way))
        way = next(lawful, found[0])
        if missing and rest:
            _add_last(way, short[whole * each :], few, many, "short")
            _add_last(way, long[(whole + many - few) * each :], few, many, "long")
        return way
    return []


def _in_turn(short: Sequence[_Place], long: Sequence[_Place], each: int, steps: int, more: int) -> list[Any]:
    """Returns the lanes of calls whose order is one step after the other."""
    ends = steps * each, (steps + more) * each
    return [(list(short[k : ends[0] : each]), list(long[k : ends[1] : each])) for k in range(each)]


def _one_after_the_other(short: Sequence[_Place], long: Sequence[_Place], few: int, many: int) -> list[Any]:
    """Returns the lanes of calls that run over all steps one after the other, as layers in an outer loop do."""
    count = len(short) // few
    return [(list(short[k * few : (k + 1) * few]), list(long[k * many : (k + 1) * many])) for k in range(count)]


def _add_last(way: Sequence[_Lanes], left: Sequence[_Place], few: int, many: int, name: str) -> None:
    """Adds the calls of a last step, of which those are missing whose results nobody reads."""
    steps, at = (few if name == "short" else many), 0
    for place in left:
        while at < len(way) and not _next_is(way[at], place, few, many, steps):
            at += 1
        if at == len(way):
            return
        getattr(way[at], name).append(place)
        at += 1


def _next_is(lanes: _Lanes, place: _Place, few: int, many: int, steps: int) -> bool:
    if _same(lanes):
        return lanes.short[0].value == place.value
    law = _law(lanes, few, many)
    return law is not None and law.fits([place.value], steps - 1, steps)


def _first_read(node: Node, steps: int) -> int:
    """Returns 1 for what later steps alone have, and 0 for what the last one lacks, of a first call in all but one."""
    reached: dict[Node, int] = {}
    for each in node.graph.nodes:
        place = each.args[2] if each.target == aten.select.int else each.args[1] if _picks(each) else -1
        above = (reached[source] for source in each.all_input_nodes)
        reached[each] = max([place % steps if isinstance(place, int) and place != -1 else -1, *above])
    return min((1 for user in node.users if reached[user] != 0), default=0)


def _picks(node: Node) -> bool:
    source = node.args[0] if node.target is operator.getitem else None
    return isinstance(source, Node) and source.target == aten.unbind.int


def _same(lanes: _Lanes) -> bool:
    return len({place.value for place in (*lanes.short, *lanes.long)}) < 2


def _law(lanes: _Lanes, few: int, many: int) -> Law | None:
    values = [[place.value for place in group] for group in (lanes.short, lanes.long)]
    return law_of(values[0], values[1], few, many, lanes.start)


def _replaced(lanes: _Lanes, short: Unrolled, long: Unrolled) -> bool:
    if _same(lanes):
        return False
    law = _law(lanes, short.steps, long.steps)
    types = {_type(place) for place in (*lanes.short, *lanes.long)}
    if law is None or len(types) > 1 or not types <= set(_TYPES):
        return False
    dtype = types.pop()
    assert dtype is not None
    pairs = ((lanes.short, short), (lanes.long, long))
    if not all(_same_bits(law, dtype, group, lanes.start, unrolled.steps) for group, unrolled in pairs):
        return False
    for group, unrolled in pairs:
        _read(group, law, dtype, lanes.start, unrolled)
    return True


def _same_bits(law: Law, dtype: torch.dtype, group: Sequence[_Place], start: int, steps: int) -> bool:
    whole = all(isinstance(place.value, int) for place in group)
    expected = torch.tensor([place.value for place in group], dtype=torch.int64 if whole else torch.float64)
    made = law.values(steps, dtype).expand(steps)[start : start + len(group)]
    return torch.equal(made, expected.to(dtype))


def _type(place: _Place) -> torch.dtype | None:
    """Returns the type in which an operation uses a number."""
    value = place.node.meta.get("val")
    if not isinstance(value, Tensor):
        return None
    if place.node.target == aten.select.int:
        return torch.int64
    if place.at == _WHOLE or _WITH_TENSOR.get(place.node.target) not in _COMPARES:
        return value.dtype
    other = next((n.meta["val"] for n in place.node.all_input_nodes), None)
    return torch.result_type(other, place.value) if isinstance(other, Tensor) else None


def _read(group: Sequence[_Place], law: Law, dtype: torch.dtype, start: int, unrolled: Unrolled) -> None:
    """Lets the calls of one line read their numbers from a sequence."""
    graph, steps = unrolled.graph, unrolled.steps
    with graph.inserting_before(next(node for node in graph.nodes if node.op == "call_function")):
        whole = law.written(graph, steps, dtype)
    for step, place in enumerate(group, start):
        with graph.inserting_before(place.node):
            one = whole
            if law.moves:
                one = graph.call_function(aten.select.int, (whole, 0, step))
                one.meta = {
                    "nn_module_stack": place.node.meta.get("nn_module_stack", {}),
                    "val": whole.meta["val"][step],
                }
            _take(graph, place, one)


def _take(graph: Graph, place: _Place, one: Node) -> None:
    """Lets an operation take a tensor for its number."""
    node = place.node
    if place.at != _WHOLE and node.target in _WITH_TENSOR:
        flat, spec = tree_flatten(node.args)
        flat[place.at] = one
        node.args = tree_unflatten(flat, spec)
        node.target = _WITH_TENSOR[node.target]
        return
    if place.at != _WHOLE and node.target == aten.select.int:
        node.target, node.args = aten.index.Tensor, (node.args[0], [one])
        return
    value = node.meta["val"]
    sizes: Any = node.args[0]
    if place.at != _WHOLE and node.target == aten.full_like.default:
        made = graph.call_function(aten.zeros_like.default, (node.args[0],), dict(node.kwargs))
        made.meta = dict(node.meta)
        made = graph.call_function(aten.add.Tensor, (made, one))
    else:
        sizes = list(value.shape) if place.at == _WHOLE else sizes
        made = graph.call_function(aten.expand.default, (one, sizes))
    made.meta = dict(node.meta)
    node.replace_all_uses_with(made)
    graph.erase_node(node)
