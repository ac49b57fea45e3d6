"""Closes the loops of a captured program into cycles of a NIR graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import Unsupported
from neurokit.export.nir.graph import GraphBuilder, Made, Value, shape_of
from neurokit.interchange.nir_cycles import NoOrderError, schedule
from neurokit.interchange.nir_file import NEURONS
from neurokit.neurons.delay import Delay
from neurokit.neurons.loops import GraphLoop

if TYPE_CHECKING:
    from torch.fx import Node

    from neurokit.capture import Captured, StateInfo


def delay_lines(captured: Captured) -> dict[str, Delay]:
    """Returns the delay lines of a captured model by their module paths."""
    named = captured.module.named_modules()
    return {name.removeprefix("net").removeprefix("."): part for name, part in named if isinstance(part, Delay)}


class Loops:
    """What the loops of one program feed back, while its graph is made.

    Args:
        graph: The graph in the making.
        captured: The capture, its loops cut open.
        dt: Seconds a time step.

    Attributes:
        states: Every fed-back state by the name of its placeholder.
    """

    def __init__(self, graph: GraphBuilder, captured: Captured, dt: float) -> None:
        self.graph, self.captured, self.dt = graph, captured, dt
        user = captured.program.graph_signature.user_inputs[1:]
        self.states: dict[str, StateInfo] = {str(user[at]): captured.states[at] for at in captured.feedback}
        self._delays: dict[str, str] = {}  # the Delay node that a state is, by the state's name

    def enter(self, node: Node) -> Value:
        """Returns a fed-back value as it comes in: a Delay, or a name that `close` replaces."""
        state = self.states[node.name]
        shape = shape_of(node)[2:]
        delayed = self._steps(state)
        if delayed is None:
            self.graph.foreign[_late(state)] = Made("", {}, state.neuron, node.name, ("T", "B"), shape)
            return Value((_late(state),), ("T", "B"), shape, sole=False)
        name, steps = delayed
        seconds = np.broadcast_to(steps * self.dt, shape).copy()
        value = self.graph.add("Delay", {"delay": seconds}, None, node, shape, lead=("T", "B"), name=name)
        self._delays[state.name] = value.sources[0]
        return value

    def close(self, states: Sequence[Any]) -> None:
        """Leads what each loop feeds back to where its value of the step before came in.

        Args:
            states: What the program puts out as states, in order.
        """
        lead: dict[str, tuple[str, ...]] = {}
        for at in self.captured.feedback:
            state, value = self.captured.states[at], states[at]
            sources = value.sources if isinstance(value, Value) else ()
            if state.name in self._delays:
                self.graph.edges += [(source, self._delays[state.name]) for source in sources]
                continue
            lead[_late(state)] = sources
            self.graph.foreign.pop(_late(state), None)
            strange = [s for s in sources if s not in self.graph.nodes or self.graph.nodes[s].kind not in NEURONS]
            if strange or not sources:
                self._refuse(state.neuron, "what it feeds back is no neuron's output, and NIR's edges have no delay")
        late = {
            (source, target)
            for name, sources in lead.items()
            for source in sources
            for start, target in self.graph.edges
            if start == name
        }
        self.graph.edges = [
            (source, target) for start, target in self.graph.edges for source in lead.get(start, (start,))
        ]
        self.graph.escapes.difference_update(lead)
        if self.captured.loops and not self.graph.reasons:
            self._check(late)

    def _check(self, late: set[tuple[str, str]]) -> None:
        """Refuses a graph whose reader would take other edges to be late than those that are."""
        feeds: dict[str, list[str]] = {name: [] for name in self.graph.nodes}
        for source, target in self.graph.edges:
            feeds[target].append(source)
        kinds = {name: made.kind for name, made in self.graph.nodes.items()}
        delays = {n for n, k in kinds.items() if k == "Delay" and (self.graph.nodes[n].fields["delay"] > 0).all()}
        starts = [name for name, kind in kinds.items() if kind == "Input"]
        try:
            read = schedule(feeds, {n for n, k in kinds.items() if k in NEURONS}, delays, starts).late
        except NoOrderError:
            read = frozenset()
        wrong = sorted({edge for edge in read if edge[0] not in delays} ^ late)
        double = len(self.graph.edges) != len(set(self.graph.edges))
        if wrong or double:
            why = (
                "one neuron leads to one place both at once and a step later"
                if double
                else (
                    f"in NIR the edge {wrong[0][0]!r} -> {wrong[0][1]!r} would be "
                    f"{'at once' if wrong[0] in late else 'a step late'}, and here it is not"
                )
            )
            self._refuse(self.captured.loops[0], why)

    def _refuse(self, path: str, why: str) -> None:
        module = self.captured.module.get_submodule(f"net.{path}" if path else "net")
        fix = "feed a neuron's output back to neurons that are as near to the input, or nearer"
        self.graph.reasons.append(Unsupported(path, type(module).__name__, why, fix))

    def _steps(self, state: StateInfo) -> tuple[str, np.ndarray] | None:
        """Returns name and steps of the Delay that a fed-back value is the last step of, or None."""
        loop = self.captured.module.get_submodule(f"net.{state.neuron}" if state.neuron else "net")
        if not isinstance(loop, GraphLoop):
            return None
        name = loop.fed[list(loop._memories).index(state.memory)]
        if name not in loop.delays:
            return None
        line = loop.parts.get(name)
        return name, 1 + (line.steps.numpy() if isinstance(line, Delay) else np.zeros((), np.int64))


def _late(state: StateInfo) -> str:
    return f"late:{state.name}"
