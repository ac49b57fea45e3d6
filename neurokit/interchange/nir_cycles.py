"""Cycles of a NIR graph: which nodes run together, and which of their edges carry the value of the step before.

NIR's equations run in continuous time, where a cycle through a neuron needs no delay. In time steps somebody has to be
a step late, or a step would wait for itself. Here that is a neuron's output: the edge from a neuron that leads back to
a neuron which is as near to the input (counted in neurons on the shortest way), or nearer. snnTorch's RLeaky and
RSynaptic and SpikingJelly's recurrent containers do the same. A Delay of at least one step is late by what it says;
cycles through one need no other. None of this looks at the order of nodes or edges in the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

MOST_TOGETHER = 512  # nodes of one component; each of them runs in every step by itself
Edge = tuple[str, str]
Feeds = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Schedule:
    """In which order a graph runs.

    Attributes:
        units: Nodes that run together, in the order of execution: one node, or all of a strongly connected component.
        late: Edges that carry the value of the step before.
    """

    units: list[tuple[str, ...]]
    late: frozenset[Edge]


class NoOrderError(Exception):
    """A graph with a cycle that nothing delays; `cycle` names its nodes."""

    def __init__(self, cycle: list[str]) -> None:
        super().__init__(" -> ".join(map(repr, [*cycle, cycle[0]])))
        self.cycle = cycle


def schedule(feeds: Feeds, neurons: Collection[str], delays: Collection[str], starts: Iterable[str]) -> Schedule:
    """Returns the order of a graph.

    Args:
        feeds: Of every node, those that lead to it.
        neurons: The nodes that are neurons.
        delays: The nodes that delay every element by at least one step.
        starts: The input nodes.

    Raises:
        NoOrderError: If a cycle has neither a neuron nor such a delay.
    """
    component = components(feeds)
    inner = {name: [s for s in sources if component[s] == component[name]] for name, sources in feeds.items()}
    late = {(source, name) for name, sources in inner.items() for source in sources if source in delays}
    rest = {name: [s for s in sources if (s, name) not in late] for name, sources in inner.items()}
    late |= _closing(rest, frozenset(neurons), _ranks(feeds, frozenset(neurons), starts))
    try:
        within = list(
            TopologicalSorter(
                {name: sorted(s for s in inner[name] if (s, name) not in late) for name in sorted(feeds)}
            ).static_order()
        )
    except CycleError as error:
        raise NoOrderError(list(dict.fromkeys(error.args[1]))) from None
    members: dict[str, list[str]] = {}
    for name in within:
        members.setdefault(component[name], []).append(name)
    before = {
        unit: sorted({component[s] for name in names for s in feeds[name]} - {unit}) for unit, names in members.items()
    }
    order = TopologicalSorter({unit: before[unit] for unit in sorted(members)}).static_order()
    return Schedule([tuple(members[unit]) for unit in order], frozenset(late))


def _ranks(feeds: Feeds, neurons: frozenset[str], starts: Iterable[str]) -> dict[str, float]:
    """Returns of every node the fewest neurons on a way to it from an input."""
    leads: dict[str, list[str]] = {name: [] for name in feeds}
    for name, sources in feeds.items():
        for source in sources:
            leads[source].append(name)
    rank: dict[str, float] = dict.fromkeys(feeds, float("inf"))
    todo = deque(starts)
    rank.update(dict.fromkeys(todo, 0.0))
    while todo:
        name = todo.popleft()
        passed = name in neurons
        for target in leads[name]:
            if rank[name] + passed < rank[target]:
                rank[target] = rank[name] + passed
                (todo.append if passed else todo.appendleft)(target)
    return rank


def _closing(feeds: Feeds, neurons: frozenset[str], rank: Mapping[str, float]) -> set[Edge]:
    """Returns the edges out of neurons, within a component, that lead to a neuron of no higher rank."""
    component = components(feeds)
    leads: dict[str, list[str]] = {name: [] for name in feeds}
    for name, sources in feeds.items():
        for source in sources:
            if component[source] == component[name]:
                leads[source].append(name)
    # The lowest rank of the neurons that a node leads to next, a neuron being the next to itself.
    nearest = {name: rank[name] for name in feeds if name in neurons}
    todo = deque(sorted(nearest, key=lambda name: rank[name]))
    while todo:
        name = todo.popleft()
        for source in feeds[name]:
            inside = component[source] == component[name] and source not in neurons
            if inside and (source not in nearest or nearest[name] < nearest[source]):
                nearest[source] = nearest[name]
                todo.append(source)
    return {(name, target) for name in neurons for target in leads[name] if nearest[target] <= rank[name]}


def components(feeds: Feeds) -> dict[str, str]:
    """Returns of every node the least name in its strongly connected component (Tarjan 1972, without recursion)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: dict[str, str] = {}
    for root in feeds:
        if root in number:
            continue
        work = [(root, iter(feeds[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        while work:
            name, sources = work[-1]
            source = next(sources, None)
            if source is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == number[name]:
                    at = _position(stack, name)
                    found.update(dict.fromkeys(stack[at:], min(stack[at:])))
                    del stack[at:]
            elif source not in number:
                number[source] = low[source] = len(number)
                stack.append(source)
                work.append((source, iter(feeds[source])))
            elif source not in found:
                low[name] = min(low[name], number[source])
    return found


def _position(stack: list[str], name: str) -> int:
    at = len(stack) - 1
    while stack[at] != name:
        at -= 1
    return at
