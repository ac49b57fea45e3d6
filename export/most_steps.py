"""How many steps a program can make: a table that is read by the number of the step has so many rows.

Runtimes differ in what they make of a row that is not there: PyTorch and ONNX Runtime refuse it, OpenVINO goes on with
other numbers. So the number is found here, and every runner refuses more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurokit.dims import BATCH, TIME, evaluate
from neurokit.program.nodes import ancestors
from neurokit.program.ops import names_of

if TYPE_CHECKING:
    from torch.fx import Node

    from neurokit.capture import Captured

_TRIED = 1 << 16  # steps of a program of one step that are tried at most
_Row = tuple["Node", int]  # what chooses rows, and how many there are


def most_steps(captured: Captured) -> int | None:
    """Returns how many steps a program can make that is of any T, or of one step; None where no number ends it.

    Only rows that the number of the step or T alone chooses are seen, not those that the input does.

    Args:
        captured: A capture.
    """
    single = captured.form == "step"
    if captured.parts or captured.time_steps is None or (not single and captured.time_steps != "dynamic"):
        return None
    from neurokit.program.readable import readable

    module = readable(captured.program)
    nodes = list(module.graph.nodes)
    given = [node for node in nodes if node.op == "placeholder"]
    ports, states = given[: len(captured.inputs)], given[len(captured.inputs) :]
    traced = None if single else _most_traced(captured, ports)
    after = dict(zip(states, _outputs(nodes)[len(captured.output_names) :], strict=False)) if single else {}
    counted = _counted(ports, states, after)
    data = {*ports, *states} - counted
    read = [row for row in _rows(nodes) if _by_number(row[0], data, counted, ports)]
    if not read:
        return traced
    run = _Numbers(module, [*(index for index, _ in read), *(after[state] for state in counted)])
    if not single:
        found = _longest(lambda steps: run.inside(_inputs(captured, ports, steps), read), max(size for _, size in read))
        return min((most for most in (found, traced) if most is not None), default=None)
    held = dict(zip(states, captured.initial_states(_batch(captured)), strict=True))
    known = _inputs(captured, ports, 1)
    for step in range(min(_TRIED, max(size for _, size in read) + 1)):
        values = run({**known, **{state: held[state] for state in counted}})
        if not _inside(values, read):
            return step
        held = {state: values[after[state]] for state in counted}
    return None


def _most_traced(captured: Captured, ports: Sequence[Node]) -> int | None:
    """Returns the largest T that the trace holds for: `table[:T]` beside `[T, ...]` has no more rows than the table."""
    known = captured.program.range_constraints
    most = []
    for port, node in zip(captured.inputs, ports, strict=True):
        for said, size in zip(port.shape, node.meta["val"].shape, strict=True):
            largest = known[size.node.expr].upper if str(said) == TIME and not isinstance(size, int) else None
            if largest is not None and largest.is_Integer:
                most.append(int(largest))
    return min(most, default=None)


def _longest(holds: Any, most: int) -> int | None:
    """Returns the largest T up to `most` for which something holds, by bisection; None where it holds beyond."""
    if holds(most + 1):
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _rows(nodes: Iterable[Node]) -> Iterator[_Row]:
    """Yields what chooses the elements of an axis whose size is a number, and that size."""
    for node in nodes:
        name = names_of(node.target)[1] if node.op == "call_function" else ""
        if name == "index":
            chosen = list(enumerate(node.args[1]))
        elif name in ("select", "index_select", "gather"):
            chosen = [(node.args[1], node.args[2])]
        elif name == "embedding":
            chosen = [(0, node.args[1])]
        else:
            continue
        for axis, index in chosen:
            size = node.args[0].meta["val"].shape[axis] if hasattr(index, "meta") else None
            if isinstance(size, int) and str(getattr(index.meta.get("val"), "dtype", "")) != "torch.bool":
                yield index, size


def _outputs(nodes: Sequence[Node]) -> list[Any]:
    return list(nodes[-1].args[0])


def _reads(node: Any, data: Collection[Any]) -> bool:
    """Whether a value depends on data, not on their sizes alone."""
    todo, seen = [node], set()
    while todo:
        node = todo.pop()
        if node in data:
            return True
        if node not in seen and not _is_size(node):
            seen.add(node)
            todo += node.all_input_nodes
    return False


def _is_size(node: Any) -> bool:
    """Whether a node reads the size of a tensor."""
    return node.op == "call_function" and names_of(node.target)[1] in ("sym_size", "sym_numel", "size", "numel")


def _counted(ports: Sequence[Node], states: Sequence[Node], after: Mapping[Any, Any]) -> set[Any]:
    """Returns the states of one step whose next value comes of themselves alone: numbers of the step."""
    counted = {state for state in states if hasattr(after.get(state), "op")}
    while True:
        data = {*ports, *states} - counted
        left = {state for state in counted if not _reads(after[state], data)}
        if left == counted:
            return counted
        counted = left


def _by_number(index: Any, data: Collection[Any], counted: Collection[Any], ports: Collection[Any]) -> bool:
    """Whether the number of the step, or T, chooses rows, and nothing else does but sizes of the inputs."""
    if _reads(index, data):
        return False
    needed = ancestors([index])
    sized = [node for node in needed if _is_size(node)]
    of_inputs = all(node.args[0] in ports for node in sized)
    return of_inputs and bool(needed & {*counted} if counted else sized)


def _batch(captured: Captured) -> int:
    return captured.batch if isinstance(captured.batch, int) else 1


def _inputs(captured: Captured, ports: Sequence[Node], steps: int) -> dict[Any, Any]:
    """Returns inputs of so many steps that take no memory: of all that is read here their sizes are known."""
    import torch

    known = {name: dim.example(1) for name, dim in captured.dims.items()} | {TIME: steps, BATCH: _batch(captured)}
    shapes = [tuple(evaluate(size, known) for size in port.shape) for port in captured.inputs]
    return {node: torch.zeros(1).expand(shape) for node, shape in zip(ports, shapes, strict=True)}


def _inside(values: Mapping[Any, Any], read: Iterable[_Row]) -> bool:
    """Whether every chosen row is there."""
    for index, size in read:
        numbers = values[index]
        low, high = (numbers, numbers) if isinstance(numbers, int) else (int(numbers.min()), int(numbers.max()))
        if low < -size or high >= size:
            return False
    return True


class _Numbers:
    """Computes a few values of a program, and of the rest only what they need."""

    def __init__(self, module: Any, wanted: Iterable[Any]) -> None:
        self._module = module
        needed = ancestors(wanted)
        self._nodes = [node for node in module.graph.nodes if node in needed]

    def __call__(self, given: Mapping[Any, Any]) -> dict[Any, Any]:
        """Returns every value, by its node."""
        import operator

        from torch.fx.node import map_arg

        known: dict[Any, Any] = dict(given)
        for node in self._nodes:
            if node.op == "get_attr":
                known[node] = operator.attrgetter(str(node.target))(self._module)
            elif node not in known:
                args, kwargs = (map_arg(part, known.__getitem__) for part in (node.args, node.kwargs))
                known[node] = node.target(*args, **kwargs)
        return known

    def inside(self, given: Mapping[Any, Any], read: Iterable[_Row]) -> bool:
        """Whether every chosen row is there."""
        return _inside(self(given), read)
